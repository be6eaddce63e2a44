//! The parts of rows that a comparison with ECS needs.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};

use crate::attributes::{
    EVENT_TIME, EXPIRES_AT, INDEX_STATE, Item, MISSING_SINCE, RECONCILED_AT, VERSION, take_string,
};
use crate::resource::Resource;
use crate::state::batch_get::{self, Projection};
use crate::state::expiry::{TerminalCondition, is_terminal, terminal_status};
use crate::state::index::IndexKeys;
use crate::state::read_error::ReadError;

/// The parts of a row that a comparison with ECS needs.
#[derive(Debug)]
pub struct KnownRow {
    /// The resource's ARN, which is the row's key.
    pub arn: String,
    /// The ARN of its cluster.
    pub cluster: Option<String>,
    pub(super) version: Option<AttributeValue>,
    /// When its state was reported, by an event or by the API.
    pub time: Option<DateTime<Utc>>,
    pub(super) missing_since: Option<AttributeValue>,
    /// Whether it has a time to live.
    pub expires: bool,
    /// Whether its state is terminal.
    pub is_terminal: bool,
    /// The keys of the index, if the row should have them but does not.
    pub missing_keys: Option<IndexKeys>,
}

impl KnownRow {
    fn new(resource: Resource, mut item: Item) -> Option<Self> {
        let is_terminal = is_terminal(resource, &item);
        let is_indexed = resource == Resource::ContainerInstance || item.contains_key(INDEX_STATE);
        let missing_keys = if is_indexed { None } else { IndexKeys::new(&item) };
        let mut text = |name| take_string(&mut item, name);
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
            missing_keys,
        })
    }

    /// The version, if it is a valid one.
    pub fn version(&self) -> Option<u64> {
        self.version.as_ref()?.as_n().ok()?.parse().ok()
    }

    /// Whether its resource is marked as missing in ECS.
    pub fn is_marked(&self) -> bool {
        self.missing_since.is_some()
    }

    /// When it was marked.
    pub fn missing_since(&self) -> Option<DateTime<Utc>> {
        self.missing_since.as_ref()?.as_s().ok()?.parse().ok()
    }
}

/// Reads the rows with these ARNs. Returns them by ARN.
pub async fn read(
    client: &Client,
    table: &str,
    resource: Resource,
    arns: &[&str],
) -> Result<HashMap<String, KnownRow>, ReadError> {
    let items = batch_get::rows(client, table, resource, arns, Some(&projection(resource))).await?;
    Ok(items.into_iter().filter_map(|item| KnownRow::new(resource, item)).map(|row| (row.arn.clone(), row)).collect())
}

/// One page of a scan.
pub struct Page {
    /// The rows in a state that is not terminal, and rows of tasks without the keys of the index.
    pub rows: Vec<KnownRow>,
    /// Where the next page starts, if there is one.
    pub next: Option<Item>,
}

/// Reads one page of a segment of a table.
pub async fn scan(
    client: &Client,
    table: &str,
    resource: Resource,
    (segment, segments): (i32, i32),
    start: Option<Item>,
) -> Result<Page, ReadError> {
    let terminal = TerminalCondition::new(resource);
    let mut projection = projection(resource);
    projection.names.extend(terminal.names);
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
        .filter_expression(format!("NOT {}{lacks_keys}", terminal.expression))
        .projection_expression(projection.expression)
        .set_expression_attribute_names(Some(projection.names))
        .set_expression_attribute_values(Some(terminal.values))
        .send()
        .await;
    let response = ReadError::check("dynamodb:Scan", table, response)?;
    let rows =
        response.items.unwrap_or_default().into_iter().filter_map(|item| KnownRow::new(resource, item)).collect();
    Ok(Page { rows, next: response.last_evaluated_key.filter(|key| !key.is_empty()) })
}

/// The attributes that a [`KnownRow`] is built from.
fn projection(resource: Resource) -> Projection {
    let (statuses, _) = terminal_status(resource);
    let others = [resource.key(), VERSION, MISSING_SINCE, EXPIRES_AT, INDEX_STATE];
    let names: BTreeSet<&str> = others.iter().chain(statuses).chain(&IndexKeys::SOURCES).copied().collect();
    Projection::new(names)
}
