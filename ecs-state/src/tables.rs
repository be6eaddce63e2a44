//! The rows of both tables, as typed values.
//!
//! A [`Listing`](listing::Listing) is one stream in two steps: first the keys of matching rows, then the rows, in
//! batches. The keys come from the index, in order and page by page, or from a parallel scan, which keeps only matching
//! keys. Both steps read ahead of what is printed, within bounds. So memory is bounded by a few pages and batches, or
//! for a scan by the number of matches, whatever the table's size.

mod entry;
pub(crate) mod filter;
pub(crate) mod instances;
mod keys;
pub(crate) mod listing;
pub(crate) mod scan;
pub(crate) mod search;
mod tasks;

use std::panic::resume_unwind;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use ecs_model::ModelError;
use ecs_state_recorder::resource::Resource;
use ecs_state_recorder::state::read_error::ReadError;
use ecs_state_recorder::state::stored::Stored;
use serde::de::DeserializeOwned;

use crate::time::Window;

/// How many scans, or first pages of clusters, are read at once.
const CONCURRENCY: usize = 4;

#[derive(Clone, Debug)]
pub(crate) struct Tables {
    pub(crate) client: Client,
    pub(crate) tasks: String,
    pub(crate) container_instances: String,
}

/// The tasks that have not stopped, those that have, or both.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TaskSet {
    /// By cluster, group and creation time.
    Active,
    /// Newest first.
    Stopped(Window),
    /// Those that have not stopped, or not before this time: by cluster, but in no useful order.
    ActiveSince(DateTime<Utc>),
}

impl TaskSet {
    fn is_newest_first(self) -> bool {
        matches!(self, Self::Stopped(_))
    }
}

/// How the keys of tasks are found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Access {
    Index,
    Scan,
}

/// Starts a read on another thread, so that it goes on while this one prints.
fn spawn<R: Send + 'static>(read: impl Future<Output = R> + Send + 'static) -> impl Future<Output = R> {
    let read = tokio::spawn(read);
    async { read.await.unwrap_or_else(|error| resume_unwind(error.into_panic())) }
}

impl Tables {
    fn name(&self, resource: Resource) -> &str {
        match resource {
            Resource::Task => &self.tasks,
            Resource::ContainerInstance => &self.container_instances,
        }
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        resource: Resource,
        arn: &str,
    ) -> Result<Option<Result<Stored<T>, ModelError>>, ReadError> {
        let table = self.name(resource);
        let response = self
            .client
            .get_item()
            .table_name(table)
            .key(resource.key(), AttributeValue::S(arn.to_owned()))
            .consistent_read(true)
            .send()
            .await;
        let response = ReadError::check("dynamodb:GetItem", table, response)?;
        Ok(response.item.map(Stored::from_item))
    }
}
