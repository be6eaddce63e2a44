//! What the tests and the local run put around the function: events, a real DynamoDB engine, and Lambda's side.
#![allow(dead_code, reason = "each of them uses its own part")]
#![allow(clippy::expect_used, clippy::panic, reason = "a harness that can't go on has failed the test")]

pub(crate) mod documented;
pub(crate) mod dynamodb;
pub(crate) mod events;
pub(crate) mod function;
pub(crate) mod lambda;
pub(crate) mod path;
pub(crate) mod proxy;
pub(crate) mod storm;
pub(crate) mod tls;
