//! The keys of the index of tasks: those of a cluster that run, by group, and those that stopped, by time.
//!
//! The index itself is optional, the two attributes are always there, so that it can be added at any time. They are our
//! own because DynamoDB refuses a row whose index key is of the wrong type, empty or too long: what ECS sends must never
//! lead to that.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};

use super::MAX_KEY_BYTES;
use super::resource::Resource;
use super::row::{EVENT_TIME, RECONCILED_AT, is_terminal, timestamp};

/// The name of the index.
pub const INDEX: &str = "by_cluster";
/// Its partition key: the cluster's ARN.
pub const INDEX_CLUSTER: &str = "index_cluster";
/// Its sort key: `A#<group>#<createdAt>`, and once the task has stopped `S#<stoppedAt>`. It changes only then, so that
/// the index is written twice in a task's life.
pub const INDEX_STATE: &str = "index_state";

/// The longest sort key that DynamoDB accepts, in bytes.
///
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const MAX_SORT_KEY_BYTES: usize = 1024;

/// The keys of one row in the index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IndexKeys {
    /// The partition key.
    pub cluster: String,
    /// The sort key.
    pub state: String,
}

impl IndexKeys {
    /// The attributes that the keys are made of.
    pub const SOURCES: [&str; 7] =
        ["clusterArn", "createdAt", EVENT_TIME, "group", "lastStatus", RECONCILED_AT, "stoppedAt"];

    /// The keys of a task's row. `None` if it says no cluster, or if they would be too long.
    #[must_use]
    pub fn new(row: &HashMap<String, AttributeValue>) -> Option<Self> {
        let text = |name: &str| row.get(name)?.as_s().ok();
        let time = |name: &str| {
            // A missing time is about that of the event.
            let time = [name, EVENT_TIME, RECONCILED_AT].iter().find_map(|name| text(name)?.parse().ok());
            // Always with milliseconds: `17.905Z` sorts before `17Z`.
            time.map(|time: DateTime<Utc>| timestamp(time)).unwrap_or_default()
        };
        let cluster = text("clusterArn").filter(|arn| (1..=MAX_KEY_BYTES).contains(&arn.len()))?.clone();
        let state = if is_terminal(Resource::Task, row) {
            format!("S#{}", time("stoppedAt"))
        } else {
            format!("A#{}#{}", text("group").map_or("", String::as_str), time("createdAt"))
        };
        (state.len() <= MAX_SORT_KEY_BYTES).then_some(Self { cluster, state })
    }
}
