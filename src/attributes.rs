//! The names of a row's attributes, and the form of times in them.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, SecondsFormat, Utc};

/// A row, as DynamoDB has it.
pub type Item = HashMap<String, AttributeValue>;

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
/// The time to live: when DynamoDB may delete the row, in seconds since 1970. Rows in a terminal state have it, and those
/// whose resource has been missing in ECS for at least 12 hours.
pub const EXPIRES_AT: &str = "expires_at";

/// When the ECS API described this state: RFC 3339, UTC, in milliseconds. Only rows that come from the API have it.
pub const RECONCILED_AT: &str = "reconciled_at";
/// Since when the resource has been missing in ECS, in the same form. Only the reconciler sets it, and only on rows in
/// a state that is not terminal.
pub const MISSING_SINCE: &str = "missing_since";

/// The partition key of the index of tasks: the cluster's ARN.
pub const INDEX_CLUSTER: &str = "index_cluster";
/// Its sort key: `A#<group>#<createdAt>`, and once the task has stopped `S#<stoppedAt>`. It changes only then, so that
/// the index is written twice in a task's life.
pub const INDEX_STATE: &str = "index_state";

/// What the tables keep beside a state. A field of a detail with one of these names is dropped.
pub const RECORDED: [&str; 6] = [CW_VERSION, EVENT_ID, EVENT_TIME, EXPIRES_AT, RECONCILED_AT, MISSING_SINCE];
/// The keys of the index, which repeat what the state has. They are our own because DynamoDB refuses a row whose index
/// key is of the wrong type, empty or too long: what ECS sends must never lead to that.
pub const INDEX_KEYS: [&str; 2] = [INDEX_CLUSTER, INDEX_STATE];

/// A time as ECS writes it in events: RFC 3339, UTC, in milliseconds.
#[must_use]
pub fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Takes a string out of a row; `None` if it is absent or of another type.
pub fn take_string(item: &mut Item, name: &str) -> Option<String> {
    match item.remove(name) {
        Some(AttributeValue::S(text)) => Some(text),
        _ => None,
    }
}
