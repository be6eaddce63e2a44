//! The log: its format, its level, and which lines are let through.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::LogConfig;

/// Sends the process's log to standard output. Call it once, before anything is logged.
///
/// A JSON line is one flat object with a `timestamp` (RFC 3339) and a `level`: Lambda treats a line that lacks either
/// as INFO, and its own filter would then drop errors.
pub fn start(config: LogConfig) {
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
