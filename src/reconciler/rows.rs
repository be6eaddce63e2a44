//! The rows, as far as a comparison with ECS needs them: what versions they have, and marking those of resources that ECS
//! no longer knows.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use aws_sdk_dynamodb::operation::RequestId as _;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use chrono::{DateTime, Utc};

use crate::state::index::{INDEX_STATE, IndexKeys};
use crate::state::resource::Resource;
use crate::state::row::{
    EVENT_TIME, EXPIRES_AT, MISSING_SINCE, RECONCILED_AT, VERSION, is_terminal, terminal_status, timestamp,
};
use crate::state::store_error::{Cause, StoreError};

/// How many times rows are asked for that DynamoDB has left unread so far.
const BATCH_ATTEMPTS: u32 = 8;
/// The pause before the second time. It doubles each time.
const BATCH_PAUSE: Duration = Duration::from_millis(50);

type Item = HashMap<String, AttributeValue>;

/// What is known of a row.
#[derive(Debug)]
pub struct Known {
    /// The key.
    pub arn: String,
    /// The cluster.
    pub cluster: Option<String>,
    /// The version, as it is stored.
    version: Option<AttributeValue>,
    /// The time of its event, or when it was reconciled.
    pub time: Option<DateTime<Utc>>,
    missing_since: Option<AttributeValue>,
    expires: bool,
    is_terminal: bool,
    /// The keys of the index, if the row should have them but lacks them.
    pub lacks: Option<IndexKeys>,
}

impl Known {
    fn new(resource: Resource, mut item: Item) -> Option<Self> {
        let is_terminal = is_terminal(resource, &item);
        let is_indexed = resource == Resource::ContainerInstance || item.contains_key(INDEX_STATE);
        let lacks = if is_indexed { None } else { IndexKeys::new(&item) };
        let mut text = |name| match item.remove(name) {
            Some(AttributeValue::S(text)) => Some(text),
            _ => None,
        };
        let arn = text(resource.key())?;
        let cluster = text("clusterArn");
        let time = [EVENT_TIME, RECONCILED_AT].iter().filter_map(|name| text(name)?.parse().ok()).max();
        Some(Self {
            arn,
            cluster,
            time,
            version: item.remove(VERSION),
            missing_since: item.remove(MISSING_SINCE),
            expires: item.contains_key(EXPIRES_AT),
            is_terminal,
            lacks,
        })
    }

    /// The version, if it is one.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.version.as_ref()?.as_n().ok()?.parse().ok()
    }

    /// Whether the row says that ECS no longer knows its resource.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.missing_since.is_some()
    }

    /// Since when it says so.
    #[must_use]
    pub fn missing_since(&self) -> Option<DateTime<Utc>> {
        self.missing_since.as_ref()?.as_s().ok()?.parse().ok()
    }

    /// Whether its state is the resource's last.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether it has a time to live.
    #[must_use]
    pub fn expires(&self) -> bool {
        self.expires
    }
}

/// Reads the rows of up to 100 keys, [DynamoDB's limit].
///
/// [DynamoDB's limit]: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
///
/// # Errors
///
/// A request failed, or DynamoDB kept leaving rows out.
pub async fn read(
    client: &Client,
    table: &str,
    resource: Resource,
    arns: &[&str],
) -> Result<HashMap<String, Known>, StoreError> {
    let key = |arn: &str| HashMap::from([(resource.key().to_owned(), AttributeValue::S(arn.to_owned()))]);
    let mut keys: Vec<Item> = arns.iter().map(|arn| key(arn)).collect();
    let (projection, names) = projection(resource);
    let mut known = HashMap::new();
    for attempt in 0..BATCH_ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(BATCH_PAUSE * 2_u32.pow(attempt - 1)).await;
        }
        let request = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .projection_expression(&projection)
            .set_expression_attribute_names(Some(names.clone()))
            .build()
            // Only without keys, and there are some.
            .map_err(|_| StoreError::Permanent(Cause::NotSent))?;
        let response = client.batch_get_item().request_items(table, request).send().await;
        let response = response.map_err(|error| StoreError::new(&error))?;
        if response.request_id().is_none() {
            return Err(StoreError::Permanent(Cause::NotDynamoDb));
        }
        let items = response.responses.unwrap_or_default().remove(table).unwrap_or_default();
        known.extend(items.into_iter().filter_map(|item| Known::new(resource, item)).map(|row| (row.arn.clone(), row)));
        match response.unprocessed_keys.unwrap_or_default().remove(table) {
            Some(left) if !left.keys.is_empty() => keys = left.keys,
            _ => return Ok(known),
        }
    }
    Err(StoreError::Transient(Cause::UnprocessedKeys))
}

/// One page of a scan.
pub struct Page {
    /// Its rows: those whose state is not terminal, and those of tasks that lack the keys of the index.
    pub rows: Vec<Known>,
    /// Where the next page starts, if there is one.
    pub next: Option<Item>,
}

