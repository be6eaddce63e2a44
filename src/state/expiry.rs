//! When a row expires: some time after its state became terminal, or after its resource was confirmed missing in ECS.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};

use super::Origin;
use crate::attributes::{CURRENT_STATUS, Item};
use crate::resource::Resource;

/// The attributes that may contain a resource's status, of which the first in a row counts, and its terminal values.
pub fn terminal_status(resource: Resource) -> (&'static [&'static str], &'static [&'static str]) {
    match resource {
        Resource::Task => (&["lastStatus"], &["STOPPED", "DELETED"]),
        // The function in Amazon's guide leaves `status` as it is.
        Resource::ContainerInstance => (&[CURRENT_STATUS, "status"], &["INACTIVE"]),
    }
}

/// Whether a row's state is terminal.
pub fn is_terminal(resource: Resource, item: &Item) -> bool {
    let (attributes, terminal) = terminal_status(resource);
    let status = attributes.iter().find_map(|&name| item.get(name));
    matches!(status, Some(AttributeValue::S(status)) if terminal.contains(&status.as_str()))
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

/// Whether a row's state is terminal, as a condition in DynamoDB's expressions.
pub struct TerminalCondition {
    /// The expression, in parentheses.
    pub expression: String,
    /// The names in it.
    pub names: HashMap<String, String>,
    /// The values in it.
    pub values: HashMap<String, AttributeValue>,
}

impl TerminalCondition {
    /// The condition for this resource's table.
    pub fn new(resource: Resource) -> Self {
        let (attributes, statuses) = terminal_status(resource);
        let placeholders: Vec<String> = (0..statuses.len()).map(|number| format!(":terminal{number}")).collect();
        let mut absent = String::new();
        let mut alternatives = Vec::new();
        let mut names = HashMap::new();
        for (number, &attribute) in attributes.iter().enumerate() {
            let name = format!("#status{number}");
            alternatives.push(format!("{absent}{name} IN ({})", placeholders.join(", ")));
            absent = format!("{absent}attribute_not_exists({name}) AND ");
            names.insert(name, attribute.to_owned());
        }
        let texts = statuses.iter().map(|&status| AttributeValue::S(status.to_owned()));
        Self {
            expression: format!("({})", alternatives.join(" OR ")),
            names,
            values: placeholders.into_iter().zip(texts).collect(),
        }
    }
}
