//! `ecs-state metrics`

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::io::{self, Write as _};

use chrono::TimeDelta;
use ecs_model::ContainerInstanceStatus;
use ecs_model::arn::{account, cluster_arn, last_part, region};
use ecs_model::diagnosis::Cause;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::groups::{self, Group, Reason};
use crate::access::{self, Source, for_each_row};
use crate::arguments::MetricsArguments;
use crate::failure::{Failure, Unreadable};
use crate::tables::Tables;
use crate::tables::filter::Filter;
use crate::tables::instances::InstanceFilter;
use crate::terminal::clean;
use crate::time::{Since, Window};

/// How long a group keeps its series after its last task has stopped.
const KEPT: Since = Since::Ago(TimeDelta::hours(24));

/// A metric with its samples: their labels and values.
#[derive(Debug)]
struct Gauge<V> {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    samples: Vec<Sample<V>>,
}

type Label = (&'static str, String);
type Sample<V> = (Vec<Label>, V);

impl<V: EncodeGaugeValue + Copy + Debug + Send + Sync + 'static> Collector for Gauge<V> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut encoder = encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), MetricType::Gauge)?;
        let mut samples = self.samples.iter();
        samples.try_for_each(|(labels, value)| ConstGauge::new(*value).encode(encoder.encode_family(labels)?))
    }
}

pub(crate) async fn run(tables: &Tables, arguments: MetricsArguments) -> Result<(), Failure> {
    let MetricsArguments { since, cluster, account, scan } = arguments;
    let window = Window::new(since, None)?;
    let listed_since = Window::new(KEPT, None)?.since.min(window.since);
    let filter = Filter { cluster: cluster.clone(), account: account.clone(), ..Filter::default() };
    let (groups, of_tasks) = groups::read(&mut Source::new(tables, scan), &filter, window, listed_since).await?;
    let filter = InstanceFilter { cluster, account, ..InstanceFilter::default() };
    let (instances, of_instances) = instances(tables, &filter).await?;
    let mut registry = Registry::default();
    let mut count = |name, help, samples: Vec<Sample<usize>>| {
        registry.register_collector(Box::new(Gauge { name, help, unit: None, samples }));
    };
    count("ecs_tasks", "Tasks that have not stopped.", groups.iter().flat_map(tasks_of).collect());
    let stops = groups.iter().flat_map(stops_of).collect();
    count("ecs_stopped_tasks", "Tasks that have stopped within the window.", stops);
    count("ecs_container_instances", "Container instances.", instances);
    let (name, help) = ("ecs_task_start", "Median time from a task's creation to its start.");
    let start_of = |group: &Group| Some((labels(group, &[]), group.median_start()?.as_seconds_f64()));
    let samples: Vec<Sample<f64>> = groups.iter().filter_map(start_of).collect();
    registry.register_collector(Box::new(Gauge { name, help, unit: Some(Unit::Seconds), samples }));
    let mut text = String::new();
    encode(&mut text, &registry).map_err(io::Error::other)?;
    io::stdout().write_all(text.as_bytes())?;
    // Even an empty answer is one.
    if of_tasks.rows + of_instances.rows == 0 { Ok(()) } else { Err(Failure::Unreadable) }
}

async fn instances(tables: &Tables, filter: &InstanceFilter) -> Result<(Vec<Sample<usize>>, Unreadable), Failure> {
    let listing = access::instances(tables, filter).await?;
    let mut counts = BTreeMap::<Vec<Label>, usize>::new();
    let (_, unreadable) = for_each_row(listing, None, |row| {
        let instance = row.state;
        let cluster = cluster_arn(instance.cluster_arn.as_deref(), &instance.container_instance_arn);
        let status = instance.status.as_ref().map_or("", ContainerInstanceStatus::as_str);
        let agent = instance.agent_connected.map_or("", |is| if is { "connected" } else { "disconnected" });
        let mut labels = cluster_labels(&cluster.unwrap_or_default());
        labels.extend([("status", clean(status).to_string().to_lowercase()), ("agent", agent.to_owned())]);
        *counts.entry(labels).or_default() += 1;
        Ok(true)
    })
    .await?;
    Ok((counts.into_iter().collect(), unreadable))
}

/// A cluster's name alone may not be unique.
fn cluster_labels(arn: &str) -> Vec<Label> {
    let part = |part: Option<&str>| clean(part.unwrap_or_default()).to_string();
    vec![("account", part(account(arn))), ("region", part(region(arn))), ("cluster", part(Some(last_part(arn))))]
}

fn labels(group: &Group, more: &[(&'static str, &str)]) -> Vec<Label> {
    let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
    cluster_labels(&group.cluster).into_iter().chain([("group", clean(&group.name).to_string())]).chain(more).collect()
}

fn tasks_of(group: &Group) -> [Sample<usize>; 3] {
    [("running", group.running), ("starting", group.starting), ("stopping", group.stopping)]
        .map(|(status, count)| (labels(group, &[("status", status)]), count))
}

fn stops_of(group: &Group) -> impl Iterator<Item = Sample<usize>> {
    group.reasons.values().map(|Reason { code, cause, count, .. }| {
        let cause = cause.map_or("", Cause::as_str);
        (labels(group, &[("code", code.as_str()), ("cause", cause)]), *count)
    })
}
