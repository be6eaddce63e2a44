//! Copies of the real binary that die at any moment: nothing is lost, nothing is wrong.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use harness::dynamodb::DynamoDb;
use harness::lambda::{Lambda, binary};
use harness::storm::{Delivery, Verdict, outcomes, pour_and_redrive, seed};

static BINARY: LazyLock<String> = LazyLock::new(|| binary(env!("CARGO_BIN_EXE_ecs-state-recorder")));

/// Sends signals to copies at random moments of a storm, until `kills` of them ended a process.
async fn storm_of(signal: Signal, kills: usize) {
    const COPIES: usize = 4;
    let mut random = StdRng::seed_from_u64(seed());
    let dynamodb = DynamoDb::start_recording().await;
    let lambda = Arc::new(Lambda::start(&BINARY, COPIES, &[("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb.url)]).await);

    let killer = tokio::spawn({
        let lambda = lambda.clone();
        let mut random = StdRng::from_rng(&mut random);
        async move {
            let deadline = Instant::now() + Duration::from_mins(2);
            while lambda.deaths() < kills {
                assert!(Instant::now() < deadline, "only {} processes died", lambda.deaths());
                lambda.signal(random.random_range(0..COPIES), signal);
                tokio::time::sleep(Duration::from_millis(random.random_range(0..40))).await;
            }
        }
    });
    let mut deliveries = Vec::new();
    let mut answers = Vec::new();
    while !killer.is_finished() {
        let wave = Delivery::random(100, 60, 4 * u32::try_from(deliveries.len()).unwrap() / 100 + 8, &mut random);
        answers.extend(pour_and_redrive(&lambda, &wave).await);
        deliveries.extend(wave);
    }
    killer.await.unwrap();

    let died_with_an_event: usize = answers.iter().map(|answer| answer.deliveries as usize - 1).sum();
    println!(
        "{} events, {} processes ended by {signal}, {died_with_an_event} events delivered again: {:?}",
        deliveries.len(),
        lambda.deaths(),
        outcomes(&answers)
    );
    assert_eq!(lambda.deaths_by(signal), lambda.deaths(), "a process ended by itself: {}", lambda.log());
    Verdict::new(&dynamodb, &deliveries).assert_right();
    assert!(died_with_an_event > 0, "no process died with an event in its hands");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_killed_at_random_moments_lose_nothing_and_leave_nothing_wrong() {
    storm_of(Signal::SIGKILL, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_are_told_to_end_lose_nothing_and_leave_nothing_wrong() {
    storm_of(Signal::SIGTERM, 50).await;
}
