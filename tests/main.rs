//! What is promised, a module each, from outside: through the real binaries and a real DynamoDB engine.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod convergence;
mod death;
mod faults;
mod lossless;
mod overload;
mod process;
mod reconciler;
mod reconciliation;
mod rules;
mod secrets;

#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "cli")]
mod diagnosis;
#[cfg(feature = "cli")]
mod model;
