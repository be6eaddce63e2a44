//! Finds a task by its id, or by a part of it.

use aws_sdk_dynamodb::types::AttributeValue;
use ecs_model::arn::{cluster_arn, is_id, last_part};
use ecs_state_recorder::attributes::{INDEX_CLUSTER, Item, take_string};
use ecs_state_recorder::resource::Resource;
use ecs_state_recorder::state::batch_get::{self, Projection};
use ecs_state_recorder::state::index::INDEX;
use ecs_state_recorder::state::read_error::ReadError;

use super::filter::is_cluster;
use super::scan::{self, OnPage};
use super::{Access, Tables};

impl Tables {
    /// The ARNs of the tasks whose id starts with `id`, or else of those whose id contains it, in order.
    ///
    /// A full id takes one request per cluster and a single `BatchGetItem`. For a part of an id, every entry of the
    /// index is read.
    pub(crate) async fn find_task(
        &self,
        id: &str,
        cluster: Option<&str>,
        access: Access,
        progress: OnPage<'_>,
    ) -> Result<Vec<String>, ReadError> {
        let key = Resource::Task.key();
        if access == Access::Index && is_id(id) {
            let clusters = self.clusters_of(cluster).await?;
            let mut arns: Vec<String> = clusters.iter().flat_map(|cluster| possible_task_arns(cluster, id)).collect();
            arns.sort_unstable();
            arns.dedup();
            let projection = Projection::new([key, "clusterArn"]);
            let rows = batch_get::rows(&self.client, &self.tasks, Resource::Task, &arns, Some(&projection)).await?;
            let mut found: Vec<String> =
                rows.into_iter().filter_map(|item| admitted(item, id, cluster, "clusterArn")).collect();
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

/// The possible ARNs of a task with this id in a cluster: with the cluster's name, and in the old short form.
pub(crate) fn possible_task_arns(cluster: &str, id: &str) -> Vec<String> {
    let Some((prefix, name)) = cluster.split_once(":cluster/") else { return Vec::new() };
    vec![format!("{prefix}:task/{name}/{id}"), format!("{prefix}:task/{id}")]
}

fn admitted(mut item: Item, id: &str, cluster: Option<&str>, attribute: &str) -> Option<String> {
    let arn = take_string(&mut item, Resource::Task.key())?;
    let found_in = cluster_arn(take_string(&mut item, attribute).as_deref(), &arn).unwrap_or_default();
    (last_part(&arn).contains(id) && cluster.is_none_or(|cluster| is_cluster(&found_in, cluster))).then_some(arn)
}
