//! The latest state of every Amazon ECS task and container instance, in DynamoDB.
//!
//! **The guarantee.** The row of an ARN always holds the newest state that an event or the ECS API has reported,
//! whatever order events arrive in, however often each is delivered, and however many instances of the functions run at
//! once. A single conditional write stores a state, and DynamoDB evaluates the condition, so no other instance can
//! interfere.
//!
//! # Layout
//!
//! - [`resource`] and [`attributes`]: the resources that have rows, and the names of the rows' attributes.
//! - [`config`], [`aws`] and [`lambda`]: settings from the environment, AWS clients, and the startup of a function.
//! - [`aws_json`]: calls of AWS services without an SDK crate.
//! - [`state`]: what a state is, how it is written as a row, and how rows are read back, wherever states come from.
//! - [`recorder`]: from an event to a state. A Lambda function invoked by EventBridge.
//! - [`reconciler`]: from the ECS API to states that no event reported. A Lambda function on a schedule.
//!
//! `ecs-model` contains typed tasks and container instances, and the diagnosis of stopped tasks; `ecs-state` is the
//! command line that reads the tables.
//!
//! # The path of an event
//!
//! 1. The [`recorder`] receives Lambda's payload, passes it through the modules below, and returns an outcome or an
//!    error of a stable type. It writes one log line.
//! 2. [`recorder::envelope`] parses the envelope, then (with [`state::lossless_json`]) the detail, its key and its
//!    version. Anything but a state change of a task or a container instance is refused here.
//! 3. [`state::row`] converts the detail into a DynamoDB item, losing nothing that DynamoDB can hold.
//! 4. [`state::conditional_write`] writes the item, and distinguishes *stored*, *stale* and *duplicate*.

pub mod attributes;
pub mod aws;
pub mod aws_json;
pub mod config;
pub mod lambda;
pub mod reconciler;
pub mod recorder;
pub mod resource;
pub mod state;
