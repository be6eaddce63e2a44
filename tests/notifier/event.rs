//! The event: its form, and what is never in it.

use std::collections::BTreeSet;
use std::fs;

use chrono::{DateTime, TimeDelta};
use ecs_model::diagnosis::{Actor, Cause, Code, Kind};
use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom as _, IndexedRandom as _, IteratorRandom as _};
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use harness::bus::Answer;
use harness::events::{self, sample};
use harness::storm::seed;
use harness::stream::batch;

use super::{World, life, recently, record, stop, stopped, text, with};

fn file(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Checks a value against a JSON schema, of the keywords that ours uses.
fn check(schema: &Value, value: &Value, path: &str) {
    for (keyword, expected) in schema.as_object().unwrap_or_else(|| panic!("{path} is not in the schema")) {
        let mut names = expected.as_array().into_iter().flatten();
        let is_ok = match (keyword.as_str(), value) {
            ("properties", Value::Object(fields)) => {
                fields.iter().for_each(|(name, field)| check(&expected[name], field, &format!("{path}.{name}")));
                true
            }
            ("items", Value::Array(items)) => {
                items.iter().for_each(|item| check(expected, item, path));
                true
            }
            ("type", _) => {
                let kind = match value {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(_) => "integer",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                };
                expected == kind || names.any(|name| name == kind)
            }
            ("const", _) => value == expected,
            ("enum", _) => names.any(|name| name == value),
            ("required", _) => names.all(|name| value.get(name.as_str().unwrap()).is_some()),
            ("maxLength", Value::String(text)) => text.len() as u64 <= expected.as_u64().unwrap(),
            ("minimum", Value::Number(number)) => number.as_f64() >= expected.as_f64(),
            ("format", Value::String(time)) => DateTime::parse_from_rfc3339(time).is_ok(),
            ("maxLength" | "minimum" | "format", Value::Null) => true,
            // A field that is not in the schema has failed above.
            ("additionalProperties" | "$schema" | "title" | "description", _) => true,
            _ => false,
        };
        assert!(is_ok, "{path} violates {keyword}: {value}");
    }
}

/// Checks an entry as it is sent, and returns its detail.
fn detail(mut entry: Value) -> Value {
    let detail = entry["Detail"].take();
    let expected = json!({"Source": "ecs-state-recorder", "DetailType": "ECS Task Stopped", "EventBusName": "default", "Detail": null});
    assert_eq!(entry, expected);
    check(&file("docs/task-stopped.schema.json"), &detail, "detail");
    detail
}

#[tokio::test]
async fn the_sample_is_what_the_binary_sends_and_meets_the_schema() {
    let mut expected = file("events/notifications/task-stopped.json")["detail"].take();
    let world = World::new().await;
    let stopped_at = recently();
    let mut stop = with(stop(0, stopped_at), "/detail/taskArn", expected["taskArn"].clone());
    stop["detail"]["containers"][0]["exitCode"] = json!(137);
    stop["detail"]["containers"][0]["reason"] = json!("OutOfMemoryError: Container killed due to memory usage");
    let records = world.record(life(stop)).await;
    assert_eq!(world.notify(&records).await, None);
    // Times are the only difference.
    expected["startedAt"] = text(stopped_at - TimeDelta::seconds(20));
    expected["stoppedAt"] = text(stopped_at);
    assert_eq!(world.bus.entries().into_iter().map(detail).collect::<Vec<_>>(), [expected]);
}

#[test]
fn the_schema_has_all_codes_causes_actors_and_kinds() {
    let schema = file("docs/task-stopped.schema.json");
    let all: [(&str, BTreeSet<String>); 4] = [
        ("code", Code::all().map(|code| code.to_string()).collect()),
        ("cause", Cause::all().map(|cause| cause.to_string()).collect()),
        ("actor", Actor::all().map(|actor| actor.to_string()).collect()),
        ("kind", Kind::all().map(|kind| kind.to_string()).collect()),
    ];
    for (field, expected) in all {
        let names = schema["properties"][field]["enum"].as_array().unwrap().iter();
        assert_eq!(names.filter_map(Value::as_str).map(str::to_owned).collect::<BTreeSet<_>>(), expected, "{field}");
    }
}

/// Tests put this secret wherever a person or a program can write one.
const SECRET: &str = "hunter2";

#[tokio::test]
async fn a_secret_is_never_in_the_event_the_log_or_the_answer() {
    let world = World::with(1, &[("AWS_LAMBDA_LOG_LEVEL", "TRACE"), ("RUST_LOG", "trace")]).await;
    const EXITED: &str = "EssentialContainerExited";
    const NOT_STARTED: &str = "TaskFailedToStart";
    let cases = [
        (EXITED, "Essential container in task exited", json!(1), SECRET),
        ("UserInitiated", SECRET, json!(137), ""),
        (NOT_STARTED, SECRET, json!(null), ""),
        (SECRET, SECRET, json!(null), SECRET),
        (EXITED, SECRET, json!(127), r#"exec: "hunter2": executable file not found in $PATH"#),
        (
            NOT_STARTED,
            "",
            json!(128),
            r#"CannotStartContainerError: runc create failed: exec: "hunter2": permission denied"#,
        ),
        (NOT_STARTED, "CannotPullContainerError: https://me:hunter2@example.com/x: not found", json!(null), ""),
    ];
    let mut records = Vec::new();
    for (number, (stop_code, reason, exit_code, container_reason)) in (0..).zip(cases) {
        let mut stop = stop(number, recently());
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
    records.push(with(records[0].clone(), "/dynamodb/NewImage/stoppedAt", json!({"S": SECRET})));
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
        world.bus.plan(move |_, _| answer);
        let answered = world.lambda.invoke(batch(&records)).await;
        assert!(!answered.failed && !answered.body.to_string().contains(SECRET), "{answered:?}");
    }
    let entries = world.bus.entries();
    assert_eq!(entries.len(), stops);
    for entry in entries {
        assert!(!detail(entry).to_string().contains(SECRET));
    }
    let log = world.lambda.log();
    assert!(["unreadable", "retried", "announced"].iter().all(|outcome| log.contains(outcome)), "{log}");
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
    let world = World::new().await;
    let mut random = StdRng::seed_from_u64(seed());
    let names = events::samples();
    for _ in 0..25 {
        let records: Vec<Value> = (0..80).map(|number| mutated(number, &names, &mut random)).collect();
        world.notify(&records).await;
    }
    world.bus.entries().into_iter().for_each(|entry| drop(detail(entry)));
    let outcomes: BTreeSet<String> = world.lines().iter().map(|line| line["outcome"].to_string()).collect();
    assert!(outcomes.len() >= 3, "{outcomes:?}");
    assert_eq!(world.lambda.deaths(), 0, "{}", world.lambda.log());
    assert!(!world.lambda.log().contains("panicked"), "{}", world.lambda.log());
}

/// A record of a sample event in which a few values are replaced by others.
fn mutated(number: u32, names: &[String], random: &mut StdRng) -> Value {
    let mut event = match random.random_ratio(1, 2) {
        true => stop(number, recently()),
        false => sample(names.choose(random).unwrap()),
    };
    for value in event["detail"].as_object_mut().unwrap().values_mut() {
        if random.random_ratio(1, 20) {
            mutate(value, random);
        }
    }
    let mut record = record(number, Value::Null, events::row(&event));
    if random.random_ratio(1, 2) {
        mutate(&mut record, random);
    }
    record
}

/// Replaces a random value somewhere in this one.
fn mutate(value: &mut Value, random: &mut StdRng) {
    const OTHERS: &str = r#"[null, true, -1, 1e308, 18446744073709551615, "", "9999-12-31T23:59:60Z", "\u0000\u202e…é\"", [],
        {}, "0000-01-01T00:00:00Z", {"S": "x"}, [null, {"a": []}]]"#;
    let inner = match value {
        Value::Object(fields) => fields.values_mut().choose(random),
        Value::Array(values) => values.choose_mut(random),
        _ => None,
    };
    match inner.filter(|_| random.random_ratio(4, 5)) {
        Some(inner) => mutate(inner, random),
        None => {
            let others: Vec<Value> = serde_json::from_str(OTHERS).unwrap();
            *value = others.choose(random).unwrap().clone();
        }
    }
}
