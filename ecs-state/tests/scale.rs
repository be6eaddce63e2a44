//! How many requests, and how much memory, a query takes. `make bench` queries a table of 100,000 rows.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use harness::dynamodb::TASKS;
use harness::proxy::Proxy;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::fixture::{ECS, Fixture, ago, cluster, reading, row, run, stopped, task, time, with};

struct Cost {
    lines: usize,
    requests: u64,
    peak_kilobytes: u64,
}

/// Runs `ecs-state`, and watches its memory.
async fn measure(fixture: &Fixture, arguments: &[&str]) -> Cost {
    let proxy = Proxy::start(&fixture.dynamodb.url).await;
    let mut command = reading(&proxy.url, arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let lines = tokio::task::spawn_blocking(move || stdout.lines().map_while(Result::ok).count());
    // The kernel forgets the peak when the process ends, so it is polled.
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kilobytes = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak_kilobytes = peak.unwrap_or(0).max(peak_kilobytes);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(child.wait().unwrap().success());
    Cost { lines: lines.await.unwrap(), requests: proxy.requests(), peak_kilobytes }
}

/// 1,000 active tasks, and others that have stopped, one every 26 seconds, in 10 clusters with 10 services each.
fn rows(count: i64) -> impl Iterator<Item = Value> {
    let reason = "Scaling activity initiated by (deployment ecs-svc/4093171225387263520)";
    let how = json!({"stopCode": "ServiceSchedulerInitiated", "stoppedReason": reason});
    let active = with(task("c0", "0", "s0", ago(800, 0, 0)), json!({"padding": "x".repeat(1500)}));
    let stopped = row(&stopped(active.clone(), ago(0, 0, 0), how), ago(0, 0, 0));
    let active = row(&active, ago(0, 0, 0));
    let created = active["createdAt"]["S"].as_str().unwrap().to_owned();
    (0..count).map(move |number| {
        let (cluster_name, service) = (format!("c{}", number % 10), format!("s{}", number / 10 % 10));
        let mut row = if number < 1000 { active.clone() } else { stopped.clone() };
        let mut set = |name: &str, text: String| row[name] = json!({"S": text});
        set("taskArn", format!("{ECS}:task/{cluster_name}/{number:032x}"));
        set("clusterArn", cluster(&cluster_name));
        set("group", format!("service:{service}"));
        set("index_cluster", cluster(&cluster_name));
        if number < 1000 {
            set("index_state", format!("A#service:{service}#{created}"));
        } else {
            let stopped = time(ago(0, 0, (number - 1000) * 26));
            set("index_state", format!("S#{stopped}"));
            set("stoppedAt", stopped);
        }
        row
    })
}

/// It takes 11 requests to find 10 clusters, and 10 to query them. Rows are read in two steps: first the keys, in pages
/// of 1,000, then the rows, in batches of 100.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_takes_few_requests_and_little_memory() {
    let fixture = Fixture::new(true).await;
    let (c3, hour) = (cluster("c3"), time(ago(1, 0, 0)));
    fixture.dynamodb.fill(TASKS, rows(4_000).collect());
    // The arguments, the lines of output, and the maximum number of requests.
    let cases: [(&[&str], usize, u64); 11] = [
        (&["tasks", "--json", "--cluster", &c3, "--service", "s3"], 10, 2),
        (&["tasks", "--json", "--cluster", "c3", "--service", "s3"], 10, 13),
        (&["tasks", "--json", "--service", "s3"], 100, 22),
        (&["tasks", "--json"], 1000, 31),
        (&["stopped", "--json", "--since", &hour], 138, 23),
        // Two ranges of each cluster: 100 active tasks, and the 41 that have stopped in the last three hours.
        (&["services", "--json", "--cluster", &c3], 10, 4),
        (&["services", "--json"], 100, 11 + 20 + 15),
        (&["tasks", "--json", "--cluster", &c3, "--at", &hour], 113, 4),
        (&["stopped", "--json", "--limit", "20"], 20, 22),
        (&["stopped", "--since", "90000h"], 3001, 11 + 10 + 30),
        (&["stopped", "--since", "90000h", "--scan", "--json"], 3000, 60),
    ];
    for (arguments, lines, requests) in cases {
        let Cost { lines: printed, requests: sent, peak_kilobytes } = measure(&fixture, arguments).await;
        assert!(printed.abs_diff(lines) <= 1, "{arguments:?}: {printed} lines");
        assert!(sent <= requests, "{arguments:?}: {sent} requests");
        assert!(peak_kilobytes <= 64 * 1024, "{arguments:?}: {peak_kilobytes} KB");
    }
}

