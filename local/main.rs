//! Runs the functions locally, between an embedded DynamoDB, an ECS and an event bus of the harness, and the Lambda
//! Runtime API of `cargo lambda watch`. `make run` and `make watch` start it.

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use comfy_table::{Attribute, Cell, CellAlignment, Color, Table, presets};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use harness::bus::Bus;
use harness::dynamodb::{DynamoDb, TASKS};
use harness::ecs::{Ecs, cluster, container_instance, task};
use harness::stream;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const HELP: &str = "\
Runs the functions locally, with an embedded DynamoDB and a local Lambda Runtime API.

Usage: local <run | watch>

  run     send every event in events/, announce a failure, reconcile with an ECS, and ask ecs-state what runs and
          why tasks stopped
  watch   keep everything running until Ctrl-C, and rebuild the functions when their code changes
";

/// Every event in `events/`, in an order that shows every outcome, with its expected outcome.
const STORY: [(&str, &str); 14] = [
    ("fargate-task-provisioning", "stored"),
    ("fargate-task-running", "stored"),
    ("fargate-task-pending", "stale"),
    ("fargate-task-running", "duplicate"),
    ("fargate-task-stopped", "stored"),
    ("fargate-task-failed-to-start", "stored"),
    ("ec2-task-stopped-by-exit-code", "stored"),
    ("container-instance-registered", "stored"),
    ("container-instance-draining", "stored"),
    ("container-instance-changed", "stale"),
    ("container-instance-draining", "duplicate"),
    ("refused/wrong-source", "UnsupportedSource"),
    ("refused/service-action", "UnsupportedDetailType"),
    ("refused/missing-version", "InvalidEvent"),
];

/// What the reconciler counts afterwards, of what [`prepare_ecs`] puts into ECS.
const RUNS: [(&str, [u64; 6]); 2] = [("fleet", [1, 5, 5, 0, 0, 0]), ("table", [1, 1, 0, 0, 0, 1])];

/// What `ecs-state` is asked in the end.
const QUESTIONS: [&str; 3] = ["tasks --missing", "instances", "stopped"];

/// How long ago the newest sample event happened.
const AGE: TimeDelta = TimeDelta::minutes(4);

const RECORDER: &str = "ecs-state-recorder";
const RECONCILER: &str = "ecs-state-reconciler";
const NOTIFIER: &str = "ecs-state-notifier";

/// The event whose task failed, for which `notify` is true.
const FAILED: &str = "fargate-task-failed-to-start";

/// Where `make invoke` finds the port of a running `make watch`, and where the functions' log goes in `make run`.
const STATE: &str = "target/local";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let watch = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run"] => false,
        ["watch"] => true,
        ["-h" | "--help"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    let work = async { if watch { serve().await } else { story().await } };
    match tokio::select! { done = work => done, signal = stop_signal() => signal } {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Completes on Ctrl-C, SIGTERM or a closed terminal. Everything that was started is stopped when it is dropped.
async fn stop_signal() -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let code = tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
        _ = hangup.recv() => 129,
    };
    eprintln!("stopped");
    Ok(ExitCode::from(code))
}

