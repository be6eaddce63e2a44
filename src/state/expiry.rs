//! When a row expires: some time after its state became terminal, or after its resource was confirmed missing in ECS.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};

use super::Origin;
use crate::attributes::{CURRENT_STATUS, Item};
use crate::resource::Resource;

/// The attribute with a resource's status, and its terminal values.
pub fn terminal_status(resource: Resource) -> (&'static str, &'static [&'static str]) {
    match resource {
        Resource::Task => ("lastStatus", &["STOPPED", "DELETED"]),
        Resource::ContainerInstance => (CURRENT_STATUS, &["INACTIVE"]),
    }
}

/// Whether a row's state is terminal.
pub fn is_terminal(resource: Resource, item: &Item) -> bool {
    let (field, terminal) = terminal_status(resource);
    matches!(item.get(field), Some(AttributeValue::S(status)) if terminal.contains(&status.as_str()))
}

/// When the row of a state from this origin expires, in seconds since 1970; `None` if it does not, or not yet. Retention
/// starts at the event; for a state from the API, when the task stopped, or else when ECS was asked.
pub fn expiry(resource: Resource, item: &Item, origin: &Origin<'_>, retention_days: Option<u32>) -> Option<i64> {
    let stopped_at = || item.get("stoppedAt").and_then(|time| time.as_s().ok()?.parse().ok());
    let start = match origin {
        Origin::Event { time, .. } => (*time)?,
        Origin::Api { time } => stopped_at().unwrap_or(*time),
    };
    let days = retention_days.filter(|_| is_terminal(resource, item))?;
    Some(expires_at(start, days))
}

/// When a row whose retention starts at `time` expires, in seconds since 1970.
pub fn expires_at(time: DateTime<Utc>, retention_days: u32) -> i64 {
    time.timestamp() + i64::from(retention_days) * 24 * 60 * 60
}

/// Placeholders for the terminal statuses in an expression, separated by commas, and their values.
pub fn status_placeholders(resource: Resource) -> (String, HashMap<String, AttributeValue>) {
    let (_, statuses) = terminal_status(resource);
    let names: Vec<String> = (0..statuses.len()).map(|number| format!(":status{number}")).collect();
    let texts = statuses.iter().map(|&status| AttributeValue::S(status.to_owned()));
    (names.join(", "), names.iter().cloned().zip(texts).collect())
}
