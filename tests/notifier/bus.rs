//! `PutEvents` that fails wholly, in part, forever, or hangs.

use std::time::{Duration, Instant};

use harness::bus::Answer;
use serde_json::{Value, json};

use super::{World, arn, recently, stop, stopped};

/// The answer for the bad entry, the one for others, and for how many requests. Then the outcome of the first that is not
/// sent, its error, all that are not sent, and the entries of each request.
type Case<'c> = (Answer, Answer, usize, &'c str, &'c str, &'c [u32], &'c [usize]);

#[tokio::test]
async fn a_failure_of_the_bus_loses_nothing_that_could_be_sent_and_is_reported() {
    use Answer::{Accepted, EntryRefused, NotJson, Refused, Silence};
    /// The task whose entry meets a fault.
    const BAD: u32 = 4;
    const FOREVER: usize = usize::MAX;
    const NOT_AWS: &str = "the response is not from AWS; check the endpoint and any proxy in between";
    const DENIED: &str = "AccessDeniedException (HTTP 400); the function's role must allow it";
    const LATE: &str = "it was not sent before the deadline";
    let (invalid, throttling) = ("ValidationException", "ThrottlingException");
    let (throttled, denied) = (Refused(400, throttling), Refused(400, "AccessDeniedException"));
    let all: Vec<u32> = (0..15).collect();
    let alone = [10, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
    let thrice = [10, 10, 10, 5, 5, 5];
    let cases: [Case; 10] = [
        (EntryRefused("InternalFailure"), Accepted, 3, "announced", "", &[], &[10, 5, 1, 1]),
        (EntryRefused(throttling), Accepted, FOREVER, "retried", throttling, &[BAD], &[10, 5, 1, 1]),
        (EntryRefused("MalformedDetail"), Accepted, FOREVER, "rejected", "MalformedDetail", &[BAD], &[10, 5]),
        (EntryRefused("not a code"), Accepted, FOREVER, "retried", NOT_AWS, &[BAD], &[10, 5, 1, 1]),
        // The bad entry makes its whole request invalid, so each is sent alone.
        (Refused(400, invalid), Accepted, FOREVER, "rejected", invalid, &[BAD], &alone),
        (Silence, Accepted, FOREVER, "retried", LATE, &all[..10], &[10, 5]),
        (throttled, throttled, 4, "announced", "", &[], &thrice),
        (throttled, throttled, FOREVER, "retried", "ThrottlingException (HTTP 400)", &all, &thrice),
        (denied, denied, FOREVER, "retried", DENIED, &all, &thrice),
        (NotJson, NotJson, FOREVER, "retried", NOT_AWS, &all, &thrice),
    ];
    // Two requests' worth of stops.
    let now = recently();
    let records: Vec<Value> = all.iter().map(|&number| stopped(number, &stop(number, now))).collect();
    for (bad, others, times, outcome, error, unsent, requests) in cases {
        let what = format!("{bad:?}, {others:?}, {times} times");
        let world = World::new().await;
        world.bus.plan(move |request, detail| match request < times {
            true if detail["taskArn"] == arn(BAD) => bad,
            true => others,
            false => Accepted,
        });
        // Three seconds remain for sending.
        world.lambda.set_timeout(Duration::from_secs(8));
        let start = Instant::now();
        let reported = world.notify(&records).await;
        assert!(start.elapsed() < Duration::from_secs(5), "{what}: {:?}", start.elapsed());
        let first = *unsent.first().unwrap_or(&BAD) as usize;
        let expected = (outcome == "retried").then(|| records[first]["dynamodb"]["SequenceNumber"].clone());
        assert_eq!(reported, expected, "{what}");
        let line = &world.lines()[first];
        let found = (line["outcome"].as_str().unwrap(), line["error"].as_str().unwrap_or_default());
        assert_eq!(found, (outcome, error), "{what}");
        let mut sent: Vec<Value> = world.bus.details().iter().map(|detail| detail["taskArn"].clone()).collect();
        sent.sort_by_key(Value::to_string);
        let expected = all.iter().filter(|number| !unsent.contains(number)).map(|number| json!(arn(*number)));
        assert_eq!(sent, expected.collect::<Vec<_>>(), "{what}");
        let accepted = sent.len();
        let [mut found, mut expected] = [world.bus.requests(), requests.to_vec()];
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{what}");
        if outcome == "retried" {
            // Lambda delivers the records again from there, and only what is missing is sent.
            world.bus.plan(|_, _| Accepted);
            assert_eq!(world.notify(&records[first..]).await, None, "{what}");
            assert_eq!(world.bus.details().len(), accepted + unsent.len(), "{what}");
        }
    }
}
