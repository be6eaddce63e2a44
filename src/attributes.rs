//! The names of a row's attributes, and the form of times in them.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, SecondsFormat, Utc};

/// A row in DynamoDB's types.
pub type Item = HashMap<String, AttributeValue>;

/// The detail's own `version`, in every row. The conditional write compares it.
pub const VERSION: &str = "version";
/// The envelope's `version`, under the name used by the function in Amazon's guide.
pub const CW_VERSION: &str = "cw_version";
/// The envelope's `id`.
pub const EVENT_ID: &str = "event_id";
/// The envelope's `time`: RFC 3339, UTC.
pub const EVENT_TIME: &str = "event_time";
/// The detail's `status`, which is a reserved word in DynamoDB's expressions.
pub const CURRENT_STATUS: &str = "current_status";
/// The time to live: when DynamoDB may delete the row, in seconds since 1970. It is set on rows in a terminal state,
/// and on rows whose resource has been missing in ECS for at least 12 hours.
pub const EXPIRES_AT: &str = "expires_at";

/// When the ECS API described this state: RFC 3339, UTC, with milliseconds. Only rows from the API have it.
pub const RECONCILED_AT: &str = "reconciled_at";
/// When the resource was first found missing in ECS, in the same form. Only the reconciler sets it, and never on a row
/// in a terminal state.
pub const MISSING_SINCE: &str = "missing_since";

/// The partition key of the index of tasks: the cluster's ARN.
pub const INDEX_CLUSTER: &str = "index_cluster";
/// Its sort key: `A#<group>#<createdAt>`, or `S#<stoppedAt>` once the task has stopped. It changes only once, so the
/// index is written twice in a task's life.
pub const INDEX_STATE: &str = "index_state";

/// The attributes that the tables add to a state. A field of a detail with one of these names is dropped.
pub const RECORDED: [&str; 6] = [CW_VERSION, EVENT_ID, EVENT_TIME, EXPIRES_AT, RECONCILED_AT, MISSING_SINCE];
/// The keys of the index. They repeat data of the state, because DynamoDB refuses a row whose index key has the wrong
/// type, is empty or is too long, and nothing that ECS sends may cause that.
pub const INDEX_KEYS: [&str; 2] = [INDEX_CLUSTER, INDEX_STATE];

/// Formats a time as ECS does in events: RFC 3339, UTC, with milliseconds.
pub fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Removes a string from a row; `None` if it is absent or has another type.
pub fn take_string(item: &mut Item, name: &str) -> Option<String> {
    match item.remove(name) {
        Some(AttributeValue::S(text)) => Some(text),
        _ => None,
    }
}
