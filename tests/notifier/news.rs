//! Which changes of a row are announced.

use chrono::{TimeDelta, Utc};
use harness::events;
use serde_json::{Value, json};

use super::{World, arn, record, running, stop, text, with};

/// The same row from the API.
fn reconciled(row: Value) -> Value {
    let row = ["/event_id", "/event_time", "/cw_version"].iter().fold(row, |row, name| with(row, name, Value::Null));
    with(row, "/reconciled_at", json!({"S": text(Utc::now())}))
}

#[tokio::test]
async fn a_stop_is_announced_when_its_row_first_becomes_terminal_and_is_news() {
    const DAYS: i64 = 24 * 60;
    let world = World::new().await;
    let event = |minutes| stop(0, Utc::now() - TimeDelta::minutes(minutes));
    let stopped = |minutes| events::row(&event(minutes));
    let without_time = |row| with(row, "/stoppedAt", Value::Null);
    let active = events::row(&running(&event(0)));
    let active = || active.clone();
    let deleted = || with(stopped(0), "/lastStatus", json!({"S": "DELETED"}));
    let none = || Value::Null;
    // The outcome, the row before and after, and how many minutes ago it was written.
    let cases = [
        (Some("announced"), active(), stopped(0), 0),
        (Some("announced"), active(), deleted(), 0),
        (Some("announced"), none(), stopped(0), 0),
        // The reconciler found it.
        (Some("announced"), active(), reconciled(stopped(0)), 0),
        (Some("announced"), reconciled(active()), stopped(0), 0),
        (Some("unseen"), none(), reconciled(stopped(0)), 0),
        (Some("unseen"), none(), reconciled(stopped(120)), 0),
        // Its row was terminal before: an event replaces the API's, keys of the index, another terminal state, expiry.
        (None, reconciled(stopped(0)), stopped(0), 0),
        (None, with(stopped(0), "/index_state", none()), stopped(0), 0),
        (None, stopped(0), deleted(), 0),
        (None, stopped(0), none(), 0),
        (None, active(), none(), 0),
        (None, none(), active(), 0),
        (None, active(), with(active(), "/missing_since", json!({"S": text(Utc::now())})), 0),
        (Some("old"), active(), stopped(61), 0),
        (Some("announced"), active(), stopped(59), 0),
        (Some("old"), none(), stopped(200 * DAYS), 0),
        // Without `stoppedAt`, the event's time counts, or when the API described it.
        (Some("old"), active(), without_time(stopped(120)), 0),
        (Some("announced"), active(), without_time(reconciled(stopped(0))), 0),
        (Some("late"), active(), stopped(61), 61),
        (Some("announced"), active(), stopped(59), 59),
        (Some("old"), active(), stopped(240), 120),
    ];
    let mut records = Vec::new();
    let mut expected = Vec::new();
    for (number, (outcome, before, after, minutes)) in (0..).zip(cases) {
        let own = |row: Value| if row.is_null() { row } else { with(row, "/taskArn", json!({"S": arn(number)})) };
        let mut record = record(number, own(before), own(after));
        let written_at = Utc::now() - TimeDelta::minutes(minutes);
        record["dynamodb"]["ApproximateCreationDateTime"] = json!(written_at.timestamp());
        records.push(record);
        expected.extend(outcome.map(|outcome| json!([arn(number), outcome])));
    }
    assert_eq!(world.notify(&records).await, None);
    let lines: Vec<Value> = world.lines().iter().map(|line| json!([line["arn"], line["outcome"]])).collect();
    assert_eq!(lines, expected);
    expected.retain(|case| case[1] == "announced");
    let sent: Vec<Value> = world.bus.details().iter().map(|detail| json!([detail["taskArn"], "announced"])).collect();
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn what_cannot_be_read_is_logged_by_its_key_without_its_value_and_blocks_nothing() {
    const SECRET: &str = "hunter2";
    const NOT_AN_ARRAY: &str = "containers must be an array, found a string";
    const NOT_A_RECORD: &str = "it is not a record of a DynamoDB stream";
    const ONE_IMAGE: &str = "it has no OldImage: the stream's view type must be NEW_AND_OLD_IMAGES";
    let world = World::new().await;
    let good = || record(2, Value::Null, events::row(&stop(2, Utc::now())));
    let with = |path: &str, value| with(good(), path, value);
    let cases = [
        (good(), "announced", Value::Null),
        // A field that can't be read is left out.
        (with("/dynamodb/NewImage/containers", json!({"S": SECRET})), "announced", json!(NOT_AN_ARRAY)),
        (with("/dynamodb/NewImage", json!(SECRET)), "unreadable", json!(NOT_A_RECORD)),
        (with("/dynamodb/NewImage/x", json!({"S": "a", "N": "1"})), "unreadable", json!(NOT_A_RECORD)),
        (with("/dynamodb/NewImage/x", json!({"X": SECRET})), "unreadable", json!(NOT_A_RECORD)),
        (with("/dynamodb/OldImage", json!([SECRET])), "unreadable", json!(NOT_A_RECORD)),
        (with("/dynamodb/SequenceNumber", json!(null)), "unreadable", json!(NOT_A_RECORD)),
        (with("/dynamodb/ApproximateCreationDateTime", json!(null)), "unreadable", json!(NOT_A_RECORD)),
        (with("/dynamodb/ApproximateCreationDateTime", json!(1e300)), "unreadable", json!(NOT_A_RECORD)),
        (json!({"dynamodb": SECRET}), "unreadable", json!(NOT_A_RECORD)),
        (json!(null), "unreadable", json!(NOT_A_RECORD)),
        (with("/eventName", json!("MODIFY")), "unreadable", json!(ONE_IMAGE)),
        (good(), "announced", Value::Null),
    ];
    let records: Vec<Value> = cases.iter().map(|(record, ..)| record.clone()).collect();
    assert_eq!(world.notify(&records).await, None);
    let lines = world.lines();
    assert_eq!(lines.len(), cases.len());
    for (line, (record, outcome, error)) in lines.iter().zip(&cases) {
        let arn = &record["dynamodb"]["Keys"]["taskArn"]["S"];
        assert_eq!((&line["outcome"], &line["arn"], &line["error"]), (&json!(outcome), arn, error), "{record}");
    }
    assert_eq!(world.bus.details().len(), 3);
    assert!(!world.lambda.log().contains(SECRET));
}

#[tokio::test]
async fn anything_but_a_batch_of_records_is_an_error() {
    let world = World::new().await;
    for payload in ["", "not JSON", "null", "{}", "[]", r#"{"Records": {}}"#, r#"{"records": []}"#] {
        let answer = world.lambda.invoke(payload).await;
        let expected = json!({
            "errorType": "InvalidBatch",
            "errorMessage": "the payload must be records of a DynamoDB stream: check what invokes this function",
        });
        assert_eq!((answer.failed, answer.body), (true, expected), "{payload}");
    }
    assert_eq!(world.notify(&[]).await, None);
    assert_eq!(world.bus.requests(), [] as [usize; 0]);
}
