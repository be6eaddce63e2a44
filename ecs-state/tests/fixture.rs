//! A DynamoDB with tasks, and the real binary, which reads it.

use std::process::{Command, Stdio};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use harness::dynamodb::{CONTAINER_INSTANCES, DynamoDb, TASKS};
use serde_json::{Value, json};

pub(crate) const ECS: &str = "arn:aws:ecs:eu-west-1:123456789012";

pub(crate) fn cluster(name: &str) -> String {
    format!("{ECS}:cluster/{name}")
}

/// A time as ECS writes it.
pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// `ago(3, 12, 30)` is 3 h 12 min 30 s before now. Half a minute keeps a printed age from changing during a test, but
/// for its last digit: see [`without_seconds`].
pub(crate) fn ago(hours: i64, minutes: i64, seconds: i64) -> DateTime<Utc> {
    Utc::now() - TimeDelta::hours(hours) - TimeDelta::minutes(minutes) - TimeDelta::seconds(seconds)
}

pub(crate) fn with(mut object: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("fields must be an object") };
    object.as_object_mut().unwrap().extend(fields);
    object
}

/// A running task of a service.
pub(crate) fn task(cluster_name: &str, id: &str, service: &str, created: DateTime<Utc>) -> Value {
    json!({
        "taskArn": format!("{ECS}:task/{cluster_name}/{id}"),
        "clusterArn": cluster(cluster_name),
        "taskDefinitionArn": format!("{ECS}:task-definition/{service}:42"),
        "group": format!("service:{service}"),
        "startedBy": "ecs-svc/4093171225387263520",
        "launchType": "FARGATE",
        "lastStatus": "RUNNING",
        "desiredStatus": "RUNNING",
        "createdAt": time(created),
        "startedAt": time(created + TimeDelta::seconds(20)),
        "containers": [{"name": service, "image": format!("registry/{service}:2.4.1"), "lastStatus": "RUNNING"}],
        "version": 3,
    })
}

/// The same after it has stopped.
pub(crate) fn stopped(task: Value, at: DateTime<Utc>, how: Value) -> Value {
    let task =
        with(task, json!({"lastStatus": "STOPPED", "desiredStatus": "STOPPED", "stoppedAt": time(at), "version": 6}));
    with(task, how)
}

/// The row of an event with this detail, as DynamoDB's own JSON.
pub(crate) fn row(detail: &Value, event_time: DateTime<Utc>) -> Value {
    let kind = if detail.get("taskArn").is_some() { "Task" } else { "Container Instance" };
    harness::events::row(&json!({
        "version": "0",
        "id": "1d1a7b52-5d0c-b7a9-0e3f-6f1f9f1c2a06",
        "detail-type": format!("ECS {kind} State Change"),
        "time": event_time.to_rfc3339_opts(SecondsFormat::Secs, true),
        "detail": detail,
    }))
}

pub(crate) struct Fixture {
    pub(crate) dynamodb: DynamoDb,
    pub(crate) has_index: bool,
}

impl Fixture {
    pub(crate) async fn new(has_index: bool) -> Self {
        let dynamodb = DynamoDb::start().await;
        if !has_index {
            dynamodb.remove_index();
        }
        Self { dynamodb, has_index }
    }

    pub(crate) async fn with(has_index: bool, details: &[Value]) -> Self {
        let fixture = Self::new(has_index).await;
        fixture.put_details(details);
        fixture
    }

    pub(crate) fn put(&self, row: &Value) {
        let table = if row.get("taskArn").is_some() { TASKS } else { CONTAINER_INSTANCES };
        self.dynamodb.put(table, row);
    }

    /// Puts the row of a detail that was reported just now, or when it stopped.
    pub(crate) fn put_detail(&self, detail: &Value) {
        let at = detail["stoppedAt"].as_str().map_or_else(Utc::now, |time| time.parse().unwrap());
        self.put(&row(detail, at));
    }

    pub(crate) fn put_details(&self, details: &[Value]) {
        for detail in details {
            self.put_detail(detail);
        }
    }

    /// `ecs-state` with these arguments, not yet started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        reading(&self.dynamodb.url, arguments)
    }

    /// Runs `ecs-state` to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Done {
        run(self.command(arguments)).await
    }
}

/// The binary with a region and credentials, but no endpoint. The machine's own AWS configuration does not reach it.
pub(crate) fn binary(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ecs-state"));
    command
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .stdin(Stdio::null());
    command
}

/// The same with the endpoint of a DynamoDB.
pub(crate) fn reading(url: &str, arguments: &[&str]) -> Command {
    let mut command = binary(arguments);
    command.env("AWS_ENDPOINT_URL_DYNAMODB", url);
    command
}

/// The arguments of commands that are separated by commas.
pub(crate) fn split(commands: &str) -> impl Iterator<Item = Vec<&str>> {
    commands.split(", ").map(|command| command.split(' ').collect())
}

