//! The next thing to do, in one sentence that names the resource.

use super::failure::{Lacking, Subject, Why};
use super::said::Said;
use super::sentence::Clause;

/// What to do about what explains a stop. Like the redacted sentence, it quotes nothing that a person or a program
/// wrote.
pub(super) fn advice(clause: &Clause, said: &Said) -> String {
    let about = |container: Option<&str>| Subject::Container(container).resource().to_string();
    match *clause {
        Clause::OutOfMemory { container, memory, task_memory } => {
            let limit = memory.or(task_memory).map_or(String::new(), |mib| format!(" above {mib} MiB"));
            format!("Raise the memory limit of {}{limit}, or find out why it needs more.", about(container))
        }
        Clause::Failed { ref subject, why } => failed(subject, why, said),
        Clause::SlowProvisioning(_) => restart(said, "if that keeps happening, open a case with AWS Support"),
        Clause::CommandNotFound { container, is_missing: true, .. } => format!(
            "Correct the command or entry point of {} in the task definition, or add the program to its image.",
            about(container)
        ),
        Clause::CommandNotFound { container, .. } => format!(
            "Make the program of {} executable in its image (chmod +x), or correct its command in the task definition.",
            about(container)
        ),
        Clause::RuntimeTimeout { is_fargate: true, .. } => {
            restart(said, "if that keeps happening, open a case with AWS Support")
        }
        Clause::RuntimeTimeout { container, .. } => format!(
            "Check the disk, the CPU load and the container runtime of the instance, which was too slow to start {}, and \
             replace the instance if that persists.",
            about(container)
        ),
        Clause::StopTimedOut { container } => format!(
            "Check the container runtime of the instance, and whether {} ends on SIGTERM within its stopTimeout.",
            about(container)
        ),
        Clause::Crashed { container, .. } => {
            format!("Read the last log lines of {} and debug the crash.", about(container))
        }
        Clause::Killed { container } => format!(
            "Compare the memory use of {} with its limit and raise the limit if they meet, or find out what killed it.",
            about(container)
        ),
        Clause::Terminated { container, .. } => {
            format!("Nothing to do: {} shut down when it was asked to.", about(container))
        }
        Clause::ApplicationError { container, .. } => {
            format!("Read the last log lines of {} to find out why it ended.", about(container))
        }
        Clause::Finished { container, service: None } => {
            format!("Nothing to do: {} finished its work.", about(container))
        }
        Clause::Finished { container, service: Some(service) } => format!(
            "Find out in the logs of {} why it ended, since service {service:?} keeps starting it again; run a job \
             outside of a service.",
            about(container)
        ),
        Clause::LoadBalancerUnhealthy { target } => format!(
            "Check that the application answers the health check of {} in time, also while it starts, and that its \
             security group lets the load balancer in.",
            target.map_or("the load balancer".to_owned(), |target| format!("{target:?}"))
        ),
        Clause::HealthCheckFailed { container } => format!(
            "Run the health check of {} by hand and read its logs; if it only starts slowly, raise startPeriod.",
            about(container)
        ),
        Clause::ScaledIn { .. } => "Nothing to do: the service no longer needs the task.".to_owned(),
        Clause::InstanceTerminated { instance } => format!(
            "Look up what ended {} in Auto Scaling's activity history and CloudTrail, unless it was intended.",
            named("instance", instance)
        ),
        Clause::InstanceDeregistered { instance } => format!(
            "Look up in CloudTrail who deregistered {}, and have instances drained first.",
            named("container instance", instance)
        ),
        Clause::HostMaintenance => restart(said, "AWS moves tasks off a host before maintaining it"),
        Clause::SpotInterruption { .. } => {
            restart(said, "run on demand what must not be interrupted, since AWS reclaims Spot capacity at any time")
        }
        Clause::HostLeaving { .. } => {
            restart(said, "if the host was not meant to leave, look up why in Auto Scaling's activity history")
        }
        Clause::StoppedByUser { .. } => {
            "Nothing to do if it was intended; if not, look up in CloudTrail who called StopTask.".to_owned()
        }
        Clause::KilledWhileStopping { container } => {
            format!("Make {} end on SIGTERM, or raise its stopTimeout in the task definition.", about(container))
        }
        Clause::Unknown { text: None } => {
            "Look at the logs of the containers, and at the service's events around that time.".to_owned()
        }
        Clause::Unknown { .. } => "Read what ECS says, then the logs of the containers around that time.".to_owned(),
    }
}

/// What to do about an interruption.
fn restart(said: &Said, remark: &str) -> String {
    if said.task.service_name().is_some() {
        format!("Nothing to do, the service starts another task; {remark}.")
    } else {
        format!("Start the task again; {remark}.")
    }
}

fn named(noun: &str, name: Option<&str>) -> String {
    name.map_or(format!("the {noun}"), |name| format!("{noun} {name:?}"))
}

