//! What ECS sends: from Lambda's payload to one resource's change of state.
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

use crate::json::Json;

/// The one `source` that is taken.
pub const SOURCE: &str = "aws.ecs";

/// The longest key that DynamoDB takes, in bytes.
///
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
pub const MAX_KEY_BYTES: usize = 2048;

/// How many levels of lists and objects a detail is read with. DynamoDB itself decides at [32 levels] what it takes;
/// this bound only keeps an event of a megabyte of brackets from using up the stack.
///
/// [32 levels]: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
pub const MAX_LEVELS: usize = 64;

/// What a state change is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Resource {
    /// An ECS task.
    Task,
    /// A container instance: the EC2 or external instance that tasks run on.
    ContainerInstance,
}

impl Resource {
    /// The resource whose changes bear this `detail-type`.
    #[must_use]
    pub fn of_detail_type(detail_type: &str) -> Option<Self> {
        match detail_type {
            "ECS Task State Change" => Some(Self::Task),
            "ECS Container Instance State Change" => Some(Self::ContainerInstance),
            _ => None,
        }
    }

    /// The field of the detail that holds the ARN, and the partition key of the table.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Task => "taskArn",
            Self::ContainerInstance => "containerInstanceArn",
        }
    }
}

/// Why an event is refused. The same event would be refused again: whoever sends it has to change.
///
/// Of the detail, a message holds the ARN and names of fields, never another value: it can be a secret.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Refusal {
    /// The event comes from somewhere else.
    #[error("the event's source must be \"aws.ecs\"; it is {found}: narrow what invokes this function to that source")]
    UnsupportedSource {
        /// The source, in quotes, or the kind of what stood there.
        found: Cow<'static, str>,
    },
    /// Another event of ECS.
    #[error(
        "the event's detail-type must be \"ECS Task State Change\" or \"ECS Container Instance State Change\"; it is \
         {found}: narrow what invokes this function to these two"
    )]
    UnsupportedDetailType {
        /// The detail-type, in quotes, or the kind of what stood there.
        found: Cow<'static, str>,
    },
    /// A field isn't what ECS sends.
    #[error(
        "{field}{} must be {expected}; it is {found}: ECS sends no such event, look at what invokes this function",
        arn.as_ref().map(|arn| format!(" of {arn}")).unwrap_or_default()
    )]
    InvalidEvent {
        /// The resource, where its ARN can be read.
        arn: Option<String>,
        /// Where: `detail.version`, for example.
        field: Cow<'static, str>,
        /// What has to stand there.
        expected: &'static str,
        /// The kind of what does.
        found: Cow<'static, str>,
    },
}

impl Refusal {
    /// Tells which resource's event it is.
    #[must_use]
    pub fn of(self, of: &str) -> Self {
        match self {
            Self::InvalidEvent { field, expected, found, .. } => {
                Self::InvalidEvent { arn: Some(of.to_owned()), field, expected, found }
            }
            other => other,
        }
    }
}

/// What Lambda hands over: JSON text that nobody has parsed yet.
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

/// The EventBridge envelope around a detail that isn't parsed yet.
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
    /// The payload is no envelope, or a field of it is of the wrong kind. A wrong source is the reason that comes
    /// first, then a wrong detail-type, whatever else is wrong.
    pub fn parse(payload: &Payload) -> Result<Self, Refusal> {
        let payload = payload.0.as_deref().ok_or_else(|| invalid("the payload", "JSON", "something else"))?;
        let event = serde_json::from_str(payload.get()).map_err(|_| malformed(payload))?;
        Ok(Self { event, replay_name: replay_name(payload) })
    }
}

/// `EventBridgeEvent` has no field for it.
fn replay_name(payload: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Replay<'p> {
        #[serde(borrow, rename = "replay-name")]
        name: Option<&'p RawValue>,
    }
    // Hardly an event has one, and it costs less to see that than to read the envelope again.
    if !payload.get().contains("\"replay-name\"") {
        return None;
    }
    let replay: Replay = serde_json::from_str(payload.get()).ok()?;
    serde_json::from_str(replay.name?.get()).ok()
}

