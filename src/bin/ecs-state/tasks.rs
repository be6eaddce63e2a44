//! `ecs-state tasks`

use anstyle::Style;
use chrono::{DateTime, Utc};
use ecs_state_recorder::reader::model::{Row, Task, TaskStatus};
use ecs_state_recorder::reader::tables::{Tables, Which};

use crate::access::{Source, each, filter};
use crate::arguments::TasksArguments;
use crate::failure::Failure;
use crate::json;
use crate::table::{Cell, Column, Fit, Table};
use crate::terminal::{DIM, GREEN, PLAIN, RED, YELLOW, width};
use crate::time::age;

pub(crate) const COLUMNS: &[Column] = &[
    Column { title: "TASK", fit: Fit::Id },
    Column { title: "CLUSTER", fit: Fit::AtLeast(7) },
    Column { title: "GROUP", fit: Fit::AtLeast(12) },
    Column { title: "DEFINITION", fit: Fit::AtLeast(10) },
    Column { title: "STATUS", fit: Fit::Whole },
    Column { title: "AGE", fit: Fit::Whole },
    Column { title: "RUNS ON", fit: Fit::Optional },
    Column { title: "ADDRESS", fit: Fit::Optional },
    Column { title: "STARTED BY", fit: Fit::Optional },
];

pub(crate) async fn run(tables: &Tables, arguments: TasksArguments) -> Result<(), Failure> {
    let TasksArguments { filters, limit, output } = arguments;
    let filter = filter(tables, &filters, false).await?;
    let listing = Source::new(tables, output.scan).tasks(Which::Active, &filter, limit).await?;
    let mut stdout = anstream::stdout().lock();
    let mut table = Table::new(COLUMNS, width(), &mut stdout);
    let now = Utc::now();
    let (found, unreadable) = each(listing, limit, |mut row| {
        if output.json {
            if !output.show_environment {
                json::hide(&mut row.state);
            }
            json::task(table.output(), &row, None)?;
        } else {
            table.add(cells(&row, now))?;
        }
        Ok(true)
    })
    .await?;
    table.flush()?;
    unreadable
        .outcome(found, || "no task matches; `ecs-state tasks` lists all that have not stopped, with their clusters and groups, and `ecs-state \
         stopped` those that have"
            .to_owned())
}

pub(crate) fn cells(row: &Row<Task>, now: DateTime<Utc>) -> Vec<Cell> {
    let task = &row.state;
    let (status, style) = status(row, now);
    vec![
        Cell::new(task.id()),
        Cell::new(task.cluster_name().unwrap_or("–")),
        Cell::new(task.group.as_deref().unwrap_or("–")),
        Cell::new(&definition(task)),
        Cell::styled(&status, style),
        Cell::new(&age(task.created_at.or(row.recorded.as_of()), now)),
        Cell::new(task.capacity().unwrap_or_default()),
        Cell::new(&addresses(task).join(" ")),
        Cell::styled(task.started_by.as_deref().unwrap_or_default(), DIM),
    ]
}

/// The status, and since when ECS no longer knows the task.
pub(crate) fn status(row: &Row<Task>, now: DateTime<Utc>) -> (String, Style) {
    let status = row.state.last_status.as_ref();
    let text = status.map_or("–", TaskStatus::as_str);
    match (row.recorded.missing_since, status) {
        (Some(since), _) => (format!("{text}, missing {}", age(Some(since), now)), RED),
        (None, Some(TaskStatus::Running)) => (text.to_owned(), GREEN),
        (None, None) => (text.to_owned(), PLAIN),
        (None, Some(_)) => (text.to_owned(), YELLOW),
    }
}

/// The task definition, as people name it: `web:42`.
pub(crate) fn definition(task: &Task) -> String {
    let definition = task.task_definition_arn.as_deref().unwrap_or("–");
    definition.rsplit_once('/').map_or(definition, |(_, name)| name).to_owned()
}

/// The private addresses of a task, each once.
pub(crate) fn addresses(task: &Task) -> Vec<String> {
    let of_containers = task
        .containers
        .iter()
        .flat_map(|container| container.network_interfaces.iter())
        .filter_map(|interface| interface.private_ipv4_address.clone());
    let of_attachments = task
        .attachments
        .iter()
        .flat_map(|attachment| attachment.details.iter())
        .filter(|detail| detail.name.as_deref() == Some("privateIPv4Address"))
        .filter_map(|detail| detail.value.clone());
    let mut addresses: Vec<String> = of_containers.chain(of_attachments).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