/// `make run`.
async fn story() -> Result<ExitCode> {
    check_story_is_complete()?;
    let log = PathBuf::from(STATE).join("function.log");
    fs::create_dir_all(STATE)?;
    let with_log = |error: Box<dyn Error>| format!("{error}; see the functions' log, {}", log.display());
    let stack = Stack::start(Output::File(&log)).await.map_err(with_log)?;

    let mut sent = table(["event", "version", "outcome", "stored version"]);
    let mut surprises = Vec::new();
    let age = age_of(&STORY.map(|(name, _)| name))?;
    for (name, expected) in STORY {
        // The notifier announces no stop of more than an hour ago.
        let event = moved(&sample(name)?, if name == FAILED { age_of(&[FAILED])? } else { age });
        let answer = stack.invoke(RECORDER, &event.to_string()).await.map_err(with_log)?;
        let outcome = answer["outcome"].as_str().or(answer["errorType"].as_str()).unwrap_or("no answer");
        if outcome != expected {
            surprises.push(format!("events/{name}.json: the outcome must be {expected}, found {answer}"));
        }
        let color = match outcome {
            _ if outcome != expected => Color::Red,
            "stored" => Color::Green,
            "stale" | "duplicate" => Color::Yellow,
            _ => Color::Magenta,
        };
        sent.add_row([
            Cell::new(format!("events/{name}.json")),
            number(&event["detail"]["version"]),
            Cell::new(outcome).fg(color),
            number(&answer["stored_version"]),
        ]);
    }
    println!("{sent}\n");
    if let Err(surprise) = announce(&stack).await {
        surprises.push(surprise.to_string());
    }

    prepare_ecs(&stack, age).await.map_err(with_log)?;
    let mut runs = table(["reconciler's run", "clusters", "listed", "stored", "unchanged", "stale", "marked"]);
    for (scope, expected) in RUNS {
        let report = stack.invoke(RECONCILER, &format!(r#"{{"scope": "{scope}"}}"#)).await.map_err(with_log)?;
        let counts = ["clusters", "listed", "stored", "unchanged", "stale", "marked"].map(|name| &report[name]);
        if report["complete"] != true || counts.iter().zip(expected).any(|(found, expected)| **found != expected) {
            surprises.push(format!("the {scope} run must count {expected:?}, found {report}"));
        }
        runs.add_row([Cell::new(format!(r#"{{"scope": "{scope}"}}"#))].into_iter().chain(counts.map(number)));
    }
    println!("{runs}");
    for question in QUESTIONS {
        println!("\n$ ecs-state {question}");
        let code = stack.ask(question).await?;
        if code != Some(0) {
            surprises.push(format!("ecs-state {question} must end with exit code 0, not {code:?}"));
        }
    }
    println!();

    if surprises.is_empty() {
        println!("Every outcome is as expected. The functions' log: {}", log.display());
        return Ok(ExitCode::SUCCESS);
    }
    for surprise in surprises {
        eprintln!("error: {surprise}");
    }
    eprintln!("The functions' log: {}", log.display());
    Ok(ExitCode::FAILURE)
}

/// Invokes the notifier with the stream of the table of tasks, and prints its message about the failed task.
async fn announce(stack: &Stack) -> Result<()> {
    let records = stack.dynamodb.records(TASKS);
    let answer = stack.invoke(NOTIFIER, &stream::batch(&records)).await?;
    let failed = sample(FAILED)?["detail"]["taskArn"].clone();
    let mut details = stack.bus.details().into_iter();
    let content = details.find(|detail| detail["taskArn"] == failed).map(|mut detail| detail["chat"]["content"].take());
    let content = content.ok_or_else(|| format!("the notifier must announce the failed task, found {answer}"))?;
    let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
    let [title, description, advice] = [&content["title"], &content["description"], &content["nextSteps"][0]].map(text);
    println!("The notifier's message about events/{FAILED}.json:\n\n  {title}");
    for line in description.lines().chain([advice.as_str()]) {
        println!("  {line}");
    }
    println!();
    Ok(())
}

/// Puts into ECS three tasks and a container instance that no event reported, and the container instance of the sample
/// events, which has changed since. Nothing is put there for a task whose last event was lost.
async fn prepare_ecs(stack: &Stack, age: TimeDelta) -> Result<()> {
    let demo = cluster("demo");
    (0..3).for_each(|number| stack.ecs.put_task(&moved(&task(&demo, number, 4), age)));
    stack.ecs.put_container_instance(&demo, &moved(&container_instance(&demo, 3, 12), age));
    let mut changed = moved(&container_instance(&demo, 4, 34), age);
    changed["containerInstanceArn"] = sample("container-instance-draining")?["detail"]["containerInstanceArn"].clone();
    stack.ecs.put_container_instance(&demo, &changed);

    let mut lost = moved(&sample("fargate-task-running")?, age);
    let arn = lost["detail"]["taskArn"].as_str().and_then(|arn| arn.rsplit_once('/')).ok_or("the sample has no ARN")?;
    lost["detail"]["taskArn"] = format!("{}/f09d2c71a3b84e6f9d15c7e80b2a4463", arn.0).into();
    let answer = stack.invoke(RECORDER, &lost.to_string()).await?;
    if answer["outcome"] != "stored" {
        return Err(format!("the event of one more task must be stored, found {answer}").into());
    }
    Ok(())
}

fn sample(name: &str) -> Result<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(format!("events/{name}.json"))?)?)
}

/// By how much the times of samples must move, so that the newest is [`AGE`] ago.
fn age_of(names: &[&str]) -> Result<TimeDelta> {
    let mut newest = DateTime::UNIX_EPOCH;
    for name in names {
        let time = sample(name)?["time"].as_str().unwrap_or_default().parse()?;
        newest = newest.max(time);
    }
    Ok(Utc::now() - AGE - newest)
}

/// The same event or ECS object with all times moved: texts in RFC 3339, and ECS's seconds since 1970.
fn moved(value: &Value, age: TimeDelta) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match value.as_f64() {
                Some(seconds) if name.ends_with("At") => (name.clone(), (seconds + age.as_seconds_f64()).into()),
                _ => (name.clone(), moved(value, age)),
            })
            .collect(),
        Value::Array(values) => values.iter().map(|value| moved(value, age)).collect(),
        Value::String(text) => match text.parse::<DateTime<Utc>>() {
            Ok(time) => (time + age).to_rfc3339_opts(SecondsFormat::Millis, true).into(),
            Err(_) => value.clone(),
        },
        other => other.clone(),
    }
}

