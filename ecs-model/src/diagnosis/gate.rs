//! How a task ended decides which texts may explain it.
//!
//! Once an essential container has ended, the agent stops the others, with exit code 143, or 137 after the timeout:
//! they are not the cause unless all of them ended that way. Events don't say which container is essential. A
//! container's reason can be days old, of an image that could not be pulled but was cached, or about a sidecar whose
//! failure stopped nothing.

use std::ptr;

use super::codes::Code;
use super::codes::Ending::{self, ByItself, FromOutside, NeverStarted};
use super::report::{Attached, Ended, Report, Statement};
use crate::{HealthStatus, StopCode};

/// What explains a stop.
#[derive(Clone, Copy)]
pub(super) struct Finding<'s, 't> {
    pub(super) code: Code,
    /// The text that explains it.
    pub(super) statement: Option<&'s Statement<'t>>,
    /// The attachment that the text is about.
    pub(super) attached: Option<&'s Attached<'t>>,
    /// The container that it is about, if any.
    pub(super) ended: Option<&'s Ended<'t>>,
}

impl<'s, 't> Finding<'s, 't> {
    fn new(code: Code) -> Self {
        Self { code, statement: None, attached: None, ended: None }
    }

    pub(super) fn of_container(code: Code, ended: &'s Ended<'t>) -> Self {
        Self { statement: ended.reason.as_ref(), ..Self::new(code).about(ended) }
    }

    pub(super) fn of_attachment(code: Code, attached: &'s Attached<'t>) -> Self {
        Self { statement: Some(&attached.reason), attached: Some(attached), ..Self::new(code) }
    }

    fn about(self, ended: impl Into<Option<&'s Ended<'t>>>) -> Self {
        Self { ended: ended.into(), ..self }
    }
}

/// Finds what explains a stop.
pub(super) fn explain<'s, 't>(report: &'s Report<'t>) -> Finding<'s, 't> {
    let finding = report.by_sentence().or_else(|| match ending(report) {
        FromOutside => report.stopped_from_outside(),
        ByItself => report.ended_by_itself(),
        NeverStarted => report.never_started(),
    });
    finding.unwrap_or_else(|| {
        // A known text that explains nothing follows the sentence.
        let is_unknown = |statement: &&Statement| !statement.is_empty() && statement.code(|_| true).is_none();
        let statement = report.statements().find(is_unknown).or(report.reason.as_ref());
        Finding { statement, ..Finding::new(Code::Unknown) }
    })
}

/// How the task ended.
pub(super) fn ending(report: &Report) -> Ending {
    match report.stop_code {
        Some(StopCode::EssentialContainerExited) => ByItself,
        Some(StopCode::TaskFailedToStart) => NeverStarted,
        Some(_) => FromOutside,
        None if report.containers.iter().any(Ended::has_run) => ByItself,
        // This is also how it looks when a host vanishes.
        None if report.has_started() => FromOutside,
        None => NeverStarted,
    }
}

/// The three gates. Each tries the possible explanations in order of precedence.
impl<'t> Report<'t> {
    fn stopped_from_outside(&self) -> Option<Finding<'_, 't>> {
        if self.stop_code == Some(&StopCode::SpotInterruption) {
            return self.by_stop_code();
        }
        self.by_reason(FromOutside)
            .or_else(|| self.by_stop_code())
            .or_else(|| self.killed_while_stopping())
            .or_else(|| self.failed())
            .or_else(|| self.ended_while_stopping())
    }

    fn ended_by_itself(&self) -> Option<Finding<'_, 't>> {
        self.by_containers(ByItself, Ended::has_run)
            .or_else(|| self.out_of_memory())
            .or_else(|| self.failed())
            .or_else(|| if self.may_not_have_started() { self.by_start() } else { None })
            .or_else(|| self.finished())
            .or_else(|| self.stop_failed())
            .or_else(|| self.first(Code::Killed, Ended::was_killed))
            .or_else(|| self.first(Code::Terminated, Ended::was_terminated))
    }

    fn never_started(&self) -> Option<Finding<'_, 't>> {
        self.by_start()
            .or_else(|| self.never_placed())
            .or_else(|| self.failed())
            .or_else(|| self.dependency_failed())
            .or_else(|| self.finished())
            .or_else(|| self.stop_failed())
            .or_else(|| self.first(Code::Killed, Ended::was_killed))
    }
}

/// Explanations from texts.
impl<'t> Report<'t> {
    /// A whole sentence of ECS counts without a stop code, and even where a person could have written the reason.
    fn by_sentence(&self) -> Option<Finding<'_, 't>> {
        let is_asked = matches!(self.stop_code, None | Some(StopCode::UserInitiated));
        let reason = self.reason.as_ref().filter(|_| is_asked)?;
        Some(self.by_statement(Code::of_sentence(&reason.text)?, reason))
    }

