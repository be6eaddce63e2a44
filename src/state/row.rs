//! Builds a row: the whole detail as DynamoDB attributes, plus attributes of our own.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::SecondsFormat;
use thiserror::Error;

use super::expiry::expiry;
use super::index::IndexKeys;
use super::lossless_json::{Json, JsonError, truncate};
use super::redaction::redact_environment;
use super::{Origin, State};
use crate::attributes::{
    CURRENT_STATUS, CW_VERSION, EVENT_ID, EVENT_TIME, EXPIRES_AT, INDEX_CLUSTER, INDEX_KEYS, INDEX_STATE, Item,
    RECONCILED_AT, RECORDED, timestamp,
};
use crate::config::Config;
use crate::resource::Resource;

/// One row, ready to be written.
pub struct Row {
    /// The version of its state.
    pub version: u64,
    /// All attributes, including the key and the version.
    pub item: Item,
}

/// Why a state can't be stored as a row.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("detail.{} of {arn} can't be stored: it contains {error}", truncate(field))]
pub struct RowError {
    /// The resource's ARN.
    pub arn: String,
    /// The name of the detail's field.
    pub field: String,
    /// What is wrong with it.
    pub error: JsonError,
}

impl Row {
    /// Builds the row of a state.
    ///
    /// Nothing is lost: null becomes NULL, an array becomes a list (never a set, which can't be empty), and a number
    /// keeps its original digits. A field of the detail that shares its name with one of our attributes is dropped. If
    /// `config` says so, the values of overridden environment variables are redacted.
    ///
    /// It fails only for a field that is nested too deeply or is not valid Unicode. Other limits (a number of 39
    /// digits, an item of 401 KB) are left to DynamoDB, which rejects such an item.
    pub fn new(state: State<'_>, config: &Config) -> Result<Self, RowError> {
        let State { resource, arn, version, detail, origin } = state;
        let mut item = HashMap::with_capacity(64);
        // In reverse order: if a name is duplicated, the last one wins.
        for (field, value) in detail.into_iter().rev() {
            let name = match &*field {
                CURRENT_STATUS => continue,
                name if RECORDED.contains(&name) || INDEX_KEYS.contains(&name) => continue,
                "status" => CURRENT_STATUS,
                other => other,
            };
            if let Entry::Vacant(entry) = item.entry(name.to_owned()) {
                match value {
                    Ok(value) => entry.insert(attribute(value)),
                    Err(error) => return Err(RowError { arn, field: field.into_owned(), error }),
                };
            }
        }
        let expires_at = expiry(resource, &item, &origin, config.retention_days);
        let mut add =
            |name: &str, value: Option<AttributeValue>| item.extend(value.map(|value| (name.to_owned(), value)));
        add(EXPIRES_AT, expires_at.map(|time| AttributeValue::N(time.to_string())));
        let text = |text: &str| AttributeValue::S(text.to_owned());
        match origin {
            Origin::Event { version, id, time } => {
                add(CW_VERSION, version.map(text));
                add(EVENT_ID, id.map(text));
                add(EVENT_TIME, time.map(|time| text(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true))));
            }
            Origin::Api { time } => add(RECONCILED_AT, Some(text(&timestamp(time)))),
        }
        if resource == Resource::Task
            && let Some(IndexKeys { cluster, sort_key }) = IndexKeys::new(&item)
        {
            item.insert(INDEX_CLUSTER.to_owned(), AttributeValue::S(cluster));
            item.insert(INDEX_STATE.to_owned(), AttributeValue::S(sort_key));
        }
        if let Some(overrides) = item.get_mut("overrides").filter(|_| config.redact_environment) {
            redact_environment(overrides);
        }
        Ok(Self { version, item })
    }
}

fn attribute(value: Json<'_>) -> AttributeValue {
    match value {
        Json::Null => AttributeValue::Null(true),
        Json::Bool(value) => AttributeValue::Bool(value),
        Json::Number(digits) => AttributeValue::N(digits.to_owned()),
        Json::String(text) => AttributeValue::S(text.into_owned()),
        Json::Array(values) => AttributeValue::L(values.into_iter().map(attribute).collect()),
        Json::Object(fields) => {
            // A later field overwrites an earlier one with the same name.
            AttributeValue::M(fields.into_iter().map(|(name, value)| (name.into_owned(), attribute(value))).collect())
        }
    }
}
