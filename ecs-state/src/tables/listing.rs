//! Rows in order: merges keys from several ranges and fetches their rows in batches.

use std::marker::PhantomData;

use ecs_model::ModelError;
use ecs_state_recorder::resource::Resource;
use ecs_state_recorder::state::batch_get::{self, BATCH};
use ecs_state_recorder::state::read_error::ReadError;
use ecs_state_recorder::state::stored::Stored;
use serde::de::DeserializeOwned;

use super::keys::Keys;
use super::{CONCURRENCY, Tables};

/// Whether a row matches: its key may not be enough to decide.
type Admits<'t, T> = Box<dyn Fn(&Stored<T>) -> bool + 't>;

/// Rows that match, in order.
pub(crate) struct Listing<'t, T> {
    pub(super) tables: &'t Tables,
    pub(super) resource: Resource,
    pub(super) keys: Keys<'t>,
    pub(super) admits: Admits<'t, T>,
    pub(super) limit: Option<usize>,
    pub(super) model: PhantomData<T>,
}

impl<T: DeserializeOwned> Listing<'_, T> {
    /// How many keys are known already: after a scan, all that match.
    pub(crate) fn known(&self) -> usize {
        self.keys.ranges.iter().map(|range| range.keys.len()).sum()
    }

    /// The next rows: at least one, or none at the end. A row that can't be read is a separate error.
    pub(crate) async fn next(&mut self) -> Result<Vec<Result<Stored<T>, ModelError>>, ReadError> {
        // With a limit, one batch may be enough.
        let batches = if self.limit.is_some() { 1 } else { CONCURRENCY };
        loop {
            let keys = self.keys.take(batches * BATCH).await?;
            if keys.is_empty() {
                return Ok(Vec::new());
            }
            let rows =
                batch_get::rows(&self.tables.client, self.tables.name(self.resource), self.resource, &keys, None)
                    .await?;
            let admitted: Vec<_> =
                rows.into_iter().map(Stored::from_item).filter(|row| row.as_ref().map_or(true, &self.admits)).collect();
            if !admitted.is_empty() {
                return Ok(admitted);
            }
        }
    }
}
