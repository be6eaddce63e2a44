//! `ecs-state stopped`

use crate::tables::{Tables, TaskSet};
use chrono::{DateTime, Utc};
use ecs_model::Task;
use ecs_model::diagnosis::Diagnosis;
use ecs_state_recorder::state::stored::Stored;

use super::summary::Summary;
use crate::access::{Source, filter, for_each_row};
use crate::arguments::StoppedArguments;
use crate::cells::{code_style, definition};
use crate::column_widths::{Column, Fit};
use crate::columns::{Cell, Table};
use crate::failure::Failure;
use crate::json;
use crate::terminal::width;
use crate::time::{age, duration, instant};

const COLUMNS: &[Column] = &[
    Column { title: "AGO", fit: Fit::Whole },
    Column { title: "TASK", fit: Fit::Id },
    Column { title: "CLUSTER", fit: Fit::AtLeast(7) },
    Column { title: "GROUP", fit: Fit::AtLeast(12) },
    Column { title: "DEFINITION", fit: Fit::Optional },
    Column { title: "RAN", fit: Fit::Whole },
    Column { title: "CODE", fit: Fit::Whole },
    Column { title: "WHY", fit: Fit::Below },
];

pub(crate) async fn run(tables: &Tables, arguments: StoppedArguments) -> Result<(), Failure> {
    let StoppedArguments { since, code, summary, filters, limit, output } = arguments;
    let filter = filter(tables, &filters, true).await?;
    let listing = Source::new(tables, output.scan).tasks(TaskSet::StoppedSince(since), &filter, limit).await?;
    let mut stdout = anstream::stdout().lock();
    let mut table = Table::new(COLUMNS, width(), &mut stdout);
    let mut counts = Summary::default();
    let now = Utc::now();
    let (found, unreadable) = for_each_row(listing, limit, |mut row| {
        let Some(diagnosis) = Diagnosis::new(&row.state).filter(|found| code.is_none_or(|code| code == found.code))
        else {
            return Ok(false);
        };
        if summary {
            counts.add(&row.state, diagnosis.code);
        } else if output.json {
            if !output.show_environment {
                json::hide(&mut row.state);
            }
            json::task(table.output(), &row, Some(&diagnosis))?;
        } else {
            table.add(cells(&row, &diagnosis, now))?;
        }
        Ok(true)
    })
    .await?;
    table.flush()?;
    if found > 0 && summary {
        if output.json {
            counts.write_json(&mut stdout)?;
        } else {
            counts.write(&mut stdout, since, width())?;
        }
    }
    unreadable.outcome(found, || format!("no task that has stopped since {} matches", instant(since)))
}

fn cells(row: &Stored<Task>, diagnosis: &Diagnosis, now: DateTime<Utc>) -> Vec<Cell> {
    let task = &row.state;
    let stopped_at = task.stopped_at.or(row.recorded.as_of());
    let ran = task.started_at.zip(stopped_at).map_or_else(|| "–".to_owned(), |(from, to)| duration(to - from));
    vec![
        Cell::new(&age(stopped_at, now)),
        Cell::new(task.id()),
        Cell::new(task.cluster_name().unwrap_or("–")),
        Cell::new(task.group.as_deref().unwrap_or("–")),
        Cell::new(definition(task)),
        Cell::new(&ran),
        Cell::styled(&diagnosis.code.to_string(), code_style(diagnosis.code)),
        Cell::new(&diagnosis.summary),
    ]
}
