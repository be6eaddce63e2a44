//! A minute at five times the table's capacity: nothing is lost, and everything is stored by the time in docs/scale.md.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use harness::dynamodb::DynamoDb;
use harness::events;
use harness::proxy::Proxy;
use harness::runtime_api::{Answer, Lambda};
use harness::storm::{Delivery, Verdict, seed};

use crate::RECORDER;

/// The length of the burst, and Lambda's wait before an event's second attempt. Before the third, it waits for two.
const MINUTE: Duration = Duration::from_mins(1);
/// The table's capacity in write units a second: low enough for two cores to send five times as much.
const CAPACITY: f64 = 40.0;
/// The write units of one row.
const ROW: f64 = 2.0;
/// The page describes a new table, with a capacity of 4,000. Instances and the redrive are scaled down in proportion.
const SCALE: f64 = CAPACITY / 4000.0;
/// The events that `ops/redrive.py` sends a second.
const REDRIVE: f64 = 1000.0 * SCALE;

/// `make storm`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "eight minutes: make storm"]
async fn a_minute_at_five_times_the_capacity_is_stored_as_the_page_says() {
    let mut storm = Delivery::bursts(1500, 4, &mut StdRng::seed_from_u64(seed()));
    // 6,000 events, all of tasks: the other table has its own capacity.
    storm.truncate(5 * 20 * 60);
    for delivery in &mut storm {
        delivery.resource *= 2;
    }
    let dynamodb = DynamoDb::start().await;
    for delivery in storm.iter().step_by(100) {
        let [units, _] = dynamodb.put_and_count(&events::row(&delivery.event()));
        assert!((units - ROW).abs() < f64::EPSILON, "a row of {units} write units");
    }
    let mut running = JoinSet::new();
    for column in ["5 times", "5 times, 20 instances"] {
        running.spawn(overload(column, storm.clone()));
    }
    // Each runs to its end, even if another one fails.
    let mut failed = 0;
    while let Some(column) = running.join_next().await {
        failed += usize::from(column.is_err());
    }
    assert_eq!(failed, 0, "columns of docs/scale.md that are wrong");
}

