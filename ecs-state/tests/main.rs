//! `ecs-state`, the real binary, against an embedded DynamoDB.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod explain;
mod failures;
mod filters;
mod fixture;
mod groups;
mod history;
mod images;
mod logs;
mod output;
mod scale;
mod search;
mod secrets;
mod terminal;
