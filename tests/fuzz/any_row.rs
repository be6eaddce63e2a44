//! Reads any row as a task and as a container instance, with libFuzzer: `make fuzz`. The result is a model or a clear
//! error.
#![no_main]

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use ecs_model::diagnosis::Diagnosis;
use ecs_model::{ContainerInstance, ModelError, Task, TaskStatus};
use ecs_state_recorder::state::stored::Stored;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(bytes) else { return };
    // An event's row has the fields of its detail.
    if let Some(Value::Object(detail)) = fields.remove("detail") {
        fields.extend(detail);
    }
    let item: HashMap<_, _> = fields.into_iter().map(|(name, value)| (name, attribute(value))).collect();
    match Stored::<Task>::from_item(item.clone()) {
        Ok(mut row) => {
            row.state.last_status = Some(TaskStatus::Stopped);
            assert!(Diagnosis::new(&row.state).is_some());
            assert!(row.state.moments().len() <= 8);
            row.left_out.iter().for_each(assert_clear);
        }
        Err(error) => assert_clear(&error),
    }
    if let Err(error) = Stored::<ContainerInstance>::from_item(item) {
        assert_clear(&error);
    }
});

fn assert_clear(error: &ModelError) {
    assert!(!error.field.is_empty() && !error.problem.is_empty(), "{error:?}");
}

/// The attribute that the recorder writes. A prefix in a string selects a type that the recorder never writes.
fn attribute(value: Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(value) => AttributeValue::Bool(value),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => match text.split_once(':') {
            Some(("n", digits)) => AttributeValue::N(digits.to_owned()),
            Some(("b", bytes)) => AttributeValue::B(Blob::new(bytes)),
            Some(("ss", text)) => AttributeValue::Ss(vec![text.to_owned()]),
            Some(("ns", digits)) => AttributeValue::Ns(vec![digits.to_owned()]),
            Some(("bs", bytes)) => AttributeValue::Bs(vec![Blob::new(bytes)]),
            _ => AttributeValue::S(text),
        },
        Value::Array(values) => AttributeValue::L(values.into_iter().map(attribute).collect()),
        Value::Object(fields) => {
            AttributeValue::M(fields.into_iter().map(|(name, value)| (name, attribute(value))).collect())
        }
    }
}
