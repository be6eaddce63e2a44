//! The event: its form, and what is never in it.

use std::collections::BTreeSet;
use std::fs;

use chrono::TimeDelta;
use ecs_model::diagnosis::{Actor, Cause, Code, Kind};
use serde_json::{Value, json};

use harness::bus::Answer;
use harness::stream::batch;

use super::{World, life, recently, stop, stopped, text, with};

fn file(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The detail of an entry. The emulator's tests hold it against the schema.
fn detail(mut entry: Value) -> Value {
    let detail = entry["Detail"].take();
    let expected = json!({"Source": "ecs-state-recorder", "DetailType": "ECS Task Stopped", "EventBusName": "default"});
    assert_eq!(with(entry, "/Detail", Value::Null), expected);
    detail
}

#[tokio::test]
async fn the_sample_is_what_the_binary_sends() {
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
    let (exited, not_started) = ("EssentialContainerExited", "TaskFailedToStart");
    let cases = [
        (exited, "Essential container in task exited", json!(1), SECRET),
        ("UserInitiated", SECRET, json!(137), ""),
        (not_started, SECRET, json!(null), ""),
        (SECRET, SECRET, json!(null), SECRET),
        (exited, SECRET, json!(127), r#"exec: "hunter2": executable file not found in $PATH"#),
        (
            not_started,
            "",
            json!(128),
            r#"CannotStartContainerError: runc create failed: exec: "hunter2": permission denied"#,
        ),
        (not_started, "CannotPullContainerError: https://me:hunter2@example.com/x: not found", json!(null), ""),
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
    let group = "<!channel> *a_b* [x](http://y) `z`\u{1b}[2J\u{202e}\n&_c_";
    let hostile = with(stop(0, recently()), "/detail/group", json!(group));
    let mut huge = stop(1, recently());
    for name in ["group", "startedBy", "clusterArn", "taskDefinitionArn", "stopCode"] {
        huge["detail"][name] = json!("\u{1b}".repeat(1_500));
    }
    huge["detail"]["taskArn"] = json!("\"".repeat(2_048));
    huge["detail"]["containers"][0]["name"] = json!("<é".repeat(20_000));
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
