//! `ecs-state stopped`

use anstyle::Style;
use chrono::{DateTime, Utc};
use ecs_state_recorder::reader::diagnosis::{Code, Diagnosis};
use ecs_state_recorder::reader::model::{Row, Task};
use ecs_state_recorder::reader::tables::{Tables, Which};

use crate::access::{Source, each, filter};
use crate::arguments::StoppedArguments;
use crate::failure::Failure;
use crate::json;
use crate::summary::Summary;
use crate::table::{Cell, Column, Fit, Table};
use crate::tasks::definition;
use crate::terminal::{DIM, PLAIN, RED, YELLOW, width};
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
    let listing = Source::new(tables, output.scan).tasks(Which::StoppedSince(since), &filter, limit).await?;
    let mut stdout = anstream::stdout().lock();
    let mut table = Table::new(COLUMNS, width(), &mut stdout);
    let mut counts = Summary::default();
    let now = Utc::now();
    let (found, unreadable) = each(listing, limit, |mut row| {
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

fn cells(row: &Row<Task>, diagnosis: &Diagnosis, now: DateTime<Utc>) -> Vec<Cell> {
    let task = &row.state;
    let stopped_at = task.stopped_at.or(row.recorded.as_of());
    let ran = task.started_at.zip(stopped_at).map_or_else(|| "–".to_owned(), |(from, to)| duration(to - from));
    vec![
        Cell::new(&age(stopped_at, now)),
        Cell::new(task.id()),
        Cell::new(task.cluster_name().unwrap_or("–")),
        Cell::new(task.group.as_deref().unwrap_or("–")),
        Cell::new(&definition(task)),
        Cell::new(&ran),
        Cell::styled(&diagnosis.code.to_string(), code_style(diagnosis.code)),
        Cell::new(&diagnosis.summary),
    ]
}

/// Stops that are part of normal operation recede, and those that are not anybody's fault are not red.
pub(crate) fn code_style(code: Code) -> Style {
    match code {
        Code::ScaledIn | Code::Finished | Code::Terminated => DIM,
        Code::StoppedByUser | Code::Unknown => PLAIN,
        Code::SpotInterruption
        | Code::HostMaintenance
        | Code::HostLeaving
        | Code::InstanceTerminated
        | Code::InstanceDeregistered
        | Code::SlowProvisioning
        | Code::CapacityUnavailable => YELLOW,
        _ => RED,
    }
}
