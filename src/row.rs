//! What a row looks like: the whole detail as DynamoDB attributes, and four attributes of ours.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::SecondsFormat;
use serde_json::value::RawValue;
use thiserror::Error;

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
    /// way to it.
    ///
    /// # Errors
    ///
    /// The detail is nested too deep, or holds text that isn't Unicode. What else DynamoDB can't hold (a number of 39
    /// digits, an item of 401 KB) it refuses itself.
    pub fn of(change: StateChange<'_>) -> Result<Self, Unstorable> {
        let StateChange { resource, arn, version, detail, envelope } = change;
        let mut item = HashMap::with_capacity(detail.len() + 3);
        for (field, value) in detail {
            let value = attribute(&field, value, MAX_LEVELS)?;
            match field.as_str() {
                CW_VERSION | EVENT_ID | EVENT_TIME | CURRENT_STATUS => {}
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
        Ok(Self { resource, arn, version, item })
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
