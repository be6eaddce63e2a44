//! A row: a state, and what the tables keep beside it.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ModelError, from_json, time};
use crate::reader::tables::{INDEX_CLUSTER, INDEX_STATE};
use crate::state::row::{CURRENT_STATUS, CW_VERSION, EVENT_ID, EVENT_TIME, EXPIRES_AT, MISSING_SINCE, RECONCILED_AT};

/// A row of one of the two tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<T> {
    /// The task or container instance.
    pub state: T,
    /// The attributes of our own.
    pub recorded: Recorded,
}

object! {
    /// The attributes that are ours, not ECS's. The repository's `docs/row.md` explains them.
    Recorded {
        /// The `id` of the event.
        #[serde(rename = "event_id")]
        event_id: Option<String>,
        /// The `time` of the event.
        #[serde(default, deserialize_with = "time::deserialize", rename = "event_time")]
        event_time: Option<DateTime<Utc>>,
        /// The `version` of the event's envelope.
        #[serde(rename = "cw_version")]
        cw_version: Option<String>,
        /// When the row was read from the ECS API, if it does not come from an event.
        #[serde(default, deserialize_with = "time::deserialize", rename = "reconciled_at")]
        reconciled_at: Option<DateTime<Utc>>,
        /// Since when ECS no longer knows the resource.
        #[serde(default, deserialize_with = "time::deserialize", rename = "missing_since")]
        missing_since: Option<DateTime<Utc>>,
        /// When DynamoDB may delete the row.
        #[serde(default, deserialize_with = "time::deserialize", rename = "expires_at")]
        expires_at: Option<DateTime<Utc>>,
    }
}

/// The attributes of [`Recorded`]. Those of the index repeat what the state has: they are left out.
const RECORDED: [&str; 6] = [EVENT_ID, EVENT_TIME, CW_VERSION, RECONCILED_AT, MISSING_SINCE, EXPIRES_AT];
const INDEX: [&str; 2] = [INDEX_CLUSTER, INDEX_STATE];

impl Recorded {
    /// Of when the state is: the time of its event, or when the ECS API described it.
    #[must_use]
    pub fn as_of(&self) -> Option<DateTime<Utc>> {
        self.event_time.or(self.reconciled_at)
    }
}

impl<T: DeserializeOwned> Row<T> {
    /// Reads an item of DynamoDB.
    ///
    /// # Errors
    ///
    /// A field that the model knows has another type.
    pub fn from_item(item: HashMap<String, AttributeValue>) -> Result<Self, ModelError> {
        let arn = ["taskArn", "containerInstanceArn"].iter().find_map(|key| item.get(*key)?.as_s().ok()).cloned();
        // By way of JSON, so that both have the same errors.
        let read = || -> Result<Self, ModelError> {
            let without_json = || {
                let problem = "has an attribute without a form in JSON, such as binary data".to_owned();
                ModelError { arn: None, field: "the row".to_owned(), problem }
            };
            // serde_dynamo panics on those.
            if !item.values().all(is_known) {
                return Err(without_json());
            }
            let mut state: Map<String, Value> =
                serde_dynamo::aws_sdk_dynamodb_1::from_item(item).map_err(|_| without_json())?;
            let recorded = RECORDED.iter().filter_map(|name| state.remove_entry(*name)).collect();
            for name in INDEX {
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

/// Whether this version of the SDK knows the types of an attribute and all that is in it.
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
