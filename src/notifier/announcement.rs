//! The event that announces a stop. Its form is an interface: docs/task-stopped.schema.json.
//!
//! Only the fields below are in it, so nothing that a person or a program wrote into an environment variable, a command
//! or a reason is. Each text has a limit, so an event is never too large.

use std::fmt::Write as _;

use ecs_model::StopCode;
use serde_json::{Value, json};

use super::history::{WINDOW, window};
use super::news::Stop;
use super::noise::Standing;
use crate::attributes::timestamp;
use crate::aws::is_error_code;
use crate::safe_text::clean;

/// The `source` of the event.
pub const SOURCE: &str = "ecs-state-recorder";
/// The `detail-type` of the event.
pub const DETAIL_TYPE: &str = "ECS Task Stopped";
/// A higher version breaks consumers of this one.
const SCHEMA_VERSION: &str = "1";

/// The limits of texts, in bytes. ARNs of ECS have at most 500; the task's is the identity, and never shortened.
const MAX_ARN: usize = 1024;
const MAX_NAME: usize = 256;
const MAX_SENTENCE: usize = 2048;

/// The `detail` of the event about a stop.
pub fn detail(stop: &Stop, standing: &Standing) -> Value {
    let Stop { task, diagnosis, stopped_at, .. } = stop;
    let arn = |arn: &Option<String>| arn.as_deref().map(|arn| short(arn, MAX_ARN));
    let name = |name: Option<&str>| name.map(|name| short(name, MAX_NAME));
    let container = diagnosis.container.as_deref();
    let ended = task.containers.iter().find(|ended| container.is_some() && ended.name.as_deref() == container);
    json!({
        "schemaVersion": SCHEMA_VERSION,
        "taskArn": task.task_arn,
        "taskVersion": task.version,
        "clusterArn": arn(&task.cluster_arn),
        "cluster": name(task.cluster_name()),
        "group": name(task.group.as_deref()),
        "taskDefinitionArn": arn(&task.task_definition_arn),
        "startedBy": name(task.started_by.as_deref()),
        "startedAt": task.started_at.map(timestamp),
        "stoppedAt": timestamp(*stopped_at),
        "stopCode": task.stop_code.as_ref().map(StopCode::as_str).filter(|code| is_error_code(code)),
        "exitCode": ended.and_then(|container| container.exit_code),
        "code": diagnosis.code,
        "cause": diagnosis.cause,
        "summary": short(diagnosis.redacted_summary(), MAX_SENTENCE),
        "actor": diagnosis.actor,
        "advice": short(&diagnosis.advice, MAX_SENTENCE),
        "transient": diagnosis.transient,
        "container": name(container),
        "kind": diagnosis.kind(),
        "notify": standing.notify,
        "count": standing.count,
        "previousStoppedAt": standing.previous_stopped_at.map(timestamp),
        "isCrashLoop": standing.is_crash_loop,
        "chat": chat(stop, standing),
    })
}

/// A [custom notification] of Amazon Q Developer in chat applications.
///
/// [custom notification]: https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html
fn chat(stop: &Stop, standing: &Standing) -> Value {
    let Stop { task, diagnosis, stopped_at, .. } = stop;
    let cluster = short(task.cluster_name().unwrap_or("an unknown cluster"), MAX_NAME);
    let group = short(task.service_name().or(task.group.as_deref()).unwrap_or("a task"), MAX_NAME);
    let how = match standing {
        Standing { is_crash_loop: true, .. } => "crash loop: ",
        Standing { is_still: true, .. } => "still ",
        _ => "",
    };
    let title = markdown(&format!("{group} in {cluster}: {how}{}", diagnosis.code));
    let mut description = sentence(&short(diagnosis.redacted_summary(), MAX_SENTENCE));
    // Writing to a string never fails.
    let _ = write!(description, "\nTask {}.", markdown(&short(task.id(), MAX_NAME)));
    let since = window(*stopped_at).format("%H:%M");
    if let Some(count @ 2..) = standing.count {
        let _ = write!(description, " {count} such stops since {since} UTC.");
    }
    if standing.is_still {
        let _ = write!(description, " It also happened in the {} hours before {since} UTC.", WINDOW.num_hours());
    }
    let thread = [(&task.cluster_arn, MAX_ARN), (&task.group, MAX_NAME)]
        .map(|(text, bytes)| short(text.as_deref().unwrap_or_default(), bytes))
        .join("/");
    json!({
        "version": "1.0",
        "source": "custom",
        "content": {
            "textType": "client-markdown",
            "title": title,
            "description": description,
            "nextSteps": [markdown(&short(&diagnosis.advice, MAX_SENTENCE))],
            "keywords": [diagnosis.code.as_str(), diagnosis.actor.as_str()],
        },
        "metadata": {
            "threadId": thread,
            "summary": title,
            "eventType": DETAIL_TYPE,
            "relatedResources": [task.task_arn],
        },
    })
}

/// Starts a clause with a capital letter.
fn sentence(clause: &str) -> String {
    let mut rest = clause.chars();
    let first: String = rest.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", markdown(rest.as_str()))
}

/// A text without control characters, and at most this long.
fn short(text: &str, bytes: usize) -> String {
    const ELLIPSIS: &str = "…";
    match clean(text) {
        text if text.len() <= bytes => text.into_owned(),
        text => format!("{}{ELLIPSIS}", &text[..text.floor_char_boundary(bytes - ELLIPSIS.len())]),
    }
}

/// Escapes what Slack's or Teams' Markdown would interpret: `<!channel>`, links, emphasis, code. An underscore within a
/// word is harmless, and Slack would show its backslash.
///
/// Source: <https://docs.slack.dev/messaging/formatting-message-text>
fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut after_letter = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let in_word = after_letter && characters.peek().is_some_and(|next| next.is_alphanumeric());
        after_letter = character.is_alphanumeric();
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '_' if in_word => escaped.push('_'),
            '\\' | '`' | '*' | '_' | '~' | '[' | ']' | '|' | '#' => escaped.extend(['\\', character]),
            other => escaped.push(other),
        }
    }
    escaped
}
