//! How ECS's objects and names are read: what this crate does not know is kept.

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
                #[serde(skip_serializing_if = "crate::object::Field::is_absent")]
                pub $field: $type,
            )*
            /// The fields that this model does not know.
            #[serde(flatten)]
            pub other: serde_json::Map<String, serde_json::Value>,
        }
    };
}

/// How the fields of an object are left out.
pub(crate) trait Field {
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
