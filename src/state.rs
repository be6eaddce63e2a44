//! What a state is, and how it is written.
//!
//! A state describes one version of a [`resource`]. It arrives as [`json`] and becomes a [`row`], which the [`store`]
//! writes conditionally through the [`client`]; if that fails, [`write_error`] explains why.

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
    /// The kind of resource.
    pub resource: Resource,
    /// The resource's ARN: any string of 1 to 2,048 bytes, since ARN formats differ by age and partition.
    pub arn: String,
    /// `detail.version`: a higher version is a later state, an equal one the same state delivered again.
    pub version: u64,
    /// Everything that ECS reports about it.
    pub detail: Fields<'s>,
    /// The `version` of the event's envelope.
    pub envelope_version: Option<&'s str>,
    /// The event's `id`.
    pub event_id: Option<&'s str>,
    /// The event's `time`.
    pub event_time: Option<DateTime<Utc>>,
}
