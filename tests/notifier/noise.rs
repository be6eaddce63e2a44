//! Whom to spare: `notify` is true for the first stops of a loop, and never for what was intended.

use std::time::{Duration, Instant};

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use ecs_state_recorder::notifier::history::History;
use ecs_state_recorder::notifier::news::Stop;
use ecs_state_recorder::notifier::record::Change;
use harness::dynamodb::{DynamoDb, TASKS, client};
use harness::events;
use harness::proxy::{Fault, Proxy};
use harness::stream::deliver;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::{World, arn, life, recently, stop, stopped, text, with};

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_of_200_stops_gives_200_events_of_which_4_notify() {
    let start = recently() - TimeDelta::seconds(400);
    for size in [7, 100] {
        let world = World::new().await;
        let stops = (0..200).map(|number| stop(number, start + TimeDelta::seconds(2) * number.cast_signed()));
        let records = world.record(stops.flat_map(life)).await;
        assert_eq!(deliver(&world.lambda, &records, size, 40).await, 0);
        let mut details = world.bus.details();
        details.sort_by_key(|detail| detail["taskArn"].to_string());
        assert_eq!(details.len(), 200);
        for (rank, detail) in (1..).zip(&details) {
            let is_due = [1, 3, 10, 30].contains(&rank);
            let found = (&detail["notify"], &detail["isCrashLoop"]);
            assert_eq!(found, (&json!(is_due), &json!(rank >= 3)), "{rank} in batches of {size}");
            assert!(!is_due || detail["count"] == rank, "{detail}");
        }
        assert!(details.windows(2).all(|pair| pair[1]["previousStoppedAt"] == pair[0]["stoppedAt"]));
        assert_eq!(details[2]["chat"]["content"]["title"], "web in demo: crash loop: ApplicationError");
    }
}

/// The event of a stop that somebody or something wanted or caused.
fn ended(stop: Value, stop_code: &str, reason: &str, exit_code: i64) -> Value {
    let stop = with(stop, "/detail/stopCode", json!(stop_code));
    with(with(stop, "/detail/stoppedReason", json!(reason)), "/detail/containers/0/exitCode", json!(exit_code))
}

fn scaled_in(number: u32, time: DateTime<Utc>) -> Value {
    let reason = "Scaling activity initiated by (deployment ecs-svc/4093171225387263520)";
    ended(stop(number, time), "ServiceSchedulerInitiated", reason, 143)
}

#[tokio::test]
async fn notify_is_true_for_failures_and_for_interruptions_without_a_service() {
    let world = World::new().await;
    let now = recently();
    let finished =
        |number| ended(stop(number, now), "EssentialContainerExited", "Essential container in task exited", 0);
    let interrupted = |number| ended(stop(number, now), "SpotInterruption", "", 143);
    let cases = [
        ("ApplicationError", "service:web", stop(0, now), true),
        ("ApplicationError", "family:job", stop(1, now), true),
        ("Finished", "service:web", finished(2), true),
        ("Finished", "family:job", finished(3), false),
        ("ScaledIn", "service:web", scaled_in(4, now), false),
        ("SpotInterruption", "service:web", interrupted(5), false),
        ("SpotInterruption", "family:job", interrupted(6), true),
        ("StoppedByUser", "family:job", ended(stop(7, now), "UserInitiated", "maintenance", 137), false),
    ];
    for (number, (code, group, stop, notify)) in (0..).zip(cases) {
        let stop = with(stop, "/detail/group", json!(group));
        assert_eq!(world.notify(&[stopped(number, &stop)]).await, None);
        let detail = world.bus.details().pop().unwrap();
        assert_eq!((&detail["code"], &detail["notify"]), (&json!(code), &json!(notify)), "{code} of {group}");
        assert_eq!(detail["count"].is_null(), !notify, "{code} of {group}");
    }
}

/// Puts the rows of stops, and announces another one after them: its event, which must have this count.
async fn after(what: &str, earlier: impl IntoIterator<Item = Value>, stop: &Value, expected: (u64, bool)) -> Value {
    let world = World::new().await;
    world.dynamodb.fill(TASKS, earlier.into_iter().map(|stop| events::row(&stop)).collect());
    assert_eq!(world.notify(&[stopped(9_999, stop)]).await, None);
    let detail = world.bus.details().pop().unwrap();
    assert_eq!((detail["count"].as_u64(), &detail["notify"]), (Some(expected.0), &json!(expected.1)), "{what}");
    detail
}

