//! Whom to spare: `notify` is true for the first stops of a loop, and never for what was intended.

use std::time::{Duration, Instant};

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use harness::bus::Bus;
use harness::dynamodb::TASKS;
use harness::events;
use harness::proxy::{Fault, Proxy};
use harness::runtime_api::Lambda;
use harness::stream::{batch, deliver};
use serde_json::{Value, json};

use super::{World, arn, life, recently, stop, stopped};
use crate::NOTIFIER;

fn counts(details: &[Value]) -> Vec<u64> {
    let notified = details.iter().filter(|detail| detail["notify"] == true);
    notified.map(|detail| detail["count"].as_u64().expect("a count")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_of_200_stops_gives_200_events_of_which_4_notify() {
    let start = recently() - TimeDelta::seconds(400);
    for size in [7, 100] {
        let world = World::new().await;
        let stops = (0..200).map(|number| stop(number, start + TimeDelta::seconds(2) * number.cast_signed()));
        let records = world.record(stops.flat_map(life)).await;
        assert_eq!(deliver(&world.lambda, &records, size, 40).await, 0);
        let mut details = world.bus.details();
        assert_eq!(details.len(), 200);
        details.sort_by_key(|detail| detail["taskArn"].to_string());
        assert_eq!(counts(&details), [1, 3, 10, 30], "batches of {size}");
        let loops: Vec<bool> = details.iter().map(|detail| detail["isCrashLoop"] == true).collect();
        assert_eq!(loops, [vec![false; 2], vec![true; 198]].concat());
        for pair in details.windows(2) {
            assert_eq!(pair[1]["previousStoppedAt"], pair[0]["stoppedAt"]);
        }
        let title = &details[2]["chat"]["content"]["title"];
        assert_eq!(title, "web in demo: crash loop: ApplicationError");
    }
}

/// The event of a stop that somebody or something wanted or caused.
fn with(stop: &Value, stop_code: &str, reason: &str, exit_code: i64) -> Value {
    let mut stop = stop.clone();
    stop["detail"]["stopCode"] = json!(stop_code);
    stop["detail"]["stoppedReason"] = json!(reason);
    stop["detail"]["containers"][0]["exitCode"] = json!(exit_code);
    stop
}

fn scaled_in(number: u32, time: DateTime<Utc>) -> Value {
    with(
        &stop(number, time),
        "ServiceSchedulerInitiated",
        "Scaling activity initiated by (deployment ecs-svc/4093171225387263520)",
        143,
    )
}

#[tokio::test]
async fn notify_is_true_for_failures_and_for_interruptions_without_a_service() {
    let world = World::new().await;
    let now = recently();
    let exited = "Essential container in task exited";
    let cases = [
        ("ApplicationError", "service:web", stop(0, now), true),
        ("ApplicationError", "family:job", stop(0, now), true),
        ("Finished", "service:web", with(&stop(0, now), "EssentialContainerExited", exited, 0), true),
        ("Finished", "family:job", with(&stop(0, now), "EssentialContainerExited", exited, 0), false),
        ("ScaledIn", "service:web", scaled_in(0, now), false),
        ("SpotInterruption", "service:web", with(&stop(0, now), "SpotInterruption", "", 143), false),
        ("SpotInterruption", "family:job", with(&stop(0, now), "SpotInterruption", "", 143), true),
        ("StoppedByUser", "family:job", with(&stop(0, now), "UserInitiated", "maintenance", 137), false),
    ];
    for (number, (code, group, mut stop, notify)) in (0..).zip(cases) {
        stop["detail"]["group"] = json!(group);
        stop["detail"]["taskArn"] = json!(arn(number));
        assert_eq!(world.notify(&[stopped(number, &stop)]).await, None);
        let detail = world.bus.details().pop().unwrap();
        assert_eq!((&detail["code"], &detail["notify"]), (&json!(code), &json!(notify)), "{code} of {group}");
        assert_eq!(detail["count"].is_null(), !notify, "{code} of {group}");
    }
}

/// Puts the rows of stops, and announces another one after them.
async fn after(earlier: impl IntoIterator<Item = Value>, stop: &Value) -> Value {
    let world = World::new().await;
    world.dynamodb.fill(TASKS, earlier.into_iter().map(|stop| events::row(&stop)).collect());
    assert_eq!(world.notify(&[stopped(9_999, stop)]).await, None);
    world.bus.details().pop().unwrap()
}

#[tokio::test]
async fn the_rank_is_by_cluster_group_and_code_in_the_window_of_six_hours() {
    let now = recently();
    let window = now.duration_trunc(TimeDelta::hours(6)).unwrap();
    let second = TimeDelta::seconds(1);
    let in_window = |count: u32| (0..count).map(move |number| stop(number, now - second * 2));
    let before = |count: u32| (100..100 + count).map(move |number| stop(number, window - second));
    let other = |field: &'static str, value: &'static str| {
        in_window(1).map(move |mut stop| {
            stop["detail"][field] = json!(value);
            stop
        })
    };
    let this = stop(9_999, now);
    let cases: [(&str, Vec<Value>, u64, bool); 13] = [
        ("the first", vec![], 1, true),
        ("the second", in_window(1).collect(), 2, false),
        ("the third", in_window(2).collect(), 3, true),
        ("the tenth", in_window(9).collect(), 10, true),
        ("the thirtieth", in_window(29).collect(), 30, true),
        ("the thirty-first", in_window(30).collect(), 31, false),
        ("behind scale-ins", (0..30).map(|number| scaled_in(number, now - second)).collect(), 1, true),
        ("behind another group's", other("group", "service:api").collect(), 1, true),
        (
            "behind another cluster's",
            other("clusterArn", "arn:aws:ecs:eu-west-1:123456789012:cluster/x").collect(),
            1,
            true,
        ),
        ("behind a later one", vec![stop(1, now + second)], 1, true),
        ("at the same time, by ARN", vec![stop(0, now), stop(10_000, now)], 2, false),
        ("after two in the window before", before(2).chain(in_window(2)).collect(), 3, true),
        ("after three in the window before", before(3).chain(in_window(2)).collect(), 3, false),
    ];
    for (what, earlier, count, notify) in cases {
        let detail = after(earlier, &this).await;
        assert_eq!((detail["count"].as_u64(), &detail["notify"]), (Some(count), &json!(notify)), "{what}");
    }
    let still = after(before(3), &this).await;
    assert_eq!((&still["count"], &still["notify"]), (&json!(1), &json!(true)));
    assert_eq!(
        still["chat"]["content"]["title"],
        "web in demo: crash loop: ApplicationError".replace("crash loop:", "still")
    );
    assert_eq!(still["previousStoppedAt"], super::text(window - second));
    // Two windows ago.
    let long_ago = (0..5).map(|number| stop(number, window - TimeDelta::hours(6) - second));
    let detail = after(long_ago, &this).await;
    assert_eq!((&detail["count"], &detail["previousStoppedAt"]), (&json!(1), &Value::Null));
}

#[tokio::test]
async fn only_the_first_known_stop_notifies_if_the_rows_or_the_pages_were_not_enough() {
    let now = recently();
    let second = TimeDelta::seconds(1);
    let failures = |count: u32| (1_000..1_000 + count).map(move |number| stop(number, now - second));
    let many = |count: u32| (0..count).map(move |number| scaled_in(number, now - second * 3));
    let this = stop(9_999, now);
    for (what, earlier, count, notify) in [
        ("the first behind 99 rows", many(99).collect::<Vec<_>>(), 1, true),
        ("the third among 100 rows", many(98).chain(failures(2)).collect(), 3, true),
        ("the first behind 101 rows", many(101).collect(), 1, true),
        ("the third among 101 rows", many(99).chain(failures(2)).collect(), 3, false),
    ] {
        let detail = after(earlier, &this).await;
        assert_eq!((&detail["count"], &detail["notify"]), (&json!(count), &json!(notify)), "{what}");
    }
    // Pages of a megabyte, filled by another group.
    let filler = |count: u32| {
        (0..count).map(move |number| {
            let mut stop = scaled_in(number, now - second * 3);
            stop["detail"]["group"] = json!("service:api");
            stop["detail"]["startedBy"] = json!("x".repeat(10_000));
            stop
        })
    };
    for (fillers, notify) in [(250, true), (400, false)] {
        let detail = after(filler(fillers).chain(failures(2)), &this).await;
        assert_eq!((&detail["count"], &detail["notify"]), (&json!(3), &json!(notify)), "{fillers} fillers");
    }
}

#[tokio::test]
async fn without_the_index_or_the_table_every_stop_that_may_notify_does() {
    const WARNING: &str = "earlier stops could not be read, so people are told of every stop that may matter: ";
    let now = recently();
    let records: Vec<Value> = (0..3).map(|number| stopped(number, &stop(number, now))).collect();
    let world = World::new().await;
    world.dynamodb.remove_index();
    assert_eq!(world.notify(&records).await, None);
    assert!(world.lambda.log().contains(WARNING), "{}", world.lambda.log());
    let silent = Proxy::start(&world.dynamodb.url).await;
    silent.plan(|| Some(Fault::Silence));
    let bus = Bus::start().await;
    let urls = [("AWS_ENDPOINT_URL_EVENTBRIDGE", bus.url.as_str()), ("AWS_ENDPOINT_URL_DYNAMODB", &silent.url)];
    let lambda = Lambda::start(&NOTIFIER, 1, &urls).await;
    // Two seconds for the table, four for the bus.
    lambda.set_timeout(Duration::from_secs(11));
    let start = Instant::now();
    let answer = lambda.invoke(batch(&records)).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(answer.body, json!({"batchItemFailures": []}));
    assert!(lambda.log().contains(&format!("{WARNING}the table did not respond in time")), "{}", lambda.log());
    for details in [world.bus.details(), bus.details()] {
        assert_eq!(details.len(), 3);
        for detail in details {
            let (count, notify, previous) = (&detail["count"], &detail["notify"], &detail["previousStoppedAt"]);
            assert_eq!((count, notify, previous), (&Value::Null, &json!(true), &Value::Null));
        }
    }
}
