//! PutEvents that fails wholly, in part, forever, or hangs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use harness::bus::Answer;
use harness::stream::deliver;
use serde_json::{Value, json};

use super::{World, arn, recently, stop, stopped};

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

struct Case {
    what: &'static str,
    plan: fn(usize, &Value) -> Answer,
    /// The record that is reported, and the outcome of its stop.
    reported: Option<u32>,
    outcome: &'static str,
    /// The text of its error.
    error: Option<&'static str>,
    /// Those that are not on the bus.
    missing: &'static [u32],
    /// The entries of the requests, in any order.
    requests: &'static [usize],
}

const CASES: [Case; 10] = [
    Case {
        what: "an entry fails twice, and only it is repeated",
        plan: |request, detail| match is_bad(detail) && request < 3 {
            true => Answer::EntryRefused("InternalFailure"),
            false => Answer::Accepted,
        },
        reported: None,
        outcome: "announced",
        error: None,
        missing: &[],
        requests: &[10, 5, 1, 1],
    },
    Case {
        what: "an entry fails forever",
        plan: |_, detail| if is_bad(detail) { Answer::EntryRefused("ThrottlingException") } else { Answer::Accepted },
        reported: Some(BAD),
        outcome: "retried",
        error: Some("ThrottlingException"),
        missing: &[BAD],
        requests: &[10, 5, 1, 1],
    },
    Case {
        what: "an entry is refused permanently",
        plan: |_, detail| if is_bad(detail) { Answer::EntryRefused("MalformedDetail") } else { Answer::Accepted },
        reported: None,
        outcome: "rejected",
        error: Some("MalformedDetail"),
        missing: &[BAD],
        requests: &[10, 5],
    },
    Case {
        what: "all requests fail at first",
        plan: |request, _| if request < 4 { Answer::Refused(500, "InternalException") } else { Answer::Accepted },
        reported: None,
        outcome: "announced",
        error: None,
        missing: &[],
        requests: &[10, 5, 10, 5, 10, 5],
    },
    Case {
        what: "all requests are throttled",
        plan: |_, _| Answer::Refused(400, "ThrottlingException"),
        reported: Some(0),
        outcome: "retried",
        error: Some("ThrottlingException (HTTP 400)"),
        missing: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14],
        requests: &[10, 5, 10, 5, 10, 5],
    },
    Case {
        what: "access is denied",
        plan: |_, _| Answer::Refused(400, "AccessDeniedException"),
        reported: Some(0),
        outcome: "retried",
        error: Some("AccessDeniedException (HTTP 400); the function's role must allow it"),
        missing: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14],
        requests: &[10, 5, 10, 5, 10, 5],
    },
    Case {
        what: "one entry makes its whole request invalid",
        plan: |_, detail| if is_bad(detail) { Answer::Refused(400, "ValidationException") } else { Answer::Accepted },
        reported: None,
        outcome: "rejected",
        error: Some("ValidationException"),
        missing: &[BAD],
        requests: &[10, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    },
    Case {
        what: "a request of one entry gets no response",
        plan: |_, detail| if is_bad(detail) { Answer::Silence } else { Answer::Accepted },
        reported: Some(0),
        outcome: "retried",
        error: Some("it was not sent before the deadline"),
        missing: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        requests: &[10, 5],
    },
    Case {
        what: "a proxy responds",
        plan: |_, _| Answer::NotJson,
        reported: Some(0),
        outcome: "retried",
        error: Some("the response is not from AWS; check the endpoint and any proxy in between"),
        missing: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14],
        requests: &[10, 5, 10, 5, 10, 5],
    },
    Case {
        what: "an entry's error code is not AWS's",
        plan: |_, detail| if is_bad(detail) { Answer::EntryRefused("not a code") } else { Answer::Accepted },
        reported: Some(BAD),
        outcome: "retried",
        error: Some("the response is not from AWS; check the endpoint and any proxy in between"),
        missing: &[BAD],
        requests: &[10, 5, 1, 1],
    },
];

#[tokio::test]
async fn a_failure_of_the_bus_loses_nothing_that_could_be_sent_and_is_reported() {
    let records = records();
    for case in CASES {
        let world = World::new().await;
        world.bus.plan(case.plan);
        // Three seconds remain for sending.
        world.lambda.set_timeout(Duration::from_secs(8));
        let start = Instant::now();
        let reported = world.notify(&records).await;
        let expected = case.reported.map(|number| records[number as usize]["dynamodb"]["SequenceNumber"].clone());
        assert_eq!(reported, expected, "{}", case.what);
        assert!(start.elapsed() < Duration::from_secs(5), "{}: {:?}", case.what, start.elapsed());
        let sent: Vec<Value> = world.bus.details().iter().map(|detail| detail["taskArn"].clone()).collect();
        let mut sent_once = sent.clone();
        sent_once.sort_by_key(Value::to_string);
        let expected: Vec<Value> =
            (0..15).filter(|number| !case.missing.contains(number)).map(|number| json!(arn(number))).collect();
        assert_eq!(sent_once, expected, "{}", case.what);
        let line = &world.lines()[case.reported.unwrap_or(BAD) as usize];
        assert_eq!((&line["outcome"], line["error"].as_str()), (&json!(case.outcome), case.error), "{}", case.what);
        let mut requests = world.bus.requests();
        requests.sort_unstable();
        let mut expected = case.requests.to_vec();
        expected.sort_unstable();
        assert_eq!(requests, expected, "{}", case.what);
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
        let written = &mut record["dynamodb"]["ApproximateCreationDateTime"];
        *written = json!(written.as_i64().unwrap() - 3_601);
    }
    for record in &mut records {
        let stopped_at = json!({"S": super::text(recently() - chrono::TimeDelta::seconds(3_601))});
        record["dynamodb"]["NewImage"]["stoppedAt"] = stopped_at;
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
