//! A task, its containers, and its overrides.

use std::collections::BTreeSet;
use std::net::IpAddr;

use chrono::{DateTime, Utc};

use crate::arn::{cluster_name, last_part};
use crate::attachment::{Attachment, KeyValuePair};
use crate::attribute::{Attribute, Tag};
use crate::list::List;
use crate::time;

object! {
    /// A task, in the last state reported by ECS.
    Task {
        /// The ARN, which is the key of its row.
        task_arn: String,
        cluster_arn: Option<String>,
        /// The instance that it runs on. Absent on Fargate.
        container_instance_arn: Option<String>,
        /// With the revision.
        task_definition_arn: Option<String>,
        /// A state with a higher version is newer.
        version: Option<u64>,
        last_status: Option<TaskStatus>,
        desired_status: Option<TaskStatus>,
        /// The worst health of its essential containers. Not in events.
        health_status: Option<HealthStatus>,
        /// `service:` and the service's name, or `family:` and the task definition's, or what the caller chose.
        group: Option<String>,
        /// A deployment of a service, or what the caller chose.
        started_by: Option<String>,
        /// Absent if a capacity provider decides where it runs.
        launch_type: Option<LaunchType>,
        capacity_provider_name: Option<String>,
        platform_version: Option<String>,
        platform_family: Option<String>,
        availability_zone: Option<String>,
        /// The limit in CPU units.
        cpu: Option<String>,
        /// The limit in MiB.
        memory: Option<String>,
        ephemeral_storage: Option<EphemeralStorage>,
        fargate_ephemeral_storage: Option<TaskEphemeralStorage>,
        containers: List<Container>,
        attachments: List<Attachment>,
        attributes: List<Attribute>,
        overrides: Option<TaskOverride>,
        inference_accelerators: List<InferenceAccelerator>,
        /// Not in events.
        tags: List<Tag>,
        /// Whether `aws ecs execute-command` can open a shell in it.
        enable_execute_command: Option<bool>,
        trusted_execution_summary: Option<TrustedExecutionSummary>,
        connectivity: Option<Connectivity>,
        #[serde(default, with = "time")]
        connectivity_at: Option<DateTime<Utc>>,
        #[serde(default, with = "time")]
        created_at: Option<DateTime<Utc>>,
        #[serde(default, with = "time")]
        pull_started_at: Option<DateTime<Utc>>,
        #[serde(default, with = "time")]
        pull_stopped_at: Option<DateTime<Utc>>,
        /// When it became `RUNNING`.
        #[serde(default, with = "time")]
        started_at: Option<DateTime<Utc>>,
        #[serde(default, with = "time")]
        stopping_at: Option<DateTime<Utc>>,
        /// When its containers had ended.
        #[serde(default, with = "time")]
        execution_stopped_at: Option<DateTime<Utc>>,
        /// When it became `STOPPED`.
        #[serde(default, with = "time")]
        stopped_at: Option<DateTime<Utc>>,
        /// When it changed to this version. Only in events.
        #[serde(default, with = "time")]
        updated_at: Option<DateTime<Utc>>,
        stop_code: Option<StopCode>,
        /// In the words of ECS, or of the caller of `StopTask`.
        stopped_reason: Option<String>,
    }
}

impl Task {
    /// The task's id: the last part of its ARN.
    #[must_use]
    pub fn id(&self) -> &str {
        last_part(&self.task_arn)
    }

    #[must_use]
    pub fn cluster_name(&self) -> Option<&str> {
        cluster_name(self.cluster_arn.as_deref(), &self.task_arn)
    }

    #[must_use]
    pub fn service_name(&self) -> Option<&str> {
        self.group.as_deref()?.strip_prefix("service:")
    }

    /// Its capacity provider, or else its launch type.
    #[must_use]
    pub fn capacity(&self) -> Option<&str> {
        self.capacity_provider_name.as_deref().or(self.launch_type.as_ref().map(LaunchType::as_str))
    }

    /// Its private addresses, IPv4 before IPv6. Empty if it has no network interface of its own, as in the network modes
    /// `bridge` and `host`.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        let interfaces = self.containers.iter().flat_map(|container| container.network_interfaces.iter());
        let of_containers = interfaces.flat_map(|interface| [&interface.private_ipv4_address, &interface.ipv6_address]);
        let details = self.attachments.iter().flat_map(|attachment| attachment.details.iter());
        let of_attachments = details.map(|detail| &detail.value);
        of_containers.chain(of_attachments).filter_map(|address| address.as_ref()?.parse().ok()).collect()
    }

    /// Whether it is `STOPPED` or `DELETED`.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.last_status, Some(TaskStatus::Stopped | TaskStatus::Deleted))
    }

    /// Whether it is being stopped.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.desired_status == Some(TaskStatus::Stopped) && !self.is_stopped()
    }

    /// The known moments of its life, in chronological order.
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
    /// Whether a task's agent is connected to ECS.
    Connectivity {
        Connected = "CONNECTED",
        Disconnected = "DISCONNECTED",
    }
}

