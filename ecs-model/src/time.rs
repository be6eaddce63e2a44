//! Times: RFC 3339 strings in events and rows, seconds since 1970 in the ECS API.

use std::fmt::{Formatter, Result as FmtResult};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

/// Writes a time with milliseconds, always, so that times sort as text: `#[serde(default, with = "ecs_model::time")]`.
pub fn serialize<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true)).serialize(serializer)
}

/// Reads a time that may be absent.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    Ok(Option::<Time>::deserialize(deserializer)?.map(|time| time.0))
}

struct Time(DateTime<Utc>);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeVisitor)
    }
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = Time;

    fn expecting(&self, formatter: &mut Formatter) -> FmtResult {
        formatter.write_str("a time, in RFC 3339 or in seconds since 1970")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
        // The first is faster, the second accepts more.
        let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).or_else(|_| text.parse());
        time.map(Time).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Time, E> {
        i64::try_from(seconds)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(seconds), &self))
            .and_then(|seconds| self.visit_i64(seconds))
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Time, E> {
        DateTime::from_timestamp(seconds, 0)
            .map(Time)
            .ok_or_else(|| E::invalid_value(Unexpected::Signed(seconds), &self))
    }

    /// Rounds to the milliseconds that the API sends: a double has no room for nanoseconds.
    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Time, E> {
        #[expect(clippy::cast_possible_truncation, reason = "what does not fit becomes a time out of range")]
        DateTime::from_timestamp_millis((seconds * 1000.0).round() as i64)
            .map(Time)
            .ok_or_else(|| E::invalid_value(Unexpected::Float(seconds), &self))
    }
}
