//! A table of 100,000 rows: what a question costs, and how much memory it takes.

use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use harness::dynamodb::TASKS;
use harness::proxy::Proxy;
use serde_json::{Value, json};

use crate::fixture::{ECS, Fixture, ago, cluster, indexed, row, stopped, task, time, with};

/// What a run found and took.
#[derive(Debug)]
struct Cost {
    lines: usize,
    requests: u64,
    took: Duration,
    peak_kilobytes: u64,
}

/// Runs `ecs-state`, and watches its memory.
async fn measure(fixture: &Fixture, arguments: &[&str]) -> Cost {
    let proxy = Proxy::start(&fixture.dynamodb.url).await;
    let mut command = fixture.command(arguments);
    command.env("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url).stdout(Stdio::piped()).stderr(Stdio::null());
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let lines = tokio::task::spawn_blocking(move || {
        let (mut lines, mut bytes) = (0, vec![0; 1 << 16]);
        while let Ok(count @ 1..) = stdout.read(&mut bytes) {
            lines += bytes[..count].iter().filter(|byte| **byte == b'\n').count();
        }
        lines
    });
    // The kernel keeps the peak; it is gone when the process has ended, so it is read again and again.
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kilobytes = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak_kilobytes = peak.unwrap_or(0).max(peak_kilobytes);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = started.elapsed();
    assert!(child.wait().unwrap().success());
    Cost { lines: lines.await.unwrap(), requests: proxy.requests(), took, peak_kilobytes }
}

/// 1,000 tasks that run and 99,000 that have stopped in the last 30 days, in 10 clusters, 10 services each.
fn rows() -> impl Iterator<Item = Value> {
    let reason = "Scaling activity initiated by (deployment ecs-svc/4093171225387263520)";
    let how = json!({"stopCode": "ServiceSchedulerInitiated", "stoppedReason": reason});
    let active = with(task("c0", "0", "s0", ago(800, 0, 0)), json!({"padding": "x".repeat(1500)}));
    let stopped = row(&stopped(active.clone(), ago(0, 0, 0), how), ago(0, 0, 0));
    let active = row(&active, ago(0, 0, 0));
    (0..100_000_i64).map(move |number| {
        let (cluster_name, service) = (format!("c{}", number % 10), format!("s{}", number / 10 % 10));
        let mut row = if number < 1000 { active.clone() } else { stopped.clone() };
        let mut set = |name: &str, text: String| row[name] = json!({"S": text});
        set("taskArn", format!("{ECS}:task/{cluster_name}/{number:032x}"));
        set("clusterArn", cluster(&cluster_name));
        set("group", format!("service:{service}"));
        if number >= 1000 {
            set("stoppedAt", time(ago(0, 0, (number - 1000) * 26)));
        }
        indexed(row)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_100_000_rows_is_asked_in_few_requests_and_little_memory() {
    let fixture = Fixture::new(true).await;
    let started = Instant::now();
    fixture.dynamodb.fill(TASKS, rows().collect());
    println!("filled in {:.1?}", started.elapsed());
    let c3 = cluster("c3");
    let hour = time(ago(1, 0, 0));
    // The arguments, the lines of output, the most requests: each key once, each row once.
    let cases: [(&[&str], usize, u64); 8] = [
        (&["tasks", "--json", "--cluster", &c3, "--service", "s3"], 10, 2),
        (&["tasks", "--json", "--cluster", "c3", "--service", "s3"], 10, 13),
        (&["tasks", "--json", "--service", "s3"], 100, 22),
        (&["tasks", "--json"], 1000, 31),
        (&["stopped", "--json", "--since", &hour], 139, 23),
        (&["stopped", "--json", "--limit", "20"], 20, 22),
        (&["stopped", "--since", "90000h"], 99_001, 1200),
        (&["stopped", "--since", "90000h", "--scan", "--json"], 99_000, 1300),
    ];
    for (arguments, lines, requests) in cases {
        let cost = measure(&fixture, arguments).await;
        println!("{arguments:?}: {cost:?}");
        // An hour has 138 or 139 stops.
        assert!(cost.lines.abs_diff(lines) <= 1, "{arguments:?}: {cost:?}");
        assert!(cost.requests <= requests, "{arguments:?}: {cost:?}");
        assert!(cost.peak_kilobytes <= 64 * 1024, "{arguments:?}: {cost:?}");
    }
}
