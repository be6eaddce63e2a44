//! The stops of a group before a stop, from the index of tasks.

use std::collections::{HashMap, HashSet};

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

/// The histories of the groups of a cluster; `None` is the group of tasks without one.
pub type Histories = HashMap<Option<String>, History>;

/// The known stops of a group.
pub struct History {
    /// The stops, in no order.
    pub stops: Vec<PastStop>,
    /// Whether these are all since the start of the window before.
    pub is_complete: bool,
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

impl History {
    /// Reads the histories of the groups of these stops, all of one cluster: the newest stops of a group since the start
    /// of the window before these, and these.
    pub async fn read(client: &Client, table: &str, cluster: &str, stops: &[&Stop]) -> Result<Histories, ReadError> {
        let mut groups: HashMap<_, Vec<&Stop>> = HashMap::new();
        for stop in stops {
            groups.entry(stop.task.group.clone()).or_default().push(stop);
        }
        let keys = |stops: &[&Stop]| {
            let times = || stops.iter().map(|stop| stop.stopped_at);
            let first = times().min().map(|first| window(first) - WINDOW);
            sort_key_of_stopped(first)..=sort_key_of_stopped(times().max())
        };
        let mut earlier: HashMap<_, _> =
            groups.into_iter().map(|(group, stops)| (group, (keys(&stops), Vec::new()))).collect();
        let own: HashSet<&str> = stops.iter().map(|stop| stop.task.task_arn.as_str()).collect();
        let (from, to) = keys(stops).into_inner();
        let range = Range { cluster: cluster.to_owned(), from, to, descending: true };
        let mut start = None;
        for _ in 0..PAGES {
            let page = index_query::page(client, table, &range, usize::MAX, start).await?;
            for mut item in page.items {
                let mut text = |name| take_string(&mut item, name);
                if let Some((keys, arns)) = earlier.get_mut(&text("group"))
                    && text(INDEX_STATE).is_some_and(|key| keys.contains(&key))
                    && let Some(arn) = text(Resource::Task.key())
                    && !own.contains(arn.as_str())
                {
                    arns.push(arn);
                }
            }
            start = page.next;
            if start.is_none() || earlier.values().all(|(_, arns)| arns.len() > ROWS) {
                break;
            }
        }
        let arns: Vec<&String> = earlier.values().flat_map(|(_, arns)| arns.iter().take(ROWS)).collect();
        let projection = Projection::new(ATTRIBUTES.split(' '));
        let rows = batch_get::rows(client, table, Resource::Task, &arns, Some(&projection)).await?;
        let own = stops.iter().map(|stop| PastStop::new(&stop.task, &stop.diagnosis, stop.stopped_at));
        let mut known: HashMap<_, Vec<_>> = HashMap::new();
        for stop in rows.into_iter().filter_map(PastStop::from_row).chain(own) {
            known.entry(stop.group.clone()).or_default().push(stop);
        }
        let history = |(group, (_, arns)): (_, (_, Vec<String>))| {
            let stops = known.remove(&group).unwrap_or_default();
            (group, Self { stops, is_complete: start.is_none() && arns.len() <= ROWS })
        };
        Ok(earlier.into_iter().map(history).collect())
    }
}
