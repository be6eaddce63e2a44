//! `ecs-state`, the real binary, against an embedded DynamoDB.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;
mod play;
