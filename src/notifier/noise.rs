//! Whether a stop notifies: not every attempt of a loop does, and nothing that was intended.

use chrono::{DateTime, Utc};
use ecs_model::Task;
use ecs_model::diagnosis::{Diagnosis, Kind, is_crash_loop};

use super::history::{History, PastStop, WINDOW, window};
use super::news::Stop;

/// The ranks in a window that notify.
const THRESHOLDS: [u64; 4] = [1, 3, 10, 30];
/// If the window before had this many stops of a group and code, only the first in this one notifies.
const STILL: u64 = 3;

/// How a stop compares with those before it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Whether somebody should be notified.
    pub notify: bool,
    /// Its rank, from 1, among the stops of its group and code in the window; `None` if the others are unknown.
    pub count: Option<u64>,
    /// When the last one was.
    pub previous_stopped_at: Option<DateTime<Utc>>,
    /// Whether its group is in a crash loop.
    pub is_crash_loop: bool,
    /// Whether the window before had several, too.
    pub is_still: bool,
}

/// Whether anybody may have to act on a stop: it failed, or it was interrupted and no service replaces it.
pub fn is_actionable(task: &Task, diagnosis: &Diagnosis) -> bool {
    match diagnosis.kind() {
        Kind::Failed => true,
        Kind::Interrupted => task.service_name().is_none(),
        Kind::Expected => false,
    }
}

impl Standing {
    /// Compares a stop with the history of its group, which includes the stop itself. Without a history, each stop on
    /// which somebody may have to act notifies.
    pub fn new(stop: &Stop, history: Option<&History>) -> Self {
        let is_actionable = is_actionable(&stop.task, &stop.diagnosis);
        let Some(history) = history.filter(|_| is_actionable) else {
            return Self { notify: is_actionable, ..Self::default() };
        };
        let order = |other: &PastStop| (other.stop.stopped_at, other.arn.clone());
        let this = (stop.stopped_at, stop.task.task_arn.clone());
        let until_now: Vec<&PastStop> = history.stops.iter().filter(|other| order(other) <= this).collect();
        let alike = || until_now.iter().filter(|other| other.code == stop.diagnosis.code);
        let start = window(stop.stopped_at);
        let count = alike().filter(|other| other.stop.stopped_at >= start).count() as u64;
        let before = alike().filter(|other| (start - WINDOW..start).contains(&other.stop.stopped_at)).count() as u64;
        let is_still = before >= STILL;
        let is_due = if is_still || !history.is_complete { count == 1 } else { THRESHOLDS.contains(&count) };
        Self {
            notify: is_due,
            count: Some(count),
            previous_stopped_at: alike().filter(|other| order(other) < this).map(|other| other.stop.stopped_at).max(),
            is_crash_loop: is_crash_loop(until_now.iter().map(|other| other.stop), stop.stopped_at),
            is_still,
        }
    }
}
