//! `ecs-state explain`

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};

use ecs_model::diagnosis::Diagnosis;
use ecs_model::{Task, tasks_from_json};
use ecs_state_recorder::state::stored::{Recorded, Stored};
use serde_json::{Deserializer, Value};

use super::stopped::{COLUMNS, cells};
use crate::arguments::ExplainArguments;
use crate::columns::Table;
use crate::failure::Failure;
use crate::terminal::{BOLD, clean, note, width};
use crate::{json, reason};

pub(crate) fn run(arguments: &ExplainArguments) -> Result<(), Failure> {
    let tasks = read(arguments)?;
    let count = tasks.len();
    let explained: Vec<(Task, Diagnosis)> =
        tasks.into_iter().filter_map(|task| Diagnosis::new(&task).map(|diagnosis| (task, diagnosis))).collect();
    if explained.is_empty() {
        return Err(Failure::Nothing(match count {
            0 => "the file has no task".to_owned(),
            1 => "the task has not stopped, nor is it being stopped".to_owned(),
            _ => format!("none of the {count} tasks has stopped, or is being stopped"),
        }));
    }
    let mut stdout = anstream::stdout().lock();
    match &explained[..] {
        [(task, diagnosis)] if !arguments.json => {
            writeln!(stdout, "{BOLD}{}{BOLD:#}", clean(&task.task_arn))?;
            reason::write(&mut stdout, task, diagnosis, width())?;
        }
        _ => {
            // How long ago a task stopped says nothing about a file.
            let mut table = Table::new(&COLUMNS[1..], width(), &mut stdout);
            for (task, diagnosis) in explained {
                let mut row = Stored { state: task, recorded: Recorded::default(), left_out: Vec::new() };
                if arguments.json {
                    json::hide(&mut row.state);
                    json::task(table.output(), &row, None, Some(&diagnosis))?;
                } else {
                    table.add(cells(&row, &diagnosis))?;
                }
            }
            table.flush()?;
        }
    }
    Ok(stdout.flush()?)
}

/// Reads the tasks of a file: of one JSON value, or of several.
fn read(arguments: &ExplainArguments) -> Result<Vec<Task>, Failure> {
    let (name, text) = if arguments.file.as_os_str() == "-" {
        if io::stdin().is_terminal() {
            note("reading from the terminal until Ctrl-D …");
        }
        ("standard input".to_owned(), io::read_to_string(io::stdin()))
    } else {
        (arguments.file.display().to_string(), fs::read_to_string(&arguments.file))
    };
    let text = text.map_err(|error| Failure::Usage(format!("{name} can't be read: {error}")))?;
    let mut tasks = Vec::new();
    for value in Deserializer::from_str(&text).into_iter::<Value>() {
        let wrong = |problem: String| {
            Failure::Usage(format!(
                "{name} must be an ECS event or the output of `aws ecs describe-tasks`, as JSON: {problem}"
            ))
        };
        let value = value.map_err(|error| wrong(error.to_string()))?;
        tasks.extend(tasks_from_json(&value).map_err(|error| wrong(error.to_string()))?);
    }
    Ok(tasks)
}
