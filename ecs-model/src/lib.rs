//! Amazon ECS tasks and container instances as typed values, and why a task stopped.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use ecs_model::diagnosis::{Actor, Cause, Code, Diagnosis};
//! use ecs_model::{Task, from_json};
//! use serde_json::Value;
//!
//! let event: Value = serde_json::from_str(include_str!("../tests/published/fargate-failed-to-start.json"))?;
//! let task: Task = from_json(&event["detail"])?;
//! let diagnosis = Diagnosis::new(&task).ok_or("the task has not stopped")?;
//! assert_eq!((diagnosis.code, diagnosis.cause), (Code::SecretsUnavailable, Some(Cause::Unreachable)));
//! assert_eq!(diagnosis.summary, "the secrets or the registry login could not be fetched: their AWS endpoint could not be reached");
//! assert_eq!(diagnosis.actor, Actor::Network);
//! assert!(diagnosis.advice.starts_with("Check the route, NAT gateway or VPC endpoint, security groups and DNS"));
//! # Ok(())
//! # }
//! ```
//!
//! [`from_json`] reads a [`Task`] or a [`ContainerInstance`] from an event's `detail` or from an object of the ECS API.
//! The two sources differ in form (a time is a string in an event and a number in the API) and in their fields, so
//! every field except the ARN is optional.
//!
//! Serialized again, an object has the same values. Unknown fields are kept in `other`, unknown names in an enum's
//! `Unknown`. The only differences: a field that was `null` is absent, and a number beyond 64 bits is rounded,
//! and a time has milliseconds.
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
mod sidecar;
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

/// Reads a [`Task`], a [`ContainerInstance`] or a part of one from an event's `detail` or an object of the ECS API. It
/// fails if a field that this crate knows has another type.
pub fn from_json<T: DeserializeOwned>(json: &Value) -> Result<T, ModelError> {
    tracked(json).map_err(|error| ModelError::new(&error, json))
}

/// Reads what [`from_json`] refuses: without the fields of another type, which are returned with what is wrong.
///
/// # Errors
///
/// It is not an object, has no ARN, or more than a few of its fields have another type.
pub fn from_json_in_part<T: DeserializeOwned>(mut json: Value) -> Result<(T, Vec<ModelError>), ModelError> {
    const MOST: usize = 20;
    let mut left_out = Vec::new();
    loop {
        let error = match tracked(&json) {
            Ok(object) => return Ok((object, left_out)),
            Err(error) => error,
        };
        let problem = ModelError::new(&error, &json);
        if left_out.len() == MOST || error::remove(&mut json, error.path()).is_none() {
            return Err(problem);
        }
        left_out.push(problem);
    }
}

/// To keep track of the field takes 3 µs more a task. Without it first, each type would be compiled twice: 120 KB of a
/// function.
fn tracked<T: DeserializeOwned>(json: &Value) -> Result<T, serde_path_to_error::Error<serde_json::Error>> {
    serde_path_to_error::deserialize(json)
}

/// Reads the tasks of an event (its `detail`), of what `aws ecs describe-tasks` prints (its `tasks`), or one task.
///
/// # Errors
///
/// One of them can't be read; the error names the field from the document's start.
pub fn tasks_from_json(document: &Value) -> Result<Vec<Task>, ModelError> {
    let at = |place: String| move |error: ModelError| ModelError { field: format!("{place}.{}", error.field), ..error };
    match (document.get("detail"), document.get("tasks").and_then(Value::as_array)) {
        (Some(detail), _) => Ok(vec![from_json(detail).map_err(at("detail".to_owned()))?]),
        (None, Some(tasks)) => {
            let task = |(index, task)| from_json(task).map_err(at(format!("tasks[{index}]")));
            tasks.iter().enumerate().map(task).collect()
        }
        (None, None) => Ok(vec![from_json(document)?]),
    }
}
