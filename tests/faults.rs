//! The outcome of an event when DynamoDB or the network fails, with the real binary.

use std::time::Duration;

use ecs_state_recorder::state::timeouts::{
    ATTEMPT_TIMEOUT, ATTEMPTS, MAX_BACKOFF, OPERATION_TIMEOUT, RECONNECT_MILLISECONDS,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use harness::dynamodb::{DynamoDb, TASKS};
use harness::events::{self, task};
use harness::proxy::{Fault, Proxy};
use harness::runtime_api::Lambda;
use harness::storm::{Delivery, Verdict, outcomes, seed, send_all_and_redrive};

use crate::RECORDER;

/// The longest that an invocation may take: the operation timeout, and some slack for a busy machine.
const LONGEST: Duration = Duration::from_secs(OPERATION_TIMEOUT.as_secs() + 2);

/// Short, so that the two random pauses outlast it, except once in 5,000 times.
const OUTAGE: Fault = Fault::Down(Duration::from_millis(20));

/// A fault, and the event's outcome if it happens once, and if it happens on every attempt.
const FAULTS: [(Fault, &str, &str); 19] = [
    (Fault::Refused(500, "InternalServerError"), "stored", "StoreUnavailable"),
    (Fault::Refused(503, "ServiceUnavailable"), "stored", "StoreUnavailable"),
    (Fault::Refused(400, "ProvisionedThroughputExceededException"), "stored", "StoreUnavailable"),
    (Fault::Refused(400, "ThrottlingException"), "stored", "StoreUnavailable"),
    (Fault::Refused(400, "RequestLimitExceeded"), "stored", "StoreUnavailable"),
    (Fault::Refused(400, "ReplicatedWriteConflictException"), "stored", "StoreUnavailable"),
    (Fault::Refused(400, "TransactionConflictException"), "StoreUnavailable", "StoreUnavailable"),
    (Fault::Refused(400, "AnUnknownError"), "StoreRejected", "StoreRejected"),
    (Fault::Refused(400, "AccessDeniedException"), "StoreRejected", "StoreRejected"),
    (Fault::Refused(400, "ResourceNotFoundException"), "StoreRejected", "StoreRejected"),
    (Fault::Refused(400, "ExpiredTokenException"), "StoreRejected", "StoreRejected"),
    (Fault::ResetBefore, "stored", "StoreUnavailable"),
    (OUTAGE, "stored", "StoreUnavailable"),
    // The first attempt's write succeeded, and the second attempt finds it: the event is not lost.
    (Fault::ResetAfter, "duplicate", "StoreUnavailable"),
    (Fault::Truncated, "duplicate", "StoreUnavailable"),
    (Fault::Trickle, "duplicate", "StoreUnavailable"),
    (Fault::Silence, "duplicate", "StoreUnavailable"),
    // Nothing indicates that these are transient, but Lambda retries them anyway.
    (Fault::NotHttp, "StoreRejected", "StoreRejected"),
    (Fault::NotJson, "StoreRejected", "StoreRejected"),
];

/// A DynamoDB behind a proxy, and instances of the binary that reach it only through the proxy.
async fn start(instances: usize) -> (DynamoDb, Proxy, Lambda) {
    let dynamodb = DynamoDb::start_recording().await;
    let proxy = Proxy::start(&dynamodb.url).await;
    let lambda = Lambda::start(&RECORDER, instances, &[("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url)]).await;
    (dynamodb, proxy, lambda)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_happens_once_is_overcome_or_reported_and_a_second_delivery_succeeds() {
    for (fault, once, _) in FAULTS {
        let (dynamodb, proxy, lambda) = start(1).await;
        // The connection is already open and in use, as in a warm instance.
        lambda.invoke(task(1).to_string()).await;
        proxy.fail_next(1, fault);
        let answer = lambda.invoke(task(2).to_string()).await;
        assert_eq!(answer.outcome(), once, "{fault:?}: {answer:?}");
        let again = lambda.invoke(task(2).to_string()).await;
        assert!(["stored", "duplicate"].contains(&again.outcome()), "{fault:?}: {again:?}");
        assert_eq!(dynamodb.row(TASKS), events::row(&task(2)), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persistent_fault_is_an_error_of_the_right_type_within_the_time_limit() {
    let mut running = tokio::task::JoinSet::new();
    for (fault, _, always) in FAULTS {
        running.spawn(async move {
            let (_dynamodb, proxy, lambda) = start(1).await;
            proxy.plan(move || Some(fault));
            let answer = lambda.invoke(task(1).to_string()).await;
            assert_eq!(answer.outcome(), always, "{fault:?}: {answer:?}");
            assert!(answer.slowest < LONGEST, "{fault:?}: {answer:?}");
            assert!(answer.body["errorMessage"].as_str().unwrap().contains("to table ECSTaskState"), "{answer:?}");
            assert!(!lambda.log().contains("panicked"), "{fault:?}: {}", lambda.log());
        });
    }
    running.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_with_one_kind_of_fault_ends_with_correct_rows() {
    let mut running = tokio::task::JoinSet::new();
    for (fault, ..) in FAULTS {
        // Slow faults block an instance for 2.5 s each.
        let one_in = if matches!(fault, Fault::Trickle | Fault::Silence | Fault::Down(_)) { 50 } else { 5 };
        running.spawn(storm(200, 4, vec![fault], one_in));
    }
    running.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_with_every_kind_of_fault_ends_with_correct_rows() {
    storm(3000, 8, FAULTS.map(|(fault, ..)| fault).to_vec(), 10).await;
}

/// Sends this many events, while on average one in `one_in` requests to DynamoDB meets one of the faults.
async fn storm(events: usize, instances: usize, faults: Vec<Fault>, one_in: u32) {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let (dynamodb, proxy, lambda) = start(instances).await;
    let deliveries = Delivery::random(events, 40, 12, &mut random);
    let kinds = faults.clone();
    proxy.plan(move || random.random_ratio(1, one_in).then(|| *kinds.choose(&mut random).unwrap()));
    let answers = send_all_and_redrive(&lambda, &deliveries).await;
    let slowest = answers.iter().map(|answer| answer.slowest).max().unwrap();
    println!(
        "{} (seed {seed}): {events} events, {} requests, slowest {slowest:.1?}: {:?}",
        if let [fault] = faults[..] { format!("{fault:?}") } else { format!("{} kinds of fault", faults.len()) },
        proxy.requests(),
        outcomes(&answers)
    );
    Verdict::new(&dynamodb, &deliveries).assert_correct();
    assert!(slowest < LONGEST, "{slowest:?}");
    assert!(!lambda.log().contains("panicked"), "{}", lambda.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_and_pauses_ignore_the_environment_and_the_responses() {
    let mut running = tokio::task::JoinSet::new();
    for variables in [
        &[][..],
        &[("AWS_MAX_ATTEMPTS", "1")],
        &[("AWS_MAX_ATTEMPTS", "20"), ("AWS_RETRY_MODE", "adaptive")],
        &[("AWS_NEW_RETRIES_2026", "true")],
        // Used as is, these would make the SDK panic.
        &[("AWS_MAX_ATTEMPTS", "0"), ("AWS_RETRY_MODE", "none")],
    ] {
        for (fault, shortest, longest) in [
            // The third attempt is not cut short.
            (Fault::Silence, ATTEMPT_TIMEOUT * ATTEMPTS, OPERATION_TIMEOUT),
            (Fault::RetryAfter(503, "ServiceUnavailable"), Duration::ZERO, MAX_BACKOFF * (ATTEMPTS - 1)),
            (Fault::RetryAfter(400, "ThrottlingException"), Duration::ZERO, MAX_BACKOFF * (ATTEMPTS - 1)),
            (Fault::Refused(400, "ThrottlingException"), Duration::ZERO, MAX_BACKOFF * (ATTEMPTS - 1)),
        ] {
            running.spawn(async move {
                let dynamodb = DynamoDb::start().await;
                let proxy = Proxy::start(&dynamodb.url).await;
                let variables = [&[("AWS_ENDPOINT_URL_DYNAMODB", proxy.url.as_str())], variables].concat();
                let lambda = Lambda::start(&RECORDER, 1, &variables).await;
                lambda.ready(0).await;
                proxy.plan(move || Some(fault));
                let answer = lambda.invoke(task(1).to_string()).await;
                assert_eq!(answer.outcome(), "StoreUnavailable", "{variables:?} {fault:?}: {answer:?}");
                assert_eq!(proxy.requests(), u64::from(ATTEMPTS), "{variables:?} {fault:?}: {answer:?}");
                // Slack for a busy machine.
                let longest = longest + Duration::from_secs(1);
                assert!((shortest..longest).contains(&answer.slowest), "{variables:?} {fault:?}: {answer:?}");
            });
        }
    }
    running.join_all().await;
}

/// As after a freeze during which the connection was reset.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_broken_connection_the_pauses_are_short_and_after_throttling_they_are_not() {
    let (_dynamodb, proxy, lambda) = start(1).await;
    let mut took = [Duration::ZERO; 2];
    // In turns, so that a busy machine slows both down.
    for version in 1..16 {
        let faults = [Fault::ResetBefore, Fault::Refused(400, "ThrottlingException")];
        for (fault, took) in faults.into_iter().zip(&mut took) {
            proxy.fail_next(2, fault);
            let answer = lambda.invoke(task(version).to_string()).await;
            assert!(["stored", "duplicate"].contains(&answer.outcome()), "{answer:?}");
            *took += answer.slowest;
        }
    }
    // On an idle machine, about 1.3 s, and 15 s on average.
    assert!(took[0] > Duration::from_millis(15 * 2 * RECONNECT_MILLISECONDS.start()), "{took:?}");
    assert!(took[0] * 2 < took[1], "{took:?}");
}

#[tokio::test]
async fn an_outage_does_not_use_up_the_retries() {
    let (_dynamodb, proxy, lambda) = start(1).await;
    proxy.plan(|| Some(Fault::Refused(503, "ServiceUnavailable")));
    // The SDK's own bucket of retries is empty after 25.
    for version in 1..=30 {
        let before = proxy.requests();
        assert_eq!(lambda.invoke(task(version).to_string()).await.outcome(), "StoreUnavailable");
        assert_eq!(proxy.requests() - before, u64::from(ATTEMPTS), "event {version}");
    }
}

#[tokio::test]
async fn missing_credentials_are_store_rejected() {
    let dynamodb = DynamoDb::start().await;
    let variables = [
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url.as_str()),
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let lambda = Lambda::start(&RECORDER, 1, &variables).await;
    let answer = lambda.invoke(task(1).to_string()).await;
    assert_eq!(answer.outcome(), "StoreRejected", "{answer:?}");
    assert!(answer.body["errorMessage"].as_str().unwrap().contains("credentials"), "{answer:?}");
}
