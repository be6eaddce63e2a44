//! What Lambda hands to a function.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Lambda's payload, unparsed.
///
/// Deserializing never fails, even for bytes that are not JSON: if it did, the runtime would report the error itself,
/// under the name of a Rust type, before the handler is called. The handler rejects such a payload instead.
/// Trailing bytes after the JSON text go unnoticed: the runtime does not pass them on, and Lambda's Invoke API accepts
/// a single JSON text only.
pub struct Payload(Option<Box<RawValue>>);

impl Payload {
    /// Its text; `None` if it is not JSON.
    #[must_use]
    pub fn json(&self) -> Option<&RawValue> {
        self.0.as_deref()
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::deserialize(deserializer).ok()))
    }
}
