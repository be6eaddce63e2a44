//! The next thing to do, in one sentence that names the resource.

use super::failure::{Subject, Why};
use super::said::Said;
use super::sentence::{Clause, is_fargate};

/// What to do about what explains a stop. Like the redacted sentence, it quotes nothing that a person or a program
/// wrote.
pub(super) fn advice(clause: &Clause, said: &Said) -> String {
    match clause {
        Clause::OutOfMemory { container: name, memory, task_memory } => {
            let limit = memory.or(*task_memory).map_or(String::new(), |mib| format!(" above {mib} MiB"));
            format!("Raise the memory limit of {}{limit}, or find out why it uses so much.", Subject::Container(*name))
        }
        Clause::Failed { subject, why } => failed(subject, *why, said),
        Clause::SlowProvisioning(_) => {
            "Start the task again, as a service does by itself; if it stays, open a case with AWS Support.".to_owned()
        }
        Clause::CommandNotFound { container: name, is_missing: true, .. } => format!(
            "Correct the command or entry point of {} in the task definition, or add the program to its image.",
            Subject::Container(*name)
        ),
        Clause::CommandNotFound { container: name, .. } => format!(
            "Make the program of {} executable in its image (chmod +x), or correct its command in the task definition.",
            Subject::Container(*name)
        ),
        Clause::RuntimeTimeout { is_fargate: true, .. } => {
            "Start the task again, as a service does by itself.".to_owned()
        }
        Clause::RuntimeTimeout { container: name, .. } => format!(
            "Check the instance's disk, CPU load and container runtime, which are too slow to start {}, and replace the instance if they stay so.",
            Subject::Container(*name)
        ),
        Clause::StopTimedOut { container: name } => format!(
            "Check the container runtime of the instance, and whether {} ends on SIGTERM within its stopTimeout.",
            Subject::Container(*name)
        ),
        Clause::Crashed { container: name, .. } => {
            format!("Read the last log lines of {} and debug the crash.", Subject::Container(*name))
        }
        Clause::Killed { container: name } => format!(
            "Compare the memory use of {} with its limit, and raise the limit if they meet; else look for what killed it.",
            Subject::Container(*name)
        ),
        Clause::Terminated { .. } => "Nothing is to do: the container ended as it was told to.".to_owned(),
        Clause::ApplicationError { container: name, .. } => {
            format!("Read the last log lines of {} to find out why it ended.", Subject::Container(*name))
        }
        Clause::Finished { service: None, .. } => "Nothing is to do: the task finished well.".to_owned(),
        Clause::Finished { container: name, service: Some(service) } => format!(
            "Find out in the logs of {} why it ended, since service {service:?} starts it again; if it is a job, run it outside of a service.",
            Subject::Container(*name)
        ),
        Clause::LoadBalancerUnhealthy { target } => format!(
            "Check that the application answers on the health check's path and port{} within its timeout, also while it starts, and that the security group lets the load balancer in.",
            target.map_or(String::new(), |target| format!(" of {target:?}"))
        ),
        Clause::HealthCheckFailed { container: name } => format!(
            "Run the health check's command of {} by hand and read its logs; if it only starts slowly, raise startPeriod.",
            Subject::Container(*name)
        ),
        Clause::ScaledIn { .. } => {
            "Nothing is to do: a scale-in or a deployment stops tasks that are no longer needed.".to_owned()
        }
        Clause::InstanceTerminated { instance } => format!(
            "Find out who or what ended {} (Auto Scaling's activity history, CloudTrail), unless that was meant.",
            instance.map_or("the instance".to_owned(), |instance| format!("instance {instance:?}"))
        ),
        Clause::InstanceDeregistered { instance } => format!(
            "Ask who deregistered {} (CloudTrail shows the caller of DeregisterContainerInstance), and drain instances first.",
            instance.map_or("the container instance".to_owned(), |instance| format!("container instance {instance:?}"))
        ),
        Clause::HostMaintenance => restart(said, "AWS moves tasks off a host before its maintenance"),
        Clause::SpotInterruption { .. } => restart(
            said,
            "AWS takes Spot capacity back when it needs it, so run what must not be interrupted on demand",
        ),
        Clause::HostLeaving { .. } => restart(
            said,
            "its host leaves the cluster; if nobody meant that, look at the instance's health and Auto Scaling's activity history",
        ),
        Clause::StoppedByUser { .. } => {
            "Nothing is to do unless it was not meant: CloudTrail shows who called StopTask.".to_owned()
        }
        Clause::KilledWhileStopping { container: name } => format!(
            "Make {} end on SIGTERM, or raise its stopTimeout in the task definition.",
            Subject::Container(*name)
        ),
        Clause::Unknown { text: None } => {
            "Look at the logs of the containers and at the service's events around that time.".to_owned()
        }
        Clause::Unknown { .. } => {
            "Read what ECS says, then the logs of the containers and the service's events around that time.".to_owned()
        }
        // These never explain a stop.
        Clause::NotOnSigterm { .. } | Clause::ExitCode { .. } | Clause::Said { .. } => String::new(),
    }
}

