//! End-to-end tests, a module for each promise: the real binaries with a real DynamoDB engine.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod death;
mod faults;
mod lossless;
mod notifier;
mod process;
mod reconciler;
mod recorder;
mod secrets;
mod stored;
/// Many events at once, in random order and repeated, to several instances that are killed.
mod storms {
    mod notifiers;
    mod overload;
    mod reconcilers;
    mod recorders;
}

use std::env;
use std::sync::LazyLock;

static RECORDER: LazyLock<String> =
    LazyLock::new(|| binary("RECORDER_BINARY", env!("CARGO_BIN_EXE_ecs-state-recorder")));
static RECONCILER: LazyLock<String> =
    LazyLock::new(|| binary("RECONCILER_BINARY", env!("CARGO_BIN_EXE_ecs-state-reconciler")));
static NOTIFIER: LazyLock<String> =
    LazyLock::new(|| binary("NOTIFIER_BINARY", env!("CARGO_BIN_EXE_ecs-state-notifier")));

/// The binary in an environment variable, or else the one that was built with the tests.
fn binary(variable: &str, built: &str) -> String {
    env::var(variable).unwrap_or_else(|_| built.to_owned())
}