/// Compares the storm, and a redrive of the failure queue, with a column of the page.
async fn overload(column: &'static str, storm: Vec<Delivery>) {
    let page = Page::new(column);
    let dynamodb = DynamoDb::start_recording().await;
    let proxy = Proxy::start(&dynamodb.url).await;
    proxy.throttle(CAPACITY, ROW);
    let busy = page.says("instances of the recorder") * SCALE;
    // Where instances are not limited, a quarter more than are busy on average.
    let most = if column.contains("instances") { busy } else { 1.25 * busy };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "less than 200")]
    let instances = most.ceil() as usize;
    let lambda = Lambda::start(&RECORDER, instances, &[("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url)]).await;
    lambda.set_retry_waits([MINUTE, 2 * MINUTE]);
    for instance in 0..instances {
        lambda.ready(instance).await;
    }

    let start = Instant::now();
    let answers = send(column, &lambda, &storm, 5.0 * CAPACITY / ROW).await;
    let lambdas = start.elapsed();
    let queue: Vec<_> = answers.iter().filter(|(_, answer)| answer.failed).map(|(delivery, _)| *delivery).collect();
    let redriven = send(column, &lambda, &queue, REDRIVE).await;
    let all = start.elapsed();

    let invocations = answers.iter().chain(&redriven).map(|(_, answer)| answer.deliveries as usize).sum();
    let outcomes = outcomes(&lambda, invocations).await;
    println!("{column}: {instances} instances, {} requests to DynamoDB: {outcomes:?}", proxy.requests());
    let left = redriven.iter().filter(|(_, answer)| answer.failed).count();
    assert_eq!(left, 0, "left in the failure queue");
    let recorded: usize = ["stored", "stale", "duplicate"].iter().filter_map(|outcome| outcomes.get(*outcome)).sum();
    assert_eq!(recorded, storm.len(), "each event is recorded once: {outcomes:?}");
    let failed = outcomes.get("StoreUnavailable").copied().unwrap_or_default();
    assert_eq!(recorded + failed, invocations, "no other outcome: {outcomes:?}");
    Verdict::new(&dynamodb, &storm).assert_correct();

    let share = |is: &dyn Fn(&Answer) -> bool| {
        let count = answers.iter().filter(|(_, answer)| is(answer)).count();
        100.0 * f64::from(u32::try_from(count).unwrap()) / f64::from(u32::try_from(storm.len()).unwrap())
    };
    let stored = |attempt| share(&|answer| !answer.failed && answer.deliveries == attempt);
    // One percentage point more, since shares near 0 consist of a few events.
    page.expect("stored at the first attempt", stored(1), 1.0);
    page.expect("stored at the second", stored(2), 1.0);
    page.expect("stored at the third", stored(3), 1.0);
    page.expect("in the failure queue", share(&|answer| answer.failed), 1.0);
    let minutes = |time: Duration| 60.0 * time.as_secs_f64() / MINUTE.as_secs_f64();
    page.expect("seconds until Lambda is done", minutes(lambdas), 0.0);
    page.expect("seconds until all is stored", minutes(all), 0.0);
}

/// Sends events at a rate of `a_second`, and waits for the final result of each.
async fn send(column: &str, lambda: &Lambda, events: &[Delivery], a_second: f64) -> Vec<(Delivery, Answer)> {
    let start = Instant::now();
    let mut running = JoinSet::new();
    for (number, &delivery) in (0_u32..).zip(events) {
        sleep_until(start + Duration::from_secs_f64(f64::from(number) / a_second)).await;
        let answer = lambda.send(delivery.event().to_string());
        running.spawn(async move { (delivery, answer.await.expect("an answer")) });
    }
    let mut answers = Vec::new();
    let mut shown = Instant::now();
    // For two minutes between attempts, there are no answers.
    while let Some(answer) = timeout(5 * MINUTE, running.join_next()).await.expect("an answer within five minutes") {
        answers.push(answer.unwrap());
        if shown.elapsed() > MINUTE / 4 {
            println!("{column}: {} of {} events after {:.0?}", answers.len(), events.len(), start.elapsed());
            shown = Instant::now();
        }
    }
    answers
}

/// How many invocations had each outcome, from the log, which is polled until it contains all of them.
async fn outcomes(lambda: &Lambda, invocations: usize) -> BTreeMap<String, usize> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut outcomes = BTreeMap::new();
        // The last line may still be incomplete.
        for line in lambda.log().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            if line["message"] == "invocation" {
                *outcomes.entry(line["outcome"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        if outcomes.values().sum::<usize>() >= invocations || Instant::now() > deadline {
            return outcomes;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// A column of the page's table of bursts.
struct Page {
    column: &'static str,
    values: BTreeMap<&'static str, f64>,
}

impl Page {
    fn new(column: &'static str) -> Self {
        let lines = include_str!("../../docs/scale.md").lines().skip_while(|line| !line.starts_with("| a minute of |"));
        let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim);
        let mut rows = lines.take_while(|line| line.starts_with('|')).map(cells);
        let position = rows.next().unwrap().position(|head| head == column).unwrap();
        let number = |text: &str| text.trim_end_matches(" %").replace(',', "").parse().unwrap();
        let values =
            rows.skip(1).map(|mut row| (row.next().unwrap(), number(row.nth(position - 1).unwrap()))).collect();
        Self { column, values }
    }

    fn says(&self, name: &str) -> f64 {
        *self.values.get(name).unwrap_or_else(|| panic!("docs/scale.md does not say {name}"))
    }

    /// The measured figure must be within a quarter of the page's figure, plus `more`.
    fn expect(&self, name: &str, measured: f64, more: f64) {
        let says = self.says(name);
        println!("{}: {name}: {measured:.1}, the page says {says}", self.column);
        assert!((measured - says).abs() <= says / 4.0 + more, "{}: {name} is {measured}, not {says}", self.column);
    }
}
