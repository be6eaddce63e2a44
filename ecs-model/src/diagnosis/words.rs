//! Enums whose names are an interface: people filter, count and route by them.

use thiserror::Error;

/// An enum with the names of its variants, in one list.
macro_rules! words {
    (
        $(#[$attribute:meta])*
        $name:ident ($noun:literal) { $($(#[$variant_attribute:meta])* $variant:ident = $word:expr,)* }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum $name {
            $($(#[$variant_attribute])* $variant,)*
        }

        impl $name {
            const ALL: &[Self] = &[$(Self::$variant,)*];
            const NAMES: &[&str] = &[$($word,)*];

            /// All of them, in order of precedence.
            pub fn all() -> impl ExactSizeIterator<Item = Self> {
                Self::ALL.iter().copied()
            }

            /// Its name, as it is serialized.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                Self::NAMES[self as usize]
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::diagnosis::words::UnknownName;

            /// Parses a name in any letter case.
            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Self::all().find(|found| found.as_str().eq_ignore_ascii_case(name)).ok_or_else(|| {
                    crate::diagnosis::words::UnknownName { noun: $noun, name: name.to_owned(), known: Self::NAMES }
                })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

/// A name that is not a [`Code`](super::Code), a [`Cause`](super::Cause), an [`Actor`](super::Actor) or a
/// [`Kind`](super::Kind).
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("there is no {noun} {name:?}; the {noun}s are {}", known.join(", "))]
pub struct UnknownName {
    pub(super) noun: &'static str,
    pub(super) name: String,
    pub(super) known: &'static [&'static str],
}
