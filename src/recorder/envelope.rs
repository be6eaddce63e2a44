//! Parses an event: from Lambda's payload to the state of one resource.
//!
//! It follows the rules of [the function in Amazon's guide][guide] for the [ECS events].
//!
//! [guide]: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_cwet_handling.html
//! [ECS events]: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_cwe_events.html

use std::borrow::Cow;

use aws_lambda_events::eventbridge::EventBridgeEvent;
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::lambda::Payload;
use crate::resource::Resource;
use crate::state::lossless_json::{Fields, Json, JsonError, kind, kind_or_nothing, truncate};
use crate::state::{InvalidField, Origin, State, identify};

/// The only accepted `source`.
const SOURCE: &str = "aws.ecs";

/// Why an event is rejected. Retrying won't help: the sender has to change.
///
/// A message quotes only the ARN and field names from the detail: any other value might be a secret.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum EventError {
    /// The event is from another source.
    #[error(
        "the event's source must be \"aws.ecs\", found {found}: restrict the rule that invokes this function to that \
         source"
    )]
    UnsupportedSource {
        /// The source in quotes, or the kind of value found instead.
        found: String,
    },
    /// It is another kind of ECS event.
    #[error(
        "the event's detail-type must be \"ECS Task State Change\" or \"ECS Container Instance State Change\", found \
         {found}: restrict the rule that invokes this function to these two"
    )]
    UnsupportedDetailType {
        /// The detail-type in quotes, or the kind of value found instead.
        found: String,
    },
    /// A field is missing or malformed.
    #[error(
        "{field}{} must be {expected}, found {found}: ECS does not send such events, check what invokes this function",
        arn.as_ref().map(|arn| format!(" of {arn}")).unwrap_or_default()
    )]
    InvalidEvent {
        /// The resource's ARN, if it could be read.
        arn: Option<String>,
        /// The field, such as `detail.version`.
        field: Cow<'static, str>,
        /// What it must be.
        expected: &'static str,
        /// The kind of value found.
        found: String,
    },
}

/// An EventBridge envelope with an unparsed detail.
pub struct Envelope {
    /// The kind of resource that the detail describes, or why the event is refused.
    resource: Result<Resource, EventError>,
    /// The fields of every EventBridge event.
    pub event: EventBridgeEvent<Box<RawValue>>,
    /// The name of the replay, if the event was replayed from an archive.
    pub replay_name: Option<String>,
}

/// The fields of an envelope, except for the detail, which is parsed separately.
const FIELDS: [&str; 9] =
    ["source", "detail-type", "version", "id", "account", "time", "region", "resources", "replay-name"];

impl Envelope {
    /// Parses the envelope. An unsupported source is reported before an unsupported detail-type, and both before any
    /// malformed field.
    pub fn parse(payload: &Payload) -> Result<Self, EventError> {
        let payload =
            payload.json().ok_or_else(|| invalid("the payload", "JSON", "bytes that can't be parsed as JSON"))?;
        let fields = Fields::parse_some(payload, &FIELDS).map_err(|found| invalid("the event", "an object", found))?;
        let resource = judge(&fields);
        let event = match (serde_json::from_str(payload.get()), &resource) {
            (Ok(event), _) => event,
            (Err(_), Err(refusal)) => return Err(refusal.clone()),
            (Err(error), Ok(_)) => return Err(malformed(&fields, &error)),
        };
        let replay_name = match fields.get("replay-name") {
            Some(Ok(Json::String(name))) => Some(name.clone().into_owned()),
            _ => None,
        };
        Ok(Self { resource, event, replay_name })
    }

    /// Parses the state in the detail, unless the source or the detail-type is unsupported.
    pub fn state(&self) -> Result<State<'_>, EventError> {
        let event = &self.event;
        let resource = self.resource.clone()?;
        let detail = Fields::parse(&event.detail).map_err(|found| invalid("detail", "an object", found))?;
        let (arn, version) = identify(resource, &detail)?;
        Ok(State {
            resource,
            arn,
            version,
            detail,
            origin: Origin::Event { version: event.version.as_deref(), id: event.id.as_deref(), time: event.time },
        })
    }
}

/// Refuses any source except [`SOURCE`], then any detail-type except those of [`Resource`].
fn judge(fields: &Fields) -> Result<Resource, EventError> {
    match fields.get("source") {
        Some(Ok(Json::String(source))) if source == SOURCE => {}
        other => return Err(EventError::UnsupportedSource { found: quoted(other) }),
    }
    match fields.get("detail-type") {
        Some(Ok(Json::String(name))) => Resource::from_detail_type(name),
        _ => None,
    }
    .ok_or_else(|| EventError::UnsupportedDetailType { found: quoted(fields.get("detail-type")) })
}

/// Explains why a payload is not an envelope. serde's own message could quote the event.
fn malformed(fields: &Fields, error: &serde_json::Error) -> EventError {
    if error.to_string().starts_with("missing field `detail`") {
        return invalid("detail", "an object", "nothing");
    }
    let is_string = |value: &Json| matches!(value, Json::String(_));
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
    invalid("the event", "an EventBridge envelope without duplicate fields", "an object that is not")
}

impl From<InvalidField> for EventError {
    fn from(invalid: InvalidField) -> Self {
        let InvalidField { arn, field, expected, found } = invalid;
        Self::InvalidEvent { arn, field: format!("detail.{field}").into(), expected, found }
    }
}

fn invalid(field: impl Into<Cow<'static, str>>, expected: &'static str, found: impl Into<String>) -> EventError {
    EventError::InvalidEvent { arn: None, field: field.into(), expected, found: found.into() }
}

/// A field of the envelope, for a message: a string in quotes, which is not secret here, or else the kind of value.
fn quoted(value: Option<&Result<Json, JsonError>>) -> String {
    match value {
        Some(Ok(Json::String(text))) => format!("{:?}", truncate(text)),
        other => kind_or_nothing(other),
    }
}
