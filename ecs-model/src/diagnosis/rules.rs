//! The rules of the diagnosis.

use super::pattern::Text;
use super::{Actor, Code};
use crate::{Container, Task};

/// A rule: when it matches, and what is then known.
pub(super) struct Rule {
    pub(super) code: Code,
    when: &'static [When],
    pub(super) actor: Actor,
    pub(super) transient: Option<bool>,
    /// The sentence for people, with the names of [facts](super::facts).
    pub(super) summary: &'static str,
}

/// When a rule matches.
enum When {
    /// A text contains one of these [patterns](super::pattern).
    Says(&'static [&'static str]),
    /// A text contains the first pattern, and one of the others.
    SaysWith(&'static str, &'static [&'static str]),
    /// The task has this stop code.
    Stopped(&'static str),
    /// The task has this stop code, and no containers.
    StoppedWithoutContainers(&'static str),
    /// A container ended with this exit code, in a task with this stop code.
    ExitWhile(i64, &'static str),
    /// The container that ended by itself has one of these exit codes.
    Exit(&'static [i64]),
    /// It has any exit code but 0.
    NonZeroExit,
}

use When::{Exit, ExitWhile, NonZeroExit, Says, SaysWith, Stopped, StoppedWithoutContainers};

const PULL: &str = "CannotPull…";
const INITIALIZATION: &str = "ResourceInitializationError";

/// All rules, in the order in which they are tried.
pub(super) static RULES: &[Rule] = &[
    Rule {
        code: Code::OutOfMemory,
        when: &[Says(&["OutOfMemoryError", "OutOfMemory:"])],
        actor: Actor::ApplicationMemory,
        transient: Some(false),
        summary: "{container} was killed for exceeding {memory}",
    },
    Rule {
        code: Code::ImageRateLimited,
        when: &[SaysWith(PULL, &["toomanyrequests", "rate limit…"])],
        actor: Actor::PlatformMirrorOrLogIn,
        transient: Some(true),
        summary: "{image} could not be pulled because of the registry's rate limit",
    },
    Rule {
        code: Code::ImageAccessDenied,
        when: &[SaysWith(PULL, &["AccessDenied…", "not authorized", "no basic auth…", "403 Forbidden"])],
        actor: Actor::Iam,
        transient: Some(false),
        summary: "the execution role may not pull {image}",
    },
    Rule {
        code: Code::ImageNotFound,
        when: &[SaysWith(PULL, &["not found", "manifest unknown", "does not exist", "pull access denied"])],
        actor: Actor::Releaser,
        transient: Some(false),
        summary: "{image} is missing from the registry, or private",
    },
    Rule {
        code: Code::ImagePlatformMismatch,
        when: &[SaysWith(PULL, &["does not contain descriptor matching platform", "no matching manifest"])],
        actor: Actor::Releaser,
        transient: Some(false),
        summary: "{image} was built for another processor",
    },
    Rule {
        code: Code::RegistryUnreachable,
        when: &[SaysWith(
            PULL,
            &[
                "i/o timeout",
                "EOF",
                "connection refused",
                "TLS handshake timeout",
                "context deadline exceeded",
                "request canceled",
                "no such host",
            ],
        )],
        actor: Actor::RetryOrNetwork,
        transient: Some(true),
        summary: "{image} could not be pulled because its registry could not be reached",
    },
    Rule {
        code: Code::DiskFull,
        when: &[Says(&["no space left on device"])],
        actor: Actor::PlatformEphemeralStorage,
        transient: Some(false),
        summary: "{container} failed because the disk is full",
    },
    Rule {
        code: Code::ImagePullFailed,
        when: &[Says(&[PULL])],
        actor: Actor::Platform,
        transient: None,
        summary: "{image} could not be pulled",
    },
    Rule {
        code: Code::SecretsUnavailable,
        when: &[SaysWith(INITIALIZATION, &["secret…", "ssm…", "parameter…", "registry auth…"])],
        actor: Actor::NetworkOrIam,
        transient: None,
        summary: "secrets or the login to the registry could not be fetched",
    },
    Rule {
        code: Code::LoggingFailed,
        when: &[SaysWith(INITIALIZATION, &["logging driver…", "logger args", "log group…", "awslogs…", "firelens…"])],
        actor: Actor::Platform,
        transient: Some(false),
        summary: "logging could not be set up",
    },
    Rule {
        code: Code::VolumeFailed,
        when: &[SaysWith(INITIALIZATION, &["EFS…", "mount…", "volume…"]), Says(&["CannotCreateVolume…"])],
        actor: Actor::Platform,
        transient: None,
        summary: "a volume could not be mounted",
    },
    Rule {
        code: Code::StartupResourceFailed,
        when: &[Says(&[INITIALIZATION])],
        actor: Actor::Platform,
        transient: None,
        summary: "something that the task needs at its start could not be set up",
    },
    Rule {
        code: Code::SlowProvisioning,
        when: &[Says(&["Timeout waiting for network interface", "Timeout waiting for EphemeralStorage provisioning"])],
        actor: Actor::NobodyRetry,
        transient: Some(true),
        summary: "AWS took too long to provide the task's {resource}",
    },
    Rule {
        code: Code::ContainerStartFailed,
        when: &[Says(&["CannotStartContainerError", "CannotCreateContainerError", "CannotInspectContainerError"])],
        actor: Actor::ApplicationCommandOrMounts,
        transient: Some(false),
        summary: "{container} was refused by the container runtime",
    },
    Rule {
        code: Code::RuntimeTimeout,
        when: &[Says(&["DockerTimeoutError", "ContainerRuntimeTimeoutError"])],
        actor: Actor::Platform,
        transient: Some(true),
        summary: "the container runtime took too long to start or stop {container}",
    },
    Rule {
        code: Code::LoadBalancerUnhealthy,
        when: &[Says(&["failed ELB health checks"])],
        actor: Actor::ApplicationOrNetwork,
        transient: None,
        summary: "the load balancer found the task unhealthy",
    },
    Rule {
        code: Code::HealthCheckFailed,
        when: &[Says(&["failed container health checks"])],
        actor: Actor::Application,
        transient: None,
        summary: "{container} failed its own health check",
    },
    Rule {
        code: Code::ScaledIn,
        when: &[Says(&["Scaling activity initiated by"])],
        actor: Actor::Nobody,
        transient: Some(false),
        summary: "a scale-in or a deployment of {service} stopped the task",
    },
    Rule {
        code: Code::InstanceTerminated,
        when: &[Says(&["Host EC2 (instance …) terminated", "Host EC2 (instance …) stopped"])],
        actor: Actor::Platform,
        transient: Some(true),
        summary: "the {instance} that the task ran on was stopped or terminated",
    },
    Rule {
        code: Code::InstanceDeregistered,
        when: &[Says(&["deregistration forced"])],
        actor: Actor::WhoeverDid,
        transient: Some(false),
        summary: "the {instance} that the task ran on was deregistered by force",
    },
    Rule {
        code: Code::HostMaintenance,
        when: &[Says(&["performing maintenance", "hardware", "retire…"])],
        actor: Actor::OwnerOfStandaloneTask,
        transient: Some(true),
        summary: "AWS retires the host that the task ran on",
    },
    Rule {
        code: Code::SpotInterruption,
        when: &[Says(&["Spot interruption", "Your Spot Task was interrupted"]), Stopped("SpotInterruption")],
        actor: Actor::NobodyRetry,
        transient: Some(true),
        summary: "AWS took its Spot capacity back",
    },
    Rule {
        code: Code::CapacityUnavailable,
        when: &[
            Says(&[
                "Capacity is unavailable",
                // Not `RESOURCE:` alone, since the text of a missing permission has "on resource: …".
                "RESOURCE:CPU",
                "RESOURCE:MEMORY",
                "RESOURCE:PORTS…",
                "RESOURCE:ENI",
                "RESOURCE:GPU",
                "RESOURCE:FARGATE…",
                "unable to place a task",
            ]),
            StoppedWithoutContainers("TaskFailedToStart"),
        ],
        actor: Actor::PlatformCapacity,
        transient: Some(true),
        summary: "the task was never placed for lack of capacity",
    },
    Rule {
        code: Code::StoppedByUser,
        when: &[Stopped("UserInitiated")],
        actor: Actor::CallerInCloudTrail,
        transient: Some(false),
        summary: "StopTask was called{reason}",
    },
    Rule {
        code: Code::HostLeaving,
        when: &[Stopped("TerminationNotice"), Stopped("InfrastructureHealth")],
        actor: Actor::Platform,
        transient: Some(true),
        summary: "the host that the task ran on is leaving, or unhealthy",
    },
    Rule {
        code: Code::KilledWhileStopping,
        when: &[ExitWhile(137, "ServiceSchedulerInitiated")],
        actor: Actor::ApplicationSigterm,
        transient: Some(false),
        summary: "{container} did not end on SIGTERM and was killed after its stopTimeout",
    },
    Rule {
        code: Code::Killed,
        when: &[Exit(&[137])],
        actor: Actor::Application,
        transient: None,
        summary: "{container} was killed (exit code 137), likely for its memory, though ECS does not say so",
    },
    Rule {
        code: Code::Terminated,
        when: &[Exit(&[143])],
        actor: Actor::Nobody,
        transient: Some(false),
        summary: "{container} ended on SIGTERM (exit code 143), as a stop normally goes",
    },
    Rule {
        code: Code::Crashed,
        when: &[Exit(&[139, 134, 136, 132])],
        actor: Actor::Application,
        transient: Some(false),
        summary: "{container} crashed by {signal} (exit code {exit_code})",
    },
    Rule {
        code: Code::CommandNotFound,
        when: &[Exit(&[127, 126])],
        actor: Actor::ImageBuilder,
        transient: Some(false),
        summary: "the command of {container} is {command} (exit code {exit_code})",
    },
    Rule {
        code: Code::ApplicationError,
        when: &[NonZeroExit],
        actor: Actor::Application,
        transient: None,
        summary: "{container} ended with exit code {exit_code}",
    },
    Rule {
        code: Code::Finished,
        when: &[Exit(&[0])],
        actor: Actor::NobodyOrApplication,
        transient: Some(false),
        summary: "{container} finished with exit code 0{unexpectedly}",
    },
];

/// What remains if none of them matches.
pub(super) static UNKNOWN: Rule =
    Rule { code: Code::Unknown, when: &[], actor: Actor::Unknown, transient: None, summary: "{nothing_known}" };

/// The sentences of ECS that explain a stop which counts as initiated by a user.
const SENTENCES: &[&str] = &[
    "Task failed ELB health checks in (…)",
    "Task failed container health checks",
    "Scaling activity initiated by (deployment …)",
    "Scaling activity initiated by deployment ecs-svc/…",
    "Host EC2 (instance …) terminated",
    "Host EC2 (instance …) stopped",
    "Container instance deregistration forced by user",
    "Amazon ECS is performing maintenance on the underlying infrastructure hosting the task",
    "ECS is performing maintenance on the underlying infrastructure hosting the task",
    "Service …: ECS is performing maintenance on the underlying infrastructure hosting the task",
    "Your Spot Task was interrupted",
    "Spot interruption",
    "Timeout waiting for network interface provisioning to complete",
    "Timeout waiting for EphemeralStorage provisioning to complete",
    "Capacity is unavailable at this time. Please try again later or in a different availability zone",
];

/// Whether a text is one of these sentences, and nothing else.
pub(super) fn is_sentence_of_ecs(text: &str) -> bool {
    let text = Text::new(text);
    SENTENCES.iter().any(|sentence| text.is(sentence))
}

impl Rule {
    /// Whether the rule matches what a container's `reason` or the task's `stoppedReason` says.
    pub(super) fn matches_text(&self, text: &Text) -> bool {
        let says = |patterns: &[&str]| patterns.iter().any(|pattern| text.contains(pattern));
        self.when.iter().any(|when| match when {
            Says(patterns) => says(patterns),
            SaysWith(pattern, others) => text.contains(pattern) && says(others),
            _ => false,
        })
    }

    /// Whether it matches the task's stop code.
    pub(super) fn matches_stop_code(&self, task: &Task) -> bool {
        self.when.iter().any(|when| match when {
            Stopped(code) => stopped(task, code),
            StoppedWithoutContainers(code) => stopped(task, code) && task.containers.is_empty(),
            _ => false,
        })
    }

    /// The container whose exit code it matches.
    pub(super) fn matching_exit<'t>(&self, task: &'t Task) -> Option<&'t Container> {
        let own = ended_by_itself(task);
        self.when.iter().find_map(|when| match when {
            ExitWhile(exit_code, code) if stopped(task, code) => ended_with(task, |code| code == *exit_code),
            Exit(exit_codes) => own.filter(|own| own.exit_code.is_some_and(|code| exit_codes.contains(&code))),
            NonZeroExit => own.filter(|own| own.exit_code != Some(0)),
            _ => None,
        })
    }

    /// Whether the summary names a container or its image.
    pub(super) fn is_about_a_container(&self) -> bool {
        self.summary.contains("{container}") || self.summary.contains("{image}")
    }
}

/// The container that ended by itself: one that neither succeeded nor was stopped, else one that succeeded, and only if
/// all were stopped one of these.
fn ended_by_itself(task: &Task) -> Option<&Container> {
    ended_with(task, |code| ![0, 137, 143].contains(&code))
        .or_else(|| ended_with(task, |code| code == 0))
        .or_else(|| ended_with(task, |code| code == 137))
        .or_else(|| ended_with(task, |code| code == 143))
}

fn ended_with(task: &Task, is: impl Fn(i64) -> bool) -> Option<&Container> {
    task.containers.iter().find(|container| container.exit_code.is_some_and(&is))
}

fn stopped(task: &Task, code: &str) -> bool {
    task.stop_code.as_ref().is_some_and(|stop_code| stop_code.as_str() == code)
}
