//! The last lines of a task's log, from a stand-in for ECS and CloudWatch Logs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use harness::dynamodb::TASKS;
use serde_json::{Value, json};

use super::fixture::{Done, ECS, Fixture, ago, failed, fleet, run, stopped, task, with};

const ID: &str = "09aa11bb22cc33dd44ee55ff66778899";
const STREAM: &str = "web/web/09aa11bb22cc33dd44ee55ff66778899";

/// A call: its operation, the access key and the region in its signature, and its body.
type Call = (String, String, Value);

/// A file with credentials, which only one test creates.
fn credentials() -> PathBuf {
    std::env::temp_dir().join(format!("ecs-state-credentials-{}", std::process::id()))
}

/// Runs `logs` against a stand-in, which answers an operation with a status and a body. Returns the calls, too.
async fn logs(
    fixture: &Fixture,
    arguments: &[&str],
    answers: impl Fn(&str, &Value) -> (u16, Value) + Clone + Send + Sync + 'static,
) -> (Done, Vec<Call>) {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    let answer = move |headers: HeaderMap, body: String| async move {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        let operation = header("x-amz-target").split_once('.').unwrap().1.to_owned();
        let authorization = header("authorization");
        let scope: Vec<&str> = authorization.split_once("Credential=").unwrap().1.split('/').collect();
        let body: Value = serde_json::from_str(&body).unwrap();
        let (status, answer) = answers(&operation, &body);
        seen.lock().unwrap().push((operation, format!("{} {}", scope[0], scope[2]), body));
        (StatusCode::from_u16(status).unwrap(), answer.to_string())
    };
    let url = harness::serve(Router::new().fallback(answer)).await;
    let mut command = fixture.command(&["logs"]);
    command.args(arguments).env("AWS_SHARED_CREDENTIALS_FILE", credentials());
    command.env("AWS_ENDPOINT_URL_ECS", &url).env("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", &url);
    let done = run(command).await;
    let calls = calls.lock().unwrap().clone();
    (done, calls)
}

/// A task definition with a container for each way of logging.
fn definition() -> Value {
    let container = |name: &str, driver: &str, options: Value| json!({"name": name, "essential": true, "logConfiguration": {"logDriver": driver, "options": options}});
    let awslogs = json!({"awslogs-group": "/ecs/web", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "web"});
    let (name, group) = ("cloudwatch_logs", "/app");
    let firelens = json!({"Name": name, "log_group_name": group, "region": "eu-west-1", "apikey": "hunter2"});
    let splunk = json!({"splunk-url": "https://key:hunter2@splunk.example", "splunk-token": "hunter3"});
    json!({"taskDefinition": {"containerDefinitions": [
        container("web", "awslogs", awslogs),
        container("worker", "awslogs", json!({"awslogs-group": "it's $(here)"})),
        container("astray", "awslogs", json!({"awslogs-group": "a", "awslogs-region": "x.example/"})),
        container("lost", "awslogs", json!({})),
        container("fire", "awsfirelens", firelens),
        container("router", "awsfirelens", json!(null)),
        container("splunk", "splunk", splunk),
        container("syslog", "syslog", json!({"syslog-address": "tcp://10.0.0.9:514"})),
        container("local", "json-file", json!(null)),
        {"name": "silent"},
    ]}})
}

fn refused(code: &str) -> (u16, Value) {
    (400, json!({"__type": format!("com.amazonaws#{code}"), "message": "hunter4"}))
}

fn events(messages: &[&str]) -> Value {
    let event = |(number, message)| json!({"timestamp": 1_772_451_571_246_i64 + number, "message": message});
    (0..).zip(messages).map(event).collect()
}

