//! What a row looks like: the whole detail as DynamoDB attributes, plus attributes of our own.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, SecondsFormat, Utc};
use thiserror::Error;

use super::index::{INDEX_CLUSTER, INDEX_STATE, IndexKeys};
use super::json::{Json, JsonError, truncate};
use super::resource::Resource;
use super::{Origin, State};
use crate::config::Config;

/// The detail's own version, in every row: what the conditional write compares.
pub const VERSION: &str = "version";
/// The envelope's `version`, under the name that the function in Amazon's guide gives it.
pub const CW_VERSION: &str = "cw_version";
/// The envelope's `id`.
pub const EVENT_ID: &str = "event_id";
/// The envelope's `time`: RFC 3339, UTC.
pub const EVENT_TIME: &str = "event_time";
/// The detail's `status`, which is a reserved word in DynamoDB's expressions.
pub const CURRENT_STATUS: &str = "current_status";
/// The time to live: when DynamoDB may delete the row, in seconds since 1970. Rows in a terminal state have it, and those
/// whose resource ECS has not known for long.
pub const EXPIRES_AT: &str = "expires_at";

/// When the ECS API described this state: RFC 3339, UTC, in milliseconds. Only rows that come from the API have it.
pub const RECONCILED_AT: &str = "reconciled_at";
/// Since when ECS no longer knows the resource, in the same form. Only the reconciler sets it, and only on rows in a
/// state that is not terminal.
pub const MISSING_SINCE: &str = "missing_since";

/// Stored in place of a redacted value.
const REDACTED: &str = "[redacted]";

/// The attributes of a row.
pub type Item = HashMap<String, AttributeValue>;

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
    /// The resource.
    pub arn: String,
    /// The field of the detail.
    pub field: String,
    /// What is wrong with it.
    pub error: JsonError,
}

impl Row {
    /// Builds the row of a state.
    ///
    /// Nothing is lost: null becomes NULL, an array becomes a list (never a set, which can't be empty), and a number
    /// keeps its original digits. A field of the detail that shares its name with one of our attributes is overwritten
    /// by it. If `config` says so, the values of overridden environment variables are redacted.
    ///
    /// # Errors
    ///
    /// A field is nested too deeply, or is not valid Unicode. Other limits (a number of 39 digits, an item of 401 KB)
    /// are left to DynamoDB, which rejects such an item.
    pub fn new(state: State<'_>, config: &Config) -> Result<Self, RowError> {
        let State { resource, arn, version, detail, origin } = state;
        let mut item = HashMap::with_capacity(64);
        // In reverse order: if a name is duplicated, the last one wins.
        for (field, value) in detail.into_iter().rev() {
            let name = match &*field {
                CW_VERSION | EVENT_ID | EVENT_TIME | CURRENT_STATUS | EXPIRES_AT | RECONCILED_AT | MISSING_SINCE
                | INDEX_CLUSTER | INDEX_STATE => continue,
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
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                item.insert(name.to_owned(), AttributeValue::S(value));
            }
        };
        let time = match origin {
            Origin::Event { version, id, time } => {
                add(CW_VERSION, version.map(str::to_owned));
                add(EVENT_ID, id.map(str::to_owned));
                add(EVENT_TIME, time.map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true)));
                time
            }
            Origin::Api { time } => {
                add(RECONCILED_AT, Some(timestamp(time)));
                let stopped_at = item.get("stoppedAt").and_then(|time| time.as_s().ok()?.parse().ok());
                stopped_at.or(Some(time))
            }
        };
        if let (Some(days), Some(time)) = (config.retention_days(), time)
            && is_terminal(resource, &item)
        {
            item.insert(EXPIRES_AT.to_owned(), AttributeValue::N(expires_at(time, days).to_string()));
        }
        if resource == Resource::Task
            && let Some(IndexKeys { cluster, state }) = IndexKeys::new(&item)
        {
            item.insert(INDEX_CLUSTER.to_owned(), AttributeValue::S(cluster));
            item.insert(INDEX_STATE.to_owned(), AttributeValue::S(state));
        }
        if let Some(overrides) = item.get_mut("overrides").filter(|_| config.redact_environment()) {
            redact_environment(overrides);
        }
        Ok(Self { version, item })
    }
}

/// The attribute that holds a resource's status, and the values of it that are final.
#[must_use]
pub fn terminal_status(resource: Resource) -> (&'static str, &'static [&'static str]) {
    match resource {
        Resource::Task => ("lastStatus", &["STOPPED", "DELETED"]),
        Resource::ContainerInstance => (CURRENT_STATUS, &["INACTIVE"]),
    }
}

/// When a row expires that counts from `time`, in seconds since 1970.
#[must_use]
pub fn expires_at(time: DateTime<Utc>, retention_days: u32) -> i64 {
    time.timestamp() + i64::from(retention_days) * 24 * 60 * 60
}

/// A time as ECS writes it in events: RFC 3339, UTC, in milliseconds.
#[must_use]
pub fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Whether the row's state is the resource's last.
#[must_use]
pub fn is_terminal(resource: Resource, item: &Item) -> bool {
    let (field, terminal) = terminal_status(resource);
    matches!(item.get(field), Some(AttributeValue::S(status)) if terminal.contains(&status.as_str()))
}

/// Redacts everything in `overrides.containerOverrides[].environment[]` but the names. Any part along this path that
/// does not have the form ECS gives it is redacted as a whole, since the values could be anywhere in it.
fn redact_environment(overrides: &mut AttributeValue) {
    in_field(overrides, "containerOverrides", |containers| {
        in_entries(containers, |container| {
            in_field(container, "environment", |environment| {
                in_entries(environment, |variable| match variable {
                    AttributeValue::M(variable) => {
                        for (field, value) in variable {
                            if field != "name" || !value.is_s() {
                                redact(value);
                            }
                        }
                    }
                    other => redact(other),
                });
            });
        });
    });
}

fn in_field(value: &mut AttributeValue, name: &str, then: impl FnOnce(&mut AttributeValue)) {
    match value {
        AttributeValue::M(fields) => _ = fields.get_mut(name).map(then),
        other => redact(other),
    }
}

fn in_entries(value: &mut AttributeValue, then: impl FnMut(&mut AttributeValue)) {
    match value {
        AttributeValue::L(entries) => entries.iter_mut().for_each(then),
        other => redact(other),
    }
}

/// Null is kept: it contains no secret.
fn redact(value: &mut AttributeValue) {
    if !value.is_null() {
        *value = AttributeValue::S(REDACTED.to_owned());
    }
}

/// A JSON value as DynamoDB's.
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
