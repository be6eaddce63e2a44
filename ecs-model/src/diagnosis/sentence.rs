//! The sentence about a stop: what explains it, then everything else that ECS says.

use std::ptr;

use super::causes::Cause;
use super::clause::{Clause, named, slow_stop};
use super::codes::{Code, Ending};
use super::gate::{self, Finding};
use super::report::{Attached, Ended, Report, Statement};
use crate::StopCode;

pub(super) struct Sentence {
    pub(super) summary: String,
    /// Without what a person or a program wrote, which may contain secrets: the reason of a call of `StopTask`,
    /// commands, and unrecognized texts.
    pub(super) redacted_summary: String,
    pub(super) advice: String,
}

/// A part of a sentence. Redacted, it is absent if a person or a program wrote it.
struct Remark {
    text: String,
    redacted: Option<String>,
}

impl Sentence {
    pub(super) fn new(report: &Report, finding: &Finding, cause: Option<Cause>) -> Self {
        let main = Clause::about(report, finding, cause);
        let mut summary = vec![main.summary];
        let (redacted, advice) = if report.stop_code == Some(&StopCode::UserInitiated) {
            // A person can write a sentence of ECS, too.
            let trusted = Clause::about(report, &Finding { statement: None, ..*finding }, cause);
            (trusted.redacted, trusted.advice)
        } else {
            (main.redacted, main.advice)
        };
        let mut redacted = vec![redacted];
        for remark in remarks(report, finding) {
            summary.push(remark.text);
            redacted.extend(remark.redacted);
        }
        let begin = if report.task.is_stopping() { "the task is being stopped: " } else { "" };
        let [summary, redacted_summary] = [summary, redacted].map(|clauses| format!("{begin}{}", clauses.join("; ")));
        Self { summary, redacted_summary, advice }
    }
}

fn remarks(report: &Report, finding: &Finding) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let is_new = |reason: &&Statement| !finding.statement.is_some_and(|main| ptr::eq(main, *reason));
    for ended in &report.containers {
        let reason = ended.reason.as_ref().filter(is_new);
        remarks.extend(reason.and_then(|reason| of_reason(report, ended, reason, finding.code)));
        let is_main = finding.ended.is_some_and(|main| ptr::eq(main, ended));
        remarks.extend(if is_main { None } else { of_exit_code(report, ended) });
    }
    let attached = report.attached.iter().filter(|attached| is_new(&&attached.reason));
    remarks.extend(attached.map(|attached| of_attachment(report, attached)));
    let reason = report.reason.as_ref().filter(is_new);
    let reason = reason.filter(|reason| !reason.is_empty() && reason.code(|code| code == finding.code).is_none());
    remarks.extend(reason.map(|reason| Remark::quote(None, reason)));
    remarks
}

fn of_reason(report: &Report, ended: &Ended, reason: &Statement, explained: Code) -> Option<Remark> {
    if reason.is_of_the_stop() {
        return (explained != Code::RuntimeTimeout).then(|| Remark::fact(slow_stop(ended.name())));
    }
    let Some(code) = reason.start_code() else {
        return Some(Remark::quote(ended.name(), reason));
    };
    let remark = Remark::explain(report, &Finding::of_container(code, ended), reason);
    // A container that ran in spite of what failed.
    let is_old = ended.has_run() && !code.is_of(Ending::ByItself);
    let earlier = |text: String| format!("earlier, {text}");
    Some(if is_old { Remark { text: earlier(remark.text), redacted: remark.redacted.map(earlier) } } else { remark })
}

fn of_exit_code(report: &Report, ended: &Ended) -> Option<Remark> {
    let exit_code = ended.exit_code?;
    let explains = |reason: &Statement| reason.is_of_the_stop() || reason.is_of_memory();
    if ended.reason.as_ref().is_some_and(explains) {
        return None;
    }
    let container = named("a", "container", ended.name());
    let was_a_stop =
        || gate::ending(report) == Ending::FromOutside || !report.containers.iter().all(Ended::was_stopped);
    if ended.was_killed() && was_a_stop() {
        return Some(Remark::fact(format!("{container} did not end on SIGTERM and was killed (exit code 137)")));
    }
    (ended.has_failed() || ended.was_killed())
        .then(|| Remark::fact(format!("{container} ended with exit code {exit_code}")))
}

fn of_attachment(report: &Report, attached: &Attached) -> Remark {
    let reason = &attached.reason;
    match reason.start_code() {
        Some(code) => Remark::explain(report, &Finding::of_attachment(code, attached), reason),
        None => Remark::quote(None, reason),
    }
}

impl Remark {
    fn fact(text: String) -> Self {
        Self { redacted: Some(text.clone()), text }
    }

    fn quote(container: Option<&str>, statement: &Statement) -> Self {
        let about = container.map_or(String::new(), |name| format!(" of container {name:?}"));
        Self { text: format!("ECS says{about}: {:?}", statement.text.shown), redacted: None }
    }

    fn explain(report: &Report, finding: &Finding, reason: &Statement) -> Self {
        let clause = Clause::about(report, finding, Cause::of(finding.code, [&reason.text].into_iter()));
        Self { text: clause.summary, redacted: Some(clause.redacted) }
    }
}