/// What a run of the binary printed.
#[derive(Debug, PartialEq)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A run that printed only this, to standard error.
pub(crate) fn failed(code: i32, stderr: &str) -> Done {
    Done { code: Some(code), stdout: String::new(), stderr: format!("{stderr}\n") }
}

impl Done {
    /// The ids of the tasks in JSON output.
    pub(crate) fn ids(&self) -> Vec<String> {
        let id = |task: &Value| task["taskArn"].as_str().unwrap().rsplit_once('/').unwrap().1.to_owned();
        self.objects().iter().map(id).collect()
    }

    pub(crate) fn objects(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

pub(crate) async fn run(mut command: Command) -> Done {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code(), stdout: without_seconds(&text(output.stdout)), stderr: text(output.stderr) }
}

/// Replaces the last digit of the seconds in ages: `12m3xs`.
pub(crate) fn without_seconds(text: &str) -> String {
    let is_age = |word: &&str| word.split_once('m').is_some_and(|(m, s)| m.parse::<u8>().is_ok() && s.ends_with('s'));
    let replace = |text: String, age: &str| text.replace(age, &format!("{}xs", &age[..age.len() - 2]));
    text.split_whitespace().filter(is_age).fold(text.to_owned(), replace)
}

/// The fleet of most tests: two clusters with a service in both, a standalone task, and stopped tasks.
pub(crate) fn fleet() -> Vec<Value> {
    let oom = json!({
        "stopCode": "EssentialContainerExited",
        "stoppedReason": "Essential container in task exited",
        "containers": [
            {"name": "web", "image": "registry/web:2.4.1", "lastStatus": "STOPPED", "exitCode": 137, "memory": "512",
             "reason": "OutOfMemoryError: Container killed due to memory usage"},
            {"name": "envoy", "image": "registry/envoy:1.30", "lastStatus": "STOPPED", "exitCode": 143}],
    });
    let scaled_in = json!({
        "stopCode": "ServiceSchedulerInitiated",
        "stoppedReason": "Scaling activity initiated by (deployment ecs-svc/4093171225387263520)",
    });
    let pull = json!({
        "stopCode": "TaskFailedToStart",
        "stoppedReason": "CannotPullContainerError: ref pull has been retried 1 time(s): failed to resolve ref \
                          docker.io/library/api:9: docker.io/library/api:9: not found",
        "startedAt": null,
    });
    vec![
        task("demo", "5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6", "web", ago(3, 12, 30)),
        task("demo", "a81c2d3e4f5061728394a5b6c7d8e9f0", "web", ago(0, 4, 30)),
        with(
            task("demo", "3c6ef3720a1b4c5d8e9fa0b1c2d3e4f5", "etl", ago(50, 0, 30)),
            json!({"group": "family:etl", "startedBy": "cron", "lastStatus": "PENDING", "startedAt": null}),
        ),
        with(
            task("other", "77e0d1c2b3a495867768594a3b2c1d0e", "web", ago(30, 2, 30)),
            json!({"launchType": "EC2", "containerInstanceArn": format!("{ECS}:container-instance/other/78dde6e5")}),
        ),
        stopped(task("demo", "09aa11bb22cc33dd44ee55ff66778899", "web", ago(5, 0, 30)), ago(0, 12, 30), oom),
        stopped(task("demo", "18bb22cc33dd44ee55ff667788990011", "web", ago(8, 0, 30)), ago(2, 20, 30), scaled_in),
        stopped(task("other", "27cc33dd44ee55ff6677889900112233", "api", ago(40, 0, 30)), ago(39, 59, 30), pull),
    ]
}

/// The row of a task of that fleet that ECS no longer knows.
pub(crate) fn missing() -> Value {
    let detail = task("demo", "f09d2c71a3b84e6f9d15c7e80b2a4463", "web", ago(60, 0, 30));
    let mut row = row(&detail, ago(60, 0, 0));
    row["missing_since"] = json!({"S": time(ago(13, 0, 30))});
    row
}

pub(crate) fn container_instance(cluster_name: &str, id: &str, ec2: &str, connected: bool) -> Value {
    json!({
        "containerInstanceArn": format!("{ECS}:container-instance/{cluster_name}/{id}"),
        "clusterArn": cluster(cluster_name),
        "ec2InstanceId": ec2,
        "status": "ACTIVE",
        "agentConnected": connected,
        "runningTasksCount": 2,
        "pendingTasksCount": 0,
        "registeredResources": [{"name": "CPU", "type": "INTEGER", "integerValue": 2048},
                                {"name": "MEMORY", "type": "INTEGER", "integerValue": 3884}],
        "remainingResources": [{"name": "CPU", "type": "INTEGER", "integerValue": 1024},
                               {"name": "MEMORY", "type": "INTEGER", "integerValue": 1836}],
        "attributes": [{"name": "ecs.instance-type", "value": "t4g.medium"},
                       {"name": "ecs.availability-zone", "value": "eu-west-1b"}],
        "versionInfo": {"agentVersion": "1.89.2"},
        "version": 12,
    })
}
