//! The notifier: announces each stop of a task once, as an event on an EventBridge bus, and marks those that somebody
//! should be notified of.
//!
//! It is invoked with the records of the stream of the table of tasks. [`record`] reads each by itself, [`news`] decides
//! whether it is a stop to announce, [`history`] and [`noise`] rank it among the earlier ones of its group,
//! [`announcement`] is the event, and [`event_bus`] sends it. Lambda repeats the records from the first one that could
//! not be sent, so a stop is announced at least once, always with the same identity: the task's ARN.

pub mod announcement;
pub mod event_bus;
pub mod history;
pub mod news;
pub mod noise;
pub mod record;
pub mod settings;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::Client;
use chrono::Utc;
use futures_util::StreamExt as _;
use futures_util::stream::iter;
use lambda_runtime::{Context, Diagnostic};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use self::announcement::detail;
use self::event_bus::{Delivery, EventBus};
use self::history::History;
use self::news::{News, Stop};
use self::noise::{Standing, is_actionable};
use self::record::{Change, UnreadableRecord};
use crate::lambda::{Payload, time_left};

/// The histories may take this part of the time. The rest is for sending.
const HISTORY_SHARE: u32 = 3;
/// For how many clusters histories are read at once.
const CONCURRENCY: usize = 4;
/// How many sent records are remembered; a batch has at most 100.
const REMEMBERED: usize = 1000;

/// Announces stops. Built once and used by all invocations.
pub struct Notifier {
    table: String,
    dynamodb: Client,
    bus: EventBus,
    /// The sequence numbers of what was sent after a record that failed: Lambda delivers both again.
    sent: RefCell<HashSet<String>>,
}

/// The payload is not a batch of records.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the payload must be records of a DynamoDB stream: check what invokes this function")]
pub struct InvalidBatch;

impl From<InvalidBatch> for Diagnostic {
    fn from(error: InvalidBatch) -> Self {
        Self { error_type: "InvalidBatch".to_owned(), error_message: error.to_string() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch<'b> {
    #[serde(borrow)]
    records: Vec<&'b RawValue>,
}

impl Notifier {
    /// A notifier for this table of tasks and this bus.
    pub fn new(table: String, dynamodb: Client, bus: EventBus) -> Self {
        Self { table, dynamodb, bus, sent: RefCell::default() }
    }

    /// Handles one invocation, and logs each stop. The answer names the record from which Lambda has to [repeat the
    /// batch], if any.
    ///
    /// [repeat the batch]: https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
    pub async fn handle(&self, payload: &Payload, context: &Context) -> Result<Value, InvalidBatch> {
        let json = payload.json().ok_or(InvalidBatch)?.get();
        let Batch { records } = serde_json::from_str(json).map_err(|_| InvalidBatch)?;
        let (now, start, left) = (Utc::now(), Instant::now(), time_left(context));
        let parsed = records.into_iter().map(|json| Stop::parse(Change::parse(json)?, now));
        let mut stops: Vec<_> = parsed.filter_map(Result::transpose).collect();
        let is_known = |stop: &Stop| self.sent.borrow().contains(&stop.sequence_number);
        stops.retain(|stop| !stop.as_ref().is_ok_and(is_known));

        let fresh: Vec<&Stop> = stops.iter().flatten().filter(|stop| stop.news == News::Fresh).collect();
        let histories = self.histories(&fresh, start + left / HISTORY_SHARE).await;
        let history = |stop: &Stop| histories.iter().find(|history| history.is_of(&stop.task));
        let standings: Vec<Standing> = fresh.iter().map(|stop| Standing::new(stop, history(stop))).collect();
        let details: Vec<String> =
            fresh.iter().zip(&standings).map(|(stop, standing)| detail(stop, standing).to_string()).collect();
        let deliveries = self.bus.send(&details, start + left).await;

        let numbers = fresh.iter().map(|stop| stop.sequence_number.as_str());
        let announced: HashMap<&str, (&Standing, &Delivery)> = numbers.zip(standings.iter().zip(&deliveries)).collect();
        for stop in &stops {
            let number = stop.as_ref().ok().map(|stop| stop.sequence_number.as_str());
            log(stop, number.and_then(|number| announced.get(number).copied()));
        }
        let (failed, sent): (Vec<_>, Vec<_>) =
            fresh.iter().zip(&deliveries).partition(|(_, delivery)| matches!(delivery, Delivery::Failed(_)));
        let Some((first, _)) = failed.first() else { return Ok(json!({"batchItemFailures": []})) };
        let mut known = self.sent.borrow_mut();
        if known.len() > REMEMBERED {
            known.clear();
        }
        known.extend(sent.into_iter().map(|(stop, _)| stop.sequence_number.clone()));
        Ok(json!({"batchItemFailures": [{"itemIdentifier": first.sequence_number}]}))
    }

    /// Reads the histories of the groups of stops that may notify. Those that can't be read are absent.
    async fn histories<'s>(&self, stops: &[&'s Stop], deadline: Instant) -> Vec<History<'s>> {
        let mut clusters: HashMap<&str, Vec<&Stop>> = HashMap::new();
        for stop in stops.iter().filter(|stop| is_actionable(&stop.task, &stop.diagnosis)) {
            if let Some(cluster) = &stop.task.cluster_arn {
                clusters.entry(cluster).or_default().push(stop);
            }
        }
        let read = iter(&clusters)
            .map(|(cluster, stops)| timeout_at(deadline, History::read(&self.dynamodb, &self.table, cluster, stops)));
        let read: Vec<_> = read.buffer_unordered(CONCURRENCY).collect().await;
        let mut histories = Vec::new();
        let mut failure = None;
        for of_cluster in read {
            match of_cluster {
                Ok(Ok(of_cluster)) => histories.extend(of_cluster),
                Ok(Err(error)) => failure = Some(error.to_string()),
                Err(_) => failure = Some("the table did not respond in time".to_owned()),
            }
        }
        if let Some(error) = failure {
            warn!("earlier stops could not be read, so each stop that may need somebody notifies: {error}");
        }
        histories
    }
}

/// Writes a stop's log line. Its fields are an interface, listed in docs/reference.md: metrics and alarms read them.
fn log(stop: &Result<Stop, UnreadableRecord>, announced: Option<(&Standing, &Delivery)>) {
    let (outcome, error) = match (stop, announced) {
        (Err(unreadable), _) => ("unreadable", Some(&unreadable.problem)),
        (Ok(_), Some((_, Delivery::Sent))) => ("announced", None),
        (Ok(_), Some((_, Delivery::Rejected(code)))) => ("rejected", Some(code)),
        (Ok(_), Some((_, Delivery::Failed(error)))) => ("retried", Some(error)),
        (Ok(stop), None) => (stop.news.name(), None),
    };
    let arn = stop.as_ref().map_or_else(|unreadable| unreadable.arn.as_deref(), |stop| Some(&*stop.task.task_arn));
    let stop = stop.as_ref().ok();
    let standing = announced.map(|(standing, _)| standing);
    info!(
        outcome,
        arn,
        version = stop.and_then(|stop| stop.task.version),
        code = stop.map(|stop| stop.diagnosis.code.as_str()),
        kind = stop.map(|stop| stop.diagnosis.kind().as_str()),
        notify = standing.map(|standing| standing.notify),
        count = standing.and_then(|standing| standing.count),
        error = error.or_else(|| stop?.left_out.as_ref()),
        "stop"
    );
}
