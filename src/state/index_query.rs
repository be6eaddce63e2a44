//! Reads the index of tasks: pages of a cluster, and the list of clusters.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

use super::index::INDEX;
use super::read_error::ReadError;
use super::store_error::{Cause, StoreError};
use crate::attributes::{INDEX_CLUSTER, INDEX_STATE, Item};
use crate::resource::Resource;

/// A range of tasks of one cluster, by their [sort keys](super::index).
#[derive(Clone, Debug)]
pub struct Range {
    /// The cluster's ARN.
    pub cluster: String,
    /// The lowest sort key.
    pub from: String,
    /// The highest sort key.
    pub to: String,
    /// Whether the highest sort key comes first.
    pub descending: bool,
}

/// One page of a range.
pub struct Page {
    /// The keys and projected attributes of its tasks.
    pub items: Vec<Item>,
    /// Where the next page starts, if there is one.
    pub next: Option<Item>,
}

/// Reads a page of at most `limit` tasks. [`ReadError::is_missing_index`] recognizes the error of a table without the
/// index.
pub async fn page(
    client: &Client,
    table: &str,
    range: &Range,
    limit: usize,
    start: Option<Item>,
) -> Result<Page, ReadError> {
    let page = client
        .query()
        .table_name(table)
        .index_name(INDEX)
        .key_condition_expression("#cluster = :cluster AND #sort_key BETWEEN :from AND :to")
        .expression_attribute_names("#cluster", INDEX_CLUSTER)
        .expression_attribute_names("#sort_key", INDEX_STATE)
        .expression_attribute_values(":cluster", AttributeValue::S(range.cluster.clone()))
        .expression_attribute_values(":from", AttributeValue::S(range.from.clone()))
        .expression_attribute_values(":to", AttributeValue::S(range.to.clone()))
        .scan_index_forward(!range.descending)
        .limit(i32::try_from(limit).unwrap_or(i32::MAX))
        .set_exclusive_start_key(start)
        .send()
        .await;
    let page = ReadError::check("dynamodb:Query", table, page)?;
    Ok(Page { items: page.items.unwrap_or_default(), next: page.last_evaluated_key.filter(|key| !key.is_empty()) })
}

/// The ARNs of the clusters in the index, in order.
///
/// It takes one request per cluster: each starts after the highest possible sort key of the previous cluster, which
/// skips the rest of that cluster.
pub async fn clusters(client: &Client, table: &str) -> Result<Vec<String>, ReadError> {
    const ACTION: &str = "dynamodb:Scan";
    let mut clusters = Vec::new();
    let mut start: Option<Item> = None;
    loop {
        let page = client
            .scan()
            .table_name(table)
            .index_name(INDEX)
            .limit(1)
            .projection_expression("#cluster, #key")
            .expression_attribute_names("#cluster", INDEX_CLUSTER)
            .expression_attribute_names("#key", Resource::Task.key())
            .set_exclusive_start_key(start)
            .send()
            .await;
        let page = ReadError::check(ACTION, table, page)?;
        let mut found = page.items.unwrap_or_default().pop();
        let cluster = found.as_mut().and_then(|item| item.remove(INDEX_CLUSTER));
        let (Some(AttributeValue::S(cluster)), Some(mut item)) = (cluster, found) else {
            // An empty page need not be the last.
            match page.last_evaluated_key.filter(|key| !key.is_empty()) {
                Some(next) => start = Some(next),
                None => break,
            }
            continue;
        };
        item.insert(INDEX_CLUSTER.to_owned(), AttributeValue::S(cluster.clone()));
        // Every sort key starts with `A` or `S`.
        item.insert(INDEX_STATE.to_owned(), AttributeValue::S("~".to_owned()));
        start = Some(item);
        // With a server that ignores the start key, the loop would never end.
        if clusters.contains(&cluster) {
            let cause = StoreError::Permanent(Cause::StartKeyIgnored);
            return Err(ReadError { action: ACTION, table: table.to_owned(), cause, details: None });
        }
        clusters.push(cluster);
    }
    clusters.sort_unstable();
    Ok(clusters)
}
