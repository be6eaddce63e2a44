//! A task's entry in the index, read from the index or built from a row.

use chrono::{DateTime, Utc};
use ecs_model::Task;
use ecs_model::arn::cluster_arn;
use ecs_state_recorder::attributes::{INDEX_CLUSTER, INDEX_STATE, Item, take_string, timestamp};
use ecs_state_recorder::resource::Resource;
use ecs_state_recorder::state::index::{ACTIVE, sort_key, sort_key_of_active, sort_key_of_stopped};
use ecs_state_recorder::state::stored::Stored;

use super::TaskSet;
use crate::time::Window;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) arn: String,
    /// The cluster's ARN; empty if it is unknown.
    pub(super) cluster: String,
    /// Its sort key in the index.
    pub(super) sort_key: String,
    pub(super) group: String,
    pub(super) started_by: Option<String>,
    pub(super) task_definition: Option<String>,
}

/// The attributes that [`Entry::from_item`] needs. `group` is a reserved word.
pub(super) const ATTRIBUTES: &str = "taskArn, clusterArn, #group, startedBy, taskDefinitionArn, createdAt, stoppedAt, \
                                     lastStatus, event_time, reconciled_at";

impl Entry {
    pub(super) fn from_index(mut item: Item) -> Option<Self> {
        Some(Self {
            arn: take_string(&mut item, Resource::Task.key())?,
            cluster: take_string(&mut item, INDEX_CLUSTER)?,
            sort_key: take_string(&mut item, INDEX_STATE)?,
            group: take_string(&mut item, "group").unwrap_or_default(),
            started_by: take_string(&mut item, "startedBy"),
            task_definition: take_string(&mut item, "taskDefinitionArn"),
        })
    }

    pub(super) fn from_item(mut item: Item) -> Option<Self> {
        let sort_key = sort_key(&item);
        let arn = take_string(&mut item, Resource::Task.key())?;
        let cluster = take_string(&mut item, "clusterArn");
        Some(Self {
            cluster: cluster_arn(cluster.as_deref(), &arn).unwrap_or_default(),
            arn,
            sort_key,
            group: take_string(&mut item, "group").unwrap_or_default(),
            started_by: take_string(&mut item, "startedBy"),
            task_definition: take_string(&mut item, "taskDefinitionArn"),
        })
    }

    pub(super) fn from_row(row: &Stored<Task>) -> Self {
        let task = &row.state;
        let group = task.group.clone().unwrap_or_default();
        let as_of = row.recorded.as_of();
        Self {
            arn: task.task_arn.clone(),
            cluster: cluster_arn(task.cluster_arn.as_deref(), &task.task_arn).unwrap_or_default(),
            sort_key: if task.is_stopped() {
                sort_key_of_stopped(task.stopped_at.or(as_of))
            } else {
                sort_key_of_active(&group, task.created_at.or(as_of))
            },
            group,
            started_by: task.started_by.clone(),
            task_definition: task.task_definition_arn.clone(),
        }
    }

    pub(super) fn is_in(&self, which: TaskSet) -> bool {
        match which {
            TaskSet::Active => self.is_active(),
            TaskSet::Stopped(Window { since, until }) => {
                self.sort_key >= sort_key_of_stopped(Some(since))
                    && until.is_none_or(|until| self.sort_key <= sort_key_of_stopped(Some(until)))
            }
            TaskSet::ActiveSince(since) => self.is_active() || self.sort_key >= sort_key_of_stopped(Some(since)),
        }
    }

    fn is_active(&self) -> bool {
        self.sort_key.starts_with(ACTIVE)
    }

    /// Whether its task may have been created by then: the entry of a stopped task does not say.
    pub(super) fn may_precede(&self, at: DateTime<Utc>) -> bool {
        let created = self.sort_key.rsplit_once('#').map_or("", |(_, time)| time);
        !self.is_active() || *created <= *timestamp(at)
    }
}
