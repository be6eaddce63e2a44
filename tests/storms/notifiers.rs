//! Whatever the order, the duplicates and the number of concurrent instances, and although processes are killed, each
//! task's first stop is announced at least once, under one identity.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use harness::bus::Answer;
use harness::dynamodb::TASKS;
use harness::runtime_api::Lambda;
use harness::storm::seed;
use harness::stream::deliver;

use crate::RECORDER;
use crate::notifier::{World, running, stop};

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_with_kills_announces_every_first_stop_at_least_once_under_one_identity() {
    const TASK_COUNT: u32 = 80;
    const SHARDS: usize = 4;
    let mut random = StdRng::seed_from_u64(seed());
    let world = World::with(SHARDS, &[]).await;

    // Up to four versions of each task, repeated and shuffled. Two of them are terminal.
    let mut events = Vec::new();
    let mut expected = BTreeSet::new();
    for number in 0..TASK_COUNT {
        let stop = stop(number, Utc::now() - TimeDelta::seconds(random.random_range(0..120)));
        let mut versions = vec![running(&stop), running(&stop), stop.clone(), stop];
        for (version, event) in versions.iter_mut().enumerate() {
            event["detail"]["version"] = json!(version);
        }
        versions.retain(|_| random.random_ratio(3, 4));
        let stops = versions.iter().filter(|event| event["detail"]["lastStatus"] == "STOPPED");
        expected.extend(stops.map(|event| event["detail"]["taskArn"].to_string()));
        events.extend(versions.first().cloned());
        events.append(&mut versions);
    }
    events.shuffle(&mut random);
    let recorder = Lambda::start(&RECORDER, 4, &[("AWS_ENDPOINT_URL_DYNAMODB", &world.dynamodb.url)]).await;
    let sent: Vec<_> = events.iter().map(|event| recorder.send(event.to_string())).collect();
    for answer in sent {
        assert!(!recorder.wait_for(answer).await.failed);
    }

    // Each shard in order, all shards at once, while the bus fails now and then and processes are killed.
    let faults = [
        Answer::EntryRefused("InternalFailure"),
        Answer::Refused(500, "InternalException"),
        Answer::Refused(400, "ThrottlingException"),
    ];
    let dice = Mutex::new(StdRng::seed_from_u64(random.random()));
    world.bus.plan(move |_, _| {
        let mut dice = dice.lock().unwrap();
        if dice.random_ratio(1, 15) { faults[dice.random_range(0..faults.len())] } else { Answer::Accepted }
    });
    let mut shards: Vec<Vec<Value>> = vec![Vec::new(); SHARDS];
    for record in world.dynamodb.records(TASKS) {
        let arn = record["dynamodb"]["Keys"]["taskArn"]["S"].as_str().unwrap();
        shards[usize::from(*arn.as_bytes().last().unwrap()) % SHARDS].push(record);
    }
    let killer = async {
        loop {
            let (instance, wait) = (random.random_range(0..SHARDS), random.random_range(100..900));
            tokio::time::sleep(Duration::from_millis(wait)).await;
            world.lambda.signal(instance, Signal::SIGKILL);
        }
    };
    let left = join_all(shards.iter().map(|shard| deliver(&world.lambda, shard, 7, 1_000)));
    tokio::select! {
        left = left => assert_eq!(left, [0; SHARDS], "records are left; {}", world.lambda.log()),
        () = killer => {}
    }

    let mut announced: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for detail in world.bus.details() {
        announced.entry(detail["taskArn"].to_string()).or_default().insert(detail["taskVersion"].as_u64().unwrap());
    }
    assert_eq!(announced.keys().cloned().collect::<BTreeSet<_>>(), expected);
    assert!(announced.values().all(|versions| versions.len() == 1), "{announced:?}");
    let kills = world.lambda.deaths_by(Signal::SIGKILL);
    println!("{} stops, {} events, {kills} kills", announced.len(), world.bus.entries().len());
    assert!(kills > 0);
}
