//! What a state is, and how it is written.
//!
//! A state is what one version of a [`resource`] looked like. It comes as [`json`], becomes a [`row`], and goes through
//! the [`client`] into the [`store`], on one condition; where that fails, [`write_error`] says why.

pub mod client;
pub mod json;
pub mod resource;
pub mod row;
pub mod store;
pub mod write_error;

use chrono::{DateTime, Utc};

use self::json::Fields;
use self::resource::Resource;

/// One version of a resource, as ECS reported it.
pub struct State<'s> {
    /// What it is a state of.
    pub resource: Resource,
    /// The resource's ARN: 1 to 2,048 bytes of any shape, since the forms differ by age and partition.
    pub arn: String,
    /// `detail.version`: a higher one happened later, an equal one is the same state again.
    pub version: u64,
    /// Everything that ECS says of it.
    pub detail: Fields<'s>,
    /// The `version` of the event's envelope.
    pub envelope_version: Option<&'s str>,
    /// The event's `id`.
    pub event_id: Option<&'s str>,
    /// The event's `time`.
    pub event_time: Option<DateTime<Utc>>,
}
