//! The conditional write: a single request, in which DynamoDB itself decides whether a state is newer.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::RequestId as _;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use serde_json::Number;

use super::row::Row;
use super::store_error::{Cause, StoreError};
use crate::attributes::{Item, RECONCILED_AT, VERSION};

/// The condition for a state from the ECS API: there is no row, or it has no version or a lower one.
const API_CONDITION: &str = "attribute_not_exists(#version) OR #version < :version";
/// The condition for an event. It also replaces a row of the same version that came from the API, whose states differ
/// in details, so that the content of a row does not depend on which of the two came first.
pub const EVENT_CONDITION: &str = "attribute_not_exists(#version) OR #version < :version OR (#version = :version AND \
                                   attribute_exists(reconciled_at))";

/// The outcome of a write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The row now holds this state.
    Stored,
    /// The row holds a newer state, and was kept.
    Stale {
        /// The version in the row.
        stored_version: Number,
    },
    /// The row already holds this version: the event was delivered again, or the SDK retried a write whose response was
    /// lost.
    Duplicate {
        /// The version in the row.
        stored_version: Number,
    },
}

impl Outcome {
    /// Its name in the answer and the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Stale { .. } => "stale",
            Self::Duplicate { .. } => "duplicate",
        }
    }

    /// The version in the row, if the existing row was kept.
    pub fn stored_version(&self) -> Option<&Number> {
        match self {
            Self::Stored => None,
            Self::Stale { stored_version } | Self::Duplicate { stored_version } => Some(stored_version),
        }
    }
}

/// Writes a row, unless the table holds the same or a newer version of it. An event also replaces a row of the same
/// version that came from the API.
pub async fn put(client: &Client, table: &str, row: Row) -> Result<Outcome, StoreError> {
    let version = row.version;
    let condition = if row.item.contains_key(RECONCILED_AT) { API_CONDITION } else { EVENT_CONDITION };
    let written = client
        .put_item()
        .table_name(table)
        .set_item(Some(row.item))
        .condition_expression(condition)
        .expression_attribute_names("#version", VERSION)
        .expression_attribute_values(":version", AttributeValue::N(version.to_string()))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .send()
        .await;
    match written {
        Ok(done) if done.request_id().is_some() => Ok(Outcome::Stored),
        // Every response of DynamoDB has a request id. Without one, something else responded.
        Ok(_) => Err(StoreError::Permanent(Cause::NotDynamoDb)),
        Err(error) => match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(refused)) => classify_refusal(version, refused.item()),
            _ => Err(StoreError::new(&error)),
        },
    }
}

/// Decides from the stored row whether `version` was refused as stale or as a duplicate.
fn classify_refusal(version: u64, stored: Option<&Item>) -> Result<Outcome, StoreError> {
    let stored = stored.ok_or(StoreError::Permanent(Cause::RowNotReturned))?;
    let stored_version: Number = stored
        .get(VERSION)
        .and_then(|version| version.as_n().ok()?.parse().ok())
        .ok_or(StoreError::Permanent(Cause::UnreadableVersion))?;
    // The condition fails only for an equal or a higher number.
    Ok(if stored_version == version.into() {
        Outcome::Duplicate { stored_version }
    } else {
        Outcome::Stale { stored_version }
    })
}
