//! Rows in order: keys out of several ranges, merged, and the rows to them in batches.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::marker::PhantomData;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::de::DeserializeOwned;

use super::entry::Entry;
use super::{CONCURRENCY, Filter, Item, ReadError, Tables};
use crate::reader::model::{ModelError, Row};
use crate::state::index::{INDEX, INDEX_CLUSTER, INDEX_STATE};
use crate::state::resource::Resource;
use crate::state::store_error::{Cause, StoreError};

/// The most keys of a `BatchGetItem`.
///
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const BATCH: usize = 100;
/// How often DynamoDB may return a batch without a single row before it counts as throttled.
const EMPTY_BATCHES: u32 = 8;
/// The pause after the first of those; each one after it is twice as long.
const PAUSE: Duration = Duration::from_millis(50);
/// The most entries of a page of the index, and of the first pages of all clusters, which are in memory together.
const PAGE: usize = 1000;
const FIRST_PAGES: usize = 20_000;

/// Whether a row matches. Its key may not tell.
type Admits<'t, T> = Box<dyn Fn(&Row<T>) -> bool + 't>;

/// Rows that match, in order.
pub struct Listing<'t, T> {
    pub(super) tables: &'t Tables,
    pub(super) resource: Resource,
    pub(super) keys: Keys<'t>,
    pub(super) admits: Admits<'t, T>,
    pub(super) limit: Option<usize>,
    pub(super) model: PhantomData<T>,
}

impl<T: DeserializeOwned> Listing<'_, T> {
    /// How many keys are known already: after a scan, all that match.
    #[must_use]
    pub fn known(&self) -> usize {
        self.keys.ranges.iter().map(|range| range.keys.len()).sum()
    }

    /// The next rows, at least one; none at the end. One that can't be read is an error of its own.
    ///
    /// # Errors
    ///
    /// A request failed.
    pub async fn next(&mut self) -> Result<Vec<Result<Row<T>, ModelError>>, ReadError> {
        // With a limit, no more than a batch, which may already be enough.
        let batches = if self.limit.is_some() { 1 } else { CONCURRENCY };
        loop {
            let keys = self.keys.take(batches * BATCH).await?;
            if keys.is_empty() {
                return Ok(Vec::new());
            }
            let read = |keys: &[String]| read(self.tables, self.resource, keys.to_vec());
            let rows: Vec<Vec<_>> =
                futures_util::stream::iter(keys.chunks(BATCH).map(read)).buffered(CONCURRENCY).try_collect().await?;
            let admitted: Vec<_> =
                rows.into_iter().flatten().filter(|row| row.as_ref().map_or(true, &self.admits)).collect();
            if !admitted.is_empty() {
                return Ok(admitted);
            }
        }
    }
}

/// Reads the rows to up to [`BATCH`] keys, in the keys' order. A row that no longer exists is left out.
async fn read<T: DeserializeOwned>(
    tables: &Tables,
    resource: Resource,
    arns: Vec<String>,
) -> Result<Vec<Result<Row<T>, ModelError>>, ReadError> {
    let mut found: HashMap<String, Item> = items(tables, resource, &arns, None)
        .await?
        .into_iter()
        .filter_map(|item| Some((item.get(resource.key())?.as_s().ok()?.clone(), item)))
        .collect();
    Ok(arns.iter().filter_map(|arn| found.remove(arn)).map(Row::from_item).collect())
}

/// The items to up to [`BATCH`] keys, in no particular order.
pub(super) async fn items(
    tables: &Tables,
    resource: Resource,
    arns: &[String],
    projection: Option<&str>,
) -> Result<Vec<Item>, ReadError> {
    const ACTION: &str = "dynamodb:BatchGetItem";
    let table = tables.name(resource);
    let give_up = |cause| ReadError { action: ACTION, table: table.to_owned(), cause, details: None };
    let mut keys: Vec<Item> =
        arns.iter().map(|arn| HashMap::from([(resource.key().to_owned(), AttributeValue::S(arn.clone()))])).collect();
    let mut items = Vec::new();
    let mut empty = 0;
    while !keys.is_empty() {
        let request = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .set_projection_expression(projection.map(str::to_owned))
            .build()
            // Only without keys, and there are some.
            .map_err(|_| give_up(StoreError::Permanent(Cause::NotSent)))?;
        let response = tables
            .client
            .batch_get_item()
            .request_items(table, request)
            .send()
            .await
            .map_err(|error| ReadError::new(ACTION, table, &error))?;
        let mut page = response.responses.unwrap_or_default().remove(table).unwrap_or_default();
        keys = response.unprocessed_keys.unwrap_or_default().remove(table).map(|left| left.keys).unwrap_or_default();
        if page.is_empty() && !keys.is_empty() {
            empty += 1;
            if empty == EMPTY_BATCHES {
                return Err(give_up(StoreError::Transient(Cause::UnprocessedKeys)));
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(empty - 1)).await;
        }
        items.append(&mut page);
    }
    Ok(items)
}

