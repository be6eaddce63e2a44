//! The latest state of every Amazon ECS task and container instance, in DynamoDB.
//!
//! **The guarantee.** Whatever the order in which ECS's events arrive, however often each is delivered, and however
//! many instances of the function run at once, the row of an ARN holds the event with the highest `detail.version`
//! that was accepted for it, whole. It holds because a state is stored by one conditional write, which DynamoDB itself
//! decides: nothing is read before it, so there is no moment in which another instance can come between.
//!
//! # Layout
//!
//! - [`state`]: what a state is, as a row, and how it is written. It knows nothing of where states come from.
//! - [`recorder`]: the flow from an event to a state.
//! - [`config`] and [`logging`]: what a function takes from its environment, and the form of its log.
//!
//! # The path of an event
//!
//! 1. [`recorder::invocation`] gets Lambda's payload, passes it through the modules below, and answers: an outcome, or
//!    an error of a stable type. It writes the one log line.
//! 2. [`recorder::event`] reads what ECS sent: the envelope, then the detail, by [`state::json`], with its key and
//!    version. What is not a state change of a task or a container instance ends here.
//! 3. [`state::row`] turns the detail into a DynamoDB item, losing nothing.
//! 4. [`state::store`] writes the item on one condition, and tells *stored*, *stale* and *duplicate* apart.

pub mod config;
pub mod logging;
pub mod recorder;
pub mod state;
