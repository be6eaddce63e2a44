//! The keys of matching rows, in order: read from the index page by page, or from a table that was scanned.

use std::cmp::Ordering;
use std::collections::VecDeque;

use ecs_state_recorder::attributes::Item;
use ecs_state_recorder::state::batch_get::BATCH;
use ecs_state_recorder::state::index_query::{self, Page};
use ecs_state_recorder::state::read_error::ReadError;

use super::Tables;
use super::entry::Entry;
use super::filter::Filter;

/// The maximum number of entries in a page of the index, and in the first pages of all clusters together.
const PAGE: usize = 1000;
const FIRST_PAGES: usize = 20_000;

/// A key, and its place in the order.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Key {
    pub(super) order: Box<str>,
    pub(super) arn: Box<str>,
}

impl Key {
    /// The key of a task. Tasks that have not stopped are ordered by cluster first.
    pub(super) fn new(entry: &Entry, newest_first: bool) -> Self {
        let order =
            if newest_first { entry.sort_key.clone() } else { format!("{}\0{}", entry.cluster, entry.sort_key) };
        Self { order: order.into(), arn: entry.arn.as_str().into() }
    }

    fn compare(&self, other: &Self, newest_first: bool) -> Ordering {
        let by_order = self.order.cmp(&other.order);
        if newest_first { by_order.reverse() } else { by_order }.then_with(|| self.arn.cmp(&other.arn))
    }
}

/// The keys of several ranges, merged.
pub(super) struct Keys<'t> {
    pub(super) ranges: Vec<KeyRange<'t>>,
    pub(super) newest_first: bool,
}

impl Keys<'_> {
    /// The next `count` ARNs; fewer only at the end.
    pub(super) async fn take(&mut self, count: usize) -> Result<Vec<String>, ReadError> {
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

/// The keys of one cluster, read page by page, or of a table that was scanned.
pub(super) struct KeyRange<'t> {
    pub(super) keys: VecDeque<Key>,
    next: Option<NextPage<'t>>,
    newest_first: bool,
}

struct NextPage<'t> {
    tables: &'t Tables,
    filter: &'t Filter,
    range: index_query::Range,
    start: Option<Item>,
    size: usize,
}

impl<'t> KeyRange<'t> {
    pub(super) fn new(
        tables: &'t Tables,
        range: index_query::Range,
        filter: &'t Filter,
        limit: Option<usize>,
        clusters: usize,
    ) -> Self {
        let most = (FIRST_PAGES / clusters.max(1)).clamp(25, PAGE);
        let size = limit.map_or(most, |limit| limit.max(BATCH).min(most));
        let newest_first = range.descending;
        let next = NextPage { tables, filter, range, start: None, size };
        Self { keys: VecDeque::new(), next: Some(next), newest_first }
    }

    /// A range of these keys, which may be in any order.
    pub(super) fn scanned(mut keys: Vec<Key>, newest_first: bool) -> Self {
        keys.sort_unstable_by(|a, b| a.compare(b, newest_first));
        Self { keys: keys.into(), next: None, newest_first }
    }

    pub(super) async fn with_first_page(mut self) -> Result<Self, ReadError> {
        self.fill().await?;
        Ok(self)
    }

    /// Reads pages until there is a key or no page is left.
    async fn fill(&mut self) -> Result<(), ReadError> {
        while self.keys.is_empty()
            && let Some(NextPage { tables, filter, range, start, size }) = &mut self.next
        {
            let Page { items, next } =
                index_query::page(&tables.client, &tables.tasks, range, *size, start.take()).await?;
            let mut keys: Vec<Key> = items
                .into_iter()
                .filter_map(Entry::from_index)
                .filter(|entry| filter.admits_entry(entry))
                .map(|entry| Key::new(&entry, self.newest_first))
                .collect();
            // The index does not order entries with the same time.
            keys.sort_by(|a, b| a.compare(b, self.newest_first));
            self.keys = keys.into();
            match next {
                Some(key) => *start = Some(key),
                None => self.next = None,
            }
        }
        Ok(())
    }
}