names! {
    HealthStatus {
        Healthy = "HEALTHY",
        Unhealthy = "UNHEALTHY",
        /// No health check is defined, or it has no result yet. `Unknown` is taken: it keeps names that this crate does
        /// not know.
        NotKnown = "UNKNOWN",
    }
}

object! {
    /// A container of a task.
    Container {
        name: Option<String>,
        container_arn: Option<String>,
        task_arn: Option<String>,
        last_status: Option<ContainerStatus>,
        /// Not in events.
        health_status: Option<HealthStatus>,
        /// Absent is not 0: the container never ran, or its end was not observed.
        exit_code: Option<i64>,
        /// In the words of the agent or the container runtime.
        reason: Option<String>,
        image: Option<String>,
        image_digest: Option<String>,
        runtime_id: Option<String>,
        /// The share in CPU units.
        cpu: Option<String>,
        /// The limit in MiB.
        memory: Option<String>,
        /// In MiB.
        memory_reservation: Option<String>,
        network_interfaces: List<NetworkInterface>,
        network_bindings: List<NetworkBinding>,
        managed_agents: List<ManagedAgent>,
        gpu_ids: List<String>,
        neuron_device_ids: List<String>,
        gpu_sharing_strategy: Option<SharingStrategy>,
    }
}

names! {
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
    NetworkInterface {
        /// The task's attachment.
        attachment_id: Option<String>,
        private_ipv4_address: Option<String>,
        ipv6_address: Option<String>,
    }
}

object! {
    /// A port of a container, or a range of ports, that is bound on its instance.
    NetworkBinding {
        #[serde(rename = "bindIP")]
        bind_ip: Option<String>,
        container_port: Option<i64>,
        /// The port on the instance.
        host_port: Option<i64>,
        /// Such as `8080-8090`.
        container_port_range: Option<String>,
        host_port_range: Option<String>,
        protocol: Option<TransportProtocol>,
    }
}

names! {
    TransportProtocol {
        Tcp = "tcp",
        Udp = "udp",
    }
}

object! {
    /// An agent that ECS runs in a container, such as the one behind `execute-command`.
    ManagedAgent {
        name: Option<ManagedAgentName>,
        /// Only in the API.
        last_status: Option<ContainerStatus>,
        /// Only in events.
        status: Option<ContainerStatus>,
        reason: Option<String>,
        #[serde(default, with = "time")]
        last_started_at: Option<DateTime<Utc>>,
    }
}

names! {
    ManagedAgentName {
        ExecuteCommandAgent = "ExecuteCommandAgent",
    }
}

object! {
    SharingStrategy {
        nvidia_mps: Option<NvidiaMps>,
    }
}

object! {
    /// A share of a GPU under NVIDIA's Multi-Process Service.
    NvidiaMps {
        memory: Option<i64>,
        /// The maximum share of the compute capacity.
        max_compute_percent: Option<i64>,
    }
}

object! {
    /// Overrides of the task definition for one run.
    TaskOverride {
        container_overrides: List<ContainerOverride>,
        /// The limit in CPU units.
        cpu: Option<String>,
        /// The limit in MiB.
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
    /// Overrides of a container for one run.
    ContainerOverride {
        name: Option<String>,
        command: List<String>,
        /// Environment variables. Their values may be secrets.
        environment: List<KeyValuePair>,
        environment_files: List<EnvironmentFile>,
        /// The share in CPU units.
        cpu: Option<i64>,
        /// The limit in MiB.
        memory: Option<i64>,
        /// In MiB.
        memory_reservation: Option<i64>,
        resource_requirements: List<ResourceRequirement>,
    }
}

object! {
    EnvironmentFile {
        value: Option<String>,
        r#type: Option<EnvironmentFileType>,
    }
}

names! {
    EnvironmentFileType {
        S3 = "s3",
    }
}

object! {
    ResourceRequirement {
        value: Option<String>,
        r#type: Option<ResourceRequirementType>,
        sharing_strategy: Option<SharingStrategy>,
    }
}

names! {
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
        kms_key_id: Option<String>,
    }
}

object! {
    TrustedExecutionSummary {
        isolation_mode: Option<IsolationMode>,
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
    AttestationPolicyStatus {
        Configured = "CONFIGURED",
    }
}