/// Pages from the newest to the oldest, one of them empty. The last has the token that was sent.
fn pages(operation: &str, body: &Value) -> (u16, Value) {
    let (messages, token): (&[&str], _) = match (operation, body["nextToken"].as_str()) {
        ("DescribeTaskDefinition", _) => return (200, definition()),
        (_, None) => (&["java.lang.OutOfMemoryError: Java heap space\n\tat Web.main(Web.java:7)\n"], "b/1"),
        (_, Some("b/1")) => (&[], "b/2"),
        (_, Some("b/2")) => (&["GET /\u{1b}[31m 200\r\n", "GET /health \u{202e}200"], "b/3"),
        _ => (&[], "b/3"),
    };
    (200, json!({"events": events(messages), "nextBackwardToken": token, "nextForwardToken": "f/1"}))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_that_of_the_container_that_the_diagnosis_is_about() {
    for has_index in [true, false] {
        let fixture = Fixture::with(has_index, &fleet()).await;
        let (done, calls) = logs(&fixture, &[ID], pages).await;
        let expected = "\
2026-03-02 11:39:31.246Z  GET /\\u{1b}[31m 200
2026-03-02 11:39:31.247Z  GET /health \\u{202e}200
2026-03-02 11:39:31.246Z  java.lang.OutOfMemoryError: Java heap space
                          \tat Web.main(Web.java:7)
";
        assert_eq!(done.stdout, expected);
        let created = fleet()[4]["createdAt"].as_str().unwrap()[..17].to_owned();
        let (start, rest) = done.stderr.split_once(" --since ").unwrap();
        assert!(start.ends_with(&format!(
            "note: from CloudWatch Logs, found through ECS, not from the tables; the whole log:\n  \
             aws logs tail /ecs/web --log-stream-names {STREAM}"
        )));
        assert!(rest.starts_with(&created) && rest.ends_with("Z --region us-east-1\n"), "{rest}");
        assert_eq!(done.code, Some(0));
        let call = |name: &str, region: &str, body| (name.to_owned(), format!("key {region}"), body);
        let definition = json!({"taskDefinition": format!("{ECS}:task-definition/web:42")});
        let pages = [(20, None), (19, Some("b/1")), (19, Some("b/2")), (17, Some("b/3"))].map(|(limit, token)| {
            let body = json!({"logGroupName": "/ecs/web", "logStreamName": STREAM, "startFromHead": false,
                              "limit": limit, "nextToken": token});
            call("GetLogEvents", "us-east-1", body)
        });
        assert_eq!(calls, [&[call("DescribeTaskDefinition", "eu-west-1", definition)], &pages[..]].concat());
    }
}

/// A running task with these containers, on EC2 if `instance` is set.
async fn running(containers: &[&str], instance: Option<&str>) -> Fixture {
    let fixture = Fixture::new(true).await;
    let container = |name: &&str| json!({"name": name, "runtimeId": "0123abcd"});
    let containers: Vec<Value> = containers.iter().map(container).collect();
    let detail = with(task("demo", ID, "web", ago(1, 0, 0)), json!({"containers": containers}));
    fixture.put_detail(&match instance {
        Some(id) => with(detail, json!({"containerInstanceArn": format!("{ECS}:container-instance/demo/{id}")})),
        None => detail,
    });
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_tasks_log_can_be_followed_and_a_name_from_ecs_is_quoted() {
    let fixture = running(&["worker", "aws-guardduty-agent-Zj3"], Some("8a1f")).await;
    let (done, calls) = logs(&fixture, &[ID, "--lines", "1", "--json"], pages).await;
    let message = "java.lang.OutOfMemoryError: Java heap space\n\tat Web.main(Web.java:7)\n";
    assert_eq!(done.objects(), [json!({"timestamp": "2026-03-02T11:39:31.246Z", "message": message})]);
    let command = r"aws logs tail 'it'\''s $(here)' --log-stream-names 0123abcd --follow --region eu-west-1";
    let note = "note: from CloudWatch Logs, found through ECS, not from the tables; to follow it:";
    assert_eq!((done.stderr, done.code), (format!("{note}\n  {command}\n"), Some(0)));
    assert_eq!((calls.len(), &calls[1].1[..], &calls[1].2["limit"]), (2, "key eu-west-1", &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_in_another_account_than_the_tables_has_its_own_profile() {
    std::fs::write(credentials(), "[spoke]\naws_access_key_id = spoke\naws_secret_access_key = secret\n").unwrap();
    let (done, calls) = logs(&running(&["web"], None).await, &[ID, "--task-profile", "spoke"], pages).await;
    std::fs::remove_file(credentials()).unwrap();
    assert_eq!((done.code, &calls[0].1[..], &calls[1].1[..]), (Some(0), "spoke eu-west-1", "spoke us-east-1"));
    assert!(done.stderr.ends_with(" --follow --region us-east-1 --profile spoke\n"), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_containers_one_must_be_chosen() {
    let fixture = running(&["web", "worker", "envoy"], None).await;
    let (done, calls) = logs(&fixture, &[ID], pages).await;
    assert_eq!(done, failed(2, "error: choose one of the task's containers with --container: web, worker, envoy"));
    assert_eq!(calls, []);
    let (done, _) = logs(&fixture, &[ID, "--container", "db"], pages).await;
    assert_eq!(done, failed(2, "error: the task has no container \"db\": its containers are web, worker, envoy"));
    // An invalid region must not lead to another host.
    let (fixture, cases) =
        (running(&["web", "astray"], None).await, [("web", STREAM, "us"), ("astray", "0123abcd", "eu")]);
    for (name, stream, region) in cases {
        let (done, calls) = logs(&fixture, &[ID, "--container", name], pages).await;
        assert_eq!((done.code, &calls[1].2["logStreamName"]), (Some(0), &json!(stream)));
        assert!(calls[1].1.starts_with(&format!("key {region}-")), "{calls:?}");
    }
    // The diagnosis chooses, too.
    let killed = json!({"name": "worker", "runtimeId": "4567", "exitCode": 137, "reason": "OutOfMemoryError: killed"});
    let containers = json!({"containers": [{"name": "web", "exitCode": 143}, killed]});
    fixture.put_detail(&stopped(task("demo", ID, "web", ago(1, 0, 0)), ago(0, 1, 0), containers));
    let (_, calls) = logs(&fixture, &[ID], pages).await;
    assert_eq!(calls[1].2["logStreamName"], "4567");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_goes_elsewhere_is_named_with_where_it_goes() {
    let cases = [
        ("fire", "logs through FireLens, to its output cloudwatch_logs (log_group_name /app, region eu-west-1)"),
        ("router", "logs through FireLens, which routes the log by its own configuration"),
        ("splunk", "logs with the driver splunk (splunk-url [hidden])"),
        ("syslog", "logs with the driver syslog (syslog-address tcp://10.0.0.9:514)"),
        ("lost", "logs to CloudWatch Logs, but its log configuration does not say where"),
        ("local", "logs with the driver json-file: on its container instance 8a1f, `docker logs 0123abcd` shows it"),
        ("silent", "has no log configuration: on its container instance 8a1f, `docker logs 0123abcd` shows it"),
    ];
    for (name, sentence) in cases {
        let (done, calls) = logs(&running(&[name], Some("8a1f")).await, &[ID], pages).await;
        assert_eq!((done, calls.len()), (failed(1, &format!("container {name:?} {sentence}")), 1));
    }
    let (done, _) = logs(&running(&["silent"], None).await, &[ID], pages).await;
    assert_eq!(done, failed(1, "container \"silent\" has no log configuration, so its log is not kept"));
    let guard = "aws-guardduty-agent-Zj3";
    let (done, _) = logs(&running(&[guard], None).await, &[ID, "--container", guard], pages).await;
    let sentence = "Amazon GuardDuty added it to the task, with a log of its own";
    assert_eq!(done, failed(1, &format!("the task definition has no container {guard:?}: {sentence}")));
    let (done, calls) = logs(&running(&[], None).await, &[ID], pages).await;
    assert_eq!((done, calls.len()), (failed(1, "the task has no containers, so it has no log"), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_aws_refuses_is_explained_without_its_message() {
    let describe = format!("ecs:DescribeTaskDefinition on {ECS}:task-definition/web:42");
    let get = "logs:GetLogEvents on the log group /ecs/web".to_owned();
    let other = "for a task in another account, choose a profile with --task-profile";
    let denied = |call: &str| format!("error: access denied: your role must allow {call}; {other}");
    let expired = "error: the AWS credentials are invalid or have expired: sign in again".to_owned();
    let stream = format!("log stream {STREAM} in the log group /ecs/web (us-east-1)");
    let missing = format!("there is no {stream}: the container has not started, or its log has been deleted");
    let deleted = "it has been deleted, or is in another account (--task-profile)";
    let not_aws = "the response is not from AWS; check the endpoint and any proxy in between";
    let no_events = (200, json!({"events": [], "nextBackwardToken": "b/1"}));
    // The beginning of an operation, and the answer to it.
    let cases = [
        ("Describe", refused("AccessDeniedException"), denied(&describe)),
        ("Describe", refused("ExpiredTokenException"), expired),
        ("Describe", refused("ClientException"), format!("ECS finds no task definition web:42: {deleted}")),
        ("Describe", (200, json!({})), format!("error: {describe} failed: {not_aws}")),
        ("Get", refused("AccessDeniedException"), denied(&get)),
        ("Get", refused("ResourceNotFoundException"), missing),
        ("Get", refused("Invalid"), format!("error: {get} failed: Invalid (HTTP 400)")),
        ("Get", no_events, format!("the {stream} is empty")),
    ];
    let fixture = running(&["web"], None).await;
    for (failing, answer, message) in cases {
        let answers = move |operation: &str, body: &Value| {
            if operation.starts_with(failing) { answer.clone() } else { pages(operation, body) }
        };
        let (done, _) = logs(&fixture, &[ID], answers).await;
        let code = if message.starts_with("error: ") { 3 } else { 1 };
        assert_eq!(done, failed(code, &message));
    }
    let mut command = fixture.command(&["logs", ID]);
    command.env("AWS_ENDPOINT_URL_ECS", "http://127.0.0.1:1");
    let connection = "the connection failed; check the endpoint and the network route to it";
    assert_eq!(run(command).await.stderr, format!("error: {describe} failed: {connection}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_shows_the_commands_for_its_log_and_for_a_shell() {
    let fixture = Fixture::new(true).await;
    let exec = json!({"enableExecuteCommand": true, "containers": [{"name": "web"}, {"name": "envoy"}]});
    let detail = with(task("demo", ID, "web", ago(1, 0, 0)), exec);
    let next = async |detail: &Value| {
        fixture.put_detail(detail);
        let done = fixture.run(&["task", ID]).await;
        done.stdout.split_once("\nNext\n").map(|(_, next)| next.to_owned()).unwrap_or_default()
    };
    let log = format!("  log    ecs-state logs {ID}\n");
    let shell = format!("  shell  aws ecs execute-command --cluster demo --task {ID} --container web");
    let rest = "--interactive --command /bin/sh --region eu-west-1";
    assert_eq!(next(&detail).await, format!("{log}{shell} {rest}\n"));
    assert_eq!(next(&with(detail.clone(), json!({"desiredStatus": "STOPPED"}))).await, log);
    assert_eq!(next(&with(detail.clone(), json!({"enableExecuteCommand": false}))).await, log);
    let given = fixture.run(&["task", ID, "--task-table", TASKS, "--region", "eu-west-1"]).await.stdout;
    assert!(given.contains(&format!("ecs-state logs {ID} --task-table {TASKS} --region eu-west-1\n")), "{given}");
    // Nothing has started.
    assert_eq!(next(&stopped(detail, ago(0, 1, 0), json!({"startedAt": null}))).await, "");
}
