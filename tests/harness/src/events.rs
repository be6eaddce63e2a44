//! Events, and the rows expected of them.

use std::fs;

use chrono::{DateTime, Days};
use serde_json::{Map, Value, json};

/// The ARN of the task in [`task`].
pub const TASK: &str = "arn:aws:ecs:eu-west-1:123456789012:task/demo/5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6";

/// The event in a file of `events/`, named without its extension.
pub fn sample(name: &str) -> Value {
    let path = format!("{}/../../events/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of the files in `events/`, except those in `events/refused/`.
pub fn samples() -> Vec<String> {
    let folder = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../events")).expect("the folder");
    let mut names: Vec<String> = folder
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a Unicode name"))
        .filter_map(|name| Some(name.strip_suffix(".json")?.to_owned()))
        .collect();
    names.sort();
    names
}

/// A minimal task state change.
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

/// The row expected of an event, as DynamoDB's JSON: an independent implementation of docs/row.md.
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
    index(&mut row);
    Value::Object(row)
}

/// Adds the keys of the index to the row of a task.
fn index(row: &mut Map<String, Value>) {
    let text = |name: &str| row.get(name).and_then(|value| value["S"].as_str());
    let (Some(_), Some(cluster)) = (text("taskArn"), text("clusterArn")) else { return };
    let time = |name| {
        let mut texts = [name, "event_time", "reconciled_at"].into_iter().filter_map(text);
        let time = texts.find_map(|text| DateTime::parse_from_rfc3339(text).ok());
        time.map(|time| time.to_utc().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()).unwrap_or_default()
    };
    let sort_key = match text("lastStatus") {
        Some("STOPPED" | "DELETED") => format!("S#{}", time("stoppedAt")),
        _ => format!("A#{}#{}", text("group").unwrap_or_default(), time("createdAt")),
    };
    let cluster = json!({"S": cluster});
    row.insert("index_cluster".to_owned(), cluster);
    row.insert("index_state".to_owned(), json!({"S": sort_key}));
}

/// The row expected of a task or container instance of the ECS API, also an independent implementation. Its
/// `reconciled_at` is copied from `row`, the row that was found.
pub fn reconciled_row(cluster: &str, object: &Value, row: &Value) -> Value {
    let mut detail = object.clone();
    let fields = detail.as_object_mut().expect("an object");
    for (name, value) in fields.iter_mut().filter(|(name, _)| name.ends_with("At")) {
        *value = iso(name, value);
    }
    for attachment in fields.get_mut("attachments").and_then(Value::as_array_mut).into_iter().flatten() {
        if attachment["type"] == "ElasticNetworkInterface" {
            attachment["type"] = json!("eni");
        }
    }
    for container in fields.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten() {
        for agent in container.get_mut("managedAgents").and_then(Value::as_array_mut).into_iter().flatten() {
            let agent = agent.as_object_mut().expect("an object");
            let status = agent.remove("lastStatus").expect("a status");
            agent.insert("status".to_owned(), status);
            let started = iso("lastStartedAt", &agent["lastStartedAt"]);
            agent.insert("lastStartedAt".to_owned(), started);
        }
    }
    fields.entry("clusterArn").or_insert_with(|| json!(cluster));
    let is_task = fields.contains_key("taskArn");
    let time = fields.get("stoppedAt").cloned().unwrap_or_else(|| row["reconciled_at"]["S"].clone());
    let event = json!({
        "detail-type": if is_task { "ECS Task State Change" } else { "ECS Container Instance State Change" },
        "time": time,
        "detail": detail,
    });
    let mut expected = self::row(&event);
    let fields = expected.as_object_mut().expect("a row");
    fields.remove("event_time");
    fields.insert("reconciled_at".to_owned(), row["reconciled_at"].clone());
    // `reconciled_at` is the fallback for a missing time.
    index(fields);
    expected
}

fn iso(name: &str, seconds: &Value) -> Value {
    let milliseconds = seconds.as_f64().unwrap_or_else(|| panic!("{name} is {seconds}")) * 1000.0;
    #[allow(clippy::cast_possible_truncation, reason = "a time of these years")]
    let time = DateTime::from_timestamp_millis(milliseconds.round() as i64).expect("a time");
    json!(time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

fn attribute(value: &Value) -> Value {
    match value {
        Value::Null => json!({"NULL": true}),
        Value::Bool(value) => json!({"BOOL": value}),
        // DynamoDB writes `0.0` as `0`.
        Value::Number(value) => json!({"N": value.to_string().trim_end_matches(".0")}),
        Value::String(value) => json!({"S": value}),
        Value::Array(values) => json!({"L": values.iter().map(attribute).collect::<Vec<_>>()}),
        Value::Object(values) => {
            let values: Map<_, _> = values.iter().map(|(name, value)| (name.clone(), attribute(value))).collect();
            json!({"M": values})
        }
    }
}
