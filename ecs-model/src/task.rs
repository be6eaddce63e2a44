//! A task, its containers, and what its run overrides.

use chrono::{DateTime, Utc};

use crate::arn::{cluster_name, last_part};
use crate::{Attachment, Attribute, KeyValuePair, List, Tag, time};

object! {
    /// A task, in the last state that ECS reported.
    Task {
        /// The ARN, which is the key of its row.
        task_arn: String,
        cluster_arn: Option<String>,
        /// The ARN of the instance that it runs on. Fargate's tasks have none.
        container_instance_arn: Option<String>,
        /// The ARN of its task definition, with the revision.
        task_definition_arn: Option<String>,
        /// How often it has changed: a state with a higher version is a later one.
        version: Option<u64>,
        last_status: Option<TaskStatus>,
        desired_status: Option<TaskStatus>,
        /// The worst health of its essential containers. Not in events.
        health_status: Option<HealthStatus>,
        /// `service:` and the service's name, or `family:` and the task definition's, or what the caller chose.
        group: Option<String>,
        /// Who started it: a deployment of a service, or what the caller chose.
        started_by: Option<String>,
        /// Where it runs, unless a capacity provider decides that.
        launch_type: Option<LaunchType>,
        /// The capacity provider that decides where it runs.
        capacity_provider_name: Option<String>,
        platform_version: Option<String>,
        platform_family: Option<String>,
        availability_zone: Option<String>,
        /// Its CPU limit, in CPU units.
        cpu: Option<String>,
        /// Its memory limit, in MiB.
        memory: Option<String>,
        /// The storage that it asks for beyond the default.
        ephemeral_storage: Option<EphemeralStorage>,
        fargate_ephemeral_storage: Option<TaskEphemeralStorage>,
        containers: List<Container>,
        /// Its network interface, volumes and more.
        attachments: List<Attachment>,
        attributes: List<Attribute>,
        /// What this run changes of the task definition.
        overrides: Option<TaskOverride>,
        inference_accelerators: List<InferenceAccelerator>,
        /// Its tags. Not in events.
        tags: List<Tag>,
        /// Whether `aws ecs execute-command` can open a shell in it.
        enable_execute_command: Option<bool>,
        trusted_execution_summary: Option<TrustedExecutionSummary>,
        /// Whether its agent is in contact with ECS.
        connectivity: Option<Connectivity>,
        #[serde(default, deserialize_with = "time::deserialize")]
        connectivity_at: Option<DateTime<Utc>>,
        #[serde(default, deserialize_with = "time::deserialize")]
        created_at: Option<DateTime<Utc>>,
        /// When the pull of its images began.
        #[serde(default, deserialize_with = "time::deserialize")]
        pull_started_at: Option<DateTime<Utc>>,
        /// When the pull of its images ended.
        #[serde(default, deserialize_with = "time::deserialize")]
        pull_stopped_at: Option<DateTime<Utc>>,
        /// When it became `RUNNING`.
        #[serde(default, deserialize_with = "time::deserialize")]
        started_at: Option<DateTime<Utc>>,
        /// When it began to stop.
        #[serde(default, deserialize_with = "time::deserialize")]
        stopping_at: Option<DateTime<Utc>>,
        /// When its containers had ended.
        #[serde(default, deserialize_with = "time::deserialize")]
        execution_stopped_at: Option<DateTime<Utc>>,
        /// When it became `STOPPED`.
        #[serde(default, deserialize_with = "time::deserialize")]
        stopped_at: Option<DateTime<Utc>>,
        /// When it changed to this version. Only in events.
        #[serde(default, deserialize_with = "time::deserialize")]
        updated_at: Option<DateTime<Utc>>,
        /// What kind of reason stopped it.
        stop_code: Option<StopCode>,
        /// Why it stopped, in ECS's words or in those of the caller of `StopTask`.
        stopped_reason: Option<String>,
    }
}

impl Task {
    /// The task's id: the last part of its ARN.
    #[must_use]
    pub fn id(&self) -> &str {
        last_part(&self.task_arn)
    }

    /// The name of its cluster.
    #[must_use]
    pub fn cluster_name(&self) -> Option<&str> {
        cluster_name(self.cluster_arn.as_deref(), &self.task_arn)
    }

    /// The family of its task definition.
    #[must_use]
    pub fn family(&self) -> Option<&str> {
        let definition = last_part(self.task_definition_arn.as_deref()?);
        Some(definition.rsplit_once(':').map_or(definition, |(family, _)| family))
    }

    /// The revision of its task definition.
    #[must_use]
    pub fn revision(&self) -> Option<u64> {
        last_part(self.task_definition_arn.as_deref()?).rsplit_once(':')?.1.parse().ok()
    }

    /// The name of the service that it belongs to.
    #[must_use]
    pub fn service_name(&self) -> Option<&str> {
        self.group.as_deref()?.strip_prefix("service:")
    }