/// How many pages of the index, and how many batches of rows, have been asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Asked {
    pages: usize,
    batches: usize,
}

/// A stand-in for DynamoDB with stopped tasks of two clusters in turn, which needs a reader that reads ahead: it answers
/// a batch only after the next fifteen have been asked for, and the first only after the second pages, too.
async fn demanding(rows: usize, asked: Arc<watch::Sender<Asked>>) -> String {
    let now = ago(0, 0, 0);
    let item = move |number: usize| {
        let stopped = time(now - chrono::TimeDelta::seconds(number.try_into().unwrap()));
        let name = format!("c{}", number % 2);
        json!({"taskArn": {"S": format!("{ECS}:task/{name}/{number:032x}")}, "index_cluster": {"S": cluster(&name)},
               "clusterArn": {"S": cluster(&name)}, "index_state": {"S": format!("S#{stopped}")},
               "stoppedAt": {"S": stopped}, "lastStatus": {"S": "STOPPED"}})
    };
    let number_of = |key: &Value| {
        let arn = key["taskArn"]["S"].as_str().unwrap();
        usize::from_str_radix(arn.rsplit_once('/').unwrap().1, 16).unwrap()
    };
    let answer = async move |request: String| {
        let request: Value = serde_json::from_str(&request).unwrap();
        let start = &request["ExclusiveStartKey"];
        let answer = if let Some(keys) = request["RequestItems"][TASKS]["Keys"].as_array() {
            let batches = (number_of(&keys[0]) / 100 + 16).min(rows / 100);
            asked.send_modify(|asked| asked.batches += 1);
            let enough = |asked: &Asked| asked.pages == 4 && asked.batches >= batches;
            let waited =
                tokio::time::timeout(Duration::from_secs(10), asked.subscribe().wait_for(enough)).await.is_ok();
            let rows: Vec<Value> = keys.iter().filter(|_| waited).map(|key| item(number_of(key))).collect();
            json!({"Responses": {TASKS: rows}})
        } else if request["KeyConditionExpression"].is_string() {
            asked.send_modify(|asked| asked.pages += 1);
            let cluster =
                usize::from(request["ExpressionAttributeValues"][":cluster"]["S"].as_str().unwrap().ends_with('1'));
            let first = if start.is_object() { number_of(start) + 2 } else { cluster };
            let limit = usize::try_from(request["Limit"].as_u64().unwrap()).unwrap();
            let items: Vec<Value> = (first..rows).step_by(2).take(limit).map(item).collect();
            let last = items.last().filter(|_| first + 2 * limit < rows).cloned();
            json!({"Items": items, "LastEvaluatedKey": last})
        } else {
            let next = if start.is_object() { number_of(start) + 1 } else { 0 };
            json!({"Items": if next < 2 { vec![item(next)] } else { Vec::new() }})
        };
        ([("x-amzn-requestid", "1")], answer.to_string())
    };
    harness::serve(axum::Router::new().fallback(answer)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_rows_are_read_ahead_of_the_output() {
    const ROWS: usize = 3_000;
    let asked = Arc::new(watch::Sender::new(Asked::default()));
    let url = demanding(ROWS, asked.clone()).await;
    let done = run(reading(&url, &["stopped", "--since", "90000h", "--json"])).await;
    assert_eq!((done.stderr.as_str(), done.code), ("", Some(0)));
    assert!(done.ids().into_iter().eq((0..ROWS).map(|number| format!("{number:032x}"))), "the order");
    assert_eq!(*asked.borrow(), Asked { pages: 4, batches: ROWS / 100 });
}
