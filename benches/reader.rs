//! The cost of a query with `ecs-state`: time, requests to DynamoDB, read capacity units, memory.

use std::io::Read as _;
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use comfy_table::{CellAlignment, Table, presets};
use nix::unistd::Pid;
use serde::Serialize;
use serde_json::json;

use harness::dynamodb::{DynamoDb, TASKS};
use harness::ecs::cluster;
use harness::events::{row, sample};
use harness::proxy::Proxy;

use crate::{Spread, milliseconds, number, peak_memory, progress};

/// The rows of the table, and how many of their tasks have not stopped.
const ROWS: u32 = 100_000;
const ACTIVE: u32 = 1_000;
const CLUSTERS: u32 = 10;
/// In each cluster.
const SERVICES: u32 = 10;
/// One task stops every 26 seconds.
const STOPS_EVERY: i64 = 26;
/// How many times most queries run.
const TURNS: u32 = 15;

/// The arguments, the number of runs, and the minimum number of lines.
const QUERIES: [(&str, u32, usize); 10] = [
    ("tasks --cluster ARN --service s3", TURNS, 11),
    ("tasks --cluster c3 --service s3", TURNS, 11),
    ("tasks --service s3", TURNS, 101),
    ("stopped --cluster ARN --since 1h", TURNS, 14),
    ("stopped --since 1h", TURNS, 139),
    ("services --cluster ARN", TURNS, 11),
    ("services", TURNS, 101),
    ("tasks --cluster ARN --at 1h", TURNS, 114),
    ("stopped --since 90000h", 1, 99_001),
    // A scan reads the same rows for any query. Not timed: a page of a parallel scan takes the embedded DynamoDB longer
    // the larger the table is.
    ("tasks --service s3 --scan", 0, 101),
];

/// The cost of a command.
#[derive(Serialize)]
pub(crate) struct Answer {
    command: &'static str,
    milliseconds: Option<Spread>,
    reads: Option<Reads>,
}

#[derive(Serialize)]
struct Reads {
    requests: u64,
    read_units: f64,
    peak_memory_megabytes: Spread,
}

/// Queries a large table. The queries take turns, each time in a new process.
pub(crate) async fn reader(binary: &Path) -> Vec<Answer> {
    progress("reader: filling the table");
    let dynamodb = DynamoDb::start().await;
    let now = Utc::now();
    fill(&dynamodb, now);
    let mut help = Vec::new();
    let mut runs = QUERIES.map(|_| (Vec::new(), Vec::new()));
    for turn in 0..TURNS {
        help.push(milliseconds(first_byte_of_help(binary)));
        for ((command, turns, lines), (times, peaks)) in QUERIES.iter().zip(&mut runs) {
            if turn < *turns {
                progress(&format!("reader: turn {} of {TURNS}, {command}", turn + 1));
                let (took, peak) = query(binary, &arguments(command, now), *lines, &dynamodb.url).await;
                times.push(milliseconds(took));
                peaks.push(peak);
            }
        }
    }
    let mut answers = vec![Answer { command: "--help", milliseconds: Some(Spread::new(help)), reads: None }];
    for ((command, _, lines), (times, mut peaks)) in QUERIES.into_iter().zip(runs) {
        progress(&format!("reader: what {command} reads"));
        let proxy = Proxy::start(&dynamodb.url).await;
        proxy.meter();
        peaks.push(query(binary, &arguments(command, now), lines, &proxy.url).await.1);
        let milliseconds = (!times.is_empty()).then(|| Spread::new(times));
        let reads =
            Reads { requests: proxy.requests(), read_units: proxy.units(), peak_memory_megabytes: Spread::new(peaks) };
        answers.push(Answer { command, milliseconds, reads: Some(reads) });
    }
    answers
}

/// `ecs-state`, without this process's environment.
fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The time from the start of a process to the first byte of its help.
fn first_byte_of_help(binary: &Path) -> Duration {
    let start = Instant::now();
    let mut child = command(binary).arg("--help").spawn().expect("a process");
    child.stdout.take().expect("a pipe").read_exact(&mut [0]).expect("a byte");
    let took = start.elapsed();
    child.wait().expect("an end");
    took
}

/// Replaces the placeholders of a query. The hour is the one before the table was filled.
fn arguments(query: &str, filled: DateTime<Utc>) -> Vec<String> {
    let words = query.split(' ').map(|word| match word {
        "ARN" => cluster("c3"),
        "1h" => ago(filled, 3600),
        word => word.to_owned(),
    });
    words.collect()
}

/// The time from the start of a process to its end, and its peak memory in MB, which is polled, since the kernel
/// forgets it when the process ends.
async fn query(binary: &Path, arguments: &[String], lines: usize, url: &str) -> (Duration, f64) {
    let mut command = command(binary);
    command.args(arguments).env("AWS_ENDPOINT_URL_DYNAMODB", url);
    let start = Instant::now();
    let child = tokio::process::Command::from(command).spawn().expect("a process");
    let process = Pid::from_raw(child.id().expect("a running process").cast_signed());
    let mut output = pin!(child.wait_with_output());
    let mut peak: f64 = 0.0;
    let output = loop {
        tokio::select! {
            output = &mut output => break output.expect("an output"),
            () = tokio::time::sleep(Duration::from_millis(1)) => peak = peak.max(peak_memory(process).unwrap_or(0.0)),
        }
    };
    let took = start.elapsed();
    let printed = output.stdout.split(|byte| *byte == b'\n').count() - 1;
    assert!(output.status.success() && printed >= lines, "{arguments:?}: {printed} lines, {output:?}");
    (took, peak)
}

fn ago(now: DateTime<Utc>, seconds: i64) -> String {
    (now - TimeDelta::seconds(seconds)).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Tasks in all clusters and services. One in a hundred has not stopped.
fn fill(dynamodb: &DynamoDb, now: DateTime<Utc>) {
    let (active, stopped) = (sample("fargate-task-running"), sample("fargate-task-stopped"));
    let row = |number: u32| {
        let name = format!("c{}", number % CLUSTERS);
        let mut event = if number < ACTIVE { active.clone() } else { stopped.clone() };
        event["detail"]["taskArn"] = json!(format!("arn:aws:ecs:eu-west-1:123456789012:task/{name}/{number:032x}"));
        event["detail"]["clusterArn"] = json!(cluster(&name));
        event["detail"]["group"] = json!(format!("service:s{}", number / CLUSTERS % SERVICES));
        if number >= ACTIVE {
            event["detail"]["stoppedAt"] = json!(ago(now, i64::from(number - ACTIVE) * STOPS_EVERY));
        }
        row(&event)
    };
    let numbers: Vec<u32> = (0..ROWS).collect();
    for numbers in numbers.chunks(5_000) {
        dynamodb.fill(TASKS, numbers.iter().copied().map(row).collect());
    }
}

/// The answers as a Markdown table.
pub(crate) fn table(answers: &[Answer]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["`ecs-state` …", "ms", "requests", "read units", "peak memory, MB"]);
    for Answer { command, milliseconds, reads } in answers {
        let mut row = vec![format!("`{command}`"), milliseconds.map(|spread| spread.to_string()).unwrap_or_default()];
        if let Some(Reads { requests, read_units, peak_memory_megabytes }) = reads {
            row.extend([requests.to_string(), number(*read_units), peak_memory_megabytes.to_string()]);
        }
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
