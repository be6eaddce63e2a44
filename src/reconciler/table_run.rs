//! Checks that everything in the tables still exists.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

use chrono::{TimeDelta, Utc};
use futures_util::StreamExt as _;
use futures_util::stream::iter;

use super::describe::describe;
use super::ecs::{self, CONCURRENCY, describe_operation};
use super::known_row::{self, KnownRow};
use super::mark;
use super::run::Run;
use crate::resource::Resource;
use crate::state::index::{ACTIVE, AFTER_ACTIVE};
use crate::state::index_query::{self, Range};
use crate::state::read_error::ReadError;
use ecs_model::arn::is_id;

/// How many segments a table is scanned in. They come in random order, so that runs that stop early do not always omit
/// the same rows.
const SEGMENTS: i32 = 32;
/// Younger rows are left alone: ECS may not know a new task yet.
///
/// Source: <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html> (up to about five minutes).
const MIN_AGE: TimeDelta = TimeDelta::minutes(15);
/// The maximum number of rows that wait to be described in a batch with others of their cluster.
const MAX_WAITING: usize = 10_000;
/// How many rows are read by the index at once.
const PAGE: usize = 1_000;

/// A cluster's tasks, or its container instances.
type Group = (Resource, String);

/// A part of the tables that is read at once.
enum Part {
    /// A segment of a scan.
    Segment(Resource, i32),
    /// A cluster's tasks that have not stopped, by the index.
    Cluster(String),
}

/// The rows that wait to be described in a batch.
#[derive(Default)]
struct Waiting {
    groups: HashMap<Group, Vec<KnownRow>>,
    /// The number of rows in all groups.
    rows: usize,
    /// All clusters found so far.
    clusters: HashSet<String>,
}

/// Checks all rows whose state is not terminal. It finds those of tasks by the index, if the table has it; a scan takes
/// longer the more stopped tasks the table holds, but also finds rows without the keys of the index, and adds them.
/// Container instances, which are few, are always scanned.
pub async fn compare(run: &Run<'_>, scan: bool) {
    let segments = |resource| (0..SEGMENTS).map(move |segment| Part::Segment(resource, segment));
    let mut parts: Vec<Part> = segments(Resource::ContainerInstance).collect();
    match if scan { Ok(None) } else { indexed_clusters(run).await } {
        Ok(Some(clusters)) => {
            parts.extend(clusters.into_iter().filter(|cluster| includes(run, cluster)).map(Part::Cluster));
        }
        Ok(None) => {
            run.count(|report| report.scanned = true);
            parts.extend(segments(Resource::Task));
        }
        Err(error) => run.fail("reading the index", error),
    }
    fastrand::shuffle(&mut parts);
    let waiting = &RefCell::<Waiting>::default();
    iter(parts)
        .for_each_concurrent(CONCURRENCY, |part| async move {
            match part {
                Part::Segment(resource, segment) => read_segment(run, resource, segment, waiting).await,
                Part::Cluster(cluster) => read_cluster(run, cluster, waiting).await,
            }
        })
        .await;
    check_all(run, waiting, CONCURRENCY).await;
}

