//! The reconciler: the real binary with the harness's Runtime API and ECS, and a real DynamoDB engine.

mod describe;
mod described;
mod faults;
mod fleet_run;
mod index_keys;
mod table_role;
mod table_run;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{Region, SdkConfig};
use chrono::{DateTime, TimeDelta, Utc};
use ecs_state_recorder::aws_json::endpoint;
use ecs_state_recorder::notifier::event_bus;
use ecs_state_recorder::reconciler::ecs;
use serde_json::{Value, json};

use harness::dynamodb::{CONTAINER_INSTANCES, DynamoDb, TASKS};
use harness::ecs::{Ecs, cluster, task};
use harness::events;
use harness::events::reconciled_row;
use harness::runtime_api::Lambda;

use crate::RECONCILER;

/// Tests put this secret into overrides, versions and error messages, from which it must not be passed on.
const SECRET: &str = "hunter2";

/// An ECS, the tables, and a reconciler between them.
struct World {
    ecs: Ecs,
    dynamodb: Arc<DynamoDb>,
    lambda: Lambda,
}

impl World {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(variables: &[(&str, &str)]) -> Self {
        let ecs = Ecs::start().await;
        let dynamodb = Arc::new(DynamoDb::start_recording().await);
        let urls = [
            ("AWS_ENDPOINT_URL_ECS", ecs.url.as_str()),
            ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url.as_str()),
            ("ECS_CALLS_PER_SECOND", "20"),
        ];
        let lambda = Lambda::start(&RECONCILER, 1, &[&urls[..], variables].concat()).await;
        lambda.set_timeout(Duration::from_mins(15));
        Self { ecs, dynamodb, lambda }
    }

    /// The report of a successful run, without `calls`, fields that are 0, and `scanned`, which must be as requested.
    async fn run(&self, scope: &str) -> Value {
        let answer = self.lambda.invoke(request(scope)).await;
        assert!(!answer.failed, "{}", answer.body);
        assert_eq!(answer.body["scanned"], scope == "table");
        counts(answer.body)
    }

    /// The error type and the message of a run that fails.
    async fn fail(&self, scope: &str) -> (String, String) {
        let answer = self.lambda.invoke(request(scope)).await;
        assert!(answer.failed, "{}", answer.body);
        let text = |name: &str| answer.body[name].as_str().unwrap().to_owned();
        (text("errorType"), text("errorMessage"))
    }

    fn row(&self, arn: &str) -> Value {
        self.rows().remove(arn).unwrap_or_else(|| panic!("there is no row of {arn}"))
    }

    fn rows(&self) -> BTreeMap<String, Value> {
        [(TASKS, "taskArn"), (CONTAINER_INSTANCES, "containerInstanceArn")]
            .into_iter()
            .flat_map(|(table, key)| {
                let rows = self.dynamodb.rows(table).into_iter();
                rows.map(move |row| (row[key]["S"].as_str().unwrap().to_owned(), row))
            })
            .collect()
    }

    fn writes(&self) -> usize {
        self.dynamodb.writes(TASKS).len() + self.dynamodb.writes(CONTAINER_INSTANCES).len()
    }

    /// Checks that the tables contain everything in ECS, and nothing else.
    fn assert_equal_to_ecs(&self) {
        let mut rows = self.rows();
        for (cluster, object) in self.ecs.states() {
            let arn = arn(&object);
            let row = rows.remove(arn).unwrap_or_else(|| panic!("there is no row of {arn}"));
            assert_recent(&row["reconciled_at"]);
            assert_eq!(row, reconciled_row(&cluster, &object, &row));
        }
        assert_eq!(rows, BTreeMap::new());
    }
}

fn arn(object: &Value) -> &str {
    object["taskArn"].as_str().or(object["containerInstanceArn"].as_str()).unwrap()
}

/// A fleet run, a table run with a scan, or, as `index`, a table run by the index.
fn request(scope: &str) -> String {
    match scope {
        "table" => json!({"scope": "table", "scan": true}),
        "index" => json!({"scope": "table", "scan": false}),
        scope => json!({"scope": scope}),
    }
    .to_string()
}

