//! The event: its form, and what is never in it.

use std::collections::BTreeSet;
use std::fs;

use chrono::TimeDelta;
use ecs_model::diagnosis::{Actor, Cause, Code, Kind};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use harness::bus::{Answer, Bus};
use harness::dynamodb::DynamoDb;
use harness::events::{self, sample};
use harness::runtime_api::Lambda;
use harness::storm::seed;
use harness::stream::batch;

use super::{World, life, recently, record, stop, stopped, text};
use crate::NOTIFIER;

fn file(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The first violation of a JSON schema, of the keywords that ours uses.
fn violation(schema: &Value, value: &Value, path: &str) -> Option<String> {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let mut problem = None;
    for (keyword, expected) in schema.as_object().unwrap() {
        let list = || expected.as_array().unwrap();
        let is_ok = match keyword.as_str() {
            "type" => expected == kind || expected.as_array().is_some_and(|kinds| kinds.contains(&json!(kind))),
            "const" => value == expected,
            "enum" => list().contains(value),
            "required" => list().iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
            "maxLength" => value.as_str().is_none_or(|text| text.len() as u64 <= expected.as_u64().unwrap()),
            "minimum" => value.as_u64().is_none_or(|number| number >= expected.as_u64().unwrap()),
            "format" => value.as_str().is_none_or(|time| chrono::DateTime::parse_from_rfc3339(time).is_ok()),
            "additionalProperties" => {
                value.as_object().unwrap().keys().all(|name| schema["properties"].get(name).is_some())
            }
            "items" => {
                let mut items = value.as_array().unwrap().iter();
                problem = problem.or_else(|| items.find_map(|item| violation(expected, item, path)));
                true
            }
            "properties" => {
                let mut fields = value.as_object().unwrap().iter();
                problem = problem.or_else(|| {
                    fields.find_map(|(name, field)| violation(expected.get(name)?, field, &format!("{path}.{name}")))
                });
                true
            }
            "$schema" | "$id" | "title" | "description" => true,
            other => panic!("unknown keyword {other}"),
        };
        problem = problem.or_else(|| (!is_ok).then(|| format!("{path} violates {keyword}: {value}")));
    }
    problem
}

/// Checks an entry as it is sent, and returns its detail.
fn detail(mut entry: Value) -> Value {
    let detail = entry["Detail"].take();
    let expected = json!({"Source": "ecs-state-recorder", "DetailType": "ECS Task Stopped", "EventBusName": "default", "Detail": null});
    assert_eq!(entry, expected);
    assert_eq!(violation(&file("docs/task-stopped.schema.json"), &detail, "detail"), None);
    detail
}

#[tokio::test]
async fn the_sample_is_what_the_binary_sends_and_both_meet_the_schema() {
    let expected = file("events/notifications/task-stopped.json");
    let world = World::new().await;
    let stopped_at = recently();
    let mut stop = stop(0, stopped_at);
    stop["detail"]["taskArn"] = expected["detail"]["taskArn"].clone();
    let container = &mut stop["detail"]["containers"][0];
    container["exitCode"] = json!(137);
    container["reason"] = json!("OutOfMemoryError: Container killed due to memory usage");
    let records = world.record(life(stop)).await;
    assert_eq!(world.notify(&records).await, None);
    let mut found = detail(world.bus.entries().pop().unwrap());
    // Times are the only difference.
    assert_eq!(found["startedAt"], text(stopped_at - TimeDelta::seconds(20)));
    assert_eq!(found["stoppedAt"], text(stopped_at));
    for field in ["startedAt", "stoppedAt"] {
        found[field] = expected["detail"][field].clone();
    }
    assert_eq!(found, expected["detail"]);
    assert_eq!(violation(&file("docs/task-stopped.schema.json"), &found, "detail"), None);
}

#[test]
fn the_schema_has_all_codes_causes_actors_and_kinds() {
    let schema = file("docs/task-stopped.schema.json");
    let names = |field: &str| -> BTreeSet<String> {
        let names = schema["properties"][field]["enum"].as_array().unwrap();
        names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    assert_eq!(names("code"), Code::all().map(|code| code.to_string()).collect());
    assert_eq!(names("cause"), Cause::all().map(|cause| cause.to_string()).collect());
    assert_eq!(names("actor"), Actor::all().map(|actor| actor.to_string()).collect());
    assert_eq!(names("kind"), Kind::all().map(|kind| kind.to_string()).collect());
}

/// Tests put this secret wherever a person or a program can write one.
const SECRET: &str = "hunter2";

#[tokio::test]
async fn a_secret_is_never_in_the_event_the_log_or_the_answer() {
    let (bus, dynamodb) = (Bus::start().await, DynamoDb::start().await);
    let variables = [
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", bus.url.as_str()),
        ("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb.url),
        ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
        ("RUST_LOG", "trace"),
    ];
    let lambda = Lambda::start(&NOTIFIER, 1, &variables).await;
    let now = recently();
    let mut records = Vec::new();
    for (number, (stop_code, reason, exit_code, container_reason)) in (0..).zip([
        ("EssentialContainerExited", "Essential container in task exited", json!(1), SECRET),
        ("UserInitiated", SECRET, json!(137), ""),
        ("TaskFailedToStart", SECRET, json!(null), ""),
        (SECRET, SECRET, json!(null), SECRET),
        ("EssentialContainerExited", SECRET, json!(127), r#"exec: "hunter2": executable file not found in $PATH"#),
        (
            "TaskFailedToStart",
            "Task failed to start",
            json!(128),
            r#"CannotStartContainerError: Error response from daemon: runc create failed: exec: "hunter2": permission denied"#,
        ),
        (
            "TaskFailedToStart",
            "CannotPullContainerError: pull image manifest has been retried 5 time(s): https://me:hunter2@example.com/x: not found",
            json!(null),
            "",
        ),
    ]) {
        let mut stop = stop(number, now);
        let detail = &mut stop["detail"];
        detail["stopCode"] = json!(stop_code);
        detail["stoppedReason"] = json!(reason);
        detail["containers"][0]["exitCode"] = exit_code;
        detail["containers"][0]["reason"] = json!(container_reason);
        detail["overrides"] = json!({"containerOverrides": [{
            "name": "web", "command": ["login", SECRET], "environment": [{"name": "PASSWORD", "value": SECRET}],
        }]});
        detail["tags"] = json!([{"key": "x", "value": SECRET}]);
        detail[SECRET] = json!(SECRET);
        records.push(stopped(number, &stop));
    }
    let mut odd = records[0].clone();
    odd["dynamodb"]["NewImage"]["stoppedAt"] = json!({"S": SECRET});
    records.push(odd);
    records.push(json!({"dynamodb": {"NewImage": SECRET, "SequenceNumber": [SECRET]}}));
    let stops = records.len() - 1;
    for answer in [
        Answer::EntryRefused("InternalFailure"),
        Answer::EntryRefused(SECRET),
        Answer::Refused(400, "ValidationException"),
        Answer::Refused(500, SECRET),
        Answer::NotJson,
        Answer::Accepted,
    ] {
        bus.plan(move |_, _| answer);
        let answered = lambda.invoke(batch(&records)).await;
        assert!(!answered.failed && !answered.body.to_string().contains(SECRET), "{answered:?}");
    }
    let entries = bus.entries();
    assert_eq!(entries.len(), stops);
    for entry in entries {
        assert!(!entry.to_string().contains(SECRET), "{entry}");
        detail(entry);
    }
    let log = lambda.log();
    assert!(log.contains("unreadable") && log.contains("retried") && log.contains("announced"), "{log}");
    assert!(!log.contains(SECRET), "{log}");
}

#[tokio::test]
async fn control_characters_and_markdown_are_escaped_and_long_texts_are_shortened() {
    let world = World::new().await;
    let mut hostile = stop(0, recently());
    hostile["detail"]["group"] = json!("<!channel> *a_b* [x](http://y) `z`\u{1b}[2J\u{202e}\n&_c_");
    let mut huge = stop(1, recently());
    let detail_of_huge = &mut huge["detail"];
    for name in ["group", "startedBy", "clusterArn", "taskDefinitionArn", "stopCode"] {
        detail_of_huge[name] = json!("\u{1b}".repeat(1_500));
    }
    detail_of_huge["taskArn"] = json!("\"".repeat(2_048));
    detail_of_huge["containers"][0]["name"] = json!("<é".repeat(20_000));
    let container = detail_of_huge["containers"][0].clone();
    detail_of_huge["containers"] = json!(vec![container; 3]);
    assert_eq!(world.notify(&[stopped(0, &hostile), stopped(1, &huge)]).await, None);
    let [hostile, huge] = world.bus.entries().try_into().unwrap();
    let hostile = detail(hostile);
    assert_eq!(hostile["group"], "<!channel> *a_b* [x](http://y) `z`\\u{1b}[2J\\u{202e}\\n&_c_");
    assert_eq!(
        hostile["chat"]["content"]["title"],
        "&lt;!channel&gt; \\*a_b\\* \\[x\\](http://y) \\`z\\`\\\\u{1b}\\[2J\\\\u{202e}\\\\n&amp;\\_c\\_ in demo: ApplicationError"
    );
    let size = huge["Detail"].to_string().len();
    assert!(size < 64 * 1024, "{size} bytes");
    let huge = detail(huge);
    assert_eq!(huge["taskArn"].as_str().unwrap().len(), 2_048);
    let lengths = ["group", "clusterArn", "container"].map(|name| huge[name].as_str().unwrap().len());
    assert!(lengths[0] <= 256 && lengths[1] <= 1_024 && lengths[2] <= 256, "{lengths:?}");
    for name in ["group", "summary", "container"] {
        assert!(huge[name].as_str().unwrap().ends_with('…'), "{}", huge[name]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_record_fails_its_batch_or_panics() {
    const BATCHES: usize = 25;
    let world = World::new().await;
    let mut random = StdRng::seed_from_u64(seed());
    let names: Vec<String> = events::samples();
    for _ in 0..BATCHES {
        let records: Vec<Value> = (0..80).map(|number| mutated(number, &names, &mut random)).collect();
        world.notify(&records).await;
    }
    for entry in world.bus.entries() {
        detail(entry);
    }
    let outcomes: BTreeSet<String> = world.lines().iter().map(|line| line["outcome"].to_string()).collect();
    assert!(outcomes.len() >= 3, "{outcomes:?}");
    assert_eq!(world.lambda.deaths(), 0, "{}", world.lambda.log());
    assert!(!world.lambda.log().contains("panicked"), "{}", world.lambda.log());
}

/// A record of a sample event in which a few values are replaced by others.
fn mutated(number: u32, names: &[String], random: &mut StdRng) -> Value {
    let mut event = if random.random_ratio(1, 2) {
        stop(number, recently())
    } else {
        sample(&names[random.random_range(0..names.len())])
    };
    for _ in 0..random.random_range(0..3) {
        event["detail"].as_object_mut().unwrap().values_mut().for_each(|value| {
            if random.random_ratio(1, 20) {
                mutate(value, random);
            }
        });
    }
    let row = events::row(&event);
    let mut record = record(number, None, Some(&row));
    for _ in 0..random.random_range(0..2) {
        mutate(&mut record, random);
    }
    record
}

/// Replaces a random value somewhere in this one.
fn mutate(value: &mut Value, random: &mut StdRng) {
    let deeper = random.random_ratio(4, 5);
    match value {
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let chosen = random.random_range(0..fields.len());
            mutate(fields.values_mut().nth(chosen).unwrap(), random);
        }
        Value::Array(values) if deeper && !values.is_empty() => {
            let chosen = random.random_range(0..values.len());
            mutate(&mut values[chosen], random);
        }
        other => {
            let others = r#"[null, true, -1, 1e308, 18446744073709551615, "", "9999-12-31T23:59:60Z", "\u0000\u202e…é\"", [],
                {}, "0000-01-01T00:00:00Z", {"S": "x"}, [null, {"a": []}]]"#;
            let others: Vec<Value> = serde_json::from_str(others).unwrap();
            *other = others[random.random_range(0..others.len())].clone();
        }
    }
}
