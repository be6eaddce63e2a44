//! Who acts, and whether a retry helps.

use super::actor::{Actor, Kind};
use super::causes::Cause;
use super::codes::Code;
use super::facts::Facts;
use super::gate::Finding;
use super::report::Report;

use Actor::{Application, Aws, Caller, Iam, Network, Nobody, Platform, Release};

/// Who acts, and whether a retry helps: by the cause if there is one, else by the code. `None` if unknown.
pub(super) fn responsible(report: &Report, finding: &Finding, cause: Option<Cause>) -> (Actor, Option<bool>) {
    let facts = Facts::new(finding.statement.map(|statement| &statement.text));
    let code = finding.code;
    match (code, cause) {
        (Code::RuntimeTimeout, _) => (if report.is_fargate() { Aws } else { Platform }, Some(true)),
        // The image or the task definition determines the owner.
        (Code::VolumeFailed, _) if facts.says("failed to chown") => (Release, Some(false)),
        // The file system type does not fit.
        (Code::VolumeFailed, Some(Cause::Timeout)) if facts.says("ebs volume") => (Release, Some(false)),
        (Code::NetworkFailed, Some(Cause::AccessDenied)) if facts.says("authfailure") => (Iam, None),
        (_, Some(Cause::AccessDenied)) => (Iam, Some(false)),
        (_, Some(Cause::NotFound | Cause::WrongPlatform | Cause::Invalid)) => (Release, Some(false)),
        (_, Some(Cause::Unreachable)) => (if facts.endpoint_is_local(code) { Platform } else { Network }, None),
        (_, Some(Cause::RateLimited)) => (Platform, Some(true)),
        (_, Some(Cause::Exhausted)) => (Platform, Some(code == Code::CapacityUnavailable && !facts.is_quota())),
        (_, Some(Cause::Timeout)) => (Aws, Some(true)),
        // The task definition adds the device.
        (Code::ContainerStartFailed, None) if facts.says("device information") => (Release, Some(false)),
        (Code::Finished, None) if report.task.service_name().is_some() => (Application, Some(false)),
        (_, None) => by_code(code),
    }
}

fn by_code(code: Code) -> (Actor, Option<bool>) {
    match code {
        Code::OutOfMemory | Code::Crashed | Code::KilledWhileStopping => (Application, Some(false)),
        Code::Killed | Code::ApplicationError | Code::LoadBalancerUnhealthy | Code::HealthCheckFailed => {
            (Application, None)
        }
        Code::CommandNotFound => (Release, Some(false)),
        Code::ScaledIn | Code::Terminated | Code::Finished => (Nobody, Some(false)),
        Code::SpotInterruption | Code::SlowProvisioning | Code::HostMaintenance => (Aws, Some(true)),
        Code::InstanceTerminated | Code::HostLeaving | Code::CapacityUnavailable => (Platform, Some(true)),
        Code::InstanceDeregistered | Code::PlacementFailed => (Platform, Some(false)),
        Code::StoppedByUser => (Caller, Some(false)),
        Code::Unknown => (Actor::Unknown, None),
        _ => (Platform, None),
    }
}

/// How the stop counts.
pub(super) fn kind(report: &Report, code: Code) -> Kind {
    match code {
        Code::Finished if report.task.service_name().is_some() => Kind::Failed,
        Code::ScaledIn | Code::Terminated | Code::StoppedByUser | Code::InstanceDeregistered | Code::Finished => {
            Kind::Expected
        }
        Code::SpotInterruption
        | Code::HostMaintenance
        | Code::HostLeaving
        | Code::InstanceTerminated
        | Code::SlowProvisioning => Kind::Interrupted,
        _ => Kind::Failed,
    }
}
