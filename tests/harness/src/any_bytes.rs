//! From any bytes to an item, and what must hold for each: shared by the property tests and the fuzzer.

use aws_sdk_dynamodb::types::AttributeValue;
use ecs_state_recorder::config::Config;
use ecs_state_recorder::recorder::event::{Envelope, MAX_KEY_BYTES, Payload};
use ecs_state_recorder::state::row::{CURRENT_STATUS, CW_VERSION, EVENT_ID, EVENT_TIME, EXPIRES_AT, Row};
use serde::Deserialize as _;
use serde_json::Value;

/// Processes the bytes as far as possible. They must never cause a panic, and result in a complete row or a readable
/// error.
pub fn read(bytes: &[u8]) -> Option<Row> {
    let payload =
        Payload::deserialize(&mut serde_json::Deserializer::from_slice(bytes)).expect("any bytes are accepted");
    let envelope = Envelope::parse(&payload).map_err(assert_readable).ok()?;
    let state = envelope.state().map_err(assert_readable).ok()?;
    let (resource, arn) = (state.resource, state.arn.clone());
    let config = Config::read(|_| None).expect("the defaults");
    let row = Row::new(state, &config).map_err(assert_readable).ok()?;

    assert!((1..=MAX_KEY_BYTES).contains(&arn.len()));
    assert_eq!(row.item[resource.key()], AttributeValue::S(arn));
    assert_eq!(row.item["version"], AttributeValue::N(row.version.to_string()));
    assert!(!row.item.contains_key("status"));
    // Compare with another JSON parser, unless it can't parse the detail.
    if let Ok(Value::Object(detail)) = serde_json::from_str(envelope.event.detail.get()) {
        let ours = [CW_VERSION, EVENT_ID, EVENT_TIME, CURRENT_STATUS, EXPIRES_AT];
        for (field, value) in &detail {
            match field.as_str() {
                "status" => assert!(same(&row.item[CURRENT_STATUS], value)),
                field if ours.contains(&field) => {}
                field => assert!(same(&row.item[field], value), "{field}"),
            }
        }
        assert!(row.item.keys().all(|name| ours.contains(&name.as_str()) || detail.contains_key(name)));
    }
    Some(row)
}

fn assert_readable(error: impl std::error::Error) {
    let message = error.to_string();
    // The longest contains an ARN of 2,048 bytes and 128 escaped characters of a field name.
    assert!(message.len() < 4000, "{message}");
}

fn same(attribute: &AttributeValue, value: &Value) -> bool {
    match (attribute, value) {
        (AttributeValue::Null(true), Value::Null) => true,
        (AttributeValue::Bool(attribute), Value::Bool(value)) => attribute == value,
        (AttributeValue::S(attribute), Value::String(value)) => attribute == value,
        (AttributeValue::N(attribute), Value::Number(_)) => {
            serde_json::from_str::<Value>(attribute).is_ok_and(|attribute| attribute == *value)
        }
        (AttributeValue::L(attributes), Value::Array(values)) => {
            attributes.len() == values.len() && attributes.iter().zip(values).all(|(a, v)| same(a, v))
        }
        (AttributeValue::M(attributes), Value::Object(values)) => {
            attributes.len() == values.len() && values.iter().all(|(name, v)| same(&attributes[name], v))
        }
        _ => false,
    }
}
