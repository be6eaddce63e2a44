//! The mark of a row whose resource is missing in ECS: set, cleared, and, once it is confirmed, followed by expiry.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{TimeDelta, Utc};

use super::conditional_update::update_if_seen;
use super::known_row::KnownRow;
use crate::attributes::timestamp;
use crate::resource::Resource;
use crate::state::expiry::{TerminalCondition, expires_at};
use crate::state::store_error::StoreError;

/// A marked row expires only if its resource is still missing this much later: one wrong answer is not enough.
const CONFIRMATION: TimeDelta = TimeDelta::hours(12);

/// Marks a row whose resource is missing in ECS, or lets it expire if it was marked long enough ago. Returns whether it
/// is newly marked. A row that has changed since it was read is left alone.
pub async fn mark_missing(
    client: &Client,
    table: &str,
    resource: Resource,
    row: &KnownRow,
    retention_days: Option<u32>,
) -> Result<bool, StoreError> {
    let now = Utc::now();
    if !row.is_marked() {
        let terminal = TerminalCondition::new(resource);
        let update = client
            .update_item()
            .update_expression("SET missing_since = if_not_exists(missing_since, :now)")
            .condition_expression(format!("#version = :seen AND NOT {}", terminal.expression))
            .set_expression_attribute_names(Some(terminal.names))
            .set_expression_attribute_values(Some(terminal.values))
            .expression_attribute_values(":now", AttributeValue::S(timestamp(now)));
        return update_if_seen(update, table, resource, row).await;
    }
    if let (Some(mark), Some(since), Some(days)) = (row.missing_since.clone(), row.missing_since(), retention_days)
        && now - since >= CONFIRMATION
        && !row.expires
    {
        let update = client
            .update_item()
            .update_expression("SET expires_at = :expires_at")
            .condition_expression("#version = :seen AND missing_since = :mark")
            .expression_attribute_values(":expires_at", AttributeValue::N(expires_at(now, days).to_string()))
            .expression_attribute_values(":mark", mark);
        update_if_seen(update, table, resource, row).await?;
    }
    Ok(false)
}

/// Clears the mark of a row whose resource is in ECS after all. Returns whether it did.
pub async fn clear(client: &Client, table: &str, resource: Resource, row: &KnownRow) -> Result<bool, StoreError> {
    let update = client
        .update_item()
        .update_expression("REMOVE missing_since, expires_at")
        .condition_expression("#version = :seen AND attribute_exists(missing_since)");
    update_if_seen(update, table, resource, row).await
}