/// Reads one page of a segment of a table.
///
/// # Errors
///
/// The request failed.
pub async fn scan(
    client: &Client,
    table: &str,
    resource: Resource,
    (segment, segments): (i32, i32),
    start: Option<Item>,
) -> Result<Page, StoreError> {
    let (status, terminal) = terminal_status(resource);
    let (placeholders, values) = placeholders(terminal);
    let (projection, names) = projection(resource);
    let lacks_keys = match resource {
        Resource::Task => format!(" OR attribute_not_exists(#{INDEX_STATE})"),
        Resource::ContainerInstance => String::new(),
    };
    let response = client
        .scan()
        .table_name(table)
        .segment(segment)
        .total_segments(segments)
        .set_exclusive_start_key(start)
        .filter_expression(format!("NOT #{status} IN ({placeholders}){lacks_keys}"))
        .projection_expression(projection)
        .set_expression_attribute_names(Some(names))
        .set_expression_attribute_values(Some(values))
        .send()
        .await
        .map_err(|error| StoreError::new(&error))?;
    if response.request_id().is_none() {
        return Err(StoreError::Permanent(Cause::NotDynamoDb));
    }
    let rows = response.items.unwrap_or_default().into_iter().filter_map(|item| Known::new(resource, item)).collect();
    Ok(Page { rows, next: response.last_evaluated_key.filter(|key| !key.is_empty()) })
}

/// Marks a row whose resource ECS no longer knows. Returns whether it did: not if the row has changed since it was read.
///
/// # Errors
///
/// The request failed.
pub async fn mark(
    client: &Client,
    table: &str,
    resource: Resource,
    row: &Known,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let (status, terminal) = terminal_status(resource);
    let (placeholders, values) = placeholders(terminal);
    let update = client
        .update_item()
        .update_expression("SET missing_since = if_not_exists(missing_since, :now)")
        .condition_expression(format!("#version = :seen AND NOT #status IN ({placeholders})"))
        .expression_attribute_names("#status", status)
        .set_expression_attribute_values(Some(values))
        .expression_attribute_values(":now", AttributeValue::S(timestamp(now)));
    update_if_seen(update, table, resource, row).await
}

/// Lets a marked row expire. Returns whether it did: not if the mark or the row has changed since it was read.
///
/// # Errors
///
/// The request failed.
pub async fn expire(
    client: &Client,
    table: &str,
    resource: Resource,
    row: &Known,
    expires_at: i64,
) -> Result<bool, StoreError> {
    let Some(mark) = row.missing_since.clone() else { return Ok(false) };
    let update = client
        .update_item()
        .update_expression("SET expires_at = :expires_at")
        .condition_expression("#version = :seen AND missing_since = :mark")
        .expression_attribute_values(":expires_at", AttributeValue::N(expires_at.to_string()))
        .expression_attribute_values(":mark", mark);
    update_if_seen(update, table, resource, row).await
}

/// Clears the mark of a row whose resource ECS knows after all. Returns whether it did.
///
/// # Errors
///
/// The request failed.
pub async fn clear(client: &Client, table: &str, resource: Resource, row: &Known) -> Result<bool, StoreError> {
    let update = client
        .update_item()
        .update_expression("REMOVE missing_since, expires_at")
        .condition_expression("#version = :seen AND attribute_exists(missing_since)");
    update_if_seen(update, table, resource, row).await
}

/// Adds the keys of the index to a row that lacks them. Returns whether it did.
///
/// # Errors
///
/// The request failed.
pub async fn index(client: &Client, table: &str, row: &Known, keys: IndexKeys) -> Result<bool, StoreError> {
    let update = client
        .update_item()
        .update_expression("SET index_cluster = :cluster, index_state = :state")
        .condition_expression("#version = :seen AND attribute_not_exists(index_state)")
        .expression_attribute_values(":cluster", AttributeValue::S(keys.cluster))
        .expression_attribute_values(":state", AttributeValue::S(keys.state));
    update_if_seen(update, table, Resource::Task, row).await
}

/// Sends an update whose condition compares the version with the one that was read: it loses to any newer state, and
/// can't create a row.
async fn update_if_seen(
    update: UpdateItemFluentBuilder,
    table: &str,
    resource: Resource,
    row: &Known,
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

/// The projection of what [`Known`] is made of, and its placeholders: each attribute's name after `#`.
fn projection(resource: Resource) -> (String, HashMap<String, String>) {
    let (status, _) = terminal_status(resource);
    let others = [resource.key(), status, VERSION, MISSING_SINCE, EXPIRES_AT, INDEX_STATE];
    let names: BTreeSet<&str> = others.into_iter().chain(IndexKeys::SOURCES).collect();
    let placeholders: Vec<String> = names.iter().map(|name| format!("#{name}")).collect();
    (placeholders.join(", "), placeholders.into_iter().zip(names.into_iter().map(str::to_owned)).collect())
}

/// Placeholders for values in an expression, and the values.
fn placeholders(values: &[&str]) -> (String, HashMap<String, AttributeValue>) {
    let names: Vec<String> = (0..values.len()).map(|number| format!(":status{number}")).collect();
    let texts = values.iter().map(|&value| AttributeValue::S(value.to_owned()));
    (names.join(", "), names.iter().cloned().zip(texts).collect())
}
