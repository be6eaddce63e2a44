//! What ECS sends: from Lambda's payload to one resource's state.
//!
//! The rules are those of [the function in Amazon's guide][guide]; the fields are those of the [ECS events].
//!
//! [guide]: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_cwet_handling.html
//! [ECS events]: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_cwe_events.html

use std::borrow::Cow;

use aws_lambda_events::eventbridge::EventBridgeEvent;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::state::State;
use crate::state::json::{Fields, Json, JsonError, kind, truncate};
use crate::state::resource::Resource;

/// The one `source` that is accepted.
pub const SOURCE: &str = "aws.ecs";

/// The longest key that DynamoDB accepts, in bytes.
///
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
pub const MAX_KEY_BYTES: usize = 2048;

/// Why an event is refused. The same event would be refused again: whoever sends it has to change.
///
/// Of the detail, a message holds the ARN and names of fields, never another value: it can be a secret.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum EventError {
    /// The event comes from somewhere else.
    #[error(
        "the event's source must be \"aws.ecs\", found {found}: restrict the rule that invokes this function to that \
         source"
    )]
    UnsupportedSource {
        /// The source, in quotes, or the kind of what was there.
        found: String,
    },
    /// Another event of ECS.
    #[error(
        "the event's detail-type must be \"ECS Task State Change\" or \"ECS Container Instance State Change\", found \
         {found}: restrict the rule that invokes this function to these two"
    )]
    UnsupportedDetailType {
        /// The detail-type, in quotes, or the kind of what was there.
        found: String,
    },
    /// A field is not what ECS sends.
    #[error(
        "{field}{} must be {expected}, found {found}: ECS sends no such event, look at what invokes this function",
        arn.as_ref().map(|arn| format!(" of {arn}")).unwrap_or_default()
    )]
    InvalidEvent {
        /// The resource, where its ARN can be read.
        arn: Option<String>,
        /// Where: `detail.version`, for example.
        field: Cow<'static, str>,
        /// What must be there.
        expected: &'static str,
        /// The kind of what is.
        found: String,
    },
}

/// What Lambda hands over: an unparsed payload.
///
/// It accepts anything. What the runtime can't make a payload of never reaches the handler, and is answered with the
/// name of a Rust type; so even what isn't JSON is refused by [`Envelope::parse`] only. Bytes after the JSON text are not
/// seen: the runtime doesn't hand them over, and Lambda's Invoke accepts one JSON text and nothing after it.
pub struct Payload(Option<Box<RawValue>>);

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::deserialize(deserializer).ok()))
    }
}

/// The EventBridge envelope around an unparsed detail.
pub struct Envelope {
    /// The fields that every event of EventBridge has.
    pub event: EventBridgeEvent<Box<RawValue>>,
    /// The replay's name, where the event was replayed from an archive.
    pub replay_name: Option<String>,
}

impl Envelope {
    /// Reads the envelope.
    ///
    /// # Errors
    ///
    /// The payload is no envelope, or a field of it is of the wrong kind. A wrong source is reported first, then a wrong
    /// detail-type, whatever else is wrong.
    pub fn parse(payload: &Payload) -> Result<Self, EventError> {
        let payload = payload.0.as_deref().ok_or_else(|| invalid("the payload", "JSON", "something else"))?;
        let event = serde_json::from_str(payload.get()).map_err(|_| malformed(payload))?;
        Ok(Self { event, replay_name: replay_name(payload) })
    }

    /// Reads the state in it.
    ///
    /// # Errors
    ///
    /// Another source; another detail-type; a detail that is no object, or lacks its key or its version.
    pub fn state(&self) -> Result<State<'_>, EventError> {
        let event = &self.event;
        if event.source != SOURCE {
            return Err(EventError::UnsupportedSource { found: quote(&event.source) });
        }
        let Some(resource) = Resource::from_detail_type(&event.detail_type) else {
            return Err(EventError::UnsupportedDetailType { found: quote(&event.detail_type) });
        };
        let detail = Fields::parse(&event.detail).map_err(|found| invalid("detail", "an object", found))?;
        let arn = arn(resource, &detail)?;
        let version = version(&arn, &detail)?;
        Ok(State {
            resource,
            arn,
            version,
            detail,
            envelope_version: event.version.as_deref(),
            event_id: event.id.as_deref(),
            event_time: event.time,
        })
    }
}