/// The clusters in the index, deleted ones included; `None` if the task table has no index, or not yet.
async fn indexed_clusters(run: &Run<'_>) -> Result<Option<Vec<String>>, ReadError> {
    match index_query::clusters(run.dynamodb, run.table(Resource::Task)).await {
        Ok(clusters) => Ok(Some(clusters)),
        Err(error) if error.is_missing_index() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a cluster is to be checked. The tables may also hold rows of other accounts and regions, which this ECS does
/// not know.
fn includes(run: &Run<'_>, cluster: &str) -> bool {
    run.settings.includes(cluster) && run.home.as_ref().is_none_or(|own| own == home(cluster))
}

/// Why ECS can't be asked about a row. It refuses a batch of ARNs for a single one that it does not accept.
fn obstacle(resource: Resource, cluster: &str, arn: &str) -> Option<&'static str> {
    let kind = match resource {
        Resource::Task => ":task/",
        Resource::ContainerInstance => ":container-instance/",
    };
    let Some(name) = arn.strip_prefix(home(cluster)).and_then(|rest| rest.strip_prefix(kind)) else {
        return Some("its ARN is not of its cluster's account and region");
    };
    // ARNs of the older form lack the cluster's name.
    let id = match name.split_once('/') {
        Some((name, _)) if !cluster.ends_with(&format!(":cluster/{name}")) => {
            return Some("its ARN is of another cluster");
        }
        Some((_, id)) => id,
        None => name,
    };
    (!is_id(id)).then_some("its ARN does not end with the ID of a task or container instance")
}

/// The prefix of a cluster's ARN up to its account: `arn:aws:ecs:eu-west-1:123456789012`.
fn home(cluster: &str) -> &str {
    cluster.rsplit_once(':').map_or("", |(home, _)| home)
}

/// Checks all waiting rows, `concurrency` groups at a time.
async fn check_all(run: &Run<'_>, waiting: &RefCell<Waiting>, concurrency: usize) {
    let groups = {
        let mut waiting = waiting.borrow_mut();
        waiting.rows = 0;
        std::mem::take(&mut waiting.groups)
    };
    iter(groups)
        .for_each_concurrent(concurrency, |((resource, cluster), rows)| check(run, resource, cluster, rows))
        .await;
}

async fn read_segment(run: &Run<'_>, resource: Resource, segment: i32, waiting: &RefCell<Waiting>) {
    let table = run.table(resource);
    let mut start = None;
    loop {
        let page = match known_row::scan(run.dynamodb, table, resource, (segment, SEGMENTS), start).await {
            Ok(page) => page,
            Err(error) => return run.fail(format_args!("scanning table {table}"), error.cause),
        };
        for mut row in page.rows {
            if let Some(keys) = row.missing_keys.take() {
                run.add_index_keys(&row, keys).await;
            }
            add(run, resource, row, waiting).await;
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

async fn read_cluster(run: &Run<'_>, cluster: String, waiting: &RefCell<Waiting>) {
    let table = run.table(Resource::Task);
    let fail = |error: ReadError| run.fail(format_args!("reading the rows of {cluster}"), error);
    let range =
        Range { cluster: cluster.clone(), from: ACTIVE.to_owned(), to: AFTER_ACTIVE.to_owned(), descending: false };
    let mut start = None;
    loop {
        let page = match index_query::page(run.dynamodb, table, &range, PAGE, start).await {
            Ok(page) => page,
            Err(error) => return fail(error),
        };
        let key = Resource::Task.key();
        let arns: Vec<&str> = page.items.iter().filter_map(|item| Some(item.get(key)?.as_s().ok()?.as_str())).collect();
        let rows = match known_row::read(run.dynamodb, table, Resource::Task, &arns).await {
            Ok(rows) => rows,
            Err(error) => return fail(error),
        };
        for row in rows.into_values() {
            add(run, Resource::Task, row, waiting).await;
        }
        match page.next {
            Some(next) => start = Some(next),
            None => break,
        }
    }
    let rows = waiting.borrow_mut().take(&(Resource::Task, cluster.clone()));
    if !rows.is_empty() {
        check(run, Resource::Task, cluster, rows).await;
    }
}

/// Adds a row that is to be checked to those that wait. If that makes a batch, checks the batch.
async fn add(run: &Run<'_>, resource: Resource, row: KnownRow, waiting: &RefCell<Waiting>) {
    if row.is_terminal || row.time.is_some_and(|time| Utc::now() - time <= MIN_AGE) {
        return;
    }
    let Some(cluster) = row.cluster.clone() else { return run.leave_unchecked(&row.arn, "it has no clusterArn") };
    if !includes(run, &cluster) {
        return;
    }
    if let Some(reason) = obstacle(resource, &cluster, &row.arn) {
        return run.leave_unchecked(&row.arn, reason);
    }
    let batch = waiting.borrow_mut().add(run, (resource, cluster), row);
    if let Some(((resource, cluster), rows)) = batch {
        check(run, resource, cluster, rows).await;
    }
}

impl Waiting {
    /// Adds a row. Returns a batch if one is full, or the largest if too many rows are waiting.
    fn add(&mut self, run: &Run<'_>, group: Group, row: KnownRow) -> Option<(Group, Vec<KnownRow>)> {
        if self.clusters.insert(group.1.clone()) {
            run.count(|report| report.clusters += 1);
        }
        let rows = self.groups.entry(group.clone()).or_default();
        rows.push(row);
        let is_full = rows.len() == ecs::BATCH;
        self.rows += 1;
        let group = if is_full {
            group
        } else if self.rows > MAX_WAITING {
            self.groups.iter().max_by_key(|(_, rows)| rows.len())?.0.clone()
        } else {
            return None;
        };
        let rows = self.take(&group);
        Some((group, rows))
    }

    /// Takes the rows of a group.
    fn take(&mut self, group: &Group) -> Vec<KnownRow> {
        let rows = self.groups.remove(group).unwrap_or_default();
        self.rows -= rows.len();
        rows
    }
}

/// Compares rows of a cluster with ECS, which is called after the rows were read.
async fn check(run: &Run<'_>, resource: Resource, cluster: String, rows: Vec<KnownRow>) {
    run.count(|report| report.listed += rows.len() as u64);
    let arns: Vec<&str> = rows.iter().map(|row| row.arn.as_str()).collect();
    let described = describe(run, resource, &cluster, &arns).await;
    if described.is_cluster_not_found {
        return check_cluster(run, resource, &cluster, &rows).await;
    }
    let rows: HashMap<String, KnownRow> = rows.into_iter().map(|row| (row.arn.clone(), row)).collect();
    for json in &described.found {
        run.settle(resource, &cluster, json, &rows).await;
    }
    for row in described.missing.iter().filter_map(|arn| rows.get(arn)) {
        missing(run, resource, row).await;
    }
}

/// Marks the rows of a cluster that ECS did not find, if it is gone.
async fn check_cluster(run: &Run<'_>, resource: Resource, cluster: &str, rows: &[KnownRow]) {
    let part = format!("DescribeClusters of {cluster}");
    match run.ecs.is_gone(cluster).await {
        Ok(true) => iter(rows).for_each_concurrent(CONCURRENCY, |row| missing(run, resource, row)).await,
        Ok(false) => {
            run.fail(part, format_args!("it is not gone, but {} does not find it", describe_operation(resource)));
        }
        Err(error) if error.is_access_denied() => run.deny(resource, cluster, part, error),
        Err(error) => run.fail(part, error),
    }
}

/// Marks a row whose resource is missing in ECS.
async fn missing(run: &Run<'_>, resource: Resource, row: &KnownRow) {
    if row.version.is_none() {
        return run.leave_unchecked(&row.arn, "it has no version");
    }
    let days = run.settings.tables.retention_days;
    match mark::mark_missing(run.dynamodb, run.table(resource), resource, row, days).await {
        Ok(marked) => run.count(|report| report.marked += u64::from(marked)),
        Err(error) => run.fail(format_args!("updating the row of {}", row.arn), error),
    }
}
