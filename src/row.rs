//! What a row looks like: the whole detail as DynamoDB attributes, and five attributes of ours.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::SecondsFormat;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::config::Config;
use crate::event::{Refusal, Resource, StateChange, cut};

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
/// When DynamoDB may delete the row, in seconds since 1970: its time to live. Only rows in a terminal state have it.
pub const EXPIRES_AT: &str = "expires_at";

/// What stands in the place of a value that isn't stored.
const REDACTED: &str = "[redacted]";

/// How many levels of lists and objects a row is built with. DynamoDB itself decides at [32 levels] what it takes;
/// this bound only keeps an event of a megabyte of brackets from using up the stack.
///
/// [32 levels]: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
pub const MAX_LEVELS: usize = 64;

/// One row, ready to be written.
pub struct Row {
    /// What the row is about, and so to which table it belongs.
    pub resource: Resource,
    /// The row's key.
    pub arn: String,
    /// The version of the state in it.
    pub version: u64,
    /// All attributes, the key and the version among them.
    pub item: HashMap<String, AttributeValue>,
}

/// A detail that can't be a row.
#[derive(Debug, Eq, Error, PartialEq)]
pub enum Unstorable {
    /// Lists and objects in one another, deeper than [`MAX_LEVELS`].
    #[error("the detail is nested more than {MAX_LEVELS} levels deep; DynamoDB takes 32")]
    TooDeep,
    /// A text or a name in it isn't Unicode.
    #[error(transparent)]
    Invalid(#[from] Refusal),
}

impl Row {
    /// Makes the row of a state change.
    ///
    /// Nothing is lost on the way: null becomes NULL, a list stays a list (never a set, which can't be empty), and a
    /// number keeps the digits that JSON wrote. A field of the detail that has the name of an attribute of ours gives
    /// way to it. Where `config` asks for it, the values of overridden environment variables are left out.
    ///
    /// # Errors
    ///
    /// The detail is nested too deep, or holds text that isn't Unicode. What else DynamoDB can't hold (a number of 39
    /// digits, an item of 401 KB) it refuses itself.
    pub fn of(change: StateChange<'_>, config: &Config) -> Result<Self, Unstorable> {
        let StateChange { resource, arn, version, detail, envelope } = change;
        let mut item = HashMap::with_capacity(detail.len() + 4);
        for (field, value) in detail {
            let value = attribute(&field, value, MAX_LEVELS)?;
            match field.as_str() {
                CW_VERSION | EVENT_ID | EVENT_TIME | CURRENT_STATUS | EXPIRES_AT => {}
                "status" => _ = item.insert(CURRENT_STATUS.to_owned(), value),
                _ => _ = item.insert(field, value),
            }
        }
        let ours = [
            (CW_VERSION, envelope.version.clone()),
            (EVENT_ID, envelope.id.clone()),
            (EVENT_TIME, envelope.time.map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))),
        ];
        for (name, value) in ours {
            if let Some(value) = value {
                item.insert(name.to_owned(), AttributeValue::S(value));
            }
        }
        if let (Some(days), Some(time)) = (config.retention_days(), envelope.time)
            && is_terminal(resource, &item)
        {
            let expires_at = time.timestamp() + i64::from(days) * 24 * 60 * 60;
            item.insert(EXPIRES_AT.to_owned(), AttributeValue::N(expires_at.to_string()));
        }
        if let Some(overrides) = item.get_mut("overrides").filter(|_| config.redact_environment()) {
            redact_environment(overrides);
        }
        Ok(Self { resource, arn, version, item })
    }
}

/// Whether no other state comes after the one in this row.
fn is_terminal(resource: Resource, item: &HashMap<String, AttributeValue>) -> bool {
    let (field, terminal) = match resource {
        Resource::Task => ("lastStatus", &["STOPPED", "DELETED"][..]),
        Resource::ContainerInstance => (CURRENT_STATUS, &["INACTIVE"][..]),
    };
    matches!(item.get(field), Some(AttributeValue::S(status)) if terminal.contains(&status.as_str()))
}

/// Leaves of `overrides.containerOverrides[].environment[]` only the names. Whatever on this way hasn't the form that
/// ECS gives it is left out whole: nobody can say where in it the values are.
fn redact_environment(overrides: &mut AttributeValue) {
    field(overrides, "containerOverrides", |containers| {
        entries(containers, |container| {
            field(container, "environment", |environment| {
                entries(environment, |variable| match variable {
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

fn field(value: &mut AttributeValue, name: &str, then: impl FnOnce(&mut AttributeValue)) {
    match value {
        AttributeValue::M(fields) => _ = fields.get_mut(name).map(then),
        other => redact(other),
    }
}

fn entries(value: &mut AttributeValue, then: impl FnMut(&mut AttributeValue)) {
    match value {
        AttributeValue::L(entries) => entries.iter_mut().for_each(then),
        other => redact(other),
    }
}

/// Null stays: it says that there is nothing.
fn redact(value: &mut AttributeValue) {
    if !value.is_null() {
        *value = AttributeValue::S(REDACTED.to_owned());
    }
}

/// One value, from its JSON text. It is read a level at a time, since only so a number's own digits can be had:
/// every JSON reader that builds a tree makes a float of them.
fn attribute(field: &str, value: &RawValue, levels: usize) -> Result<AttributeValue, Unstorable> {
    let json = value.get();
    // The JSON was checked when the payload came in, but for the surrogates in its texts.
    let not_unicode = |_| Refusal::InvalidEvent {
        arn: None,
        field: format!("detail.{}", cut(field)).into(),
        expected: "Unicode text throughout",
        found: "text with half of a surrogate pair".into(),
    };
    let inside = |value| attribute(field, value, levels - 1);
    Ok(match json.as_bytes().first() {
        Some(b'n') => AttributeValue::Null(true),
        Some(b't') => AttributeValue::Bool(true),
        Some(b'f') => AttributeValue::Bool(false),
        Some(b'"') => AttributeValue::S(serde_json::from_str(json).map_err(not_unicode)?),
        Some(b'[' | b'{') if levels == 0 => return Err(Unstorable::TooDeep),
        Some(b'[') => {
            let values: Vec<&RawValue> = serde_json::from_str(json).map_err(not_unicode)?;
            AttributeValue::L(values.into_iter().map(inside).collect::<Result<_, _>>()?)
        }
        Some(b'{') => {
            let values: HashMap<String, &RawValue> = serde_json::from_str(json).map_err(not_unicode)?;
            let values = values.into_iter().map(|(name, value)| Ok((name, inside(value)?)));
            AttributeValue::M(values.collect::<Result<_, Unstorable>>()?)
        }
        _ => AttributeValue::N(json.to_owned()),
    })
}
