//! What failed or ended a task, and what indicates it.

use std::sync::LazyLock;

use super::patterns::{Patterns, Rows};
use super::text::Text;

use Ending::{ByItself, FromOutside, NeverStarted};

/// How a task ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    /// Something stopped it.
    FromOutside,
    /// One of its containers ended.
    ByItself,
    /// It never ran.
    NeverStarted,
}

/// A code's row.
struct Row {
    /// How a task with this code ended.
    ends: &'static [Ending],
    /// Phrases that indicate it.
    phrases: &'static [&'static str],
    /// Whole sentences of ECS, which indicate it even where a person could have written them.
    sentences: &'static [&'static str],
    /// Stop codes that indicate it without a text.
    stop_codes: &'static [&'static str],
    /// Exit codes of a container that ended by itself.
    exit_codes: &'static [i64],
}

const ROW: Row = Row { ends: &[NeverStarted], phrases: &[], sentences: &[], stop_codes: &[], exit_codes: &[] };

/// The enum and its rows, in one list. Texts are compared with the rows in this order.
macro_rules! codes {
    ($($(#[$attribute:meta])* $code:ident { $($field:ident: $value:expr),* $(,)? })*) => {
        words! {
            /// What failed or ended a task. The names are an interface: people filter, count and route by them.
            Code ("code") { $($(#[$attribute])* $code = stringify!($code),)* }
        }

        static ROWS: &[Row] = &[$(Row { $($field: $value,)* ..ROW },)*];
    };
}

codes! {
    /// It was killed for exceeding its memory.
    OutOfMemory {
        ends: &[ByItself, NeverStarted],
        phrases: &["OutOfMemoryError…", "OutOfMemory:", "OOM-killed"],
    }
    /// An image could not be pulled.
    ImagePullFailed {
        phrases: &["CannotPull…"],
    }
    /// Secrets, parameters or the login to a registry could not be fetched.
    SecretsUnavailable {
        phrases: &[
            "unable to pull secrets or registry auth",
            "unable to retrieve secret…",
            "unable to retrieve ecr registry auth",
            "Fetching secret data from SSM Parameter Store",
            "Fetching secret data from AWS Secrets Manager",
            "Asm fetching…",
        ],
    }
    /// Logging could not be set up.
    LoggingFailed {
        phrases: &[
            "failed to validate logger args",
            "failed to initialize logging driver",
            "awslogs-region is required",
            "no log configuration specified",
            "log group does not exist",
            "cannot find the Amazon CloudWatch log group",
            "firelens…",
        ],
    }
    /// A volume could not be created, attached or mounted.
    VolumeFailed {
        phrases: &[
            "EFS utils",
            "EFS volume…",
            "EFS file system…",
            "S3 Files",
            "EBS volume…",
            "ECS Infrastructure Role",
            "CannotCreateVolume…",
            "VolumeDriver.…",
            "mount system call failed",
            "failed to chown … operation not permitted",
            "not a directory",
            "mount a directory onto a file",
        ],
    }
    /// A network interface could not be created or attached.
    NetworkFailed {
        phrases: &[
            "Unexpected EC2 error while attempting to … network interface",
            "Unable to attach network interface",
            "Network interface provision complete error…",
            "Rate limit exceeded while preparing network interface",
            "netplugin failed",
            "failed to setup network namespace",
            "invoke eni plugin failed",
            "InternalError: … interface",
        ],
    }
    /// No instance may or can run it.
    PlacementFailed {
        phrases: &[
            "^AGENT$",
            "^ATTRIBUTE$",
            "^LOCATION$",
            "EMPTY CAPACITY PROVIDER",
            "NO ACTIVE INSTANCES",
            "MemberOf placement constraint unsatisfied",
            "not compatible with the selected compute strategy",
        ],
    }
    /// There is no capacity for it.
    CapacityUnavailable {
        phrases: &[
            "RESOURCE:…",
            "Capacity is unavailable at this time",
            "unable to place a task",
            "You've reached the limit on the number",
        ],
        sentences: &["Capacity is unavailable at this time. Please try again later or in a different availability \
         zone"],
    }
    /// AWS was too slow to provide something.
    SlowProvisioning {
        phrases: &[
            "Timeout waiting for network interface provisioning",
            "Timeout waiting for EphemeralStorage provisioning",
        ],
        sentences: &[
            "Timeout waiting for network interface provisioning to complete",
            "Timeout waiting for EphemeralStorage provisioning to complete",
        ],
    }
    /// A container's command is missing from its image, or not executable.
    CommandNotFound {
        ends: &[ByItself, NeverStarted],
        phrases: &[
            "executable file not found",
            "exec … permission denied",
            "exec … no such file or directory",
            // Windows.
            "CreateProcess … system cannot find the file specified",
        ],
        exit_codes: &[126, 127],
    }
    /// The container runtime was too slow.
    RuntimeTimeout {
        ends: &[ByItself, NeverStarted],
        phrases: &["DockerTimeoutError", "ContainerRuntimeTimeoutError", "Could not transition to … timed out"],
    }
    /// The container runtime could not start a container.
    ContainerStartFailed {
        phrases: &["CannotStartContainerError", "CannotCreateContainerError", "CannotInspectContainerError"],
    }
    /// Something else that the task needs at its start could not be set up.
    StartupFailed {
        phrases: &["ResourceInitializationError", "unable to assume the role"],
    }
    /// It crashed: a segmentation fault, an abort, an arithmetic error, an illegal instruction.
    Crashed {
        ends: &[ByItself],
        // The last three are Windows' 0xC0000005, 0xC00000FD and 0xC0000409.
        exit_codes: &[139, 134, 136, 132, 3_221_225_477, 3_221_225_725, 3_221_226_505],
    }
    /// It was killed, and ECS does not say why: memory is likely, not proven.
    Killed {
        ends: &[ByItself],
    }
    /// It exited on SIGTERM, as in a normal stop.
    Terminated {
        ends: &[ByItself],
    }
    /// The application ended with an exit code of its own.
    ApplicationError {
        ends: &[ByItself],
    }
    /// It finished. A service's task should not.
    Finished {
        ends: &[ByItself],
        exit_codes: &[0],
    }
    /// The load balancer found it unhealthy.
    LoadBalancerUnhealthy {
        ends: &[FromOutside],
        phrases: &["failed ELB health checks"],
        sentences: &["Task failed ELB health checks", "Task failed ELB health checks in (…)"],
    }
    /// A container failed its own health check.
    HealthCheckFailed {
        ends: &[FromOutside],
        phrases: &["failed container health checks"],
        sentences: &["Task failed container health checks"],
    }
    /// A scale-in or a deployment stopped it.
    ScaledIn {
        ends: &[FromOutside],
        phrases: &["Scaling activity initiated by"],
        sentences: &[
            "Scaling activity initiated by (…)",
            "Scaling activity initiated by deployment ‹path›",
        ],
    }
    /// Its instance was stopped or terminated.
    InstanceTerminated {
        ends: &[FromOutside],
        phrases: &["Host EC2 (instance … terminated", "Host EC2 (instance … stopped"],
        sentences: &[
            "Host EC2 (instance …) terminated",
            "Host EC2 (instance …) stopped",
            "Host EC2 (instance …) stopped/terminated",
        ],
    }
    /// Its instance was deregistered by force.
    InstanceDeregistered {
        ends: &[FromOutside],
        phrases: &["deregistration forced by user"],
        sentences: &["Container instance deregistration forced by user"],
    }
    /// AWS retires or maintains the host.
    HostMaintenance {
        ends: &[FromOutside],
        phrases: &["performing maintenance on the underlying infrastructure", "scheduled for retirement"],
        sentences: &[
            "ECS is performing maintenance on the underlying infrastructure hosting the task",
            "Amazon ECS is performing maintenance on the underlying infrastructure hosting the task",
            "AWS Fargate task is scheduled for retirement",
        ],
    }
    /// AWS took back its Spot capacity, or had none.
    SpotInterruption {
        ends: &[FromOutside],
        phrases: &["Your Spot Task was interrupted", "Spot interruption"],
        sentences: &["Your Spot Task was interrupted", "Spot interruption"],
        stop_codes: &["SpotInterruption"],
    }
    /// Its host is draining, about to be terminated, or unhealthy. The last two are our reading of stop codes that AWS
    /// does not define.
    HostLeaving {
        ends: &[FromOutside],
        phrases: &["container instance is in DRAINING state"],
        sentences: &["container instance is in DRAINING state"],
        stop_codes: &["TerminationNotice", "InfrastructureHealth"],
    }
    /// Somebody called `StopTask`.
    StoppedByUser {
        ends: &[FromOutside],
        stop_codes: &["UserInitiated"],
    }
    /// The service scheduler stopped it, and it did not end in time.
    KilledWhileStopping {
        ends: &[FromOutside],
    }
    /// None of these.
    Unknown {
        ends: &[],
    }
}

/// What else a text can be about.
#[derive(Clone, Copy)]
pub(super) enum Aside {
    /// How the stop went, which is never its reason.
    Stop,
    /// Another container that failed first.
    Dependency,
    /// A container that the runtime did not start, whatever its exit code.
    Start,
    /// A container that the runtime no longer knows.
    Vanished,
}

/// In the order of [`Aside`].
static ASIDES: [&[&str]; 4] = [
    &["Could not transition to stopped", "CannotStopContainerError"],
    &["dependency graph"],
    &["CannotStartContainerError", "CannotCreateContainerError", "CannotInspectContainerError"],
    &["ContainerVanishedError"],
];

static PHRASES: LazyLock<Patterns> = LazyLock::new(|| {
    let rows = ROWS.iter().map(|row| row.phrases).chain(ASIDES);
    Patterns::new(
        rows.enumerate().flat_map(|(row, phrases)| phrases.iter().map(move |phrase| (row, (*phrase).to_owned()))),
    )
});

static SENTENCES: LazyLock<Patterns> = LazyLock::new(|| {
    let rows = ROWS.iter().map(|row| row.sentences);
    Patterns::new(
        rows.enumerate().flat_map(|(row, phrases)| phrases.iter().map(move |phrase| (row, format!("^{phrase}$")))),
    )
});

/// The codes and asides whose phrases a text contains.
pub(super) struct Matches(Rows);

impl Matches {
    pub(super) fn new(text: &Text) -> Self {
        Self(PHRASES.rows(text))
    }

    /// The first of these codes.
    pub(super) fn code(&self, is: impl Fn(Code) -> bool) -> Option<Code> {
        self.0.iter().filter_map(|row| Code::ALL.get(row).copied()).find(|code| is(*code))
    }

    pub(super) fn aside(&self, aside: Aside) -> bool {
        self.0.contains(Code::ALL.len() + aside as usize)
    }
}

impl Code {
    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Whether a task that ended this way can have this code.
    pub(super) fn is_of(self, ending: Ending) -> bool {
        self.row().ends.contains(&ending)
    }

    /// The code of a text that is a whole sentence of ECS.
    pub(super) fn of_sentence(text: &Text) -> Option<Self> {
        SENTENCES.rows(text).iter().next().map(|row| Self::ALL[row])
    }

    pub(super) fn of_stop_code(stop_code: &str) -> Option<Self> {
        Self::all().find(|code| code.row().stop_codes.contains(&stop_code))
    }

    /// The code of a container that ended by itself.
    pub(super) fn of_exit_code(exit_code: i64) -> Self {
        Self::all().find(|code| code.row().exit_codes.contains(&exit_code)).unwrap_or(Self::ApplicationError)
    }
}