#[tokio::test]
async fn the_rank_is_by_cluster_group_and_code_in_the_window_of_six_hours() {
    let now = recently();
    let window = now.duration_trunc(TimeDelta::hours(6)).unwrap();
    let second = TimeDelta::seconds(1);
    let in_window = |count: u32| (0..count).map(move |number| stop(number, now - second * 2));
    // Within an hour, it would be a crash loop.
    let last_window = (window - second).min(now - TimeDelta::hours(2));
    let before = |count: u32| (100..100 + count).map(move |number| stop(number, last_window));
    let long_ago = (0..5).map(|number| stop(number, window - TimeDelta::hours(6) - second));
    let other = |path, value| vec![with(stop(0, now - second), path, json!(value))];
    let other_cluster = "arn:aws:ecs:eu-west-1:123456789012:cluster/x";
    let this = stop(9_999, now);
    for (what, earlier, expected) in [
        ("behind scale-ins", (0..30).map(|number| scaled_in(number, now - second)).collect(), (1, true)),
        ("behind another group's", other("/detail/group", "service:api"), (1, true)),
        ("behind another cluster's", other("/detail/clusterArn", other_cluster), (1, true)),
        ("behind a later one", vec![stop(1, now + second)], (1, true)),
        ("at the same time, by ARN", vec![stop(0, now), stop(10_000, now)], (2, false)),
        ("after two in the window before", before(2).chain(in_window(2)).collect(), (3, true)),
        ("after three in the window before", before(3).chain(in_window(2)).collect(), (3, false)),
    ] {
        after(what, earlier, &this, expected).await;
    }
    let still = after("the first after three in the window before", before(3), &this, (1, true)).await;
    assert_eq!(still["chat"]["content"]["title"], "web in demo: still ApplicationError");
    assert_eq!(still["previousStoppedAt"], text(last_window));
    let detail = after("two windows ago", long_ago, &this, (1, true)).await;
    assert_eq!(detail["previousStoppedAt"], Value::Null);
}

#[tokio::test]
async fn only_the_first_known_stop_notifies_if_the_rows_or_the_pages_were_not_enough() {
    let now = recently();
    let second = TimeDelta::seconds(1);
    let failures = |count: u32| (1_000..1_000 + count).map(move |number| stop(number, now - second));
    let many = |count: u32| (0..count).map(move |number| scaled_in(number, now - second * 3));
    // Pages of a megabyte, filled by another group.
    let fillers = |count| {
        let filler = with(scaled_in(0, now - second * 3), "/detail/group", json!("service:api"));
        let filler = with(filler, "/detail/startedBy", json!("x".repeat(10_000)));
        (0..count).map(move |number| with(filler.clone(), "/detail/taskArn", json!(arn(number))))
    };
    let this = stop(9_999, now);
    for (what, earlier, expected) in [
        ("the first behind 99 rows", many(99).collect(), (1, true)),
        ("the third among 100 rows", many(98).chain(failures(2)).collect(), (3, true)),
        ("the first behind 101 rows", many(101).collect(), (1, true)),
        ("the third among 101 rows", many(99).chain(failures(2)).collect(), (3, false)),
        ("the third behind 2.5 MB", fillers(250).chain(failures(2)).collect(), (3, true)),
        ("the third behind 4 MB", fillers(400).chain(failures(2)).collect::<Vec<_>>(), (3, false)),
    ] {
        after(what, earlier, &this, expected).await;
    }
}