/// What to do about an interruption.
fn restart(said: &Said, why: &str) -> String {
    let what = if said.task.service_name().is_some() {
        "Nothing is to do, the service starts another task"
    } else {
        "Start the task again"
    };
    format!("{what}: {why}.")
}

fn failed(subject: &Subject, why: Why, said: &Said) -> String {
    match why {
        Why::Denied(Some(denial)) if denial.action.is_some() => format!(
            "Allow role {:?} to call {} for {}.",
            denial.role,
            denial.action.unwrap_or_default(),
            subject.resource()
        ),
        Why::Denied(_) => denied(subject),
        Why::ForbiddenByS3 => format!(
            "Check that {} exists, then allow the task's execution role to call s3:GetObject and s3:GetBucketLocation for it.",
            subject.resource()
        ),
        Why::NotFound => not_found(subject),
        Why::NoKey(key) => format!("Add the key {key:?} to {}, or correct the key in the task definition.", subject.resource()),
        Why::WrongPlatform => format!(
            "Build {} for the processor and operating system that the task runs on, or change runtimePlatform in the task definition.",
            subject.resource()
        ),
        Why::Required(option) => format!("Set the option {option:?} in the task definition."),
        Why::Invalid => invalid(subject),
        Why::RateLimited => rate_limited(subject),
        Why::Unreachable { endpoint, is_local: true } => format!(
            "Start or repair on the instance what should listen {}, which {} needs.",
            endpoint.map_or("there".to_owned(), |endpoint| format!("at {endpoint:?}")),
            subject.resource()
        ),
        Why::Unreachable { endpoint, .. } => unreachable(subject, endpoint),
        Why::DiskFull if is_fargate(said) => format!("Raise ephemeralStorage in the task definition, or make {} smaller.", subject.resource()),
        Why::DiskFull => format!("Free disk space on the instance (old images first) or enlarge its disk, which is too full for {}.", subject.resource()),
        Why::SubnetFull(subnet) => format!(
            "Free addresses in {}, or give the service more or larger subnets.",
            subnet.unwrap_or("the task's subnet")
        ),
        Why::PortTaken => format!("Let {} use a dynamic host port (hostPort 0), or place its tasks on different instances.", subject.resource()),
        Why::Quota => format!("Ask for a higher quota in Service Quotas, or stop what is not needed, and then start {} again.", subject.resource()),
        Why::Lacking(resource) if resource.to_ascii_uppercase().starts_with("FARGATE") => {
            "Try again later, and let the task run in more availability zones.".to_owned()
        }
        Why::Lacking(resource) => format!(
            "Add instances with enough free {} to the cluster, or lower what the task definition requires.",
            resource.to_ascii_uppercase().escape_debug()
        ),
        Why::NoCapacity if is_fargate(said) => {
            "Try again later and in more availability zones, and check the account's Fargate quota in Service Quotas.".to_owned()
        }
        Why::NoCapacity => "Add instances to the cluster, or check why its capacity provider does not.".to_owned(),
        Why::Chown(path) => format!(
            "Let the image create {} with the right owner, or mount the volume with an access point that has this owner.",
            path.map_or("the mounted directory".to_owned(), |path| format!("{path:?}"))
        ),
        Why::NoDevice(device) => format!(
            "Remove {} from linuxParameters in the task definition, or place the task on instances that have it.",
            device.map_or("the device".to_owned(), |device| format!("the device {device:?}"))
        ),
        Why::ControlGroups => format!("Replace the instance, whose kernel has no control groups left for {}.", subject.resource()),
        Why::AgentDisconnected => "Restart the ECS agent of the instance, or replace the instance.".to_owned(),
        Why::NoAttribute => "Add an instance with the attributes that the task definition requires, such as an agent or a log driver that is new enough.".to_owned(),
        Why::NoLocation => "Add an instance in the location that the task requires, or change the requirement.".to_owned(),
        Why::EmptyCapacityProvider => "Add instances to the capacity provider's Auto Scaling group, or turn its managed scaling on.".to_owned(),
        Why::NoInstances => "Register instances with the cluster, or run the task on Fargate.".to_owned(),
        Why::Constraint => "Add an instance that satisfies the placement constraint of the task, or relax the constraint.".to_owned(),
        Why::ComputeStrategy => "Make requiresCompatibilities, network mode and size of the task definition fit the launch type or capacity provider.".to_owned(),
        Why::TimedOut => timed_out(subject),
        Why::DependencyFailed => format!("Find out why the container failed that {} depends on (dependsOn in the task definition).", subject.resource()),
        Why::NotTold => not_told(subject),
    }
}

