//! The function on one machine: an embedded DynamoDB, the Lambda Runtime API of `cargo lambda watch`, and the function
//! between them. `make run` and `make watch` call it.

use std::error::Error;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use comfy_table::{Attribute, Cell, CellAlignment, Color, Table, presets};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use harness::dynamodb::{CONTAINER_INSTANCES, DynamoDb, TASKS};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const HELP: &str = "\
The function on this machine, with an embedded DynamoDB and a local Lambda Runtime API.

Usage: cargo run --example local -- <run | watch>

  run     send every file of events/, and show what came of each and what is stored then
  watch   keep everything running until Ctrl-C, and rebuild the function when its code changes
";

/// Every file of `events/`, in an order that shows every outcome, and the outcome that it must have there.
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

/// Where `make invoke` finds the port of a running `make watch`, and where the function's log goes in `make run`.
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
    match tokio::select! { done = work => done, signal = stopped() => signal } {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ends on Ctrl-C, SIGTERM or a closed terminal. What was started is stopped as it is dropped.
async fn stopped() -> Result<ExitCode> {
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
    every_event_file_is_in_the_story()?;
    let log = PathBuf::from(STATE).join("function.log");
    fs::create_dir_all(STATE)?;
    let see_log = |error: Box<dyn Error>| format!("{error}; see the function's log, {}", log.display());
    let stack = Stack::start(Output::File(&log)).await.map_err(see_log)?;

    let mut sent = table(["sent", "version", "came of it", "stored version"]);
    let mut surprises = Vec::new();
    for (name, expected) in STORY {
        let event = fs::read_to_string(format!("events/{name}.json"))?;
        let answer = stack.invoke(&event).await.map_err(see_log)?;
        let outcome = answer["outcome"].as_str().or(answer["errorType"].as_str()).unwrap_or("no answer");
        if outcome != expected {
            surprises.push(format!("events/{name}.json: {expected} was expected, {answer} came"));
        }
        let colour = match outcome {
            _ if outcome != expected => Color::Red,
            "stored" => Color::Green,
            "stale" | "duplicate" => Color::Yellow,
            _ => Color::Magenta,
        };
        let version = &serde_json::from_str::<Value>(&event)?["detail"]["version"];
        sent.add_row([
            Cell::new(format!("events/{name}.json")),
            number(version),
            Cell::new(outcome).fg(colour),
            number(&answer["stored_version"]),
        ]);
    }
    println!("{sent}\n");
    println!("{}\n", stored(&stack.dynamodb));

    if surprises.is_empty() {
        println!("Every outcome is the expected one. The function's log: {}", log.display());
        return Ok(ExitCode::SUCCESS);
    }
    for surprise in surprises {
        eprintln!("error: {surprise}");
    }
    eprintln!("The function's log: {}", log.display());
    Ok(ExitCode::FAILURE)
}

/// `make watch`.
async fn serve() -> Result<ExitCode> {
    let mut stack = Stack::start(Output::Terminal).await?;
    let port_file = Path::new(STATE).join("port");
    fs::create_dir_all(STATE)?;
    fs::write(&port_file, stack.port.to_string())?;
    let _port_file = PortFile(&port_file, stack.port);
    println!(
        "\nThe function waits for events. From another terminal:\n\n  \
         make invoke EVENT=events/fargate-task-running.json\n  \
         curl -d @events/fargate-task-running.json {url}\n\n\
         Its tables are at {dynamodb} (any region, any credentials):\n\n  \
         aws dynamodb scan --table-name {TASKS} --endpoint-url {dynamodb}\n\n\
         Ctrl-C stops everything.\n",
        url = stack.url,
        dynamodb = stack.dynamodb.url,
    );
    let status = stack.function.wait().await?;
    Err(format!("cargo lambda watch ended by itself: {status}").into())
}

/// DynamoDB, and `cargo lambda watch` with the function. Dropped, it leaves nothing running.
struct Stack {
    dynamodb: DynamoDb,
    function: Child,
    port: u16,
    url: String,
}

enum Output<'p> {
    Terminal,
    File(&'p Path),
}

impl Stack {
    async fn start(output: Output<'_>) -> Result<Self> {
        let dynamodb = DynamoDb::start().await;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("cargo");
        command
            .args(["lambda", "watch", "--invoke-address", "127.0.0.1", "--invoke-port", &port.to_string()])
            .env("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb.url)
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            // Nothing of the user's own AWS set-up may reach the function, nor the function AWS.
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .stdin(Stdio::null())
            .process_group(0);
        for variable in [
            "AWS_PROFILE",
            "AWS_SESSION_TOKEN",
            "AWS_LAMBDA_LOG_LEVEL",
            "TASK_TABLE_NAME",
            "CONTAINER_INSTANCE_TABLE_NAME",
        ] {
            command.env_remove(variable);
        }
        if let Output::File(path) = output {
            let file = fs::File::create(path)?;
            command.arg("--ignore-changes").stdout(file.try_clone()?).stderr(file);
        }
        let function = command.spawn().map_err(|error| format!("cargo lambda can't be started: {error}"))?;
        let url = format!("http://127.0.0.1:{port}/2015-03-31/functions/ecs-state-recorder/invocations");
        let mut stack = Self { dynamodb, function, port, url };
        stack.listening().await?;
        Ok(stack)
    }

    async fn listening(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            if let Some(status) = self.function.try_wait()? {
                return Err(format!("cargo lambda watch didn't start ({status}): is cargo-lambda installed?").into());
            }
            if Instant::now() > deadline {
                return Err("cargo lambda watch didn't listen within 30 s".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Sends an event to the function. The answer is its own, or `{"errorType": …, "errorMessage": …}`.
    async fn invoke(&self, event: &str) -> Result<Value> {
        // Four times what the function may take; it is built already.
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build()?;
        let answer = client.post(&self.url).body(event.to_owned()).send().await;
        let answer = answer.map_err(|error| {
            if error.is_timeout() {
                "the function didn't answer within a minute".to_owned()
            } else {
                format!("the function can't be reached: {error}")
            }
        })?;
        let answer = answer.text().await?;
        serde_json::from_str(&answer).map_err(|error| format!("the function answered {answer:?}: {error}").into())
    }
}

impl Drop for Stack {
    /// SIGTERM first: `cargo lambda watch` then ends the function. What is left of its group after 5 s is killed.
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

/// Removed when it is dropped, unless another `make watch` has written its own port since.
struct PortFile<'p>(&'p Path, u16);

impl Drop for PortFile<'_> {
    fn drop(&mut self) {
        if fs::read_to_string(self.0).is_ok_and(|port| port == self.1.to_string()) {
            let _ = fs::remove_file(self.0);
        }
    }
}

fn every_event_file_is_in_the_story() -> Result<()> {
    for folder in ["", "refused/"] {
        for entry in fs::read_dir(format!("events/{folder}"))? {
            let file = entry?.file_name().into_string().map_err(|name| format!("events/ holds {}", name.display()))?;
            if let Some(name) = file.strip_suffix(".json")
                && !STORY.iter().any(|(known, _)| *known == format!("{folder}{name}"))
            {
                return Err(format!("events/{folder}{file} has no place in the list of examples/local.rs").into());
            }
        }
    }
    Ok(())
}

/// What the two tables hold.
fn stored(dynamodb: &DynamoDb) -> Table {
    let mut stored = table(["stored", "ARN", "status", "version", "event time"]);
    for (kind, name, key, status) in [
        ("task", TASKS, "taskArn", "lastStatus"),
        ("instance", CONTAINER_INSTANCES, "containerInstanceArn", "current_status"),
    ] {
        let mut rows = dynamodb.rows(name);
        rows.sort_by_key(|row| row[key]["S"].to_string());
        for row in rows {
            let text = |name: &str| row[name]["S"].as_str().unwrap_or("").to_owned();
            stored.add_row([
                Cell::new(kind),
                Cell::new(short(&text(key))),
                Cell::new(text(status)),
                Cell::new(row["version"]["N"].as_str().unwrap_or("")).set_alignment(CellAlignment::Right),
                Cell::new(text("event_time")),
            ]);
        }
    }
    stored
}

/// `…:task/demo/5f1b9c0e…` of a long ARN.
fn short(arn: &str) -> String {
    let resource = arn.splitn(6, ':').nth(5).unwrap_or(arn);
    match resource.rsplit_once('/') {
        Some((path, id)) if id.len() > 8 => format!("…:{path}/{}…", &id[..8]),
        _ => resource.to_owned(),
    }
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
