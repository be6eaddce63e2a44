//! Why a task stopped, or is being stopped, in a few lines.

use std::io::{self, Write};

use ecs_model::Task;
use ecs_model::diagnosis::Diagnosis;

use crate::cells::{code_style, reason};
use crate::columns::{fields, heading, wrap};
use crate::terminal::{PLAIN, clean};

/// Writes the diagnosis, what to do, and what ECS says.
pub(crate) fn write(
    output: &mut dyn Write,
    task: &Task,
    diagnosis: &Diagnosis,
    width: Option<usize>,
) -> io::Result<()> {
    heading(output, if task.is_stopping() { "Why it is being stopped" } else { "Why it stopped" })?;
    let code = reason(diagnosis.code, diagnosis.cause);
    let sentence = format!("{code}: {}", clean(&diagnosis.summary));
    let room = width.unwrap_or(usize::MAX).saturating_sub(2).max(20);
    for (number, line) in wrap(&sentence, room).iter().enumerate() {
        let style = if number == 0 { code_style(diagnosis.code, diagnosis.kind()) } else { PLAIN };
        let (code, rest) = line.split_at_checked(code.len()).filter(|_| number == 0).unwrap_or(("", line));
        writeln!(output, "  {style}{code}{style:#}{rest}")?;
    }
    let transient = diagnosis.transient.map_or("unknown", |is| if is { "yes" } else { "no" });
    let mut facts = vec![
        ("what to do", diagnosis.advice.clone()),
        ("who can act", diagnosis.actor.to_string()),
        ("a retry may help", transient.to_owned()),
    ];
    facts.extend(task.stop_code.as_ref().map(|code| ("stop code", code.to_string())));
    facts.extend(task.stopped_reason.as_ref().map(|reason| ("stopped reason", reason.clone())));
    let evidence = diagnosis.evidence.as_ref().filter(|text| Some(*text) != task.stopped_reason.as_ref());
    facts.extend(evidence.map(|text| ("evidence", text.clone())));
    fields(output, &facts, width)
}
