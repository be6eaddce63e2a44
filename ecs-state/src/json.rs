//! JSON for programs: one object per line, with ECS's own field names.

use std::fmt::Write as _;
use std::io::{self, Write};

use ecs_model::diagnosis::Diagnosis;
use ecs_model::{ContainerInstance, Task, TaskStatus};
use ecs_state_recorder::state::redaction::REDACTED;
use ecs_state_recorder::state::stored::{Recorded, Stored};
use serde::Serialize;

use crate::terminal::{is_safe, is_unsafe};

/// Shown in place of a value that may be secret.
pub(crate) const HIDDEN: &str = "[hidden]";

#[derive(Serialize)]
struct Line<'r, T> {
    #[serde(flatten)]
    state: &'r T,
    #[serde(flatten)]
    recorded: &'r Recorded,
    #[serde(rename = "statusAt", skip_serializing_if = "Option::is_none")]
    status_at: Option<&'r TaskStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnosis: Option<&'r Diagnosis>,
}

/// Writes a task, with its status at a time if one is asked for.
pub(crate) fn task(
    output: &mut dyn Write,
    row: &Stored<Task>,
    status_at: Option<&TaskStatus>,
    diagnosis: Option<&Diagnosis>,
) -> io::Result<()> {
    line(output, &Line { state: &row.state, recorded: &row.recorded, status_at, diagnosis })
}

pub(crate) fn instance(output: &mut dyn Write, row: &Stored<ContainerInstance>) -> io::Result<()> {
    line(output, &Line { state: &row.state, recorded: &row.recorded, status_at: None, diagnosis: None })
}

/// Writes an object. Terminal control characters are escaped, which does not change the JSON value.
pub(crate) fn line(output: &mut dyn Write, object: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_string(object)?;
    if is_safe(&json) {
        return writeln!(output, "{json}");
    }
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if is_unsafe(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
    }
    writeln!(output, "{escaped}")
}

/// Hides overridden environment variables and commands, which may be secret. Names stay.
pub(crate) fn hide(task: &mut Task) {
    let Some(overrides) = &mut task.overrides else { return };
    overrides.other.values_mut().for_each(|value| *value = HIDDEN.into());
    let mut containers = overrides.container_overrides.to_vec();
    for container in &mut containers {
        let mut environment = container.environment.to_vec();
        for variable in &mut environment {
            if variable.value.as_ref().is_some_and(|value| value != REDACTED) {
                variable.value = Some(HIDDEN.to_owned());
            }
            variable.other.values_mut().for_each(|value| *value = HIDDEN.into());
        }
        if !container.environment.is_absent() {
            container.environment = environment.into();
        }
        // Fields that this version does not know may be secret, too.
        container.other.values_mut().for_each(|value| *value = HIDDEN.into());
        if !container.command.is_empty() {
            container.command = vec![HIDDEN.to_owned()].into();
        }
    }
    if !overrides.container_overrides.is_absent() {
        overrides.container_overrides = containers.into();
    }
}