fn counts(mut report: Value) -> Value {
    let fields = report.as_object_mut().unwrap();
    assert!(fields.remove("calls").unwrap().is_u64());
    fields.remove("scanned");
    fields.retain(|_, value| *value != 0);
    report
}

fn assert_recent(time: &Value) {
    let text = time["S"].as_str().unwrap_or_else(|| panic!("{time}"));
    let age = Utc::now() - DateTime::parse_from_rfc3339(text).unwrap().to_utc();
    assert!(age >= TimeDelta::zero() && age < TimeDelta::minutes(2), "{text}");
    assert!(text.len() == "2026-03-02T09:14:28.417Z".len() && text.ends_with('Z'), "{text}");
}

/// An event with the state of a task of the API.
fn event(task: &Value, time: &str) -> Value {
    json!({
        "version": "0",
        "id": "7f4d2d1c-0000-4000-8000-000000000000",
        "detail-type": "ECS Task State Change",
        "source": "aws.ecs",
        "time": time,
        "detail": {
            "taskArn": task["taskArn"], "clusterArn": task["clusterArn"], "version": task["version"],
            "lastStatus": task["lastStatus"],
        },
    })
}

const LONG_AGO: &str = "2026-03-02T09:14:28Z";

/// Puts the row that an event of this task leaves behind.
fn put_row(world: &World, task: &Value) -> Value {
    let row = events::row(&event(task, LONG_AGO));
    world.dynamodb.put(TASKS, &row);
    row
}

fn stopped(mut task: Value) -> Value {
    task["lastStatus"] = json!("STOPPED");
    task["desiredStatus"] = json!("STOPPED");
    task["stoppedAt"] = json!(1_772_450_000.125);
    task
}

