//! What reads the tables: states as typed values, and why a task stopped. The function itself uses none of it.
//!
//! - [`model`]: a task or a container instance, from an event's detail, a row or the ECS API.
//! - [`diagnosis`]: from a stopped task to the reason in one sentence.

pub mod diagnosis;
pub mod model;
