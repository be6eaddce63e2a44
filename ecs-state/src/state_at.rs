//! The state of a task at a time: now, or in the past, as its own times give it.

use chrono::{DateTime, Utc};
use ecs_model::{Task, TaskStatus};
use ecs_state_recorder::state::stored::Stored;

/// The status at a time; `None` if the task did not exist yet. Now, it is the last one that ECS reported.
///
/// Of the past, the times tell only these: `PENDING` from `createdAt`, `RUNNING` from `startedAt`, `STOPPING` from
/// `stoppingAt`, or else from when the containers ended, and `STOPPED`. Without `createdAt` or `stoppedAt`, the time of
/// the row counts, as in the index.
pub(crate) fn status_at(row: &Stored<Task>, at: Option<DateTime<Utc>>) -> Option<TaskStatus> {
    let task = &row.state;
    let Some(at) = at else { return task.last_status.clone() };
    let by_then = |time: Option<DateTime<Utc>>| time.is_some_and(|time| time <= at);
    if !by_then(task.created_at.or(row.recorded.as_of())) {
        None
    } else if task.is_stopped() && by_then(task.stopped_at.or(row.recorded.as_of())) {
        Some(TaskStatus::Stopped)
    } else if by_then(task.stopping_at) || by_then(task.execution_stopped_at) {
        Some(TaskStatus::Stopping)
    } else if by_then(task.started_at) {
        Some(TaskStatus::Running)
    } else {
        Some(TaskStatus::Pending)
    }
}

/// Since when the task was missing in ECS at a time, if it was.
pub(crate) fn missing_at(row: &Stored<Task>, at: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    row.recorded.missing_since.filter(|since| at.is_none_or(|at| *since <= at))
}
