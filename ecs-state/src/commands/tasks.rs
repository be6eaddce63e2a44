//! `ecs-state tasks`

use chrono::{DateTime, Utc};
use ecs_model::arn::cluster_arn;
use ecs_model::diagnosis::Diagnosis;
use ecs_model::{Task, TaskStatus};
use ecs_state_recorder::state::index::sort_key_of_active;
use ecs_state_recorder::state::stored::Stored;

use crate::access::{Source, filter, for_each_row};
use crate::arguments::TasksArguments;
use crate::cells::{ACCOUNT, REGION, addresses, definition, place, status};
use crate::column_widths::{Column, Fit};
use crate::columns::{Cell, Table};
use crate::failure::{Failure, Unreadable};
use crate::json;
use crate::state_at::status_at;
use crate::tables::listing::Listing;
use crate::tables::{Tables, TaskSet};
use crate::terminal::{DIM, width};
use crate::time::{age, instant};

/// The last says why a task is being stopped.
pub(crate) const COLUMNS: &[Column] = &[
    Column { title: "TASK", fit: Fit::Id },
    Column { title: "CLUSTER", fit: Fit::AtLeast(7) },
    ACCOUNT,
    REGION,
    Column { title: "GROUP", fit: Fit::AtLeast(12) },
    Column { title: "DEFINITION", fit: Fit::AtLeast(10) },
    Column { title: "STATUS", fit: Fit::Whole },
    Column { title: "AGE", fit: Fit::Whole },
    Column { title: "RUNS ON", fit: Fit::Optional },
    Column { title: "ADDRESS", fit: Fit::Optional },
    Column { title: "STARTED BY", fit: Fit::Optional },
    Column { title: "WHY", fit: Fit::Below },
];

pub(crate) async fn run(tables: &Tables, arguments: TasksArguments) -> Result<(), Failure> {
    let TasksArguments { at, filters, limit, output } = arguments;
    let filter = filter(tables, &filters, false, at).await?;
    let mut source = Source::new(tables, output.scan);
    let mut stdout = anstream::stdout().lock();
    let mut table = Table::new(COLUMNS, width(), &mut stdout);
    let now = Utc::now();
    let mut show = |mut row: Stored<Task>| -> Result<bool, Failure> {
        let diagnosis = Diagnosis::new(&row.state);
        let status = at.and_then(|_| status_at(&row, at));
        if output.json {
            if !output.show_environment {
                json::hide(&mut row.state);
            }
            json::task(table.output(), &row, status.as_ref(), diagnosis.as_ref())?;
        } else {
            // At an earlier time, the reason explains nothing yet.
            let why = diagnosis.filter(|_| status.is_none_or(|status| status == TaskStatus::Stopping));
            let why = why.map(|diagnosis| diagnosis.summary).unwrap_or_default();
            table.add([cells(&row, at, now), vec![Cell::new(&why)]].concat())?;
        }
        Ok(true)
    };
    let (found, unreadable) = if let Some(time) = at {
        let listing = source.tasks(TaskSet::ActiveSince(time), &filter, None).await?;
        let (mut rows, unreadable) = running_at(&source, listing, time).await?;
        rows.truncate(limit.unwrap_or(usize::MAX));
        let found = rows.len();
        rows.into_iter().try_for_each(|row| show(row).map(drop))?;
        (found, unreadable)
    } else {
        for_each_row(source.tasks(TaskSet::Active, &filter, limit).await?, limit, show).await?
    };
    table.flush()?;
    unreadable.outcome(found, || match at {
        Some(at) => format!("no task of {} matches", instant(at)),
        None => "no task matches; `ecs-state tasks` lists all tasks that have not stopped, with their clusters and \
                 groups, and `ecs-state stopped` lists stopped tasks"
            .to_owned(),
    })
}

/// The tasks that had been created and had not stopped at a time, in the order of this command: those that have stopped
/// since then come from the index in another.
async fn running_at(
    source: &Source<'_>,
    listing: Listing<'_, Task>,
    time: DateTime<Utc>,
) -> Result<(Vec<Stored<Task>>, Unreadable), Failure> {
    let mut rows = Vec::new();
    let add = |row: Stored<Task>| {
        let had_stopped = status_at(&row, Some(time)) == Some(TaskStatus::Stopped);
        if !had_stopped {
            rows.push(row);
        }
        !had_stopped
    };
    let (_, unreadable) = source.for_all_rows(listing, add).await?;
    rows.sort_by_cached_key(|row| {
        let task = &row.state;
        let group = task.group.as_deref().unwrap_or_default();
        let sort_key = sort_key_of_active(group, task.created_at.or(row.recorded.as_of()));
        (cluster_arn(task.cluster_arn.as_deref(), &task.task_arn), sort_key, task.task_arn.clone())
    });
    Ok((rows, unreadable))
}

/// What a task is shown as, `at` a time or `now`, but for why it is being stopped.
pub(crate) fn cells(row: &Stored<Task>, at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Vec<Cell> {
    let task = &row.state;
    let (status, style) = status(row, at, now);
    let [account, region] = place(&task.task_arn);
    vec![
        Cell::new(task.id()),
        Cell::new(task.cluster_name().unwrap_or("–")),
        account,
        region,
        Cell::new(task.group.as_deref().unwrap_or("–")),
        Cell::new(definition(task)),
        Cell::styled(&status, style),
        Cell::new(&age(task.created_at.or(row.recorded.as_of()), at.unwrap_or(now))),
        Cell::new(task.capacity().unwrap_or_default()),
        Cell::new(&addresses(task)),
        Cell::styled(task.started_by.as_deref().unwrap_or_default(), DIM),
    ]
}