fn denied(subject: &Subject) -> String {
    let resource = subject.resource();
    match subject {
        Subject::Image { .. } => format!(
            "Allow the task's execution role to pull {resource}, also in the repository's policy, or correct the registry's credentials."
        ),
        Subject::LogGroup(_) | Subject::Logging(_) => {
            format!("Allow the task's execution role to create log streams in {resource} and to write to them.")
        }
        Subject::FileSystem(_) | Subject::EfsVolume => format!(
            "Allow the task's role to mount {resource}, in the file system's policy too, and check its access point."
        ),
        Subject::EbsVolume(_) => {
            format!("Check the trust policy and the permissions of the ECS infrastructure role for {resource}.")
        }
        Subject::NetworkInterface => {
            format!("Check the permissions for {resource}: ECS's service-linked role, and who shares the subnet.")
        }
        Subject::Container(_) => {
            format!("Check what {resource} needs from its instance and from its task definition's permissions.")
        }
        _ => format!("Allow the task's execution role to read {resource}, and to decrypt with its KMS key."),
    }
}

fn not_found(subject: &Subject) -> String {
    let resource = subject.resource();
    match subject {
        Subject::Image { .. } => format!(
            "Push {resource}, or correct its name in the task definition; if it is private, add its registry's credentials."
        ),
        Subject::Secrets(_) | Subject::Parameters(_) => {
            format!("Create {resource} in the task's region, or correct the name in the task definition.")
        }
        Subject::LogGroup(_) | Subject::Logging(_) => {
            format!("Create {resource} in the task's region, or correct the log configuration in the task definition.")
        }
        Subject::FileSystem(_) | Subject::EfsVolume => {
            format!("Create the directory in {resource}, or correct rootDirectory in the task definition.")
        }
        Subject::EnvironmentFile(_) => format!("Upload {resource}, or correct its address in the task definition."),
        _ => format!("Create what {resource} refers to, or correct it in the task definition."),
    }
}

fn invalid(subject: &Subject) -> String {
    let resource = subject.resource();
    match subject {
        Subject::Image { .. } => {
            format!("Correct the name of {resource} in the task definition, or build and push it again.")
        }
        Subject::Logging(_) | Subject::LogGroup(_) => {
            format!("Correct the log configuration of {resource} in the task definition.")
        }
        Subject::EbsVolume(_) => format!("Correct the configuration of {resource}, its KMS key and tags first."),
        _ => format!("Correct the settings of {resource} in the task definition."),
    }
}

fn rate_limited(subject: &Subject) -> String {
    let resource = subject.resource();
    match subject {
        Subject::Image { .. } => format!(
            "Keep a copy of {resource} in Amazon ECR (a pull through cache does), or log in to its registry, and start the task again."
        ),
        _ => format!("Start the task again, and fewer tasks at once, or ask AWS to raise the rate for {resource}."),
    }
}

fn unreachable(subject: &Subject, endpoint: Option<&str>) -> String {
    let resource = subject.resource();
    match (subject, endpoint) {
        (Subject::FileSystem(_) | Subject::EfsVolume, _) => format!(
            "Check that {resource} has a mount target in the task's availability zone, whose security group lets the task in on port 2049."
        ),
        (_, Some(endpoint)) => format!(
            "Check the way from the task's subnet to {endpoint:?} for {resource}: route, NAT gateway or VPC endpoint, security groups, DNS."
        ),
        (_, None) => format!(
            "Check the way from the task's subnet to {resource}: route, NAT gateway or VPC endpoint, security groups, DNS."
        ),
    }
}

fn timed_out(subject: &Subject) -> String {
    let resource = subject.resource();
    match subject {
        Subject::EbsVolume(_) => {
            format!("Check that the file system type of {resource} fits its snapshot and the task's operating system.")
        }
        _ => format!("Start the task again; if {resource} takes too long every time, open a case with AWS Support."),
    }
}

fn not_told(subject: &Subject) -> String {
    let resource = subject.resource();
    match subject {
        Subject::Image { .. } => format!("Try to pull {resource} with the same role from the same subnet."),
        Subject::Secrets(_) | Subject::Parameters(_) | Subject::RegistryLogin | Subject::SecretsOrLogin => {
            format!("Check that {resource} can be read by the task's execution role and reached from its subnet.")
        }
        Subject::Logging(_) | Subject::LogGroup(_) => format!(
            "Check the log configuration of {resource}, its log driver on the instance, and the execution role."
        ),
        Subject::NetworkInterface => format!(
            "Start the task again, and if it stays, check how many network interfaces the instance type allows for {resource}."
        ),
        Subject::Container(_) => format!(
            "Check the instance's container runtime, drivers and logs, and start {resource} on another instance."
        ),
        _ => format!("Check the settings of {resource} in the task definition, and on the instance what provides it."),
    }
}
