//! `ecs-state task`

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use ecs_model::diagnosis::Diagnosis;
use ecs_model::{Attachment, AttachmentStatus, Container, ContainerStatus, HealthStatus, Task, TaskStatus};
use ecs_state_recorder::state::stored::Stored;

use super::timeline;
use crate::arguments::{Connection, TaskArguments};
use crate::aws_cli::{self, quoted};
use crate::cells::{addresses, definition, transition};
use crate::column_widths::{Column, Fit};
use crate::columns::{Cell, Table, fields, heading};
use crate::failure::{Failure, note_field};
use crate::one_task::{self, main_container};
use crate::tables::Tables;
use crate::terminal::{BOLD, DIM, RED, YELLOW, clean, width};
use crate::time::{age, instant};
use crate::{json, reason};

pub(crate) async fn run(tables: &Tables, connection: &Connection, arguments: &TaskArguments) -> Result<(), Failure> {
    let TaskArguments { task, output } = arguments;
    let mut row = one_task::find(tables, task, output.scan).await?;
    row.left_out.iter().for_each(note_field);
    if !output.show_environment {
        json::hide(&mut row.state);
    }
    let diagnosis = Diagnosis::new(&row.state);
    let mut stdout = anstream::stdout().lock();
    if output.json {
        json::task(&mut stdout, &row, None, diagnosis.as_ref())?;
    } else {
        write(&mut stdout, &row, diagnosis.as_ref(), width(), Utc::now())?;
        let commands = commands(&row.state, connection);
        if !commands.is_empty() {
            heading(&mut stdout, "Next")?;
        }
        // Not wrapped, to be copied.
        for (name, command) in commands {
            writeln!(stdout, "  {DIM}{name:5}{DIM:#}  {}", clean(&command))?;
        }
    }
    Ok(stdout.flush()?)
}

/// What to run next, by what it is for: the log, if a container has started, and a shell.
fn commands(task: &Task, connection: &Connection) -> Vec<(&'static str, String)> {
    let has_run = |container: &Container| container.runtime_id.is_some() || container.exit_code.is_some();
    let has_log = task.started_at.is_some() || task.containers.iter().any(has_run);
    let words = ["ecs-state", "logs", task.id()].into_iter().chain(connection.given().flatten());
    let log = has_log.then(|| words.map(quoted).collect::<Vec<_>>().join(" "));
    let container = main_container(task).or(task.containers.first());
    let shell =
        aws_cli::shell(task, container.and_then(|container| container.name.as_deref()), connection.profile.as_deref());
    log.map(|command| ("log", command)).into_iter().chain(shell.map(|command| ("shell", command))).collect()
}

fn write(
    output: &mut dyn Write,
    row: &Stored<Task>,
    diagnosis: Option<&Diagnosis>,
    width: Option<usize>,
    now: DateTime<Utc>,
) -> io::Result<()> {
    let task = &row.state;
    writeln!(output, "{BOLD}{}{BOLD:#}", clean(&task.task_arn))?;
    fields(output, &overview(row, now), width)?;
    if let Some(diagnosis) = diagnosis {
        reason::write(output, task, diagnosis, width)?;
    }
    heading(output, "Life (UTC)")?;
    timeline::write(output, row, now)?;
    if !task.containers.is_empty() {
        heading(output, "Containers")?;
        containers(output, task, width)?;
    }
    for (title, section) in [("Network", network(task)), ("Volumes", volumes(task))] {
        if !section.is_empty() {
            heading(output, title)?;
            fields(output, &section, width)?;
        }
    }
    let overrides = overrides(task);
    if !overrides.is_empty() {
        let has_hidden = overrides.iter().any(|(_, value)| value.contains(json::HIDDEN));
        let hint = if has_hidden { " (--show-environment shows all)" } else { "" };
        heading(output, &format!("Overrides of this run{hint}"))?;
        fields(output, &overrides.iter().map(|(name, value)| (&**name, value.clone())).collect::<Vec<_>>(), width)?;
    }
    Ok(())
}

fn overview(row: &Stored<Task>, now: DateTime<Utc>) -> Vec<(&'static str, String)> {
    let task = &row.state;
    let mut fields = Vec::new();
    let mut add = |name, value: Option<String>| fields.extend(value.map(|value| (name, value)));
    add("cluster", task.cluster_name().map(str::to_owned));
    add("group", task.group.clone());
    add("definition", task.task_definition_arn.as_ref().map(|_| definition(task).to_owned()));
    add("status", task.last_status.as_ref().map(|_| transition(task)));
    add(
        "health",
        task.health_status.as_ref().filter(|health| **health != HealthStatus::NotKnown).map(ToString::to_string),
    );
    add(
        "missing",
        row.recorded
            .missing_since
            .map(|since| format!("unknown to ECS since {}, {} ago", instant(since), age(Some(since), now))),
    );
    let source = if row.recorded.event_time.is_some() { "an event" } else { "the ECS API" };
    add(
        "as of",
        row.recorded.as_of().map(|time| {
            let version = task.version.map(|version| format!(", version {version}")).unwrap_or_default();
            format!("{}, {} ago, from {source}{version}", instant(time), age(Some(time), now))
        }),
    );
    add("started by", task.started_by.clone());
    let place = [
        task.capacity().map(str::to_owned),
        task.platform_version.as_ref().map(|version| format!("platform {version}")),
        task.availability_zone.clone(),
    ];
    let place: Vec<String> = place.into_iter().flatten().collect();
    add("ran on", Some(place.join(", ")).filter(|place| !place.is_empty()));
    add("instance", task.container_instance_arn.clone());
    let size = [
        task.cpu.as_ref().map(|cpu| format!("{cpu} CPU units")),
        task.memory.as_ref().map(|memory| format!("{memory} MiB of memory")),
    ];
    let size: Vec<String> = size.into_iter().flatten().collect();
    add("size", Some(size.join(", ")).filter(|size| !size.is_empty()));
    if !task.is_stopped() {
        for (name, _) in &mut fields {
            if *name == "ran on" {
                *name = "runs on";
            }
        }
    }
    fields
}

