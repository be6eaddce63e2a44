//! Why a task stopped.
//!
//! [`Diagnosis::new`] holds each thing that ECS says about a stop against the rules of `diagnosis/rules.rs`, from the
//! most to the least specific: the containers' reasons, the task's `stoppedReason`, its `stopCode`, and last the exit
//! codes. The first rule that matches is the diagnosis.
//!
//! Once an essential container has ended, the agent stops the others, with exit code 143, or 137 after the timeout:
//! they are not the cause unless all containers ended so. Events don't tell which container is essential, so the
//! summary names all that failed.

mod facts;
mod pattern;
mod rules;

use std::fmt::{Debug, Display, Formatter, Result as FmtResult};
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

use self::facts::Facts;
use self::pattern::Text;
use self::rules::{RULES, Rule};
use crate::{Container, StopCode, Task};

/// Why a task stopped.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The kind of reason.
    pub code: Code,
    /// What happened, in one sentence with the facts in it. Names and texts are quoted, without control characters.
    pub summary: String,
    /// Who can act on it.
    pub actor: Actor,
    /// Whether the same may go well the next time. `None` if that can't be told.
    pub transient: Option<bool>,
    /// The name of the container that it is about, if it is about one.
    pub container: Option<String>,
    /// The raw text that the diagnosis is drawn from, or what else ECS says. `None` if it says nothing.
    pub evidence: Option<String>,
}

impl Diagnosis {
    /// Diagnoses a task; `None` if it has not stopped.
    #[must_use]
    pub fn new(task: &Task) -> Option<Self> {
        if !task.is_stopped() {
            return None;
        }
        let finding = by_reason(task)
            .or_else(|| by_stopped_reason(task))
            .or_else(|| by_stop_code(task))
            .or_else(|| by_exit_code(task));
        Some(match finding {
            Some(finding) => finding.describe(task),
            None => Finding { rule: &rules::UNKNOWN, container: None, text: None }.describe(task),
        })
    }
}

/// A rule that matches, and what it matches.
struct Finding<'t> {
    rule: &'static Rule,
    container: Option<&'t Container>,
    text: Option<&'t str>,
}

impl Finding<'_> {
    fn describe(&self, task: &Task) -> Diagnosis {
        let Self { rule, container, text } = *self;
        let container = match container {
            None if rule.is_about_a_container() => facts::meant(task, text),
            found => found,
        };
        let said_of = |container: &Container| said(container.reason.as_deref()).map(str::to_owned);
        let evidence = said(text)
            .map(str::to_owned)
            .or_else(|| container.and_then(said_of))
            .or_else(|| said(task.stopped_reason.as_deref()).map(str::to_owned))
            .or_else(|| task.containers.iter().find_map(said_of))
            .or_else(|| task.stop_code.as_ref().map(StopCode::to_string));
        let facts = Facts { task, container, text };
        Diagnosis {
            code: rule.code,
            summary: facts.render(rule.summary) + &others_that_failed(task, container),
            actor: rule.actor,
            transient: rule.transient,
            container: container.and_then(|container| container.name.clone()),
            evidence,
        }
    }
}

/// The first rule that matches a container's reason.
fn by_reason(task: &Task) -> Option<Finding<'_>> {
    let reasons: Vec<_> = task
        .containers
        .iter()
        .filter_map(|container| container.reason.as_deref().map(|reason| (container, reason, Text::new(reason))))
        .collect();
    RULES.iter().find_map(|rule| {
        let (container, reason, _) = reasons.iter().find(|(_, _, text)| rule.matches_text(text))?;
        Some(Finding { rule, container: Some(container), text: Some(reason) })
    })
}

/// The first rule that matches `stoppedReason`. The caller of `StopTask` can write anything there: then only a whole
/// sentence of ECS counts.
fn by_stopped_reason(task: &Task) -> Option<Finding<'_>> {
    let reason = task.stopped_reason.as_deref()?;
    if task.stop_code == Some(StopCode::UserInitiated) && !rules::is_sentence_of_ecs(reason) {
        return None;
    }
    let rule = rule_for(reason)?;
    Some(Finding { rule, container: None, text: Some(reason) })
}

fn by_stop_code(task: &Task) -> Option<Finding<'_>> {
    let rule = RULES.iter().find(|rule| rule.matches_stop_code(task))?;
    Some(Finding { rule, container: None, text: None })
}

fn by_exit_code(task: &Task) -> Option<Finding<'_>> {
    RULES.iter().find_map(|rule| {
        let container = rule.matching_exit(task)?;
        Some(Finding { rule, container: Some(container), text: None })
    })
}

fn rule_for(text: &str) -> Option<&'static Rule> {
    let text = Text::new(text);
    RULES.iter().find(|rule| rule.matches_text(&text))
}

/// Names the containers that failed beside the one that the diagnosis is about.
fn others_that_failed(task: &Task, diagnosed: Option<&Container>) -> String {
    let is_other = |other: &&Container| diagnosed.is_none_or(|diagnosed| !std::ptr::eq(diagnosed, *other));
    let failure = |container: &Container| {
        let rule = container.reason.as_deref().and_then(rule_for);
        let how = match (rule, container.exit_code) {
            (Some(rule), _) => format!("failed with {}", rule.code),
            (None, Some(code)) if ![0, 143].contains(&code) => format!("ended with exit code {code}"),
            _ => return None,
        };
        Some(format!("; {} {how}", facts::name(Some(container))))
    };
    task.containers.iter().filter(is_other).filter_map(failure).collect()
}

