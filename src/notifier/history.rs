//! The stops of a group before a stop, from the index of tasks.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use aws_sdk_dynamodb::Client;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use ecs_model::Task;
use ecs_model::diagnosis::{self, Code, Diagnosis};

use super::news::Stop;
use crate::attributes::{INDEX_STATE, Item, take_string};
use crate::resource::Resource;
use crate::state::batch_get::{self, Projection};
use crate::state::index::sort_key_of_stopped;
use crate::state::index_query::{self, Range};
use crate::state::read_error::ReadError;
use crate::state::stored::Stored;

/// Stops are counted in windows of this length, which start at 0, 6, 12 and 18 o'clock UTC. ECS backs off to 27 minutes
/// between attempts, so a shorter window would forget a slow loop between two of them.
pub const WINDOW: TimeDelta = TimeDelta::hours(6);
/// How many pages of the index are read for a cluster. It is not sorted by group, so they hold stops of all groups.
const PAGES: usize = 3;
/// How many rows are read for a group, besides those in the batch itself.
const ROWS: usize = 100;

/// The attributes that a [`PastStop`] depends on, separated by spaces.
const ATTRIBUTES: &str = "taskArn lastStatus desiredStatus startedAt stoppedAt stopCode stoppedReason containers \
                          attachments group launchType capacityProviderName event_time reconciled_at";

/// The known stops of a group.
pub struct History<'s> {
    cluster: &'s str,
    /// `None` if its tasks have none.
    group: Option<&'s str>,
    /// The stops, in no order.
    pub stops: Vec<PastStop>,
    /// Whether these are all since the start of the window before.
    pub is_complete: bool,
    /// The keys in the index since then.
    keys: RangeInclusive<String>,
    /// The tasks with these keys.
    arns: Vec<String>,
}

/// A stop, as far as it matters for others.
#[derive(Clone, Debug)]
pub struct PastStop {
    /// The task's ARN.
    pub arn: String,
    group: Option<String>,
    /// What failed, or what ended it.
    pub code: Code,
    /// Its kind and times.
    pub stop: diagnosis::Stop,
}

impl PastStop {
    fn new(task: &Task, diagnosis: &Diagnosis, stopped_at: DateTime<Utc>) -> Self {
        let stop = diagnosis::Stop { kind: diagnosis.kind(), started_at: task.started_at, stopped_at };
        Self { arn: task.task_arn.clone(), group: task.group.clone(), code: diagnosis.code, stop }
    }

    fn from_row(row: Item) -> Option<Self> {
        let Stored::<Task> { state: task, recorded, .. } = Stored::from_item(row).ok()?;
        // The row can be older than its key in the index.
        let diagnosis = Diagnosis::new(&task).filter(|_| task.is_stopped())?;
        let stopped_at = task.stopped_at.or(recorded.as_of())?;
        Some(Self::new(&task, &diagnosis, stopped_at))
    }
}

/// The start of the window of a time.
pub fn window(time: DateTime<Utc>) -> DateTime<Utc> {
    // It fails only for times too far away for nanoseconds.
    time.duration_trunc(WINDOW).unwrap_or(time)
}

impl<'s> History<'s> {
    /// The history of a group, with nothing but those of these stops that are its own.
    fn new(cluster: &'s str, group: Option<&'s str>, stops: &[&Stop]) -> Self {
        let own = stops.iter().filter(|stop| stop.task.group.as_deref() == group);
        let stops: Vec<_> = own.map(|stop| PastStop::new(&stop.task, &stop.diagnosis, stop.stopped_at)).collect();
        let times = || stops.iter().map(|stop| stop.stop.stopped_at);
        let first = times().min().map(|first| window(first) - WINDOW);
        let keys = sort_key_of_stopped(first)..=sort_key_of_stopped(times().max());
        Self { cluster, group, stops, is_complete: false, keys, arns: Vec::new() }
    }

    /// Whether a task is of this group.
    pub fn is_of(&self, task: &Task) -> bool {
        task.cluster_arn.as_deref() == Some(self.cluster) && task.group.as_deref() == self.group
    }

    /// Reads the histories of the groups of these stops of a cluster: for each group, the newest stops since the start of
    /// the window before its own, and these.
    pub async fn read(
        client: &Client,
        table: &str,
        cluster: &'s str,
        stops: &[&'s Stop],
    ) -> Result<Vec<Self>, ReadError> {
        let groups: HashSet<Option<&str>> = stops.iter().map(|stop| stop.task.group.as_deref()).collect();
        let mut histories: Vec<_> = groups.into_iter().map(|group| Self::new(cluster, group, stops)).collect();
        let from = histories.iter().map(|history| history.keys.start()).min().cloned().unwrap_or_default();
        let to = histories.iter().map(|history| history.keys.end()).max().cloned().unwrap_or_default();
        let range = Range { cluster: cluster.to_owned(), from, to, descending: true };
        let (mut start, mut last) = (None, None);
        for _ in 0..PAGES {
            let page = index_query::page(client, table, &range, usize::MAX, start).await?;
            for mut item in page.items {
                let mut text = |name| take_string(&mut item, name);
                let group = text("group");
                let Some(key) = text(INDEX_STATE) else { continue };
                last = Some(key.clone());
                if let Some(history) = histories.iter_mut().find(|history| history.group == group.as_deref())
                    && history.keys.contains(&key)
                    && let Some(arn) = text(Resource::Task.key())
                    && !stops.iter().any(|own| own.task.task_arn == arn)
                {
                    history.arns.push(arn);
                }
            }
            start = page.next;
            let is_enough = |history: &Self| history.arns.len() > ROWS || is_passed(history, last.as_ref());
            if start.is_none() || histories.iter().all(is_enough) {
                break;
            }
        }
        let arns: Vec<&String> = histories.iter().flat_map(|history| history.arns.iter().take(ROWS)).collect();
        let projection = Projection::new(ATTRIBUTES.split(' '));
        let rows = batch_get::rows(client, table, Resource::Task, &arns, Some(&projection)).await?;
        let rows: Vec<PastStop> = rows.into_iter().filter_map(PastStop::from_row).collect();
        for history in &mut histories {
            // The pages may end before the range of another group.
            let is_read = start.is_none() || is_passed(history, last.as_ref());
            history.is_complete = is_read && history.arns.len() <= ROWS;
            history.stops.extend(rows.iter().filter(|stop| stop.group.as_deref() == history.group).cloned());
        }
        Ok(histories)
    }
}

/// Whether the last key read, of keys in descending order, is before the history's range.
fn is_passed(history: &History, last: Option<&String>) -> bool {
    last.is_some_and(|last| last < history.keys.start())
}
