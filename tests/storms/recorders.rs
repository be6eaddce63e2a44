//! Whatever the order, the duplicates and the number of concurrent instances, each row ends up holding its newest
//! event.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestRunner};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;

use harness::documented;
use harness::dynamodb::DynamoDb;
use harness::runtime_api::Lambda;
use harness::storm::{Delivery, Verdict, outcomes, seed, send_all};

use crate::RECORDER;

#[test]
fn any_history_delivered_to_any_number_of_instances_ends_with_the_newest_state_of_each_arn() {
    const HISTORIES: u32 = 12;
    let delivery = |resources| (0..resources, 0..15_u32).prop_map(|(resource, version)| Delivery { resource, version });
    let histories = (1..=8_usize, 1..=60_u32)
        .prop_flat_map(move |(instances, resources)| (Just(instances), vec(delivery(resources), 430..700)));
    let config = Config {
        cases: HISTORIES,
        rng_seed: RngSeed::Fixed(seed()),
        max_shrink_iters: 200,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/storms.failures"))),
        ..Config::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let events = AtomicUsize::new(0);
    TestRunner::new(config)
        .run(&histories, |(instances, history)| {
            runtime.block_on(async {
                let dynamodb = DynamoDb::start_recording().await;
                let url = [("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url.as_str())];
                let lambda = Lambda::start(&RECORDER, instances, &url).await;
                let answers = send_all(&lambda, &history).await;
                events.fetch_add(history.len(), Ordering::Relaxed);
                Verdict::new(&dynamodb, &history).assert_correct();
                assert!(answers.iter().all(|answer| !answer.failed), "{:?}", outcomes(&answers));
            });
            Ok(())
        })
        .unwrap();
    let events = events.into_inner();
    println!("{HISTORIES} histories, {events} events: every row correct, no version went backwards");
    assert!(events >= 5000, "only {events} events");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_read_compare_write_ends_with_stale_rows_under_the_same_storm() {
    let storm = Delivery::bursts(250, 6, &mut StdRng::seed_from_u64(seed()));
    let dynamodb = DynamoDb::start_recording().await;
    documented::send_all(&dynamodb.url, 8, &storm).await;
    let theirs = Verdict::new(&dynamodb, &storm);
    assert!(
        !theirs.wrong.is_empty() && !theirs.went_backwards.is_empty(),
        "the storm is too weak to show the race: {theirs:?}"
    );

    let dynamodb = DynamoDb::start_recording().await;
    let lambda = Lambda::start(&RECORDER, 8, &[("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb.url)]).await;
    send_all(&lambda, &storm).await;
    let ours = Verdict::new(&dynamodb, &storm);
    ours.assert_correct();

    for (who, verdict) in [("read, compare, write", theirs), ("the recorder", ours)] {
        println!(
            "{who}: {} of {} rows wrong, {} of {} writes went backwards",
            verdict.wrong.len(),
            verdict.rows,
            verdict.went_backwards.len(),
            verdict.writes
        );
    }
}

/// `make storm`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "100,000 events: make storm"]
async fn a_hundred_thousand_events() {
    const EVENTS: u32 = 100_000;
    let mut random = StdRng::seed_from_u64(seed());
    let storm = Delivery::random(EVENTS as usize, 2_000, 40, &mut random);
    let dynamodb = DynamoDb::start_recording().await;
    let lambda = Lambda::start(&RECORDER, 8, &[("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb.url)]).await;
    let start = Instant::now();
    let answers = send_all(&lambda, &storm).await;
    let took = start.elapsed().as_secs_f64();
    let verdict = Verdict::new(&dynamodb, &storm);
    println!("{}", json!(outcomes(&answers)));
    println!("{EVENTS} events to 8 instances in {took:.1} s: {:.0} per second", f64::from(EVENTS) / took);
    println!(
        "{} of {} rows wrong, {} writes went backwards",
        verdict.wrong.len(),
        verdict.rows,
        verdict.went_backwards.len()
    );
    verdict.assert_correct();
}
