//! End-to-end tests, a module for each promise: the real binaries with a real DynamoDB engine.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod death;
mod faults;
mod lossless;
mod process;
mod reconciler;
mod recorder;
mod secrets;
mod stored;
mod storms;

use std::sync::LazyLock;

use harness::runtime_api::{reconciler_binary, recorder_binary};

static RECORDER: LazyLock<String> = LazyLock::new(|| recorder_binary(env!("CARGO_BIN_EXE_ecs-state-recorder")));
static RECONCILER: LazyLock<String> = LazyLock::new(|| reconciler_binary(env!("CARGO_BIN_EXE_ecs-state-reconciler")));
