//! Recorders and reconcilers run together and are killed at random moments: each row ends up holding the newest version
//! reported.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use harness::dynamodb::{DynamoDb, TASKS};
use harness::ecs::{Ecs, cluster, task};
use harness::events::{self, reconciled_row};
use harness::runtime_api::Lambda;
use harness::storm::seed;

use crate::{RECONCILER, RECORDER};

const RECORDERS: usize = 8;
const RECONCILERS: usize = 2;
const CLUSTERS: u32 = 4;
const VERSIONS: u64 = 7;

/// An event with a version of a task. It is old enough for a table run to check the row.
fn event(task: &Value) -> Value {
    json!({
        "version": "0",
        "id": format!("event-{}", task["version"]),
        "detail-type": "ECS Task State Change",
        "source": "aws.ecs",
        "time": "2026-03-02T09:14:28Z",
        "detail": {
            "taskArn": task["taskArn"], "clusterArn": task["clusterArn"], "version": task["version"],
            "lastStatus": "RUNNING", "containers": [{"exitCode": task["version"]}],
        },
    })
}

/// The last states of a task.
struct Expected {
    cluster: String,
    number: u32,
    /// The newest version that was delivered as an event.
    delivered: Option<u64>,
    /// The version in ECS; `None` if it does not know the task.
    api: Option<u64>,
}

#[tokio::test(flavor = "multi_thread")]
async fn recorders_and_reconcilers_that_are_killed_leave_every_row_at_the_newest_version_reported() {
    storm(200, 5_000, 50).await;
}

/// `make storm`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "20,000 events: make storm"]
async fn twenty_thousand_events_and_two_hundred_kills() {
    storm(750, 20_000, 200).await;
}

/// Sends all versions of `tasks_each` tasks in each cluster, while `kills` processes are killed.
async fn storm(tasks_each: u32, least_events: usize, kills: usize) {
    let mut random = StdRng::seed_from_u64(seed());
    let ecs = Ecs::start().await;
    let dynamodb = DynamoDb::start_recording().await;
    let variables = [
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url.as_str()),
        ("AWS_ENDPOINT_URL_ECS", ecs.url.as_str()),
        ("ECS_CALLS_PER_SECOND", "20"),
    ];
    let recorder = Arc::new(Lambda::start(&RECORDER, RECORDERS, &variables).await);
    let reconciler = Arc::new(Lambda::start(&RECONCILER, RECONCILERS, &variables).await);
    reconciler.set_timeout(Duration::from_mins(15));

    let (expected, events) = history(&ecs, tasks_each, &mut random);
    let over = Arc::new(AtomicBool::new(false));
    let killer = tokio::spawn({
        let (recorder, reconciler, over) = (recorder.clone(), reconciler.clone(), over.clone());
        let mut random = StdRng::from_rng(&mut random);
        async move {
            while recorder.deaths() + reconciler.deaths() < kills && !over.load(Ordering::Relaxed) {
                match random.random_range(0..RECORDERS + RECONCILERS) {
                    instance @ 0..RECORDERS => recorder.signal(instance, Signal::SIGKILL),
                    instance => reconciler.signal(instance - RECORDERS, Signal::SIGKILL),
                }
                tokio::time::sleep(Duration::from_millis(random.random_range(0..100))).await;
            }
        }
    });
    let reconciling: Vec<_> = ["fleet", "table"]
        .into_iter()
        .map(|scope| {
            let (reconciler, over) = (reconciler.clone(), over.clone());
            tokio::spawn(async move {
                let mut runs = 0;
                while !over.load(Ordering::Relaxed) {
                    let answer = reconciler.invoke(json!({"scope": scope}).to_string()).await;
                    runs += usize::from(!answer.failed);
                }
                runs
            })
        })
        .collect();
    // One wave at a time; ECS catches up in between.
    let mut updates = expected.iter().filter_map(|task| Some((task, task.api?)));
    for wave in events.chunks(1000) {
        let mut sent: Vec<_> = wave.iter().map(|event| (event, recorder.send(event.clone()))).collect();
        for (expected, api) in updates.by_ref().take(expected.len() / (events.len() / 1000)) {
            ecs.put_task(&task(&expected.cluster, expected.number, api));
        }
        // Events in the failure queue are sent again, until it is empty.
        while !sent.is_empty() {
            let mut failed = Vec::new();
            for (event, answer) in sent {
                if recorder.wait_for(answer).await.failed {
                    failed.push((event, recorder.send(event.clone())));
                }
            }
            sent = failed;
        }
    }
    for (expected, api) in updates {
        ecs.put_task(&task(&expected.cluster, expected.number, api));
    }
    let deadline = Instant::now() + Duration::from_mins(2);
    while !killer.is_finished() {
        assert!(Instant::now() < deadline, "only {} kills", recorder.deaths() + reconciler.deaths());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    over.store(true, Ordering::Relaxed);
    let mut runs = Vec::new();
    for reconciling in reconciling {
        runs.push(reconciling.await.unwrap());
    }
    let deaths = recorder.deaths() + reconciler.deaths();
    for scope in ["fleet", "table"] {
        let answer = reconciler.invoke(json!({"scope": scope}).to_string()).await;
        assert_eq!(answer.body["complete"], true, "{}", answer.body);
    }
    println!(
        "{} events, {deaths} kills ({} of reconcilers), {} fleet runs and {} table runs in between",
        events.len(),
        reconciler.deaths(),
        runs[0],
        runs[1]
    );
    assert!(events.len() >= least_events && deaths >= kills && reconciler.deaths() > 0);
    check_rows(&dynamodb, &expected);
    check_writes(&dynamodb);
}

