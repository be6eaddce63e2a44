//! `ecs-state tasks`

use chrono::{DateTime, Utc};
use ecs_model::Task;
use ecs_model::diagnosis::Diagnosis;
use ecs_state_recorder::state::stored::Stored;

use crate::access::{Source, filter, for_each_row};
use crate::arguments::TasksArguments;
use crate::cells::{ACCOUNT, REGION, addresses, definition, place, status};
use crate::column_widths::{Column, Fit};
use crate::columns::{Cell, Table};
use crate::failure::Failure;
use crate::json;
use crate::tables::{Tables, TaskSet};
use crate::terminal::{DIM, width};
use crate::time::age;

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
    let TasksArguments { filters, limit, output } = arguments;
    let filter = filter(tables, &filters, false).await?;
    let listing = Source::new(tables, output.scan).tasks(TaskSet::Active, &filter, limit).await?;
    let mut stdout = anstream::stdout().lock();
    let mut table = Table::new(COLUMNS, width(), &mut stdout);
    let now = Utc::now();
    let (found, unreadable) = for_each_row(listing, limit, |mut row| {
        let diagnosis = Diagnosis::new(&row.state);
        if output.json {
            if !output.show_environment {
                json::hide(&mut row.state);
            }
            json::task(table.output(), &row, diagnosis.as_ref())?;
        } else {
            let why = diagnosis.map(|diagnosis| diagnosis.summary).unwrap_or_default();
            table.add([cells(&row, now), vec![Cell::new(&why)]].concat())?;
        }
        Ok(true)
    })
    .await?;
    table.flush()?;
    unreadable.outcome(found, || {
        "no task matches; `ecs-state tasks` lists all tasks that have not stopped, with their clusters and groups, \
         and `ecs-state stopped` lists stopped tasks"
            .to_owned()
    })
}

/// What a task is shown as, but for why it is being stopped.
pub(crate) fn cells(row: &Stored<Task>, now: DateTime<Utc>) -> Vec<Cell> {
    let task = &row.state;
    let (status, style) = status(row, now);
    let [account, region] = place(&task.task_arn);
    vec![
        Cell::new(task.id()),
        Cell::new(task.cluster_name().unwrap_or("–")),
        account,
        region,
        Cell::new(task.group.as_deref().unwrap_or("–")),
        Cell::new(definition(task)),
        Cell::styled(&status, style),
        Cell::new(&age(task.created_at.or(row.recorded.as_of()), now)),
        Cell::new(task.capacity().unwrap_or_default()),
        Cell::new(&addresses(task)),
        Cell::styled(task.started_by.as_deref().unwrap_or_default(), DIM),
    ]
}