/// Says why a payload isn't an envelope. serde's own message would quote the event.
fn malformed(payload: &RawValue) -> Refusal {
    let fields = match object("the event", payload) {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let found = |name| field(&fields, name).map_or(Cow::Borrowed("missing"), quoted);
    if !matches!(field(&fields, "source"), Some(Json::Text(source)) if source == SOURCE) {
        return Refusal::UnsupportedSource { found: found("source") };
    }
    if !matches!(field(&fields, "detail-type"), Some(Json::Text(name)) if Resource::of_detail_type(name).is_some()) {
        return Refusal::UnsupportedDetailType { found: found("detail-type") };
    }
    if field(&fields, "detail").is_none() {
        return invalid("detail", "an object", "missing");
    }
    let is_text = |value: &Json| matches!(value, Json::Text(_));
    let is_time = |value: &Json| matches!(value, Json::Text(time) if time.parse::<DateTime<Utc>>().is_ok());
    let is_list_of_text = |value: &Json| matches!(value, Json::List(values) if values.iter().all(is_text));
    let rules = [
        ("version", "text", &is_text as &dyn Fn(&Json) -> bool),
        ("id", "text", &is_text),
        ("account", "text", &is_text),
        ("time", "an RFC 3339 time", &is_time),
        ("region", "text", &is_text),
        ("resources", "a list of text", &is_list_of_text),
    ];
    for (name, expected, rule) in rules {
        if let Some(value) = field(&fields, name).filter(|value| **value != Json::Null && !rule(value)) {
            return invalid(name, expected, value.kind());
        }
    }
    invalid("the event", "an EventBridge envelope with each field once", "an object that is none")
}

/// A change of one resource's state, as ECS reported it.
pub struct StateChange<'e> {
    /// What changed.
    pub resource: Resource,
    /// Its ARN, 1 to [`MAX_KEY_BYTES`] bytes of any shape: the forms differ by age and partition.
    pub arn: String,
    /// `detail.version`: a higher one happened later, an equal one is the same change again.
    pub version: u64,
    /// The fields of the detail. Where one stands twice, the last counts.
    pub detail: Vec<(Cow<'e, str>, Json<'e>)>,
    /// What the detail came in.
    pub envelope: &'e EventBridgeEvent<Box<RawValue>>,
}

impl<'e> StateChange<'e> {
    /// Reads the state change out of its envelope.
    ///
    /// # Errors
    ///
    /// Another source; another detail-type; a detail that is no object, or lacks its key or its version.
    pub fn of(envelope: &'e EventBridgeEvent<Box<RawValue>>) -> Result<Self, Refusal> {
        if envelope.source != SOURCE {
            return Err(Refusal::UnsupportedSource { found: quote(&envelope.source) });
        }
        let Some(resource) = Resource::of_detail_type(&envelope.detail_type) else {
            return Err(Refusal::UnsupportedDetailType { found: quote(&envelope.detail_type) });
        };
        let detail = object("detail", &envelope.detail)?;
        let arn = arn(resource, field(&detail, resource.key()))?;
        let version = version(field(&detail, "version")).map_err(|refusal| refusal.of(&arn))?;
        Ok(Self { resource, arn, version, detail, envelope })
    }
}

fn object<'v>(name: &'static str, value: &'v RawValue) -> Result<Vec<(Cow<'v, str>, Json<'v>)>, Refusal> {
    match Json::read(value, 1 + MAX_LEVELS) {
        Json::Object(fields) => Ok(fields),
        other => Err(invalid(name, "an object", other.kind())),
    }
}

fn field<'v, 'j>(fields: &'v [(Cow<'j, str>, Json<'j>)], name: &str) -> Option<&'v Json<'j>> {
    fields.iter().rfind(|(other, _)| other == name).map(|(_, value)| value)
}

fn arn(resource: Resource, value: Option<&Json>) -> Result<String, Refusal> {
    let invalid = |found| invalid(format!("detail.{}", resource.key()), "text of 1 to 2048 bytes", found);
    match value {
        None => Err(invalid("missing".into())),
        Some(Json::Text(arn)) => match arn.len() {
            0 => Err(invalid("empty".into())),
            1..=MAX_KEY_BYTES => Ok(arn.clone().into_owned()),
            bytes => Err(invalid(format!("text of {bytes} bytes"))),
        },
        Some(other) => Err(invalid(other.kind().into())),
    }
}

fn version(value: Option<&Json>) -> Result<u64, Refusal> {
    let invalid = |found| invalid("detail.version", "an integer from 0 to 18446744073709551615", found);
    match value {
        None => Err(invalid("missing")),
        Some(Json::Number(digits)) => digits.parse().map_err(|_| {
            invalid(if digits.starts_with('-') {
                "a negative number"
            } else if digits.contains(['.', 'e', 'E']) {
                "a number with a fraction or an exponent"
            } else {
                "greater than that"
            })
        }),
        Some(other) => Err(invalid(other.kind())),
    }
}

fn invalid(
    field: impl Into<Cow<'static, str>>,
    expected: &'static str,
    found: impl Into<Cow<'static, str>>,
) -> Refusal {
    Refusal::InvalidEvent { arn: None, field: field.into(), expected, found: found.into() }
}

fn quoted(value: &Json) -> Cow<'static, str> {
    match value {
        Json::Text(text) => quote(text),
        other => other.kind().into(),
    }
}

fn quote(text: &str) -> Cow<'static, str> {
    format!("{:?}", cut(text)).into()
}

/// The first 128 characters: as many as any source, detail-type or field of AWS has.
#[must_use]
pub fn cut(text: &str) -> &str {
    text.char_indices().nth(128).map_or(text, |(end, _)| &text[..end])
}