/// The last states of all tasks, and all events, in the order in which they are sent.
fn history(ecs: &Ecs, tasks_each: u32, random: &mut StdRng) -> (Vec<Expected>, Vec<String>) {
    let mut expected = Vec::new();
    let mut events = Vec::new();
    for cluster in (0..CLUSTERS).map(|number| cluster(&format!("storm-{number}"))) {
        ecs.put_cluster(&cluster);
        for number in 0..tasks_each {
            // One in ten is gone, and no event reported it.
            let api = (!random.random_ratio(1, 10)).then(|| random.random_range(1..=VERSIONS));
            let mut delivered = None;
            for version in 1..=VERSIONS {
                // One event in ten is never delivered, and one in five twice.
                let times = [0, 1, 1, 1, 1, 1, 1, 1, 2, 2][random.random_range(0..10)];
                let event = event(&task(&cluster, number, version)).to_string();
                events.extend(std::iter::repeat_n(event, times));
                delivered = if times > 0 { Some(version) } else { delivered };
            }
            // At first, ECS lags behind.
            if let Some(api) = api {
                ecs.put_task(&task(&cluster, number, random.random_range(1..=api)));
            }
            expected.push(Expected { cluster: cluster.clone(), number, delivered, api });
        }
    }
    events.chunks_mut(600).for_each(|burst| burst.shuffle(random));
    (expected, events)
}

/// Every row holds the newest version reported, and is marked if, and only if, ECS does not know the task.
fn check_rows(dynamodb: &DynamoDb, expected: &[Expected]) {
    let rows = dynamodb.rows(TASKS).into_iter();
    let mut rows: BTreeMap<String, Value> =
        rows.map(|row| (row["taskArn"]["S"].as_str().unwrap().to_owned(), row)).collect();
    for Expected { cluster, number, delivered, api } in expected {
        let task = task(cluster, *number, (*delivered).max(*api).unwrap_or_default());
        let arn = task["taskArn"].as_str().unwrap();
        let row = rows.remove(arn);
        if delivered.is_none() && api.is_none() {
            assert_eq!(row, None);
            continue;
        }
        let mut row = row.unwrap_or_else(|| panic!("there is no row of {arn}"));
        let mark = row.as_object_mut().unwrap().remove("missing_since");
        assert_eq!(mark.is_some(), api.is_none(), "{arn} is marked: {mark:?}");
        let expected = if delivered >= api { events::row(&event(&task)) } else { reconciled_row(cluster, &task, &row) };
        assert_eq!(row, expected);
    }
    assert_eq!(rows, BTreeMap::new());
}

/// No row was deleted, and no version went backwards; a row of the same version was only replaced by its event or
/// marked.
fn check_writes(dynamodb: &DynamoDb) {
    let version = |row: &Value| row["version"]["N"].as_str().map(|version| version.parse::<u64>().unwrap());
    let is_from_api = |row: &Value| row.get("reconciled_at").is_some();
    for (before, after) in dynamodb.writes(TASKS) {
        assert!(after.is_object(), "a row was deleted: {before}");
        assert!(version(&before) <= version(&after), "from {before} to {after}");
        if version(&before) == version(&after) {
            let without_mark = |row: &Value| {
                let mut row = row.clone();
                row.as_object_mut().unwrap().remove("missing_since");
                row
            };
            assert!(
                (is_from_api(&before) && !is_from_api(&after)) || without_mark(&before) == without_mark(&after),
                "from {before} to {after}"
            );
        }
    }
}