    /// `stoppedReason`: first the codes of this ending, then all others.
    fn by_reason(&self, ending: Ending) -> Option<Finding<'_, 't>> {
        let is_free_text = self.stop_code == Some(&StopCode::UserInitiated);
        let reason = self.reason.as_ref().filter(|reason| !is_free_text && !reason.is_of_the_stop())?;
        let code = reason.code(|code| code.is_of(ending)).or_else(|| reason.code(|_| true))?;
        Some(self.by_statement(code, reason))
    }

    /// What kept the task from starting.
    fn by_start(&self) -> Option<Finding<'_, 't>> {
        self.by_reason(NeverStarted)
            .or_else(|| {
                let attached = self.attached.iter();
                attached
                    .filter_map(|attached| Some(Finding::of_attachment(attached.reason.start_code()?, attached)))
                    .min_by_key(|finding| finding.code)
            })
            .or_else(|| self.by_containers(NeverStarted, |ended| !ended.has_run()))
    }

    /// Containers' reasons: the first code, the application's before its sidecars'. If a sidecar stopped the task, all
    /// others have 143 or 137.
    fn by_containers(&self, ending: Ending, is_asked: impl Fn(&Ended<'t>) -> bool) -> Option<Finding<'_, 't>> {
        // Without any other container, a sidecar is the application.
        let has_application = self.containers.iter().any(|it| !it.is_sidecar);
        let others_were_stopped = |asked: &Ended<'t>| {
            let is_other = |it: &&Ended| !(ptr::eq(*it, asked) || (it.is_sidecar && has_application));
            self.containers.iter().filter(is_other).all(|it| !it.has_run() || it.was_stopped())
        };
        // A container that was killed for its memory has run, even without an exit code.
        let is_asked =
            |ended: &Ended<'t>| is_asked(ended) || ended.reason.as_ref().is_some_and(Statement::is_of_memory);
        let asked = self.containers.iter().filter(|it| is_asked(it) && (!it.is_sidecar || others_were_stopped(it)));
        let found = asked.filter_map(|ended| {
            let is_why = |reason: &&Statement| !reason.is_of_the_stop() && !reason.is_of_a_dependency();
            let code = ended.reason.as_ref().filter(is_why)?.code(|code| code.is_of(ending))?;
            Some((ended.is_sidecar, Finding::of_container(code, ended)))
        });
        found.min_by_key(|(is_sidecar, finding)| (*is_sidecar, finding.code)).map(|(_, finding)| finding)
    }

    /// On Fargate, the task has the reason, not the container.
    fn out_of_memory(&self) -> Option<Finding<'_, 't>> {
        let reason = self.reason.as_ref()?;
        Some(self.by_statement(reason.code(|code| code == Code::OutOfMemory)?, reason))
    }

    /// A container whose dependency failed for an unknown reason.
    fn dependency_failed(&self) -> Option<Finding<'_, 't>> {
        self.first(Code::ContainerStartFailed, |ended| ended.reason.as_ref().is_some_and(Statement::is_of_a_dependency))
            .and_then(|finding| Some(Finding::of_container(finding.code, finding.ended?)))
    }

    /// The runtime lost a container, so how it ended is unknown.
    fn vanished(&self) -> Option<Finding<'_, 't>> {
        let mut reasons = self.containers.iter().filter_map(|ended| ended.reason.as_ref());
        let statement = reasons.find(|reason| reason.is_of_a_vanished_container())?;
        Some(Finding { statement: Some(statement), ..Finding::new(Code::Unknown) })
    }

    /// How the stop went, if nothing explains it.
    fn stop_failed(&self) -> Option<Finding<'_, 't>> {
        self.first(Code::RuntimeTimeout, |ended| ended.reason.as_ref().is_some_and(Statement::is_of_the_stop))
            .and_then(|finding| Some(Finding::of_container(finding.code, finding.ended?)))
    }

