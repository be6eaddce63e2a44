//! Container instances. Their table has hundreds of rows, so it is scanned.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use ecs_model::arn::cluster_arn;
use ecs_model::{ContainerInstance, ContainerInstanceStatus};
use ecs_state_recorder::attributes::take_string;
use ecs_state_recorder::resource::Resource;
use ecs_state_recorder::state::read_error::ReadError;
use ecs_state_recorder::state::stored::Stored;

use super::Tables;
use super::filter::{is_cluster, is_of_account};
use super::keys::{Key, KeyRange, Keys};
use super::listing::Listing;
use super::scan::{self, OnPage};

/// The conditions on a container instance. `None` admits every instance.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct InstanceFilter {
    /// An ARN or a name.
    pub(crate) cluster: Option<String>,
    pub(crate) account: Option<String>,
    /// Its agent was reported as disconnected before this time.
    pub(crate) disconnected_before: Option<DateTime<Utc>>,
    pub(crate) inactive: bool,
    /// Whether to admit instances that ECS no longer knows.
    pub(crate) missing: bool,
}

impl InstanceFilter {
    fn admits(&self, row: &Stored<ContainerInstance>) -> bool {
        let instance = &row.state;
        let is_disconnected = |before: DateTime<Utc>| {
            instance.agent_connected == Some(false) && row.recorded.as_of().is_some_and(|time| time <= before)
        };
        (self.missing || row.recorded.missing_since.is_none())
            && (self.inactive || instance.status != Some(ContainerInstanceStatus::Inactive))
            && is_of_account(&instance.container_instance_arn, self.account.as_ref())
            && self.disconnected_before.is_none_or(is_disconnected)
            && self.admits_cluster(instance.cluster_arn.as_deref(), &instance.container_instance_arn)
    }

    fn admits_cluster(&self, found: Option<&str>, arn: &str) -> bool {
        let found = cluster_arn(found, arn).unwrap_or_default();
        self.cluster.as_ref().is_none_or(|cluster| is_cluster(&found, cluster))
    }
}

impl Tables {
    /// The container instances that a filter admits, by cluster and id.
    pub(crate) async fn instances<'t>(
        &'t self,
        filter: &'t InstanceFilter,
        progress: OnPage<'_>,
    ) -> Result<Listing<'t, ContainerInstance>, ReadError> {
        let request = self
            .client
            .scan()
            .table_name(&self.container_instances)
            .projection_expression("#key, clusterArn")
            .expression_attribute_names("#key", Resource::ContainerInstance.key());
        let keys = scan::parallel(&self.container_instances, request, progress, |mut item| {
            let cluster = take_string(&mut item, "clusterArn");
            let arn = take_string(&mut item, Resource::ContainerInstance.key())?;
            let order = cluster_arn(cluster.as_deref(), &arn).unwrap_or_default().into();
            filter.admits_cluster(cluster.as_deref(), &arn).then(|| Key { order, arn: arn.into() })
        })
        .await?;
        let keys = Keys { ranges: vec![KeyRange::scanned(keys, false)], newest_first: false };
        Ok(Listing::new(self, Resource::ContainerInstance, keys, None, |row| filter.admits(row)))
    }

    /// The ARNs of the container instances with this EC2 instance id.
    pub(crate) async fn instances_in_ec2(&self, id: &str) -> Result<Vec<String>, ReadError> {
        let request = self
            .client
            .scan()
            .table_name(&self.container_instances)
            .filter_expression("ec2InstanceId = :id")
            .projection_expression("#key")
            .expression_attribute_names("#key", Resource::ContainerInstance.key())
            .expression_attribute_values(":id", AttributeValue::S(id.to_owned()));
        let arn = |mut item| take_string(&mut item, Resource::ContainerInstance.key());
        scan::parallel(&self.container_instances, request, &|_, _| {}, arn).await
    }
}
