//! What a state is, how it is written, and how it is read back.
//!
//! A state describes one version of a [resource](crate::resource). It is parsed as [`lossless_json`] and becomes a
//! [`row`], with the keys of an [`index`], an [`expiry`] and, if configured, [`redaction`]. The [`conditional_write`]
//! sends it through the [`client`] within [`timeouts`]; if that fails, [`store_error`] says why, in its own words or in
//! [`known_messages`] of DynamoDB. Rows are found by [`batch_get`] or [`index_query`] and read back as [`stored`]
//! values; [`read_error`] says why that failed.

pub mod batch_get;
pub mod client;
pub mod conditional_write;
pub mod expiry;
pub mod index;
pub mod index_query;
pub mod known_messages;
pub mod lossless_json;
pub mod read_error;
pub mod redaction;
pub mod row;
pub mod store_error;
pub mod stored;
pub mod timeouts;

use chrono::{DateTime, Utc};
use thiserror::Error;

use self::lossless_json::{Fields, Json, kind_or_nothing};
use crate::attributes::VERSION;
use crate::resource::{MAX_KEY_BYTES, Resource};

/// One version of a resource, as ECS reported it.
pub struct State<'s> {
    /// The kind of resource.
    pub resource: Resource,
    /// The resource's ARN: any string of 1 to [`MAX_KEY_BYTES`], since ARN formats differ by age and partition.
    pub arn: String,
    /// `detail.version`: a higher version is a newer state, an equal one the same state delivered again.
    pub version: u64,
    /// Everything that ECS reported about it.
    pub detail: Fields<'s>,
    /// Who reported it.
    pub origin: Origin<'s>,
}

/// Who reported a state.
pub enum Origin<'s> {
    /// An event.
    Event {
        /// The `version` of its envelope.
        version: Option<&'s str>,
        /// The `id` of its envelope.
        id: Option<&'s str>,
        /// The `time` of its envelope.
        time: Option<DateTime<Utc>>,
    },
    /// The ECS API.
    Api {
        /// When it described the state.
        time: DateTime<Utc>,
    },
}

/// A field that identifies a state is missing or malformed.
///
/// The message quotes only the ARN and the field's name: any other value might be a secret.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "{field}{} must be {expected}, found {found}",
    arn.as_ref().map(|arn| format!(" of {arn}")).unwrap_or_default()
)]
pub struct InvalidField {
    /// The resource's ARN, if it could be read.
    pub arn: Option<String>,
    /// The field's name.
    pub field: &'static str,
    /// What it must be.
    pub expected: &'static str,
    /// The kind of value found.
    pub found: String,
}

/// Reads the two fields that identify a state: the resource's ARN and its version.
pub fn identify(resource: Resource, detail: &Fields) -> Result<(String, u64), InvalidField> {
    let arn = arn(resource, detail)?;
    let version = version(&arn, detail)?;
    Ok((arn, version))
}

fn arn(resource: Resource, detail: &Fields) -> Result<String, InvalidField> {
    let found = match detail.get(resource.key()) {
        Some(Ok(Json::String(arn))) => match arn.len() {
            0 => "an empty string".to_owned(),
            1..=MAX_KEY_BYTES => return Ok(arn.clone().into_owned()),
            bytes => format!("a string of {bytes} bytes"),
        },
        other => kind_or_nothing(other),
    };
    Err(InvalidField { arn: None, field: resource.key(), expected: "a string of 1 to 2048 bytes", found })
}

fn version(arn: &str, detail: &Fields) -> Result<u64, InvalidField> {
    let found = match detail.get(VERSION) {
        Some(Ok(Json::Number(digits))) => match digits.parse() {
            Ok(version) => return Ok(version),
            Err(_) if digits.starts_with('-') => "a negative number".to_owned(),
            Err(_) if digits.contains(['.', 'e', 'E']) => "a number with a fraction or an exponent".to_owned(),
            Err(_) => "a larger number".to_owned(),
        },
        other => kind_or_nothing(other),
    };
    Err(InvalidField {
        arn: Some(arn.to_owned()),
        field: VERSION,
        expected: "an integer from 0 to 18446744073709551615",
        found,
    })
}
