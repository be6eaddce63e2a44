//! Why something that a task needs is not available, and what to do about it.

use super::causes::Cause;
use super::codes::Code;
use super::facts::{Denial, Facts};
use super::report::Report;
use super::subject::Subject;
use crate::arn::last_part;

/// A reason as it follows the sentence, and advice.
pub(super) struct Failure {
    /// `None` if it is unknown.
    pub(super) reason: Option<String>,
    pub(super) advice: String,
}

impl Failure {
    pub(super) fn new(code: Code, cause: Option<Cause>, subject: &Subject, facts: &Facts, report: &Report) -> Self {
        let (kind, it) = (subject.kind, &*subject.resource);
        let general = |advice: &str| advice.replace("{it}", it);
        match cause {
            _ if code == Code::VolumeFailed && facts.says("failed to chown") => {
                let path = facts.name_after("failed to chown ");
                Self::explained(
                    format!("the owner of {} could not be changed", quoted(path, "its directory")),
                    format!(
                        "Create {} with the right owner in the image, or mount the volume with an access point that \
                         has \
                         this owner.",
                        quoted(path, "the mounted directory")
                    ),
                )
            }
            Some(Cause::AccessDenied) if code == Code::StartupFailed && facts.says("forbidden") => Self::explained(
                "S3 denied access, as it also does if there is no such object",
                format!("Check that {it} exists, then allow the task's execution role to call s3:GetObject for it."),
            ),
            Some(Cause::AccessDenied) => match facts.denial() {
                Some(Denial { role, .. }) if facts.says("unable to assume") => Self::explained(
                    format!("role {role:?} could not be assumed"),
                    format!("Check that role {role:?} exists, and that its trust policy lets ECS assume it."),
                ),
                Some(Denial { role, action: Some(action) }) => Self::explained(
                    format!("access denied, role {role:?} may not call {action}"),
                    format!("Allow role {role:?} to call {action} for {it}."),
                ),
                Some(Denial { role, .. }) => {
                    Self::explained(format!("access denied with role {role:?}"), general(kind.denied))
                }
                None => Self::explained("access denied", general(kind.denied)),
            },
            Some(Cause::NotFound) => {
                let directory = facts.mounted_path().filter(|_| code == Code::VolumeFailed);
                let key = facts.name_after("json key ").filter(|_| code != Code::VolumeFailed);
                if let Some(path) = directory {
                    let advice = "or correct rootDirectory in the task definition.";
                    Self::explained(
                        format!("it has no directory {path:?}"),
                        format!("Create the directory {path:?} in {it}, {advice}"),
                    )
                } else if let Some(key) = key {
                    Self::explained(
                        format!("{} no key {key:?}", if subject.is_plural() { "they have" } else { "it has" }),
                        format!("Add the key {key:?} to {it}, or correct the key in the task definition."),
                    )
                } else {
                    Self::explained("not found", general(kind.not_found))
                }
            }
            Some(Cause::WrongPlatform) => {
                Self::explained("built for another processor or operating system", general(kind.wrong_platform))
            }
            Some(Cause::Invalid) if code == Code::PlacementFailed => Self::explained(
                "its task definition does not fit the launch type or capacity provider",
                "Correct requiresCompatibilities, network mode or size in the task definition for its launch type or \
                 capacity provider.",
            ),
            Some(Cause::Invalid) if code == Code::ImagePullFailed => {
                Self::explained("invalid name or content", general(kind.invalid))
            }
            Some(Cause::Invalid) => match facts.name_before(" is required").filter(|name| name.contains('-')) {
                Some(option) => Self::explained(
                    format!("{option:?} is required"),
                    format!("Set the option {option:?} in the task definition."),
                ),
                None => Self::explained("invalid configuration", general(kind.invalid)),
            },
            Some(Cause::RateLimited) => Self::explained("too many requests", general(kind.rate_limited)),
            Some(Cause::Unreachable) => {
                let endpoint = facts.endpoint(code);
                let reason = format!("{} could not be reached", quoted(endpoint, kind.provider));
                let advice = if facts.endpoint_is_local(code) {
                    let place = endpoint.map_or("there".to_owned(), |endpoint| format!("at {endpoint:?}"));
                    format!("Start or repair the process on the instance that should listen {place} (for {it}).")
                } else {
                    general(&kind.unreachable.replace("{endpoint}", &quoted(endpoint, kind.provider)))
                };
                Self::explained(reason, advice)
            }
            Some(Cause::Exhausted) => Self::exhausted(facts, it, report),
            Some(Cause::Timeout) => Self::explained("it took too long", general(kind.timed_out)),
            None => Self::without_cause(code, facts, it, report.is_fargate())
                .unwrap_or_else(|| Self { reason: None, advice: general(kind.unexplained) }),
        }
    }

