//! Parallel scans of a whole table.

use std::cell::Cell;

use aws_sdk_dynamodb::operation::scan::builders::ScanFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::entry::{ATTRIBUTES, Entry};
use super::listing::Key;
use super::{CONCURRENCY, Filter, Item, ReadError, Tables, Which};
use crate::state::resource::Resource;
use crate::state::row::terminal_status;

/// Told after each page how many rows have been read so far, and how many read capacity units that took.
pub type Progress<'p> = &'p dyn Fn(u64, f64);

/// The keys of the tasks that match, in no particular order.
pub(super) async fn tasks(
    tables: &Tables,
    which: Which,
    filter: &Filter,
    progress: Progress<'_>,
) -> Result<Vec<Key>, ReadError> {
    let stopped = which != Which::Active;
    let (status, terminal) = terminal_status(Resource::Task);
    let condition = format!("{} #status IN (:stopped, :deleted)", if stopped { "" } else { "NOT" });
    let request = tables
        .client
        .scan()
        .table_name(&tables.tasks)
        .filter_expression(condition)
        .projection_expression(ATTRIBUTES)
        .expression_attribute_names("#status", status)
        .expression_attribute_names("#group", "group")
        .expression_attribute_values(":stopped", AttributeValue::S(terminal[0].to_owned()))
        .expression_attribute_values(":deleted", AttributeValue::S(terminal[1].to_owned()));
    parallel(&tables.tasks, request, progress, |item| {
        let entry = Entry::from_item(item, stopped)?;
        (entry.is_in(which) && filter.admits_entry(&entry)).then(|| Key::new(&entry, stopped))
    })
    .await
}

/// Scans in several segments at once, and keeps what `keep` makes of the items.
pub(super) async fn parallel<K>(
    table: &str,
    request: ScanFluentBuilder,
    progress: Progress<'_>,
    keep: impl Fn(Item) -> Option<K>,
) -> Result<Vec<K>, ReadError> {
    let (rows, units) = (Cell::new(0), Cell::new(0.0));
    let request = request
        .return_consumed_capacity(ReturnConsumedCapacity::Total)
        .total_segments(i32::try_from(CONCURRENCY).unwrap_or(1));
    let segment = async |number: usize| {
        let mut kept = Vec::new();
        let mut start: Option<Item> = None;
        loop {
            let page = request
                .clone()
                .segment(i32::try_from(number).unwrap_or_default())
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| ReadError::new("dynamodb:Scan", table, &error))?;
            rows.set(rows.get() + u64::try_from(page.scanned_count).unwrap_or_default());
            let capacity = page.consumed_capacity.and_then(|capacity| capacity.capacity_units);
            units.set(units.get() + capacity.unwrap_or_default());
            progress(rows.get(), units.get());
            kept.extend(page.items.unwrap_or_default().into_iter().filter_map(&keep));
            start = page.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                return Ok(kept);
            }
        }
    };
    futures_util::stream::iter((0..CONCURRENCY).map(segment)).buffer_unordered(CONCURRENCY).try_concat().await
}
