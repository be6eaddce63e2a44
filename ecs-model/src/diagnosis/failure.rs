//! What could not be done for a task that never started, and why, with the names that ECS says.

use std::fmt::{Display, Formatter, Result as FmtResult};

use super::causes::Cause;
use super::codes::Code;
use super::facts::{Denial, Facts};
use super::gate::Finding;
use super::said::Ended;

/// What stands before the name of an image that can't be pulled.
const BEFORE_IMAGES: [&str; 6] = [
    "resolve ref ",
    "resolve reference ",
    "task cannot pull ",
    "pull access denied for ",
    "manifest for ",
    "(404): repository ",
];

/// What tells that the login to Amazon ECR could not be fetched.
const LOGINS: [&str; 4] = ["ecr registry auth", "registry auth from", "getauthorizationtoken", "//api.ecr"];

/// What failed.
pub(super) enum Subject<'x> {
    Image {
        image: Option<&'x str>,
        container: Option<&'x str>,
    },
    Secrets(Vec<&'x str>),
    Parameters(Vec<&'x str>),
    RegistryLogin,
    SecretsOrLogin,
    LogGroup(&'x str),
    /// Of a container, if the text is about one.
    Logging(Option<&'x str>),
    FileSystem(&'x str),
    EfsVolume,
    S3FilesVolume,
    EbsVolume(Option<&'x str>),
    Volume {
        name: Option<&'x str>,
        container: Option<&'x str>,
    },
    NetworkInterface,
    EphemeralStorage,
    EnvironmentFile(Option<&'x str>),
    Resources,
    Container(Option<&'x str>),
    Task,
}

/// Why it failed.
#[derive(Clone, Copy)]
pub(super) enum Why<'x> {
    Denied(Option<Denial<'x>>),
    NotAssumed(&'x str),
    /// By S3, which also says so of what does not exist.
    ForbiddenByS3,
    NotFound,
    /// In a file system.
    NoDirectory(&'x str),
    /// A secret has no such key.
    NoKey(&'x str),
    WrongPlatform,
    /// An option is missing.
    Required(&'x str),
    Invalid,
    InvalidImage,
    RateLimited,
    Unreachable {
        endpoint: Option<&'x str>,
        is_local: bool,
    },
    DiskFull,
    SubnetFull(Option<&'x str>),
    PortTaken,
    Quota,
    Lacking(&'x str),
    NoCapacity,
    Chown(Option<&'x str>),
    /// What is mounted, and where, are not both files or both directories.
    DirectoryOnFile(Option<&'x str>),
    NoDevice(Option<&'x str>),
    ControlGroups,
    AgentDisconnected,
    NoAttribute,
    NoLocation,
    EmptyCapacityProvider,
    NoInstances,
    Constraint,
    ComputeStrategy,
    TimedOut,
    DependencyFailed,
    NotTold,
}

impl<'x> Subject<'x> {
    pub(super) fn new(finding: &Finding<'x, '_>, facts: &Facts<'x>) -> Self {
        let container = finding.ended.and_then(Ended::name);
        match finding.code {
            Code::ImagePullFailed => {
                let named = || BEFORE_IMAGES.iter().find_map(|before| facts.name_after(before));
                Self::Image { image: finding.ended.and_then(Ended::image).or_else(named), container }
            }
            Code::SecretsUnavailable => secrets(facts),
            Code::LoggingFailed => facts.log_group().map_or(Self::Logging(container), Self::LogGroup),
            Code::VolumeFailed => volume(finding, facts, container),
            Code::SlowProvisioning if facts.says("ephemeralstorage") => Self::EphemeralStorage,
            Code::NetworkFailed | Code::SlowProvisioning => Self::NetworkInterface,
            Code::StartupFailed if facts.says("env file") => Self::EnvironmentFile(facts.s3_object()),
            Code::StartupFailed => Self::Resources,
            Code::PlacementFailed | Code::CapacityUnavailable => Self::Task,
            _ => Self::Container(container),
        }
    }

    /// It, as what somebody has to act on.
    pub(super) fn resource(&self) -> Resource<'_, 'x> {
        Resource(self)
    }

    /// Whom the host asks for it.
    pub(super) fn provider(&self) -> &'static str {
        match self {
            Self::Image { .. } => "its registry",
            Self::Secrets(_) => "AWS Secrets Manager",
            Self::Parameters(_) => "Systems Manager Parameter Store",
            Self::RegistryLogin => "Amazon ECR",
            Self::SecretsOrLogin => "their AWS endpoint",
            Self::LogGroup(_) | Self::Logging(_) => "the log driver's endpoint",
            Self::FileSystem(_) | Self::EfsVolume | Self::S3FilesVolume => "its mount target",
            Self::EnvironmentFile(_) => "Amazon S3",
            _ => "what it needs",
        }
    }

    /// What was not done with it.
    pub(super) fn failure(&self) -> &'static str {
        match self {
            Self::Image { .. } => "could not be pulled",
            Self::Secrets(_) | Self::Parameters(_) | Self::RegistryLogin | Self::SecretsOrLogin => {
                "could not be fetched"
            }
            Self::LogGroup(_) | Self::Logging(_) | Self::Resources => "could not be set up",
            Self::EnvironmentFile(_) => "could not be downloaded",
            Self::FileSystem(_) | Self::EfsVolume | Self::S3FilesVolume | Self::EbsVolume(_) | Self::Volume { .. } => {
                "could not be mounted"
            }
            Self::NetworkInterface => "could not be created or attached",
            Self::EphemeralStorage => "could not be provided",
            Self::Container(_) => "could not be started",
            Self::Task => "could not be placed",
        }
    }
}

fn secrets<'x>(facts: &Facts<'x>) -> Subject<'x> {
    let (secrets, parameters) = (facts.secrets(), facts.parameters());
    if !secrets.is_empty() {
        Subject::Secrets(secrets)
    } else if !parameters.is_empty() {
        Subject::Parameters(parameters)
    } else if LOGINS.iter().any(|login| facts.says(login)) {
        Subject::RegistryLogin
    } else if facts.says("ssm") {
        Subject::Parameters(Vec::new())
    } else if facts.says("asm") || facts.says("secrets manager") {
        Subject::Secrets(Vec::new())
    } else {
        Subject::SecretsOrLogin
    }
}

fn volume<'x>(finding: &Finding<'x, '_>, facts: &Facts<'x>, container: Option<&'x str>) -> Subject<'x> {
    let volume = finding.attached.and_then(|attached| attached.attachment.detail("volumeName"));
    let is_ebs = facts.says("ebs volume") || facts.says("ecs infrastructure role");
    if let Some(file_system) = facts.id("fs-") {
        Subject::FileSystem(file_system)
    } else if facts.says("s3 files") {
        Subject::S3FilesVolume
    } else if is_ebs {
        Subject::EbsVolume(volume)
    } else if facts.says("efs") {
        Subject::EfsVolume
    } else {
        let created = facts
            .name_after("error response from daemon: create ")
            .filter(|_| facts.says("volumedriver") || facts.says("cannotcreatevolume"));
        Subject::Volume { name: volume.or(created), container }
    }
}

impl<'x> Why<'x> {
    pub(super) fn new(code: Code, cause: Option<Cause>, facts: &Facts<'x>) -> Self {
        match cause {
            _ if code == Code::VolumeFailed && facts.says("failed to chown") => {
                Self::Chown(facts.name_after("failed to chown "))
            }
            Some(Cause::AccessDenied) if code == Code::StartupFailed && facts.says("forbidden") => Self::ForbiddenByS3,
            Some(Cause::AccessDenied) => match facts.denial() {
                Some(denial) if facts.says("unable to assume") => Self::NotAssumed(denial.role),
                denial => Self::Denied(denial),
            },
            Some(Cause::NotFound) if code == Code::VolumeFailed => {
                facts.mounted_path().map_or(Self::NotFound, Self::NoDirectory)
            }
            Some(Cause::NotFound) => facts.name_after("json key ").map_or(Self::NotFound, Self::NoKey),
            Some(Cause::WrongPlatform) => Self::WrongPlatform,
            Some(Cause::Invalid) if code == Code::PlacementFailed => Self::ComputeStrategy,
            Some(Cause::Invalid) if code == Code::ImagePullFailed => Self::InvalidImage,
            Some(Cause::Invalid) => facts
                .name_before(" is required")
                .filter(|name| name.contains('-'))
                .map_or(Self::Invalid, Self::Required),
            Some(Cause::RateLimited) => Self::RateLimited,
            Some(Cause::Unreachable) => {
                Self::Unreachable { endpoint: facts.endpoint(), is_local: facts.endpoint_is_local() }
            }
            Some(Cause::Exhausted) if facts.says("freeaddresses") => Self::SubnetFull(facts.id("subnet-")),
            Some(Cause::Exhausted) if facts.says("port is already") => Self::PortTaken,
            Some(Cause::Exhausted) if facts.says("limit") => Self::Quota,
            Some(Cause::Exhausted) => facts.resource().map_or(Self::DiskFull, Self::Lacking),
            Some(Cause::Timeout) => Self::TimedOut,
            None => Self::without_cause(code, facts),
        }
    }

    fn without_cause(code: Code, facts: &Facts<'x>) -> Self {
        match code {
            Code::PlacementFailed if facts.says("constraint") => Self::Constraint,
            Code::PlacementFailed if facts.says("empty capacity provider") => Self::EmptyCapacityProvider,
            Code::PlacementFailed if facts.says("no active instances") => Self::NoInstances,
            Code::PlacementFailed if facts.says("attribute") => Self::NoAttribute,
            Code::PlacementFailed if facts.says("location") => Self::NoLocation,
            Code::PlacementFailed if facts.says("agent") => Self::AgentDisconnected,
            Code::CapacityUnavailable => Self::NoCapacity,
            Code::VolumeFailed if facts.says("directory") => Self::DirectoryOnFile(facts.name_after("error mounting ")),
            Code::ContainerStartFailed if facts.says("device information") => {
                Self::NoDevice(facts.name_after("custom device "))
            }
            Code::ContainerStartFailed if facts.says("/sys/fs/cgroup") => Self::ControlGroups,
            Code::ContainerStartFailed if facts.says("dependency graph") => Self::DependencyFailed,
            _ => Self::NotTold,
        }
    }
}

impl Display for Subject<'_> {
    fn fmt(&self, to: &mut Formatter<'_>) -> FmtResult {
        match self {
            Self::Image { image: Some(image), container: Some(container) } => {
                write!(to, "image {image:?} of container {container:?}")
            }
            Self::Image { image: Some(image), .. } => write!(to, "image {image:?}"),
            Self::Image { container: Some(container), .. } => write!(to, "the image of container {container:?}"),
            Self::Image { .. } => to.write_str("the image of a container"),
            Self::Secrets(names) => list(to, "secret", names),
            Self::Parameters(names) => list(to, "parameter", names),
            Self::RegistryLogin => to.write_str("the login to Amazon ECR"),
            Self::SecretsOrLogin => to.write_str("the secrets or the registry login"),
            Self::LogGroup(name) => write!(to, "logging to log group {name:?}"),
            Self::Logging(Some(container)) => write!(to, "logging of container {container:?}"),
            Self::Logging(None) => to.write_str("logging"),
            Self::FileSystem(id) => write!(to, "file system {id}"),
            Self::EfsVolume => to.write_str("an EFS volume"),
            Self::S3FilesVolume => to.write_str("an S3 Files volume"),
            Self::EbsVolume(Some(name)) => write!(to, "EBS volume {name:?}"),
            Self::EbsVolume(None) => to.write_str("an EBS volume"),
            Self::Volume { name: Some(name), .. } => write!(to, "volume {name:?}"),
            Self::Volume { container: Some(container), .. } => write!(to, "a volume of container {container:?}"),
            Self::Volume { .. } => to.write_str("a volume"),
            Self::NetworkInterface => to.write_str("the task's network interface"),
            Self::EphemeralStorage => to.write_str("the task's ephemeral storage"),
            Self::EnvironmentFile(Some(name)) => write!(to, "environment file {name:?}"),
            Self::EnvironmentFile(None) => to.write_str("an environment file"),
            Self::Resources => to.write_str("something that the task needs at its start"),
            Self::Container(Some(name)) => write!(to, "container {name:?}"),
            Self::Container(None) => to.write_str("a container"),
            Self::Task => to.write_str("the task"),
        }
    }
}

/// A subject as what somebody has to act on: a log group rather than logging to it.
pub(super) struct Resource<'s, 'x>(&'s Subject<'x>);

impl Display for Resource<'_, '_> {
    fn fmt(&self, to: &mut Formatter<'_>) -> FmtResult {
        match self.0 {
            Subject::Image { image: Some(image), .. } => write!(to, "image {image:?}"),
            Subject::Image { container: None, .. } => to.write_str("the image"),
            Subject::Secrets(names) if names.is_empty() => to.write_str("the secrets"),
            Subject::Parameters(names) if names.is_empty() => to.write_str("the parameters"),
            Subject::SecretsOrLogin => to.write_str("the secrets and the registry login"),
            Subject::LogGroup(name) => write!(to, "log group {name:?}"),
            Subject::Logging(Some(container)) => write!(to, "the log of container {container:?}"),
            Subject::Logging(None) => to.write_str("the containers' logs"),
            Subject::EfsVolume => to.write_str("the EFS file system"),
            Subject::S3FilesVolume => to.write_str("the S3 Files file system"),
            Subject::EbsVolume(None) => to.write_str("the EBS volume"),
            Subject::Volume { name: None, container: Some(container) } => {
                write!(to, "the volume of container {container:?}")
            }
            Subject::Volume { name: None, .. } => to.write_str("the volume"),
            Subject::EnvironmentFile(None) => to.write_str("the environment file"),
            Subject::Resources => to.write_str("what the task needs at its start"),
            Subject::Container(None) => to.write_str("the container"),
            subject => write!(to, "{subject}"),
        }
    }
}

/// `the secrets "a", "b"`; without names, `secrets`.
fn list(to: &mut Formatter<'_>, noun: &str, names: &[&str]) -> FmtResult {
    match names {
        [] => write!(to, "{noun}s"),
        [name] => write!(to, "the {noun} {name:?}"),
        [first, others @ ..] => {
            write!(to, "the {noun}s {first:?}")?;
            others.iter().try_for_each(|name| write!(to, ", {name:?}"))
        }
    }
}

impl Display for Why<'_> {
    fn fmt(&self, to: &mut Formatter<'_>) -> FmtResult {
        let text = match *self {
            Self::Denied(Some(Denial { role, action: Some(action) })) => {
                return write!(to, "access denied, role {role:?} may not call {action}");
            }
            Self::Denied(Some(Denial { role, .. })) => return write!(to, "access denied with role {role:?}"),
            Self::Denied(None) => "access denied",
            Self::NotAssumed(role) => return write!(to, "role {role:?} could not be assumed"),
            Self::ForbiddenByS3 => "S3 denied access, as it also does if there is no such object",
            Self::NotFound => "not found",
            Self::NoDirectory(path) => return write!(to, "it has no directory {path:?}"),
            Self::NoKey(key) => return write!(to, "it has no key {key:?}"),
            Self::WrongPlatform => "built for another processor or operating system",
            Self::Required(option) => return write!(to, "{option:?} is required"),
            Self::Invalid => "invalid configuration",
            Self::InvalidImage => "invalid name or content",
            Self::RateLimited => "too many requests",
            Self::Unreachable { endpoint: Some(endpoint), .. } => {
                return write!(to, "{endpoint:?} could not be reached");
            }
            Self::Unreachable { .. } => "the connection failed",
            Self::DiskFull => "no space is left on the disk",
            Self::SubnetFull(Some(subnet)) => return write!(to, "{subnet} has no free addresses"),
            Self::SubnetFull(None) => "its subnet has no free addresses",
            Self::PortTaken => "the host's port is already in use",
            Self::Quota => "a quota of the account is reached",
            Self::Lacking(resource) => return lacking(to, resource),
            Self::NoCapacity => "no capacity is available",
            Self::Chown(Some(path)) => return write!(to, "the owner of {path:?} could not be changed"),
            Self::Chown(None) => "its owner could not be changed",
            Self::DirectoryOnFile(Some(path)) => {
                return write!(to, "only one of {path:?} and its mount point is a directory");
            }
            Self::DirectoryOnFile(None) => "only one of its source and its mount point is a directory",
            Self::NoDevice(Some(device)) => return write!(to, "its host has no device {device:?}"),
            Self::NoDevice(None) => "its host lacks a device",
            Self::ControlGroups => "the kernel has no control groups left",
            Self::AgentDisconnected => "the ECS agent of the instance is disconnected",
            Self::NoAttribute => "no instance has a required attribute",
            Self::NoLocation => "no instance is in a required location",
            Self::EmptyCapacityProvider => "its capacity provider has no instances",
            Self::NoInstances => "the cluster has no active instances",
            Self::Constraint => "no instance satisfies its placement constraint",
            Self::ComputeStrategy => "its task definition does not fit the launch type or capacity provider",
            Self::TimedOut => "it took too long",
            Self::DependencyFailed => "a container that it depends on failed",
            Self::NotTold => return Ok(()),
        };
        to.write_str(text)
    }
}

fn lacking(to: &mut Formatter<'_>, resource: &str) -> FmtResult {
    match &*resource.to_ascii_uppercase() {
        "GPU" => to.write_str("no instance has a free GPU"),
        fargate if fargate.starts_with("FARGATE") => to.write_str("Fargate has no free capacity"),
        _ => write!(to, "no instance has enough free {}", Lacking(resource)),
    }
}

/// A resource of instances, as ECS names it.
pub(super) struct Lacking<'x>(pub(super) &'x str);

impl Display for Lacking<'_> {
    fn fmt(&self, to: &mut Formatter<'_>) -> FmtResult {
        let resource = self.0.to_ascii_uppercase();
        to.write_str(match &*resource {
            "GPU" => "GPUs",
            "MEMORY" => "memory",
            "CPU" => "CPU",
            "ENI" => "network interfaces (ENI)",
            _ if resource.starts_with("PORT") => "ports",
            _ => return write!(to, "{:?}", self.0),
        })
    }
}
