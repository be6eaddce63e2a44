//! What a task needs in order to start, and what to do if it is not available.

use super::codes::Code;
use super::facts::Facts;
use super::gate::Finding;
use super::report::Ended;

/// Phrases before the name of an image that cannot be pulled.
const BEFORE_IMAGES: [&str; 6] = [
    "resolve ref ",
    "resolve reference ",
    "task cannot pull ",
    "pull access denied for ",
    "manifest for ",
    "(404): repository ",
];

/// Phrases about the login to Amazon ECR.
const LOGINS: [&str; 4] = ["ecr registry auth", "registry auth from", "getauthorizationtoken", "//api.ecr"];

/// One resource, by its name in the task.
pub(super) struct Subject {
    pub(super) kind: &'static Kind,
    /// As the subject of a sentence: `logging to log group "/ecs/web"`.
    pub(super) name: String,
    /// As what to act on: `log group "/ecs/web"`.
    pub(super) resource: String,
}

/// What is the same for all resources of a kind. In advice, `{it}` is the resource.
pub(super) struct Kind {
    pub(super) failure: &'static str,
    /// What serves it over the network.
    pub(super) provider: &'static str,
    pub(super) denied: &'static str,
    pub(super) not_found: &'static str,
    pub(super) wrong_platform: &'static str,
    pub(super) invalid: &'static str,
    pub(super) rate_limited: &'static str,
    /// `{endpoint}` is what could not be reached.
    pub(super) unreachable: &'static str,
    pub(super) timed_out: &'static str,
    pub(super) unexplained: &'static str,
}

const KIND: Kind = Kind {
    failure: "could not be set up",
    provider: "what it needs",
    denied: "Allow the task's execution role to read {it} and to decrypt with its KMS key.",
    not_found: "Create what {it} refers to, or correct it in the task definition.",
    wrong_platform: "Build {it} for the processor and operating system that the task runs on, or change \
                     runtimePlatform in the task definition.",
    invalid: "Correct the configuration of {it}.",
    rate_limited: "Start the task again, start fewer tasks at once, or ask AWS to raise the request quota for {it}.",
    unreachable: "Check the route, NAT gateway or VPC endpoint, security groups and DNS between the task's subnet and \
                  {endpoint} (for {it}).",
    timed_out: "Start the task again; if {it} fails again, open a case with AWS Support.",
    unexplained: "Read the error, then check the configuration of {it} and what provides it.",
};

const IMAGE: Kind = Kind {
    failure: "could not be pulled",
    provider: "its registry",
    denied: "Allow the task's execution role to pull {it} (check the repository's policy, too), or correct the \
     credentials \
             for its registry.",
    not_found: "Push {it}, or correct its name in the task definition; if it is private, add the credentials for its \
                registry.",
    invalid: "Correct the name of {it} in the task definition, or build and push it again.",
    rate_limited: "Keep a copy of {it} in Amazon ECR (with a pull through cache) or log in to its registry, then start \
                   the task again.",
    unexplained: "Read the error, then try to pull {it} with the same role from the same subnet.",
    ..KIND
};

const SECRETS: Kind = Kind {
    failure: "could not be fetched",
    provider: "AWS Secrets Manager",
    not_found: "Create {it} in the task's region, or correct the name in the task definition.",
    unexplained: "Check that the task's execution role may read {it}, and that its subnet has a route there.",
    ..KIND
};
const PARAMETERS: Kind = Kind { provider: "Systems Manager Parameter Store", ..SECRETS };
const REGISTRY_LOGIN: Kind = Kind { provider: "Amazon ECR", not_found: KIND.not_found, ..SECRETS };
const SECRETS_OR_LOGIN: Kind = Kind { provider: "their AWS endpoint", not_found: KIND.not_found, ..SECRETS };
const WITHOUT_ENDPOINT: Kind = Kind {
    unreachable: "Check the route, NAT gateway or VPC endpoint, security groups and DNS between the task's subnet and \
                  AWS Secrets Manager, Systems Manager and Amazon ECR.",
    ..SECRETS_OR_LOGIN
};

