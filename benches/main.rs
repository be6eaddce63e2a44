//! The cost of an event: the recorder and its peers, in turns in one session. `make bench` runs it.
//!
//! Each peer is a program that speaks the Runtime API. All get the same events from the tests' Lambda, with the tests'
//! DynamoDB. Since they take turns, the machine's noise affects all of them alike, so ratios of medians are reliable,
//! but single figures are not.
#![allow(clippy::expect_used, clippy::panic, reason = "a benchmark that can't go on ends")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures of a few digits"
)]

mod notify;
mod reader;
mod reconcile;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use comfy_table::{Attribute, Cell, CellAlignment, Table, presets};
use ecs_state_recorder::state::conditional_write;
use nix::unistd::Pid;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Serialize;
use serde_json::json;

use harness::dynamodb::{DynamoDb, TASKS};
use harness::events::sample;
use harness::proxy::Proxy;
use harness::runtime_api::Lambda;
use harness::tls::TlsProxy;

/// Compares the recorder with its peers: cold start, cost of an event, memory, size, growth.
#[derive(Parser)]
struct Arguments {
    /// A program that speaks the Runtime API: its name, and its command, split at spaces. The first peer is the one
    /// under test, and the only one measured for growth and instances. The peer named `floor` is the baseline
    #[arg(long = "peer", value_name = "NAME=COMMAND", value_parser = peer, required = true)]
    peers: Vec<Peer>,
    /// The reconciler
    #[arg(long, value_name = "PATH", required = true)]
    reconciler: PathBuf,
    /// The notifier
    #[arg(long, value_name = "PATH", required = true)]
    notifier: PathBuf,
    /// `ecs-state`
    #[arg(long, value_name = "PATH", required = true)]
    reader: PathBuf,
    /// Cold starts of each peer in each setting
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,
    /// Warm events of each peer, in twenty turns, each after fifty events that are not measured
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(20..))]
    events: u32,
    /// Only these parts, instead of all
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// The folder for figures.json and figures.svg
    #[arg(long, default_value = "target/bench")]
    output: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Part {
    Cold,
    Warm,
    Size,
    Instructions,
    Growth,
    Instances,
    Requests,
    Reconcile,
    Notify,
    Reader,
}

#[derive(Clone)]
struct Peer {
    name: String,
    command: Vec<String>,
}

fn peer(text: &str) -> Result<Peer, String> {
    let (name, command) = text.split_once('=').ok_or("it must be NAME=COMMAND")?;
    let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    if command.is_empty() {
        return Err("the command is missing".to_owned());
    }
    Ok(Peer { name: name.to_owned(), command })
}

impl Peer {
    async fn start(&self, instances: usize, variables: &[(&str, &str)]) -> Lambda {
        // Python programs need these; others ignore them.
        let path = std::env::var("PATH").unwrap_or_default();
        let python = std::env::var("PYTHONPATH").unwrap_or_default();
        let own = [
            ("PATH", &*path),
            ("PYTHONPATH", &*python),
            ("AWS_DEFAULT_REGION", "eu-west-1"),
            ("FLOOR_REQUEST", FLOOR_REQUEST),
        ];
        let variables = [variables, &own].concat();
        let command: Vec<&str> = self.command.iter().map(String::as_str).collect();
        Lambda::start_command(&command, instances, &variables).await
    }

    /// The program, if the command has no arguments.
    fn binary(&self) -> Option<&Path> {
        let binary = Path::new(&self.command[0]);
        (self.command.len() == 1 && binary.is_file()).then_some(binary)
    }
}

/// A figure of all peers: the median, the minimum and the maximum of its runs.
#[derive(Serialize)]
struct Figure {
    name: String,
    unit: &'static str,
    peers: BTreeMap<String, Spread>,
}

#[derive(Clone, Copy, Serialize)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn new(mut runs: Vec<f64>) -> Self {
        runs.sort_by(f64::total_cmp);
        Self { median: runs[runs.len() / 2], least: runs[0], most: runs[runs.len() - 1] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&number(self.median))?;
        if self.least < self.most {
            write!(f, " ({}–{})", number(self.least), number(self.most))?;
        }
        Ok(())
    }
}

/// The measured figures, in display order.
#[derive(Default)]
struct Figures(Vec<Figure>);