    /// What it runs on: the capacity provider if there is one, else the launch type.
    #[must_use]
    pub fn capacity(&self) -> Option<&str> {
        self.capacity_provider_name.as_deref().or(self.launch_type.as_ref().map(LaunchType::as_str))
    }

    /// Whether it has stopped for good.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.last_status, Some(TaskStatus::Stopped | TaskStatus::Deleted))
    }

    /// The moments of its life that are known, in the order in which they happened.
    #[must_use]
    pub fn moments(&self) -> Vec<(Moment, DateTime<Utc>)> {
        let mut moments: Vec<_> = [
            (Moment::Created, self.created_at),
            (Moment::ConnectivityChanged, self.connectivity_at),
            (Moment::PullStarted, self.pull_started_at),
            (Moment::PullStopped, self.pull_stopped_at),
            (Moment::Started, self.started_at),
            (Moment::Stopping, self.stopping_at),
            (Moment::ExecutionStopped, self.execution_stopped_at),
            (Moment::Stopped, self.stopped_at),
        ]
        .into_iter()
        .filter_map(|(moment, time)| Some((moment, time?)))
        .collect();
        moments.sort_by_key(|(_, time)| *time);
        moments
    }
}

/// A moment in a task's life.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Moment {
    /// `createdAt`
    Created,
    /// `connectivityAt`
    ConnectivityChanged,
    /// `pullStartedAt`
    PullStarted,
    /// `pullStoppedAt`
    PullStopped,
    /// `startedAt`
    Started,
    /// `stoppingAt`
    Stopping,
    /// `executionStoppedAt`
    ExecutionStopped,
    /// `stoppedAt`
    Stopped,
}

names! {
    /// The status of a task, and the one that it shall have.
    TaskStatus {
        Provisioning = "PROVISIONING",
        Pending = "PENDING",
        Activating = "ACTIVATING",
        Running = "RUNNING",
        Deactivating = "DEACTIVATING",
        Stopping = "STOPPING",
        Deprovisioning = "DEPROVISIONING",
        Stopped = "STOPPED",
        Deleted = "DELETED",
    }
}

names! {
    /// What kind of reason stopped a task.
    StopCode {
        TaskFailedToStart = "TaskFailedToStart",
        EssentialContainerExited = "EssentialContainerExited",
        UserInitiated = "UserInitiated",
        ServiceSchedulerInitiated = "ServiceSchedulerInitiated",
        SpotInterruption = "SpotInterruption",
        TerminationNotice = "TerminationNotice",
        InfrastructureHealth = "InfrastructureHealth",
    }
}

names! {
    LaunchType {
        Ec2 = "EC2",
        Fargate = "FARGATE",
        External = "EXTERNAL",
        ManagedInstances = "MANAGED_INSTANCES",
    }
}

names! {
    /// Whether a task's agent is in contact with ECS.
    Connectivity {
        Connected = "CONNECTED",
        Disconnected = "DISCONNECTED",
    }
}

names! {
    /// What the health check of a container says.
    HealthStatus {
        Healthy = "HEALTHY",
        Unhealthy = "UNHEALTHY",
        /// No health check is defined, or it has no result yet. In Rust its name is not `Unknown`, which keeps the
        /// names that this model does not know.
        NotKnown = "UNKNOWN",
    }
}

object! {
    /// A container of a task.
    Container {
        /// Its name in the task definition.
        name: Option<String>,
        container_arn: Option<String>,
        task_arn: Option<String>,
        last_status: Option<ContainerStatus>,
        /// What its health check says. Not in events.
        health_status: Option<HealthStatus>,
        /// Its exit code. Absent is not 0: it never ran, or nobody saw it end.
        exit_code: Option<i64>,
        /// What went wrong, in the agent's or the runtime's words.
        reason: Option<String>,
        image: Option<String>,
        /// The digest of the image.
        image_digest: Option<String>,
        /// The id that the container runtime gave it.
        runtime_id: Option<String>,
        /// Its CPU share, in CPU units.
        cpu: Option<String>,
        /// Its memory limit, in MiB.
        memory: Option<String>,
        /// The memory reserved for it, in MiB.
        memory_reservation: Option<String>,
        /// The network interfaces that it uses.
        network_interfaces: List<NetworkInterface>,
        /// The ports that are bound on its instance.
        network_bindings: List<NetworkBinding>,
        /// The agents that ECS runs in it.
        managed_agents: List<ManagedAgent>,
        /// The GPUs that it has.
        gpu_ids: List<String>,
        /// The AWS Neuron devices that it has.
        neuron_device_ids: List<String>,
        /// How it shares its GPUs.
        gpu_sharing_strategy: Option<SharingStrategy>,
    }
}

names! {
    /// The status of a container.
    ContainerStatus {
        Provisioning = "PROVISIONING",
        Pending = "PENDING",
        Pulled = "PULLED",
        Created = "CREATED",
        Activating = "ACTIVATING",
        Running = "RUNNING",
        Deactivating = "DEACTIVATING",
        Stopping = "STOPPING",
        Deprovisioning = "DEPROVISIONING",
        Stopped = "STOPPED",
        Deleted = "DELETED",
    }
}

