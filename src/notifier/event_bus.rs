//! Puts events on an EventBridge bus.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use aws_config::SdkConfig;
use futures_util::StreamExt as _;
use futures_util::stream::iter;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};

use super::announcement::{DETAIL_TYPE, SOURCE};
use crate::aws::is_error_code;
use crate::aws_json::{AwsJson, CallError, Service};

/// The maximum number of entries of a request.
///
/// Source: <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html>
const BATCH: usize = 10;
/// The maximum size of a request's entries, in bytes: a quarter of the limit, which regions got in January 2026.
const MAX_BYTES: usize = 256 * 1024;
/// How many requests are sent at once.
const CONCURRENCY: usize = 4;
/// How many times an entry is tried.
const TRIES: u32 = 3;
/// The longest pause before the second try. It doubles for the third.
const PAUSE: Duration = Duration::from_millis(500);

/// EventBridge. Failed requests are repeated here, together with failed entries.
pub const SERVICE: Service = Service {
    name: "events",
    target: "AWSEvents",
    endpoint_variable: "AWS_ENDPOINT_URL_EVENTBRIDGE",
    attempt_timeout: Duration::from_secs(5),
    attempts: 1,
};

/// A client of one event bus.
pub struct EventBus {
    api: AwsJson,
    name: String,
}

/// The outcome of an entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// It is on the bus.
    Sent,
    /// EventBridge will never accept it. Its error code.
    Rejected(String),
    /// It may be accepted later. Why it was not.
    Failed(String),
}

#[derive(Deserialize)]
struct Response {
    #[serde(rename = "Entries")]
    entries: Vec<EntryResult>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EntryResult {
    event_id: Option<String>,
    error_code: Option<String>,
}

impl EventBus {
    /// A client of the bus with this name or ARN.
    pub fn new(aws: &SdkConfig, name: String) -> Self {
        Self { api: AwsJson::new(aws, &SERVICE, aws.http_client()), name }
    }

    /// Sends events with these details until the deadline, trying those that fail up to three times. The result has the
    /// same order.
    pub async fn send(&self, details: &[String], deadline: Instant) -> Vec<Delivery> {
        let unsent = Delivery::Failed("it was not sent before the deadline".to_owned());
        let deliveries = RefCell::new(vec![unsent; details.len()]);
        let send = async {
            // One of the entries can be the reason why EventBridge does not accept a request.
            let separately = Cell::new(false);
            for attempt in 0..TRIES {
                if attempt > 0 {
                    sleep((PAUSE * attempt).mul_f64(fastrand::f64())).await;
                }
                let left =
                    (0..details.len()).filter(|&entry| matches!(deliveries.borrow()[entry], Delivery::Failed(_)));
                let batches = batches(left, details, if separately.get() { 1 } else { BATCH });
                iter(&batches)
                    .for_each_concurrent(CONCURRENCY, |batch| async {
                        let results = self.put(batch, details).await.unwrap_or_else(|error| {
                            let is_invalid = error.has_code(INVALID);
                            separately.set(separately.get() | is_invalid);
                            let delivery = match batch[..] {
                                [_] if is_invalid => Delivery::Rejected(INVALID.to_owned()),
                                _ => Delivery::Failed(error.to_string()),
                            };
                            vec![delivery; batch.len()]
                        });
                        batch.iter().zip(results).for_each(|(&entry, result)| deliveries.borrow_mut()[entry] = result);
                    })
                    .await;
            }
        };
        // The entries that are in flight count as failed.
        let _ = timeout_at(deadline, send).await;
        deliveries.into_inner()
    }

    async fn put(&self, batch: &[usize], details: &[String]) -> Result<Vec<Delivery>, CallError> {
        let entries: Vec<_> = batch
            .iter()
            .map(|&entry| {
                json!({
                    "Source": SOURCE, "DetailType": DETAIL_TYPE, "EventBusName": self.name, "Detail": details[entry],
                })
            })
            .collect();
        let response: Response = self.api.call("PutEvents", json!({"Entries": entries}).to_string()).await?;
        if response.entries.len() != batch.len() {
            return Err(CallError::NotAws);
        }
        Ok(response.entries.into_iter().map(Delivery::from).collect())
    }
}

/// The error code of a request that EventBridge does not accept.
const INVALID: &str = "ValidationException";

/// Groups entries into requests, in order.
fn batches(entries: impl Iterator<Item = usize>, details: &[String], size: usize) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let length = details[entry].len();
        bytes += length;
        if let Some(batch) = batches.last_mut().filter(|batch| batch.len() < size && bytes <= MAX_BYTES) {
            batch.push(entry);
        } else {
            bytes = length;
            batches.push(vec![entry]);
        }
    }
    batches
}

impl From<EntryResult> for Delivery {
    /// EventBridge documents two error codes as transient.
    fn from(result: EntryResult) -> Self {
        match (result.error_code.filter(|code| is_error_code(code)), result.event_id) {
            (Some(code), _) if ["InternalFailure", "ThrottlingException"].contains(&code.as_str()) => {
                Self::Failed(code)
            }
            (Some(code), _) => Self::Rejected(code),
            (None, Some(_)) => Self::Sent,
            (None, None) => Self::Failed(CallError::NotAws.to_string()),
        }
    }
}
