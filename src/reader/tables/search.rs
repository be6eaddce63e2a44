//! A task by its id, or a part of it.

use aws_sdk_dynamodb::types::AttributeValue;

use super::entry::text;
use super::filter::last_part;
use super::listing::items;
use super::{Access, Item, Progress, ReadError, Tables, is_cluster, scan};
use crate::state::index::{INDEX, INDEX_CLUSTER};
use crate::state::resource::Resource;

impl Tables {
    /// The ARNs of the tasks whose id begins with `id`, or else of those whose id has it as a part, in order.
    ///
    /// A whole id costs a request for each cluster and a single `BatchGetItem`. For a part of one, every entry of the
    /// index is read.
    ///
    /// # Errors
    ///
    /// A request failed. [`ReadError::is_missing_index`] tells whether [`Access::Scan`] would help.
    pub async fn find_task(
        &self,
        id: &str,
        cluster: Option<&str>,
        access: Access,
        progress: Progress<'_>,
    ) -> Result<Vec<String>, ReadError> {
        let key = Resource::Task.key();
        if access == Access::Index && is_whole(id) {
            let clusters = self.clusters_of(cluster).await?;
            let mut arns: Vec<String> = clusters.iter().flat_map(|cluster| arns(cluster, id)).collect();
            arns.sort_unstable();
            arns.dedup();
            let mut found = Vec::new();
            for keys in arns.chunks(100) {
                let items = items(self, Resource::Task, keys, Some("taskArn, clusterArn")).await?;
                found.extend(items.into_iter().filter_map(|item| admitted(item, id, cluster, "clusterArn")));
            }
            found.sort_unstable();
            if !found.is_empty() {
                return Ok(found);
            }
        }
        let (index, attribute) = match access {
            Access::Index => (Some(INDEX.to_owned()), INDEX_CLUSTER),
            Access::Scan => (None, "clusterArn"),
        };
        let request = self
            .client
            .scan()
            .table_name(&self.tasks)
            .set_index_name(index)
            .filter_expression("contains(#key, :id)")
            .projection_expression("#key, #cluster")
            .expression_attribute_names("#key", key)
            .expression_attribute_names("#cluster", attribute)
            .expression_attribute_values(":id", AttributeValue::S(id.to_owned()));
        let mut found =
            scan::parallel(&self.tasks, request, progress, |item| admitted(item, id, cluster, attribute)).await?;
        if found.iter().any(|arn| last_part(arn).starts_with(id)) {
            found.retain(|arn| last_part(arn).starts_with(id));
        }
        found.sort_unstable();
        Ok(found)
    }
}

/// The ARNs that a task with this id may have in a cluster: with the cluster's name, and in the old short form.
#[must_use]
pub fn arns(cluster: &str, id: &str) -> Vec<String> {
    let Some((prefix, name)) = cluster.split_once(":cluster/") else { return Vec::new() };
    vec![format!("{prefix}:task/{name}/{id}"), format!("{prefix}:task/{id}")]
}

/// Whether this is a whole id: 32 hexadecimal digits, or the UUID of a task with an old ARN.
#[must_use]
pub fn is_whole(id: &str) -> bool {
    matches!(id.len(), 32 | 36) && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn admitted(mut item: Item, id: &str, cluster: Option<&str>, attribute: &str) -> Option<String> {
    let arn = text(&mut item, Resource::Task.key())?;
    let of_cluster = text(&mut item, attribute);
    (last_part(&arn).contains(id) && cluster.is_none_or(|cluster| is_cluster(of_cluster.as_deref(), cluster)))
        .then_some(arn)
}
