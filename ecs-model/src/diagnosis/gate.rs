//! How a task ended decides which texts may explain it.
//!
//! Once an essential container has ended, the agent stops the others, with exit code 143, or 137 after the timeout:
//! they are not the cause unless all containers ended so. A container's reason can be days old: an image that could not
//! be pulled, but was cached. And it can be about a sidecar whose failure stops nothing.

use super::codes::Code;
use super::codes::Ending::{self, ByItself, FromOutside, NeverStarted};
use super::said::{Attached, Ended, Said, Statement};
use crate::{HealthStatus, StopCode};

/// What explains a stop.
pub(super) struct Finding<'s, 't> {
    pub(super) code: Code,
    /// The text that tells it.
    pub(super) statement: Option<&'s Statement<'t>>,
    /// The attachment that the text is about.
    pub(super) attached: Option<&'s Attached<'t>>,
    /// The container that it is about.
    pub(super) ended: Option<&'s Ended<'t>>,
}

/// Finds what explains a stop.
pub(super) fn explain<'s, 't>(said: &'s Said<'t>) -> Finding<'s, 't> {
    said.by_sentence()
        .or_else(|| match ending(said) {
            FromOutside => said.stopped_from_outside(),
            ByItself => said.ended_by_itself(),
            NeverStarted => said.never_started(),
        })
        .unwrap_or(Finding { code: Code::Unknown, statement: None, attached: None, ended: None })
}

/// How the task ended.
pub(super) fn ending(said: &Said) -> Ending {
    match said.task.stop_code {
        Some(StopCode::EssentialContainerExited) => ByItself,
        Some(StopCode::TaskFailedToStart) => NeverStarted,
        Some(_) => FromOutside,
        None if said.containers.iter().any(|ended| ended.exit_code.is_some()) => ByItself,
        // A host that vanishes looks so.
        None if said.has_started() => FromOutside,
        None => NeverStarted,
    }
}

impl<'t> Said<'t> {
    fn stopped_from_outside(&self) -> Option<Finding<'_, 't>> {
        let by_stop_code = || of(Code::of_stop_code(self.task.stop_code.as_ref()?.as_str())?, None);
        if self.task.stop_code == Some(StopCode::SpotInterruption) {
            return by_stop_code();
        }
        self.by_reason(FromOutside)
            .or_else(by_stop_code)
            .or_else(|| self.killed_while_stopping())
            .or_else(|| self.failed())
            .or_else(|| self.stopped_by_scheduler())
    }

    fn ended_by_itself(&self) -> Option<Finding<'_, 't>> {
        let ran = |ended: &Ended| ended.exit_code.is_some();
        let out_of_memory = || self.reason.as_ref()?.code(|code| code == Code::OutOfMemory);
        self.by_containers(ByItself, ran)
            .or_else(|| self.by_statement(out_of_memory()?, self.reason.as_ref()?))
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
            .or_else(|| self.finished())
            .or_else(|| self.dependency_failed())
            .or_else(|| self.stop_failed())
            .or_else(|| self.first(Code::Killed, Ended::was_killed))
    }

    /// Without a stop code, or where a person could have written the reason, a whole sentence of ECS still counts.
    fn by_sentence(&self) -> Option<Finding<'_, 't>> {
        let reason = self.reason.as_ref()?;
        match self.task.stop_code {
            None | Some(StopCode::UserInitiated) => self.by_statement(Code::of_sentence(&reason.text)?, reason),
            _ => None,
        }
    }

    /// What `stoppedReason` tells: first of this ending, then of any.
    fn by_reason(&self, ending: Ending) -> Option<Finding<'_, 't>> {
        let reason = self.reason.as_ref().filter(|_| self.task.stop_code != Some(StopCode::UserInitiated))?;
        let code = reason.code(|code| code.is_of(ending)).or_else(|| reason.code(|_| true))?;
        if reason.is_of_the_stop() { None } else { self.by_statement(code, reason) }
    }

    /// What kept the task from starting.
    fn by_start(&self) -> Option<Finding<'_, 't>> {
        let never_ran = |ended: &Ended| ended.exit_code.is_none();
        self.by_reason(NeverStarted)
            .or_else(|| {
                let told = |attached: &'_ Attached| attached.reason.code(|code| code.is_of(NeverStarted));
                let (code, attached) = self
                    .attached
                    .iter()
                    .filter_map(|attached| Some((told(attached)?, attached)))
                    .min_by_key(|(code, _)| *code)?;
                Some(Finding { code, statement: Some(&attached.reason), attached: Some(attached), ended: None })
            })
            .or_else(|| self.by_containers(NeverStarted, never_ran))
    }

    /// What containers' reasons tell: the first code, and of the application before its sidecars. A sidecar whose end
    /// stopped the others left them with 143 or 137.
    fn by_containers(&self, ending: Ending, which: impl Fn(&Ended<'t>) -> bool) -> Option<Finding<'_, 't>> {
        let others_were_stopped =
            self.containers.iter().all(|ended| ended.is_sidecar || ended.exit_code.is_none() || ended.was_stopped());
        self.containers
            .iter()
            .filter(|ended| which(ended) && (!ended.is_sidecar || others_were_stopped))
            .filter_map(|ended| {
                let reason =
                    ended.reason.as_ref().filter(|reason| !reason.is_of_the_stop() && !reason.is_of_a_dependency())?;
                let code = reason.code(|code| code.is_of(ending))?;
                Some(Finding { code, statement: Some(reason), attached: None, ended: Some(ended) })
            })
            .min_by_key(|finding| (finding.ended.is_some_and(|ended| ended.is_sidecar), finding.code))
    }

    fn by_statement<'s>(&'s self, code: Code, statement: &'s Statement<'t>) -> Option<Finding<'s, 't>> {
        Some(Finding {
            code,
            statement: Some(statement),
            attached: None,
            ended: self.meant(code, &statement.text.plain),
        })
    }

