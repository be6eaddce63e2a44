//! Parallel scans of a whole table.

use std::cell::Cell;

use aws_sdk_dynamodb::operation::scan::builders::ScanFluentBuilder;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use ecs_state_recorder::attributes::Item;
use ecs_state_recorder::resource::Resource;
use ecs_state_recorder::state::expiry::TerminalCondition;
use ecs_state_recorder::state::read_error::ReadError;
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::entry::{ATTRIBUTES, Entry};
use super::filter::Filter;
use super::keys::Key;
use super::{CONCURRENCY, Tables, TaskSet};

/// Called after each page with the rows read so far and the read capacity units they took.
pub(crate) type OnPage<'p> = &'p dyn Fn(u64, f64);

/// The keys of the tasks that match, in no particular order.
pub(super) async fn tasks(
    tables: &Tables,
    which: TaskSet,
    filter: &Filter,
    progress: OnPage<'_>,
) -> Result<Vec<Key>, ReadError> {
    let mut request = tables.client.scan().table_name(&tables.tasks).projection_expression(ATTRIBUTES);
    let not = match which {
        TaskSet::Active => Some("NOT "),
        TaskSet::Stopped(_) => Some(""),
        TaskSet::ActiveSince(_) => None,
    };
    if let Some(not) = not {
        let terminal = TerminalCondition::new(Resource::Task);
        request = request
            .filter_expression(format!("{not}{}", terminal.expression))
            .set_expression_attribute_names(Some(terminal.names))
            .set_expression_attribute_values(Some(terminal.values));
    }
    let request = request.expression_attribute_names("#group", "group");
    parallel(&tables.tasks, request, progress, |item| {
        let entry = Entry::from_item(item)?;
        (entry.is_in(which) && filter.admits_entry(&entry)).then(|| Key::new(&entry, which.is_newest_first()))
    })
    .await
}

/// Scans several segments at once, and collects what `keep` returns.
pub(super) async fn parallel<K>(
    table: &str,
    request: ScanFluentBuilder,
    progress: OnPage<'_>,
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
                .await;
            let page = ReadError::check("dynamodb:Scan", table, page)?;
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