object! {
    /// A network interface that a container uses.
    NetworkInterface {
        /// The task's attachment that it belongs to.
        attachment_id: Option<String>,
        private_ipv4_address: Option<String>,
        ipv6_address: Option<String>,
    }
}

object! {
    /// A port of a container, or a range of ports, that is bound on its instance.
    NetworkBinding {
        /// The address that it is bound to.
        #[serde(rename = "bindIP")]
        bind_ip: Option<String>,
        /// The port in the container.
        container_port: Option<i64>,
        /// The port of the instance.
        host_port: Option<i64>,
        /// The ports in the container, such as `8080-8090`.
        container_port_range: Option<String>,
        /// The ports of the instance.
        host_port_range: Option<String>,
        protocol: Option<TransportProtocol>,
    }
}

names! {
    /// The protocol of a port.
    TransportProtocol {
        Tcp = "tcp",
        Udp = "udp",
    }
}

object! {
    /// An agent that ECS runs in a container, such as the one behind `execute-command`.
    ManagedAgent {
        name: Option<ManagedAgentName>,
        /// Its status, as the API names it.
        last_status: Option<ContainerStatus>,
        /// Its status, as an event names it.
        status: Option<ContainerStatus>,
        reason: Option<String>,
        #[serde(default, deserialize_with = "time::deserialize")]
        last_started_at: Option<DateTime<Utc>>,
    }
}

names! {
    /// The name of an agent that ECS runs in a container.
    ManagedAgentName {
        ExecuteCommandAgent = "ExecuteCommandAgent",
    }
}

object! {
    /// How a container shares its GPUs.
    SharingStrategy {
        nvidia_mps: Option<NvidiaMps>,
    }
}

object! {
    /// A share of a GPU under NVIDIA's Multi-Process Service.
    NvidiaMps {
        memory: Option<i64>,
        /// The highest share of its compute capacity, in percent.
        max_compute_percent: Option<i64>,
    }
}

object! {
    /// What a run changes of the task definition.
    TaskOverride {
        /// What it changes of each container.
        container_overrides: List<ContainerOverride>,
        /// The CPU limit, in CPU units.
        cpu: Option<String>,
        /// The memory limit, in MiB.
        memory: Option<String>,
        ephemeral_storage: Option<EphemeralStorage>,
        /// The role of the agent, which pulls images and fetches secrets.
        execution_role_arn: Option<String>,
        /// The role of the containers.
        task_role_arn: Option<String>,
        inference_accelerator_overrides: List<InferenceAccelerator>,
    }
}

object! {
    /// What a run changes of a container.
    ContainerOverride {
        name: Option<String>,
        command: List<String>,
        /// Environment variables. Their values may be secrets.
        environment: List<KeyValuePair>,
        environment_files: List<EnvironmentFile>,
        /// The CPU share, in CPU units.
        cpu: Option<i64>,
        /// The memory limit, in MiB.
        memory: Option<i64>,
        /// The memory reserved, in MiB.
        memory_reservation: Option<i64>,
        resource_requirements: List<ResourceRequirement>,
    }
}

object! {
    /// A file with environment variables.
    EnvironmentFile {
        value: Option<String>,
        r#type: Option<EnvironmentFileType>,
    }
}

names! {
    /// Where a file with environment variables is kept.
    EnvironmentFileType {
        S3 = "s3",
    }
}

object! {
    /// A device that a container requires.
    ResourceRequirement {
        value: Option<String>,
        r#type: Option<ResourceRequirementType>,
        sharing_strategy: Option<SharingStrategy>,
    }
}

names! {
    /// The kind of a required device.
    ResourceRequirementType {
        Gpu = "GPU",
        InferenceAccelerator = "InferenceAccelerator",
        NeuronDevice = "NeuronDevice",
    }
}

object! {
    InferenceAccelerator {
        device_name: Option<String>,
        device_type: Option<String>,
    }
}

object! {
    /// Storage that lives as long as the task.
    EphemeralStorage {
        #[serde(rename = "sizeInGiB")]
        size_in_gib: Option<i64>,
    }
}

object! {
    /// Fargate's storage, which lives as long as the task.
    TaskEphemeralStorage {
        #[serde(rename = "sizeInGiB")]
        size_in_gib: Option<i64>,
        /// The key that it is encrypted with.
        kms_key_id: Option<String>,
    }
}

object! {
    /// How a task is isolated.
    TrustedExecutionSummary {
        isolation_mode: Option<IsolationMode>,
        /// Whether there is a policy for attestation.
        attestation_policy_status: Option<AttestationPolicyStatus>,
    }
}

names! {
    IsolationMode {
        Shared = "SHARED",
        IsolatedSandbox = "ISOLATED_SANDBOX",
        ConfidentialSandbox = "CONFIDENTIAL_SANDBOX",
    }
}

names! {
    /// Whether there is a policy for attestation.
    AttestationPolicyStatus {
        Configured = "CONFIGURED",
    }
}