#[tokio::test]
async fn a_history_is_complete_once_the_pages_are_past_its_own_range() {
    let dynamodb = DynamoDb::start().await;
    let noon: DateTime<Utc> = "2026-03-02T12:00:00Z".parse().unwrap();
    let of = |stop, group: &str| with(stop, "/detail/group", json!(group));
    // Four megabytes of the index, at 3 o'clock: in the window before that of `api`, but not of `web`.
    let filler = with(of(stop(0, noon - TimeDelta::hours(9)), "x"), "/detail/startedBy", json!("x".repeat(10_000)));
    let fillers = (0..400).map(|number| events::row(&with(filler.clone(), "/detail/taskArn", json!(arn(number)))));
    dynamodb.fill(TASKS, fillers.collect());
    let minutes = TimeDelta::minutes(10);
    let batch = [of(stop(500, noon + minutes), "web"), of(stop(501, noon - minutes), "api")];
    let stops = batch.map(|event| {
        let record = to_raw_value(&stopped(500, &event)).unwrap();
        Stop::parse(Change::parse(&record).unwrap(), Utc::now()).unwrap().unwrap()
    });
    let cluster = stops[0].task.cluster_arn.as_deref().unwrap();
    let histories = History::read(&client(&dynamodb.url), TASKS, cluster, &stops.each_ref()).await.unwrap();
    let is_complete = |stop: &Stop| histories.iter().find(|history| history.is_of(&stop.task)).unwrap().is_complete;
    assert_eq!(stops.each_ref().map(is_complete), [true, false]);
}

#[tokio::test]
async fn a_batch_reads_each_cluster_once_and_each_group_as_if_it_were_alone() {
    let dynamodb = DynamoDb::start().await;
    let proxy = Proxy::start(&dynamodb.url).await;
    let world = World::with(1, &[("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url)]).await;
    let now = recently();
    let stop = |number, cluster, group, seconds| {
        let stop = with(stop(number, now - TimeDelta::seconds(seconds)), "/detail/group", group);
        with(stop, "/detail/clusterArn", json!(format!("arn:aws:ecs:eu-west-1:123456789012:cluster/{cluster}")))
    };
    let (web, api, none) = (json!("service:web"), json!("service:api"), Value::Null);
    // Behind the 101 stops of `api`, which are newer than the one in the batch.
    let earlier = (0..101).map(|number| stop(number, "demo", api.clone(), 1));
    let earlier = earlier.chain((101..103).map(|number| stop(number, "demo", api.clone(), 4)));
    let earlier = earlier.chain([stop(103, "demo", none.clone(), 4), stop(104, "other", web.clone(), 4)]);
    dynamodb.fill(TASKS, earlier.map(|stop| events::row(&stop)).collect());
    let batch =
        [("demo", web.clone(), 0), ("demo", api, 2), ("demo", none, 2), ("other", web.clone(), 2), ("demo", web, 2)];
    let stops =
        (200..).zip(batch).map(|(number, (cluster, group, seconds))| (number, stop(number, cluster, group, seconds)));
    let records: Vec<Value> = stops.map(|(number, stop)| stopped(number, &stop)).collect();
    assert_eq!(world.notify(&records).await, None);
    let counts: Vec<Value> = world.bus.details().into_iter().map(|mut detail| detail["count"].take()).collect();
    assert_eq!(counts, [2, 3, 2, 2, 1]);
    // For each cluster, a page of the index and a batch of rows.
    assert_eq!(proxy.requests(), 4);
}

#[tokio::test]
async fn without_the_index_or_the_table_every_stop_that_may_notify_does() {
    let now = recently();
    let records: Vec<Value> = (0..3).map(|number| stopped(number, &stop(number, now))).collect();
    let dynamodb = DynamoDb::start().await;
    let silent = Proxy::start(&dynamodb.url).await;
    silent.plan(|| Some(Fault::Silence));
    let without_index = World::new().await;
    without_index.dynamodb.remove_index();
    let without_table = World::with(1, &[("AWS_ENDPOINT_URL_DYNAMODB", &silent.url)]).await;
    for (world, problem) in [(without_index, ""), (without_table, "the table did not respond in time")] {
        // Two seconds for the table, four for the bus.
        world.lambda.set_timeout(Duration::from_secs(11));
        let start = Instant::now();
        assert_eq!(world.notify(&records).await, None);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        let warning =
            format!("earlier stops could not be read, so each stop that may need somebody notifies: {problem}");
        assert!(world.lambda.log().contains(&warning), "{}", world.lambda.log());
        let details = world.bus.details();
        assert_eq!(details.len(), 3);
        for detail in details {
            let found = ["count", "notify", "previousStoppedAt"].map(|name| detail[name].clone());
            assert_eq!(found, [Value::Null, json!(true), Value::Null]);
        }
    }
}
