//! `PutEvents` that fails wholly, in part, forever, or hangs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use harness::bus::Answer;
use harness::stream::deliver;
use serde_json::{Value, json};

use super::{World, arn, recently, stop, stopped, text};

/// Two requests' worth of stops.
fn records() -> Vec<Value> {
    let now = recently();
    (0..15).map(|number| stopped(number, &stop(number, now))).collect()
}

/// The task whose entry meets a fault.
const BAD: u32 = 4;

fn is_bad(detail: &Value) -> bool {
    detail["taskArn"] == arn(BAD)
}

/// The answer for the bad entry, that for all others, and for how many requests.
type Fault = (Answer, Answer, usize);

/// Of the first failed record and its stop: its number, its outcome and its error.
type Failed = (Option<u32>, &'static str, Option<&'static str>);

#[tokio::test]
async fn a_failure_of_the_bus_loses_nothing_that_could_be_sent_and_is_reported() {
    use Answer::{Accepted, EntryRefused, NotJson, Refused, Silence};
    const FOREVER: usize = usize::MAX;
    const NOT_AWS: Option<&str> = Some("the response is not from AWS; check the endpoint and any proxy in between");
    const DENIED: Option<&str> = Some("AccessDeniedException (HTTP 400); the function's role must allow it");
    let (throttled, denied) = (Refused(400, "ThrottlingException"), Refused(400, "AccessDeniedException"));
    let all: Vec<u32> = (0..15).collect();
    let twice_more = [10, 10, 10, 5, 5, 5];
    let cases: [(Fault, Failed, &[u32], &[usize]); 10] = [
        ((EntryRefused("InternalFailure"), Accepted, 3), (None, "announced", None), &[], &[10, 5, 1, 1]),
        (
            (EntryRefused("ThrottlingException"), Accepted, FOREVER),
            (Some(BAD), "retried", Some("ThrottlingException")),
            &[BAD],
            &[10, 5, 1, 1],
        ),
        (
            (EntryRefused("MalformedDetail"), Accepted, FOREVER),
            (None, "rejected", Some("MalformedDetail")),
            &[BAD],
            &[10, 5],
        ),
        ((EntryRefused("not a code"), Accepted, FOREVER), (Some(BAD), "retried", NOT_AWS), &[BAD], &[10, 5, 1, 1]),
        // The bad entry makes its whole request invalid, so each is sent alone.
        (
            (Refused(400, "ValidationException"), Accepted, FOREVER),
            (None, "rejected", Some("ValidationException")),
            &[BAD],
            &[10, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
        ),
        (
            (Silence, Accepted, FOREVER),
            (Some(0), "retried", Some("it was not sent before the deadline")),
            &all[..10],
            &[10, 5],
        ),
        ((throttled, throttled, 4), (None, "announced", None), &[], &twice_more),
        (
            (throttled, throttled, FOREVER),
            (Some(0), "retried", Some("ThrottlingException (HTTP 400)")),
            &all,
            &twice_more,
        ),
        ((denied, denied, FOREVER), (Some(0), "retried", DENIED), &all, &twice_more),
        ((NotJson, NotJson, FOREVER), (Some(0), "retried", NOT_AWS), &all, &twice_more),
    ];
    let records = records();
    for ((bad, others, times), (first_failed, outcome, error), missing, requests) in cases {
        let what = format!("{bad:?}, {others:?}, {times} times");
        let world = World::new().await;
        world.bus.plan(move |request, detail| match request < times {
            true if is_bad(detail) => bad,
            true => others,
            false => Accepted,
        });
        // Three seconds remain for sending.
        world.lambda.set_timeout(Duration::from_secs(8));
        let start = Instant::now();
        let reported = world.notify(&records).await;
        assert!(start.elapsed() < Duration::from_secs(5), "{what}: {:?}", start.elapsed());
        let expected = first_failed.map(|number| records[number as usize]["dynamodb"]["SequenceNumber"].clone());
        assert_eq!(reported, expected, "{what}");
        let line = &world.lines()[first_failed.unwrap_or(BAD) as usize];
        assert_eq!((&line["outcome"], line["error"].as_str()), (&json!(outcome), error), "{what}");
        let mut sent: Vec<Value> = world.bus.details().iter().map(|detail| detail["taskArn"].clone()).collect();
        sent.sort_by_key(Value::to_string);
        let expected = all.iter().filter(|number| !missing.contains(number)).map(|number| json!(arn(*number)));
        assert_eq!(sent, expected.collect::<Vec<_>>(), "{what}");
        let [mut found, mut expected] = [world.bus.requests(), requests.to_vec()];
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{what}");
    }
}

#[tokio::test]
async fn a_stop_that_can_never_be_sent_blocks_no_other_and_is_given_up_after_an_hour() {
    let world = World::new().await;
    let mut records = records();
    world.bus.plan(|_, detail| if is_bad(detail) { Answer::EntryRefused("InternalFailure") } else { Answer::Accepted });
    let left = deliver(&world.lambda, &records, 100, 4).await;
    assert_eq!(left, 15 - BAD as usize);
    let sent: BTreeSet<String> = world.bus.details().iter().map(|detail| detail["taskArn"].to_string()).collect();
    assert_eq!(sent.len(), 14);
    // An hour later.
    for record in &mut records {
        let change = &mut record["dynamodb"];
        change["ApproximateCreationDateTime"] = json!(change["ApproximateCreationDateTime"].as_i64().unwrap() - 3_601);
        change["NewImage"]["stoppedAt"] = json!({"S": text(recently() - TimeDelta::seconds(3_601))});
    }
    assert_eq!(deliver(&world.lambda, &records[BAD as usize..], 100, 1).await, 0);
    let lines = world.lines();
    assert_eq!(lines.last().unwrap()["outcome"], "late");
}

#[tokio::test]
async fn a_stop_whose_response_was_lost_is_announced_again_under_the_same_identity() {
    let world = World::new().await;
    world.bus.plan(|request, _| if request == 0 { Answer::AnswerLost } else { Answer::Accepted });
    assert_eq!(world.notify(&records()[..1]).await, None);
    let details = world.bus.details();
    assert_eq!(details.len(), 2);
    assert_eq!(details[0], details[1]);
}
