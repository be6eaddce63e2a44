//! `ecs-state logs`

use std::io::{self, Write};

use aws_config::SdkConfig;
use chrono::{DateTime, SecondsFormat};
use ecs_model::{Container, Task};
use ecs_state_recorder::attributes::timestamp;
use serde_json::json;

use crate::arguments::{LogsArguments, PlainOutput};
use crate::aws_cli;
use crate::failure::Failure;
use crate::json;
use crate::log_stream::{Event, LogStream};
use crate::one_task::{self, main_container};
use crate::tables::Tables;
use crate::terminal::{DIM, clean, note};

pub(crate) async fn run(
    tables: &Tables,
    aws: &SdkConfig,
    profile: Option<&str>,
    arguments: &LogsArguments,
) -> Result<(), Failure> {
    let LogsArguments { task, container, lines, output: PlainOutput { json, scan }, .. } = arguments;
    let row = one_task::find(tables, task, *scan).await?;
    let task = &row.state;
    let container = choose(task, container.as_deref())?;
    let stream = LogStream::find(aws, task, container).await?;
    let LogStream { region, group, name } = &stream;
    let events = stream.last(aws, *lines).await?;
    if events.is_empty() {
        return Err(Failure::Nothing(format!("the log stream {name} in the log group {group} ({region}) is empty")));
    }
    let mut stdout = anstream::stdout().lock();
    events.iter().try_for_each(|event| write(event, &mut stdout, *json))?;
    stdout.flush()?;
    let created = task.created_at.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
    let mut words = vec!["logs", "tail", group, "--log-stream-names", name];
    match &created {
        Some(created) if task.is_stopped() => words.extend(["--since", created]),
        _ => words.push("--follow"),
    }
    let what = if task.is_stopped() { "the whole log" } else { "to follow it" };
    note(&format!(
        "note: from CloudWatch Logs, found through ECS, not from the tables; {what}:\n  {}",
        aws_cli::command(&words, region, profile)
    ));
    Ok(())
}

/// The container with this name, or else the one that the task is mainly about.
fn choose<'t>(task: &'t Task, name: Option<&str>) -> Result<&'t Container, Failure> {
    let found = match name {
        Some(name) => task.containers.iter().find(|container| container.name.as_deref() == Some(name)),
        None => main_container(task),
    };
    found.ok_or_else(|| {
        let names: Vec<&str> = task.containers.iter().filter_map(|container| container.name.as_deref()).collect();
        let all = names.join(", ");
        match name {
            _ if names.is_empty() => Failure::Nothing("the task has no containers, so it has no log".to_owned()),
            Some(name) => Failure::Usage(format!("the task has no container {name:?}: its containers are {all}")),
            None => Failure::Usage(format!("choose one of the task's containers with --container: {all}")),
        }
    })
}

/// Writes the time and the message of an event. The message's further lines are indented.
fn write(event: &Event, output: &mut dyn Write, as_json: bool) -> io::Result<()> {
    let time = DateTime::from_timestamp_millis(event.timestamp).unwrap_or_default();
    if as_json {
        return json::line(output, &json!({"timestamp": timestamp(time), "message": event.message}));
    }
    let mut start = time.format("%Y-%m-%d %H:%M:%S%.3fZ").to_string();
    for line in event.message.trim_end_matches(['\r', '\n']).split('\n') {
        // Tabs are harmless, and indent the lines of stack traces.
        let line: Vec<_> = line.trim_end_matches('\r').split('\t').map(clean).collect();
        writeln!(output, "{DIM}{start:24}{DIM:#}  {}", line.join("\t"))?;
        start.clear();
    }
    Ok(())
}