/// `make watch`.
async fn serve() -> Result<ExitCode> {
    let mut stack = Stack::start(Output::Terminal).await?;
    let port_file = Path::new(STATE).join("port");
    fs::create_dir_all(STATE)?;
    fs::write(&port_file, stack.port.to_string())?;
    let _port_file = PortFile(&port_file, stack.port);
    println!(
        "\nThe recorder is waiting for events. From another terminal:\n\n  \
         make invoke EVENT=events/fargate-task-running.json\n  \
         curl -d @events/fargate-task-running.json {url}\n\n\
         Its tables are at {dynamodb} (any region, any credentials):\n\n  \
         aws dynamodb scan --table-name {TASKS} --endpoint-url {dynamodb}\n\n\
         Ctrl-C stops everything.\n",
        url = stack.url(RECORDER),
        dynamodb = stack.dynamodb.url,
    );
    let status = stack.function.wait().await?;
    Err(format!("cargo lambda watch exited: {status}").into())
}

/// DynamoDB, ECS, a bus, and `cargo lambda watch` with the functions. When dropped, it leaves nothing running.
struct Stack {
    dynamodb: DynamoDb,
    ecs: Ecs,
    bus: Bus,
    function: Child,
    port: u16,
}

enum Output<'p> {
    Terminal,
    File(&'p Path),
}

impl Stack {
    async fn start(output: Output<'_>) -> Result<Self> {
        let dynamodb = DynamoDb::start_recording().await;
        let (ecs, bus) = (Ecs::start().await, Bus::start().await);
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = command("cargo", &dynamodb);
        command
            .args(["lambda", "watch", "--invoke-address", "127.0.0.1", "--invoke-port", &port.to_string()])
            .env("AWS_ENDPOINT_URL_ECS", &ecs.url)
            .env("AWS_ENDPOINT_URL_EVENTBRIDGE", &bus.url)
            .env("ECS_CALLS_PER_SECOND", "20")
            .env_remove("AWS_LAMBDA_LOG_LEVEL")
            .env_remove("CLUSTER_ARNS")
            .env_remove("NOTIFICATION_BUS_NAME")
            .process_group(0);
        if let Output::File(path) = output {
            let file = fs::File::create(path)?;
            command.arg("--ignore-changes").stdout(file.try_clone()?).stderr(file);
        }
        let function = command.spawn().map_err(|error| format!("cargo lambda can't be started: {error}"))?;
        let mut stack = Self { dynamodb, ecs, bus, function, port };
        stack.wait_until_listening().await?;
        Ok(stack)
    }

