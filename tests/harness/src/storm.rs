//! Many state changes in random order, and a check of what the tables contain afterwards.

use std::collections::BTreeMap;
use std::env;
use std::sync::OnceLock;

use rand::Rng;
use rand::seq::SliceRandom as _;
use serde_json::{Value, json};

use crate::dynamodb::{CONTAINER_INSTANCES, DynamoDb, TASKS};
use crate::events;
use crate::runtime_api::{Answer, Lambda};

/// The seed in `SEED`, or a random one. It is printed so that the run can be repeated.
pub fn seed() -> u64 {
    let seed = env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("SEED must be an integer"));
    println!("seed {seed}: SEED={seed} repeats this run");
    seed
}

/// One delivery of one version of one resource's state.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Delivery {
    /// Even for tasks, odd for container instances.
    pub resource: u32,
    pub version: u32,
}

impl Delivery {
    /// Independent random deliveries: in any order, some repeated, some versions never delivered.
    pub fn random(count: usize, resources: u32, versions: u32, random: &mut impl Rng) -> Vec<Self> {
        let mut one =
            || Self { resource: random.random_range(0..resources), version: random.random_range(0..versions) };
        (0..count).map(|_| one()).collect()
    }

    /// Every version of every resource, in bursts as in reality: a few resources at a time, shuffled, a fifth of the
    /// deliveries duplicated.
    pub fn bursts(resources: u32, versions: u32, random: &mut impl Rng) -> Vec<Self> {
        let mut deliveries = Vec::new();
        for resource in 0..resources {
            for version in 0..versions {
                let times = if random.random_ratio(1, 5) { 2 } else { 1 };
                deliveries.extend([Self { resource, version }].repeat(times));
            }
        }
        // With six versions each, about four resources are in flight at once.
        deliveries.chunks_mut(32).for_each(|burst| burst.shuffle(random));
        deliveries
    }

    pub fn table(self) -> &'static str {
        if self.resource.is_multiple_of(2) { TASKS } else { CONTAINER_INSTANCES }
    }

    fn arn(self) -> String {
        let kind = if self.table() == TASKS { "task" } else { "container-instance" };
        format!("arn:aws:ecs:eu-west-1:123456789012:{kind}/storm/{:032x}", self.resource)
    }

    /// The event: a sample with content that is unique to this version.
    pub fn event(self) -> Value {
        static SAMPLES: OnceLock<[Value; 2]> = OnceLock::new();
        let [task, instance] =
            SAMPLES.get_or_init(|| ["fargate-task-running", "container-instance-changed"].map(events::sample));
        let (sample, key) = if self.table() == TASKS { (task, "taskArn") } else { (instance, "containerInstanceArn") };
        let mut event = sample.clone();
        event["id"] = json!(format!("{}-{}", self.resource, self.version));
        event["detail"][key] = json!(self.arn());
        event["detail"]["version"] = json!(self.version);
        event["detail"][format!("only in version {}", self.version)] = json!([self.version, null, {"x": 0.5}]);
        event
    }
}

/// What the tables contain after a storm, and the writes that led there.
#[derive(Debug, Default)]
pub struct Verdict {
    pub rows: usize,
    /// Rows that differ in any way from the newest event's, are missing, or should not exist.
    pub wrong: Vec<String>,
    pub writes: usize,
    /// Writes that replaced a version with the same or a lower one.
    pub went_backwards: Vec<String>,
}

impl Verdict {
    /// Compares every row with its newest event, and every write with the previous one.
    pub fn new(dynamodb: &DynamoDb, deliveries: &[Delivery]) -> Self {
        let mut newest = BTreeMap::new();
        for delivery in deliveries {
            let newest = newest.entry(delivery.resource).or_insert(*delivery);
            *newest = (*newest).max(*delivery);
        }
        let mut verdict = Self { rows: newest.len(), ..Self::default() };
        for (table, key) in [(TASKS, "taskArn"), (CONTAINER_INSTANCES, "containerInstanceArn")] {
            let arn = |row: &Value| row[key]["S"].as_str().expect("a key").to_owned();
            let mut expected: BTreeMap<String, Value> = newest
                .values()
                .filter(|delivery| delivery.table() == table)
                .map(|delivery| (delivery.arn(), events::row(&delivery.event())))
                .collect();
            let rows = dynamodb.rows(table);
            for row in &rows {
                if expected.remove(&arn(row)).as_ref() != Some(row) {
                    verdict.wrong.push(format!("{} at version {}", arn(row), row["version"]["N"]));
                }
            }
            verdict.wrong.extend(expected.keys().map(|arn| format!("{arn} is missing")));
            // The stream must be complete: each write starts from the result of the previous one, and the last write
            // results in the row.
            let mut latest: BTreeMap<String, Value> = BTreeMap::new();
            for (before, after) in dynamodb.writes(table) {
                let version = |row: &Value| row["version"]["N"].as_str().map(|version| version.parse::<u64>().ok());
                if version(&before) >= version(&after) {
                    let (before, after) = (&before["version"]["N"], &after["version"]["N"]);
                    verdict.went_backwards.push(format!("from {before} to {after}"));
                }
                verdict.writes += 1;
                let previous = latest.insert(arn(&after), after).unwrap_or_default();
                assert_eq!(before, previous, "a write is missing from the stream");
            }
            assert!(rows.iter().all(|row| latest.get(&arn(row)) == Some(row)), "a write is missing from the stream");
        }
        verdict
    }

    pub fn assert_correct(&self) {
        assert!(self.wrong.is_empty(), "{} of {} rows are wrong: {:#?}", self.wrong.len(), self.rows, self.wrong);
        assert!(
            self.went_backwards.is_empty(),
            "{} writes went backwards: {:#?}",
            self.went_backwards.len(),
            self.went_backwards
        );
    }
}

/// Sends all events asynchronously, and waits for the final result of each.
pub async fn send_all(lambda: &Lambda, deliveries: &[Delivery]) -> Vec<Answer> {
    let sent: Vec<_> = deliveries.iter().map(|delivery| lambda.send(delivery.event().to_string())).collect();
    let mut answers = Vec::with_capacity(sent.len());
    for answer in sent {
        answers.push(lambda.wait_for(answer).await);
    }
    answers
}

/// Sends all events, and resends those that end up in the on-failure destination until none does. Returns all answers.
pub async fn send_all_and_redrive(lambda: &Lambda, deliveries: &[Delivery]) -> Vec<Answer> {
    let mut all = Vec::new();
    let mut left = deliveries.to_vec();
    for _ in 0..20 {
        let answers = send_all(lambda, &left).await;
        left = left.iter().zip(&answers).filter(|(_, answer)| answer.failed).map(|(delivery, _)| *delivery).collect();
        all.extend(answers);
        if left.is_empty() {
            return all;
        }
    }
    panic!("{} events still fail after 20 redrives: {:?}", left.len(), outcomes(&all));
}

pub fn outcomes(answers: &[Answer]) -> BTreeMap<String, usize> {
    let mut outcomes = BTreeMap::new();
    for answer in answers {
        *outcomes.entry(answer.outcome().to_owned()).or_default() += 1;
    }
    outcomes
}
