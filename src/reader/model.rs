//! Tasks and container instances with everything below them, as ECS describes them.
//!
//! [`Task`] and [`ContainerInstance`] are read by [`from_json`] from an event's `detail` or an object of the ECS API,
//! and by [`Row::from_item`] from a row. The three differ in form (a time is a string in an event and a number in the
//! API) and in which fields they have: every field is optional but the ARN.
//!
//! Serialized again, an object is equal by value to what was read: the same instants, numbers, lists and strings. What
//! this model does not know is kept: a field in `other`, a status in its enum's `Unknown`. Only `null` and an absent
//! field become one, and a number beyond the range of 64 bits is rounded; the rows themselves are lossless.
//!
//! Sources: [ECS events], [Task], [ContainerInstance][API].
//!
//! [ECS events]: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_cwe_events.html
//! [Task]: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html
//! [API]: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerInstance.html

/// An enum whose variants have the names that ECS gives them, and which keeps a name that it does not know.
macro_rules! names {
    ($(#[$attribute:meta])* $name:ident { $($(#[$variant_attribute:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $(
                $(#[$variant_attribute])*
                #[doc = concat!("`", $text, "`")]
                $variant,
            )*
            /// A name that this model does not know.
            Unknown(String),
        }

        impl $name {
            /// The name that ECS gives it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Unknown(name) => name,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                match name.as_str() {
                    $($text => Self::$variant,)*
                    _ => Self::Unknown(name),
                }
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                match name {
                    $name::Unknown(name) => name,
                    known => known.as_str().to_owned(),
                }
            }
        }
    };
}

/// A struct whose fields have ECS's names, are left out where they are absent, and stand beside the unknown ones.
macro_rules! object {
    ($(#[$attribute:meta])* $name:ident { $($(#[$field_attribute:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $(
                $(#[$field_attribute])*
                #[serde(skip_serializing_if = "crate::reader::model::Field::is_absent")]
                pub $field: $type,
            )*
            /// The fields that this model does not know.
            #[serde(flatten)]
            pub other: serde_json::Map<String, serde_json::Value>,
        }
    };
}

mod container_instance;
mod error;
mod list;
mod row;
mod task;
mod time;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::container_instance::*;
pub use self::error::ModelError;
pub use self::list::List;
pub use self::row::{Recorded, Row};
pub use self::task::*;

/// Reads a [`Task`], a [`ContainerInstance`] or a part of one from an event's `detail` or an object of the ECS API.
///
/// # Errors
///
/// A field that this model knows has another type.
pub fn from_json<T: DeserializeOwned>(json: &Value) -> Result<T, ModelError> {
    serde_path_to_error::deserialize(json).map_err(|error| ModelError::new(&error, json))
}

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
        /// The name.
        name: Option<String>,
        /// The value.
        value: Option<String>,
    }
}

object! {
    /// A property that placement constraints refer to; without a value, a capability.
    Attribute {
        /// The name, such as `ecs.instance-type`.
        name: Option<String>,
        /// The value.
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
        /// The key.
        key: Option<String>,
        /// The value.
        value: Option<String>,
    }
}

/// The last part of an ARN or a path: `web:42` of `arn:aws:ecs:eu-west-1:123456789012:task-definition/web:42`.
fn last_part(arn: &str) -> &str {
    arn.rsplit_once('/').map_or(arn, |(_, last)| last)
}

/// The cluster's name: from its ARN, else from the resource's, which contains it unless it has the old short form.
pub(crate) fn cluster_name<'a>(cluster_arn: Option<&'a str>, arn: &'a str) -> Option<&'a str> {
    cluster_arn.map(last_part).or_else(|| match *arn.split('/').collect::<Vec<_>>() {
        [_, cluster, _] => Some(cluster),
        _ => None,
    })
}

/// How the fields of an object are left out.
trait Field {
    /// Whether the field is absent.
    fn is_absent(&self) -> bool;
}

impl<T> Field for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl Field for String {
    fn is_absent(&self) -> bool {
        false
    }
}
