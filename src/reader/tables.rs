//! The rows of both tables, as typed values.
//!
//! A [`Listing`] is read in two steps: first the keys of what matches, then the rows to these keys in batches. The keys
//! come through the index, in order and page by page; or from a parallel scan, which keeps nothing but the keys of what
//! matches. So memory is bounded by some pages and batches, and for a scan by what matches, whatever the table's size.
//!
//! What the index has as its keys: [`crate::state::index`].

mod entry;
mod error;
mod filter;
mod instances;
mod listing;
mod scan;
mod search;

use std::collections::HashMap;
use std::marker::PhantomData;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::de::DeserializeOwned;

pub use self::error::ReadError;
pub use self::filter::{Filter, is_cluster, is_part_of};
pub use self::instances::InstanceFilter;
pub use self::listing::Listing;
pub use self::scan::Progress;
pub use self::search::{arns, is_whole};

use self::entry::Entry;
use self::listing::{Keys, Range};
use super::model::{ModelError, Row, Task};
use crate::state::index::{ACTIVE, INDEX, INDEX_CLUSTER, INDEX_STATE, sort_key_of_active, sort_key_of_stopped};
use crate::state::resource::Resource;
use crate::state::store_error::{Cause, StoreError};

type Item = HashMap<String, AttributeValue>;

/// How many requests are under way at the same time.
const CONCURRENCY: usize = 4;

/// The two tables.
#[derive(Clone, Debug)]
pub struct Tables {
    /// The client.
    pub client: Client,
    /// The name of the table of tasks.
    pub tasks: String,
    /// The name of the table of container instances.
    pub container_instances: String,
}

/// Which tasks: those that have not stopped, or those that have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Which {
    /// Those that have not stopped, by cluster, group and creation.
    Active,
    /// Those that have stopped since then, newest first.
    StoppedSince(DateTime<Utc>),
}

/// How the keys of tasks are found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Through the index.
    Index,
    /// By a parallel scan of the table.
    Scan,
}

impl Tables {
    fn name(&self, resource: Resource) -> &str {
        match resource {
            Resource::Task => &self.tasks,
            Resource::ContainerInstance => &self.container_instances,
        }
    }

    /// Reads one row by its ARN.
    ///
    /// # Errors
    ///
    /// The request failed.
    pub async fn get<T: DeserializeOwned>(
        &self,
        resource: Resource,
        arn: &str,
    ) -> Result<Option<Result<Row<T>, ModelError>>, ReadError> {
        let table = self.name(resource);
        let response = self
            .client
            .get_item()
            .table_name(table)
            .key(resource.key(), AttributeValue::S(arn.to_owned()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| ReadError::new("dynamodb:GetItem", table, &error))?;
        Ok(response.item.map(Row::from_item))
    }

    /// The ARNs of the clusters in the index, in order.
    ///
    /// One request a cluster: each starts past the highest sort key of the cluster before, which skips the rest of it.
    ///
    /// # Errors
    ///
    /// A request failed, there is no index, or a cluster came twice: such a server would never come to an end.
    pub async fn clusters(&self) -> Result<Vec<String>, ReadError> {
        const ACTION: &str = "dynamodb:Scan";
        let mut clusters = Vec::new();
        let mut start: Option<Item> = None;
        loop {
            let page = self
                .client
                .scan()
                .table_name(&self.tasks)
                .index_name(INDEX)
                .limit(1)
                .projection_expression("#cluster, #key")
                .expression_attribute_names("#cluster", INDEX_CLUSTER)
                .expression_attribute_names("#key", Resource::Task.key())
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(|error| ReadError::new(ACTION, &self.tasks, &error))?;
            let mut found = page.items.unwrap_or_default().pop();
            let cluster = found.as_mut().and_then(|item| item.remove(INDEX_CLUSTER));
            let (Some(AttributeValue::S(cluster)), Some(mut item)) = (cluster, found) else {
                // A page can be empty and yet not the last.
                match page.last_evaluated_key.filter(|key| !key.is_empty()) {
                    Some(next) => start = Some(next),
                    None => break,
                }
                continue;
            };
            item.insert(INDEX_CLUSTER.to_owned(), AttributeValue::S(cluster.clone()));
            // Every sort key starts with `A` or `S`.
            item.insert(INDEX_STATE.to_owned(), AttributeValue::S("~".to_owned()));
            start = Some(item);
            if clusters.contains(&cluster) {
                let cause = StoreError::Permanent(Cause::StartKeyIgnored);
                return Err(ReadError { action: ACTION, table: self.tasks.clone(), cause, details: None });
            }
            clusters.push(cluster);
        }
        clusters.sort_unstable();
        Ok(clusters)
    }

    /// The clusters of the index that a filter admits.
    async fn clusters_of(&self, cluster: Option<&str>) -> Result<Vec<String>, ReadError> {
        match cluster {
            Some(arn) if arn.starts_with("arn:") => Ok(vec![arn.to_owned()]),
            Some(name) => {
                let mut clusters = self.clusters().await?;
                clusters.retain(|cluster| is_cluster(Some(cluster), name));
                Ok(clusters)
            }
            None => self.clusters().await,
        }
    }

    /// The tasks that a filter admits. `limit` is how many the caller is going to read, if it knows.
    ///
    /// # Errors
    ///
    /// A request failed. [`ReadError::is_missing_index`] tells whether a scan would help.
    pub async fn tasks<'t>(
        &'t self,
        which: Which,
        filter: &'t Filter,
        access: Access,
        limit: Option<usize>,
        progress: Progress<'_>,
    ) -> Result<Listing<'t, Task>, ReadError> {
        let newest_first = which != Which::Active;
        let ranges = match access {
            Access::Index => {
                let state = match (which, filter.whole_group()) {
                    (Which::Active, Some(group)) => {
                        let from = sort_key_of_active(&group, None);
                        (from.clone(), format!("{from}~"))
                    }
                    // `$` comes after `#`.
                    (Which::Active, None) => (ACTIVE.to_owned(), "A$".to_owned()),
                    (Which::StoppedSince(since), _) => (sort_key_of_stopped(Some(since)), "S$".to_owned()),
                };
                let clusters = self.clusters_of(filter.cluster.as_deref()).await?;
                let count = clusters.len();
                let range = |cluster| Range::new(self, cluster, state.clone(), newest_first, filter, limit, count);
                futures_util::stream::iter(clusters.into_iter().map(range))
                    .map(Range::with_first_page)
                    .buffered(CONCURRENCY)
                    .try_collect()
                    .await?
            }
            Access::Scan => vec![Range::scanned(scan::tasks(self, which, filter, progress).await?, newest_first)],
        };
        let admits = move |row: &Row<Task>| {
            row.state.is_stopped() == newest_first && Entry::from_row(row).is_in(which) && filter.admits(row)
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
