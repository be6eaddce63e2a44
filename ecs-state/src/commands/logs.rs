//! `ecs-state logs`

use std::io::{self, Write};
use std::time::Duration;

use aws_config::SdkConfig;
use chrono::{DateTime, SecondsFormat};
use ecs_model::diagnosis::Diagnosis;
use ecs_model::{Container, Task};
use ecs_state_recorder::attributes::timestamp;
use ecs_state_recorder::aws_json::Service;
use serde::Deserialize;
use serde_json::json;

use super::task;
use crate::arguments::LogsArguments;
use crate::aws_cli;
use crate::connection::client;
use crate::failure::Failure;
use crate::json;
use crate::log_destination::{LogDestination, LogStream};
use crate::tables::Tables;
use crate::terminal::{DIM, clean, note};

const CLOUDWATCH_LOGS: Service = Service {
    name: "logs",
    target: "Logs_20140328",
    endpoint_variable: "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
    attempt_timeout: Duration::from_secs(10),
    attempts: 4,
};
/// How many pages are read at most: a page can be empty although older ones are not.
const PAGES: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    events: Vec<Event>,
    next_backward_token: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    /// In milliseconds since 1970.
    timestamp: i64,
    message: String,
}

pub(crate) async fn run(
    tables: &Tables,
    aws: &SdkConfig,
    profile: Option<&str>,
    arguments: &LogsArguments,
) -> Result<(), Failure> {
    let LogsArguments { id, cluster, container, lines, json, scan, .. } = arguments;
    let row = task::find(tables, id, cluster.as_deref(), *scan).await?;
    let task = &row.state;
    let container = choose(task, container.as_deref())?;
    let stream = match LogDestination::find(aws, task, container).await? {
        LogDestination::Stream(stream) => stream,
        LogDestination::Elsewhere(sentence) => return Err(Failure::Nothing(sentence)),
    };
    let LogStream { region, group, name } = &stream;
    let events = stream.last(aws, *lines).await?;
    if events.is_empty() {
        return Err(Failure::Nothing(format!("the log stream {name} in the log group {group} ({region}) is empty")));
    }
    let mut stdout = anstream::stdout().lock();
    events.iter().try_for_each(|event| event.write(&mut stdout, *json))?;
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
        match (&names[..], name) {
            ([], _) => Failure::Nothing("the task has no containers, so it has no log".to_owned()),
            (names, Some(name)) => {
                Failure::Usage(format!("the task has no container {name:?}: its containers are {}", names.join(", ")))
            }
            (names, None) => {
                Failure::Usage(format!("choose one of the task's containers with --container: {}", names.join(", ")))
            }
        }
    })
}

/// The container that the diagnosis is about, or else the only one that is not a sidecar.
pub(super) fn main_container(task: &Task) -> Option<&Container> {
    let name = Diagnosis::new(task).and_then(|diagnosis| diagnosis.container);
    let named = |container: &&Container| name.is_some() && container.name == name;
    let mut applications = task.containers.iter().filter(|container| !container.is_sidecar());
    let only = applications.next().filter(|_| applications.next().is_none());
    task.containers.iter().find(named).or(only)
}

impl LogStream {
    /// The last events, at most `count`, the oldest first.
    async fn last(&self, aws: &SdkConfig, count: u16) -> Result<Vec<Event>, Failure> {
        let Self { region, group, name } = self;
        let logs = client(aws, &CLOUDWATCH_LOGS, Some(region));
        let mut events: Vec<Event> = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES {
            let mut body = json!({"logGroupName": group, "logStreamName": name, "startFromHead": false});
            body["limit"] = (usize::from(count) - events.len()).into();
            body["nextToken"] = token.clone().into();
            let page: Page = logs.call("GetLogEvents", body.to_string()).await.map_err(|error| {
                if error.has_code("ResourceNotFoundException") {
                    return Failure::Nothing(format!(
                        "there is no log stream {name} in the log group {group} ({region}): the container has not \
                         started, or its log has been deleted"
                    ));
                }
                let service = "CloudWatch Logs";
                Failure::of_call(
                    &error,
                    service,
                    &CLOUDWATCH_LOGS,
                    "logs:GetLogEvents",
                    &format!("the log group {group}"),
                )
            })?;
            events.splice(0..0, page.events);
            // At the end of the stream, the token is the one that was sent.
            if events.len() >= count.into() || page.next_backward_token == token {
                break;
            }
            token = page.next_backward_token;
        }
        Ok(events)
    }
}

impl Event {
    /// Writes the time and the message, whose further lines are indented.
    fn write(&self, output: &mut dyn Write, as_json: bool) -> io::Result<()> {
        let time = DateTime::from_timestamp_millis(self.timestamp).unwrap_or_default();
        if as_json {
            return json::line(output, &json!({"timestamp": timestamp(time), "message": self.message}));
        }
        let mut start = time.format("%Y-%m-%d %H:%M:%S%.3fZ").to_string();
        for line in self.message.trim_end_matches(['\r', '\n']).split('\n') {
            // Tabs are harmless, and indent the lines of stack traces.
            let line: Vec<_> = line.trim_end_matches('\r').split('\t').map(clean).collect();
            writeln!(output, "{DIM}{start:24}{DIM:#}  {}", line.join("\t"))?;
            start.clear();
        }
        Ok(())
    }
}