    /// Asks the tables, and lets the answer be printed. Returns the exit code.
    async fn ask(&self, question: &str) -> Result<Option<i32>> {
        // Cargo builds both into the same folder.
        let ecs_state = std::env::current_exe()?.with_file_name("ecs-state");
        let status = command(ecs_state, &self.dynamodb).args(question.split(' ')).status().await;
        Ok(status.map_err(|error| format!("ecs-state can't be started: {error}"))?.code())
    }

    async fn wait_until_listening(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            if let Some(status) = self.function.try_wait()? {
                return Err(format!("cargo lambda watch failed to start ({status}): is cargo-lambda installed?").into());
            }
            if Instant::now() > deadline {
                return Err("cargo lambda watch didn't listen within 30 s".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn url(&self, function: &str) -> String {
        format!("http://127.0.0.1:{}/2015-03-31/functions/{function}/invocations", self.port)
    }

    /// Invokes a function, and returns its answer or `{"errorType": …, "errorMessage": …}`.
    async fn invoke(&self, function: &str, payload: &str) -> Result<Value> {
        // Four times the function's timeout; it is already built.
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build()?;
        let answer = client.post(self.url(function)).body(payload.to_owned()).send().await;
        let answer = answer.map_err(|error| {
            if error.is_timeout() {
                "the function did not respond within a minute".to_owned()
            } else {
                format!("the function can't be reached: {error}")
            }
        })?;
        let answer = answer.text().await?;
        serde_json::from_str(&answer)
            .map_err(|error| format!("the function's answer must be JSON, found {answer:?}: {error}").into())
    }
}

impl Drop for Stack {
    /// Sends SIGTERM first, so that `cargo lambda watch` stops the function, and after 5 s kills what is left of its
    /// process group.
    fn drop(&mut self) {
        let Some(group) = self.function.id().map(|id| Pid::from_raw(id.cast_signed())) else { return };
        let deadline = Instant::now() + Duration::from_secs(5);
        let _ = killpg(group, Signal::SIGTERM);
        while killpg(group, None).is_ok() && Instant::now() < deadline {
            let _ = self.function.try_wait();
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = killpg(group, Signal::SIGKILL);
    }
}

/// A program that uses the local DynamoDB, isolated from the user's AWS configuration, and from AWS itself.
fn command(program: impl AsRef<OsStr>, dynamodb: &DynamoDb) -> Command {
    let mut command = Command::new(program);
    command
        .env("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb.url)
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .stdin(Stdio::null());
    for variable in ["AWS_PROFILE", "AWS_SESSION_TOKEN", "TASK_TABLE_NAME", "CONTAINER_INSTANCE_TABLE_NAME"] {
        command.env_remove(variable);
    }
    command
}

/// Removes the file when dropped, unless another `make watch` has written its own port since.
struct PortFile<'p>(&'p Path, u16);

impl Drop for PortFile<'_> {
    fn drop(&mut self) {
        if fs::read_to_string(self.0).is_ok_and(|port| port == self.1.to_string()) {
            let _ = fs::remove_file(self.0);
        }
    }
}

fn check_story_is_complete() -> Result<()> {
    for folder in ["", "refused/"] {
        for entry in fs::read_dir(format!("events/{folder}"))? {
            let file = entry?.file_name().into_string().map_err(|name| format!("events/ holds {}", name.display()))?;
            if let Some(name) = file.strip_suffix(".json")
                && !STORY.iter().any(|(known, _)| *known == format!("{folder}{name}"))
            {
                return Err(format!("events/{folder}{file} must be listed in STORY, in local/main.rs").into());
            }
        }
    }
    Ok(())
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(header.map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    table
}

fn number(value: &Value) -> Cell {
    Cell::new(value.as_u64().map_or(String::new(), |number| number.to_string())).set_alignment(CellAlignment::Right)
}