fn failed(subject: &Subject, why: Why, said: &Said) -> String {
    let it = subject.resource();
    match why {
        Why::Denied(denial) => match denial.and_then(|denial| Some((denial.role, denial.action?))) {
            Some((role, action)) => format!("Allow role {role:?} to call {action} for {it}."),
            None => denied(subject),
        },
        Why::NotAssumed(role) => format!("Check that role {role:?} exists, and that its trust policy lets ECS assume it."),
        Why::ForbiddenByS3 => {
            format!("Check that {it} exists, then allow the task's execution role to call s3:GetObject for it.")
        }
        Why::NotFound => not_found(subject),
        Why::NoDirectory(path) => {
            format!("Create the directory {path:?} in {it}, or correct rootDirectory in the task definition.")
        }
        Why::NoKey(key) => format!("Add the key {key:?} to {it}, or correct the key in the task definition."),
        Why::WrongPlatform => {
            let image = if matches!(subject, Subject::Container(_)) { "the image of " } else { "" };
            format!(
                "Build {image}{it} for the processor and operating system that the task runs on, or change \
                 runtimePlatform in the task definition."
            )
        }
        Why::Required(option) => format!("Set the option {option:?} in the task definition."),
        Why::Invalid | Why::InvalidImage => invalid(subject),
        Why::RateLimited if matches!(subject, Subject::Image { .. }) => format!(
            "Keep a copy of {it} in Amazon ECR (with a pull through cache) or log in to its registry, then start the task \
             again."
        ),
        Why::RateLimited => format!(
            "Start the task again, and fewer tasks at once, or have AWS raise the quota of requests for {it}."
        ),
        Why::Unreachable { endpoint, is_local: true } => format!(
            "Start or repair on the instance what should listen {} (for {it}).",
            endpoint.map_or("there".to_owned(), |endpoint| format!("at {endpoint:?}"))
        ),
        Why::Unreachable { endpoint, .. } => unreachable(subject, endpoint),
        Why::DiskFull if said.is_fargate() => {
            format!("Raise ephemeralStorage in the task definition, or make {it} smaller.")
        }
        Why::DiskFull => {
            format!("Free space on the instance's disk, of unused images first, or enlarge it: {it} needs more.")
        }
        Why::SubnetFull(subnet) => {
            format!("Free addresses in {}, or use more or larger subnets.", subnet.unwrap_or("the task's subnet"))
        }
        Why::PortTaken => {
            format!("Give {it} a dynamic host port (hostPort 0), or place its tasks on different instances.")
        }
        Why::Quota => format!("Request a higher quota in Service Quotas, or stop what is not needed: {it} exceeds it."),
        Why::Lacking(resource) if resource.to_ascii_uppercase().starts_with("FARGATE") => {
            "Try again later, and let the task run in more availability zones.".to_owned()
        }
        Why::Lacking(resource) => format!(
            "Add instances with enough free {} to the cluster, or lower what the task definition requires.",
            Lacking(resource)
        ),
        Why::NoCapacity if said.is_fargate() => {
            "Try again later or in more availability zones, and compare the account's Fargate quota with its use."
                .to_owned()
        }
        Why::NoCapacity => "Add instances to the cluster, or find out why its capacity provider does not.".to_owned(),
        Why::Chown(path) => format!(
            "Create {} with the right owner in the image, or mount the volume with an access point that has this owner.",
            path.map_or("the mounted directory".to_owned(), |path| format!("{path:?}"))
        ),
        Why::DirectoryOnFile(path) => format!(
            "Check on the instance that {} exists, and is a file if its mount point is one (what is missing becomes a \
             directory).",
            path.map_or("the volume's source".to_owned(), |path| format!("{path:?}"))
        ),
        Why::NoDevice(device) => format!(
            "Remove {} from linuxParameters in the task definition, or place the task on instances that have it.",
            device.map_or("the device".to_owned(), |device| format!("device {device:?}"))
        ),
        Why::ControlGroups => format!("Replace the instance, whose kernel has no control groups left for {it}."),
        Why::AgentDisconnected => "Restart the ECS agent of the instance, or replace the instance.".to_owned(),
        Why::NoAttribute => {
            "Add an instance with the attributes that the task definition requires, such as a log driver.".to_owned()
        }
        Why::NoLocation => "Add an instance where the task is required to run, or change the requirement.".to_owned(),
        Why::EmptyCapacityProvider => {
            "Add instances to the capacity provider's Auto Scaling group, or turn on managed scaling.".to_owned()
        }
        Why::NoInstances => "Register instances with the cluster, or run the task on Fargate.".to_owned(),
        Why::Constraint => "Add an instance that satisfies the placement constraint, or relax the constraint.".to_owned(),
        Why::ComputeStrategy => {
            "Correct requiresCompatibilities, network mode or size in the task definition for its launch type or capacity \
             provider."
                .to_owned()
        }
        Why::TimedOut if matches!(subject, Subject::EbsVolume(_)) => {
            format!("Check that the file system type of {it} fits its snapshot and the task's operating system.")
        }
        Why::TimedOut => format!("Start the task again; if {it} fails again, open a case with AWS Support."),
        Why::DependencyFailed => {
            format!("Find out why the container failed that {it} depends on (dependsOn in the task definition).")
        }
        Why::NotTold => not_told(subject),
    }
}

