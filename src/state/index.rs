//! The keys of the index of tasks: those of a cluster that run, by group, and those that stopped, by time.
//!
//! The index itself is optional, the two attributes are always there, so that it can be added at any time. They are our
//! own because DynamoDB refuses a row whose index key is of the wrong type, empty or too long: what ECS sends must never
//! lead to that.

use chrono::{DateTime, Utc};

use super::MAX_KEY_BYTES;
use super::resource::Resource;
use super::row::{EVENT_TIME, Item, RECONCILED_AT, is_terminal, timestamp};

/// The name of the index.
pub const INDEX: &str = "by_cluster";
/// Its partition key: the cluster's ARN.
pub const INDEX_CLUSTER: &str = "index_cluster";
/// Its sort key: `A#<group>#<createdAt>`, and once the task has stopped `S#<stoppedAt>`. It changes only then, so that
/// the index is written twice in a task's life.
pub const INDEX_STATE: &str = "index_state";

/// How the sort key of a task begins that has not stopped; its group follows.
pub const ACTIVE: &str = "A#";
/// How that of a stopped task begins.
const STOPPED: &str = "S#";

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
    pub fn new(row: &Item) -> Option<Self> {
        let string = |name: &str| row.get(name)?.as_s().ok();
        // A missing time is about that of the event.
        let time = |name: &str| [name, EVENT_TIME, RECONCILED_AT].iter().find_map(|name| string(name)?.parse().ok());
        let cluster = string("clusterArn").filter(|arn| (1..=MAX_KEY_BYTES).contains(&arn.len()))?.clone();
        let state = if is_terminal(Resource::Task, row) {
            sort_key_of_stopped(time("stoppedAt"))
        } else {
            sort_key_of_active(string("group").map_or("", String::as_str), time("createdAt"))
        };
        (state.len() <= MAX_SORT_KEY_BYTES).then_some(Self { cluster, state })
    }
}

/// The sort key of a task that has not stopped, by its group and when it was created.
#[must_use]
pub fn sort_key_of_active(group: &str, created: Option<DateTime<Utc>>) -> String {
    format!("{ACTIVE}{group}#{}", text(created))
}

/// The sort key of a stopped task, by when it stopped.
#[must_use]
pub fn sort_key_of_stopped(stopped: Option<DateTime<Utc>>) -> String {
    format!("{STOPPED}{}", text(stopped))
}

/// Always with milliseconds: `17.905Z` sorts before `17Z`.
fn text(time: Option<DateTime<Utc>>) -> String {
    time.map(timestamp).unwrap_or_default()
}
