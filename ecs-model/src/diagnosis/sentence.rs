//! What is said of a stop: a clause with its facts for what explains it, and one for each other thing that ECS says.
//!
//! There are two renderings of the same facts. The redacted one leaves out what a person or a program wrote, which may
//! hold secrets: the reason of a call of `StopTask`, commands, and texts that are not known here.

use std::fmt::{Display, Formatter, Result as FmtResult};
use std::ptr;

use super::causes::Cause;
use super::codes::{Code, Ending};
use super::facts::Facts;
use super::failure::{Subject, Why};
use super::gate::{self, Finding};
use super::said::{Attached, Ended, Said, Statement};
use crate::StopCode;
use crate::arn::last_part;

/// A container's name.
type Name<'x> = Option<&'x str>;

pub(super) struct Sentence<'x> {
    is_stopping: bool,
    pub(super) main: Clause<'x>,
    remarks: Vec<Remark<'x>>,
}

/// What explains a stop.
pub(super) enum Clause<'x> {
    OutOfMemory { container: Name<'x>, memory: Option<u64>, task_memory: Option<u64> },
    Failed { subject: Subject<'x>, why: Why<'x> },
    SlowProvisioning(Subject<'x>),
    CommandNotFound { container: Name<'x>, command: Option<&'x str>, is_missing: bool, exit_code: Option<i64> },
    RuntimeTimeout { container: Name<'x>, is_fargate: bool },
    StopTimedOut { container: Name<'x> },
    Crashed { container: Name<'x>, exit_code: i64 },
    Killed { container: Name<'x> },
    Terminated { container: Name<'x>, exit_code: i64 },
    ApplicationError { container: Name<'x>, exit_code: i64 },
    Finished { container: Name<'x>, service: Option<&'x str> },
    LoadBalancerUnhealthy { target: Option<&'x str> },
    HealthCheckFailed { container: Name<'x> },
    ScaledIn { service: Option<&'x str> },
    InstanceTerminated { instance: Option<&'x str> },
    InstanceDeregistered { instance: Option<&'x str> },
    HostMaintenance,
    SpotInterruption { instance: Option<&'x str>, has_started: bool },
    HostLeaving { instance: Option<&'x str>, stop_code: Option<&'x StopCode> },
    StoppedByUser { reason: Option<&'x str> },
    KilledWhileStopping { container: Name<'x> },
    Unknown { text: Option<&'x str> },
}

/// What ECS says besides.
enum Remark<'x> {
    /// What would explain a stop, of something that did not.
    Clause(Clause<'x>),
    /// The same, of a container that ran in spite of it.
    Earlier(Clause<'x>),
    NotOnSigterm {
        container: Name<'x>,
    },
    ExitCode {
        container: Name<'x>,
        exit_code: i64,
    },
    Text {
        container: Name<'x>,
        text: &'x str,
    },
}

impl<'x> Sentence<'x> {
    /// `trusts_reason`: whether facts are drawn from `stoppedReason`.
    pub(super) fn new(
        said: &'x Said<'_>,
        finding: &Finding<'x, '_>,
        cause: Option<Cause>,
        trusts_reason: bool,
    ) -> Self {
        let main = clause(said, finding, cause, trusts_reason);
        let mut remarks = Vec::new();
        let is_new = |reason: &&Statement| !finding.statement.is_some_and(|main| ptr::eq(main, *reason));
        for ended in &said.containers {
            let reason = ended.reason.as_ref().filter(is_new);
            remarks.extend(reason.and_then(|reason| of_reason(said, ended, reason, finding.code)));
            let is_main = finding.ended.is_some_and(|main| ptr::eq(main, ended));
            remarks.extend(if is_main { None } else { of_exit_code(said, ended) });
        }
        let attached = said.attached.iter().filter(|attached| is_new(&&attached.reason));
        remarks.extend(attached.map(|attached| of_attachment(said, attached)));
        let reason = said.reason.as_ref().filter(is_new);
        let reason = reason.filter(|reason| !reason.is_empty() && reason.code(|code| code == finding.code).is_none());
        remarks.extend(reason.map(|reason| Remark::Text { container: None, text: reason.text.raw }));
        Self { is_stopping: said.task.is_stopping(), main, remarks }
    }

    /// Renders it whole, or without what a person or a program wrote.
    pub(super) fn render(&self, is_redacted: bool) -> String {
        let begin = if self.is_stopping { "the task is being stopped: " } else { "" };
        let mut sentence = format!("{begin}{}", Rendering { of: &self.main, is_redacted });
        for remark in &self.remarks {
            if !(is_redacted && matches!(remark, Remark::Text { .. })) {
                sentence += "; ";
                sentence += &Rendering { of: remark, is_redacted }.to_string();
            }
        }
        sentence
    }
}

fn of_reason<'x>(
    said: &'x Said<'_>,
    ended: &'x Ended<'_>,
    reason: &'x Statement<'_>,
    explained: Code,
) -> Option<Remark<'x>> {
    let container = ended.name();
    if reason.is_of_the_stop() {
        let clause = Clause::StopTimedOut { container };
        return (explained != Code::RuntimeTimeout).then_some(Remark::Clause(clause));
    }
    let Some(code) = reason.start_code() else {
        return Some(Remark::Text { container, text: reason.text.raw });
    };
    let cause = Cause::of(code, [&reason.text].into_iter());
    let told = clause(said, &Finding::of_container(code, ended), cause, true);
    let is_old = ended.has_run() && matches!(told, Clause::Failed { .. });
    Some(if is_old { Remark::Earlier(told) } else { Remark::Clause(told) })
}

fn of_exit_code<'x>(said: &Said<'_>, ended: &Ended<'x>) -> Option<Remark<'x>> {
    let (container, exit_code) = (ended.name(), ended.exit_code?);
    let explains = |reason: &Statement| reason.is_of_the_stop() || reason.is_of_memory();
    if ended.reason.as_ref().is_some_and(explains) {
        return None;
    }
    let was_a_stop = || gate::ending(said) == Ending::FromOutside || !said.containers.iter().all(Ended::was_stopped);
    if ended.was_killed() && was_a_stop() {
        return Some(Remark::NotOnSigterm { container });
    }
    (ended.has_failed() || ended.was_killed()).then_some(Remark::ExitCode { container, exit_code })
}

fn of_attachment<'x>(said: &'x Said<'_>, attached: &'x Attached<'_>) -> Remark<'x> {
    let reason = &attached.reason;
    let Some(code) = reason.start_code() else {
        return Remark::Text { container: None, text: reason.text.raw };
    };
    let cause = Cause::of(code, [&reason.text].into_iter());
    Remark::Clause(clause(said, &Finding::of_attachment(code, attached), cause, true))
}

fn clause<'x>(said: &'x Said<'_>, finding: &Finding<'x, '_>, cause: Option<Cause>, trusts_reason: bool) -> Clause<'x> {
    let task = said.task;
    let ended = finding.ended;
    let container = ended.and_then(Ended::name);
    let exit_code = ended.and_then(|ended| ended.container.exit_code);
    let text = finding.statement.map(|statement| &statement.text).filter(|_| trusts_reason);
    let facts = Facts::new(text);
    let instance = || facts.id("i-");
    match finding.code {
        Code::OutOfMemory => {
            let mib = |memory: &Option<String>| memory.as_deref()?.parse().ok().filter(|mib| *mib > 0);
            let memory = ended.and_then(|ended| mib(&ended.container.memory));
            Clause::OutOfMemory { container, memory, task_memory: mib(&task.memory) }
        }
        Code::SlowProvisioning => Clause::SlowProvisioning(Subject::new(finding, &facts)),
        Code::CommandNotFound => Clause::CommandNotFound {
            container,
            command: text.and_then(|text| text.command),
            is_missing: exit_code == Some(127) || (exit_code != Some(126) && !facts.says("permission denied")),
            exit_code: exit_code.filter(|_| text.is_none()),
        },
        Code::RuntimeTimeout if finding.statement.is_some_and(Statement::is_of_the_stop) => {
            Clause::StopTimedOut { container }
        }
        Code::RuntimeTimeout => Clause::RuntimeTimeout { container, is_fargate: said.is_fargate() },
        Code::ImagePullFailed
        | Code::SecretsUnavailable
        | Code::LoggingFailed
        | Code::VolumeFailed
        | Code::NetworkFailed
        | Code::PlacementFailed
        | Code::CapacityUnavailable
        | Code::ContainerStartFailed
        | Code::StartupFailed => {
            let why = Why::new(finding.code, cause, &facts);
            Clause::Failed { subject: Subject::new(finding, &facts), why }
        }
        Code::Crashed => Clause::Crashed { container, exit_code: exit_code.unwrap_or_default() },
        Code::Killed => Clause::Killed { container },
        Code::Terminated => Clause::Terminated { container, exit_code: exit_code.unwrap_or_default() },
        Code::ApplicationError => Clause::ApplicationError { container, exit_code: exit_code.unwrap_or_default() },
        Code::Finished => Clause::Finished { container, service: task.service_name() },
        Code::LoadBalancerUnhealthy => Clause::LoadBalancerUnhealthy { target: facts.target() },
        Code::HealthCheckFailed => Clause::HealthCheckFailed { container },
        Code::ScaledIn => Clause::ScaledIn { service: task.service_name() },
        Code::InstanceTerminated => Clause::InstanceTerminated { instance: instance() },
        Code::InstanceDeregistered => Clause::InstanceDeregistered { instance: container_instance(said) },
        Code::HostMaintenance => Clause::HostMaintenance,
        Code::SpotInterruption => Clause::SpotInterruption {
            instance: instance().or_else(|| container_instance(said)),
            has_started: said.has_started() || said.containers.iter().any(Ended::has_run),
        },
        Code::HostLeaving => Clause::HostLeaving { instance: container_instance(said), stop_code: said.stop_code },
        Code::StoppedByUser => Clause::StoppedByUser { reason: finding.statement.map(|statement| statement.text.raw) },
        Code::KilledWhileStopping => Clause::KilledWhileStopping { container },
        Code::Unknown => {
            let text = finding.statement.map(|statement| statement.text.raw);
            Clause::Unknown { text: text.or_else(|| said.stop_code.map(StopCode::as_str)) }
        }
    }
}

fn container_instance<'x>(said: &Said<'x>) -> Option<&'x str> {
    said.task.container_instance_arn.as_deref().map(last_part)
}

/// A clause or a remark, and how it is rendered.
struct Rendering<'r, T> {
    of: &'r T,
    is_redacted: bool,
}

/// A container by its name. Quoted, so that control characters in it are escaped.
struct Container<'x>(Name<'x>);

impl Display for Container<'_> {
    fn fmt(&self, to: &mut Formatter<'_>) -> FmtResult {
        match self.0 {
            Some(name) => write!(to, "container {name:?}"),
            None => to.write_str("a container"),
        }
    }
}

/// A noun and a name, if there is one.
struct Named<'x>(&'static str, Option<&'x str>);

impl Display for Named<'_> {
    fn fmt(&self, to: &mut Formatter<'_>) -> FmtResult {
        match self.1 {
            Some(name) => write!(to, "{} {name:?}", self.0),
            None => to.write_str(self.0),
        }
    }
}

impl Display for Rendering<'_, Clause<'_>> {
    #[expect(clippy::too_many_lines, reason = "an arm for each clause")]
    fn fmt(&self, to: &mut Formatter<'_>) -> FmtResult {
        match *self.of {
            Clause::OutOfMemory { container, memory, task_memory } => {
                let container = Container(container);
                // A container without a limit shares the task's.
                match (memory, task_memory) {
                    (Some(mib), _) => write!(to, "{container} was killed for exceeding its {mib} MiB of memory"),
                    (None, Some(mib)) => {
                        write!(to, "{container} was killed for exceeding the task's {mib} MiB of memory")
                    }
                    (None, None) => write!(to, "{container} was killed for exceeding its memory"),
                }
            }
            Clause::Failed { ref subject, why: Why::NotTold } => write!(to, "{subject} {}", subject.failure()),
            Clause::Failed { ref subject, why: Why::Unreachable { endpoint: None, .. } } => {
                write!(to, "{subject} {}: {} could not be reached", subject.failure(), subject.provider())
            }
            Clause::Failed { ref subject, why } => write!(to, "{subject} {}: {why}", subject.failure()),
            Clause::SlowProvisioning(ref subject) => write!(to, "AWS took too long to provide {subject}"),
            Clause::CommandNotFound { container, command, is_missing, exit_code } => {
                match command.filter(|_| !self.is_redacted) {
                    Some(command) => write!(to, "the command {command:?}")?,
                    None => to.write_str("the command")?,
                }
                let problem = if is_missing { "was not found" } else { "is not executable" };
                write!(to, " of {} {problem}", Container(container))?;
                exit_code.map_or(Ok(()), |code| write!(to, " (exit code {code})"))
            }
            Clause::RuntimeTimeout { container, .. } => {
                write!(to, "the container runtime took too long to start {}", Container(container))
            }
            Clause::StopTimedOut { container } => {
                write!(to, "the container runtime took too long to stop {}", Container(container))
            }
            Clause::Crashed { container, exit_code } => {
                write!(to, "{} crashed with exit code {exit_code} ({})", Container(container), signal(exit_code))
            }
            Clause::Killed { container } => write!(
                to,
                "{} was killed (exit code 137), likely for its memory, though ECS does not say so",
                Container(container)
            ),
            Clause::Terminated { container, exit_code: 0 } => {
                write!(to, "{} ended when it was told to (exit code 0)", Container(container))
            }
            Clause::Terminated { container, exit_code } => {
                write!(to, "{} ended on SIGTERM (exit code {exit_code}), as a stop normally goes", Container(container))
            }
            Clause::ApplicationError { container, exit_code } => {
                write!(to, "{} ended with exit code {exit_code}", Container(container))
            }
            Clause::Finished { container, service: None } => {
                write!(to, "{} finished with exit code 0", Container(container))
            }
            Clause::Finished { container, service: Some(service) } => write!(
                to,
                "{} finished with exit code 0, although a task of service {service:?} should keep running",
                Container(container)
            ),
            Clause::LoadBalancerUnhealthy { target: Some(target) } => {
                write!(to, "the load balancer found the task unhealthy in {target:?}")
            }
            Clause::LoadBalancerUnhealthy { target: None } => {
                to.write_str("the load balancer found the task unhealthy")
            }
            Clause::HealthCheckFailed { container } => {
                write!(to, "{} failed its health check", Container(container))
            }
            Clause::ScaledIn { service } => {
                let service = Named(if service.is_some() { "service" } else { "the service" }, service);
                write!(to, "{service} was scaled in or is deploying another version")
            }
            Clause::InstanceTerminated { instance } => {
                write!(to, "{} was stopped or terminated", Named("the task's instance", instance))
            }
            Clause::InstanceDeregistered { instance } => {
                write!(to, "{} was deregistered by force", Named("the task's container instance", instance))
            }
            Clause::HostMaintenance => to.write_str("AWS is maintaining or retiring the host that the task ran on"),
            Clause::SpotInterruption { instance: Some(instance), .. } => {
                write!(to, "AWS reclaimed the Spot capacity that the task ran on (instance {instance:?})")
            }
            Clause::SpotInterruption { has_started: false, .. } => {
                to.write_str("AWS had no Spot capacity for the task, or reclaimed it")
            }
            Clause::SpotInterruption { .. } => to.write_str("AWS reclaimed the Spot capacity that the task ran on"),
            Clause::HostLeaving { instance, stop_code } => {
                let what = match stop_code {
                    Some(StopCode::InfrastructureHealth) => "is unhealthy",
                    Some(StopCode::TerminationNotice) => "is about to be terminated",
                    _ => "is draining",
                };
                write!(to, "{} {what}", Named("the host that the task ran on", instance))
            }
            Clause::StoppedByUser { reason: Some(reason) } if !self.is_redacted => {
                write!(to, "StopTask was called: {reason:?}")
            }
            Clause::StoppedByUser { .. } => to.write_str("StopTask was called"),
            Clause::KilledWhileStopping { container } => write!(
                to,
                "{} did not end on SIGTERM and was killed after its stopTimeout (exit code 137)",
                Container(container)
            ),
            Clause::Unknown { text: None } => to.write_str("ECS gave no reason"),
            Clause::Unknown { text: Some(text) } if !self.is_redacted => {
                write!(to, "ECS says {text:?}, which is not a reason that is known here")
            }
            Clause::Unknown { .. } => to.write_str("ECS gave a reason that is not known here"),
        }
    }
}

impl Display for Rendering<'_, Remark<'_>> {
    fn fmt(&self, to: &mut Formatter<'_>) -> FmtResult {
        match *self.of {
            Remark::Clause(ref clause) => Rendering { of: clause, is_redacted: self.is_redacted }.fmt(to),
            Remark::Earlier(ref clause) => {
                write!(to, "earlier, {}", Rendering { of: clause, is_redacted: self.is_redacted })
            }
            Remark::NotOnSigterm { container } => {
                write!(to, "{} did not end on SIGTERM and was killed (exit code 137)", Container(container))
            }
            Remark::ExitCode { container, exit_code } => {
                write!(to, "{} ended with exit code {exit_code}", Container(container))
            }
            Remark::Text { container: Some(name), text } => write!(to, "of container {name:?}, ECS says {text:?}"),
            Remark::Text { container: None, text } => write!(to, "ECS says {text:?}"),
        }
    }
}

/// A shell's exit code for a signal is 128 more than the signal; Windows has names of its own.
fn signal(exit_code: i64) -> &'static str {
    match exit_code {
        132 => "illegal instruction",
        134 => "abort",
        136 => "arithmetic error",
        139 => "segmentation fault",
        3_221_225_477 => "access violation",
        3_221_225_725 => "stack overflow",
        _ => "stack buffer overrun",
    }
}
