//! The keys of the index of tasks: a cluster's running tasks by group, its stopped tasks by time.
//!
//! The index itself is optional. Rows always have its keys, so that it can be added at any time.

use chrono::{DateTime, Utc};

use super::expiry::is_terminal;
use crate::attributes::{EVENT_TIME, Item, RECONCILED_AT, timestamp};
use crate::resource::{MAX_KEY_BYTES, Resource};

/// The name of the index.
pub const INDEX: &str = "by_cluster";
/// Sort-key prefix of tasks that have not stopped; the group follows.
pub const ACTIVE: &str = "A#";
/// What comes after their sort keys: `$` is the character after `#`.
pub const AFTER_ACTIVE: &str = "A$";
/// Sort-key prefix of stopped tasks; the time follows.
const STOPPED: &str = "S#";
/// What comes after their sort keys.
pub const AFTER_STOPPED: &str = "S$";

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
    pub sort_key: String,
}

impl IndexKeys {
    /// The attributes that the keys are computed from.
    pub const SOURCES: [&str; 7] =
        ["clusterArn", "createdAt", EVENT_TIME, "group", "lastStatus", RECONCILED_AT, "stoppedAt"];

    /// The keys of a task's row. `None` if it has no cluster, or if a key would be too long.
    pub fn new(row: &Item) -> Option<Self> {
        let cluster = string(row, "clusterArn").filter(|arn| (1..=MAX_KEY_BYTES).contains(&arn.len()))?.to_owned();
        let sort_key = sort_key(row);
        (sort_key.len() <= MAX_SORT_KEY_BYTES).then_some(Self { cluster, sort_key })
    }
}

/// The sort key of a task's row.
pub fn sort_key(row: &Item) -> String {
    // A missing time falls back to the event's.
    let time = |name| [name, EVENT_TIME, RECONCILED_AT].iter().find_map(|name| string(row, name)?.parse().ok());
    if is_terminal(Resource::Task, row) {
        sort_key_of_stopped(time("stoppedAt"))
    } else {
        sort_key_of_active(string(row, "group").unwrap_or_default(), time("createdAt"))
    }
}

fn string<'r>(row: &'r Item, name: &str) -> Option<&'r str> {
    Some(row.get(name)?.as_s().ok()?)
}

/// The sort key of a task that has not stopped, by its group and when it was created.
pub fn sort_key_of_active(group: &str, created: Option<DateTime<Utc>>) -> String {
    format!("{ACTIVE}{group}#{}", text(created))
}

/// The sort key of a stopped task, by when it stopped.
pub fn sort_key_of_stopped(stopped: Option<DateTime<Utc>>) -> String {
    format!("{STOPPED}{}", text(stopped))
}

/// Always with milliseconds: `17.905Z` sorts before `17Z`.
fn text(time: Option<DateTime<Utc>>) -> String {
    time.map(timestamp).unwrap_or_default()
}