const LOGGING: Kind = Kind {
    provider: "the log driver's endpoint",
    denied: "Allow the task's execution role to create log streams and to write to them for {it}.",
    not_found: "Create the log group in the task's region, or correct the log configuration for {it}.",
    invalid: "Correct the log configuration for {it} in the task definition.",
    unexplained: "Check the log configuration for {it}, the log driver and the task's execution role.",
    ..KIND
};

const EFS: Kind = Kind {
    failure: "could not be mounted",
    provider: "its mount target",
    denied: "Allow the task's role to mount {it}; check the file system's policy and its access point, too.",
    not_found: "Create the directory in {it}, or correct rootDirectory in the task definition.",
    unreachable: "Check that {it} has a mount target in the task's availability zone whose security group admits the \
                  task on port 2049.",
    ..KIND
};
const S3_FILES: Kind = Kind { unreachable: KIND.unreachable, ..EFS };

const EBS: Kind = Kind {
    failure: "could not be mounted",
    denied: "Check the trust policy and the permissions of the ECS infrastructure role for {it}.",
    invalid: "Correct the configuration of {it}, starting with its KMS key and tags.",
    timed_out: "Check that the file system type of {it} fits its snapshot and the task's operating system.",
    ..KIND
};

const VOLUME: Kind = Kind { failure: "could not be mounted", denied: CONTAINER.denied, ..KIND };

const NETWORK_INTERFACE: Kind = Kind {
    failure: "could not be created or attached",
    denied: "Check the permissions of ECS's service-linked role to create {it}, and whether the subnet is shared with \
     this account.",
    not_found: "Correct the subnets and security groups of the task or the service: one of them does not exist.",
    unexplained: "Start the task again; if {it} fails again, compare the interfaces in use with the number that the \
                  instance type allows.",
    ..KIND
};

const EPHEMERAL_STORAGE: Kind = Kind { failure: "could not be provided", ..KIND };

const ENVIRONMENT_FILE: Kind = Kind {
    failure: "could not be downloaded",
    provider: "Amazon S3",
    not_found: "Upload {it}, or correct its address in the task definition.",
    ..KIND
};

const RESOURCES: Kind = KIND;

const CONTAINER: Kind = Kind {
    failure: "could not be started",
    denied: "Check the permissions on the instance, and in the task definition, that {it} needs.",
    wrong_platform: "Build the image of {it} for the processor and operating system that the task runs on, or change \
                     runtimePlatform in the task definition.",
    unexplained: "Check the container runtime, the drivers and the logs of the instance, and start {it} on another \
                  instance.",
    ..KIND
};

const TASK: Kind = Kind { failure: "could not be placed", ..KIND };

impl Subject {
    pub(super) fn new(finding: &Finding, facts: &Facts) -> Self {
        let container = finding.ended.and_then(Ended::name);
        let of_container = |what: &str| container.map(|container| format!("{what} of container {container:?}"));
        match finding.code {
            Code::ImagePullFailed => {
                let named = || BEFORE_IMAGES.iter().find_map(|before| facts.name_after(before));
                match (finding.ended.and_then(Ended::image).or_else(named), of_container("the image")) {
                    (Some(image), _) => {
                        let image = format!("image {image:?}");
                        Self { kind: &IMAGE, name: of_container(&image).unwrap_or(image.clone()), resource: image }
                    }
                    (None, Some(image)) => Self::named(&IMAGE, image),
                    (None, None) => Self::unnamed(&IMAGE, "the image of a container", "the image"),
                }
            }
            Code::SecretsUnavailable => Self::secrets(facts),
            Code::LoggingFailed => match (facts.log_group(), container) {
                (Some(group), _) => Self {
                    kind: &LOGGING,
                    name: format!("logging to log group {group:?}"),
                    resource: format!("log group {group:?}"),
                },
                (None, Some(container)) => Self {
                    kind: &LOGGING,
                    name: format!("logging of container {container:?}"),
                    resource: format!("the log of container {container:?}"),
                },
                (None, None) => Self::unnamed(&LOGGING, "logging", "the containers' logs"),
            },
            Code::VolumeFailed => Self::volume(finding, facts),
            Code::SlowProvisioning if facts.says("ephemeralstorage") => {
                Self::named(&EPHEMERAL_STORAGE, "the task's ephemeral storage".to_owned())
            }
            Code::NetworkFailed | Code::SlowProvisioning => {
                Self::named(&NETWORK_INTERFACE, "the task's network interface".to_owned())
            }
            Code::StartupFailed if facts.says("env file") => match facts.s3_object() {
                Some(object) => Self::named(&ENVIRONMENT_FILE, format!("environment file {object:?}")),
                None => Self::unnamed(&ENVIRONMENT_FILE, "an environment file", "the environment file"),
            },
            Code::StartupFailed => Self::unnamed(
                &RESOURCES,
                "something that the task needs at its start",
                "what the task needs at its start",
            ),
            Code::PlacementFailed | Code::CapacityUnavailable => Self::named(&TASK, "the task".to_owned()),
            _ => match container {
                Some(container) => Self::named(&CONTAINER, format!("container {container:?}")),
                None => Self::unnamed(&CONTAINER, "a container", "the container"),
            },
        }
    }

