//! The cost of a run of the reconciler: time, requests to ECS and DynamoDB, memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use harness::dynamodb::{DynamoDb, TASKS};
use harness::ecs::{Ecs, cluster, task};
use harness::proxy::Proxy;
use harness::runtime_api::Lambda;

use crate::{Figures, milliseconds, peak_memory, progress};

const RUNS: u32 = 3;
const CLUSTERS: u32 = 50;
const TASKS_EACH: u32 = 200;
const INSTANCES_EACH: u32 = 20;
/// The rows of a table run, and how many of them are not terminal.
const ROWS: u32 = 100_000;
const ACTIVE: u32 = 10_000;
const ACTIVE_CLUSTERS: u32 = 10;
/// How many are not terminal when a table run's requests to DynamoDB are counted.
const FEW_ACTIVE: u32 = 1_000;

/// Three runs of each kind, each with a new process and new tables.
pub(crate) async fn reconcile(binary: &Path, figures: &mut Figures) {
    let mut runs: BTreeMap<(String, &'static str), Vec<f64>> = BTreeMap::new();
    for number in 0..RUNS {
        progress(&format!("reconcile: run {} of {RUNS}", number + 1));
        let mut add =
            |name: &str, unit, value| runs.entry((format!("reconcile: {name}"), unit)).or_default().push(value);

        let (ecs, dynamodb) = (Ecs::start().await, DynamoDb::start().await);
        ecs.fleet(CLUSTERS, TASKS_EACH, INSTANCES_EACH);
        let lambda = start(binary, &ecs, &dynamodb.url).await;
        let all = CLUSTERS * (TASKS_EACH + INSTANCES_EACH);
        let (first, took) = run(&lambda, &json!({"scope": "fleet"})).await;
        assert_eq!(first["stored"], all, "{first}");
        add("first fleet run", "s", took);
        add("first fleet run, calls", "", count(&first, "calls"));
        let (second, took) = run(&lambda, &json!({"scope": "fleet"})).await;
        assert_eq!(second["unchanged"], all, "{second}");
        add("second fleet run", "s", took);
        add("second fleet run, rows written", "", count(&second, "stored"));
        add("fleet runs, peak memory", "MB", peak_memory(lambda.ready(0).await.0).expect("a process"));

        let (ecs, dynamodb) = (Ecs::start().await, DynamoDb::start().await);
        dynamodb.fill(TASKS, rows(&ecs, ACTIVE));
        let lambda = start(binary, &ecs, &dynamodb.url).await;
        let (report, took) = run(&lambda, &json!({"scope": "table", "scan": true})).await;
        assert_eq!(report["unchanged"], ACTIVE, "{report}");
        add("table run", "s", took);
        add("table run, calls", "", count(&report, "calls"));
        add("table run, peak memory", "MB", peak_memory(lambda.ready(0).await.0).expect("a process"));
    }
    let (ecs, dynamodb) = (Ecs::start().await, DynamoDb::start().await);
    dynamodb.fill(TASKS, rows(&ecs, FEW_ACTIVE));
    for (name, scan) in [("table run by the index", false), ("table run with a scan", true)] {
        let proxy = Proxy::start(&dynamodb.url).await;
        proxy.meter();
        let lambda = start(binary, &ecs, &proxy.url).await;
        let (report, _) = run(&lambda, &json!({"scope": "table", "scan": scan})).await;
        assert_eq!((&report["unchanged"], &report["scanned"]), (&json!(FEW_ACTIVE), &json!(scan)), "{report}");
        runs.insert((format!("reconcile: {name}, requests to DynamoDB"), ""), vec![proxy.requests() as f64]);
        runs.insert((format!("reconcile: {name}, read units"), ""), vec![proxy.units()]);
    }
    for ((name, unit), values) in runs {
        figures.add(name, unit, "ours", values);
    }
}

async fn start(binary: &Path, ecs: &Ecs, dynamodb: &str) -> Lambda {
    let variables = [
        ("AWS_ENDPOINT_URL_ECS", ecs.url.as_str()),
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb),
        ("ECS_CALLS_PER_SECOND", "20"),
    ];
    let lambda = Lambda::start(binary.to_str().expect("a Unicode path"), 1, &variables).await;
    lambda.set_timeout(Duration::from_mins(15));
    lambda
}

async fn run(lambda: &Lambda, request: &Value) -> (Value, f64) {
    let answer = lambda.invoke(request.to_string()).await;
    assert_eq!(answer.body["complete"], true, "{answer:?}\n{}", lambda.log());
    (answer.body, milliseconds(answer.slowest) / 1000.0)
}

fn count(report: &Value, name: &str) -> f64 {
    report[name].as_f64().expect("a number")
}

/// The rows of tasks, of which this many are still running.
fn rows(ecs: &Ecs, active: u32) -> Vec<Value> {
    let row = |number: u32| {
        let task = task(&cluster(&format!("active-{}", number % ACTIVE_CLUSTERS)), number, 1);
        let is_active = number < active;
        if is_active {
            ecs.put_task(&task);
        }
        json!({
            "taskArn": {"S": task["taskArn"]},
            "clusterArn": {"S": task["clusterArn"]},
            "version": {"N": "1"},
            "lastStatus": {"S": if is_active { "RUNNING" } else { "STOPPED" }},
            "event_time": {"S": "2026-03-02T09:14:28Z"},
            "group": {"S": "service:web"},
            "index_cluster": {"S": task["clusterArn"]},
            "index_state": {"S": if is_active { "A#service:web#" } else { "S#2026-03-02T09:14:28.000Z" }},
            // As large as the rest of a real row.
            "containers": {"S": "x".repeat(2_500)},
        })
    };
    (0..ROWS).map(row).collect()
}
