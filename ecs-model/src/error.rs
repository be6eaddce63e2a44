//! Why an object can't be read.

use serde_json::Value;
use serde_path_to_error::{Path, Segment};
use thiserror::Error;

/// Why an object can't be read: a field does not have the type that ECS gives it.
///
/// The message names the field and never quotes a value, which might be a secret.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{}{field} {problem}", arn.as_ref().map(|arn| format!("{arn}: ")).unwrap_or_default())]
pub struct ModelError {
    /// The ARN in the row, if there is one.
    pub arn: Option<String>,
    /// The field, such as `containers[0].exitCode`.
    pub field: String,
    /// What is wrong with it, such as `must be an integer, found a string`.
    pub problem: String,
}

impl ModelError {
    /// Converts an error of serde, whose own message would quote the value.
    pub(crate) fn new(error: &serde_path_to_error::Error<serde_json::Error>, json: &Value) -> Self {
        let text = error.inner().to_string();
        let field = match error.path().to_string() {
            path if path == "." => "the object".to_owned(),
            path => path,
        };
        // "missing field `taskArn`" is the one error that is not about a value.
        let problem = if let Some(missing) = text.strip_prefix("missing field ") {
            format!("must have the field {}", missing.replace('`', ""))
        } else {
            let expected = text.rsplit_once("expected ").map_or("of another type", |(_, expected)| expected);
            let found = error.path().iter().try_fold(json, |value, segment| match segment {
                Segment::Map { key } => value.get(key),
                Segment::Seq { index } => value.get(index),
                Segment::Enum { .. } | Segment::Unknown => None,
            });
            format!("must be {}, found {}", describe(expected), found.map_or("nothing", kind))
        };
        Self { arn: None, field, problem }
    }
}

/// Removes the value at a path.
pub(crate) fn remove(json: &mut Value, path: &Path) -> Option<()> {
    let segments: Vec<&Segment> = path.iter().collect();
    let (last, parents) = segments.split_last()?;
    let parent = parents.iter().try_fold(json, |value, segment| match segment {
        Segment::Map { key } => value.get_mut(key),
        Segment::Seq { index } => value.get_mut(index),
        Segment::Enum { .. } | Segment::Unknown => None,
    })?;
    match (last, parent) {
        (Segment::Map { key }, Value::Object(fields)) => fields.remove(key).map(drop),
        (Segment::Seq { index }, Value::Array(values)) if *index < values.len() => {
            values.remove(*index);
            Some(())
        }
        _ => None,
    }
}

/// What serde expected, in JSON's words.
fn describe(expected: &str) -> &str {
    match expected {
        "i64" => "an integer",
        "u64" => "a non-negative integer",
        "f64" => "a number",
        "a sequence" => "an array",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number with a fraction, or of more than 64 bits",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
