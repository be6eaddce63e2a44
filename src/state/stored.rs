//! A row read back: a typed state, and the attributes that the tables add to it.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use ecs_model::{ModelError, from_json_in_part, time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::attributes::{CURRENT_STATUS, INDEX_KEYS, Item, RECORDED};
use crate::resource::Resource;

/// A row of one of the two tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<T> {
    /// The task or container instance.
    pub state: T,
    /// Our own attributes.
    pub recorded: Recorded,
    /// What is wrong with the fields that could not be read, which are left out above.
    pub left_out: Vec<ModelError>,
}

/// Our own attributes, which do not come from ECS: docs/row.md.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Recorded {
    /// The `id` of the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The `time` of the event.
    #[serde(with = "time", skip_serializing_if = "Option::is_none")]
    pub event_time: Option<DateTime<Utc>>,
    /// The `version` of the event's envelope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cw_version: Option<String>,
    /// When the ECS API described this state, if it does not come from an event.
    #[serde(with = "time", skip_serializing_if = "Option::is_none")]
    pub reconciled_at: Option<DateTime<Utc>>,
    /// When the resource was first found missing in ECS.
    #[serde(with = "time", skip_serializing_if = "Option::is_none")]
    pub missing_since: Option<DateTime<Utc>>,
    /// When DynamoDB may delete the row.
    #[serde(with = "time", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

impl Recorded {
    /// When this state was observed: the time of its event, or when the ECS API described it.
    pub fn as_of(&self) -> Option<DateTime<Utc>> {
        self.event_time.or(self.reconciled_at)
    }
}

impl<T: DeserializeOwned> Stored<T> {
    /// Converts a DynamoDB item. It fails if the key is not a string, or if too many fields have another type.
    pub fn from_item(item: Item) -> Result<Self, ModelError> {
        let arn = Resource::ALL.iter().find_map(|resource| item.get(resource.key())?.as_s().ok()).cloned();
        // Via JSON, so that rows and events have the same errors.
        let (mut state, mut recorded, mut left_out) = (Map::new(), Map::new(), Vec::new());
        for (name, attribute) in item {
            if INDEX_KEYS.contains(&name.as_str()) {
                continue;
            }
            let name = if name == CURRENT_STATUS { "status".to_owned() } else { name };
            let Some(value) = json(attribute) else {
                let problem = "must be what JSON can represent, found binary data or another type".to_owned();
                left_out.push(ModelError { arn: None, field: name, problem });
                continue;
            };
            if RECORDED.contains(&name.as_str()) { &mut recorded } else { &mut state }.insert(name, value);
        }
        let with_arn = |error: ModelError| ModelError { arn: arn.clone(), ..error };
        let (state, of_state) = from_json_in_part(Value::Object(state)).map_err(with_arn)?;
        let (recorded, of_recorded) = from_json_in_part(Value::Object(recorded)).map_err(with_arn)?;
        let mut left_out: Vec<_> = left_out.into_iter().chain(of_state).chain(of_recorded).map(with_arn).collect();
        left_out.sort_by(|a, b| a.field.cmp(&b.field));
        Ok(Self { state, recorded, left_out })
    }
}

/// `None` for binary data, and for types that this version of the SDK does not know, in it or in its parts.
fn json(attribute: AttributeValue) -> Option<Value> {
    Some(match attribute {
        AttributeValue::S(text) => Value::String(text),
        AttributeValue::N(digits) => Value::Number(serde_json::from_str(&digits).ok()?),
        AttributeValue::Bool(value) => Value::Bool(value),
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::L(values) => values.into_iter().map(json).collect::<Option<_>>()?,
        AttributeValue::M(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| Some((name, json(value)?))).collect::<Option<_>>()?)
        }
        AttributeValue::Ss(texts) => texts.into(),
        AttributeValue::Ns(numbers) => numbers.into_iter().map(AttributeValue::N).map(json).collect::<Option<_>>()?,
        _ => return None,
    })
}
