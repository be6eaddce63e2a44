//! Lists the tasks that a filter admits, through the index or by a scan.

use ecs_model::Task;
use ecs_state_recorder::resource::Resource;
use ecs_state_recorder::state::index::{ACTIVE, AFTER_ACTIVE, AFTER_STOPPED, sort_key_of_active, sort_key_of_stopped};
use ecs_state_recorder::state::index_query;
use ecs_state_recorder::state::read_error::ReadError;
use ecs_state_recorder::state::stored::Stored;
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::entry::Entry;
use super::filter::{Filter, is_cluster, is_of_account};
use super::keys::{KeyRange, Keys};
use super::listing::Listing;
use super::scan::{self, OnPage};
use super::{Access, CONCURRENCY, Tables, TaskSet};
use crate::time::Window;

impl Tables {
    /// The clusters of the index with this ARN or name, or all.
    pub(super) async fn clusters_of(&self, cluster: Option<&str>) -> Result<Vec<String>, ReadError> {
        match cluster {
            Some(arn) if arn.starts_with("arn:") => Ok(vec![arn.to_owned()]),
            Some(name) => {
                let mut clusters = index_query::clusters(&self.client, &self.tasks).await?;
                clusters.retain(|cluster| is_cluster(cluster, name));
                Ok(clusters)
            }
            None => index_query::clusters(&self.client, &self.tasks).await,
        }
    }

    /// The tasks that a filter admits. `limit` is how many the caller is going to read, if it knows.
    pub(crate) async fn tasks<'t>(
        &'t self,
        which: TaskSet,
        filter: &'t Filter,
        access: Access,
        limit: Option<usize>,
        progress: OnPage<'_>,
    ) -> Result<Listing<'t, Task>, ReadError> {
        let newest_first = which.is_newest_first();
        let ranges = match access {
            Access::Index => {
                let active = match filter.only_group().map(|group| sort_key_of_active(&group, None)) {
                    Some(from) => (from.clone(), format!("{from}~")),
                    None => (ACTIVE.to_owned(), AFTER_ACTIVE.to_owned()),
                };
                let stopped = |Window { since, until }| {
                    let to = until.map_or_else(|| AFTER_STOPPED.to_owned(), |until| sort_key_of_stopped(Some(until)));
                    (sort_key_of_stopped(Some(since)), to)
                };
                let bounds = match which {
                    TaskSet::Active => vec![active],
                    TaskSet::Stopped(window) => vec![stopped(window)],
                    TaskSet::ActiveSince(since) => vec![active, stopped(Window { since, until: None })],
                };
                let mut clusters = self.clusters_of(filter.cluster.as_deref()).await?;
                clusters.retain(|cluster| is_of_account(cluster, filter.account.as_ref()));
                let count = clusters.len() * bounds.len();
                let ranges = clusters.into_iter().flat_map(|cluster| {
                    bounds.iter().map(move |(from, to)| index_query::Range {
                        cluster: cluster.clone(),
                        from: from.clone(),
                        to: to.clone(),
                        descending: newest_first,
                    })
                });
                futures_util::stream::iter(ranges.map(|range| KeyRange::new(self, range, filter, limit, count)))
                    .map(KeyRange::with_first_page)
                    .buffered(CONCURRENCY)
                    .try_collect()
                    .await?
            }
            Access::Scan => vec![KeyRange::scanned(scan::tasks(self, which, filter, progress).await?, newest_first)],
        };
        let admits = move |row: &Stored<Task>| {
            let entry = Entry::from_row(row);
            entry.is_in(which) && filter.admits(row, &entry)
        };
        Ok(Listing::new(self, Resource::Task, Keys { ranges, newest_first }, limit, admits))
    }
}
