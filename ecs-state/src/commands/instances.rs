//! `ecs-state instances`

use anstyle::Style;
use chrono::{DateTime, TimeDelta, Utc};
use ecs_model::{ContainerInstance, ContainerInstanceStatus, InstanceResource};
use ecs_state_recorder::state::stored::Stored;

use crate::access::{self, for_each_row};
use crate::arguments::InstancesArguments;
use crate::cells::{ACCOUNT, REGION, place};
use crate::column_widths::{Column, Fit};
use crate::columns::{Cell, Table};
use crate::failure::Failure;
use crate::json;
use crate::tables::Tables;
use crate::tables::instances::InstanceFilter;
use crate::terminal::{GREEN, RED, YELLOW, width};
use crate::time::age;

const COLUMNS: &[Column] = &[
    Column { title: "INSTANCE", fit: Fit::Id },
    Column { title: "CLUSTER", fit: Fit::AtLeast(7) },
    ACCOUNT,
    REGION,
    Column { title: "EC2 ID", fit: Fit::Whole },
    Column { title: "STATUS", fit: Fit::Whole },
    Column { title: "AGENT", fit: Fit::Whole },
    Column { title: "TASKS", fit: Fit::Whole },
    Column { title: "FREE CPU", fit: Fit::Optional },
    Column { title: "FREE MIB", fit: Fit::Optional },
    Column { title: "TYPE", fit: Fit::Optional },
    Column { title: "ZONE", fit: Fit::Optional },
    Column { title: "VERSION", fit: Fit::Optional },
    Column { title: "AS OF", fit: Fit::Optional },
];

pub(crate) async fn run(tables: &Tables, arguments: InstancesArguments) -> Result<(), Failure> {
    let InstancesArguments { cluster, account, disconnected, inactive, missing, json } = arguments;
    let now = Utc::now();
    let disconnected_before = disconnected.map(|duration| {
        let duration = TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX);
        now.checked_sub_signed(duration).unwrap_or(DateTime::UNIX_EPOCH)
    });
    let filter = InstanceFilter { cluster, account, disconnected_before, inactive, missing };
    let listing = access::instances(tables, &filter).await?;
    let mut stdout = anstream::stdout().lock();
    let mut table = Table::new(COLUMNS, width(), &mut stdout);
    let (found, unreadable) = for_each_row(listing, None, |row| {
        if json {
            json::instance(table.output(), &row)?;
        } else {
            table.add(cells(&row, now))?;
        }
        Ok(true)
    })
    .await?;
    table.flush()?;
    unreadable.outcome(found, || "no container instance matches".to_owned())
}

fn cells(row: &Stored<ContainerInstance>, now: DateTime<Utc>) -> Vec<Cell> {
    let instance = &row.state;
    let as_of = age(row.recorded.as_of(), now);
    let (status, style) = status(row, now);
    let agent = match instance.agent_connected {
        Some(true) => Cell::styled("connected", GREEN),
        Some(false) => Cell::styled(&format!("disconnected {as_of}"), RED),
        None => Cell::new("–"),
    };
    let tasks = match (instance.running_tasks_count, instance.pending_tasks_count) {
        (Some(running), Some(0) | None) => running.to_string(),
        (Some(running), Some(pending)) => format!("{running}+{pending}"),
        (None, _) => "–".to_owned(),
    };
    let [account, region] = place(&instance.container_instance_arn);
    vec![
        Cell::new(instance.id()),
        Cell::new(instance.cluster_name().unwrap_or("–")),
        account,
        region,
        Cell::new(instance.ec2_instance_id.as_deref().unwrap_or("–")),
        Cell::styled(&status, style),
        agent,
        Cell::new(&tasks),
        Cell::new(&free(instance, "CPU")),
        Cell::new(&free(instance, "MEMORY")),
        Cell::new(instance.attribute("ecs.instance-type").unwrap_or_default()),
        Cell::new(instance.attribute("ecs.availability-zone").unwrap_or_default()),
        Cell::new(instance.version_info.as_ref().and_then(|info| info.agent_version.as_deref()).unwrap_or_default()),
        Cell::new(&as_of),
    ]
}

fn status(row: &Stored<ContainerInstance>, now: DateTime<Utc>) -> (String, Style) {
    let status = row.state.status.as_ref();
    let text = status.map_or("–", ContainerInstanceStatus::as_str);
    match (row.recorded.missing_since, status) {
        (Some(since), _) => (format!("{text}, missing {}", age(Some(since), now)), RED),
        (None, Some(ContainerInstanceStatus::Active)) => (text.to_owned(), GREEN),
        _ => (text.to_owned(), YELLOW),
    }
}

/// The remaining and the registered amount of a resource: `1024/2048`.
fn free(instance: &ContainerInstance, name: &str) -> String {
    let value = |resources: &[InstanceResource]| {
        resources.iter().find(|resource| resource.name.as_deref() == Some(name)).and_then(|found| found.integer_value)
    };
    match (value(&instance.remaining_resources), value(&instance.registered_resources)) {
        (Some(left), Some(all)) => format!("{left}/{all}"),
        (Some(left), None) => left.to_string(),
        _ => String::new(),
    }
}
