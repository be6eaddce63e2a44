//! A container instance and its resources.

use chrono::{DateTime, Utc};

use crate::arn::{cluster_name, last_part};
use crate::{Attachment, Attribute, List, Tag, time};

object! {
    /// An instance that tasks run on, in the last state that ECS reported.
    ContainerInstance {
        /// The ARN, which is the key of its row.
        container_instance_arn: String,
        /// The cluster's ARN. Not in the API's objects.
        cluster_arn: Option<String>,
        /// Its id in EC2, or the managed one of an external instance.
        ec2_instance_id: Option<String>,
        /// The capacity provider that launched it.
        capacity_provider_name: Option<String>,
        /// How often it has changed: a state with a higher version is a later one.
        version: Option<u64>,
        status: Option<ContainerInstanceStatus>,
        status_reason: Option<String>,
        /// Whether its agent is connected. Agents disconnect several times an hour as a matter of course.
        agent_connected: Option<bool>,
        /// How far an update of its agent has got.
        agent_update_status: Option<AgentUpdateStatus>,
        /// The versions of its agent and its container runtime.
        version_info: Option<VersionInfo>,
        running_tasks_count: Option<i64>,
        /// How many tasks are about to run.
        pending_tasks_count: Option<i64>,
        registered_resources: List<InstanceResource>,
        /// What no task has taken of that.
        remaining_resources: List<InstanceResource>,
        gpu_devices: List<GpuDevice>,
        attributes: List<Attribute>,
        /// Its network interfaces and more.
        attachments: List<Attachment>,
        /// Its tags. Not in events.
        tags: List<Tag>,
        /// What its health checks say. Not in events.
        health_status: Option<InstanceHealth>,
        /// The kind of account. Only in events.
        account_type: Option<String>,
        #[serde(default, deserialize_with = "time::deserialize")]
        registered_at: Option<DateTime<Utc>>,
        /// When it changed to this version. Only in events.
        #[serde(default, deserialize_with = "time::deserialize")]
        updated_at: Option<DateTime<Utc>>,
    }
}

impl ContainerInstance {
    /// The instance's id in ECS: the last part of its ARN.
    #[must_use]
    pub fn id(&self) -> &str {
        last_part(&self.container_instance_arn)
    }

    /// The name of its cluster.
    #[must_use]
    pub fn cluster_name(&self) -> Option<&str> {
        cluster_name(self.cluster_arn.as_deref(), &self.container_instance_arn)
    }

    /// The value of an attribute, such as `ecs.instance-type`.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|attribute| attribute.name.as_deref() == Some(name))?.value.as_deref()
    }
}

names! {
    /// The status of a container instance.
    ContainerInstanceStatus {
        Registering = "REGISTERING",
        RegistrationFailed = "REGISTRATION_FAILED",
        Active = "ACTIVE",
        Inactive = "INACTIVE",
        Deregistering = "DEREGISTERING",
        Draining = "DRAINING",
    }
}

names! {
    /// How far an update of the agent has got.
    AgentUpdateStatus {
        Pending = "PENDING",
        Staging = "STAGING",
        Staged = "STAGED",
        Updating = "UPDATING",
        Updated = "UPDATED",
        Failed = "FAILED",
    }
}

object! {
    /// The versions of an agent and its container runtime.
    VersionInfo {
        agent_version: Option<String>,
        /// The commit that the agent was built from.
        agent_hash: Option<String>,
        docker_version: Option<String>,
    }
}

object! {
    /// A resource of an instance, such as CPU, memory or ports.
    InstanceResource {
        name: Option<String>,
        /// Which of the values counts. The API has zeroes in the others.
        r#type: Option<ResourceType>,
        /// The value of an `INTEGER`.
        integer_value: Option<i64>,
        /// The value of a `LONG`.
        long_value: Option<i64>,
        /// The value of a `DOUBLE`.
        double_value: Option<f64>,
        /// The values of a `STRINGSET`.
        string_set_value: List<String>,
    }
}

names! {
    /// The type of a resource's value.
    ResourceType {
        Integer = "INTEGER",
        Long = "LONG",
        Double = "DOUBLE",
        StringSet = "STRINGSET",
    }
}

object! {
    /// A GPU of an instance.
    GpuDevice {
        gpu_id: Option<String>,
        sharing_mode: Option<GpuSharingMode>,
        #[serde(rename = "totalMemoryInMiB")]
        total_memory_in_mib: Option<i64>,
        /// What no container has taken of that.
        #[serde(rename = "remainingMemoryInMiB")]
        remaining_memory_in_mib: Option<i64>,
        /// How many containers use it.
        container_count: Option<i64>,
    }
}

names! {
    /// How a GPU is shared.
    GpuSharingMode {
        Idle = "IDLE",
        NvidiaMps = "NVIDIA_MPS",
        Dedicated = "DEDICATED",
    }
}

object! {
    /// What the health checks of an instance say.
    InstanceHealth {
        overall_status: Option<InstanceHealthState>,
        details: List<InstanceHealthCheck>,
    }
}

object! {
    /// The result of a health check of an instance.
    InstanceHealthCheck {
        r#type: Option<InstanceHealthCheckType>,
        status: Option<InstanceHealthState>,
        status_reason: Option<String>,
        /// When it was last checked.
        #[serde(default, deserialize_with = "time::deserialize")]
        last_updated: Option<DateTime<Utc>>,
        /// When the result last changed.
        #[serde(default, deserialize_with = "time::deserialize")]
        last_status_change: Option<DateTime<Utc>>,
    }
}

names! {
    /// The health of an instance.
    InstanceHealthState {
        Ok = "OK",
        Impaired = "IMPAIRED",
        InsufficientData = "INSUFFICIENT_DATA",
        Initializing = "INITIALIZING",
    }
}

names! {
    /// What a health check of an instance checks.
    InstanceHealthCheckType {
        ContainerRuntime = "CONTAINER_RUNTIME",
        AcceleratedCompute = "ACCELERATED_COMPUTE",
        Daemon = "DAEMON",
        AgentConnectivity = "AGENT_CONNECTIVITY",
    }
}
