//! The reconciler's settings, read once at startup.

use std::ffi::OsString;

use super::rate_limiter::{DEFAULT_CALLS_PER_SECOND, MAX_CALLS_PER_SECOND};
use super::table_role::TableRole;
use crate::config::{Config, InvalidVariable, is_account_id, is_alphanumeric_or, is_partition, text};

/// The reconciler's settings, from its environment variables.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The settings shared with the recorder.
    pub tables: Config,
    /// The ARNs of the clusters to reconcile; empty means all.
    pub clusters: Vec<String>,
    /// The maximum number of requests to the ECS API per second.
    pub calls_per_second: u32,
    /// How to reach tables in another account; `None` if they are in the reconciler's own account and region.
    pub table_role: Option<TableRole>,
}

const CLUSTER_ARNS: &str = "CLUSTER_ARNS";
const ECS_CALLS_PER_SECOND: &str = "ECS_CALLS_PER_SECOND";

impl Settings {
    /// Reads the settings through `variable`, as [`Config::read`] does.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, InvalidVariable> {
        let clusters = text(&variable, CLUSTER_ARNS)?.unwrap_or_default();
        let mut clusters: Vec<String> = match clusters.as_str() {
            "" => Vec::new(),
            arns => arns.split(',').map(|arn| arn.trim().to_owned()).collect(),
        };
        clusters.sort();
        clusters.dedup();
        if let Some(arn) = clusters.iter().find(|arn| !is_cluster_arn(arn)) {
            let example = "arn:aws:ecs:eu-west-1:123456789012:cluster/demo";
            let problem =
                format!("must be ARNs of ECS clusters, separated by commas, such as {example}; found {arn:?}");
            return Err(InvalidVariable::new(CLUSTER_ARNS, problem));
        }
        let calls_per_second = match text(&variable, ECS_CALLS_PER_SECOND)? {
            None => DEFAULT_CALLS_PER_SECOND,
            Some(value) => {
                let problem = format!("must be an integer from 1 to {MAX_CALLS_PER_SECOND}, found {value:?}");
                let calls = value.parse().ok().filter(|calls| (1..=MAX_CALLS_PER_SECOND).contains(calls));
                calls.ok_or_else(|| InvalidVariable::new(ECS_CALLS_PER_SECOND, problem))?
            }
        };
        let table_role = TableRole::read(&variable)?;
        Ok(Self { tables: Config::read(variable)?, clusters, calls_per_second, table_role })
    }

    /// Whether a cluster is to be reconciled.
    pub fn includes(&self, cluster: &str) -> bool {
        self.clusters.is_empty() || self.clusters.iter().any(|arn| arn == cluster)
    }
}

/// Whether this is the ARN of a cluster, in the form that the template's parameter `ClusterArns` accepts.
fn is_cluster_arn(value: &str) -> bool {
    let parts: Vec<&str> = value.splitn(6, ':').collect();
    let ["arn", partition, "ecs", region, account, cluster] = parts[..] else { return false };
    let Some(name) = cluster.strip_prefix("cluster/") else { return false };
    is_partition(partition)
        && is_alphanumeric_or(region, b"-")
        && is_account_id(account)
        && name.len() <= 255
        && is_alphanumeric_or(name, b"-_")
}
