//! What a change of a row is: a task that has just stopped, old news, or nothing.

use chrono::{DateTime, TimeDelta, Utc};
use ecs_model::diagnosis::Diagnosis;
use ecs_model::{ModelError, Task};

use super::record::{Change, UnreadableRecord};
use crate::attributes::{Item, RECONCILED_AT};
use crate::resource::Resource;
use crate::state::expiry::is_terminal;
use crate::state::stored::Stored;

/// Stops older than this are not announced. The ECS API, too, forgets a task an hour after it stopped.
const OLD: TimeDelta = TimeDelta::hours(1);

/// A task that has stopped.
pub struct Stop {
    /// The task.
    pub task: Task,
    /// Why it stopped.
    pub diagnosis: Diagnosis,
    /// When it stopped: `stoppedAt`, or else when that was observed.
    pub stopped_at: DateTime<Utc>,
    /// The position of its record in the shard.
    pub sequence_number: String,
    /// Whether it is announced.
    pub news: News,
    /// What is wrong with the first field that could not be read, and is left out of `task`.
    pub left_out: Option<String>,
}

/// Whether a stop is announced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum News {
    /// It is.
    Fresh,
    /// The task stopped more than an hour before its row was written: a replay, a redrive, a restored table.
    Old,
    /// Its row was written over an hour ago: the notifier was stopped, or the bus failed.
    Late,
    /// Its first row ever came from the ECS API: the table is new, so the task may have stopped unseen at any time.
    Unseen,
}

impl News {
    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Old => "old",
            Self::Late => "late",
            Self::Unseen => "unseen",
        }
    }
}

impl Stop {
    /// The stop that a change reports; `None` if the row had been terminal before, is not now, or was deleted.
    pub fn parse(change: Change, now: DateTime<Utc>) -> Result<Option<Self>, UnreadableRecord> {
        let is_terminal = |row: &Item| is_terminal(Resource::Task, row);
        let Some(row) = change.after.filter(is_terminal) else { return Ok(None) };
        if change.before.as_ref().is_some_and(is_terminal) {
            return Ok(None);
        }
        let is_unseen = change.before.is_none() && row.contains_key(RECONCILED_AT);
        let describe = |error: &ModelError| format!("{} {}", error.field, error.problem);
        let Stored::<Task> { state: task, recorded, left_out } =
            Stored::from_item(row).map_err(|error| UnreadableRecord { problem: describe(&error), arn: error.arn })?;
        let left_out = left_out.first().map(describe);
        let Some(diagnosis) = Diagnosis::new(&task) else { return Ok(None) };
        let stopped_at = task.stopped_at.or(recorded.as_of()).unwrap_or(change.written_at);
        let news = if is_unseen {
            News::Unseen
        } else if change.written_at - stopped_at > OLD {
            News::Old
        } else if now - change.written_at > OLD {
            News::Late
        } else {
            News::Fresh
        };
        Ok(Some(Self { task, diagnosis, stopped_at, sequence_number: change.sequence_number, news, left_out }))
    }
}
