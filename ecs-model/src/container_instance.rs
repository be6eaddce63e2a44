//! A container instance and its resources.

use chrono::{DateTime, Utc};

use crate::arn::{cluster_name, last_part};
use crate::attachment::Attachment;
use crate::attribute::{Attribute, Tag};
use crate::list::List;
use crate::time;

object! {
    /// An instance that tasks run on, in the last state reported by ECS.
    ContainerInstance {
        /// The ARN, which is the key of its row.
        container_instance_arn: String,
        /// Not in the API.
        cluster_arn: Option<String>,
        /// Its EC2 instance id, or for an external instance its managed instance id.
        ec2_instance_id: Option<String>,
        /// The capacity provider that launched it.
        capacity_provider_name: Option<String>,
        /// A state with a higher version is newer.
        version: Option<u64>,
        status: Option<ContainerInstanceStatus>,
        status_reason: Option<String>,
        /// Agents routinely disconnect several times an hour.
        agent_connected: Option<bool>,
        agent_update_status: Option<AgentUpdateStatus>,
        version_info: Option<VersionInfo>,
        running_tasks_count: Option<i64>,
        pending_tasks_count: Option<i64>,
        registered_resources: List<InstanceResource>,
        /// The part of `registered_resources` that no task uses.
        remaining_resources: List<InstanceResource>,
        gpu_devices: List<GpuDevice>,
        attributes: List<Attribute>,
        attachments: List<Attachment>,
        /// Not in events.
        tags: List<Tag>,
        /// Not in events.
        health_status: Option<InstanceHealth>,
        /// Only in events.
        account_type: Option<String>,
        #[serde(default, with = "time")]
        registered_at: Option<DateTime<Utc>>,
        /// When it changed to this version. Only in events.
        #[serde(default, with = "time")]
        updated_at: Option<DateTime<Utc>>,
    }
}

impl ContainerInstance {
    /// The instance's id in ECS: the last part of its ARN.
    #[must_use]
    pub fn id(&self) -> &str {
        last_part(&self.container_instance_arn)
    }

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
    /// The progress of an update of the agent.
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
        /// Which of the values applies. The API sets the others to 0.
        r#type: Option<ResourceType>,
        integer_value: Option<i64>,
        long_value: Option<i64>,
        double_value: Option<f64>,
        string_set_value: List<String>,
    }
}

names! {
    ResourceType {
        Integer = "INTEGER",
        Long = "LONG",
        Double = "DOUBLE",
        StringSet = "STRINGSET",
    }
}

object! {
    GpuDevice {
        gpu_id: Option<String>,
        sharing_mode: Option<GpuSharingMode>,
        #[serde(rename = "totalMemoryInMiB")]
        total_memory_in_mib: Option<i64>,
        #[serde(rename = "remainingMemoryInMiB")]
        remaining_memory_in_mib: Option<i64>,
        container_count: Option<i64>,
    }
}

names! {
    GpuSharingMode {
        Idle = "IDLE",
        NvidiaMps = "NVIDIA_MPS",
        Dedicated = "DEDICATED",
    }
}

object! {
    InstanceHealth {
        overall_status: Option<InstanceHealthState>,
        details: List<InstanceHealthCheck>,
    }
}

object! {
    InstanceHealthCheck {
        r#type: Option<InstanceHealthCheckType>,
        status: Option<InstanceHealthState>,
        status_reason: Option<String>,
        #[serde(default, with = "time")]
        last_updated: Option<DateTime<Utc>>,
        #[serde(default, with = "time")]
        last_status_change: Option<DateTime<Utc>>,
    }
}

names! {
    InstanceHealthState {
        Ok = "OK",
        Impaired = "IMPAIRED",
        InsufficientData = "INSUFFICIENT_DATA",
        Initializing = "INITIALIZING",
    }
}

names! {
    InstanceHealthCheckType {
        ContainerRuntime = "CONTAINER_RUNTIME",
        AcceleratedCompute = "ACCELERATED_COMPUTE",
        Daemon = "DAEMON",
        AgentConnectivity = "AGENT_CONNECTIVITY",
    }
}
