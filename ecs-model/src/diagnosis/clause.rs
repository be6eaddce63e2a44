//! What happened and what to do about it, code by code.

use super::causes::Cause;
use super::codes::Code;
use super::facts::Facts;
use super::failure::Failure;
use super::gate::Finding;
use super::report::{Ended, Report, Statement};
use super::subject::Subject;
use crate::StopCode;
use crate::arn::last_part;

/// What happened to a task or a container.
pub(super) struct Clause {
    pub(super) summary: String,
    /// Without what a person or a program wrote.
    pub(super) redacted: String,
    /// The next thing to do. It quotes nothing that a person or a program wrote.
    pub(super) advice: String,
}

const UNRECOGNIZED: &str = "ECS gave an unrecognized reason";
const SUPPORT: &str = "if this keeps happening, open a case with AWS Support";

impl Clause {
    fn new(summary: impl Into<String>, advice: impl Into<String>) -> Self {
        let summary = summary.into();
        Self { redacted: summary.clone(), summary, advice: advice.into() }
    }

    fn redacted(self, redacted: impl Into<String>) -> Self {
        Self { redacted: redacted.into(), ..self }
    }

    #[expect(clippy::too_many_lines, reason = "an arm for each code")]
    pub(super) fn about(report: &Report, finding: &Finding, cause: Option<Cause>) -> Self {
        let task = report.task;
        let ended = finding.ended;
        let name = ended.and_then(Ended::name);
        let container = named("a", "container", name);
        let the_container = || named("the", "container", name);
        let exit_code = ended.and_then(|ended| ended.container.exit_code);
        let text = finding.statement.map(|statement| &statement.text);
        let facts = Facts::new(text);
        let host = task.container_instance_arn.as_deref().map(last_part);
        let restart = |remark: &str| {
            if task.service_name().is_some() {
                format!("Nothing to do: the service starts another task; {remark}.")
            } else {
                format!("Start the task again; {remark}.")
            }
        };
        let exited = exit_code.unwrap_or_default();
        let failed: Vec<String> = report
            .containers
            .iter()
            .filter(|it| it.has_failed())
            .filter_map(Ended::name)
            .map(|name| format!("{name:?}"))
            .collect();
        let (the_failed, they) = match failed.split_last() {
            Some((last, others @ [_, ..])) => (format!("containers {} and {last}", others.join(", ")), "they"),
            _ => (the_container(), "it"),
        };
        match finding.code {
            Code::OutOfMemory => {
                let mib = |memory: &Option<String>| memory.as_deref()?.parse().ok().filter(|mib: &u64| *mib > 0);
                let its = ended.and_then(|ended| mib(&ended.container.memory));
                // A container without a limit shares the task's.
                let limit = its.or_else(|| mib(&task.memory));
                let memory = match limit {
                    Some(mib) => format!("{} {mib} MiB of memory", if its.is_some() { "its" } else { "the task's" }),
                    None => "its memory".to_owned(),
                };
                let above = limit.map_or(String::new(), |mib| format!(" above {mib} MiB"));
                Self::new(
                    format!("{container} was killed for exceeding {memory}"),
                    format!("Raise the memory limit of {}{above}, or find out why it needs more.", the_container()),
                )
            }
            Code::ImagePullFailed
            | Code::SecretsUnavailable
            | Code::LoggingFailed
            | Code::VolumeFailed
            | Code::NetworkFailed
            | Code::PlacementFailed
            | Code::CapacityUnavailable
            | Code::ContainerStartFailed
            | Code::StartupFailed => {
                let subject = Subject::new(finding, &facts);
                let Failure { reason, advice } = Failure::new(finding.code, cause, &subject, &facts, report);
                let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
                Self::new(format!("{} {}{reason}", subject.name, subject.kind.failure), advice)
            }
            Code::SlowProvisioning => Self::new(
                format!("AWS took too long to provide {}", Subject::new(finding, &facts).name),
                restart(SUPPORT),
            ),
            Code::CommandNotFound => {
                let is_missing = exit_code == Some(127) || (exit_code != Some(126) && !facts.says("permission denied"));
                let (problem, advice) = if is_missing {
                    (
                        "was not found",
                        format!(
                            "Correct the command or entry point of {} in the task definition, or add the program to \
                             its \
                             image.",
                            the_container()
                        ),
                    )
                } else {
                    (
                        "is not executable",
                        format!(
                            "Make the program of {} executable in its image (chmod +x), or correct its command in the \
                             task definition.",
                            the_container()
                        ),
                    )
                };
                let exit_code = exit_code.filter(|_| text.is_none());
                let exit_code = exit_code.map_or(String::new(), |code| format!(" (exit code {code})"));
                let redacted = format!("the command of {container} {problem}{exit_code}");
                match text.and_then(|text| text.command.as_ref()) {
                    Some(command) => {
                        let summary = format!("the command {command:?} of {container} {problem}{exit_code}");
                        Self::new(summary, advice).redacted(redacted)
                    }
                    None => Self::new(redacted, advice),
                }
            }
            Code::RuntimeTimeout if finding.statement.is_some_and(Statement::is_of_the_stop) => Self::new(
                slow_stop(name),
                format!(
                    "Check the container runtime of the instance, and whether {} ends on SIGTERM within its \
                     stopTimeout.",
                    the_container()
                ),
            ),
            Code::RuntimeTimeout => Self::new(
                format!("the container runtime took too long to start {container}"),
                if report.is_fargate() {
                    restart(SUPPORT)
                } else {
                    format!(
                        "Check the disk, the CPU load and the container runtime of the instance, which was too slow to \
                         start {}, and replace the instance if this persists.",
                        the_container()
                    )
                },
            ),
            Code::Crashed => Self::new(
                format!("{container} crashed with exit code {exited} ({})", signal(exited)),
                format!("Read the last log lines of {the_failed} and debug the crash."),
            ),
            Code::Killed => Self::new(
                format!(
                    "{container} was killed (exit code 137), probably for exceeding its memory, though ECS does \
                 not say so"
                ),
                format!(
                    "Compare the memory use of {} with its limit: raise the limit if it was reached, otherwise find \
                     out what killed it.",
                    the_container()
                ),
            ),
            Code::Terminated => Self::new(
                if exited == 0 {
                    format!("{container} shut down when asked to (exit code 0)")
                } else {
                    format!("{container} exited on SIGTERM (exit code {exited}), as in a normal stop")
                },
                format!("Nothing to do: {} shut down when asked to.", the_container()),
            ),
            Code::ApplicationError => Self::new(
                format!("{container} ended with exit code {exited}"),
                format!("Read the last log lines of {the_failed} to find out why {they} ended."),
            ),
            Code::Finished => match task.service_name() {
                None => Self::new(
                    format!("{container} finished with exit code 0"),
                    format!("Nothing to do: {} finished its work.", the_container()),
                ),
                Some(service) => Self::new(
                    format!(
                        "{container} finished with exit code 0, although a task of service {service:?} should keep \
                         running"
                    ),
                    format!(
                        "Find out from the logs of {} why it exited, since service {service:?} keeps restarting it; \
                         run jobs outside of a service.",
                        the_container()
                    ),
                ),
            },
            Code::LoadBalancerUnhealthy => {
                let target = facts.target().map(|target| format!("{target:?}"));
                let place = target.as_ref().map_or(String::new(), |target| format!(" in {target}"));
                Self::new(
                    format!("the load balancer found the task unhealthy{place}"),
                    format!(
                        "Check that the application answers the health check of {} in time, even during startup, and \
                         that its security group admits the load balancer.",
                        target.as_deref().unwrap_or("the load balancer")
                    ),
                )
            }
            Code::HealthCheckFailed => Self::new(
                format!("{container} failed its health check"),
                format!(
                    "Run the health check of {} manually and read its logs; if it just starts slowly, raise \
                     startPeriod.",
                    the_container()
                ),
            ),
            Code::ScaledIn => Self::new(
                format!(
                    "{} was scaled in or is deploying another version",
                    named("the", "service", task.service_name())
                ),
                "Nothing to do: the service no longer needs the task.",
            ),
            Code::InstanceTerminated => {
                let instance = facts.id("i-");
                Self::new(
                    format!("{} was stopped or terminated", with_name("the task's instance", instance)),
                    format!(
                        "Look up what ended {} in Auto Scaling's activity history and CloudTrail, unless this was \
                         intended.",
                        named("the", "instance", instance)
                    ),
                )
            }
            Code::InstanceDeregistered => Self::new(
                format!("{} was deregistered by force", with_name("the task's container instance", host)),
                format!(
                    "Check CloudTrail for who deregistered {}; drain instances before deregistering them.",
                    named("the", "container instance", host)
                ),
            ),
            Code::HostMaintenance => Self::new(
                "AWS is maintaining or retiring the host that the task ran on",
                restart("AWS moves tasks off a host before maintaining it"),
            ),
            Code::SpotInterruption => {
                let has_started = report.has_started() || report.containers.iter().any(Ended::has_run);
                let summary = "AWS reclaimed the Spot capacity that the task ran on";
                Self::new(
                    match facts.id("i-").or(host) {
                        Some(instance) => format!("{summary} (instance {instance:?})"),
                        None if has_started => summary.to_owned(),
                        None => "AWS had no Spot capacity for the task, or reclaimed it".to_owned(),
                    },
                    restart("use on-demand capacity for tasks that must not be interrupted"),
                )
            }
            Code::HostLeaving => {
                let runs = if report.task.is_stopping() { "runs" } else { "ran" };
                let state = match report.stop_code {
                    Some(StopCode::InfrastructureHealth) => "is unhealthy",
                    Some(StopCode::TerminationNotice) => "is about to be terminated",
                    _ => "is draining",
                };
                Self::new(
                    format!("{} {state}", with_name(&format!("the host that the task {runs} on"), host)),
                    restart(
                        "if the host was not meant to go away, check Auto Scaling's activity history for the \
                     reason",
                    ),
                )
            }
            Code::StoppedByUser => {
                let redacted = "StopTask was called";
                let reason = text.map_or(String::new(), |text| format!(": {:?}", text.shown));
                Self::new(
                    format!("{redacted}{reason}"),
                    "Nothing to do if this was intended; if not, check CloudTrail for who called StopTask.",
                )
                .redacted(redacted)
            }
            Code::KilledWhileStopping => Self::new(
                format!("{container} did not end on SIGTERM and was killed after its stopTimeout (exit code 137)"),
                format!("Make {} end on SIGTERM, or raise its stopTimeout in the task definition.", the_container()),
            ),
            Code::Unknown => match text.map(|text| &*text.shown).or(report.stop_code.map(StopCode::as_str)) {
                Some(text) => Self::new(
                    format!("{UNRECOGNIZED}: {text:?}"),
                    "Read the reason, then the containers' logs around that time.",
                )
                .redacted(UNRECOGNIZED),
                None => Self::new(
                    "ECS gave no reason",
                    "Check the containers' logs and the service's events around that time.",
                ),
            },
        }
    }
}

pub(super) fn slow_stop(container: Option<&str>) -> String {
    format!("the container runtime took too long to stop {}", named("a", "container", container))
}

/// `container "web"`, or `a container`. Quotes escape control characters.
pub(super) fn named(article: &str, noun: &str, name: Option<&str>) -> String {
    name.map_or_else(|| format!("{article} {noun}"), |name| format!("{noun} {name:?}"))
}

fn with_name(noun: &str, name: Option<&str>) -> String {
    name.map_or_else(|| noun.to_owned(), |name| format!("{noun} {name:?}"))
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
