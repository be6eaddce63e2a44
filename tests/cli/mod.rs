//! `ecs-state`, the real binary, against an embedded DynamoDB.

mod failures;
mod filters;
mod fixture;
mod output;
mod scale;
mod search;
mod secrets;
mod terminal;
