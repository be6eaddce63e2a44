//! The reconciler: the real binary under a Runtime API, beside an ECS of the harness and a real DynamoDB.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, TimeDelta, Utc};
use ecs_state_recorder::reconciler::ecs::endpoint;
use ecs_state_recorder::reconciler::rows;
use ecs_state_recorder::state::client;
use ecs_state_recorder::state::resource::Resource;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use harness::dynamodb::{CONTAINER_INSTANCES, DynamoDb, TASKS};
use harness::ecs::{Ecs, Fault, Gone, Rule, Times, cluster, container_instance, task};
use harness::events::{self, reconciled_row};
use harness::lambda::{Answer, Lambda, binary, reconciler};

static RECONCILER: LazyLock<String> = LazyLock::new(|| reconciler(env!("CARGO_BIN_EXE_ecs-state-reconciler")));
static RECORDER: LazyLock<String> = LazyLock::new(|| binary(env!("CARGO_BIN_EXE_ecs-state-recorder")));

/// A secret that tests put where it must not be passed on from: into overrides, versions and error texts.
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

    /// What a successful run did, without `calls`; fields that are 0 are left out.
    async fn run(&self, scope: &str) -> Value {
        let answer = self.lambda.invoke(json!({"scope": scope}).to_string()).await;
        assert!(!answer.failed, "{}", answer.body);
        counts(answer.body)
    }

    /// The type and the message of a run that is not a success.
    async fn fail(&self, scope: &str) -> (String, String) {
        let answer = self.lambda.invoke(json!({"scope": scope}).to_string()).await;
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

    /// Checks that the tables have what ECS has, and nothing else.
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

fn counts(mut report: Value) -> Value {
    let fields = report.as_object_mut().unwrap();
    assert!(fields.remove("calls").unwrap().as_u64().is_some_and(|calls| calls > 0));
    fields.retain(|_, value| *value != 0);
    report
}

fn assert_recent(time: &Value) {
    let text = time["S"].as_str().unwrap_or_else(|| panic!("{time}"));
    let age = Utc::now() - DateTime::parse_from_rfc3339(text).unwrap().to_utc();
    assert!(age >= TimeDelta::zero() && age < TimeDelta::minutes(2), "{text}");
    assert!(text.len() == "2026-03-02T09:14:28.417Z".len() && text.ends_with('Z'), "{text}");
}

/// The event that reports a task of the API.
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
async fn a_fleet_run_on_empty_tables_makes_them_equal_to_what_ecs_has() {
    let world = World::new().await;
    world.ecs.page_size(7);
    for name in ["one", "two", "three"] {
        let cluster = cluster(name);
        (0..20).for_each(|number| world.ecs.put_task(&task(&cluster, number, 3)));
        (20..30).for_each(|number| world.ecs.put_task(&stopped(task(&cluster, number, 5))));
        (0..10).for_each(|number| {
            world.ecs.put_container_instance(&cluster, &container_instance(&cluster, number, 2));
        });
    }
    world.ecs.put_cluster(&cluster("empty"));

    let all = json!({"scope": "fleet", "clusters": 4, "listed": 120, "stored": 120, "complete": true});
    assert_eq!(world.run("fleet").await, all);
    world.assert_equal_to_ecs();

    // A second run has nothing to do, and writes nothing.
    let writes = world.writes();
    let same = json!({"scope": "fleet", "clusters": 4, "listed": 120, "unchanged": 120, "complete": true});
    assert_eq!(world.run("fleet").await, same);
    assert_eq!(world.writes(), writes);
    let table = json!({"scope": "table", "complete": true});
    let answer = world.lambda.invoke(r#"{"scope": "table"}"#).await;
    assert_eq!(answer.body["listed"], 0, "rows that have just been reconciled are too young: {}", answer.body);
    assert_eq!(answer.body["complete"], table["complete"]);
    assert_eq!(world.writes(), writes);
}

#[tokio::test]
async fn a_run_answers_and_logs_the_same_fields() {
    let world = World::new().await;
    let demo = cluster("demo");
    world.ecs.put_task(&task(&demo, 1, 4));
    let answer = world.lambda.invoke(r#"{"scope": "fleet"}"#).await;
    let expected = json!({
        "scope": "fleet", "clusters": 1, "listed": 1, "stored": 1, "unchanged": 0, "stale": 0, "marked": 0,
        "cleared": 0, "indexed": 0, "drift": 0, "calls": 5, "failures": 0, "complete": true,
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
async fn absent_and_older_rows_are_written_equal_and_newer_ones_are_kept() {
    let world = World::new().await;
    let demo = cluster("demo");
    let tasks: Vec<Value> = (0..4).map(|number| task(&demo, number, 5)).collect();
    for task in &tasks {
        world.ecs.put_task(task);
    }
    let with_version = |task: &Value, version: u64| {
        let mut task = task.clone();
        task["version"] = json!(version);
        task
    };
    // The first has no row.
    put_row(&world, &with_version(&tasks[1], 4));
    let equal = put_row(&world, &with_version(&tasks[2], 5));
    let newer = put_row(&world, &with_version(&tasks[3], 6));

    // Of the two that are written, one had an older row, although its newest time is long ago.
    let expected = json!({
        "scope": "fleet", "clusters": 1, "listed": 4, "stored": 2, "unchanged": 1, "stale": 1, "drift": 1,
        "complete": true,
    });
    assert_eq!(world.run("fleet").await, expected);
    for task in &tasks[..2] {
        let row = world.row(arn(task));
        assert_eq!(row, reconciled_row(&demo, task, &row));
    }
    assert_eq!(world.row(arn(&tasks[2])), equal);
    assert_eq!(world.row(arn(&tasks[3])), newer);
}

#[tokio::test]
async fn a_task_that_changed_within_five_minutes_is_not_drift_nor_is_a_container_instance() {
    let world = World::new().await;
    let demo = cluster("demo");
    let mut changed = task(&demo, 1, 5);
    put_row(&world, &task(&demo, 1, 4));
    changed["connectivityAt"] = json!(f64::from(u32::try_from(Utc::now().timestamp()).unwrap() - 240));
    world.ecs.put_task(&changed);
    let instance = container_instance(&demo, 1, 5);
    world.ecs.put_container_instance(&demo, &instance);
    let row = json!({"containerInstanceArn": {"S": arn(&instance)}, "version": {"N": "4"}});
    world.dynamodb.put(CONTAINER_INSTANCES, &row);
    let expected = json!({"scope": "fleet", "clusters": 1, "listed": 2, "stored": 2, "complete": true});
    assert_eq!(world.run("fleet").await, expected);

    // Six minutes ago, it is.
    changed["connectivityAt"] = json!(f64::from(u32::try_from(Utc::now().timestamp()).unwrap() - 360));
    changed["version"] = json!(6);
    world.ecs.put_task(&changed);
    assert_eq!(world.run("fleet").await["drift"], 1);
}

#[tokio::test]
async fn of_equal_versions_the_event_wins_whichever_comes_first() {
    let world = World::new().await;
    let recorder = Lambda::start(&RECORDER, 1, &[("AWS_ENDPOINT_URL_DYNAMODB", &world.dynamodb.url)]).await;
    let task = task(&cluster("demo"), 1, 5);
    world.ecs.put_task(&task);
    let event = event(&task, LONG_AGO);

    // First the API, then the event.
    world.run("fleet").await;
    assert!(world.row(arn(&task)).get("reconciled_at").is_some());
    assert_eq!(recorder.invoke(event.to_string()).await.outcome(), "stored");
    assert_eq!(world.row(arn(&task)), events::row(&event));

    // First the event, then the API; and a second time, the event is a duplicate.
    assert_eq!(world.run("fleet").await["unchanged"], 1);
    assert_eq!(world.row(arn(&task)), events::row(&event));
    assert_eq!(recorder.invoke(event.to_string()).await.outcome(), "duplicate");

    // An older event does not replace a newer state of the API.
    let newer = self::task(&cluster("demo"), 1, 6);
    world.ecs.put_task(&newer);
    world.run("fleet").await;
    assert_eq!(recorder.invoke(event.to_string()).await.outcome(), "stale");
    let row = world.row(arn(&newer));
    assert_eq!(row, reconciled_row(&cluster("demo"), &newer, &row));
}

#[tokio::test]
async fn a_detail_with_a_field_named_like_one_of_ours_does_not_make_a_duplicate_count_as_a_tie() {
    let world = World::new().await;
    let recorder = Lambda::start(&RECORDER, 1, &[("AWS_ENDPOINT_URL_DYNAMODB", &world.dynamodb.url)]).await;
    let task = task(&cluster("demo"), 1, 5);
    let event = event(&task, LONG_AGO);
    let mut odd = event.clone();
    odd["detail"]["reconciled_at"] = json!("2026-03-02T09:14:28.000Z");
    odd["detail"]["missing_since"] = json!("2026-03-02T09:14:28.000Z");
    assert_eq!(recorder.invoke(odd.to_string()).await.outcome(), "stored");
    assert_eq!(world.row(arn(&task)), events::row(&event));
    assert_eq!(recorder.invoke(odd.to_string()).await.outcome(), "duplicate");

    // The same for what the API says.
    let mut odd = self::task(&cluster("demo"), 2, 5);
    odd["missing_since"] = json!("2026-03-02T09:14:28.000Z");
    odd["reconciled_at"] = json!(7);
    odd["event_id"] = json!("odd");
    world.ecs.put_task(&odd);
    world.run("fleet").await;
    let row = world.row(arn(&odd));
    for name in ["missing_since", "reconciled_at", "event_id"] {
        odd.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(row, reconciled_row(&cluster("demo"), &odd, &row));
}

#[tokio::test]
async fn what_ecs_no_longer_knows_is_marked_and_nothing_else_is() {
    let world = World::new().await;
    let demo = cluster("demo");
    let row = |number, change: &dyn Fn(&mut Value)| {
        let mut row = events::row(&event(&task(&demo, number, 5), LONG_AGO));
        change(&mut row);
        world.dynamodb.put(TASKS, &row);
        row
    };
    let ago = |minutes| json!({"S": (Utc::now() - TimeDelta::minutes(minutes)).to_rfc3339()});
    let remove = |row: &mut Value, name: &str| _ = row.as_object_mut().unwrap().remove(name);
    let missing = [
        row(0, &|_| {}),
        // Neither time: it counts as old.
        row(1, &|row| remove(row, "event_time")),
        row(2, &|row| {
            row["lastStatus"] = json!({"S": "DEPROVISIONING"});
            row["event_time"] = ago(16);
        }),
        // Without a status, it is not terminal.
        row(3, &|row| remove(row, "lastStatus")),
        row(4, &|row| {
            row["reconciled_at"] = row["event_time"].clone();
            remove(row, "event_time");
        }),
    ];
    let kept = [
        row(10, &|row| row["lastStatus"] = json!({"S": "STOPPED"})),
        row(11, &|row| row["lastStatus"] = json!({"S": "DELETED"})),
        row(12, &|row| row["event_time"] = ago(14)),
        row(13, &|row| {
            row["reconciled_at"] = ago(14);
            remove(row, "event_time");
        }),
        // Nobody can say which state this row has, or in which cluster it is.
        row(14, &|row| remove(row, "version")),
        row(15, &|row| remove(row, "clusterArn")),
        // ECS knows it.
        row(16, &|_| {}),
        // ECS does not say MISSING, but something else.
        row(17, &|_| {}),
    ];
    world.ecs.put_task(&task(&demo, 16, 5));
    world.ecs.put_task(&task(&demo, 17, 5));
    world.ecs.fail_description(arn(&task(&demo, 17, 5)), "ACCESS_DENIED", 1);

    let expected = json!({
        "scope": "table", "clusters": 1, "listed": 8, "marked": 5, "unchanged": 1, "complete": true,
    });
    assert_eq!(world.run("table").await, expected);
    for mut row in missing {
        let found = world.row(row["taskArn"]["S"].as_str().unwrap());
        assert_recent(&found["missing_since"]);
        row["missing_since"] = found["missing_since"].clone();
        assert_eq!(found, row);
    }
    for row in kept {
        assert_eq!(world.row(row["taskArn"]["S"].as_str().unwrap()), row);
    }
    // A marked row is not written again.
    let writes = world.writes();
    assert_eq!(world.run("table").await["marked"], Value::Null);
    assert_eq!(world.writes(), writes);
}

#[tokio::test]
async fn a_container_instance_is_marked_too() {
    let world = World::new().await;
    let demo = cluster("demo");
    world.ecs.put_cluster(&demo);
    let row = |number, status| {
        let instance = container_instance(&demo, number, 3);
        let row = json!({
            "containerInstanceArn": {"S": arn(&instance)}, "clusterArn": {"S": demo}, "version": {"N": "3"},
            "current_status": {"S": status}, "event_time": {"S": LONG_AGO},
        });
        world.dynamodb.put(CONTAINER_INSTANCES, &row);
        row
    };
    let (mut active, inactive) = (row(1, "ACTIVE"), row(2, "INACTIVE"));
    assert_eq!(world.run("table").await["marked"], 1);
    let found = world.row(active["containerInstanceArn"]["S"].as_str().unwrap());
    assert_recent(&found["missing_since"]);
    active["missing_since"] = found["missing_since"].clone();
    assert_eq!(found, active);
    assert_eq!(world.row(inactive["containerInstanceArn"]["S"].as_str().unwrap()), inactive);
}

#[tokio::test]
async fn a_marked_row_expires_only_if_it_is_missing_again_after_twelve_hours() {
    for (retention, hours, expires) in [("30", 11, false), ("30", 13, true), ("0", 13, false)] {
        let world = World::with(&[("RETENTION_DAYS", retention)]).await;
        let demo = cluster("demo");
        world.ecs.put_cluster(&demo);
        let mut row = put_row(&world, &task(&demo, 1, 5));
        row["missing_since"] = json!({"S": (Utc::now() - TimeDelta::hours(hours)).to_rfc3339()});
        world.dynamodb.put(TASKS, &row);
        assert_eq!(world.run("table").await, json!({"scope": "table", "clusters": 1, "listed": 1, "complete": true}));
        let found = world.row(arn(&task(&demo, 1, 5)));
        if expires {
            let at: i64 = found["expires_at"]["N"].as_str().unwrap().parse().unwrap();
            let days = TimeDelta::seconds(at - Utc::now().timestamp());
            assert!((days - TimeDelta::days(30)).abs() < TimeDelta::minutes(2), "{days}");
            row["expires_at"] = found["expires_at"].clone();
        }
        assert_eq!(found, row, "retention {retention}, {hours} h");
        // The expiry stays as it is.
        let writes = world.writes();
        world.run("table").await;
        assert_eq!(world.writes(), writes);
    }
}

#[tokio::test]
async fn both_scopes_clear_the_mark_of_whatever_ecs_returns_at_any_version() {
    for scope in ["fleet", "table"] {
        let world = World::new().await;
        let demo = cluster("demo");
        let mut rows = Vec::new();
        for (number, stored) in [(1, 4), (2, 5), (3, 6)] {
            world.ecs.put_task(&task(&demo, number, 5));
            let mut row = put_row(&world, &task(&demo, number, stored));
            rows.push(row.clone());
            row["missing_since"] = json!({"S": "2026-03-03T00:00:00.000Z"});
            row["expires_at"] = json!({"N": "4102444800"});
            world.dynamodb.put(TASKS, &row);
        }
        let expected = json!({
            "scope": scope, "clusters": 1, "listed": 3, "stored": 1, "unchanged": 1, "stale": 1, "cleared": 3,
            "drift": 1, "complete": true,
        });
        assert_eq!(world.run(scope).await, expected);
        let row = world.row(arn(&task(&demo, 1, 5)));
        assert_eq!(row, reconciled_row(&demo, &task(&demo, 1, 5), &row));
        assert_eq!(world.row(arn(&task(&demo, 2, 5))), rows[1]);
        assert_eq!(world.row(arn(&task(&demo, 3, 5))), rows[2]);
    }
}

#[tokio::test]
async fn one_wrong_answer_does_not_make_a_live_row_expire() {
    let world = World::new().await;
    let task = task(&cluster("demo"), 1, 5);
    world.ecs.put_task(&task);
    let row = put_row(&world, &task);
    world.ecs.flap(arn(&task), 1);
    assert_eq!(world.run("table").await["marked"], 1);
    assert!(world.row(arn(&task)).get("expires_at").is_none());
    assert_eq!(world.run("table").await["cleared"], 1);
    assert_eq!(world.row(arn(&task)), row);
}

/// Puts a row of version 5, starts a table run, and puts another one after the scan has read the first. Returns what is
/// there in the end.
async fn changed_after_the_scan(
    is_in_ecs: bool,
    before: impl Fn(&mut Value),
    after: impl Fn(&mut Value),
) -> [Value; 2] {
    let world = World::new().await;
    let task = task(&cluster("demo"), 1, 5);
    world.ecs.put_cluster(&cluster("demo"));
    if is_in_ecs {
        world.ecs.put_task(&task);
    }
    let mut row = events::row(&event(&task, LONG_AGO));
    before(&mut row);
    world.dynamodb.put(TASKS, &row);
    after(&mut row);
    let (dynamodb, changed) = (world.dynamodb.clone(), row.clone());
    world.ecs.before_describe(move || dynamodb.put(TASKS, &changed));
    world.run("table").await;
    [world.row(arn(&task)), row]
}

#[tokio::test]
async fn a_row_that_has_changed_since_the_scan_is_left_alone() {
    let long_ago = || json!({"S": "2026-03-03T00:00:00.000Z"});
    let keep = |_: &mut Value| {};
    // A newer event arrives: not marked.
    let [found, changed] = changed_after_the_scan(false, keep, |row| row["version"] = json!({"N": "6"})).await;
    assert_eq!(found, changed);
    // It has stopped: not marked.
    let [found, changed] = changed_after_the_scan(false, keep, |row| row["lastStatus"] = json!({"S": "STOPPED"})).await;
    assert_eq!(found, changed);
    // A newer state has been marked: its mark is not cleared.
    let mark = |row: &mut Value| row["missing_since"] = long_ago();
    let [found, changed] = changed_after_the_scan(true, mark, |row| row["version"] = json!({"N": "6"})).await;
    assert_eq!(found, changed);
    // The mark has been cleared: it does not expire.
    let clear = |row: &mut Value| _ = row.as_object_mut().unwrap().remove("missing_since");
    let [found, changed] = changed_after_the_scan(false, mark, clear).await;
    assert_eq!(found, changed);
    // The event of the version that ECS has arrives: it is not replaced.
    let older = |row: &mut Value| row["version"] = json!({"N": "4"});
    let [found, changed] = changed_after_the_scan(true, older, |row| row["version"] = json!({"N": "5"})).await;
    assert_eq!(found, changed);
}

#[tokio::test]
async fn rows_of_another_account_or_region_are_left_alone() {
    let world = World::new().await;
    let demo = cluster("demo");
    world.ecs.put_cluster(&demo);
    let elsewhere = [demo.replace("123456789012", "210987654321"), demo.replace("eu-west-1", "us-east-1")];
    let rows: Vec<Value> = elsewhere.iter().map(|cluster| put_row(&world, &task(cluster, 1, 5))).collect();
    put_row(&world, &task(&demo, 2, 5));
    let expected = json!({"scope": "table", "clusters": 1, "listed": 1, "marked": 1, "complete": true});
    assert_eq!(world.run("table").await, expected);
    for row in rows {
        assert_eq!(world.row(row["taskArn"]["S"].as_str().unwrap()), row);
    }
}

#[tokio::test]
async fn a_scan_reads_every_page() {
    let world = World::new().await;
    world.ecs.put_cluster(&cluster("demo"));
    // Some 2 MB in each of the 32 segments; a page has at most 1 MB.
    let rows = (0..200).map(|number| {
        let mut row = events::row(&event(&task(&cluster("demo"), number, 5), LONG_AGO));
        row["padding"] = json!({"S": "x".repeat(300_000)});
        row
    });
    world.dynamodb.fill(TASKS, rows.collect());
    let expected = json!({"scope": "table", "clusters": 1, "listed": 200, "marked": 200, "complete": true});
    assert_eq!(world.run("table").await, expected);
}

/// Puts the row of a task as a recorder without the index left it behind. Returns what it should be.
fn put_without_index(world: &World, event: &Value) -> Value {
    let row = events::row(event);
    let mut old = row.clone();
    for key in ["index_cluster", "index_state"] {
        assert!(old.as_object_mut().unwrap().remove(key).is_some());
    }
    world.dynamodb.put(TASKS, &old);
    row
}

#[tokio::test]
async fn a_fleet_run_adds_the_keys_of_the_index_to_rows_that_lack_them() {
    let world = World::new().await;
    let demo = cluster("demo");
    let mut detailed = event(&task(&demo, 1, 5), LONG_AGO);
    detailed["detail"]["group"] = json!("service:web");
    detailed["detail"]["createdAt"] = json!("2026-03-02T08:00:00Z");
    let expected = [
        put_without_index(&world, &detailed),
        put_without_index(&world, &event(&stopped(task(&demo, 2, 5)), LONG_AGO)),
        // Newer than what ECS says.
        put_without_index(&world, &event(&task(&demo, 3, 6), LONG_AGO)),
    ];
    (1..4).for_each(|number| world.ecs.put_task(&task(&demo, number, 5)));
    world.ecs.put_task(&stopped(task(&demo, 2, 5)));
    let first = json!({
        "scope": "fleet", "clusters": 1, "listed": 3, "unchanged": 2, "stale": 1, "indexed": 3, "complete": true,
    });
    assert_eq!(world.run("fleet").await, first);
    for row in expected {
        assert_eq!(world.row(row["taskArn"]["S"].as_str().unwrap()), row);
    }
    assert_eq!(world.run("fleet").await["indexed"], Value::Null);
}

#[tokio::test]
async fn a_table_run_adds_the_keys_of_the_index_to_every_row_that_lacks_them() {
    let world = World::with(&[("CLUSTER_ARNS", &cluster("demo"))]).await;
    let demo = cluster("demo");
    world.ecs.put_task(&task(&demo, 1, 5));
    let now = Utc::now().to_rfc3339();
    let expected = [
        put_without_index(&world, &event(&task(&demo, 1, 5), LONG_AGO)),
        put_without_index(&world, &event(&stopped(task(&demo, 2, 5)), LONG_AGO)),
        // Too young to be compared with ECS, and of a cluster that is not configured.
        put_without_index(&world, &event(&task(&demo, 3, 5), &now)),
        put_without_index(&world, &event(&task(&cluster("other"), 4, 5), LONG_AGO)),
    ];
    // Nobody can say which cluster or which state these are of.
    let mut kept =
        [events::row(&event(&task(&demo, 5, 5), LONG_AGO)), events::row(&event(&task(&demo, 6, 5), LONG_AGO))];
    for (row, absent) in kept.iter_mut().zip(["clusterArn", "version"]) {
        for name in [absent, "index_cluster", "index_state"] {
            row.as_object_mut().unwrap().remove(name);
        }
        row["lastStatus"] = json!({"S": "STOPPED"});
        world.dynamodb.put(TASKS, row);
    }
    let instance = json!({
        "containerInstanceArn": {"S": arn(&container_instance(&demo, 1, 5))}, "clusterArn": {"S": demo},
        "version": {"N": "5"}, "current_status": {"S": "INACTIVE"}, "event_time": {"S": LONG_AGO},
    });
    world.dynamodb.put(CONTAINER_INSTANCES, &instance);

    let first = json!({
        "scope": "table", "clusters": 1, "listed": 1, "unchanged": 1, "indexed": 4, "complete": true,
    });
    assert_eq!(world.run("table").await, first);
    for row in expected.into_iter().chain(kept) {
        assert_eq!(world.row(row["taskArn"]["S"].as_str().unwrap()), row);
    }
    assert_eq!(world.row(instance["containerInstanceArn"]["S"].as_str().unwrap()), instance);
    let writes = world.writes();
    assert_eq!(world.run("table").await["indexed"], Value::Null);
    assert_eq!(world.writes(), writes);
}

#[tokio::test]
async fn the_keys_of_the_index_are_added_only_to_the_state_that_was_read_and_at_a_limited_pace() {
    let world = World::new().await;
    let demo = cluster("demo");
    let rows: Vec<Value> =
        (0..250).map(|number| put_without_index(&world, &event(&task(&demo, number, 5), LONG_AGO))).collect();
    let changed = |number: usize, change: &dyn Fn(&mut Value)| {
        let mut row = rows[number].clone();
        change(&mut row);
        world.dynamodb.put(TASKS, &row);
        row
    };
    let client = dynamodb_client(&world.dynamodb.url).await;
    let arns: Vec<&str> = rows[..2].iter().map(|row| row["taskArn"]["S"].as_str().unwrap()).collect();
    let known = rows::read(&client, TASKS, Resource::Task, &arns).await.unwrap();
    // A newer state, and the same by an event, both with keys of their own.
    let newer = changed(0, &|row| {
        row["version"] = json!({"N": "6"});
        row["index_state"] = json!({"S": "S#2026-03-02T10:00:00.000Z"});
    });
    let same = changed(1, &|row| row["index_state"] = json!({"S": "A#service:web#2026-03-02T10:00:00.000Z"}));
    for (arn, row) in arns.iter().zip([newer, same]) {
        let known = &known[*arn];
        let keys = known.lacks.clone().expect("keys");
        assert!(!rows::index(&client, TASKS, known, keys).await.unwrap());
        assert_eq!(world.row(arn), row);
    }
    // 248 others, 500 a second.
    world.ecs.put_cluster(&demo);
    let start = Instant::now();
    assert_eq!(world.run("table").await["indexed"], 248);
    assert!(start.elapsed() > Duration::from_millis(490), "{:?}", start.elapsed());
}

/// A client as the reconciler has it.
async fn dynamodb_client(url: &str) -> aws_sdk_dynamodb::Client {
    let aws = aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(url)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .region(Region::from_static("eu-west-1"))
        .test_credentials()
        .load()
        .await;
    client::new(&aws)
}

/// A DynamoDB that leaves keys unprocessed so many times, and then has no rows.
async fn hesitant_dynamodb(times: usize) -> String {
    let left = Arc::new(Mutex::new(times));
    let respond = move |headers: HeaderMap, body: String| async move {
        let request: Value = serde_json::from_str(&body).unwrap();
        let is_read = headers["x-amz-target"].to_str().unwrap().ends_with("BatchGetItem");
        let mut left = left.lock().unwrap();
        let answer = if is_read && *left > 0 {
            *left -= 1;
            json!({"Responses": {}, "UnprocessedKeys": request["RequestItems"]})
        } else if is_read {
            let task = task(&cluster("demo"), 1, 5);
            let row = json!({"taskArn": {"S": arn(&task)}, "version": {"N": "5"}});
            json!({"Responses": {TASKS: [row]}, "UnprocessedKeys": {}})
        } else {
            json!({})
        };
        ([("x-amzn-requestid", "1")], answer.to_string())
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(respond)).await.unwrap() });
    url
}

#[tokio::test]
async fn keys_that_dynamodb_leaves_unprocessed_are_asked_for_again_and_never_taken_for_absent() {
    for (times, message) in [(3, None), (100, Some("DynamoDB repeatedly left some rows unread"))] {
        let ecs = Ecs::start().await;
        ecs.put_task(&task(&cluster("demo"), 1, 5));
        let url = hesitant_dynamodb(times).await;
        let variables = [
            ("AWS_ENDPOINT_URL_ECS", ecs.url.as_str()),
            ("AWS_ENDPOINT_URL_DYNAMODB", &url),
            ("ECS_CALLS_PER_SECOND", "20"),
        ];
        let lambda = Lambda::start(&RECONCILER, 1, &variables).await;
        lambda.set_timeout(Duration::from_mins(1));
        let answer = lambda.invoke(r#"{"scope": "fleet"}"#).await;
        match message {
            None => {
                let expected = json!({"scope": "fleet", "clusters": 1, "listed": 1, "unchanged": 1, "complete": true});
                assert_eq!(counts(answer.body), expected);
            }
            Some(message) => {
                assert!(answer.body["errorMessage"].as_str().unwrap().contains(message), "{}", answer.body);
            }
        }
    }
}

/// An STS and a DynamoDB without rows, in one. Returns its URL, and what it is asked: the signature's access key, region
/// and service, and the body.
async fn tables_of_another_account(sts: (u16, String)) -> (String, Arc<Mutex<Vec<(String, String)>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let asked = requests.clone();
    let respond = move |headers: HeaderMap, body: String| async move {
        let signature = headers["authorization"].to_str().unwrap();
        let [key, _, region, service, _] =
            signature.split(['=', ',']).nth(1).unwrap().split('/').collect::<Vec<_>>()[..]
        else {
            panic!("{signature}")
        };
        asked.lock().unwrap().push((format!("{key} {region} {service}"), body));
        let (status, answer) = match service {
            "sts" => sts.clone(),
            _ => (200, json!({"Responses": {}, "UnprocessedKeys": {}}).to_string()),
        };
        (StatusCode::from_u16(status).unwrap(), [("x-amzn-requestid", "1")], answer)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(respond)).await.unwrap() });
    (url, requests)
}

/// A fleet run of one task, with tables in another account.
async fn run_by_role(sts: (u16, String)) -> (Answer, Vec<(String, String)>, String) {
    let (url, requests) = tables_of_another_account(sts).await;
    let ecs = Ecs::start().await;
    ecs.put_task(&task(&cluster("demo"), 1, 5));
    let variables = [
        ("AWS_ENDPOINT_URL_ECS", ecs.url.as_str()),
        ("AWS_ENDPOINT_URL_DYNAMODB", &url),
        ("AWS_ENDPOINT_URL_STS", &url),
        ("AWS_ACCESS_KEY_ID", "OWN"),
        ("TABLE_ROLE_ARN", "arn:aws:iam::123456789012:role/tables"),
        ("TABLE_REGION", "us-east-1"),
        ("ACCOUNT_ID", "111122223333"),
    ];
    let lambda = Lambda::start(&RECONCILER, 1, &variables).await;
    lambda.set_timeout(Duration::from_mins(1));
    let answer = lambda.invoke(r#"{"scope": "fleet"}"#).await;
    let requests = requests.lock().unwrap().clone();
    (answer, requests, lambda.log())
}

#[tokio::test]
async fn tables_of_another_account_are_read_and_written_in_their_region_by_a_role_there() {
    let expiration = (Utc::now() + TimeDelta::hours(1)).to_rfc3339();
    let credentials = format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
         <AccessKeyId>ROLES</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>{SECRET}</SessionToken>\
         <Expiration>{expiration}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    );
    let (answer, requests, _) = run_by_role((200, credentials)).await;
    assert_eq!(counts(answer.body)["stored"], 1);
    let [(sts, assume), reads_and_writes @ ..] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(sts, "OWN us-east-1 sts");
    for field in [
        "Action=AssumeRole&",
        "&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Ftables&",
        "&Tags.member.1.Key=account&Tags.member.1.Value=111122223333",
    ] {
        assert!(assume.contains(field), "{field}: {assume}");
    }
    // The role is assumed once. The harness's ECS takes only the function's own region.
    assert!(reads_and_writes.len() >= 2 && reads_and_writes.iter().all(|(by, _)| by == "ROLES us-east-1 dynamodb"));
}

#[tokio::test]
async fn a_role_that_cannot_be_assumed_is_an_error_that_names_its_variable_and_quotes_nothing() {
    let refusal =
        format!("<ErrorResponse><Error><Code>AccessDenied</Code><Message>{SECRET}</Message></Error></ErrorResponse>");
    let (answer, requests, log) = run_by_role((403, refusal)).await;
    let message = answer.body["errorMessage"].as_str().unwrap();
    assert!(message.contains("the AWS credentials could not be fetched"), "{message}");
    assert!(message.contains("TABLE_ROLE_ARN, that role's trust policy"), "{message}");
    assert!(!log.contains(SECRET) && !message.contains(SECRET), "{log} {message}");
    assert!(requests.iter().all(|(by, _)| by == "OWN us-east-1 sts"), "{requests:?}");
}

#[tokio::test]
async fn rows_of_a_cluster_that_is_gone_are_marked_only_if_describe_clusters_says_so() {
    let world = World::new().await;
    for (number, gone) in [(1, Gone::Inactive), (2, Gone::Missing)] {
        let cluster = cluster(&format!("gone-{number}"));
        world.ecs.put_cluster(&cluster);
        put_row(&world, &task(&cluster, number, 5));
        world.ecs.delete_cluster(&cluster, gone);
    }
    // DescribeTasks says that this cluster is not found, but DescribeClusters that it is active.
    let active = task(&cluster("active"), 3, 5);
    world.ecs.put_task(&active);
    let kept = put_row(&world, &active);
    world.ecs.inject(
        Rule::new(Fault::ClusterNotFound, Times::Always).operation("DescribeTasks").cluster(&cluster("active")),
    );
    let expected = json!({"scope": "table", "clusters": 3, "listed": 3, "marked": 2, "complete": true});
    assert_eq!(world.run("table").await, expected);
    assert_eq!(world.row(arn(&active)), kept);
}

#[tokio::test]
async fn a_cluster_that_is_gone_is_empty_for_a_fleet_run() {
    let (demo, gone) = (cluster("demo"), cluster("gone"));
    let world = World::with(&[("CLUSTER_ARNS", &format!("{demo},{gone}"))]).await;
    world.ecs.put_task(&task(&demo, 1, 5));
    let expected = json!({"scope": "fleet", "clusters": 2, "listed": 1, "stored": 1, "complete": true});
    assert_eq!(world.run("fleet").await, expected);
}

#[tokio::test]
async fn both_scopes_look_only_at_the_configured_clusters() {
    let (ours, theirs): (String, String) = (cluster("ours"), cluster("theirs"));
    let world = World::with(&[("CLUSTER_ARNS", &ours)]).await;
    for cluster in [&ours, &theirs] {
        world.ecs.put_task(&task(cluster, 1, 5));
        put_row(&world, &task(cluster, 2, 5));
    }
    let expected = json!({"scope": "fleet", "clusters": 1, "listed": 1, "stored": 1, "complete": true});
    assert_eq!(world.run("fleet").await, expected);
    let expected = json!({"scope": "table", "clusters": 1, "listed": 1, "marked": 1, "complete": true});
    assert_eq!(world.run("table").await, expected);
    assert!(world.ecs.calls().iter().all(|call| call.cluster.as_deref() != Some(&*theirs)));
}

#[tokio::test]
async fn a_table_run_writes_what_is_newer_in_ecs_and_describes_by_a_hundred() {
    let world = World::new().await;
    let mut rows = Vec::new();
    for name in ["one", "two"] {
        for number in 0..150 {
            let task = task(&cluster(name), number, 5);
            world.ecs.put_task(&task);
            rows.push(events::row(&event(&self::task(&cluster(name), number, 4), LONG_AGO)));
        }
    }
    world.dynamodb.fill(TASKS, rows);
    let expected = json!({
        "scope": "table", "clusters": 2, "listed": 300, "stored": 300, "drift": 300, "complete": true,
    });
    assert_eq!(world.run("table").await, expected);
    world.assert_equal_to_ecs();
    let mut sizes: Vec<usize> = world.ecs.calls().iter().map(|call| call.arns).collect();
    sizes.sort_unstable();
    // The first lists the clusters.
    assert_eq!(sizes, [0, 50, 50, 100, 100]);
}

#[tokio::test]
async fn every_kind_of_thing_in_the_api_becomes_what_an_event_has() {
    let world = World::new().await;
    let demo = cluster("demo");
    // The JSON of a field in the API, and the attribute that it must become.
    let cases = [
        // Rounded from its digits: as a float, the last one would be …710.
        (r#""createdAt": 1.619719924711E9"#, json!({"createdAt": {"S": "2021-04-29T18:12:04.711Z"}})),
        (r#""createdAt": 1619719924"#, json!({"createdAt": {"S": "2021-04-29T18:12:04.000Z"}})),
        (r#""createdAt": 1619719924.7114999999"#, json!({"createdAt": {"S": "2021-04-29T18:12:04.711Z"}})),
        (r#""createdAt": 1619719924.7115"#, json!({"createdAt": {"S": "2021-04-29T18:12:04.712Z"}})),
        (r#""createdAt": 16197199247115e-4"#, json!({"createdAt": {"S": "2021-04-29T18:12:04.712Z"}})),
        (r#""createdAt": 1619719924.9999"#, json!({"createdAt": {"S": "2021-04-29T18:12:05.000Z"}})),
        (r#""createdAt": 0"#, json!({"createdAt": {"S": "1970-01-01T00:00:00.000Z"}})),
        (r#""createdAt": 1e-9"#, json!({"createdAt": {"S": "1970-01-01T00:00:00.000Z"}})),
        (r#""createdAt": 253402300799.999"#, json!({"createdAt": {"S": "9999-12-31T23:59:59.999Z"}})),
        (r#""createdAt": 0.0000000001619719924711E19"#, json!({"createdAt": {"S": "2021-04-29T18:12:04.711Z"}})),
        // What is not a time of the next 8,000 years stays as it is.
        (r#""createdAt": 253402300800"#, json!({"createdAt": {"N": "253402300800"}})),
        (r#""createdAt": 1e30"#, json!({"createdAt": {"N": "1000000000000000000000000000000"}})),
        (r#""createdAt": -1"#, json!({"createdAt": {"N": "-1"}})),
        (r#""createdAt": -1e-9"#, json!({"createdAt": {"N": "-0.000000001"}})),
        (r#""createdAt": "2026-03-02T09:14:28Z""#, json!({"createdAt": {"S": "2026-03-02T09:14:28Z"}})),
        (r#""createdAt": null"#, json!({"createdAt": {"NULL": true}})),
        (r#""connectivityAt": 1.5"#, json!({"connectivityAt": {"S": "1970-01-01T00:00:01.500Z"}})),
        (r#""executionStoppedAt": 1.5"#, json!({"executionStoppedAt": {"S": "1970-01-01T00:00:01.500Z"}})),
        (r#""pullStartedAt": 1.5"#, json!({"pullStartedAt": {"S": "1970-01-01T00:00:01.500Z"}})),
        (r#""pullStoppedAt": 1.5"#, json!({"pullStoppedAt": {"S": "1970-01-01T00:00:01.500Z"}})),
        (r#""startedAt": 1.5"#, json!({"startedAt": {"S": "1970-01-01T00:00:01.500Z"}})),
        (r#""stoppedAt": 1.5"#, json!({"stoppedAt": {"S": "1970-01-01T00:00:01.500Z"}})),
        (r#""stoppingAt": 1.5"#, json!({"stoppingAt": {"S": "1970-01-01T00:00:01.500Z"}})),
        // A field of another name is not a time.
        (r#""someAt": 1.5"#, json!({"someAt": {"N": "1.5"}})),
        (
            r#""attachments": [{"type": "ElasticNetworkInterface"}, {"type": "Service Connect"}, {}, 7]"#,
            json!({"attachments": {"L": [
                {"M": {"type": {"S": "eni"}}}, {"M": {"type": {"S": "Service Connect"}}}, {"M": {}}, {"N": "7"},
            ]}}),
        ),
        (r#""attachments": []"#, json!({"attachments": {"L": []}})),
        (
            r#""containers": [{"managedAgents": [{"name": "a", "lastStatus": "RUNNING", "lastStartedAt": 1.5,
                "reason": null}, {"lastStatus": "STOPPED", "status": "both"}], "networkBindings": []}, "odd"]"#,
            json!({"containers": {"L": [
                {"M": {
                    "managedAgents": {"L": [
                        {"M": {
                            "name": {"S": "a"}, "status": {"S": "RUNNING"}, "reason": {"NULL": true},
                            "lastStartedAt": {"S": "1970-01-01T00:00:01.500Z"},
                        }},
                        {"M": {"lastStatus": {"S": "STOPPED"}, "status": {"S": "both"}}},
                    ]},
                    "networkBindings": {"L": []},
                }},
                {"S": "odd"},
            ]}}),
        ),
        (
            r#""aNewField": {"digits": 0.10000000000000000000000000000000001}"#,
            json!({
                "aNewField": {"M": {"digits": {"N": "0.10000000000000000000000000000000001"}}},
            }),
        ),
        (r#""tags": [], "inferenceAccelerators": []"#, json!({"tags": {"L": []}, "inferenceAccelerators": {"L": []}})),
        (r#""healthStatus": "UNKNOWN""#, json!({"healthStatus": {"S": "UNKNOWN"}})),
        // A terminal state expires 30 days after it stopped.
        (
            r#""lastStatus": "STOPPED", "stoppedAt": 1619719924.9999"#,
            json!({
                "lastStatus": {"S": "STOPPED"}, "stoppedAt": {"S": "2021-04-29T18:12:05.000Z"},
                "expires_at": {"N": "1622311925"},
            }),
        ),
        (r#""status": "odd""#, json!({"current_status": {"S": "odd"}})),
    ];
    let arn = |number: usize| format!("arn:aws:ecs:eu-west-1:123456789012:task/demo/{number:032}");
    for (number, (fields, _)) in cases.iter().enumerate() {
        world.ecs.put_task_text(&format!(
            r#"{{"taskArn": "{}", "clusterArn": "{demo}", "desiredStatus": "RUNNING", "version": 7, {fields}}}"#,
            arn(number)
        ));
    }
    assert_eq!(world.run("fleet").await["stored"], cases.len());
    for (number, (fields, expected)) in cases.into_iter().enumerate() {
        let mut row = world.row(&arn(number));
        let attributes = row.as_object_mut().unwrap();
        assert_recent(&attributes.remove("reconciled_at").unwrap());
        for (name, value) in [
            ("taskArn", json!({"S": arn(number)})),
            ("clusterArn", json!({"S": demo})),
            ("desiredStatus", json!({"S": "RUNNING"})),
            ("version", json!({"N": "7"})),
            ("index_cluster", json!({"S": demo})),
        ] {
            assert_eq!(attributes.remove(name), Some(value));
        }
        assert!(attributes.remove("index_state").is_some());
        assert_eq!(row, expected, "{fields}");
    }
}

/// The task is that of <https://docs.aws.amazon.com/cli/latest/reference/ecs/describe-tasks.html>.
#[tokio::test]
async fn the_task_in_awss_documentation_becomes_what_an_event_has() {
    let world = World::new().await;
    let cluster = "arn:aws:ecs:us-west-2:123456789012:cluster/MyCluster";
    let task = json!({
        "taskArn": "arn:aws:ecs:us-west-2:123456789012:task/MyCluster/1234567890123456789",
        "clusterArn": cluster,
        "taskDefinitionArn": "arn:aws:ecs:us-west-2:123456789012:task-definition/sample-fargate:2",
        "overrides": {"containerOverrides": [{"name": "fargate-app"}]},
        "lastStatus": "RUNNING", "desiredStatus": "RUNNING", "cpu": "256", "memory": "512",
        "containers": [{
            "containerArn": "arn:aws:ecs:us-west-2:123456789012:container/a1b2c3d4-5678-90ab-cdef-11111EXAMPLE",
            "taskArn": "arn:aws:ecs:us-west-2:123456789012:task/MyCluster/1234567890123456789",
            "name": "fargate-app", "lastStatus": "RUNNING", "networkBindings": [],
            "networkInterfaces": [
                {"attachmentId": "a1b2c3d4-5678-90ab-cdef-22222EXAMPLE", "privateIpv4Address": "10.0.0.4"},
            ],
            "healthStatus": "UNKNOWN", "cpu": "0",
        }],
        "startedBy": "ecs-svc/1234567890123456789", "version": 3, "connectivity": "CONNECTED",
        "connectivityAt": 1_557_134_016.971, "pullStartedAt": 1_557_134_025.379, "pullStoppedAt": 1_557_134_033.379,
        "createdAt": 1_557_134_011.644, "startedAt": 1_557_134_035.379, "group": "service:fargate-service",
        "launchType": "FARGATE", "platformVersion": "1.3.0",
        "attachments": [{
            "id": "a1b2c3d4-5678-90ab-cdef-33333EXAMPLE", "type": "ElasticNetworkInterface", "status": "ATTACHED",
            "details": [
                {"name": "subnetId", "value": "subnet-12344321"},
                {"name": "networkInterfaceId", "value": "eni-12344321"},
                {"name": "macAddress", "value": "0a:90:09:84:f9:14"},
                {"name": "privateIPv4Address", "value": "10.0.0.4"},
            ],
        }],
        "healthStatus": "UNKNOWN", "tags": [],
    });
    world.ecs.put_task(&task);
    assert_eq!(world.run("fleet").await["stored"], 1);
    let row = world.row(arn(&task));
    assert_eq!(row, reconciled_row(cluster, &task, &row));
    assert_eq!(row["createdAt"], json!({"S": "2019-05-06T09:13:31.644Z"}));
    assert_eq!(row["attachments"]["L"][0]["M"]["type"], json!({"S": "eni"}));
}

#[tokio::test]
async fn a_container_instance_of_the_api_becomes_what_an_event_has() {
    let world = World::new().await;
    let demo = cluster("demo");
    let arn = "arn:aws:ecs:eu-west-1:123456789012:container-instance/demo/1";
    world.ecs.put_container_instance_text(
        &demo,
        &format!(
            r#"{{"containerInstanceArn": "{arn}", "version": 3, "status": "ACTIVE", "registeredAt": 1.5,
            "attachments": [{{"type": "ElasticNetworkInterface"}}],
            "registeredResources": [{{"name": "CPU", "type": "INTEGER", "doubleValue": 0.0, "integerValue": 2048}}],
            "healthStatus": {{"overallStatus": "OK", "details": [
                {{"lastUpdated": 1.5, "lastStatusChange": 2.25, "other": 1.5}}]}}, "tags": []}}"#
        ),
    );
    assert_eq!(world.run("fleet").await["stored"], 1);
    let row = world.row(arn);
    assert_recent(&row["reconciled_at"]);
    let expected = json!({
        "containerInstanceArn": {"S": arn}, "version": {"N": "3"}, "clusterArn": {"S": demo},
        "current_status": {"S": "ACTIVE"}, "registeredAt": {"S": "1970-01-01T00:00:01.500Z"},
        "attachments": {"L": [{"M": {"type": {"S": "eni"}}}]},
        "registeredResources": {"L": [{"M": {
            "name": {"S": "CPU"}, "type": {"S": "INTEGER"}, "doubleValue": {"N": "0"}, "integerValue": {"N": "2048"},
        }}]},
        "healthStatus": {"M": {"overallStatus": {"S": "OK"}, "details": {"L": [{"M": {
            "lastUpdated": {"S": "1970-01-01T00:00:01.500Z"}, "lastStatusChange": {"S": "1970-01-01T00:00:02.250Z"},
            "other": {"N": "1.5"},
        }}]}}},
        "tags": {"L": []}, "reconciled_at": row["reconciled_at"],
    });
    assert_eq!(row, expected);
}

#[tokio::test]
async fn a_stopped_state_without_a_time_expires_from_when_it_was_reconciled() {
    let world = World::new().await;
    let mut task = stopped(task(&cluster("demo"), 1, 5));
    task.as_object_mut().unwrap().remove("stoppedAt");
    world.ecs.put_task(&task);
    world.run("fleet").await;
    let row = world.row(arn(&task));
    assert_eq!(row, reconciled_row(&cluster("demo"), &task, &row));
    assert!(row.get("expires_at").is_some());
}

#[tokio::test]
async fn overridden_environment_variables_are_redacted_if_configured() {
    let world = World::with(&[("REDACT_ENVIRONMENT", "true")]).await;
    let task = task(&cluster("demo"), 1, 5);
    world.ecs.put_task(&task);
    world.run("fleet").await;
    let row = world.row(arn(&task));
    let environment = &row["overrides"]["M"]["containerOverrides"]["L"][0]["M"]["environment"];
    let expected = json!({"L": [{"M": {"name": {"S": "FEATURE_FLAGS"}, "value": {"S": "[redacted]"}}}]});
    assert_eq!(*environment, expected);
}

#[tokio::test]
async fn what_is_listed_as_running_first_can_not_stop_in_between_and_be_missed() {
    let world = World::new().await;
    let demo = cluster("demo");
    world.ecs.put_task(&task(&demo, 1, 5));
    // The task stops once the running ones have been listed.
    world.ecs.after_list("RUNNING", &stopped(task(&demo, 2, 6)));
    assert_eq!(world.run("fleet").await["stored"], 2);
}

#[tokio::test]
async fn a_transient_fault_of_ecs_is_retried() {
    for fault in [Fault::Throttled, Fault::ServerError, Fault::HalfAnswer, Fault::Closed] {
        let world = World::new().await;
        world.ecs.put_task(&task(&cluster("demo"), 1, 5));
        world.ecs.inject(Rule::new(fault, Times::Every(2)));
        let expected = json!({"scope": "fleet", "clusters": 1, "listed": 1, "stored": 1, "complete": true});
        assert_eq!(world.run("fleet").await, expected, "{fault:?}");
        world.assert_equal_to_ecs();
    }
}

#[tokio::test]
async fn a_lasting_fault_fails_its_part_alone_and_the_error_names_it() {
    for (fault, reason) in [
        (Fault::Throttled, "ThrottlingException (HTTP 400)"),
        (Fault::ServerError, "ServerException (HTTP 500)"),
        (Fault::AccessDenied, "AccessDeniedException (HTTP 400); the function's role must allow it"),
        (Fault::HalfAnswer, "the connection failed"),
        (Fault::Closed, "the connection failed"),
        (Fault::NotJson, "the response is not one of ECS"),
        (Fault::Foreign("the password is hunter2"), "no ECS error code (HTTP 400); check the endpoint"),
        (Fault::Foreign("hunter2"), "no ECS error code (HTTP 400); check the endpoint"),
    ] {
        let world = World::new().await;
        let (good, bad) = (cluster("good"), cluster("bad"));
        for cluster in [&good, &bad] {
            let mut task = task(cluster, 1, 5);
            task["overrides"]["containerOverrides"][0]["environment"][0]["value"] = json!(SECRET);
            world.ecs.put_task(&task);
            world.ecs.put_container_instance(cluster, &container_instance(cluster, 1, 5));
        }
        world.ecs.inject(Rule::new(fault, Times::Always).operation("DescribeTasks").cluster(&bad));
        let (error_type, message) = world.fail("fleet").await;
        assert_eq!(error_type, "Incomplete");
        assert!(message.contains(&format!("DescribeTasks of {bad}: {reason}")), "{message}");
        assert!(message.starts_with("1 part of the run failed, and the next run repeats them: "), "{message}");
        assert_eq!(world.rows().len(), 3, "{fault:?}");
        let log = world.lambda.log();
        let line: Value = serde_json::from_str(log.lines().nth(1).unwrap()).unwrap();
        assert_eq!((&line["stored"], &line["failures"], &line["complete"]), (&json!(3), &json!(1), &json!(true)));
        assert!(!message.contains(SECRET) && !log.contains(SECRET));
        // The next run repeats it.
        world.ecs.clear_faults();
        assert_eq!(world.run("fleet").await["stored"], 1);
    }
}

#[tokio::test]
async fn a_page_that_fails_leaves_what_the_pages_before_it_listed() {
    let world = World::new().await;
    world.ecs.page_size(1);
    (0..3).for_each(|number| world.ecs.put_task(&task(&cluster("demo"), number, 5)));
    world.ecs.inject(Rule::new(Fault::AccessDenied, Times::Every(2)).operation("ListTasks"));
    let (error_type, message) = world.fail("fleet").await;
    assert_eq!(error_type, "Incomplete");
    assert!(message.contains("ListTasks"), "{message}");
    assert_eq!(world.rows().len(), 1);
}

#[tokio::test]
async fn a_listed_task_that_ecs_does_not_describe_is_a_failure_unless_it_is_missing_by_now() {
    let world = World::new().await;
    let [denied, gone, odd] = [1, 2, 3].map(|number| task(&cluster("demo"), number, 5));
    for task in [&denied, &gone, &odd] {
        world.ecs.put_task(task);
    }
    world.ecs.fail_description(arn(&denied), "ACCESS_DENIED", 1);
    world.ecs.flap(arn(&gone), 1);
    world.ecs.fail_description(arn(&odd), "the password is hunter2", 1);
    let (_, message) = world.fail("fleet").await;
    assert!(message.starts_with("2 parts of the run failed"), "{message}");
    assert!(message.contains("ACCESS_DENIED") && message.contains("an unknown reason"), "{message}");
    assert!(!message.contains(SECRET), "{message}");
}

#[tokio::test]
async fn an_outage_does_not_use_up_the_retries() {
    let world = World::new().await;
    // An operation that always fails, often enough to use up the SDK's bucket of retries.
    (0..60).for_each(|number| world.ecs.put_task(&task(&cluster(&format!("c{number}")), 1, 5)));
    world.ecs.inject(Rule::new(Fault::Closed, Times::Always).operation("DescribeTasks"));
    world.lambda.set_timeout(Duration::from_secs(35));
    world.lambda.invoke(r#"{"scope": "fleet"}"#).await;
    world.ecs.clear_faults();
    world.ecs.inject(Rule::new(Fault::Closed, Times::Next(2)).operation("ListClusters"));
    let before = world.ecs.calls().len();
    world.lambda.set_timeout(Duration::from_secs(15));
    let answer = world.lambda.invoke(r#"{"scope": "fleet"}"#).await;
    let lists = world.ecs.calls().into_iter().skip(before).filter(|call| call.operation == "ListClusters").count();
    assert_eq!(lists, 3, "{}", answer.body);
}

#[tokio::test]
async fn all_faults_mixed_leave_nothing_wrong_and_the_next_run_does_the_rest() {
    let world = World::new().await;
    world.ecs.page_size(5);
    for name in ["one", "two", "three"] {
        (0..12).for_each(|number| world.ecs.put_task(&task(&cluster(name), number, 5)));
        world.ecs.put_container_instance(&cluster(name), &container_instance(&cluster(name), 1, 5));
    }
    for (fault, every) in [
        (Fault::Throttled, 4),
        (Fault::ServerError, 5),
        (Fault::Closed, 7),
        (Fault::HalfAnswer, 9),
        (Fault::NotJson, 11),
        (Fault::AccessDenied, 13),
    ] {
        world.ecs.inject(Rule::new(fault, Times::Every(every)));
    }
    world.lambda.invoke(r#"{"scope": "fleet"}"#).await;
    let states: BTreeMap<String, Value> =
        world.ecs.states().into_iter().map(|(_, state)| (arn(&state).to_owned(), state)).collect();
    for (arn, row) in world.rows() {
        let cluster = row["clusterArn"]["S"].as_str().unwrap();
        assert_eq!(row, reconciled_row(cluster, &states[&arn], &row));
    }
    world.ecs.clear_faults();
    world.run("fleet").await;
    world.assert_equal_to_ecs();
}

#[tokio::test]
async fn silence_of_ecs_ends_in_an_error() {
    let world = World::new().await;
    world.ecs.put_task(&task(&cluster("demo"), 1, 5));
    world.ecs.inject(Rule::new(Fault::Silence, Times::Always));
    let start = Instant::now();
    let (error_type, message) = world.fail("fleet").await;
    assert_eq!(error_type, "Incomplete");
    assert!(
        message
            .ends_with("ListClusters: no response within 10 s; check the network routes and the AWS Health Dashboard"),
        "{message}"
    );
    assert!(start.elapsed() < Duration::from_mins(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_fault_of_dynamodb_fails_the_part_alone() {
    let world = World::new().await;
    world.ecs.put_task(&task(&cluster("demo"), 1, 5));
    world.ecs.put_container_instance(&cluster("demo"), &container_instance(&cluster("demo"), 1, 5));
    world.dynamodb.delete_table(TASKS);
    let (error_type, message) = world.fail("fleet").await;
    assert_eq!(error_type, "Incomplete");
    assert!(message.contains("reading the rows of"), "{message}");
    assert!(message.contains("ResourceNotFoundException"), "{message}");
    assert_eq!(world.dynamodb.rows(CONTAINER_INSTANCES).len(), 1);
}

#[tokio::test]
async fn an_object_that_ecs_never_sends_fails_alone() {
    let world = World::new().await;
    let demo = cluster("demo");
    world.ecs.put_task(&task(&demo, 1, 5));
    let mut odd = task(&demo, 2, 5);
    odd["version"] = json!(SECRET);
    world.ecs.put_task(&odd);
    let (error_type, message) = world.fail("fleet").await;
    assert_eq!(error_type, "Incomplete");
    let expected = format!("DescribeTasks of {demo}: version of {} must be an integer", arn(&odd));
    assert!(message.contains(&expected), "{message}");
    assert!(!message.contains(SECRET) && !world.lambda.log().contains(SECRET));
    assert_eq!(world.rows().len(), 1);
}

#[tokio::test]
async fn calls_keep_to_their_pace_retries_included() {
    let world = World::with(&[("ECS_CALLS_PER_SECOND", "10")]).await;
    world.ecs.throttling(3, 5);
    (0..3).for_each(|number| world.ecs.put_task(&task(&cluster(&format!("c{number}")), 1, 5)));
    assert_eq!(world.run("fleet").await["stored"], 3);
    let calls = world.ecs.calls();
    assert!(calls.iter().any(|call| call.refused), "nothing was throttled");
    for pair in calls.windows(6) {
        let took = pair[5].at - pair[0].at;
        // Five intervals of 100 ms, less what requests differ in latency.
        assert!(took >= Duration::from_millis(480), "{took:?}");
    }
    let log = world.lambda.log();
    let line: Value = serde_json::from_str(log.lines().nth(1).unwrap()).unwrap();
    assert_eq!(line["calls"], calls.len());
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
    // What it got to is stored; another run does the rest.
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
        r#"{"Scope": "fleet"}"#,
        "not JSON",
        "",
    ] {
        let answer = world.lambda.invoke(payload).await;
        let expected = json!({
            "errorType": "InvalidRequest",
            "errorMessage": "the request must be {\"scope\": \"fleet\"} or {\"scope\": \"table\"}: check what invokes \
                             this function",
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
        ("AWS_ENDPOINT_URL_ECS", "nowhere", "must be a URL with http:// or https://"),
        ("AWS_REGION", "nowhere", "must be an AWS region"),
        ("RETENTION_DAYS", "x", "must be an integer"),
        ("AWS_ENDPOINT_URL_STS", "nowhere", "must be a URL with http:// or https://"),
        ("TABLE_REGION", "US", "must be the region of the tables"),
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
fn the_endpoint_is_that_of_the_region_in_its_partition() {
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
        assert_eq!(endpoint(&aws), expected);
    }
    let aws = SdkConfig::builder().region(Region::new("eu-west-1")).endpoint_url("http://127.0.0.1:9").build();
    assert_eq!(endpoint(&aws), "http://127.0.0.1:9");
}
