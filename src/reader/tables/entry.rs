//! What the index knows of a task, from the index or from a row.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};

use super::{Item, Which};
use crate::reader::model::{Row, Task, cluster_name};
use crate::state::index::{ACTIVE, INDEX_CLUSTER, INDEX_STATE, sort_key_of_active, sort_key_of_stopped};
use crate::state::resource::Resource;
use crate::state::row::{EVENT_TIME, RECONCILED_AT};

/// A task, as the index has it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) arn: String,
    /// The cluster's ARN, or only its name if no more is known.
    pub(super) cluster: String,
    /// What its `index_state` is, or would be.
    pub(super) state: String,
    pub(super) group: String,
    pub(super) started_by: Option<String>,
    pub(super) task_definition: Option<String>,
}

/// The attributes that [`Entry::from_item`] needs. `group` is a reserved word.
pub(super) const ATTRIBUTES: &str =
    "taskArn, clusterArn, #group, startedBy, taskDefinitionArn, createdAt, stoppedAt, event_time, reconciled_at";

impl Entry {
    /// From an entry of the index.
    pub(super) fn from_index(mut item: Item) -> Option<Self> {
        Some(Self {
            arn: text(&mut item, Resource::Task.key())?,
            cluster: text(&mut item, INDEX_CLUSTER)?,
            state: text(&mut item, INDEX_STATE)?,
            group: text(&mut item, "group").unwrap_or_default(),
            started_by: text(&mut item, "startedBy"),
            task_definition: text(&mut item, "taskDefinitionArn"),
        })
    }

    /// From a row that is known to have stopped or not.
    pub(super) fn from_item(mut item: Item, stopped: bool) -> Option<Self> {
        let mut time = |name| text(&mut item, name)?.parse().ok();
        let moment = if stopped { "stoppedAt" } else { "createdAt" };
        let at = time(moment).or_else(|| time(EVENT_TIME)).or_else(|| time(RECONCILED_AT));
        let group = text(&mut item, "group").unwrap_or_default();
        let arn = text(&mut item, Resource::Task.key())?;
        let cluster = text(&mut item, "clusterArn");
        Some(Self {
            cluster: cluster.or_else(|| cluster_name(None, &arn).map(str::to_owned)).unwrap_or_default(),
            arn,
            state: state(stopped, &group, at),
            group,
            started_by: text(&mut item, "startedBy"),
            task_definition: text(&mut item, "taskDefinitionArn"),
        })
    }

    /// From a row.
    pub(super) fn from_row(row: &Row<Task>) -> Self {
        let task = &row.state;
        let at = if task.is_stopped() { task.stopped_at } else { task.created_at };
        let group = task.group.clone().unwrap_or_default();
        Self {
            arn: task.task_arn.clone(),
            cluster: task.cluster_arn.as_deref().or(task.cluster_name()).unwrap_or_default().to_owned(),
            state: state(task.is_stopped(), &group, at.or_else(|| row.recorded.as_of())),
            group,
            started_by: task.started_by.clone(),
            task_definition: task.task_definition_arn.clone(),
        }
    }

    /// Whether a list of these tasks has it.
    pub(super) fn is_in(&self, which: Which) -> bool {
        match which {
            Which::Active => self.state.starts_with(ACTIVE),
            Which::StoppedSince(since) => self.state >= sort_key_of_stopped(Some(since)),
        }
    }
}

fn state(stopped: bool, group: &str, at: Option<DateTime<Utc>>) -> String {
    if stopped { sort_key_of_stopped(at) } else { sort_key_of_active(group, at) }
}

/// Takes a string out of an item.
pub(super) fn text(item: &mut Item, name: &str) -> Option<String> {
    match item.remove(name) {
        Some(AttributeValue::S(text)) => Some(text),
        _ => None,
    }
}