impl Figures {
    fn add(&mut self, name: impl Into<String>, unit: &'static str, peer: &str, runs: Vec<f64>) {
        let name = name.into();
        let at = self.0.iter().position(|figure| figure.name == name).unwrap_or_else(|| {
            self.0.push(Figure { name, unit, peers: BTreeMap::new() });
            self.0.len() - 1
        });
        self.0[at].peers.insert(peer.to_owned(), Spread::new(runs));
    }

    fn median(&self, name: &str, peer: &str) -> Option<f64> {
        Some(self.0.iter().find(|figure| figure.name == name)?.peers.get(peer)?.median)
    }
}

/// The file with the floor's request.
const FLOOR_REQUEST: &str = "target/bench/floor-request.json";

/// The recorder's request for the event of every measurement, except that its condition is always met, since the floor
/// sends the same bytes each time.
fn floor_request() -> String {
    let event: serde_json::Value = serde_json::from_str(&event(1, 1)).expect("an event is JSON");
    json!({
        "TableName": TASKS,
        "Item": harness::events::row(&event),
        "ConditionExpression": conditional_write::EVENT_CONDITION,
        "ExpressionAttributeNames": {"#version": "version"},
        "ExpressionAttributeValues": {":version": {"N": "1000000000"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    })
    .to_string()
}

/// The event of every measurement. Its version is new, so it is stored.
fn event(task: u32, version: u32) -> String {
    let mut event = sample("fargate-task-running");
    event["detail"]["taskArn"] = json!(format!("arn:aws:ecs:eu-west-1:123456789012:task/bench/{task:032x}"));
    event["detail"]["version"] = json!(version);
    event.to_string()
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    fs::create_dir_all(&arguments.output).expect("the output folder");
    fs::create_dir_all(Path::new(FLOOR_REQUEST).parent().expect("a folder")).expect("the floor's folder");
    fs::write(FLOOR_REQUEST, floor_request()).expect("a file");
    let mut figures = Figures::default();
    let mut answers = Vec::new();
    let all = Part::value_variants();
    for part in all.iter().filter(|part| arguments.only.is_empty() || arguments.only.contains(part)) {
        if !std::io::stderr().is_terminal() {
            eprintln!("measuring {part:?} …");
        }
        match part {
            Part::Cold => cold(&arguments, &mut figures).await,
            Part::Warm => warm(&arguments, &mut figures).await,
            Part::Size => size(&arguments, &mut figures),
            Part::Instructions => instructions(&arguments, &mut figures).await,
            Part::Growth => growth(&arguments, &mut figures).await,
            Part::Instances => instances(&arguments, &mut figures).await,
            Part::Requests => requests(&arguments, &mut figures).await,
            Part::Reconcile => reconcile::reconcile(&arguments.reconciler, &mut figures).await,
            Part::Notify => notify::notify(&arguments, &mut figures).await,
            Part::Reader => answers = reader::reader(&arguments.reader).await,
        }
    }
    progress("");
    if !figures.0.is_empty() {
        println!("{}", table(&figures, &arguments.peers));
    }
    if !answers.is_empty() {
        println!("{}", reader::table(&answers));
    }
    println!(
        "Medians, with minimum and maximum. ×: relative to the floor, or to the first column if the floor has none."
    );
    println!("On {}.", machine());
    let json = json!({
        "machine": machine(),
        "starts": arguments.starts,
        "events": arguments.events,
        "figures": figures.0,
        "reader": answers,
    });
    let json = serde_json::to_string_pretty(&json).expect("figures are JSON");
    fs::write(arguments.output.join("figures.json"), json).expect("a file");
    draw(&figures, &arguments.peers, &arguments.output.join("figures.svg"));
    println!("Written to {0}/figures.json and {0}/figures.svg", arguments.output.display());
}

fn machine() -> String {
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let processor = read("/proc/cpuinfo");
    let processor =
        processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores of {}, Linux {}", processor.trim_start_matches([' ', '\t', ':']), kernel.trim())
}

/// Shows progress on a terminal.
fn progress(what: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{what}");
    }
}

/// The time from process start to the first request for an event, and from the first event to its answer, by plain HTTP
/// and TLS, with a whole CPU, and with the CPU share of a function of 128, 256 and 512 MB from the first request on.
async fn cold(arguments: &Arguments, figures: &mut Figures) {
    let dynamodb = DynamoDb::start().await;
    let tls = TlsProxy::start(&dynamodb.url, &arguments.output).await;
    let plain = [("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url.as_str())];
    let secure = secure(&tls);
    let mut shares = vec![None];
    match CpuShare::new(128) {
        Ok(_) => shares.extend([Some(128), Some(256), Some(512)]),
        Err(error) => eprintln!("No CPU shares: {error}"),
    }
    let mut version = 0;
    for (transport, variables) in [("HTTP", &plain[..]), ("TLS", &secure[..])] {
        for share in &shares {
            let mut runs: BTreeMap<&str, [Vec<f64>; 3]> = BTreeMap::new();
            for run in 0..arguments.starts {
                for peer in &arguments.peers {
                    if transport == "TLS" && peer.name == "floor" {
                        continue;
                    }
                    progress(&format!("cold, {transport}, {}: run {} of {}", shown(*share), run + 1, arguments.starts));
                    let lambda = peer.start(1, variables).await;
                    let (process, init) = lambda.ready(0).await;
                    let limit = share.map(|size| CpuShare::new(size).and_then(|limit| limit.hold(process)));
                    let limit = limit.transpose().expect("it was there before");
                    version += 1;
                    let answer = lambda.invoke(event(1, version)).await;
                    assert!(!answer.failed, "{}: {answer:?}\n{}", peer.name, lambda.log());
                    let [inits, answers, sums] = runs.entry(&peer.name).or_default();
                    let (init, answer) = (milliseconds(init), milliseconds(answer.slowest));
                    inits.push(init);
                    answers.push(answer);
                    sums.push(init + answer);
                    drop(lambda);
                    drop(limit);
                }
            }
            for (peer, [inits, answers, sums]) in runs {
                let setting = format!("cold, {transport}, {}", shown(*share));
                if share.is_none() {
                    figures.add(format!("{setting}: start to ready"), "ms", peer, inits);
                }
                figures.add(format!("{setting}: event to answer"), "ms", peer, answers);
                figures.add(format!("{setting}: sum"), "ms", peer, sums);
            }
        }
    }
}

fn shown(share: Option<u32>) -> String {
    share.map_or("whole CPU".to_owned(), |size| format!("{size} MB"))
}

/// A control group with the CPU share of a function of this memory size: size/1769, according to AWS's documentation.
/// Dropping it removes the group.
struct CpuShare(PathBuf);

impl CpuShare {
    /// Uses control groups version 1 or 2, and needs root.
    fn new(size: u32) -> Result<Self, String> {
        const PERIOD: u32 = 20_000;
        let quota = PERIOD * size / 1769;
        let name = format!("ecs-state-recorder-bench-{}-{size}", std::process::id());
        let one = Path::new("/sys/fs/cgroup/cpu");
        let (folder, settings) = if one.is_dir() {
            let settings = [("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", quota.to_string())];
            (one.join(name), settings.to_vec())
        } else {
            (Path::new("/sys/fs/cgroup").join(name), vec![("cpu.max", format!("{quota} {PERIOD}"))])
        };
        let share = Self(folder);
        fs::create_dir_all(&share.0).map_err(|error| format!("{}: {error}", share.0.display()))?;
        for (file, value) in settings {
            fs::write(share.0.join(file), value).map_err(|error| format!("{file}: {error}"))?;
        }
        Ok(share)
    }

    fn hold(self, process: Pid) -> Result<Self, String> {
        fs::write(self.0.join("cgroup.procs"), process.to_string()).map_err(|error| error.to_string())?;
        Ok(self)
    }
}

impl Drop for CpuShare {
    fn drop(&mut self) {
        // A group can be removed once its last process has ended.
        let deadline = Instant::now() + Duration::from_secs(5);
        while fs::remove_dir(&self.0).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// One event after the other, by plain HTTP: its time, its CPU time, and the peak memory.
async fn warm(arguments: &Arguments, figures: &mut Figures) {
    const TURNS: u32 = 20;
    // Until caches and connections are warm.
    const BEFORE: u32 = 50;
    let dynamodb = DynamoDb::start().await;
    let variables = [("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url.as_str())];
    let mut runs: BTreeMap<&str, [Vec<f64>; 5]> = BTreeMap::new();
    let mut version = 0;
    for turn in 0..TURNS {
        for peer in &arguments.peers {
            progress(&format!("warm: turn {} of {TURNS}, {}", turn + 1, peer.name));
            let lambda = peer.start(1, &variables).await;
            let (process, _) = lambda.ready(0).await;
            let mut times = Vec::new();
            let mut start = Instant::now();
            let mut used = Duration::ZERO;
            let events = arguments.events / TURNS;
            for number in 0..BEFORE + events {
                if number == BEFORE {
                    (start, used) = (Instant::now(), cpu_time(process));
                    times.clear();
                }
                version += 1;
                let answer = lambda.invoke(event(1, version)).await;
                assert!(!answer.failed, "{}: {answer:?}\n{}", peer.name, lambda.log());
                times.push(milliseconds(answer.slowest));
            }
            let took = start.elapsed().as_secs_f64();
            let used = cpu_time(process).saturating_sub(used);
            times.sort_by(f64::total_cmp);
            let [p50, p99, rate, cpu, memory] = runs.entry(&peer.name).or_default();
            p50.push(times[times.len() / 2]);
            p99.push(times[times.len() * 99 / 100]);
            rate.push(f64::from(events) / took);
            cpu.push(milliseconds(used) / f64::from(events));
            memory.push(peak_memory(process).expect("a process"));
        }
    }
    for (peer, [p50, p99, rate, cpu, memory]) in runs {
        figures.add("warm: p50", "ms", peer, p50);
        figures.add("warm: p99", "ms", peer, p99);
        figures.add("warm: CPU time", "ms", peer, cpu);
        figures.add("warm: events a second", "", peer, rate);
        figures.add("peak memory, HTTP", "MB", peer, memory);
    }

    let tls = TlsProxy::start(&dynamodb.url, &arguments.output).await;
    let secure = secure(&tls);
    let mut runs: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for turn in 0..5 {
        for peer in arguments.peers.iter().filter(|peer| peer.name != "floor") {
            progress(&format!("peak memory, TLS: turn {} of 5, {}", turn + 1, peer.name));
            let lambda = peer.start(1, &secure).await;
            let (process, _) = lambda.ready(0).await;
            for _ in 0..200 {
                version += 1;
                assert!(!lambda.invoke(event(1, version)).await.failed, "{}: {}", peer.name, lambda.log());
            }
            runs.entry(&peer.name).or_default().push(peak_memory(process).expect("a process"));
        }
    }
    for (peer, memory) in runs {
        figures.add("peak memory, TLS", "MB", peer, memory);
    }
}

/// DynamoDB by TLS, and its roots, in the variables of the AWS SDKs and Node.
fn secure(tls: &TlsProxy) -> [(&str, &str); 4] {
    let roots = tls.roots.to_str().expect("a Unicode path");
    [
        ("AWS_ENDPOINT_URL_DYNAMODB", &tls.url),
        ("SSL_CERT_FILE", roots),
        ("AWS_CA_BUNDLE", roots),
        ("NODE_EXTRA_CA_CERTS", roots),
    ]
}

/// User and system time of all threads, according to the kernel's scheduler.
fn cpu_time(process: Pid) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("a process");
    let nanoseconds = threads.map(|thread| {
        let statistics = fs::read_to_string(thread.expect("a thread").path().join("schedstat")).expect("statistics");
        let first = statistics.split(' ').next().expect("three numbers");
        first.parse::<u64>().expect("a number")
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// In MB; `None` if the process has ended.
fn peak_memory(process: Pid) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") * 1024.0 / 1_000_000.0)
}

fn size(arguments: &Arguments, figures: &mut Figures) {
    for peer in &arguments.peers {
        let Some(binary) = peer.binary().map(|binary| fs::read(binary).expect("a binary")) else { continue };
        let mut zip = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        zip.write_all(&binary).expect("memory");
        let zip = zip.finish().expect("memory").len();
        figures.add("binary", "MB", &peer.name, vec![megabytes(binary.len())]);
        figures.add("binary, zipped", "MB", &peer.name, vec![megabytes(zip)]);
    }
}

/// Instructions of a warm event, by callgrind: the difference between a run with many events and a run with few.
async fn instructions(arguments: &Arguments, figures: &mut Figures) {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("No instruction counts: valgrind isn't installed");
        return;
    }
    let dynamodb = DynamoDb::start().await;
    let variables = [("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url.as_str())];
    let mut version = 0;
    for peer in arguments.peers.iter().filter(|peer| peer.binary().is_some()) {
        let mut counts = Vec::new();
        for events in [100, 600] {
            progress(&format!("instructions: {}, {events} events", peer.name));
            let out = format!("--callgrind-out-file={}/callgrind.%p", arguments.output.display());
            let command = ["valgrind", "--tool=callgrind", &out].map(str::to_owned).to_vec();
            let callgrind = Peer { name: peer.name.clone(), command: [command, peer.command.clone()].concat() };
            let lambda = callgrind.start(1, &variables).await;
            let (process, _) = lambda.ready(0).await;
            for _ in 0..events {
                version += 1;
                lambda.invoke(event(1, version)).await;
            }
            let deaths = lambda.deaths();
            lambda.signal(0, nix::sys::signal::Signal::SIGTERM);
            while lambda.deaths() == deaths {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            drop(lambda);
            let counted = arguments.output.join(format!("callgrind.{process}"));
            let counted = fs::read_to_string(counted).expect("callgrind's output");
            let total = counted.lines().find_map(|line| line.strip_prefix("totals: ")).expect("totals");
            counts.push(total.trim().parse::<f64>().expect("a number"));
        }
        figures.add("warm: instructions", "k", &peer.name, vec![(counts[1] - counts[0]) / 500.0 / 1000.0]);
    }
}

/// The time of an event with few and with many rows in the table.
async fn growth(arguments: &Arguments, figures: &mut Figures) {
    const TURNS: u32 = 10;
    const EVENTS: u32 = 300;
    let arn = |row: u32| format!("arn:aws:ecs:eu-west-1:123456789012:task/bench/{row:032x}");
    let row = |row| json!({"taskArn": {"S": arn(row)}, "version": {"N": "0"}});
    let mut tables = Vec::new();
    for size in [1_000_u32, 100_000, 1_000_000] {
        progress(&format!("growth: filling a table with {size} rows"));
        let dynamodb = DynamoDb::start().await;
        dynamodb.fill(TASKS, (0..size).map(row).collect());
        tables.push((size, dynamodb, Vec::new()));
    }
    let peer = &arguments.peers[0];
    let mut number = 0_u32;
    for turn in 0..TURNS {
        for (size, dynamodb, medians) in &mut tables {
            progress(&format!("growth: turn {} of {TURNS}, {size} rows", turn + 1));
            let lambda = peer.start(1, &[("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb.url)]).await;
            let mut times = Vec::new();
            for _ in 0..EVENTS {
                number += 1;
                // A thousand rows of each table, evenly spread, so that each table has as many complete rows by now.
                let answer = lambda.invoke(event(number % 1000 * (*size / 1000), number)).await;
                assert_eq!(answer.body["outcome"], "stored", "{answer:?}");
                times.push(milliseconds(answer.slowest));
            }
            medians.push(Spread::new(times).median);
        }
    }
    for (size, _, medians) in tables {
        figures.add(format!("warm: p50 with {size} rows"), "ms", &peer.name, medians);
    }
}

/// The throughput of several instances of the recorder.
async fn instances(arguments: &Arguments, figures: &mut Figures) {
    const TURNS: u32 = 5;
    const EVENTS: u32 = 2000;
    let peer = &arguments.peers[0];
    let mut runs: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    let mut task = 10;
    for turn in 0..TURNS {
        for instances in [1, 2, 4] {
            progress(&format!("instances: turn {} of {TURNS}, {instances}", turn + 1));
            let dynamodb = DynamoDb::start().await;
            let lambda = peer.start(instances, &[("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb.url)]).await;
            for instance in 0..instances {
                lambda.ready(instance).await;
            }
            let start = Instant::now();
            let mut answers = Vec::new();
            for _ in 0..EVENTS {
                task += 1;
                answers.push(lambda.send(event(task, 1)));
            }
            for answer in answers {
                assert!(!lambda.wait_for(answer).await.failed);
            }
            runs.entry(instances).or_default().push(f64::from(EVENTS) / start.elapsed().as_secs_f64());
        }
    }
    for (instances, rates) in runs {
        figures.add(format!("events a second, instances: {instances}"), "", &peer.name, rates);
    }
}

/// Counts the requests to DynamoDB for a hundred events.
async fn requests(arguments: &Arguments, figures: &mut Figures) {
    for peer in &arguments.peers {
        let dynamodb = DynamoDb::start().await;
        let proxy = Proxy::start(&dynamodb.url).await;
        let lambda = peer.start(1, &[("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url)]).await;
        for version in 1..=100 {
            lambda.invoke(event(1, version)).await;
        }
        let requests = f64::from(u32::try_from(proxy.requests()).expect("some hundreds"));
        figures.add("requests to DynamoDB an event", "", &peer.name, vec![requests / 100.0]);
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1_000_000.0
}

fn table(figures: &Figures, peers: &[Peer]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let names = ["", "unit"].into_iter().chain(peers.iter().map(|peer| peer.name.as_str()));
    table.set_header(names.map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    for figure in &figures.0 {
        let mut row = vec![Cell::new(&figure.name), Cell::new(figure.unit)];
        let floor = peers.iter().find(|peer| peer.name == "floor" && figure.peers.contains_key(&peer.name));
        let base = floor.unwrap_or(&peers[0]);
        for peer in peers {
            let text = figure.peers.get(&peer.name).map_or(String::new(), |spread| {
                let ratio = match figures.median(&figure.name, &base.name) {
                    Some(of) if peer.name != base.name => format!(" ×{}", number(spread.median / of)),
                    _ => String::new(),
                };
                format!("{spread}{ratio}")
            });
            row.push(Cell::new(text).set_alignment(CellAlignment::Right));
        }
        table.add_row(row);
    }
    table
}

/// Three significant digits.
fn number(value: f64) -> String {
    match value.abs() {
        ..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Draws the sums of the cold starts by TLS, and a warm event, as bars on a logarithmic scale.
fn draw(figures: &Figures, peers: &[Peer], path: &Path) {
    const SHOWN: [(&str, &str); 4] = [
        ("cold, TLS, 128 MB: sum", "cold start, TLS, 128 MB"),
        ("cold, TLS, 512 MB: sum", "cold start, TLS, 512 MB"),
        ("warm: p50", "warm event"),
        ("warm: CPU time", "CPU time of a warm event"),
    ];
    const COLORS: [RGBColor; 7] = [
        RGBColor(0, 110, 160),
        RGBColor(200, 205, 210),
        RGBColor(245, 210, 140),
        RGBColor(225, 150, 60),
        RGBColor(125, 130, 140),
        RGBColor(120, 170, 90),
        RGBColor(170, 120, 180),
    ];
    let medians = |(figure, _): &(&str, _)| peers.iter().map(|peer| figures.median(figure, &peer.name)).collect();
    let groups: Vec<Vec<Option<f64>>> = SHOWN.iter().map(medians).collect();
    let all = groups.iter().flatten().flatten();
    let (least, most) = all.fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(*value), most.max(*value)));
    if least > most {
        // None of these was measured.
        return;
    }
    let (bottom, top) = (least / 2.0, most * 5.0);
    let width = peers.len() + 1;
    let middle = Pos::new(HPos::Center, VPos::Bottom);
    let text = |size: u32| ("sans-serif", size).into_font().color(&BLACK).pos(middle);

    let area = SVGBackend::new(path, (1000, 420)).into_drawing_area();
    area.fill(&WHITE).expect("a file");
    let mut chart = ChartBuilder::on(&area)
        .caption("Milliseconds (medians, on a logarithmic scale): less is better", ("sans-serif", 18))
        .margin(15)
        .y_label_area_size(50)
        // With room for the legend on the right.
        .build_cartesian_2d(0.0..(groups.len() * width) as f64 + 2.5, (bottom..top).log_scale())
        .expect("a chart");
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .light_line_style(TRANSPARENT)
        .y_label_formatter(&|value| value.to_string())
        .draw()
        .expect("a mesh");
    let titles = SHOWN.iter().enumerate().map(|(group, (_, title))| {
        Text::new((*title).to_owned(), ((group * width) as f64 + width as f64 / 2.0, most * 2.5), text(14))
    });
    chart.draw_series(titles).expect("titles");
    for (index, peer) in peers.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let bars: Vec<(f64, f64)> = groups
            .iter()
            .enumerate()
            .filter_map(|(group, medians)| Some(((group * width + index) as f64 + 0.5, medians[index]?)))
            .collect();
        chart
            .draw_series(
                bars.iter()
                    .map(|(left, value)| Rectangle::new([(*left, bottom), (left + 0.94, *value)], color.filled())),
            )
            .expect("bars")
            .label(&peer.name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled()));
        let values = bars.iter().map(|(left, value)| Text::new(number(*value), (left + 0.47, value * 1.1), text(12)));
        chart.draw_series(values).expect("values");
    }
    chart.configure_series_labels().position(SeriesLabelPosition::UpperRight).draw().expect("a legend");
    area.present().expect("a file");
}
