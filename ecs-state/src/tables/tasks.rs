//! Lists the tasks that a filter admits, through the index or by a scan.

use std::marker::PhantomData;

use ecs_model::Task;
use ecs_state_recorder::resource::Resource;
use ecs_state_recorder::state::index::{ACTIVE, sort_key_of_active, sort_key_of_stopped};
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

impl Tables {
    /// The clusters of the index with this ARN or name, or all.
    pub(super) async fn clusters_of(&self, cluster: Option<&str>) -> Result<Vec<String>, ReadError> {
        match cluster {
            Some(arn) if arn.starts_with("arn:") => Ok(vec![arn.to_owned()]),
            Some(name) => {
                let mut clusters = index_query::clusters(&self.client, &self.tasks).await?;
                clusters.retain(|cluster| is_cluster(Some(cluster), name));
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
        let newest_first = which != TaskSet::Active;
        let ranges = match access {
            Access::Index => {
                let (from, to) = match (which, filter.only_group()) {
                    (TaskSet::Active, Some(group)) => {
                        let from = sort_key_of_active(&group, None);
                        (from.clone(), format!("{from}~"))
                    }
                    // `$` comes after `#`.
                    (TaskSet::Active, None) => (ACTIVE.to_owned(), "A$".to_owned()),
                    (TaskSet::StoppedSince(since), _) => (sort_key_of_stopped(Some(since)), "S$".to_owned()),
                };
                let mut clusters = self.clusters_of(filter.cluster.as_deref()).await?;
                clusters.retain(|cluster| is_of_account(cluster, filter.account.as_ref()));
                let count = clusters.len();
                let range = |cluster| {
                    let range =
                        index_query::Range { cluster, from: from.clone(), to: to.clone(), descending: newest_first };
                    KeyRange::new(self, range, filter, limit, count)
                };
                futures_util::stream::iter(clusters.into_iter().map(range))
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
        Ok(Listing {
            tables: self,
            resource: Resource::Task,
            keys: Keys { ranges, newest_first },
            admits: Box::new(admits),
            limit,
            model: PhantomData,
        })
    }
}
