//! `ecs-state stopped`

use chrono::Utc;
use ecs_model::Task;
use ecs_model::diagnosis::{Cause, Diagnosis};
use ecs_state_recorder::state::stored::Stored;

use super::summary::Summary;
use crate::access::{Source, filter, for_each_row};
use crate::arguments::StoppedArguments;
use crate::cells::{ACCOUNT, REGION, code_style, definition, place};
use crate::column_widths::{Column, Fit};
use crate::columns::{Cell, Table};
use crate::failure::Failure;
use crate::json;
use crate::tables::{Tables, TaskSet};
use crate::terminal::width;
use crate::time::{Window, age, duration};

/// The first is how long ago the task stopped; [`cells`] has the others.
pub(super) const COLUMNS: &[Column] = &[
    Column { title: "AGO", fit: Fit::Whole },
    Column { title: "TASK", fit: Fit::Id },
    Column { title: "CLUSTER", fit: Fit::AtLeast(7) },
    ACCOUNT,
    REGION,
    Column { title: "GROUP", fit: Fit::AtLeast(12) },
    Column { title: "DEFINITION", fit: Fit::Optional },
    Column { title: "RAN", fit: Fit::Whole },
    Column { title: "CODE", fit: Fit::Whole },
    Column { title: "CAUSE", fit: Fit::Optional },
    Column { title: "WHY", fit: Fit::Below },
];

pub(crate) async fn run(tables: &Tables, arguments: StoppedArguments) -> Result<(), Failure> {
    let StoppedArguments { since, until, reasons, summary, filters, limit, output } = arguments;
    let window = Window::new(since, until)?;
    let filter = filter(tables, &filters, true, None).await?;
    let mut source = Source::new(tables, output.scan);
    let listing = source.tasks(TaskSet::Stopped(window), &filter, limit).await?;
    let mut stdout = anstream::stdout().lock();
    let nothing = format!("no task that has stopped {window} matches");
    let diagnose = |task: &Task| Diagnosis::new(task).filter(|diagnosis| reasons.admit(diagnosis));
    if summary {
        let mut counts = Summary::default();
        let add =
            |row: Stored<Task>| diagnose(&row.state).map(|diagnosis| counts.add(&row.state, &diagnosis)).is_some();
        let (found, unreadable) = source.for_all_rows(listing, add).await?;
        match found {
            0 => {}
            _ if output.json => counts.write_json(&mut stdout)?,
            _ => counts.write(&mut stdout, window, width())?,
        }
        return unreadable.outcome(found, || nothing);
    }
    let mut table = Table::new(COLUMNS, width(), &mut stdout);
    let now = Utc::now();
    let (found, unreadable) = for_each_row(listing, limit, |mut row| {
        let Some(diagnosis) = diagnose(&row.state) else { return Ok(false) };
        if output.json {
            if !output.show_environment {
                json::hide(&mut row.state);
            }
            json::task(table.output(), &row, None, Some(&diagnosis))?;
        } else {
            let ago = age(row.state.stopped_at.or(row.recorded.as_of()), now);
            table.add([vec![Cell::new(&ago)], cells(&row, &diagnosis)].concat())?;
        }
        Ok(true)
    })
    .await?;
    table.flush()?;
    unreadable.outcome(found, || nothing)
}

/// What a stop is shown as, but for how long ago it was.
pub(crate) fn cells(row: &Stored<Task>, diagnosis: &Diagnosis) -> Vec<Cell> {
    let task = &row.state;
    let stopped_at = task.stopped_at.or(row.recorded.as_of());
    let ran = task.started_at.zip(stopped_at).map_or_else(|| "–".to_owned(), |(from, to)| duration(to - from));
    let [account, region] = place(&task.task_arn);
    vec![
        Cell::new(task.id()),
        Cell::new(task.cluster_name().unwrap_or("–")),
        account,
        region,
        Cell::new(task.group.as_deref().unwrap_or("–")),
        Cell::new(definition(task)),
        Cell::new(&ran),
        Cell::styled(diagnosis.code.as_str(), code_style(diagnosis.code, diagnosis.kind())),
        Cell::new(diagnosis.cause.map_or("", Cause::as_str)),
        Cell::new(&diagnosis.summary),
    ]
}