fn denied(subject: &Subject) -> String {
    let it = subject.resource();
    match subject {
        Subject::Image { .. } => format!(
            "Allow the task's execution role to pull {it}, also in the repository's policy, or correct the credentials for \
             its registry."
        ),
        Subject::LogGroup(_) | Subject::Logging(_) => {
            format!("Allow the task's execution role to create log streams and to write to them for {it}.")
        }
        Subject::FileSystem(_) | Subject::EfsVolume | Subject::S3FilesVolume => {
            format!(
                "Allow the task's role to mount {it}, also in the file system's policy, and check its access point."
            )
        }
        Subject::EbsVolume(_) => {
            format!("Check the trust policy and the permissions of the ECS infrastructure role for {it}.")
        }
        Subject::NetworkInterface => {
            format!("Check who may create {it} in its subnet: ECS's service-linked role, and who shares the subnet.")
        }
        Subject::Container(_) | Subject::Volume { .. } => {
            format!("Check the permissions on the instance, and in the task definition, that {it} needs.")
        }
        _ => format!("Allow the task's execution role to read {it}, and to decrypt with its KMS key."),
    }
}

fn not_found(subject: &Subject) -> String {
    let it = subject.resource();
    match subject {
        Subject::Image { .. } => format!(
            "Push {it}, or correct its name in the task definition; if it is private, add the credentials for its registry."
        ),
        Subject::Secrets(_) | Subject::Parameters(_) => {
            format!("Create {it} in the task's region, or correct the name in the task definition.")
        }
        Subject::LogGroup(_) | Subject::Logging(_) => {
            format!("Create the log group in the task's region, or correct the log configuration for {it}.")
        }
        Subject::FileSystem(_) | Subject::EfsVolume | Subject::S3FilesVolume => {
            format!("Create the directory in {it}, or correct rootDirectory in the task definition.")
        }
        Subject::NetworkInterface => {
            "Correct the subnets and security groups of the task or the service: one of them does not exist.".to_owned()
        }
        Subject::EnvironmentFile(_) => format!("Upload {it}, or correct its address in the task definition."),
        _ => format!("Create what {it} refers to, or correct it in the task definition."),
    }
}

fn invalid(subject: &Subject) -> String {
    let it = subject.resource();
    match subject {
        Subject::Image { .. } => {
            format!("Correct the name of {it} in the task definition, or build and push it again.")
        }
        Subject::Logging(_) | Subject::LogGroup(_) => {
            format!("Correct the log configuration for {it} in the task definition.")
        }
        Subject::EbsVolume(_) => format!("Correct the configuration of {it}, first its KMS key and its tags."),
        _ => format!("Correct the configuration of {it}."),
    }
}

fn unreachable(subject: &Subject, endpoint: Option<&str>) -> String {
    let it = subject.resource();
    if matches!(subject, Subject::FileSystem(_) | Subject::EfsVolume) {
        return format!(
            "Check that {it} has a mount target in the task's availability zone whose security group admits the task on \
             port 2049."
        );
    }
    format!(
        "Check the route, NAT gateway or VPC endpoint, security groups and DNS between the task's subnet and {} (for \
         {it}).",
        endpoint.map_or(subject.provider().to_owned(), |endpoint| format!("{endpoint:?}"))
    )
}

fn not_told(subject: &Subject) -> String {
    let it = subject.resource();
    match subject {
        Subject::Image { .. } => {
            format!("Read the error, then try to pull {it} with the same role from the same subnet.")
        }
        Subject::Secrets(_) | Subject::Parameters(_) | Subject::RegistryLogin | Subject::SecretsOrLogin => {
            format!("Check that the task's execution role may read {it}, and that its subnet has a route there.")
        }
        Subject::Logging(_) | Subject::LogGroup(_) => {
            format!("Check the log configuration for {it}, the log driver and the task's execution role.")
        }
        Subject::NetworkInterface => format!(
            "Start the task again; if {it} fails again, compare the interfaces in use with the number that the instance \
             type allows."
        ),
        Subject::Container(_) => format!(
            "Check the container runtime, the drivers and the logs of the instance, and start {it} on another instance."
        ),
        _ => format!("Read the error, then check the configuration of {it} and what provides it."),
    }
}
