//! What reads the tables: states as typed values, and why a task stopped. The function itself uses none of it.
//!
//! - [`model`]: a task or a container instance, from an event's detail, a row or the ECS API.
//! - [`diagnosis`]: from a stopped task to the reason in one sentence.
//! - [`tables`]: the rows of both tables: one by its key, many through the index or by a scan.
//!
//! The command line `ecs-state` is made of these three.

pub mod diagnosis;
pub mod model;
pub mod tables;
