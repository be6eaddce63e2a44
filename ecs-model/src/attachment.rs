//! Attachments of a task or an instance.

use crate::list::List;

object! {
    /// Something attached to a task or an instance, such as a network interface or a volume.
    Attachment {
        /// A container's network interface refers to it.
        id: Option<String>,
        /// `eni` in an event, `ElasticNetworkInterface` in the API.
        r#type: Option<String>,
        status: Option<AttachmentStatus>,
        /// For a network interface: `subnetId`, `networkInterfaceId`, `macAddress`, `privateIPv4Address` …
        details: List<KeyValuePair>,
    }
}

impl Attachment {
    /// The value of a detail.
    #[must_use]
    pub fn detail(&self, name: &str) -> Option<&str> {
        self.details.iter().find(|detail| detail.name.as_deref() == Some(name))?.value.as_deref()
    }

    /// What went wrong with it, in the words of ECS.
    #[must_use]
    pub fn status_reason(&self) -> Option<&str> {
        self.detail("statusReason")
    }
}

names! {
    AttachmentStatus {
        Precreated = "PRECREATED",
        Created = "CREATED",
        Attaching = "ATTACHING",
        Attached = "ATTACHED",
        Detaching = "DETACHING",
        Detached = "DETACHED",
        Deleted = "DELETED",
        Failed = "FAILED",
    }
}

object! {
    KeyValuePair {
        name: Option<String>,
        value: Option<String>,
    }
}
