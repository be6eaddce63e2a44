//! Amazon ECS tasks and container instances as typed values, and why a task stopped.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use ecs_model::diagnosis::Diagnosis;
//! use ecs_model::{Task, from_json};
//! use serde_json::Value;
//!
//! let event: Value = serde_json::from_str(include_str!("../tests/published/fargate-failed-to-start.json"))?;
//! let task: Task = from_json(&event["detail"])?;
//! let diagnosis = Diagnosis::new(&task).ok_or("the task has not stopped")?;
//! assert_eq!(diagnosis.summary, "secrets or the login to the registry could not be fetched");
//! # Ok(())
//! # }
//! ```
//!
//! [`Task`] and [`ContainerInstance`] are read by [`from_json`] from the `detail` of an event or an object of the ECS
//! API. The two differ in form (a time is a string in an event and a number in the API) and in which fields they have:
//! every field is optional but the ARN.
//!
//! Serialized again, an object is equal by value to what was read: the same instants, numbers, arrays and strings. What
//! this crate does not know is kept: a field in `other`, a status in its enum's `Unknown`. Only `null` and an absent
//! field become one, and a number beyond 64 bits is rounded.
//!
//! ECS documents every field: [Task], [`ContainerInstance`][API], [events].
//!
//! [events]: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_cwe_events.html
//! [Task]: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html
//! [API]: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerInstance.html
#![allow(missing_docs, reason = "ECS documents its fields; see the links above")]

#[macro_use]
mod object;

pub mod arn;
mod attachment;
mod attribute;
mod container_instance;
pub mod diagnosis;
mod error;
mod list;
mod task;
pub mod time;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::attachment::*;
pub use self::attribute::*;
pub use self::container_instance::*;
pub use self::error::ModelError;
pub use self::list::List;
pub use self::task::*;

/// Reads a [`Task`], a [`ContainerInstance`] or a part of one from an event's `detail` or an object of the ECS API.
///
/// # Errors
///
/// A field that this crate knows has another type.
pub fn from_json<T: DeserializeOwned>(json: &Value) -> Result<T, ModelError> {
    serde_path_to_error::deserialize(json).map_err(|error| ModelError::new(&error, json))
}
