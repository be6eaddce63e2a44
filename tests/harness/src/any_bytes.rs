//! Converts any bytes into an item, and checks what must hold for it: shared by the property tests and the fuzzer.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::DateTime;
use ecs_state_recorder::attributes::{CURRENT_STATUS, INDEX_KEYS, RECONCILED_AT, RECORDED};
use ecs_state_recorder::config::Config;
use ecs_state_recorder::lambda::Payload;
use ecs_state_recorder::reconciler::described;
use ecs_state_recorder::recorder::envelope::Envelope;
use ecs_state_recorder::resource::{MAX_KEY_BYTES, Resource};
use ecs_state_recorder::state::row::Row;
use serde::Deserialize as _;
use serde_json::Value;
use serde_json::value::RawValue;

/// Processes bytes as far as possible. They must result in a complete row or a readable error, and never in a panic.
pub fn read(bytes: &[u8]) -> Option<Row> {
    if let Ok(json) = serde_json::from_slice::<&RawValue>(bytes) {
        for resource in Resource::ALL {
            describe(resource, json);
        }
    }
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
    for resource in Resource::ALL {
        describe(resource, &envelope.event.detail);
    }
    assert_complete(&row, &envelope.event.detail, &[]);
    Some(row)
}

/// The same for a detail from the ECS API.
pub fn describe(resource: Resource, detail: &RawValue) -> Option<Row> {
    const CONVERTED: [&str; 13] = [
        "attachments",
        "clusterArn",
        "connectivityAt",
        "containers",
        "createdAt",
        "executionStoppedAt",
        "healthStatus",
        "pullStartedAt",
        "pullStoppedAt",
        "registeredAt",
        "startedAt",
        "stoppedAt",
        "stoppingAt",
    ];
    let state = described::state(resource, "a cluster", detail, DateTime::UNIX_EPOCH).map_err(assert_readable).ok()?;
    let _ = described::newest_time(&state);
    let config = Config::read(|_| None).expect("the defaults");
    let row = Row::new(state, &config).map_err(assert_readable).ok()?;
    assert_eq!(row.item[RECONCILED_AT], AttributeValue::S("1970-01-01T00:00:00.000Z".to_owned()));
    assert_complete(&row, detail, &CONVERTED);
    Some(row)
}

/// Compares a row with the result of another JSON parser, unless that can't parse the detail. The index must accept its
/// keys.
fn assert_complete(row: &Row, detail: &RawValue, converted: &[&str]) {
    let bytes = |name| row.item.get(name).map(|key| key.as_s().expect("a string").len());
    match INDEX_KEYS.map(bytes) {
        [Some(1..=2048), Some(1..=1024)] => assert!(row.item.contains_key("taskArn")),
        keys => assert_eq!(keys, [None, None]),
    }
    let Ok(Value::Object(detail)) = serde_json::from_str(detail.get()) else { return };
    for (field, value) in &detail {
        match field.as_str() {
            "status" => assert!(same(&row.item[CURRENT_STATUS], value)),
            field if is_ours(field) => {}
            field if converted.contains(&field) => assert!(row.item.contains_key(field), "{field}"),
            field => assert!(same(&row.item[field], value), "{field}"),
        }
    }
    let is_known = |name: &str| is_ours(name) || converted.contains(&name) || detail.contains_key(name);
    assert!(row.item.keys().all(|name| is_known(name)));
}

fn is_ours(name: &str) -> bool {
    name == CURRENT_STATUS || RECORDED.contains(&name) || INDEX_KEYS.contains(&name)
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
