//! Attributes and tags.

object! {
    /// A property that placement constraints refer to; without a value, a capability.
    Attribute {
        /// The name, such as `ecs.instance-type`.
        name: Option<String>,
        value: Option<String>,
        /// The kind of resource that it belongs to.
        target_type: Option<TargetType>,
        /// The ARN of that resource.
        target_id: Option<String>,
    }
}

names! {
    /// The kind of resource that an attribute belongs to.
    TargetType {
        ContainerInstance = "container-instance",
    }
}

object! {
    /// A tag. Events have none.
    Tag {
        key: Option<String>,
        value: Option<String>,
    }
}