/// `EventBridgeEvent` has no field for it.
fn replay_name(payload: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Replay<'p> {
        #[serde(borrow, rename = "replay-name")]
        name: Option<&'p RawValue>,
    }
    // It is rarely present, and it costs less to see that than to read the envelope again.
    if !payload.get().contains("\"replay-name\"") {
        return None;
    }
    let replay: Replay = serde_json::from_str(payload.get()).ok()?;
    serde_json::from_str(replay.name?.get()).ok()
}

/// Says why a payload isn't an envelope. serde's own message would quote the event.
fn malformed(payload: &RawValue) -> EventError {
    let fields = match Fields::parse(payload) {
        Ok(fields) => fields,
        Err(found) => return invalid("the event", "an object", found),
    };
    let is_string = |value: &Json| matches!(value, Json::String(_));
    match fields.get("source") {
        Some(Ok(Json::String(source))) if source == SOURCE => {}
        other => return EventError::UnsupportedSource { found: quoted(other) },
    }
    match fields.get("detail-type") {
        Some(Ok(Json::String(name))) if Resource::from_detail_type(name).is_some() => {}
        other => return EventError::UnsupportedDetailType { found: quoted(other) },
    }
    if fields.get("detail").is_none() {
        return invalid("detail", "an object", "nothing");
    }
    let is_time = |value: &Json| matches!(value, Json::String(time) if time.parse::<DateTime<Utc>>().is_ok());
    let is_array_of_strings = |value: &Json| matches!(value, Json::Array(values) if values.iter().all(is_string));
    let rules = [
        ("version", "a string", &is_string as &dyn Fn(&Json) -> bool),
        ("id", "a string", &is_string),
        ("account", "a string", &is_string),
        ("time", "an RFC 3339 time", &is_time),
        ("region", "a string", &is_string),
        ("resources", "an array of strings", &is_array_of_strings),
    ];
    for (name, expected, rule) in rules {
        match fields.get(name) {
            None | Some(Ok(Json::Null)) => {}
            Some(Ok(value)) if rule(value) => {}
            Some(other) => return invalid(name, expected, kind(other)),
        }
    }
    invalid("the event", "an EventBridge envelope with each field once", "an object that is none")
}

fn arn(resource: Resource, detail: &Fields) -> Result<String, EventError> {
    let found = match detail.get(resource.key()) {
        Some(Ok(Json::String(arn))) => match arn.len() {
            0 => "an empty string".to_owned(),
            1..=MAX_KEY_BYTES => return Ok(arn.clone().into_owned()),
            bytes => format!("a string of {bytes} bytes"),
        },
        other => found(other),
    };
    Err(invalid(format!("detail.{}", resource.key()), "a string of 1 to 2048 bytes", found))
}

fn version(arn: &str, detail: &Fields) -> Result<u64, EventError> {
    let found = match detail.get("version") {
        Some(Ok(Json::Number(digits))) => match digits.parse() {
            Ok(version) => return Ok(version),
            Err(_) if digits.starts_with('-') => "a negative number".to_owned(),
            Err(_) if digits.contains(['.', 'e', 'E']) => "a number with a fraction or an exponent".to_owned(),
            Err(_) => "a greater one".to_owned(),
        },
        other => found(other),
    };
    Err(EventError::InvalidEvent {
        arn: Some(arn.to_owned()),
        field: "detail.version".into(),
        expected: "an integer from 0 to 18446744073709551615",
        found,
    })
}

fn invalid(field: impl Into<Cow<'static, str>>, expected: &'static str, found: impl Into<String>) -> EventError {
    EventError::InvalidEvent { arn: None, field: field.into(), expected, found: found.into() }
}

/// The kind of what is in a field.
fn found(value: Option<&Result<Json, JsonError>>) -> String {
    value.map_or_else(|| "nothing".to_owned(), kind)
}

/// The same for a field of the envelope, whose strings may be told.
fn quoted(value: Option<&Result<Json, JsonError>>) -> String {
    match value {
        Some(Ok(Json::String(text))) => quote(text),
        other => found(other),
    }
}

fn quote(text: &str) -> String {
    format!("{:?}", truncate(text))
}
