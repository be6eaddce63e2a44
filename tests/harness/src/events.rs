//! Events, and the rows that they must become.

use std::fs;

use chrono::{DateTime, Days};
use serde_json::{Map, Value, json};

/// The ARN of the task in [`task`].
pub const TASK: &str = "arn:aws:ecs:eu-west-1:123456789012:task/demo/5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6";

/// A file of `events/`.
pub fn sample(name: &str) -> Value {
    let path = format!("{}/../../events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of the files of `events/`, those of `events/refused/` left out.
pub fn samples() -> Vec<String> {
    let folder = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../events")).expect("the folder");
    let mut names: Vec<String> = folder
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a Unicode name"))
        .filter_map(|name| Some(name.strip_suffix(".json")?.to_owned()))
        .collect();
    names.sort();
    names
}

/// A task state change with little in it but what is asked for.
pub fn task(version: u64) -> Value {
    json!({
        "version": "0",
        "id": format!("event-{version}"),
        "detail-type": "ECS Task State Change",
        "source": "aws.ecs",
        "time": "2026-03-02T09:14:28Z",
        "detail": {"taskArn": TASK, "version": version, "lastStatus": "RUNNING"},
    })
}

/// The row that an event must become, as DynamoDB's JSON: the schema of docs/row.md, written a second time.
pub fn row(event: &Value) -> Value {
    let mut row = Map::new();
    let status = if event["detail-type"] == "ECS Task State Change" { "lastStatus" } else { "status" };
    if ["STOPPED", "DELETED", "INACTIVE"].map(Value::from).contains(&event["detail"][status]) {
        let time = DateTime::parse_from_rfc3339(event["time"].as_str().expect("a time")).expect("a time");
        row.insert("expires_at".to_owned(), attribute(&json!((time + Days::new(30)).timestamp())));
    }
    for (field, value) in event["detail"].as_object().expect("a detail") {
        let name = if field == "status" { "current_status" } else { field };
        row.insert(name.to_owned(), attribute(value));
    }
    for (name, field) in [("cw_version", "version"), ("event_id", "id"), ("event_time", "time")] {
        if let Some(value) = event.get(field) {
            row.insert(name.to_owned(), attribute(value));
        }
    }
    Value::Object(row)
}

fn attribute(value: &Value) -> Value {
    match value {
        Value::Null => json!({"NULL": true}),
        Value::Bool(value) => json!({"BOOL": value}),
        Value::Number(value) => json!({"N": value.to_string()}),
        Value::String(value) => json!({"S": value}),
        Value::Array(values) => json!({"L": values.iter().map(attribute).collect::<Vec<_>>()}),
        Value::Object(values) => {
            let values: Map<_, _> = values.iter().map(|(name, value)| (name.clone(), attribute(value))).collect();
            json!({"M": values})
        }
    }
}
