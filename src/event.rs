//! What ECS sends: from Lambda's payload to one resource's change of state.
//!
//! The rules are those of [the function in Amazon's guide][guide]; the fields are those of the [ECS events].
//!
//! [guide]: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_cwet_handling.html
//! [ECS events]: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_cwe_events.html

use std::borrow::Cow;
use std::collections::HashMap;

use aws_lambda_events::eventbridge::EventBridgeEvent;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;

/// The one `source` that is taken.
pub const SOURCE: &str = "aws.ecs";

/// The longest key that DynamoDB takes, in bytes.
///
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
pub const MAX_KEY_BYTES: usize = 2048;

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
/// No message holds anything out of the detail: it can be a secret.
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
/// It takes anything. What the runtime can't make a payload of never reaches the handler, and is answered with the
/// name of a Rust type; so even what isn't JSON is refused by [`Envelope::parse`] only.
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
    let replay: Replay = serde_json::from_str(payload.get()).ok()?;
    serde_json::from_str(replay.name?.get()).ok()
}

/// Says why a payload isn't an envelope. serde's own message would quote the event.
fn malformed(payload: &RawValue) -> Refusal {
    let fields = match object("the event", payload) {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let found = |field| fields.get(field).map_or(Cow::Borrowed("missing"), |value| quoted(value));
    if fields.get("source").is_none_or(|source| text(source).as_deref() != Some(SOURCE)) {
        return Refusal::UnsupportedSource { found: found("source") };
    }
    if fields.get("detail-type").and_then(|name| Resource::of_detail_type(&text(name)?)).is_none() {
        return Refusal::UnsupportedDetailType { found: found("detail-type") };
    }
    if !fields.contains_key("detail") {
        return invalid("detail", "an object", "missing");
    }
    let rules = [
        ("version", "text", is::<Option<String>> as fn(&RawValue) -> bool),
        ("id", "text", is::<Option<String>>),
        ("account", "text", is::<Option<String>>),
        ("time", "an RFC 3339 time", is::<Option<DateTime<Utc>>>),
        ("region", "text", is::<Option<String>>),
        ("resources", "a list of text", is::<Option<Vec<String>>>),
    ];
    for (field, expected, rule) in rules {
        if let Some(value) = fields.get(field).filter(|value| !rule(value)) {
            return invalid(field, expected, kind(value));
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
    /// The fields of the detail, each as the JSON text that ECS sent. Where one stands twice, the last counts.
    pub detail: HashMap<String, &'e RawValue>,
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
        let arn = arn(resource, detail.get(resource.key()).copied())?;
        let version = version(detail.get("version").copied()).map_err(|refusal| refusal.of(&arn))?;
        Ok(Self { resource, arn, version, detail, envelope })
    }
}

fn object<'v>(field: &'static str, value: &'v RawValue) -> Result<HashMap<String, &'v RawValue>, Refusal> {
    serde_json::from_str(value.get()).map_err(|_| {
        let found = match kind(value) {
            "an object" => "an object with a name that is not Unicode",
            other => other,
        };
        invalid(field, "an object", found)
    })
}

fn arn(resource: Resource, value: Option<&RawValue>) -> Result<String, Refusal> {
    let invalid = |found| invalid(format!("detail.{}", resource.key()), "text of 1 to 2048 bytes", found);
    let value = value.ok_or_else(|| invalid("missing".into()))?;
    let arn = text(value).ok_or_else(|| invalid(kind(value).into()))?;
    match arn.len() {
        0 => Err(invalid("empty".into())),
        1..=MAX_KEY_BYTES => Ok(arn),
        bytes => Err(invalid(format!("text of {bytes} bytes"))),
    }
}

fn version(value: Option<&RawValue>) -> Result<u64, Refusal> {
    let invalid = |found| invalid("detail.version", "an integer from 0 to 18446744073709551615", found);
    let value = value.ok_or_else(|| invalid("missing"))?;
    let json = value.get();
    json.parse().map_err(|_| {
        invalid(match kind(value) {
            "a number" if json.starts_with('-') => "a negative number",
            "a number" if json.contains(['.', 'e', 'E']) => "a number with a fraction or an exponent",
            "a number" => "greater than that",
            other => other,
        })
    })
}

fn invalid(
    field: impl Into<Cow<'static, str>>,
    expected: &'static str,
    found: impl Into<Cow<'static, str>>,
) -> Refusal {
    Refusal::InvalidEvent { arn: None, field: field.into(), expected, found: found.into() }
}

/// The kind of a value, which can be told without telling the value.
fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        Some(b'"') if text(value).is_none() => "text that is not Unicode",
        Some(b'"') => "text",
        Some(b'[') => "a list",
        Some(b'{') => "an object",
        _ => "a number",
    }
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn is<T: DeserializeOwned>(value: &RawValue) -> bool {
    serde_json::from_str::<T>(value.get()).is_ok()
}

fn quoted(value: &RawValue) -> Cow<'static, str> {
    text(value).map_or(kind(value).into(), |text| quote(&text))
}

fn quote(text: &str) -> Cow<'static, str> {
    format!("{:?}", cut(text)).into()
}

/// The first 128 characters: as many as any source, detail-type or field of AWS has.
#[must_use]
pub fn cut(text: &str) -> &str {
    text.char_indices().nth(128).map_or(text, |(end, _)| &text[..end])
}
