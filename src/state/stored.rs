//! A row read back: a typed state, and the attributes that the tables add to it.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use ecs_model::{ModelError, from_json, time};
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
    /// Converts a DynamoDB item. It fails if a field that the model knows has another type.
    pub fn from_item(item: Item) -> Result<Self, ModelError> {
        let arn = Resource::ALL.iter().find_map(|resource| item.get(resource.key())?.as_s().ok()).cloned();
        // Via JSON, so that rows and events have the same errors.
        let read = || -> Result<Self, ModelError> {
            let without_json = || {
                let problem = "has an attribute that JSON can't represent, such as binary data".to_owned();
                ModelError { arn: None, field: "the row".to_owned(), problem }
            };
            // serde_dynamo panics on unknown types.
            if !item.values().all(is_known) {
                return Err(without_json());
            }
            let mut state: Map<String, Value> =
                serde_dynamo::aws_sdk_dynamodb_1::from_item(item).map_err(|_| without_json())?;
            let recorded = RECORDED.iter().filter_map(|name| state.remove_entry(*name)).collect();
            for name in INDEX_KEYS {
                state.remove(name);
            }
            if let Some(status) = state.remove(CURRENT_STATUS) {
                state.insert("status".to_owned(), status);
            }
            Ok(Self { state: from_json(&Value::Object(state))?, recorded: from_json(&Value::Object(recorded))? })
        };
        read().map_err(|error| ModelError { arn, ..error })
    }
}

/// Whether this version of the SDK knows the type of an attribute, and of everything in it.
fn is_known(attribute: &AttributeValue) -> bool {
    match attribute {
        AttributeValue::L(values) => values.iter().all(is_known),
        AttributeValue::M(fields) => fields.values().all(is_known),
        AttributeValue::S(_)
        | AttributeValue::N(_)
        | AttributeValue::Bool(_)
        | AttributeValue::Null(_)
        | AttributeValue::B(_)
        | AttributeValue::Ss(_)
        | AttributeValue::Ns(_)
        | AttributeValue::Bs(_) => true,
        _ => false,
    }
}
