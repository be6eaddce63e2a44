//! Finds tasks through the index if the table has it, or else by a scan whose cost it notes, and container instances.

use chrono::{DateTime, Utc};
use ecs_model::arn::is_id;
use ecs_model::{ContainerInstance, Task};
use ecs_state_recorder::state::index::INDEX;
use ecs_state_recorder::state::read_error::ReadError;
use ecs_state_recorder::state::stored::Stored;
use serde::de::DeserializeOwned;

use crate::arguments::Filters;
use crate::failure::{Failure, Unreadable};
use crate::tables::filter::Filter;
use crate::tables::instances::InstanceFilter;
use crate::tables::listing::Listing;
use crate::tables::{Access, Tables, TaskSet};
use crate::terminal::{Progress, grouped, note};

/// Finds tasks through the index, or by a scan once the index turns out to be missing.
pub(crate) struct Source<'t> {
    tables: &'t Tables,
    access: Access,
    quiet: bool,
    last_scan: Option<String>,
}

/// How many entries of the index one read unit covers: it is two eventually consistent reads of 4 KB, and an entry has
/// some 400 bytes.
const ENTRIES_PER_UNIT: usize = 20;

impl<'t> Source<'t> {
    pub(crate) fn new(tables: &'t Tables, scan: bool) -> Self {
        Self { tables, access: if scan { Access::Scan } else { Access::Index }, quiet: false, last_scan: None }
    }

    /// The same, without progress and notes.
    pub(crate) fn quiet(tables: &'t Tables, scan: bool) -> Self {
        Self { quiet: true, ..Self::new(tables, scan) }
    }

    /// Whether the whole table is read: as asked for, or because it has no index.
    pub(crate) fn scans(&self) -> bool {
        self.access == Access::Scan
    }

    /// What the last scan cost: how many rows, and read units.
    pub(crate) fn last_scan(&self) -> Option<&str> {
        self.last_scan.as_deref()
    }

    pub(crate) async fn tasks(
        &mut self,
        which: TaskSet,
        filter: &'t Filter,
        limit: Option<usize>,
    ) -> Result<Listing<'t, Task>, Failure> {
        let progress = Progress::new(self.quiet);
        let update = |rows, units| progress.update(rows, units);
        let tables = self.tables;
        let tasks = async |access| tables.tasks(which, filter, access, limit, &update).await;
        let listing = self.with_fallback(&progress, tasks).await?;
        self.last_scan = progress.cost().filter(|_| self.scans());
        self.note_cost(&progress, listing.known());
        Ok(listing)
    }

    /// The ARNs of the tasks whose id is or contains `id`.
    pub(crate) async fn find(&mut self, id: &str, cluster: Option<&str>) -> Result<Vec<String>, Failure> {
        let progress = Progress::new(self.quiet);
        let update = |rows, units| progress.update(rows, units);
        let tables = self.tables;
        let find = async |access| tables.find_task(id, cluster, access, &update).await;
        let arns = self.with_fallback(&progress, find).await?;
        // For a part of an id, every entry of the index is read.
        self.note_cost(&progress, if is_id(id) { 1 } else { progress.rows() });
        Ok(arns)
    }

    /// Passes all rows of a listing to `add`, as [`for_each_row`] does, for output that waits for the last one: with
    /// progress meanwhile.
    pub(crate) async fn for_all_rows<T: DeserializeOwned + Send + 'static>(
        &self,
        listing: Listing<'_, T>,
        mut add: impl FnMut(Stored<T>) -> bool,
    ) -> Result<(usize, Unreadable), Failure> {
        let progress = Progress::new(self.quiet);
        let mut rows = 0;
        let unreadable = Unreadable { quiet: self.quiet, ..Unreadable::default() };
        let done = each_row(listing, None, unreadable, |row| {
            rows += 1;
            if rows % 100 == 0 {
                progress.update(rows, 0.0);
            }
            Ok(add(row))
        })
        .await;
        progress.clear();
        done
    }

    async fn with_fallback<T>(
        &mut self,
        progress: &Progress,
        read: impl AsyncFn(Access) -> Result<T, ReadError>,
    ) -> Result<T, Failure> {
        let mut found = read(self.access).await;
        if self.access == Access::Index && found.as_ref().is_err_and(ReadError::is_missing_index) {
            self.access = Access::Scan;
            found = read(self.access).await;
        }
        progress.clear();
        Ok(found?)
    }

    /// Notes what a scan cost, and what the index would have cost.
    fn note_cost(&self, progress: &Progress, found: usize) {
        if let (Access::Scan, false, Some(cost)) = (self.access, self.quiet, progress.cost()) {
            let units = found.div_ceil(ENTRIES_PER_UNIT).max(1);
            let units = grouped(u64::try_from(units).unwrap_or(u64::MAX));
            note(&format!(
                "note: the whole table was read ({cost}); through the index {INDEX}, this takes about {units}"
            ));
        }
    }
}

/// The container instances that a filter admits, with progress while their keys are read.
pub(crate) async fn instances<'t>(
    tables: &'t Tables,
    filter: &'t InstanceFilter,
) -> Result<Listing<'t, ContainerInstance>, Failure> {
    let progress = Progress::new(false);
    let listing = tables.instances(filter, &|rows, units| progress.update(rows, units)).await;
    progress.clear();
    Ok(listing?)
}

/// Shows the rows of a listing until `limit` of them count; `show` returns whether a row does. Returns how many count,
/// and which could not be read. A row that does not count may have failed to by a field that could not be read.
pub(crate) async fn for_each_row<T: DeserializeOwned + Send + 'static>(
    listing: Listing<'_, T>,
    limit: Option<usize>,
    show: impl FnMut(Stored<T>) -> Result<bool, Failure>,
) -> Result<(usize, Unreadable), Failure> {
    each_row(listing, limit, Unreadable::default(), show).await
}

async fn each_row<T: DeserializeOwned + Send + 'static>(
    mut listing: Listing<'_, T>,
    limit: Option<usize>,
    mut unreadable: Unreadable,
    mut show: impl FnMut(Stored<T>) -> Result<bool, Failure>,
) -> Result<(usize, Unreadable), Failure> {
    let mut found = 0;
    while limit != Some(found) {
        let rows = listing.next().await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            if limit == Some(found) {
                break;
            }
            match row {
                Ok(mut row) => {
                    let left_out = std::mem::take(&mut row.left_out);
                    if show(row)? {
                        found += 1;
                        for error in &left_out {
                            unreadable.add_field(error);
                        }
                    } else if let Some(error) = left_out.first() {
                        unreadable.add(error);
                    }
                }
                Err(error) => unreadable.add(&error),
            }
        }
    }
    Ok((found, unreadable))
}

/// The filter described by the arguments, as [`Filters::filter`] does. An EC2 instance id is looked up.
pub(crate) async fn filter(
    tables: &Tables,
    filters: &Filters,
    stopped: bool,
    at: Option<DateTime<Utc>>,
) -> Result<Filter, Failure> {
    let mut filter = filters.filter(stopped, at)?;
    if let Some(instance) = &filters.instance {
        let is_in_ec2 = instance.starts_with("i-") || instance.starts_with("mi-");
        let instances = if is_in_ec2 { tables.instances_in_ec2(instance).await? } else { vec![instance.clone()] };
        if instances.is_empty() {
            let table = &tables.container_instances;
            return Err(Failure::Nothing(format!(
                "no container instance in the table {table:?} has the EC2 id {instance}"
            )));
        }
        filter.instances = Some(instances);
    }
    Ok(filter)
}
