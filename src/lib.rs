//! The latest state of every Amazon ECS task and container instance, in DynamoDB.
//!
//! **The guarantee.** Whatever order ECS events arrive in, however often each is delivered, and however many instances
//! of both functions run at once, the row of an ARN holds the whole state with the highest version that an event or the
//! ECS API has told. A state is stored by a single conditional write, and DynamoDB evaluates the condition, so there is
//! no window in which another instance could interfere.
//!
//! # Layout
//!
//! - [`state`]: what a state is, and how it is written as a row. It does not know where states come from.
//! - [`recorder`]: the flow from an event to a state. A Lambda function that EventBridge invokes.
//! - [`reconciler`]: the flow from the ECS API to states, for what no event told. A Lambda function on a schedule.
#![cfg_attr(feature = "cli", doc = "- [`reader`]: what reads the tables. Neither function contains it.")]
//! - [`config`], [`logging`], [`aws`], [`startup`] and [`payload`]: what both functions have in common.
//!
//! # The path of an event
//!
//! 1. [`recorder::invocation`] receives Lambda's payload, passes it through the modules below, and returns an outcome
//!    or an error of a stable type. It writes one log line.
//! 2. [`recorder::event`] parses what ECS sent: the envelope, then (with [`state::json`]) the detail, its key and its
//!    version. Anything but a state change of a task or a container instance is rejected here.
//! 3. [`state::row`] converts the detail into a DynamoDB item losing nothing that DynamoDB can hold.
//! 4. [`state::store`] writes the item conditionally, and distinguishes *stored*, *stale* and *duplicate*.

pub mod aws;
pub mod config;
pub mod logging;
pub mod payload;
#[cfg(feature = "cli")]
pub mod reader;
pub mod reconciler;
pub mod recorder;
pub mod startup;
pub mod state;
