//! The function documented in Amazon's guide: it reads the row, compares, and writes unconditionally.
//!
//! It proves that the tests can fail.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::events;
use crate::lock;
use crate::storm::Delivery;

/// What the embedded DynamoDB accepts as a signature.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=local/20260302/eu-west-1/dynamodb/aws4_request, \
                             SignedHeaders=host, Signature=0";

/// Stores all events with this many concurrent instances.
pub async fn send_all(url: &str, instances: usize, deliveries: &[Delivery]) {
    let queue: Arc<Mutex<VecDeque<Delivery>>> = Arc::new(Mutex::new(deliveries.iter().copied().collect()));
    let mut running = JoinSet::new();
    for _ in 0..instances {
        let (queue, url) = (queue.clone(), url.to_owned());
        running.spawn(async move {
            let client = Client::builder().no_proxy().build().expect("a client");
            let next = || lock(&queue).pop_front();
            while let Some(delivery) = next() {
                store(&client, &url, delivery).await;
            }
        });
    }
    running.join_all().await;
}

async fn store(client: &Client, url: &str, delivery: Delivery) {
    let row = events::row(&delivery.event());
    let key = if row.get("taskArn").is_some() { "taskArn" } else { "containerInstanceArn" };
    let key = json!({key: row[key]});
    let found = request(client, url, "GetItem", json!({"TableName": delivery.table(), "Key": key})).await;
    let stored = found["Item"]["version"]["N"].as_str().map(|version| version.parse::<u32>().expect("a version"));
    if stored.is_none_or(|stored| stored < delivery.version) {
        request(client, url, "PutItem", json!({"TableName": delivery.table(), "Item": row})).await;
    }
}

async fn request(client: &Client, url: &str, operation: &str, body: Value) -> Value {
    let answer = client
        .post(url)
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .header("content-type", "application/x-amz-json-1.0")
        .header("authorization", AUTHORIZATION)
        .header("x-amz-date", "20260302T091428Z")
        .body(body.to_string())
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
}
