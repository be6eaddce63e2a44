//! What the tests, the local run and the benchmark put around the function: events, a real DynamoDB engine, Lambda's
//! side, and the faults between them.
#![allow(clippy::expect_used, clippy::panic, reason = "a harness that can't go on has failed the test")]
#![allow(clippy::missing_panics_doc, clippy::must_use_candidate, reason = "not a library for others")]

pub mod any_bytes;
pub mod documented;
pub mod dynamodb;
pub mod events;
pub mod function;
pub mod lambda;
pub mod proxy;
pub mod storm;
pub mod tls;
