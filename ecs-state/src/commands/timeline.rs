//! The timeline of a task's life.

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use ecs_model::{Connectivity, Moment, Task};
use ecs_state_recorder::state::stored::Stored;

use crate::terminal::{BOLD, DIM};
use crate::time::precise;

/// Writes each moment with the time since the previous one. A last line has the time until now, or until the task went
/// missing in ECS, unless it has stopped.
pub(crate) fn write(output: &mut dyn Write, row: &Stored<Task>, now: DateTime<Utc>) -> io::Result<()> {
    let task = &row.state;
    let moments = task.moments();
    let mut before: Option<DateTime<Utc>> = None;
    for (moment, time) in &moments {
        let date = match before {
            Some(before) if before.date_naive() == time.date_naive() => " ".repeat(10),
            _ => time.format("%Y-%m-%d").to_string(),
        };
        let after = before.map(|before| format!("+{}", precise(*time - before))).unwrap_or_default();
        writeln!(output, "  {date} {}  {DIM}{after:>9}{DIM:#}  {}", time.format("%H:%M:%S%.3f"), name(*moment, task))?;
        before = Some(*time);
    }
    if let (Some(last), false) = (before, task.is_stopped()) {
        let (until, what) = match row.recorded.missing_since {
            Some(since) => (since, "missing in ECS"),
            None => (now, "now"),
        };
        let after = format!("+{}", precise(until - last));
        writeln!(output, "  {:23}  {DIM}{after:>9}{DIM:#}  {BOLD}{what}{BOLD:#}", "")?;
    }
    Ok(())
}

fn name(moment: Moment, task: &Task) -> &'static str {
    match moment {
        Moment::Created => "created",
        Moment::ConnectivityChanged if task.connectivity == Some(Connectivity::Disconnected) => "agent disconnected",
        Moment::ConnectivityChanged => "agent connected",
        Moment::PullStarted => "image pull started",
        Moment::PullStopped => "image pull ended",
        Moment::Started => "running",
        Moment::Stopping => "stopping",
        Moment::ExecutionStopped => "containers ended",
        Moment::Stopped => "stopped",
    }
}
