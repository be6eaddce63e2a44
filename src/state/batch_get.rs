//! Reads rows by their keys, in batches.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures_util::stream::iter;
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::read_error::ReadError;
use super::store_error::{Cause, StoreError};
use crate::attributes::Item;
use crate::resource::Resource;

/// The maximum number of keys in a batch.
///
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
pub const BATCH: usize = 100;
/// How many batches are read at once.
const CONCURRENCY: usize = 4;
/// After this many responses in a row that leave every key unprocessed, the read counts as throttled.
const EMPTY_BATCHES: u32 = 8;
/// The pause after the first of them. It doubles each time.
const PAUSE: Duration = Duration::from_millis(50);

const ACTION: &str = "dynamodb:BatchGetItem";

/// The attributes that a read returns.
pub struct Projection {
    /// Their placeholders, `#name`, separated by commas.
    pub expression: String,
    /// The name behind each placeholder.
    pub names: HashMap<String, String>,
}

impl Projection {
    /// The attributes with these names, each given once.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let names: HashMap<_, _> = names.into_iter().map(|name| (format!("#{name}"), name.to_owned())).collect();
        Self { expression: names.keys().cloned().collect::<Vec<_>>().join(", "), names }
    }
}

/// Reads the rows with these ARNs, in the same order. Rows that do not exist are omitted.
pub async fn rows(
    client: &Client,
    table: &str,
    resource: Resource,
    arns: &[impl AsRef<str>],
    projection: Option<&Projection>,
) -> Result<Vec<Item>, ReadError> {
    let batches: Vec<_> = arns.chunks(BATCH).map(|arns| batch(client, table, resource, arns, projection)).collect();
    let rows: Vec<Vec<Item>> = iter(batches).buffered(CONCURRENCY).try_collect().await?;
    Ok(rows.into_iter().flatten().collect())
}

async fn batch(
    client: &Client,
    table: &str,
    resource: Resource,
    arns: &[impl AsRef<str>],
    projection: Option<&Projection>,
) -> Result<Vec<Item>, ReadError> {
    let failed = |cause| ReadError { action: ACTION, table: table.to_owned(), cause, details: None };
    let key = |arn: &str| HashMap::from([(resource.key().to_owned(), AttributeValue::S(arn.to_owned()))]);
    let mut keys: Vec<Item> = arns.iter().map(|arn| key(arn.as_ref())).collect();
    let mut found = HashMap::new();
    let mut empty = 0;
    while !keys.is_empty() {
        let asked = keys.len();
        let request = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .set_projection_expression(projection.map(|projection| projection.expression.clone()))
            .set_expression_attribute_names(projection.map(|projection| projection.names.clone()))
            .build()
            // It fails only without keys.
            .map_err(|_| failed(StoreError::Permanent(Cause::NotSent)))?;
        let response = client.batch_get_item().request_items(table, request).send().await;
        let response = ReadError::check(ACTION, table, response)?;
        let items = response.responses.unwrap_or_default().remove(table).unwrap_or_default();
        keys = response.unprocessed_keys.unwrap_or_default().remove(table).map(|left| left.keys).unwrap_or_default();
        if keys.len() < asked {
            empty = 0;
        } else {
            empty += 1;
            if empty == EMPTY_BATCHES {
                return Err(failed(StoreError::Transient(Cause::UnprocessedKeys)));
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(empty - 1)).await;
        }
        let arn = |item: &Item| Some(item.get(resource.key())?.as_s().ok()?.clone());
        found.extend(items.into_iter().filter_map(|item| Some((arn(&item)?, item))));
    }
    Ok(arns.iter().filter_map(|arn| found.remove(arn.as_ref())).collect())
}
