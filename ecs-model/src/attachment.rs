//! What is attached to a task or an instance.

use crate::List;

object! {
    /// Something attached to a task or an instance, such as a network interface or a volume.
    Attachment {
        /// Its id, which a container's network interface refers to.
        id: Option<String>,
        /// Its kind: `eni` in an event, `ElasticNetworkInterface` in the API.
        r#type: Option<String>,
        /// How far it has got.
        status: Option<AttachmentStatus>,
        /// For a network interface: `subnetId`, `networkInterfaceId`, `macAddress`, `privateIPv4Address` …
        details: List<KeyValuePair>,
    }
}

names! {
    /// The status of an attachment.
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
    /// A name and its value.
    KeyValuePair {
        name: Option<String>,
        value: Option<String>,
    }
}
