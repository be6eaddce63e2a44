//! The notifier: the real binary with the harness's Runtime API and event bus, and a real DynamoDB engine with its stream.

mod bus;
mod event;
mod news;
mod noise;

use std::time::Duration;

use chrono::{DateTime, DurationRound as _, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use ecs_state_recorder::notifier::settings::Settings;
use harness::bus::Bus;
use harness::dynamodb::{DynamoDb, TASKS};
use harness::events::{self, sample};
use harness::recorder::Recorder;
use harness::runtime_api::Lambda;
use harness::stream;

use crate::NOTIFIER;

/// The recorder, the table of tasks and its stream, the notifier, and the bus.
pub(crate) struct World {
    pub(crate) bus: Bus,
    pub(crate) dynamodb: DynamoDb,
    pub(crate) lambda: Lambda,
    pub(crate) recorder: Recorder,
}

impl World {
    async fn new() -> Self {
        Self::with(1, &[]).await
    }

    /// With this many notifiers, and variables of their environment.
    pub(crate) async fn with(instances: usize, variables: &[(&str, &str)]) -> Self {
        let (bus, dynamodb) = (Bus::start().await, DynamoDb::start_recording().await);
        let urls = [("AWS_ENDPOINT_URL_DYNAMODB", &*dynamodb.url), ("AWS_ENDPOINT_URL_EVENTBRIDGE", &bus.url)];
        let lambda = Lambda::start(&NOTIFIER, instances, &[&urls, variables].concat()).await;
        lambda.set_timeout(Duration::from_mins(1));
        let recorder = Recorder::new(&dynamodb.url);
        Self { bus, dynamodb, lambda, recorder }
    }

    /// Records events, and returns the records of the stream with a terminal state.
    async fn record(&self, events: impl IntoIterator<Item = Value>) -> Vec<Value> {
        for event in events {
            assert_eq!(self.recorder.invoke(&event.to_string()).await["outcome"], "stored", "{event}");
        }
        let is_stopped = |record: &Value| record["dynamodb"]["NewImage"]["lastStatus"]["S"] == "STOPPED";
        self.dynamodb.records(TASKS).into_iter().filter(is_stopped).collect()
    }

    /// Invokes the notifier with records. Returns the sequence number that it reports.
    async fn notify(&self, records: &[Value]) -> Option<Value> {
        let mut answer = self.lambda.invoke(stream::batch(records)).await;
        assert!(!answer.failed, "{}", answer.body);
        let failures = answer.body["batchItemFailures"].as_array_mut().expect("an array");
        assert!(failures.len() <= 1, "{failures:?}");
        failures.pop().map(|mut failure| failure["itemIdentifier"].take())
    }

    /// The lines about stops.
    fn lines(&self) -> Vec<Value> {
        let log = self.lambda.log();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")));
        lines.filter(|line| line["message"] == "stop").collect()
    }
}

/// A time in the last minutes, in the same window of six hours as the nine minutes before it.
fn recently() -> DateTime<Utc> {
    let now = Utc::now();
    let start = now.duration_trunc(TimeDelta::hours(6)).unwrap();
    if now - start > TimeDelta::minutes(10) { now } else { start - TimeDelta::seconds(1) }
}

fn arn(number: u32) -> String {
    format!("arn:aws:ecs:eu-west-1:123456789012:task/demo/{number:032x}")
}

fn text(time: DateTime<Utc>) -> Value {
    json!(time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// The event of a task of the service `web` that ended by itself with exit code 1.
pub(crate) fn stop(number: u32, stopped_at: DateTime<Utc>) -> Value {
    let mut event = sample("fargate-task-stopped");
    let started_at = stopped_at - TimeDelta::seconds(20);
    event["id"] = json!(format!("stop-{number}"));
    event["time"] = text(stopped_at);
    let detail = &mut event["detail"];
    detail["taskArn"] = json!(arn(number));
    detail["stopCode"] = json!("EssentialContainerExited");
    detail["stoppedReason"] = json!("Essential container in task exited");
    detail["containers"][0]["exitCode"] = json!(1);
    for name in ["createdAt", "connectivityAt", "pullStartedAt", "pullStoppedAt", "startedAt"] {
        detail[name] = text(started_at);
    }
    for name in ["stoppingAt", "executionStoppedAt", "stoppedAt", "updatedAt"] {
        detail[name] = text(stopped_at);
    }
    event
}

/// The value with the one at this path replaced, or removed if the new one is null.
fn with(mut value: Value, path: &str, new: Value) -> Value {
    let (parent, name) = path.rsplit_once('/').unwrap();
    let fields = value.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    fields.remove(name);
    if !new.is_null() {
        fields.insert(name.to_owned(), new);
    }
    value
}

/// The event of the same task while it was running.
pub(crate) fn running(stop: &Value) -> Value {
    let mut event = stop.clone();
    event["id"] = json!("running");
    event["detail"]["version"] = json!(3);
    event["detail"]["lastStatus"] = json!("RUNNING");
    event["detail"]["desiredStatus"] = json!("RUNNING");
    for name in ["stoppingAt", "executionStoppedAt", "stoppedAt", "stopCode", "stoppedReason"] {
        event["detail"].as_object_mut().unwrap().remove(name);
    }
    event
}

/// Both events.
fn life(stop: Value) -> [Value; 2] {
    [running(&stop), stop]
}

fn record(number: u32, before: Value, after: Value) -> Value {
    stream::record(&arn(number), number, before, after)
}

/// The record of a stop whose task was running before.
fn stopped(number: u32, stop: &Value) -> Value {
    record(number, events::row(&running(stop)), events::row(stop))
}

#[test]
fn the_bus_is_the_default_one_or_has_a_valid_name_or_arn() {
    let read = |bus: Option<&str>| {
        Settings::read(|name| bus.filter(|_| name == "NOTIFICATION_BUS_NAME").map(Into::into))
            .map(|settings| settings.bus)
    };
    assert_eq!(read(None).unwrap(), "default");
    let arn = "arn:aws:events:eu-west-1:123456789012:event-bus/stops";
    assert_eq!(read(Some(arn)).unwrap(), arn);
    for bus in ["", "a b", "café", &"x".repeat(1_601)] {
        let expected = format!("NOTIFICATION_BUS_NAME must be the name or the ARN of an event bus, found {bus:?}");
        assert_eq!(read(Some(bus)).unwrap_err().to_string(), expected);
    }
}