/// A text, if it is not blank.
fn said(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

/// What kind of reason stopped a task. The names are an interface: people filter and count by them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Code {
    /// Killed for exceeding its memory.
    OutOfMemory,
    /// The registry's rate limit.
    ImageRateLimited,
    /// The execution role may not pull.
    ImageAccessDenied,
    /// The image or its tag is missing, or private.
    ImageNotFound,
    /// The image was built for another processor.
    ImagePlatformMismatch,
    /// The registry can't be reached.
    RegistryUnreachable,
    /// The disk is full.
    DiskFull,
    /// The image could not be pulled for another reason.
    ImagePullFailed,
    /// Secrets or the login to the registry could not be fetched.
    SecretsUnavailable,
    /// Logging could not be set up.
    LoggingFailed,
    /// A volume could not be mounted.
    VolumeFailed,
    /// Something else that the task needs at its start failed.
    StartupResourceFailed,
    /// AWS was slow to provide something.
    SlowProvisioning,
    /// The container runtime refused the container.
    ContainerStartFailed,
    /// Starting or stopping took the container runtime too long.
    RuntimeTimeout,
    /// The load balancer found the task unhealthy.
    LoadBalancerUnhealthy,
    /// Its own health check failed.
    HealthCheckFailed,
    /// A scale-in or a deployment.
    ScaledIn,
    /// Its instance went away.
    InstanceTerminated,
    /// Its instance was deregistered by force.
    InstanceDeregistered,
    /// AWS retires the host.
    HostMaintenance,
    /// Spot capacity was taken back.
    SpotInterruption,
    /// It was never placed.
    CapacityUnavailable,
    /// `StopTask` was called.
    StoppedByUser,
    /// The host is leaving or unhealthy. That is our reading of two stop codes that AWS does not define.
    HostLeaving,
    /// Killed because it did not end in time when the service scheduler stopped it.
    KilledWhileStopping,
    /// Killed otherwise: memory is likely, not proven.
    Killed,
    /// Ended on SIGTERM, as a stop normally goes.
    Terminated,
    /// A segmentation fault, an abort, or an arithmetic error or illegal instruction.
    Crashed,
    /// The command is missing, or not executable.
    CommandNotFound,
    /// The application's own error.
    ApplicationError,
    /// It finished.
    Finished,
    /// None of these.
    Unknown,
}

impl Code {
    /// All codes, in the order in which their rules are tried.
    pub fn all() -> impl Iterator<Item = Self> {
        RULES.iter().chain([&rules::UNKNOWN]).map(|rule| rule.code)
    }
}

impl Display for Code {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> FmtResult {
        formatter.pad(&format!("{self:?}"))
    }
}

impl FromStr for Code {
    type Err = UnknownCode;

    /// Parses a code, whatever its case.
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::all()
            .find(|code| code.to_string().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownCode { name: text.to_owned() })
    }
}

/// A name that is not a [`Code`].
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("there is no code {name:?}; the codes are {}", Code::all().map(|code| code.to_string()).collect::<Vec<_>>().join(", "))]
pub struct UnknownCode {
    /// What was given.
    pub name: String,
}

/// Who can act on the reason for a stop.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Actor {
    /// The application: its memory.
    ApplicationMemory,
    /// The platform: mirror the image, or log in to the registry.
    PlatformMirrorOrLogIn,
    /// Whoever manages the roles.
    Iam,
    /// Whoever released the image.
    Releaser,
    /// Retrying helps; if it stays, the network.
    RetryOrNetwork,
    /// The platform: its ephemeral storage.
    PlatformEphemeralStorage,
    /// The platform.
    Platform,
    /// The network, or whoever manages the roles.
    NetworkOrIam,
    /// Nobody: retrying helps.
    NobodyRetry,
    /// The application: its command or mounts.
    ApplicationCommandOrMounts,
    /// The application, or the network.
    ApplicationOrNetwork,
    /// The application.
    Application,
    /// Nobody.
    Nobody,
    /// Whoever did it.
    WhoeverDid,
    /// Nobody for a service's task; the owner of a standalone one.
    OwnerOfStandaloneTask,
    /// The platform: its capacity.
    PlatformCapacity,
    /// The caller of `StopTask`, whose name is in the audit log.
    CallerInCloudTrail,
    /// The application: it should handle SIGTERM.
    ApplicationSigterm,
    /// Whoever built the image.
    ImageBuilder,
    /// Nobody, or the application.
    NobodyOrApplication,
    /// Not known.
    Unknown,
}

impl Actor {
    /// Its name, as it is serialized.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApplicationMemory => "application: memory",
            Self::PlatformMirrorOrLogIn => "platform: mirror, or log in",
            Self::Iam => "IAM",
            Self::Releaser => "whoever released it",
            Self::RetryOrNetwork => "retry; the network if it stays",
            Self::PlatformEphemeralStorage => "platform: ephemeral storage",
            Self::Platform => "platform",
            Self::NetworkOrIam => "network or IAM",
            Self::NobodyRetry => "nobody: retry",
            Self::ApplicationCommandOrMounts => "application: command, mounts",
            Self::ApplicationOrNetwork => "application, network",
            Self::Application => "application",
            Self::Nobody => "nobody",
            Self::WhoeverDid => "whoever did",
            Self::OwnerOfStandaloneTask => "nobody for a service; the owner of a standalone task",
            Self::PlatformCapacity => "platform: capacity",
            Self::CallerInCloudTrail => "the caller, in CloudTrail",
            Self::ApplicationSigterm => "application: handle SIGTERM",
            Self::ImageBuilder => "whoever built the image",
            Self::NobodyOrApplication => "nobody, or application",
            Self::Unknown => "–",
        }
    }
}

impl Display for Actor {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> FmtResult {
        formatter.pad(self.as_str())
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
