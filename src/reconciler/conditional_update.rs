//! Updates of rows on the condition that they have not changed since they were read. They never create a row.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use aws_sdk_dynamodb::operation::RequestId as _;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

use super::known_row::KnownRow;
use crate::attributes::VERSION;
use crate::resource::Resource;
use crate::state::index::IndexKeys;
use crate::state::store_error::{Cause, StoreError};

/// Adds the keys of the index to a row that lacks them. Returns whether it did.
pub async fn add_index_keys(client: &Client, table: &str, row: &KnownRow, keys: IndexKeys) -> Result<bool, StoreError> {
    let update = client
        .update_item()
        .update_expression("SET index_cluster = :cluster, index_state = :sort_key")
        .condition_expression("#version = :seen AND attribute_not_exists(index_state)")
        .expression_attribute_values(":cluster", AttributeValue::S(keys.cluster))
        .expression_attribute_values(":sort_key", AttributeValue::S(keys.sort_key));
    update_if_seen(update, table, Resource::Task, row).await
}

/// Sends an update on the condition that the row still has the version that was read. Returns whether it was
/// applied.
pub(super) async fn update_if_seen(
    update: UpdateItemFluentBuilder,
    table: &str,
    resource: Resource,
    row: &KnownRow,
) -> Result<bool, StoreError> {
    let Some(seen) = row.version.clone() else { return Ok(false) };
    let updated = update
        .table_name(table)
        .key(resource.key(), AttributeValue::S(row.arn.clone()))
        .expression_attribute_names("#version", VERSION)
        .expression_attribute_values(":seen", seen)
        .send()
        .await;
    match updated {
        Ok(done) if done.request_id().is_some() => Ok(true),
        Ok(_) => Err(StoreError::Permanent(Cause::NotDynamoDb)),
        Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(false),
        Err(error) => Err(StoreError::new(&error)),
    }
}
