//! Attributes and tags.

object! {
    /// A property that placement constraints refer to; without a value, a capability.
    Attribute {
        /// The name, such as `ecs.instance-type`.
        name: Option<String>,
        value: Option<String>,
        target_type: Option<TargetType>,
        /// The ARN of the resource that it belongs to.
        target_id: Option<String>,
    }
}

names! {
    TargetType {
        ContainerInstance = "container-instance",
    }
}

object! {
    /// Not in events.
    Tag {
        key: Option<String>,
        value: Option<String>,
    }
}
