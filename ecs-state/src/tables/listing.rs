//! Rows in order: merges keys from several ranges, and reads their rows ahead of the reader, in batches.

use std::pin::Pin;

use ecs_model::ModelError;
use ecs_state_recorder::resource::Resource;
use ecs_state_recorder::state::batch_get::{self, BATCH};
use ecs_state_recorder::state::read_error::ReadError;
use ecs_state_recorder::state::stored::Stored;
use futures_util::stream::{Stream, TryStreamExt as _, try_unfold};
use serde::de::DeserializeOwned;

use super::keys::Keys;
use super::{Tables, spawn};

/// How many batches are read ahead. A row takes some 10 KB in memory.
const BATCHES: usize = 16;

/// Rows, or why one can't be read.
type Rows<T> = Vec<Result<Stored<T>, ModelError>>;
/// Whether a row matches: its key may not be enough to decide.
type Admits<'t, T> = Box<dyn Fn(&Stored<T>) -> bool + 't>;

pub(crate) struct Listing<'t, T> {
    batches: Pin<Box<dyn Stream<Item = Result<Rows<T>, ReadError>> + 't>>,
    admits: Admits<'t, T>,
    known: usize,
}

impl<'t, T: DeserializeOwned + Send + 'static> Listing<'t, T> {
    /// The rows with these keys. With a limit, nothing is read ahead: one batch may be enough.
    pub(super) fn new(
        tables: &'t Tables,
        resource: Resource,
        keys: Keys<'t>,
        limit: Option<usize>,
        admits: impl Fn(&Stored<T>) -> bool + 't,
    ) -> Self {
        let known = keys.ranges.iter().map(|range| range.keys.len()).sum();
        let batches = try_unfold(keys, async |mut keys: Keys<'t>| {
            let arns = keys.take(BATCH).await?;
            Ok((!arns.is_empty()).then_some((arns, keys)))
        })
        .map_ok(move |arns| spawn(batch(tables.clone(), resource, arns)))
        .try_buffered(if limit.is_some() { 1 } else { BATCHES });
        Self { batches: Box::pin(batches), admits: Box::new(admits), known }
    }

    /// How many keys are known from the start: after a scan, all that match.
    pub(crate) fn known(&self) -> usize {
        self.known
    }

    /// The next rows: at least one, or none at the end. A row that can't be read is a separate error.
    pub(crate) async fn next(&mut self) -> Result<Rows<T>, ReadError> {
        let admitted = |row: Result<Stored<T>, ModelError>| match row {
            Ok(row) if (self.admits)(&row) => Some(Ok(row)),
            // A field that can't be read may be why it does not match.
            Ok(row) => row.left_out.into_iter().next().map(Err),
            Err(error) => Some(Err(error)),
        };
        while let Some(rows) = self.batches.try_next().await? {
            let rows: Rows<T> = rows.into_iter().filter_map(admitted).collect();
            if !rows.is_empty() {
                return Ok(rows);
            }
        }
        Ok(Vec::new())
    }
}

async fn batch<T: DeserializeOwned>(
    tables: Tables,
    resource: Resource,
    arns: Vec<String>,
) -> Result<Rows<T>, ReadError> {
    let rows = batch_get::rows(&tables.client, tables.name(resource), resource, &arns, None).await?;
    Ok(rows.into_iter().map(Stored::from_item).collect())
}
