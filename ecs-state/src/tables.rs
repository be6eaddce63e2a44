//! The rows of both tables, as typed values.
//!
//! A [`Listing`](listing::Listing) is read in two steps: first the keys of what matches, then the rows to these keys in batches. The keys
//! come through the index, in order and page by page; or from a parallel scan, which keeps nothing but the keys of what
//! matches. So memory is bounded by some pages and batches, and for a scan by what matches, whatever the table's size.
//!
//! What the index has as its keys: [`ecs_state_recorder::state::index`].

mod entry;
pub(crate) mod filter;
pub(crate) mod instances;
mod keys;
pub(crate) mod listing;
pub(crate) mod scan;
pub(crate) mod search;
mod tasks;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use ecs_model::ModelError;
use ecs_state_recorder::resource::Resource;
use ecs_state_recorder::state::read_error::ReadError;
use ecs_state_recorder::state::stored::Stored;
use serde::de::DeserializeOwned;

/// How many requests are under way at the same time.
const CONCURRENCY: usize = 4;

/// The two tables.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    /// The client.
    pub(crate) client: Client,
    /// The name of the table of tasks.
    pub(crate) tasks: String,
    /// The name of the table of container instances.
    pub(crate) container_instances: String,
}

/// The tasks that have not stopped, or those that have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TaskSet {
    /// Those that have not stopped, by cluster, group and creation.
    Active,
    /// Those that have stopped since then, newest first.
    StoppedSince(DateTime<Utc>),
}

/// How the keys of tasks are found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Access {
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
            .await
            .map_err(|error| ReadError::new("dynamodb:GetItem", table, &error))?;
        Ok(response.item.map(Stored::from_item))
    }
}
