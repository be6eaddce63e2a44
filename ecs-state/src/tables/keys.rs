//! The keys of matching rows, in order: read from the index page by page, or from a table that was scanned.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::pin::Pin;

use ecs_state_recorder::attributes::Item;
use ecs_state_recorder::state::batch_get::BATCH;
use ecs_state_recorder::state::index_query::{self, Page};
use ecs_state_recorder::state::read_error::ReadError;

use super::entry::Entry;
use super::filter::Filter;
use super::{Tables, spawn};

/// The maximum number of entries in a page of the index, and in one page of each cluster together. Of each cluster, up
/// to two pages are in memory.
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
    pages: Option<Pages<'t>>,
    newest_first: bool,
}

struct Pages<'t> {
    tables: &'t Tables,
    filter: &'t Filter,
    range: index_query::Range,
    size: usize,
    /// Whether the next page is read while this one is used.
    ahead: bool,
    next: NextPage,
}

enum NextPage {
    /// Where it starts.
    At(Option<Item>),
    Reading(Pin<Box<dyn Future<Output = Result<EntryPage, ReadError>>>>),
}

/// The entries of a page, and where the next one starts.
type EntryPage = (Vec<Entry>, Option<Item>);

async fn read(
    tables: Tables,
    range: index_query::Range,
    size: usize,
    start: Option<Item>,
) -> Result<EntryPage, ReadError> {
    let Page { items, next } = index_query::page(&tables.client, &tables.tasks, &range, size, start).await?;
    Ok((items.into_iter().filter_map(Entry::from_index).collect(), next))
}

impl Pages<'_> {
    fn start(&self, start: Option<Item>) -> Pin<Box<dyn Future<Output = Result<EntryPage, ReadError>>>> {
        Box::pin(spawn(read(self.tables.clone(), self.range.clone(), self.size, start)))
    }

    /// The entries of the next page that the filter admits, and whether it was the last.
    async fn next(&mut self) -> Result<(Vec<Entry>, bool), ReadError> {
        let read = match std::mem::replace(&mut self.next, NextPage::At(None)) {
            NextPage::At(start) => self.start(start),
            NextPage::Reading(read) => read,
        };
        let (mut entries, next) = read.await?;
        entries.retain(|entry| self.filter.admits_entry(entry));
        let is_last = next.is_none();
        self.next = if self.ahead && !is_last { NextPage::Reading(self.start(next)) } else { NextPage::At(next) };
        Ok((entries, is_last))
    }
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
        let pages = Pages { tables, filter, range, size, ahead: limit.is_none(), next: NextPage::At(None) };
        Self { keys: VecDeque::new(), pages: Some(pages), newest_first }
    }

    /// A range of these keys, which may be in any order.
    pub(super) fn scanned(mut keys: Vec<Key>, newest_first: bool) -> Self {
        keys.sort_unstable_by(|a, b| a.compare(b, newest_first));
        Self { keys: keys.into(), pages: None, newest_first }
    }

    pub(super) async fn with_first_page(mut self) -> Result<Self, ReadError> {
        self.fill().await?;
        Ok(self)
    }

    /// Reads pages until there is a key or no page is left.
    async fn fill(&mut self) -> Result<(), ReadError> {
        while self.keys.is_empty()
            && let Some(pages) = &mut self.pages
        {
            let (entries, is_last) = pages.next().await?;
            let mut keys: Vec<Key> = entries.iter().map(|entry| Key::new(entry, self.newest_first)).collect();
            // The index does not order entries with the same time.
            keys.sort_by(|a, b| a.compare(b, self.newest_first));
            self.keys = keys.into();
            if is_last {
                self.pages = None;
            }
        }
        Ok(())
    }
}