/// A key, and its place in the order.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Key {
    pub(super) order: Box<str>,
    pub(super) arn: Box<str>,
}

impl Key {
    /// The key of a task. What runs is ordered by cluster; what stopped is not.
    pub(super) fn new(entry: &Entry, newest_first: bool) -> Self {
        let order = if newest_first { entry.state.clone() } else { format!("{}\0{}", entry.cluster, entry.state) };
        Self { order: order.into(), arn: entry.arn.as_str().into() }
    }

    fn compare(&self, other: &Self, newest_first: bool) -> Ordering {
        let by_order = self.order.cmp(&other.order);
        if newest_first { by_order.reverse() } else { by_order }.then_with(|| self.arn.cmp(&other.arn))
    }
}

/// The keys of several ranges, merged.
pub(super) struct Keys<'t> {
    pub(super) ranges: Vec<Range<'t>>,
    pub(super) newest_first: bool,
}

impl Keys<'_> {
    /// The next `count` ARNs; fewer only at the end.
    async fn take(&mut self, count: usize) -> Result<Vec<String>, ReadError> {
        let mut arns = Vec::new();
        while arns.len() < count {
            let newest_first = self.newest_first;
            let next = self
                .ranges
                .iter_mut()
                .filter(|range| !range.keys.is_empty())
                .min_by(|a, b| a.keys[0].compare(&b.keys[0], newest_first));
            let Some(range) = next else { break };
            if let Some(key) = range.keys.pop_front() {
                arns.push(key.arn.into());
            }
            range.fill().await?;
        }
        Ok(arns)
    }
}

/// The keys of one cluster, page by page; or those of a whole table, which were scanned.
pub(super) struct Range<'t> {
    keys: VecDeque<Key>,
    next: Option<NextPage<'t>>,
    newest_first: bool,
}

struct NextPage<'t> {
    tables: &'t Tables,
    filter: &'t Filter,
    cluster: String,
    state: (String, String),
    start: Option<Item>,
    size: usize,
}

impl<'t> Range<'t> {
    pub(super) fn new(
        tables: &'t Tables,
        cluster: String,
        state: (String, String),
        newest_first: bool,
        filter: &'t Filter,
        limit: Option<usize>,
        clusters: usize,
    ) -> Self {
        let most = (FIRST_PAGES / clusters.max(1)).clamp(25, PAGE);
        let size = limit.map_or(most, |limit| limit.max(BATCH).min(most));
        let next = NextPage { tables, filter, cluster, state, start: None, size };
        Self { keys: VecDeque::new(), next: Some(next), newest_first }
    }

    /// A range whose keys are all there, in any order.
    pub(super) fn scanned(mut keys: Vec<Key>, newest_first: bool) -> Self {
        keys.sort_unstable_by(|a, b| a.compare(b, newest_first));
        Self { keys: keys.into(), next: None, newest_first }
    }

    pub(super) async fn with_first_page(mut self) -> Result<Self, ReadError> {
        self.fill().await?;
        Ok(self)
    }

    /// Reads pages until there is a key, or none is left.
    async fn fill(&mut self) -> Result<(), ReadError> {
        while self.keys.is_empty()
            && let Some(NextPage { tables, filter, cluster, state: (from, to), start, size }) = &mut self.next
        {
            let page = tables
                .client
                .query()
                .table_name(&tables.tasks)
                .index_name(INDEX)
                .key_condition_expression("#cluster = :cluster AND #state BETWEEN :from AND :to")
                .expression_attribute_names("#cluster", INDEX_CLUSTER)
                .expression_attribute_names("#state", INDEX_STATE)
                .expression_attribute_values(":cluster", AttributeValue::S(cluster.clone()))
                .expression_attribute_values(":from", AttributeValue::S(from.clone()))
                .expression_attribute_values(":to", AttributeValue::S(to.clone()))
                .scan_index_forward(!self.newest_first)
                .limit(i32::try_from(*size).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start.take())
                .send()
                .await
                .map_err(|error| ReadError::new("dynamodb:Query", &tables.tasks, &error))?;
            let mut keys: Vec<Key> = page
                .items
                .unwrap_or_default()
                .into_iter()
                .filter_map(Entry::from_index)
                .filter(|entry| filter.admits_entry(entry))
                .map(|entry| Key::new(&entry, self.newest_first))
                .collect();
            // Those of the same time are in no order.
            keys.sort_by(|a, b| a.compare(b, self.newest_first));
            self.keys = keys.into();
            match page.last_evaluated_key.filter(|key| !key.is_empty()) {
                Some(key) => *start = Some(key),
                None => self.next = None,
            }
        }
        Ok(())
    }
}
