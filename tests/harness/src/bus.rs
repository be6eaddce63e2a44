//! An EventBridge bus that keeps what it accepts and meets faults.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::{lock, serve};

/// What a request, or one of its entries, meets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    Accepted,
    /// Only this entry is refused, with this error code.
    EntryRefused(&'static str),
    /// The whole request is refused, with this status and error code. Its message is the request.
    Refused(u16, &'static str),
    /// The response never arrives.
    Silence,
    /// The response is a 200 whose body is HTML.
    NotJson,
}

/// Decides by the number of the request, from 0, and the `Detail` of an entry.
type Plan = dyn Fn(usize, &Value) -> Answer + Send + Sync;

pub struct Bus {
    pub url: String,
    state: Arc<Shared>,
}

struct Shared {
    /// The accepted entries, each with its `Detail` parsed.
    accepted: Mutex<Vec<Value>>,
    /// How many entries each request had.
    requests: Mutex<Vec<usize>>,
    plan: Mutex<Arc<Plan>>,
}

impl Bus {
    pub async fn start() -> Self {
        let state = Arc::new(Shared {
            accepted: Mutex::default(),
            requests: Mutex::default(),
            plan: Mutex::new(Arc::new(|_, _| Answer::Accepted)),
        });
        let url = serve(Router::new().fallback(put_events).with_state(state.clone())).await;
        Self { url, state }
    }

    /// Answers the next requests by this plan, with its requests counted from 0.
    pub fn plan(&self, plan: impl Fn(usize, &Value) -> Answer + Send + Sync + 'static) {
        lock(&self.state.requests).clear();
        *lock(&self.state.plan) = Arc::new(plan);
    }

    /// The accepted entries, in order.
    pub fn entries(&self) -> Vec<Value> {
        lock(&self.state.accepted).clone()
    }

    /// Their details.
    pub fn details(&self) -> Vec<Value> {
        self.entries().into_iter().map(|mut entry| entry["Detail"].take()).collect()
    }

    /// How many entries each request had since the last plan.
    pub fn requests(&self) -> Vec<usize> {
        lock(&self.state.requests).clone()
    }
}

async fn put_events(State(bus): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers["x-amz-target"], "AWSEvents.PutEvents");
    let signature = headers["authorization"].to_str().expect("a signature");
    assert!(signature.contains("/events/aws4_request"), "{signature}");
    let request: Value = serde_json::from_slice(&body).expect("a request");
    let mut entries = request["Entries"].as_array().expect("entries").clone();
    assert!((1..=10).contains(&entries.len()), "{} entries", entries.len());
    let mut size = 0;
    for entry in &mut entries {
        let detail = entry["Detail"].as_str().expect("a string");
        size += detail.len();
        entry["Detail"] = serde_json::from_str(detail).expect("a detail is JSON");
    }
    assert!(size <= 256 * 1024, "{size} bytes");
    let number = {
        let mut requests = lock(&bus.requests);
        requests.push(entries.len());
        requests.len() - 1
    };
    let plan = lock(&bus.plan).clone();
    let answers: Vec<Answer> = entries.iter().map(|entry| plan(number, &entry["Detail"])).collect();
    for answer in &answers {
        match answer {
            Answer::Refused(status, code) => {
                let refusal = json!({"__type": code, "message": String::from_utf8_lossy(&body)});
                return (StatusCode::from_u16(*status).expect("a status"), refusal.to_string()).into_response();
            }
            Answer::Silence => return std::future::pending().await,
            Answer::NotJson => return "<html>".into_response(),
            Answer::Accepted | Answer::EntryRefused(_) => {}
        }
    }
    let mut failed = 0;
    let mut results = Vec::new();
    for (answer, entry) in answers.iter().zip(entries) {
        if let Answer::EntryRefused(code) = answer {
            failed += 1;
            results.push(json!({"ErrorCode": code, "ErrorMessage": entry["Detail"].to_string()}));
        } else {
            lock(&bus.accepted).push(entry);
            results.push(json!({"EventId": "11710aed-b79e-4468-a20b-bb3c0c3b4860"}));
        }
    }
    json!({"FailedEntryCount": failed, "Entries": results}).to_string().into_response()
}
