//! The log: its form, its level, and which lines get into it.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::LogConfig;

/// Sends the process's log to standard output. To be called once, before anything is logged.
///
/// A JSON line is one flat object with a `timestamp` (RFC 3339) and a `level`: a line that lacks either counts as INFO
/// for Lambda, whose own filter would then drop errors.
pub fn start(config: LogConfig) {
    let lines = fmt::layer();
    let lines = if config.json {
        lines.json().flatten_event(true).with_span_list(false).with_target(false).boxed()
    } else {
        lines.with_target(false).with_ansi(std::io::stdout().is_terminal()).boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(target_filter(config.level))).init();
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
