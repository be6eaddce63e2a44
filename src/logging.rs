//! The log: its form, its level, and which lines get into it.

use std::ffi::OsString;
use std::io::IsTerminal as _;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::InvalidVariable;

/// Sends the process's log to standard output, in the form and at the level that [Lambda's logging controls] ask for
/// by `AWS_LAMBDA_LOG_FORMAT` (`Text`, the default, or `JSON`) and `AWS_LAMBDA_LOG_LEVEL` (`TRACE` to `FATAL`; `INFO`
/// is the default). To be called once, before anything is logged.
///
/// A JSON line is one flat object with a `timestamp` (RFC 3339) and a `level`: a line that lacks either counts as INFO
/// for Lambda, whose own filter would then drop errors.
///
/// # Errors
///
/// A variable with another value.
///
/// [Lambda's logging controls]: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
pub fn start(variable: impl Fn(&str) -> Option<OsString>) -> Result<(), InvalidVariable> {
    let text = |name| variable(name).unwrap_or_default().to_string_lossy().to_ascii_uppercase();
    let json = match text("AWS_LAMBDA_LOG_FORMAT").as_str() {
        "" | "TEXT" => false,
        "JSON" => true,
        other => {
            return Err(InvalidVariable {
                variable: "AWS_LAMBDA_LOG_FORMAT",
                problem: format!("must be JSON or Text; it is {other:?}"),
            });
        }
    };
    let level = match text("AWS_LAMBDA_LOG_LEVEL").as_str() {
        "" | "INFO" => LevelFilter::INFO,
        "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "WARN" => LevelFilter::WARN,
        "ERROR" | "FATAL" => LevelFilter::ERROR,
        other => {
            return Err(InvalidVariable {
                variable: "AWS_LAMBDA_LOG_LEVEL",
                problem: format!("must be TRACE, DEBUG, INFO, WARN, ERROR or FATAL; it is {other:?}"),
            });
        }
    };

    let lines = fmt::layer();
    let lines = if json {
        lines.json().flatten_event(true).with_span_list(false).with_target(false).boxed()
    } else {
        lines.with_target(false).with_ansi(std::io::stdout().is_terminal()).boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(target_filter(level))).init();
    Ok(())
}

/// Our own lines at `level`, and those of `lambda_runtime` capped at WARN: at TRACE, it logs each event whole. It is what
/// writes the line of an error. No other library's lines, since nobody knows what they quote. The span that brings
/// `requestId` into every line is the one exception, and all there is in it.
fn target_filter(level: LevelFilter) -> Targets {
    Targets::new()
        .with_target("lambda_runtime", level.min(LevelFilter::WARN))
        .with_target("lambda_runtime::layers::trace", LevelFilter::INFO)
        .with_target(env!("CARGO_CRATE_NAME"), level)
}
