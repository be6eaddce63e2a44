//! Values that several commands show.

use anstyle::Style;
use chrono::{DateTime, Utc};
use ecs_model::arn::{account, last_part, region};
use ecs_model::diagnosis::{Cause, Code, Kind};
use ecs_model::{Task, TaskStatus};
use ecs_state_recorder::state::stored::Stored;

use crate::column_widths::{Column, Fit};
use crate::columns::Cell;
use crate::state_at::{missing_at, status_at};
use crate::terminal::{DIM, GREEN, PLAIN, RED, YELLOW};
use crate::time::age;

/// The columns of [`place`]: for tables from several accounts or regions.
pub(crate) const ACCOUNT: Column = Column { title: "ACCOUNT", fit: Fit::IfDifferent };
pub(crate) const REGION: Column = Column { title: "REGION", fit: Fit::IfDifferent };

/// The account and the region in an ARN.
pub(crate) fn place(arn: &str) -> [Cell; 2] {
    [account(arn), region(arn)].map(|part| Cell::new(part.unwrap_or("–")))
}

/// Dim for expected stops, yellow for interruptions, red for failures.
pub(crate) fn code_style(code: Code, kind: Kind) -> Style {
    match kind {
        Kind::Expected => DIM,
        Kind::Interrupted => YELLOW,
        Kind::Failed if code == Code::Unknown => PLAIN,
        Kind::Failed => RED,
    }
}

/// A code and its cause: `ImagePullFailed (NotFound)`.
pub(crate) fn reason(code: Code, cause: Option<Cause>) -> String {
    cause.map_or_else(|| code.to_string(), |cause| format!("{code} ({cause})"))
}

/// The status, the one that it is to become, and how long the task has been missing in ECS: `at` that time, or `now`.
pub(crate) fn status(row: &Stored<Task>, at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> (String, Style) {
    let task = &row.state;
    let status = status_at(row, at);
    let text = match (&status, at) {
        (Some(status), Some(_)) => status.to_string(),
        _ => transition(task),
    };
    match (missing_at(row, at), status) {
        (Some(since), _) => (format!("{text}, missing {}", age(Some(since), at.unwrap_or(now))), RED),
        (None, None) => (text, PLAIN),
        (None, Some(TaskStatus::Running)) if at.is_some() || !task.is_stopping() => (text, GREEN),
        (None, Some(_)) => (text, YELLOW),
    }
}

/// The status; of a task that is being stopped, `RUNNING → STOPPED`.
pub(crate) fn transition(task: &Task) -> String {
    match (&task.last_status, &task.desired_status) {
        (None, _) => "–".to_owned(),
        (Some(last), Some(desired)) if task.is_stopping() => format!("{last} → {desired}"),
        (Some(last), _) => last.to_string(),
    }
}

/// The task definition by name and revision: `web:42`.
pub(crate) fn definition(task: &Task) -> &str {
    task.task_definition_arn.as_deref().map_or("–", last_part)
}

/// The private addresses of a task, separated by spaces.
pub(crate) fn addresses(task: &Task) -> String {
    task.addresses().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
