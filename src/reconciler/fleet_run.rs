//! Checks that everything in ECS is in the tables. The cost grows with the fleet, not with the history in the tables.

use std::collections::HashSet;

use futures_util::StreamExt as _;
use futures_util::stream::iter;

use super::describe::{Described, describe};
use super::ecs::{self, CONCURRENCY, ListRequest};
use super::known_row;
use super::run::Run;
use crate::resource::Resource;

/// How many rows of a cluster are written at once.
const WRITES: usize = 16;

/// Compares every cluster with the tables, in random order, so that runs that stop early do not always omit the same
/// ones.
pub async fn compare(run: &Run<'_>) {
    let mut clusters = run.settings.clusters.clone();
    if clusters.is_empty() {
        let (all, listed) = run.ecs.list(ListRequest::Clusters).await;
        if let Err(error) = listed {
            run.fail(ListRequest::Clusters.operation(), error);
        }
        clusters = all;
    }
    fastrand::shuffle(&mut clusters);
    iter(&clusters).for_each_concurrent(CONCURRENCY, |cluster| compare_cluster(run, cluster)).await;
}

async fn compare_cluster(run: &Run<'_>, cluster: &str) {
    run.count(|report| report.clusters += 1);
    // In this order: a task that stops in between is in both lists, not in neither.
    let tasks = [ListRequest::Tasks(cluster, "RUNNING"), ListRequest::Tasks(cluster, "STOPPED")];
    compare_resources(run, Resource::Task, cluster, &tasks).await;
    compare_resources(run, Resource::ContainerInstance, cluster, &[ListRequest::ContainerInstances(cluster)]).await;
}

async fn compare_resources(run: &Run<'_>, resource: Resource, cluster: &str, lists: &[ListRequest<'_>]) {
    let mut arns = HashSet::new();
    for list in lists {
        let (listed, result) = run.ecs.list(*list).await;
        arns.extend(listed);
        match result {
            Ok(()) => {}
            // The cluster was deleted after it was listed or configured.
            Err(error) if error.is_cluster_not_found() => {}
            Err(error) => {
                let is_access_denied = error.is_access_denied();
                run.fail(format_args!("{} of {cluster}", list.operation()), error);
                // The next list would be denied, too.
                if is_access_denied {
                    break;
                }
            }
        }
    }
    run.count(|report| report.listed += arns.len() as u64);
    let arns: Vec<&str> = arns.iter().map(String::as_str).collect();
    for batch in arns.chunks(ecs::BATCH) {
        compare_batch(run, resource, cluster, batch).await;
    }
}

async fn compare_batch(run: &Run<'_>, resource: Resource, cluster: &str, arns: &[&str]) {
    // What is missing disappeared after it was listed.
    let Described { found, .. } = describe(run, resource, cluster, arns).await;
    if found.is_empty() {
        return;
    }
    let known = match known_row::read(run.dynamodb, run.table(resource), resource, arns).await {
        Ok(known) => known,
        Err(error) => return run.fail(format_args!("reading the rows of {cluster}"), error.cause),
    };
    iter(&found).for_each_concurrent(WRITES, |json| run.settle(resource, cluster, json, &known)).await;
}
