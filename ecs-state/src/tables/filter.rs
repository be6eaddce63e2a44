//! Filters for tasks.

use ecs_model::Task;
use ecs_model::arn::last_part;
use ecs_state_recorder::state::stored::Stored;

use super::entry::Entry;

/// What a task must have. What is `None` admits every task.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Filter {
    /// The cluster, by its ARN or its name.
    pub(crate) cluster: Option<String>,
    /// The name of the service.
    pub(crate) service: Option<String>,
    /// The group, whole.
    pub(crate) group: Option<String>,
    /// The family of the task definition, or the family and the revision: `web`, `web:42`.
    pub(crate) family: Option<String>,
    /// Who started it, whole.
    pub(crate) started_by: Option<String>,
    /// The status, in capitals.
    pub(crate) status: Option<String>,
    /// A part of the image, or of its digest, of one of its containers.
    pub(crate) image: Option<String>,
    /// The container instances, by ARN, id or id prefix.
    pub(crate) instances: Option<Vec<String>>,
    /// Whether tasks that ECS no longer knows are admitted.
    pub(crate) missing: bool,
}

impl Filter {
    /// The group that every admitted task has.
    pub(super) fn whole_group(&self) -> Option<String> {
        self.service.as_ref().map(|service| format!("service:{service}")).or_else(|| self.group.clone())
    }

    /// Whether an entry of the index may be that of an admitted task.
    pub(super) fn admits_entry(&self, entry: &Entry) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        self.cluster.as_ref().is_none_or(|cluster| is_cluster(Some(&entry.cluster), cluster))
            && is(&self.service.as_ref().map(|service| format!("service:{service}")), &entry.group)
            && is(&self.group, &entry.group)
            && (self.started_by.is_none() || self.started_by == entry.started_by)
            && self.family.as_ref().is_none_or(|family| is_family(entry.task_definition.as_deref(), family))
    }

    /// Whether it admits a task.
    #[must_use]
    pub(crate) fn admits(&self, row: &Stored<Task>) -> bool {
        let task = &row.state;
        let has_image = |image: &String| {
            task.containers.iter().any(|container| {
                [&container.image, &container.image_digest].into_iter().flatten().any(|text| text.contains(image))
            })
        };
        let is_on = |instances: &Vec<String>| {
            let instance = task.container_instance_arn.as_deref();
            instance
                .is_some_and(|arn| instances.iter().any(|wanted| arn == wanted || last_part(arn).starts_with(wanted)))
        };
        self.admits_entry(&Entry::from_row(row))
            && (self.missing || row.recorded.missing_since.is_none())
            && self.status.as_ref().is_none_or(|status| task.last_status.as_ref().is_some_and(|s| s.as_str() == status))
            && self.image.as_ref().is_none_or(has_image)
            && self.instances.as_ref().is_none_or(is_on)
    }
}

/// Whether a cluster has this ARN or name.
#[must_use]
pub(crate) fn is_cluster(arn: Option<&str>, wanted: &str) -> bool {
    arn.is_some_and(|arn| is_part_of(arn, wanted))
}

/// Whether an ARN is the one wanted, or its last part is.
#[must_use]
pub(crate) fn is_part_of(arn: &str, wanted: &str) -> bool {
    arn == wanted || last_part(arn) == wanted
}

fn is_family(task_definition: Option<&str>, wanted: &str) -> bool {
    let Some(definition) = task_definition else { return false };
    let definition = last_part(definition);
    definition == wanted || definition.rsplit_once(':').is_some_and(|(family, _)| family == wanted)
}
