//! What is promised, a module each, from outside: through the real binaries and a real DynamoDB engine.
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
