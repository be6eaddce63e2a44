//! The latest state of every Amazon ECS task and container instance, in DynamoDB.
//!
//! **The guarantee.** Whatever the order in which ECS's events arrive, however often each is delivered, and however
//! many copies of the function run at once, the row of an ARN holds the event with the highest `detail.version`
//! that was accepted for it, whole. It holds because an event is stored by one conditional write, which DynamoDB
//! itself decides: nothing is read before it, so there is no moment in which another copy can come between.
//!
//! # The way of an event
//!
//! 1. [`invocation`] takes what Lambda hands over, leads it through the modules below, and answers: an outcome, or
//!    an error of a stable type. It writes the one log line.
//! 2. [`event`] reads what ECS sent: the envelope, then the detail, through [`json`], with its key and version. What
//!    isn't a state change of a task or a container instance ends here.
//! 3. [`row`] turns the detail into a DynamoDB item, losing nothing.
//! 4. [`store`] writes the item on one condition, and tells *stored*, *stale* and *duplicate* apart.
//!
//! Before the first event, [`config`] reads the environment and [`logging`] sets up the log.

pub mod client;
pub mod config;
pub mod event;
pub mod invocation;
pub mod json;
pub mod logging;
pub mod row;
pub mod store;
pub mod write_error;
