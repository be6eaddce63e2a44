//! Whether a group of tasks is in a crash loop.

use chrono::{DateTime, TimeDelta, Utc};

use super::actor::Kind;

/// How many stops make a loop.
const STOPS: usize = 3;
const SHORT_LIFE: TimeDelta = TimeDelta::minutes(10);
/// ECS backs off to 27 minutes between attempts.
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(60);
const RECENT: TimeDelta = TimeDelta::minutes(60);
/// How long before the end of a window stops can decide whether it ends in a crash loop: that of the last of three
/// stops, and two pauses.
pub const CRASH_LOOP_SPAN: TimeDelta = TimeDelta::minutes(60 + 2 * 60);

/// A stop of a task of a group, such as a service's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stop {
    /// How it counts: [`Diagnosis::kind`](super::Diagnosis::kind).
    pub kind: Kind,
    /// When the task started; `None` if it never did.
    pub started_at: Option<DateTime<Utc>>,
    /// When the task stopped.
    pub stopped_at: DateTime<Utc>,
}

/// Whether a group is in a crash loop at the end of a window: three or more failed stops, each after less than ten
/// minutes of life, each at most 60 minutes after the one before, and the last within an hour of the end. The stops may
/// come in any order; only failed ones before the end count.
#[must_use]
pub fn is_crash_loop(stops: impl IntoIterator<Item = Stop>, window_end: DateTime<Utc>) -> bool {
    let is_short = |stop: &Stop| stop.started_at.is_none_or(|started_at| stop.stopped_at - started_at < SHORT_LIFE);
    let mut times: Vec<DateTime<Utc>> = stops
        .into_iter()
        .filter(|stop| stop.kind == Kind::Failed && is_short(stop) && stop.stopped_at <= window_end)
        .map(|stop| stop.stopped_at)
        .collect();
    times.sort_unstable();
    let chain = times.chunk_by(|before, after| *after - *before <= LONGEST_PAUSE).last().unwrap_or_default();
    chain.len() >= STOPS && chain.last().is_some_and(|last| window_end - *last <= RECENT)
}
