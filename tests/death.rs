//! Instances of the real binary are killed at random moments: no event is lost, no row is wrong.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use harness::dynamodb::DynamoDb;
use harness::runtime_api::Lambda;
use harness::storm::{Delivery, Verdict, outcomes, seed, send_all_and_redrive};

use crate::RECORDER;

/// Sends a signal to instances at random moments during a storm, until `kills` processes have been ended by it.
async fn storm_with(signal: Signal, kills: usize) {
    const INSTANCES: usize = 4;
    let mut random = StdRng::seed_from_u64(seed());
    let dynamodb = DynamoDb::start_recording().await;
    let lambda = Arc::new(Lambda::start(&RECORDER, INSTANCES, &[("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb.url)]).await);

    let killer = tokio::spawn({
        let lambda = lambda.clone();
        let mut random = StdRng::from_rng(&mut random);
        async move {
            let deadline = Instant::now() + Duration::from_mins(2);
            while lambda.deaths() < kills {
                assert!(Instant::now() < deadline, "only {} processes died", lambda.deaths());
                lambda.signal(random.random_range(0..INSTANCES), signal);
                tokio::time::sleep(Duration::from_millis(random.random_range(0..40))).await;
            }
        }
    });
    let mut deliveries = Vec::new();
    let mut answers = Vec::new();
    while !killer.is_finished() {
        let wave = Delivery::random(100, 60, 4 * u32::try_from(deliveries.len()).unwrap() / 100 + 8, &mut random);
        answers.extend(send_all_and_redrive(&lambda, &wave).await);
        deliveries.extend(wave);
    }
    killer.await.unwrap();

    let redelivered: usize = answers.iter().map(|answer| answer.deliveries as usize - 1).sum();
    println!(
        "{} events, {} processes ended by {signal}, {redelivered} events delivered again: {:?}",
        deliveries.len(),
        lambda.deaths(),
        outcomes(&answers)
    );
    assert_eq!(lambda.deaths_by(signal), lambda.deaths(), "a process ended on its own: {}", lambda.log());
    Verdict::new(&dynamodb, &deliveries).assert_correct();
    assert!(redelivered > 0, "no process died while it was handling an event");
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_killed_at_random_moments_lose_no_event_and_leave_no_wrong_row() {
    storm_with(Signal::SIGKILL, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_terminated_at_random_moments_lose_no_event_and_leave_no_wrong_row() {
    storm_with(Signal::SIGTERM, 50).await;
}
