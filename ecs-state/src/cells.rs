//! Values that several commands show.

use anstyle::Style;
use chrono::{DateTime, Utc};
use ecs_model::arn::last_part;
use ecs_model::diagnosis::Code;
use ecs_model::{Task, TaskStatus};
use ecs_state_recorder::state::stored::Stored;

use crate::terminal::{DIM, GREEN, PLAIN, RED, YELLOW};
use crate::time::age;

/// Dim for stops in normal operation, yellow for those that the infrastructure caused, red for all others.
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

/// The status, and how long the task has been missing in ECS.
pub(crate) fn status(row: &Stored<Task>, now: DateTime<Utc>) -> (String, Style) {
    let status = row.state.last_status.as_ref();
    let text = status.map_or("–", TaskStatus::as_str);
    match (row.recorded.missing_since, status) {
        (Some(since), _) => (format!("{text}, missing {}", age(Some(since), now)), RED),
        (None, Some(TaskStatus::Running)) => (text.to_owned(), GREEN),
        (None, None) => (text.to_owned(), PLAIN),
        (None, Some(_)) => (text.to_owned(), YELLOW),
    }
}

/// The task definition by name and revision: `web:42`.
pub(crate) fn definition(task: &Task) -> &str {
    task.task_definition_arn.as_deref().map_or("–", last_part)
}

/// The private addresses of a task.
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
