//! Checks that everything in the tables still exists.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use chrono::{TimeDelta, Utc};
use futures_util::StreamExt as _;
use futures_util::stream::iter;

use super::ecs::{self, CONCURRENCY, Description, ListRequest, describe_operation};
use super::known_row::{self, KnownRow};
use super::mark;
use super::run::Run;
use crate::resource::Resource;

/// How many segments a table is scanned in. They come in random order, so that runs that stop early do not always omit
/// the same rows.
pub const SEGMENTS: i32 = 32;
/// Younger rows are left alone: ECS may not know a new task yet.
///
/// Source: <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html> (up to about five minutes).
const MIN_AGE: TimeDelta = TimeDelta::minutes(15);
/// The maximum number of rows that wait to be described in a batch with others of their cluster.
const MAX_WAITING: usize = 10_000;

/// A cluster's tasks, or its container instances.
type Group = (Resource, String);

/// The rows that wait to be described in a batch.
#[derive(Default)]
struct Waiting {
    groups: HashMap<Group, Vec<KnownRow>>,
    /// The number of rows in all groups.
    rows: usize,
    /// All clusters found so far.
    clusters: HashSet<String>,
}

/// Checks all rows whose state is not terminal, and adds the keys of the index to all rows without them.
pub async fn compare(run: &Run<'_>) {
    let waiting = Mutex::<Waiting>::default();
    let homes = homes(run).await;
    let mut segments: Vec<_> =
        Resource::ALL.iter().flat_map(|&resource| (0..SEGMENTS).map(move |segment| (resource, segment))).collect();
    fastrand::shuffle(&mut segments);
    iter(segments)
        .for_each_concurrent(CONCURRENCY, |(resource, segment)| scan(run, &homes, resource, segment, &waiting))
        .await;
    check_all(run, &waiting, CONCURRENCY).await;
}

/// The accounts and regions of the clusters that ECS lists, as prefixes of their ARNs. The tables may also hold rows of
/// other accounts and regions, which this ECS does not know. Empty if it lists no cluster, or if clusters are
/// configured.
async fn homes(run: &Run<'_>) -> HashSet<String> {
    if !run.settings.clusters.is_empty() {
        return HashSet::new();
    }
    let (clusters, listed) = run.ecs.list(ListRequest::Clusters).await;
    if let Err(error) = listed {
        run.fail(ListRequest::Clusters.operation(), error);
    }
    clusters.iter().map(|arn| home(arn).to_owned()).collect()
}

/// The prefix of a cluster's ARN up to its account: `arn:aws:ecs:eu-west-1:123456789012`.
fn home(cluster: &str) -> &str {
    cluster.rsplit_once(':').map_or("", |(home, _)| home)
}

/// Checks all waiting rows, `concurrency` groups at a time.
async fn check_all(run: &Run<'_>, waiting: &Mutex<Waiting>, concurrency: usize) {
    let groups = {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.rows = 0;
        std::mem::take(&mut waiting.groups)
    };
    iter(groups)
        .for_each_concurrent(concurrency, |((resource, cluster), rows)| check(run, resource, cluster, rows))
        .await;
}

async fn scan(run: &Run<'_>, homes: &HashSet<String>, resource: Resource, segment: i32, waiting: &Mutex<Waiting>) {
    let includes =
        |cluster: &String| run.settings.includes(cluster) && (homes.is_empty() || homes.contains(home(cluster)));
    let table = run.table(resource);
    let mut start = None;
    loop {
        let page = match known_row::scan(run.dynamodb, table, resource, (segment, SEGMENTS), start).await {
            Ok(page) => page,
            Err(error) => return run.fail(format_args!("scanning table {table}"), error),
        };
        for mut row in page.rows {
            if let Some(keys) = row.missing_keys.take() {
                run.add_index_keys(&row, keys).await;
            }
            if row.is_terminal() || row.time.is_some_and(|time| Utc::now() - time <= MIN_AGE) {
                continue;
            }
            let Some(cluster) = row.cluster.clone().filter(includes) else { continue };
            let Some(((resource, cluster), rows)) = add(run, waiting, resource, cluster, row) else { continue };
            check(run, resource, cluster, rows).await;
        }
        match page.next {
            Some(next) => start = Some(next),
            None => break,
        }
    }
    // Check rows before the deadline, so that the scan is not wasted. One group at a time, since other segments are
    // still being scanned.
    if Instant::now() > run.half_time {
        check_all(run, waiting, 1).await;
    }
}

/// Adds a waiting row. Returns a batch if one is full, or the largest if too many rows are waiting.
fn add(
    run: &Run<'_>,
    waiting: &Mutex<Waiting>,
    resource: Resource,
    cluster: String,
    row: KnownRow,
) -> Option<(Group, Vec<KnownRow>)> {
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    if !waiting.clusters.contains(&cluster) {
        waiting.clusters.insert(cluster.clone());
        run.count(|report| report.clusters += 1);
    }
    let group = (resource, cluster);
    let rows = waiting.groups.entry(group.clone()).or_default();
    rows.push(row);
    let is_full = rows.len() == ecs::BATCH;
    waiting.rows += 1;
    let batch = if is_full {
        waiting.groups.remove_entry(&group)?
    } else if waiting.rows > MAX_WAITING {
        let longest = waiting.groups.iter().max_by_key(|(_, rows)| rows.len())?.0.clone();
        waiting.groups.remove_entry(&longest)?
    } else {
        return None;
    };
    waiting.rows -= batch.1.len();
    Some(batch)
}

/// Compares rows of a cluster with ECS, which is called after the rows were read.
async fn check(run: &Run<'_>, resource: Resource, cluster: String, rows: Vec<KnownRow>) {
    run.count(|report| report.listed += rows.len() as u64);
    let arns: Vec<&str> = rows.iter().map(|row| row.arn.as_str()).collect();
    let Description { found, failures } = match run.ecs.describe(resource, &cluster, &arns).await {
        Ok(description) => description,
        Err(error) if error.is_cluster_not_found() => {
            match run.ecs.is_gone(&cluster).await {
                Ok(true) => iter(&rows).for_each_concurrent(CONCURRENCY, |row| missing(run, resource, row)).await,
                Ok(false) => {}
                Err(error) => run.fail(format_args!("DescribeClusters of {cluster}"), error),
            }
            return;
        }
        Err(error) => return run.fail(format_args!("{} of {cluster}", describe_operation(resource)), error),
    };
    let rows: HashMap<String, KnownRow> = rows.into_iter().map(|row| (row.arn.clone(), row)).collect();
    for json in &found {
        run.settle(resource, &cluster, json, &rows).await;
    }
    for failure in failures.iter().filter(|failure| failure.is_missing()) {
        if let Some(row) = failure.arn.as_deref().and_then(|arn| rows.get(arn)) {
            missing(run, resource, row).await;
        }
    }
}

/// Marks a row whose resource is missing in ECS.
async fn missing(run: &Run<'_>, resource: Resource, row: &KnownRow) {
    let retention_days = run.settings.tables.retention_days();
    match mark::mark_missing(run.dynamodb, run.table(resource), resource, row, retention_days).await {
        Ok(marked) => run.count(|report| report.marked += u64::from(marked)),
        Err(error) => run.fail(format_args!("updating the row of {}", row.arn), error),
    }
}