    fn explained(reason: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), advice: advice.into() }
    }

    fn exhausted(facts: &Facts, it: &str, report: &Report) -> Self {
        if facts.says("freeaddresses") {
            let subnet = facts.id("subnet-");
            return Self::explained(
                format!("{} has no free addresses", subnet.unwrap_or("its subnet")),
                format!("Free addresses in {}, or use more or larger subnets.", subnet.unwrap_or("the task's subnet")),
            );
        }
        if facts.says("port is already") {
            return Self::explained(
                "the host port is already in use",
                format!("Give {it} a dynamic host port (hostPort 0), or place its tasks on different instances."),
            );
        }
        if facts.is_quota() {
            return Self::explained(
                "a quota of the account is reached",
                format!(
                    "Request a higher quota in Service Quotas, or stop what is not needed: {it} exceeds the \
                 quota."
                ),
            );
        }
        let Some(resource) = facts.resource() else {
            let host = report.task.container_instance_arn.as_deref().map(last_part);
            let advice = if report.is_fargate() {
                format!("Raise ephemeralStorage in the task definition, or make {it} smaller.")
            } else {
                format!(
                    "Free up space on {}, starting with unused images, or enlarge it: {it} needs more.",
                    host.map_or("the instance's disk".to_owned(), |host| format!(
                        "the disk of container instance {host:?}"
                    ))
                )
            };
            return Self::explained("no space is left on the disk", advice);
        };
        let resource = match &*resource.to_ascii_uppercase() {
            fargate if fargate.starts_with("FARGATE") => {
                return Self::explained(
                    "Fargate has no free capacity",
                    "Try again later or in more availability zones.",
                );
            }
            "GPU" => "GPUs".to_owned(),
            "MEMORY" => "memory".to_owned(),
            "CPU" => "CPU".to_owned(),
            "ENI" => "network interfaces (ENI)".to_owned(),
            ports if ports.starts_with("PORT") => "ports".to_owned(),
            _ => format!("{resource:?}"),
        };
        let lack = if resource == "GPUs" { "a free GPU".to_owned() } else { format!("enough free {resource}") };
        Self::explained(
            format!("no instance has {lack}"),
            format!(
                "Add instances with enough free {resource} to the cluster, or lower what the task definition requires."
            ),
        )
    }

    fn without_cause(code: Code, facts: &Facts, it: &str, is_fargate: bool) -> Option<Self> {
        let (reason, advice) = match code {
            Code::ImagePullFailed if facts.is_truncated => {
                let how = "by hand with the task's execution role from its subnet to see the whole of it.";
                return Some(Self { reason: None, advice: format!("ECS truncated the error: pull {it} {how}") });
            }
            Code::PlacementFailed if facts.says("constraint") => (
                "no instance satisfies its placement constraint",
                "Add an instance that satisfies the placement constraint, or relax the constraint.",
            ),
            Code::PlacementFailed if facts.says("empty capacity provider") => (
                "its capacity provider has no instances",
                "Add instances to the capacity provider's Auto Scaling group, or turn on managed scaling.",
            ),
            Code::PlacementFailed if facts.says("no active instances") => (
                "the cluster has no active instances",
                "Register instances with the cluster, or run the task on Fargate.",
            ),
            Code::PlacementFailed if facts.says("attribute") => (
                "no instance has a required attribute",
                "Add an instance with the attributes that the task definition requires, such as a log driver.",
            ),
            Code::PlacementFailed if facts.says("location") => (
                "no instance is in a required location",
                "Add an instance where the task is required to run, or change the requirement.",
            ),
            Code::PlacementFailed if facts.says("agent") => (
                "the ECS agent of the instance is disconnected",
                "Restart the ECS agent of the instance, or replace the instance.",
            ),
            Code::CapacityUnavailable if is_fargate => (
                "no capacity is available",
                "Try again later or in more availability zones, and compare the account's Fargate quota with its use.",
            ),
            Code::CapacityUnavailable => (
                "no capacity is available",
                "Add instances to the cluster, or find out why its capacity provider does not.",
            ),
            Code::VolumeFailed if facts.says("directory") => {
                let path = facts.name_after("error mounting ");
                return Some(Self::explained(
                    format!("only one of {} and its mount point is a directory", quoted(path, "its source")),
                    format!(
                        "Check on the instance that {} exists, and is a file if its mount point is one (Docker \
                         creates a missing source as a directory).",
                        quoted(path, "the volume's source")
                    ),
                ));
            }
            Code::ContainerStartFailed if facts.says("device information") => {
                let device = facts.name_after("custom device ").map(|device| format!("device {device:?}"));
                let reason = device.as_ref().map(|device| format!("its host has no {device}"));
                return Some(Self::explained(
                    reason.unwrap_or("its host lacks a device".to_owned()),
                    format!(
                        "Remove {} from linuxParameters in the task definition, or place the task on instances that \
                         have it.",
                        device.as_deref().unwrap_or("the device")
                    ),
                ));
            }
            Code::ContainerStartFailed if facts.says("/sys/fs/cgroup") => {
                let advice = format!("Replace the instance: its kernel has no control groups left for {it}.");
                return Some(Self::explained("the kernel has no control groups left", advice));
            }
            Code::ContainerStartFailed if facts.says("dependency graph") => {
                let advice = "(dependsOn in the task definition).";
                return Some(Self::explained(
                    "a container that it depends on failed",
                    format!("Find out why the container failed that {it} depends on {advice}"),
                ));
            }
            _ => return None,
        };
        Some(Self::explained(reason, advice))
    }
}

/// A name in quotes, or what to call it.
fn quoted(name: Option<&str>, otherwise: &str) -> String {
    name.map_or(otherwise.to_owned(), |name| format!("{name:?}"))
}