    /// Whether it is several secrets or parameters.
    pub(super) fn is_plural(&self) -> bool {
        let name = self.name.trim_start_matches("the ");
        name.starts_with("secrets") || name.starts_with("parameters")
    }

    fn named(kind: &'static Kind, name: String) -> Self {
        Self { kind, resource: name.clone(), name }
    }

    fn unnamed(kind: &'static Kind, name: &str, resource: &str) -> Self {
        Self { kind, name: name.to_owned(), resource: resource.to_owned() }
    }

    fn secrets(facts: &Facts) -> Self {
        let (secrets, parameters) = (facts.secrets(), facts.parameters());
        if !secrets.is_empty() {
            Self::named(&SECRETS, list("secret", &secrets))
        } else if !parameters.is_empty() {
            Self::named(&PARAMETERS, list("parameter", &parameters))
        } else if LOGINS.iter().any(|login| facts.says(login)) {
            Self::named(&REGISTRY_LOGIN, "the login to Amazon ECR".to_owned())
        } else if facts.says("ssm") {
            Self::unnamed(&PARAMETERS, "parameters", "the parameters")
        } else if facts.says("asm") || facts.says("secrets manager") {
            Self::unnamed(&SECRETS, "secrets", "the secrets")
        } else {
            let name = "the secrets or the registry login";
            let is_known = facts.endpoint(Code::SecretsUnavailable).is_some();
            let kind = if is_known { &SECRETS_OR_LOGIN } else { &WITHOUT_ENDPOINT };
            Self::unnamed(kind, name, "the secrets and the registry login")
        }
    }

    fn volume(finding: &Finding, facts: &Facts) -> Self {
        let volume = finding.attached.and_then(|attached| attached.attachment.detail("volumeName"));
        if let Some(file_system) = facts.id("fs-") {
            return Self::named(&EFS, format!("file system {file_system}"));
        }
        if facts.says("s3 files") {
            return Self::unnamed(&S3_FILES, "an S3 Files volume", "the S3 Files file system");
        }
        if facts.says("ebs volume") || facts.says("ecs infrastructure role") {
            return match volume {
                Some(volume) => Self::named(&EBS, format!("EBS volume {volume:?}")),
                None => Self::unnamed(&EBS, "an EBS volume", "the EBS volume"),
            };
        }
        if facts.says_word("efs") {
            return Self::unnamed(&EFS, "an EFS volume", "the EFS file system");
        }
        let is_created = facts.says("volumedriver") || facts.says("cannotcreatevolume");
        let created = || facts.name_after("error response from daemon: create ").filter(|_| is_created);
        match (volume.or_else(created), finding.ended.and_then(Ended::name)) {
            (Some(volume), _) => Self::named(&VOLUME, format!("volume {volume:?}")),
            (None, Some(container)) => Self {
                kind: &VOLUME,
                name: format!("a volume of container {container:?}"),
                resource: format!("the volume of container {container:?}"),
            },
            (None, None) => Self::unnamed(&VOLUME, "a volume", "the volume"),
        }
    }
}

/// `the secrets "a", "b"`, at most ten.
fn list(noun: &str, names: &[&str]) -> String {
    let plural = if names.len() > 1 { "s" } else { "" };
    let more = names.len().saturating_sub(10);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names: Vec<String> = names.iter().take(10).map(|name| format!("{name:?}")).collect();
    format!("the {noun}{plural} {}{more}", names.join(", "))
}
