//! Filters for tasks.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use ecs_model::arn::{account, last_part};
use ecs_model::{Container, Task};
use ecs_state_recorder::state::stored::Stored;

use super::entry::Entry;
use crate::state_at::{missing_at, status_at};

/// The conditions on a task. `None` admits every task.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Filter {
    /// An ARN or a name.
    pub(crate) cluster: Option<String>,
    pub(crate) account: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) group: Option<String>,
    /// A family, or a family and a revision: `web`, `web:42`.
    pub(crate) family: Option<String>,
    pub(crate) started_by: Option<String>,
    /// In capitals.
    pub(crate) status: Option<String>,
    /// A part of a container's image or image digest.
    pub(crate) image: Option<String>,
    /// One of its private addresses.
    pub(crate) ip: Option<IpAddr>,
    /// ARNs, ids or prefixes of ids.
    pub(crate) instances: Option<Vec<String>>,
    /// Whether to admit tasks that ECS no longer knows.
    pub(crate) missing: bool,
    /// When the other conditions must hold; `None` is now.
    pub(crate) at: Option<DateTime<Utc>>,
    /// Whether to admit only tasks of services, or only others.
    pub(crate) services: Option<bool>,
}

impl Filter {
    /// The group of every admitted task, if there is only one.
    pub(crate) fn only_group(&self) -> Option<String> {
        self.service.as_ref().map(|service| format!("service:{service}")).or_else(|| self.group.clone())
    }

    /// Whether the task of an entry may be admitted.
    pub(super) fn admits_entry(&self, entry: &Entry) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        self.cluster.as_ref().is_none_or(|cluster| is_cluster(&entry.cluster, cluster))
            && is_of_account(&entry.arn, self.account.as_ref())
            && is(&self.service.as_ref().map(|service| format!("service:{service}")), &entry.group)
            && is(&self.group, &entry.group)
            && self.services.is_none_or(|wanted| wanted == is_service(&entry.group))
            && self.at.is_none_or(|at| entry.may_precede(at))
            && (self.started_by.is_none() || self.started_by == entry.started_by)
            && self.family.as_ref().is_none_or(|family| is_family(entry.task_definition.as_deref(), family))
    }

    /// `entry` is built from the row.
    pub(super) fn admits(&self, row: &Stored<Task>, entry: &Entry) -> bool {
        let task = &row.state;
        let runs = |image: &String| task.containers.iter().any(|container| has_image(container, image));
        let is_on = |instances: &Vec<String>| {
            let instance = task.container_instance_arn.as_deref();
            instance
                .is_some_and(|arn| instances.iter().any(|wanted| arn == wanted || last_part(arn).starts_with(wanted)))
        };
        let status = status_at(row, self.at);
        self.admits_entry(entry)
            && (self.at.is_none() || status.is_some())
            && (self.missing || missing_at(row, self.at).is_none())
            && self.status.as_ref().is_none_or(|wanted| status.as_ref().is_some_and(|s| s.as_str() == wanted))
            && self.image.as_ref().is_none_or(runs)
            && self.instances.as_ref().is_none_or(is_on)
            && self.ip.is_none_or(|ip| task.addresses().contains(&ip))
    }
}

/// Whether a container's image or digest contains this text.
pub(crate) fn has_image(container: &Container, text: &str) -> bool {
    [&container.image, &container.image_digest].into_iter().flatten().any(|image| image.contains(text))
}

/// Whether this is the group of a service's tasks.
pub(crate) fn is_service(group: &str) -> bool {
    group.starts_with("service:")
}

/// Whether a cluster has this ARN or name.
pub(super) fn is_cluster(arn: &str, wanted: &str) -> bool {
    arn == wanted || last_part(arn) == wanted
}

pub(super) fn is_of_account(arn: &str, wanted: Option<&String>) -> bool {
    wanted.is_none_or(|wanted| account(arn) == Some(wanted))
}

fn is_family(task_definition: Option<&str>, wanted: &str) -> bool {
    let Some(definition) = task_definition else { return false };
    let definition = last_part(definition);
    definition == wanted || definition.rsplit_once(':').is_some_and(|(family, _)| family == wanted)
}