    /// The container that a text about the task means.
    fn meant(&self, code: Code, text: &str) -> Option<&Ended<'t>> {
        let killed = || self.containers.iter().find(|ended| ended.was_killed());
        let unhealthy = |ended: &&Ended| ended.container.health_status == Some(HealthStatus::Unhealthy);
        match code {
            Code::ImagePullFailed | Code::CommandNotFound | Code::ContainerStartFailed => self
                .containers
                .iter()
                .filter_map(|ended| Some((image_in(text, ended.container.image.as_deref()?)?, ended)))
                .max_by_key(|(length, _)| *length)
                .map(|(_, ended)| ended)
                .or_else(|| self.only(|ended| !ended.is_sidecar))
                .or_else(|| self.only(|_| true)),
            Code::HealthCheckFailed => self.containers.iter().find(unhealthy).or_else(|| self.only(|_| true)),
            Code::OutOfMemory => killed().or_else(|| self.only(|_| true)),
            _ => None,
        }
    }

    fn only(&self, is: impl Fn(&Ended<'t>) -> bool) -> Option<&Ended<'t>> {
        let mut found = self.containers.iter().filter(|ended| is(ended));
        found.next().filter(|_| found.next().is_none())
    }

    /// The container that ended by itself, and not well.
    fn failed(&self) -> Option<Finding<'_, 't>> {
        let code = |ended: &Ended| Code::of_exit_code(ended.exit_code.unwrap_or_default());
        let failed = self.containers.iter().filter(|ended| ended.has_failed());
        let ended = failed.min_by_key(|ended| (ended.is_sidecar, code(ended)))?;
        of(code(ended), Some(ended))
    }

    /// The container that ended by itself, and well. An interrupt counts as an end of its own if there is no other.
    fn finished(&self) -> Option<Finding<'_, 't>> {
        self.first(Code::Finished, Ended::has_succeeded)
            .or_else(|| self.first(Code::ApplicationError, Ended::was_interrupted))
    }

    fn first(&self, code: Code, is: impl Fn(&Ended<'t>) -> bool) -> Option<Finding<'_, 't>> {
        of(code, Some(self.containers.iter().find(|ended| is(ended))?))
    }

    /// Whether nothing shows that the task ran.
    fn may_not_have_started(&self) -> bool {
        !self.has_started()
            || self.containers.iter().all(|ended| ended.exit_code.is_none() && ended.container.exit_code.is_some())
    }

    fn never_placed(&self) -> Option<Finding<'_, 't>> {
        let is = self.containers.is_empty() && self.task.stop_code == Some(StopCode::TaskFailedToStart);
        is.then(|| of(Code::CapacityUnavailable, None)).flatten()
    }

    /// The last resort of a text: a dependency whose own end is not told.
    fn dependency_failed(&self) -> Option<Finding<'_, 't>> {
        self.told_so(Code::ContainerStartFailed, Statement::is_of_a_dependency)
    }

    fn stop_failed(&self) -> Option<Finding<'_, 't>> {
        self.told_so(Code::RuntimeTimeout, Statement::is_of_the_stop)
    }

    fn told_so(&self, code: Code, is: impl Fn(&Statement<'t>) -> bool) -> Option<Finding<'_, 't>> {
        self.containers.iter().find_map(|ended| {
            let statement = ended.reason.as_ref().filter(|reason| is(reason))?;
            Some(Finding { code, statement: Some(statement), attached: None, ended: Some(ended) })
        })
    }

    fn is_of_scheduler(&self) -> bool {
        self.task.stop_code == Some(StopCode::ServiceSchedulerInitiated)
    }

    fn killed_while_stopping(&self) -> Option<Finding<'_, 't>> {
        if self.is_of_scheduler() { self.first(Code::KilledWhileStopping, Ended::was_killed) } else { None }
    }

    /// A container that handles SIGTERM may end with 0.
    fn stopped_by_scheduler(&self) -> Option<Finding<'_, 't>> {
        if !self.is_of_scheduler() {
            return None;
        }
        self.first(Code::Terminated, Ended::was_terminated)
            .or_else(|| self.first(Code::Terminated, |ended| ended.has_succeeded() || ended.was_interrupted()))
    }
}

#[expect(clippy::unnecessary_wraps, reason = "one of several findings that may be")]
fn of<'s, 't>(code: Code, ended: Option<&'s Ended<'t>>) -> Option<Finding<'s, 't>> {
    Some(Finding { code, statement: None, attached: None, ended })
}

/// How much of an image's name a text contains: all, or all but its tag or digest.
fn image_in(text: &str, image: &str) -> Option<usize> {
    let untagged = image.split('@').next().unwrap_or(image);
    let untagged = untagged
        .rfind(':')
        .filter(|colon| !untagged[*colon..].contains('/'))
        .map_or(untagged, |colon| &untagged[..colon]);
    [image, untagged].into_iter().filter(|name| !name.is_empty()).find_map(|name| {
        let is_name =
            |character: char| character.is_alphanumeric() || character == '-' || character == '_' || character == '.';
        text.match_indices(name)
            .any(|(at, _)| {
                !text[..at].ends_with(is_name)
                    && !text[at + name.len()..].starts_with(|character| is_name(character) && character != '.')
            })
            .then_some(name.len())
    })
}
