//! Which changes of a row are announced.

use chrono::{TimeDelta, Utc};
use harness::events;
use serde_json::{Value, json};

use super::{World, arn, life, recently, record, running, stop, text};

/// The same row from the API.
fn reconciled(row: &Value) -> Value {
    let mut row = row.clone();
    let fields = row.as_object_mut().unwrap();
    for name in ["event_id", "event_time", "cw_version"] {
        fields.remove(name);
    }
    row["reconciled_at"] = json!({"S": text(Utc::now())});
    row
}

#[tokio::test]
async fn a_stop_is_announced_when_its_row_first_becomes_terminal_and_is_news() {
    let world = World::new().await;
    let mut number = 0;
    let mut records = Vec::new();
    let mut expected = Vec::new();
    let now = recently();
    let mut case = |outcome: Option<&'static str>, record: &dyn Fn(u32) -> Value| {
        number += 1;
        records.push(record(number));
        expected.extend(outcome.map(|outcome| json!([arn(number), outcome])));
    };
    let stopped = |number| events::row(&stop(number, now));
    let active = |number| events::row(&running(&stop(number, now)));
    let ago = |number, ago| events::row(&stop(number, Utc::now() - ago));
    let hour = TimeDelta::hours(1);

    case(Some("announced"), &|n| record(n, Some(&active(n)), Some(&stopped(n))));
    case(Some("announced"), &|n| record(n, None, Some(&stopped(n))));
    // The reconciler found it.
    case(Some("announced"), &|n| record(n, Some(&active(n)), Some(&reconciled(&stopped(n)))));
    case(Some("announced"), &|n| record(n, Some(&reconciled(&active(n))), Some(&stopped(n))));
    case(Some("unseen"), &|n| record(n, None, Some(&reconciled(&stopped(n)))));
    case(Some("unseen"), &|n| record(n, None, Some(&reconciled(&ago(n, hour * 2)))));

    // Its row was terminal before: an event replaces the API's, keys of the index, a time to live, another terminal state.
    case(None, &|n| record(n, Some(&reconciled(&stopped(n))), Some(&stopped(n))));
    case(None, &|n| {
        let mut old = stopped(n);
        old.as_object_mut().unwrap().remove("index_state");
        record(n, Some(&old), Some(&stopped(n)))
    });
    case(None, &|n| {
        let mut deleted = stopped(n);
        deleted["lastStatus"] = json!({"S": "DELETED"});
        record(n, Some(&stopped(n)), Some(&deleted))
    });
    case(None, &|n| record(n, Some(&stopped(n)), None));
    case(None, &|n| record(n, Some(&active(n)), None));
    case(None, &|n| record(n, None, Some(&active(n))));
    case(None, &|n| {
        let mut missing = active(n);
        missing["missing_since"] = json!({"S": text(now)});
        record(n, Some(&active(n)), Some(&missing))
    });
    case(Some("announced"), &|n| {
        let mut deleted = stopped(n);
        deleted["lastStatus"] = json!({"S": "DELETED"});
        record(n, Some(&active(n)), Some(&deleted))
    });

    case(Some("old"), &|n| record(n, Some(&active(n)), Some(&ago(n, hour + TimeDelta::minutes(1)))));
    case(Some("announced"), &|n| record(n, Some(&active(n)), Some(&ago(n, hour - TimeDelta::minutes(1)))));
    case(Some("old"), &|n| record(n, None, Some(&ago(n, TimeDelta::days(200)))));
    // Without `stoppedAt`, the event's time counts, or when the API described it.
    case(Some("old"), &|n| {
        let mut row = ago(n, hour * 2);
        row.as_object_mut().unwrap().remove("stoppedAt");
        record(n, Some(&active(n)), Some(&row))
    });
    case(Some("announced"), &|n| {
        let mut row = reconciled(&stopped(n));
        row.as_object_mut().unwrap().remove("stoppedAt");
        record(n, Some(&active(n)), Some(&row))
    });
    let written = |n, ago: TimeDelta, stopped| {
        let mut record = record(n, Some(&active(n)), Some(&stopped));
        record["dynamodb"]["ApproximateCreationDateTime"] = json!((Utc::now() - ago).timestamp());
        record
    };
    case(Some("late"), &|n| written(n, hour + TimeDelta::minutes(1), ago(n, hour + TimeDelta::minutes(1))));
    case(Some("announced"), &|n| written(n, hour - TimeDelta::minutes(1), ago(n, hour - TimeDelta::minutes(1))));
    case(Some("old"), &|n| written(n, hour * 2, ago(n, hour * 4)));

    assert_eq!(world.notify(&records).await, None);
    let line = |line: &Value| json!([line["arn"], line["outcome"]]);
    let lines: Vec<Value> = world.lines().iter().map(line).collect();
    assert_eq!(lines, expected);
    let announced: Vec<Value> = expected.into_iter().filter(|case| case[1] == "announced").collect();
    let sent: Vec<Value> = world.bus.details().iter().map(|detail| json!([detail["taskArn"], "announced"])).collect();
    assert_eq!(sent, announced);
}

