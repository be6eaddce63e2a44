//! An event source mapping: delivers the records of a stream to the notifier.

use chrono::Utc;
use serde_json::{Value, json};

use crate::runtime_api::Lambda;

/// The payload with these records.
pub fn batch(records: &[Value]) -> String {
    json!({"Records": records}).to_string()
}

/// A record written now about a row before and after, each null if there was none.
pub fn record(arn: &str, sequence_number: u32, before: Value, after: Value) -> Value {
    let mut record = json!({
        "eventName": "MODIFY",
        "dynamodb": {
            "ApproximateCreationDateTime": Utc::now().timestamp(),
            "Keys": {"taskArn": {"S": arn}},
            "SequenceNumber": format!("{sequence_number:021}"),
        },
    });
    for (name, other, row) in [("OldImage", "INSERT", before), ("NewImage", "REMOVE", after)] {
        if row.is_null() {
            record["eventName"] = json!(other);
        } else {
            record["dynamodb"][name] = row;
        }
    }
    record
}

/// Delivers a shard's records in batches of up to this size, as the mapping in template.yaml does: only terminal states,
/// in order, again from the first one that is reported as failed, and in halves if the function fails. Gives up after
/// this many deliveries, and returns how many records are left.
pub async fn deliver(lambda: &Lambda, records: &[Value], size: usize, deliveries: usize) -> usize {
    let is_terminal = |record: &&Value| {
        ["STOPPED", "DELETED"].map(Value::from).contains(&record["dynamodb"]["NewImage"]["lastStatus"]["S"])
    };
    let mut left: Vec<Value> = records.iter().filter(is_terminal).cloned().collect();
    let mut next = size;
    for _ in 0..deliveries {
        if left.is_empty() {
            break;
        }
        let delivered = next.min(left.len());
        let answer = lambda.invoke(batch(&left[..delivered])).await;
        next = if answer.failed { delivered.div_ceil(2) } else { size };
        let failure = &answer.body["batchItemFailures"][0]["itemIdentifier"];
        let first_failed = left[..delivered].iter().position(|record| record["dynamodb"]["SequenceNumber"] == *failure);
        let done = if answer.failed { 0 } else { first_failed.unwrap_or(delivered) };
        left.drain(..done);
    }
    left.len()
}