const CONTAINERS: &[Column] = &[
    Column { title: "  NAME", fit: Fit::AtLeast(12) },
    Column { title: "STATUS", fit: Fit::Whole },
    Column { title: "HEALTH", fit: Fit::Whole },
    Column { title: "EXIT", fit: Fit::Whole },
    Column { title: "IMAGE", fit: Fit::AtLeast(16) },
    Column { title: "INJECTED BY", fit: Fit::Whole },
    Column { title: "REASON", fit: Fit::Below },
];

fn containers(output: &mut dyn Write, task: &Task, width: Option<usize>) -> io::Result<()> {
    let mut table = Table::new(CONTAINERS, width, output);
    for container in &task.containers {
        let Container { name, last_status, health_status, exit_code, image, reason, .. } = container;
        let stopped = matches!(last_status, Some(ContainerStatus::Stopped));
        let exit = match exit_code {
            // 143 is the exit code of a container that obeys SIGTERM.
            Some(code @ (0 | 143)) => Cell::new(&code.to_string()),
            Some(code) => Cell::styled(&code.to_string(), RED),
            // Not 0: it never ran, or its end was not observed.
            None if stopped || task.last_status == Some(TaskStatus::Stopped) => Cell::styled("none", YELLOW),
            None => Cell::new(""),
        };
        table.add(vec![
            Cell::new(&format!("  {}", name.as_deref().unwrap_or("–"))),
            Cell::new(last_status.as_ref().map_or("–", ContainerStatus::as_str)),
            Cell::new(
                health_status
                    .as_ref()
                    .filter(|health| **health != HealthStatus::NotKnown)
                    .map_or("", HealthStatus::as_str),
            ),
            exit,
            Cell::new(image.as_deref().unwrap_or("–")),
            Cell::new(container.injected_by().unwrap_or_default()),
            Cell::new(reason.as_deref().unwrap_or_default()),
        ])?;
    }
    table.flush()
}

fn network(task: &Task) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    let detail = |name: &str| -> Option<String> {
        let details = task.attachments.iter().flat_map(|attachment| attachment.details.iter());
        let values: Vec<String> = details
            .filter(|detail| detail.name.as_deref() == Some(name))
            .filter_map(|detail| detail.value.clone())
            .collect();
        (!values.is_empty()).then(|| values.join(" "))
    };
    let addresses = addresses(task);
    fields.extend((!addresses.is_empty()).then_some(("address", addresses)));
    fields.extend(detail("networkInterfaceId").map(|id| ("interface", id)));
    fields.extend(detail("subnetId").map(|id| ("subnet", id)));
    for container in &task.containers {
        for binding in &container.network_bindings {
            let port = |port: Option<i64>, range: &Option<String>| {
                range.clone().or(port.map(|port| port.to_string())).unwrap_or_else(|| "?".to_owned())
            };
            let protocol = binding.protocol.as_ref().map(|protocol| format!("/{protocol}")).unwrap_or_default();
            fields.push((
                "port",
                format!(
                    "{}:{} → {} {}{protocol}",
                    binding.bind_ip.as_deref().unwrap_or("*"),
                    port(binding.host_port, &binding.host_port_range),
                    container.name.as_deref().unwrap_or("–"),
                    port(binding.container_port, &binding.container_port_range),
                ),
            ));
        }
    }
    fields
}

/// The volumes that ECS attaches, a line each.
///
/// Source: <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Attachment.html>
fn volumes(task: &Task) -> Vec<(&'static str, String)> {
    let is_volume =
        |attachment: &&Attachment| attachment.detail("volumeId").or(attachment.detail("volumeName")).is_some();
    task.attachments
        .iter()
        .filter(is_volume)
        .map(|volume| {
            let parts = [
                volume.detail("volumeName"),
                volume.detail("volumeId"),
                volume.status.as_ref().map(AttachmentStatus::as_str),
                volume.status_reason(),
            ];
            ("volume", parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
        })
        .collect()
}

/// What this run changes of the task definition, a line each.
fn overrides(task: &Task) -> Vec<(String, String)> {
    let Some(overrides) = &task.overrides else { return Vec::new() };
    let mut lines = Vec::new();
    let mut add = |name: &str, value: &Option<String>| {
        lines.extend(value.as_ref().map(|value| (clean(name).into_owned(), value.clone())));
    };
    add("cpu", &overrides.cpu);
    add("memory", &overrides.memory);
    add("task role", &overrides.task_role_arn);
    add("execution role", &overrides.execution_role_arn);
    for container in &overrides.container_overrides {
        let name = container.name.as_deref().unwrap_or("–");
        add(name, &(!container.command.is_empty()).then(|| format!("command: {}", container.command.join(" "))));
        for variable in &container.environment {
            let (key, value) = (variable.name.as_deref().unwrap_or("–"), variable.value.as_deref().unwrap_or_default());
            add(name, &Some(format!("{key}={value}")));
        }
        add(name, &container.cpu.map(|cpu| format!("{cpu} CPU units")));
        add(name, &container.memory.map(|memory| format!("{memory} MiB of memory")));
    }
    lines
}
