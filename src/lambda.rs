//! Shared by the Lambda functions: startup, the log, the payload, and the time left.

use std::env;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use lambda_runtime::{Context, Error};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::InvalidVariable;

#[cfg(not(panic = "unwind"))]
compile_error!(
    "panics must unwind, so that lambda_runtime reports a panic as that event's error and serves the next event"
);

/// Starts the log and runs a function. An error is logged, and ends the process.
pub async fn run(function: &str, serve: impl Future<Output = Result<(), Error>>) -> ExitCode {
    if env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        eprintln!("{function} is an AWS Lambda function, started by Lambda. To try it locally, use `make run`.");
        return ExitCode::FAILURE;
    }
    match LogConfig::read(|name| env::var_os(name)) {
        Ok(config) => start_log(config),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    tracing::info!("{function} {} is starting", env!("CARGO_PKG_VERSION"));
    match serve.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The log's format and its minimum level.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogConfig {
    /// Whether each line is a JSON object.
    pub json: bool,
    /// Lines below this level are not written.
    pub level: LevelFilter,
}

impl LogConfig {
    /// Reads the variables of [Lambda's logging controls]: `AWS_LAMBDA_LOG_FORMAT` (`Text`, the default, or `JSON`) and
    /// `AWS_LAMBDA_LOG_LEVEL` (`TRACE` to `FATAL`; `INFO` is the default).
    ///
    /// [Lambda's logging controls]: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, InvalidVariable> {
        let text = |name| variable(name).unwrap_or_default().to_string_lossy().to_ascii_uppercase();
        let json = match text("AWS_LAMBDA_LOG_FORMAT").as_str() {
            "" | "TEXT" => false,
            "JSON" => true,
            other => {
                let problem = format!("must be JSON or Text, found {other:?}");
                return Err(InvalidVariable::new("AWS_LAMBDA_LOG_FORMAT", problem));
            }
        };
        let level = match text("AWS_LAMBDA_LOG_LEVEL").as_str() {
            "" | "INFO" => LevelFilter::INFO,
            "TRACE" => LevelFilter::TRACE,
            "DEBUG" => LevelFilter::DEBUG,
            "WARN" => LevelFilter::WARN,
            "ERROR" | "FATAL" => LevelFilter::ERROR,
            other => {
                let problem = format!("must be TRACE, DEBUG, INFO, WARN, ERROR or FATAL, found {other:?}");
                return Err(InvalidVariable::new("AWS_LAMBDA_LOG_LEVEL", problem));
            }
        };
        Ok(Self { json, level })
    }
}

/// Sends the process's log to standard output. Call it once, before anything is logged.
///
/// A JSON line is one flat object with a `timestamp` (RFC 3339) and a `level`: Lambda treats a line that lacks either
/// as INFO, and its own filter would then drop errors.
pub fn start_log(config: LogConfig) {
    let lines = fmt::layer();
    let lines = if config.json {
        lines.json().flatten_event(true).with_span_list(false).with_target(false).boxed()
    } else {
        lines.with_target(false).with_ansi(std::io::stdout().is_terminal()).boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(target_filter(config.level))).init();
}

/// Lets through our own lines at `level`, and those of `lambda_runtime` capped at WARN: it logs every failed invocation
/// at ERROR, but at TRACE it logs whole events. All other libraries are silenced, since any of their lines might quote
/// an event. The one exception is the span that adds `requestId` to every line.
fn target_filter(level: LevelFilter) -> Targets {
    Targets::new()
        .with_target("lambda_runtime", level.min(LevelFilter::WARN))
        .with_target("lambda_runtime::layers::trace", LevelFilter::INFO)
        .with_target(env!("CARGO_CRATE_NAME"), level)
}

/// Lambda's payload, unparsed.
///
/// Deserializing never fails, even for bytes that are not JSON: if it did, the runtime would report the error itself,
/// under the name of a Rust type, before the handler is called. The handler rejects such a payload instead.
/// Trailing bytes after the JSON text go unnoticed: the runtime does not pass them on, and Lambda's Invoke API accepts
/// a single JSON text only.
pub struct Payload(Option<Box<RawValue>>);

impl Payload {
    /// The JSON text; `None` if the payload is not JSON.
    pub fn json(&self) -> Option<&RawValue> {
        self.0.as_deref()
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::deserialize(deserializer).ok()))
    }
}

/// The time left for an invocation, which ends 5 s before Lambda's timeout.
pub fn time_left(context: &Context) -> Duration {
    match context.deadline().duration_since(SystemTime::now()) {
        Ok(left) => left.saturating_sub(Duration::from_secs(5)),
        // `cargo lambda watch` sends a deadline in 1970: Lambda's maximum timeout.
        Err(_) => Duration::from_mins(15),
    }
}