#[tokio::test]
async fn the_recorders_own_records_announce_a_task_once() {
    let world = World::new().await;
    let stop = stop(1, recently());
    let mut deleted = stop.clone();
    deleted["detail"]["version"] = json!(7);
    let records = world.record(life(stop).into_iter().chain([deleted])).await;
    assert_eq!(records.len(), 2);
    assert_eq!(world.notify(&records).await, None);
    let details = world.bus.details();
    assert_eq!(details.len(), 1);
    assert_eq!((&details[0]["taskArn"], &details[0]["taskVersion"]), (&json!(arn(1)), &json!(6)));
}

#[tokio::test]
async fn a_stop_is_announced_without_a_field_that_cannot_be_read_and_the_log_names_the_field() {
    let world = World::new().await;
    let secret = "hunter2";
    let mut odd = record(1, None, Some(&events::row(&stop(1, recently()))));
    odd["dynamodb"]["NewImage"]["containers"] = json!({"S": secret});
    assert_eq!(world.notify(&[odd]).await, None);
    let [line] = &world.lines()[..] else { panic!("one line a stop") };
    assert_eq!(
        (&line["arn"], &line["outcome"], &line["error"]),
        (&json!(arn(1)), &json!("announced"), &json!("containers must be an array, found a string"))
    );
    assert_eq!(world.bus.details()[0]["taskArn"], json!(arn(1)));
    assert!(!world.lambda.log().contains(secret));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_logged_by_its_key_and_blocks_no_other() {
    let world = World::new().await;
    let good = |number| record(number, None, Some(&events::row(&stop(number, recently()))));
    let with = |pointer: &str, value: Value| {
        let mut record = good(2);
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        record.pointer_mut(parent).unwrap()[name] = value;
        record
    };
    let mut without_old = good(2);
    without_old["eventName"] = json!("MODIFY");
    let secret = "hunter2";
    let bad = [
        (json!(null), json!(null), "it is not a record of a DynamoDB stream"),
        (json!({"dynamodb": secret}), json!(null), "it is not a record of a DynamoDB stream"),
        (with("/dynamodb/NewImage", json!(secret)), json!(arn(2)), "its NewImage is not a row"),
        (with("/dynamodb/NewImage/x", json!({"S": "a", "N": "1"})), json!(arn(2)), "its NewImage is not a row"),
        (with("/dynamodb/NewImage/x", json!({"X": secret})), json!(arn(2)), "its NewImage is not a row"),
        (with("/dynamodb/OldImage", json!([])), json!(arn(2)), "its OldImage is not a row"),
        (with("/dynamodb/SequenceNumber", json!(null)), json!(arn(2)), "it has no SequenceNumber"),
        (
            with("/dynamodb/ApproximateCreationDateTime", json!(null)),
            json!(arn(2)),
            "it has no ApproximateCreationDateTime",
        ),
        (
            with("/dynamodb/ApproximateCreationDateTime", json!(1e300)),
            json!(arn(2)),
            "it is not a record of a DynamoDB stream",
        ),
        (without_old, json!(arn(2)), "it has no OldImage: the stream's view type must be NEW_AND_OLD_IMAGES"),
    ];
    let records: Vec<Value> =
        [good(1)].into_iter().chain(bad.iter().map(|(record, ..)| record.clone())).chain([good(3)]).collect();
    assert_eq!(world.notify(&records).await, None);
    let lines = world.lines();
    assert_eq!((&lines[0]["arn"], &lines[0]["outcome"]), (&json!(arn(1)), &json!("announced")));
    for (line, (record, arn, problem)) in lines[1..].iter().zip(&bad) {
        let mut expected = json!({"outcome": "unreadable", "arn": arn, "error": problem});
        if arn.is_null() {
            expected.as_object_mut().unwrap().remove("arn");
        }
        assert_eq!(*line, expected, "{record}");
    }
    assert_eq!(lines.len(), bad.len() + 2);
    assert_eq!(
        world.bus.details().iter().map(|detail| detail["taskArn"].clone()).collect::<Vec<_>>(),
        [arn(1), arn(3)]
    );
    assert!(!world.lambda.log().contains(secret));
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