#[tokio::test]
async fn a_run_answers_and_logs_the_same_fields() {
    let world = World::new().await;
    let demo = cluster("demo");
    world.ecs.put_task(&task(&demo, 1, 4));
    let answer = world.lambda.invoke(r#"{"scope": "fleet"}"#).await;
    let expected = json!({
        "scope": "fleet", "clusters": 1, "listed": 1, "stored": 1, "unchanged": 0, "stale": 0, "marked": 0,
        "cleared": 0, "indexed": 0, "unchecked": 0, "drift": 0, "calls": 5, "failures": 0, "scanned": false, "complete": true,
    });
    assert_eq!(answer.body, expected);
    let log = world.lambda.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [start, mut line] = lines.try_into().unwrap_or_else(|_| panic!("two lines, not {log}"));
    let message = concat!("ecs-state-reconciler ", env!("CARGO_PKG_VERSION"), " is starting");
    assert_eq!(start["message"], message);
    let fields = line.as_object_mut().unwrap();
    assert!(fields.remove("timestamp").is_some());
    assert_eq!(fields.remove("level").unwrap(), "INFO");
    assert_eq!(fields.remove("message").unwrap(), "run");
    fields.remove("span");
    assert_eq!(line, expected);
}

#[tokio::test]
async fn both_scopes_are_limited_to_the_configured_clusters() {
    let (ours, theirs): (String, String) = (cluster("ours"), cluster("theirs"));
    let world = World::with(&[("CLUSTER_ARNS", &ours)]).await;
    for cluster in [&ours, &theirs] {
        world.ecs.put_task(&task(cluster, 1, 5));
        put_row(&world, &task(cluster, 2, 5));
    }
    let expected = json!({"scope": "fleet", "clusters": 1, "listed": 1, "stored": 1, "complete": true});
    assert_eq!(world.run("fleet").await, expected);
    let expected = json!({"scope": "table", "clusters": 1, "listed": 1, "marked": 1, "complete": true});
    assert_eq!(world.run("index").await, expected);
    let expected = json!({"scope": "table", "clusters": 1, "listed": 1, "complete": true});
    assert_eq!(world.run("table").await, expected);
    assert!(world.ecs.calls().iter().all(|call| call.cluster.as_deref() != Some(&*theirs)));
}

#[tokio::test]
async fn a_run_stops_five_seconds_before_the_deadline_and_says_that_it_is_not_complete() {
    let world = World::with(&[("ECS_CALLS_PER_SECOND", "2")]).await;
    (0..5).for_each(|number| world.ecs.put_task(&task(&cluster(&format!("c{number}")), 1, 5)));
    world.lambda.set_timeout(Duration::from_secs(9));
    let answer = world.lambda.invoke(r#"{"scope": "fleet"}"#).await;
    assert!(!answer.failed, "{}", answer.body);
    assert_eq!(answer.body["complete"], false);
    assert_eq!(answer.body["failures"], 0);
    assert!(answer.slowest >= Duration::from_secs(3) && answer.slowest < Duration::from_secs(6), "{answer:?}");
    // What it reached is stored; the next run does the rest.
    world.lambda.set_timeout(Duration::from_mins(15));
    world.run("fleet").await;
    world.assert_equal_to_ecs();
}

#[tokio::test]
async fn anything_but_a_scope_is_refused() {
    let world = World::new().await;
    for payload in [
        "{}",
        "null",
        "[]",
        "7",
        "\"fleet\"",
        r#"{"scope": "all"}"#,
        r#"{"scope": null}"#,
        r#"{"scope": ["fleet"]}"#,
        r#"{"scope": "fleet", "clusters": []}"#,
        r#"{"scope": "fleet", "scope": "table"}"#,
        r#"{"scope": "fleet", "scan": true}"#,
        r#"{"scope": "table", "scan": 1}"#,
        r#"{"scope": "table", "scan": true, "scan": true}"#,
        r#"{"scan": true}"#,
        r#"{"Scope": "fleet"}"#,
        "not JSON",
        "",
    ] {
        let answer = world.lambda.invoke(payload).await;
        let expected = json!({
            "errorType": "InvalidRequest",
            "errorMessage": "the request must be {\"scope\": \"fleet\"} or {\"scope\": \"table\"}, which may also \
                             have \"scan\", true or false: check what invokes this function",
        });
        assert_eq!((answer.failed, answer.body), (true, expected), "{payload}");
    }
    assert_eq!(world.ecs.calls().len(), 0);
}

#[test]
fn an_invalid_setting_prevents_startup_and_is_named() {
    let arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/demo";
    for (variable, value, problem) in [
        ("ECS_CALLS_PER_SECOND", "0", "must be an integer from 1 to 20"),
        ("ECS_CALLS_PER_SECOND", "21", "must be an integer from 1 to 20"),
        ("ECS_CALLS_PER_SECOND", "", "must be an integer from 1 to 20"),
        ("CLUSTER_ARNS", "demo", "must be ARNs of ECS clusters"),
        ("CLUSTER_ARNS", &format!("{arn},"), "must be ARNs of ECS clusters"),
        ("CLUSTER_ARNS", &format!("{arn}/x"), "must be ARNs of ECS clusters"),
        ("CLUSTER_ARNS", "arn:aws:ecs:eu-west-1:12345678901:cluster/demo", "must be ARNs of ECS clusters"),
        (
            "AWS_ENDPOINT_URL_ECS",
            "nowhere",
            "must be a URL with http:// or https:// and a host, and no user name, such as https://ecs.eu-west-1.amazonaws.com",
        ),
        (
            "AWS_ENDPOINT_URL_EVENTBRIDGE",
            "nowhere",
            "must be a URL with http:// or https:// and a host, and no user name, such as https://events.eu-west-1.amazonaws.com",
        ),
        ("AWS_REGION", "nowhere", "must be an AWS region"),
        ("RETENTION_DAYS", "x", "must be an integer"),
        (
            "AWS_ENDPOINT_URL_STS",
            "nowhere",
            "must be a URL with http:// or https:// and a host, and no user name, such as https://sts.eu-west-1.amazonaws.com",
        ),
        ("TABLE_REGION", "US", "must be the region of the tables, found \"US\""),
        ("TABLE_REGION", "", "must be the region of the tables"),
        ("ACCOUNT_ID", "11112222333", "must be the ID of the account"),
        ("ACCOUNT_ID", "11112222333x", "must be the ID of the account"),
        ("CLUSTER_ARNS", "arn:aws_:ecs:eu-west-1:123456789012:cluster/demo", "must be ARNs of ECS clusters"),
        ("CLUSTER_ARNS", "arn:eu:ecs:eu-west-1:123456789012:cluster/demo", "must be ARNs of ECS clusters"),
        ("TABLE_ROLE_ARN", "tables", "must be the ARN of a role"),
        ("TABLE_ROLE_ARN", "arn:eu:iam::123456789012:role/tables", "must be the ARN of a role"),
        ("TABLE_ROLE_ARN", "arn:aws:iam::123456789012:role/ta bles", "must be the ARN of a role"),
        ("TASK_TABLE_NAME", "no spaces", "must be a DynamoDB table name"),
        ("TABLE_ROLE_ARN", "arn:aws:iam::12345678901:role/tables", "must be the ARN of a role"),
        ("TABLE_ROLE_ARN", "arn:aws:iam::123456789012:user/tables", "must be the ARN of a role"),
        ("TABLE_ROLE_ARN", "arn:aws:iam::123456789012:role/", "must be the ARN of a role"),
    ] {
        let output = Command::new(&*RECONCILER)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9")
            .envs([
                ("AWS_REGION", "eu-west-1"),
                ("TABLE_ROLE_ARN", "arn:aws:iam::123456789012:role/path/tables"),
                ("TABLE_REGION", "us-east-1"),
                ("ACCOUNT_ID", "111122223333"),
                (variable, value),
            ])
            .output()
            .unwrap();
        let log = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{variable}={value}");
        assert!(log.contains(&format!("{variable} {problem}")), "{variable}={value}: {log}");
    }
}

#[test]
fn the_endpoint_follows_from_the_region_and_its_partition() {
    for (region, fips, expected) in [
        ("eu-west-1", false, "https://ecs.eu-west-1.amazonaws.com"),
        ("us-east-1", true, "https://ecs-fips.us-east-1.amazonaws.com"),
        ("us-gov-west-1", true, "https://ecs-fips.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", false, "https://ecs.cn-north-1.amazonaws.com.cn"),
        ("us-iso-east-1", false, "https://ecs.us-iso-east-1.c2s.ic.gov"),
        ("us-isob-east-1", false, "https://ecs.us-isob-east-1.sc2s.sgov.gov"),
        ("us-isof-south-1", false, "https://ecs.us-isof-south-1.csp.hci.ic.gov"),
        ("eu-isoe-west-1", false, "https://ecs.eu-isoe-west-1.cloud.adc-e.uk"),
        ("eusc-de-east-1", false, "https://ecs.eusc-de-east-1.amazonaws.eu"),
    ] {
        let aws = SdkConfig::builder().region(Region::new(region)).use_fips(fips).build();
        assert_eq!(endpoint(&aws, &ecs::SERVICE), expected);
    }
    // In GovCloud, EventBridge has no other endpoint than the one with FIPS.
    for (region, expected) in [
        ("us-east-1", "https://events-fips.us-east-1.amazonaws.com"),
        ("us-gov-west-1", "https://events.us-gov-west-1.amazonaws.com"),
    ] {
        let aws = SdkConfig::builder().region(Region::new(region)).use_fips(true).build();
        assert_eq!(endpoint(&aws, &event_bus::SERVICE), expected);
    }
    let aws = SdkConfig::builder().region(Region::new("eu-west-1")).endpoint_url("http://127.0.0.1:9").build();
    assert_eq!(endpoint(&aws, &ecs::SERVICE), "http://127.0.0.1:9");
}