    fn by_statement<'s>(&'s self, code: Code, statement: &'s Statement<'t>) -> Finding<'s, 't> {
        let ended = self.meant(code, &statement.text.plain);
        Finding { statement: Some(statement), ..Finding::new(code).about(ended) }
    }

    /// The container that a text about the task refers to.
    fn meant(&self, code: Code, text: &str) -> Option<&Ended<'t>> {
        let unhealthy = |ended: &&Ended| ended.container.health_status == Some(HealthStatus::Unhealthy);
        let with_image = |ended| Some((image_in(text, Ended::image(ended)?)?, ended));
        match code {
            Code::ImagePullFailed | Code::CommandNotFound | Code::ContainerStartFailed => {
                let named = self.containers.iter().filter_map(with_image).max_by_key(|(length, _)| *length);
                named.map(|(_, ended)| ended).or_else(|| self.only(|ended| !ended.is_sidecar))
            }
            Code::HealthCheckFailed => self.containers.iter().find(unhealthy),
            Code::OutOfMemory => self.containers.iter().find(|ended| ended.was_killed()),
            _ => return None,
        }
        .or_else(|| self.only(|_| true))
    }

    fn only(&self, is: impl Fn(&Ended) -> bool) -> Option<&Ended<'t>> {
        let mut found = self.containers.iter().filter(|ended| is(ended));
        found.next().filter(|_| found.next().is_none())
    }
}

/// Explanations from stop codes and exit codes.
impl<'t> Report<'t> {
    fn by_stop_code(&self) -> Option<Finding<'_, 't>> {
        let code = Code::of_stop_code(self.stop_code?.as_str())?;
        let has_instance = |reason: &Statement| reason.code(|code| code == Code::InstanceTerminated).is_some();
        let statement = self.reason.as_ref().filter(|reason| match code {
            Code::SpotInterruption => has_instance(reason),
            code => code == Code::StoppedByUser,
        });
        Some(Finding { statement, ..Finding::new(code) })
    }

    /// A task without containers has never been placed.
    fn never_placed(&self) -> Option<Finding<'_, 't>> {
        let is_it = self.containers.is_empty() && self.stop_code == Some(&StopCode::TaskFailedToStart);
        is_it.then(|| Finding::new(Code::CapacityUnavailable))
    }

    /// The container that failed by itself.
    fn failed(&self) -> Option<Finding<'_, 't>> {
        let code = |ended: &Ended| Code::of_exit_code(ended.exit_code.unwrap_or_default());
        let failed = self.containers.iter().filter(|ended| ended.has_failed());
        let ended = failed.min_by_key(|ended| (ended.is_sidecar, code(ended)))?;
        Some(Finding::new(code(ended)).about(ended))
    }

    /// The container that finished by itself, else one that was interrupted, which may have been a stop.
    fn finished(&self) -> Option<Finding<'_, 't>> {
        self.vanished()
            .or_else(|| self.first(Code::Finished, Ended::has_succeeded))
            .or_else(|| self.first(Code::ApplicationError, Ended::was_interrupted))
    }

    fn killed_while_stopping(&self) -> Option<Finding<'_, 't>> {
        if self.is_of_scheduler() { self.first(Code::KilledWhileStopping, Ended::was_killed) } else { None }
    }

    /// A container that handles SIGTERM may end with any code.
    fn ended_while_stopping(&self) -> Option<Finding<'_, 't>> {
        let ended = |is: fn(&Ended<'t>) -> bool| self.first(Code::Terminated, is);
        if self.is_of_scheduler() { ended(Ended::was_terminated).or_else(|| ended(Ended::has_run)) } else { None }
    }

    fn is_of_scheduler(&self) -> bool {
        self.stop_code == Some(&StopCode::ServiceSchedulerInitiated)
    }

    /// Whether something of the task did not run: it has no start time, or an exit code of the runtime itself.
    fn may_not_have_started(&self) -> bool {
        let is_of_runtime = |ended: &Ended| !ended.has_run() && ended.container.exit_code.is_some();
        !self.has_started() || self.containers.is_empty() || self.containers.iter().any(is_of_runtime)
    }

    fn first(&self, code: Code, is: impl Fn(&Ended<'t>) -> bool) -> Option<Finding<'_, 't>> {
        Some(Finding::new(code).about(self.containers.iter().find(|ended| is(ended))?))
    }
}

/// The length of an image's name in a text: the whole name, or without its tag and digest.
fn image_in(text: &str, image: &str) -> Option<usize> {
    let (text, image) = (text.to_ascii_lowercase(), image.to_ascii_lowercase());
    let is_name = |character: char| character.is_alphanumeric() || character == '-' || character == '_';
    let is_in = |name: &&str| {
        text.match_indices(name).any(|(at, _)| {
            let (before, after) = (&text[..at], &text[at + name.len()..]);
            !before.ends_with(|character| is_name(character) || character == '.') && !after.starts_with(is_name)
        })
    };
    let without_digest = image.split('@').next().unwrap_or(&image);
    let tag = without_digest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
    let names = [&*image, tag.map_or(without_digest, |(name, _)| name)];
    names.into_iter().filter(|name| !name.is_empty()).find(is_in).map(str::len)
}
