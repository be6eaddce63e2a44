//! Every rule of the recorder, with a real DynamoDB engine, for the binary in `RECORDER_BINARY` or else the handler.

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use harness::dynamodb::{CONTAINER_INSTANCES, DynamoDb, TASKS};
use harness::events::{self, TASK, sample, samples, task};
use harness::recorder::Recorder;

/// The recorder and the database that it writes to.
async fn start() -> (DynamoDb, Recorder) {
    let dynamodb = DynamoDb::start().await;
    let recorder = Recorder::new(&dynamodb.url);
    (dynamodb, recorder)
}

/// Sends an event that must be refused without storing anything. Returns the error's message.
async fn refused(payload: &str, error_type: &str) -> String {
    let (dynamodb, recorder) = start().await;
    let answer = recorder.invoke(payload).await;
    assert_eq!(answer["errorType"], error_type, "{payload}: {answer}");
    assert_eq!(dynamodb.rows(TASKS), [] as [Value; 0], "{payload}");
    assert_eq!(dynamodb.rows(CONTAINER_INSTANCES), [] as [Value; 0], "{payload}");
    answer["errorMessage"].as_str().unwrap().to_owned()
}

fn with(mut event: Value, pointer: &str, value: Value) -> String {
    *event.pointer_mut(pointer).unwrap() = value;
    event.to_string()
}

fn without(mut event: Value, parent: &str, field: &str) -> String {
    event.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(field).unwrap();
    event.to_string()
}

/// Arrays in arrays.
fn nested(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

// The source.

#[tokio::test]
async fn an_event_from_another_source_is_refused() {
    let message = refused(&sample("refused/wrong-source").to_string(), "UnsupportedSource").await;
    assert_eq!(
        message,
        "the event's source must be \"aws.ecs\", found \"aws.ec2\": restrict the rule that invokes this function to \
         that source"
    );
    for source in ["AWS.ECS", "aws.ecs ", "", "my.app"] {
        refused(&with(task(1), "/source", json!(source)), "UnsupportedSource").await;
    }
    for source in [json!(null), json!(7), json!(["aws.ecs"]), json!({"aws.ecs": true})] {
        refused(&with(task(1), "/source", source), "UnsupportedSource").await;
    }
}

#[tokio::test]
async fn a_payload_without_an_envelope_is_refused_for_its_missing_source() {
    let detail = task(1)["detail"].to_string();
    for payload in [without(task(1), "", "source"), detail, "{}".to_owned()] {
        let message = refused(&payload, "UnsupportedSource").await;
        assert!(message.contains("found nothing"), "{message}");
    }
}

#[tokio::test]
async fn the_source_is_checked_before_anything_else() {
    let mut event = task(1);
    event["source"] = json!("aws.ec2");
    event["detail-type"] = json!(7);
    event["time"] = json!("yesterday");
    event["detail"] = json!(null);
    refused(&event.to_string(), "UnsupportedSource").await;
}

// The detail-type.

#[tokio::test]
async fn an_unsupported_detail_type_is_refused() {
    let message = refused(&sample("refused/service-action").to_string(), "UnsupportedDetailType").await;
    assert!(message.contains("found \"ECS Service Action\""), "{message}");
    for detail_type in [json!("ECS task state change"), json!(""), json!(null), json!(3), json!({})] {
        refused(&with(task(1), "/detail-type", detail_type), "UnsupportedDetailType").await;
    }
    let message = refused(&without(task(1), "", "detail-type"), "UnsupportedDetailType").await;
    assert!(message.contains("found nothing"), "{message}");
    // Even if it is also malformed.
    let event = json!({"source": "aws.ecs", "detail-type": "ECS Service Action", "id": 7, "detail": {}});
    refused(&event.to_string(), "UnsupportedDetailType").await;
}

#[tokio::test]
async fn each_detail_type_has_its_own_table_and_key() {
    let (dynamodb, recorder) = start().await;
    let task = sample("fargate-task-running");
    let instance = sample("container-instance-registered");
    assert_eq!(
        recorder.invoke(&task.to_string()).await,
        json!({"outcome": "stored", "table": "ECSTaskState", "arn": task["detail"]["taskArn"], "version": 3})
    );
    assert_eq!(
        recorder.invoke(&instance.to_string()).await,
        json!({
            "outcome": "stored",
            "table": "ECSCtrInstanceState",
            "arn": instance["detail"]["containerInstanceArn"],
            "version": 2,
        })
    );
    assert_eq!(dynamodb.row(TASKS), events::row(&task));
    assert_eq!(dynamodb.row(CONTAINER_INSTANCES), events::row(&instance));
}

// The detail, its key and its version.

#[tokio::test]
async fn a_detail_that_is_not_an_object_is_refused() {
    for (detail, kind) in [
        (json!(null), "null"),
        (json!(true), "a boolean"),
        (json!(5), "a number"),
        (json!("{}"), "a string"),
        (json!([]), "an array"),
    ] {
        let message = refused(&with(task(1), "/detail", detail), "InvalidEvent").await;
        assert_eq!(
            message,
            format!(
                "detail must be an object, found {kind}: ECS does not send such events, check what invokes this \
                 function"
            )
        );
    }
    let message = refused(&without(task(1), "", "detail"), "InvalidEvent").await;
    assert!(message.starts_with("detail must be an object, found nothing"), "{message}");
}

#[tokio::test]
async fn a_key_that_is_not_a_string_of_1_to_2048_bytes_is_refused() {
    let (task, instance) = (task(1), sample("container-instance-registered"));
    for (event, field) in [(&task, "taskArn"), (&instance, "containerInstanceArn")] {
        let pointer = format!("/detail/{field}");
        for (key, found) in [
            (json!(null), "null"),
            (json!(17), "a number"),
            (json!([TASK]), "an array"),
            (json!({"arn": TASK}), "an object"),
            (json!(""), "an empty string"),
            (json!("a".repeat(2049)), "a string of 2049 bytes"),
            (json!("é".repeat(1025)), "a string of 2050 bytes"),
        ] {
            let message = refused(&with(event.clone(), &pointer, key), "InvalidEvent").await;
            let expected = format!("detail.{field} must be a string of 1 to 2048 bytes, found {found}: ");
            assert!(message.starts_with(&expected), "{message}");
        }
        let message = refused(&without(event.clone(), "/detail", field), "InvalidEvent").await;
        assert!(message.contains("found nothing"), "{message}");
    }
}

#[tokio::test]
async fn a_key_of_any_format_is_accepted() {
    for arn in [
        "arn:aws:ecs:us-east-1:123456789012:task/5f1b9c0e-6d7a-4f0f-8c3e-2b1a09d8c7f6",
        "arn:aws-cn:ecs:cn-north-1:123456789012:task/demo/5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6",
        "arn:aws-us-gov:ecs:us-gov-west-1:123456789012:task/demo/5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6",
        "x",
        &"a".repeat(2048),
    ] {
        let (dynamodb, recorder) = start().await;
        let event = with(task(1), "/detail/taskArn", json!(arn));
        assert_eq!(recorder.invoke(&event).await["outcome"], "stored", "{arn}");
        assert_eq!(dynamodb.row(TASKS), events::row(&serde_json::from_str(&event).unwrap()));
    }
}

#[tokio::test]
async fn a_version_that_is_not_a_non_negative_integer_is_refused() {
    for (version, found) in [
        ("null", "null"),
        ("true", "a boolean"),
        ("\"3\"", "a string"),
        ("[3]", "an array"),
        ("{}", "an object"),
        ("-1", "a negative number"),
        ("-0", "a negative number"),
        ("3.0", "a number with a fraction or an exponent"),
        ("3e0", "a number with a fraction or an exponent"),
        ("18446744073709551616", "a larger number"),
    ] {
        let event = task(1).to_string().replace("\"version\":1", &format!("\"version\":{version}"));
        let message = refused(&event, "InvalidEvent").await;
        let expected =
            format!("detail.version of {TASK} must be an integer from 0 to 18446744073709551615, found {found}: ");
        assert!(message.starts_with(&expected), "{message}");
    }
    let message = refused(&sample("refused/missing-version").to_string(), "InvalidEvent").await;
    assert!(message.contains("found nothing"), "{message}");
}

#[tokio::test]
async fn every_version_up_to_the_largest_u64_is_accepted() {
    for version in [0, 1, u64::MAX] {
        let (dynamodb, recorder) = start().await;
        assert_eq!(recorder.invoke(&task(version).to_string()).await["version"], version);
        assert_eq!(dynamodb.row(TASKS), events::row(&task(version)));
    }
}

#[tokio::test]
async fn an_envelope_field_of_the_wrong_type_is_refused_by_name() {
    for (field, value, message) in [
        ("version", json!(0), "version must be a string, found a number"),
        ("id", json!(["x"]), "id must be a string, found an array"),
        ("time", json!("yesterday"), "time must be an RFC 3339 time, found a string"),
        ("time", json!(1_772_442_868), "time must be an RFC 3339 time, found a number"),
        ("account", json!(123_456_789_012_u64), "account must be a string, found a number"),
        ("region", json!({}), "region must be a string, found an object"),
        ("resources", json!([1]), "resources must be an array of strings, found an array"),
    ] {
        let mut event = task(1);
        event[field] = value;
        let found = refused(&event.to_string(), "InvalidEvent").await;
        assert!(found.starts_with(message), "{found}");
    }
}

#[tokio::test]
async fn a_payload_that_is_not_an_envelope_is_refused() {
    for (payload, kind) in [
        ("null", "null"),
        ("[]", "an array"),
        ("\"aws.ecs\"", "a string"),
        ("3", "a number"),
        (r#"{"\ud800":1}"#, "an object with a field name that is a string with an unpaired surrogate"),
    ] {
        let message = refused(payload, "InvalidEvent").await;
        assert!(message.starts_with(&format!("the event must be an object, found {kind}: ")), "{message}");
    }
    let duplicated = task(1).to_string().replacen('{', "{\"source\":\"aws.ecs\",", 1);
    let message = refused(&duplicated, "InvalidEvent").await;
    assert!(message.contains("without duplicate fields"), "{message}");
}

// The row.

#[tokio::test]
async fn every_sample_event_becomes_a_complete_row() {
    for name in samples() {
        let (dynamodb, recorder) = start().await;
        let event = sample(&name);
        let answer = recorder.invoke(&event.to_string()).await;
        assert_eq!(answer["outcome"], "stored", "{name}: {answer}");
        assert_eq!(dynamodb.row(answer["table"].as_str().unwrap()), events::row(&event), "{name}");
    }
}

#[tokio::test]
async fn every_kind_of_value_is_stored_unchanged_in_known_and_unknown_fields() {
    let (dynamodb, recorder) = start().await;
    let event = r#"{
        "version": "0", "id": "11111111-2222-3333-4444-555555555555", "detail-type": "ECS Task State Change",
        "source": "aws.ecs", "time": "2026-03-02T09:14:28Z",
        "detail": {
            "taskArn": "arn:1", "version": 7, "null": null, "yes": true, "no": false,
            "text": "é \u00e9 \ud83d\ude80 \u0000 \"", "empty text": "",
            "quoted text": "\"a\"", "\"quoted\" name": "\\",
            "list": [1, "1", null, [], {}], "empty list": [], "texts": ["a", "a"],
            "object": {"a": {"b": {"c": "deep"}}}, "empty object": {},
            "integer": 12345678901234567890123, "thirty-eight digits": 12345678901234567890123456789012345678,
            "windows": 3221225786, "half": 0.5, "negative": -1.25, "exact": 0.1000000000000000055511151231257827,
            "an unknown field": {"x": [0.1]}
        }
    }"#;
    assert_eq!(
        recorder.invoke(event).await,
        json!({"outcome": "stored", "table": TASKS, "arn": "arn:1", "version": 7})
    );
    assert_eq!(
        dynamodb.row(TASKS),
        json!({
            "cw_version": {"S": "0"},
            "event_id": {"S": "11111111-2222-3333-4444-555555555555"},
            "event_time": {"S": "2026-03-02T09:14:28Z"},
            "taskArn": {"S": "arn:1"},
            "version": {"N": "7"},
            "null": {"NULL": true},
            "yes": {"BOOL": true},
            "no": {"BOOL": false},
            "text": {"S": "é é 🚀 \u{0} \""},
            "empty text": {"S": ""},
            "quoted text": {"S": "\"a\""},
            "\"quoted\" name": {"S": "\\"},
            "list": {"L": [{"N": "1"}, {"S": "1"}, {"NULL": true}, {"L": []}, {"M": {}}]},
            "empty list": {"L": []},
            "texts": {"L": [{"S": "a"}, {"S": "a"}]},
            "object": {"M": {"a": {"M": {"b": {"M": {"c": {"S": "deep"}}}}}}},
            "empty object": {"M": {}},
            "integer": {"N": "12345678901234567890123"},
            "thirty-eight digits": {"N": "12345678901234567890123456789012345678"},
            "windows": {"N": "3221225786"},
            "half": {"N": "0.5"},
            "negative": {"N": "-1.25"},
            "exact": {"N": "0.1000000000000000055511151231257827"},
            "an unknown field": {"M": {"x": {"L": [{"N": "0.1"}]}}},
        })
    );
}

#[tokio::test]
async fn the_last_of_duplicate_fields_wins_even_if_an_earlier_one_could_not_be_stored() {
    let (dynamodb, recorder) = start().await;
    let deep = nested(80);
    let detail = format!(
        r#"{{"taskArn": "arn:0", "version": 9, "status": "A", "text": "\ud800", "deep": {deep},
        "object": {{"a": 0, "a": 1}}, "taskArn": "arn:1", "version": 7, "status": "B", "text": "b", "deep": 2}}"#
    );
    let event = format!(r#"{{"source": "aws.ecs", "detail-type": "ECS Task State Change", "detail": {detail}}}"#);
    recorder.invoke(&event).await;
    assert_eq!(
        dynamodb.row(TASKS),
        json!({
            "taskArn": {"S": "arn:1"},
            "version": {"N": "7"},
            "current_status": {"S": "B"},
            "text": {"S": "b"},
            "deep": {"N": "2"},
            "object": {"M": {"a": {"N": "1"}}},
        })
    );
}

#[tokio::test]
async fn status_becomes_current_status_and_our_attributes_overwrite_fields_of_the_same_name() {
    let (dynamodb, recorder) = start().await;
    let mut event = task(1);
    event["detail"]["status"] = json!("ACTIVE");
    for name in ["cw_version", "event_id", "event_time", "current_status", "expires_at"] {
        event["detail"][name] = json!("the detail's");
    }
    recorder.invoke(&event.to_string()).await;
    assert_eq!(
        dynamodb.row(TASKS),
        json!({
            "taskArn": {"S": TASK},
            "version": {"N": "1"},
            "lastStatus": {"S": "RUNNING"},
            "current_status": {"S": "ACTIVE"},
            "cw_version": {"S": "0"},
            "event_id": {"S": "event-1"},
            "event_time": {"S": "2026-03-02T09:14:28Z"},
        })
    );
}

#[tokio::test]
async fn an_attribute_missing_from_the_envelope_is_not_taken_from_the_detail() {
    let (dynamodb, recorder) = start().await;
    let event = json!({
        "source": "aws.ecs",
        "detail-type": "ECS Task State Change",
        "id": null,
        "detail": {"taskArn": TASK, "version": 1, "event_id": "the detail's", "current_status": "the detail's"},
    });
    recorder.invoke(&event.to_string()).await;
    assert_eq!(dynamodb.row(TASKS), json!({"taskArn": {"S": TASK}, "version": {"N": "1"}}));
}

#[tokio::test]
async fn a_field_missing_from_a_newer_detail_disappears_from_the_row() {
    let (dynamodb, recorder) = start().await;
    let mut with_health = task(1);
    with_health["detail"]["healthStatus"] = json!("HEALTHY");
    recorder.invoke(&with_health.to_string()).await;
    recorder.invoke(&task(2).to_string()).await;
    assert_eq!(dynamodb.row(TASKS), events::row(&task(2)));
}

#[tokio::test]
async fn the_event_time_is_stored_in_utc_and_keeps_its_fractional_seconds() {
    for (time, stored) in [
        ("2026-03-02T09:14:28Z", "2026-03-02T09:14:28Z"),
        ("2026-03-02T10:14:28.120+01:00", "2026-03-02T09:14:28.120Z"),
        ("2026-03-02T09:14:28.123456Z", "2026-03-02T09:14:28.123456Z"),
    ] {
        let (dynamodb, recorder) = start().await;
        recorder.invoke(&with(task(1), "/time", json!(time))).await;
        assert_eq!(dynamodb.row(TASKS)["event_time"], json!({"S": stored}));
    }
}

#[tokio::test]
async fn a_message_quotes_at_most_128_characters() {
    let long = "é".repeat(1000);
    for (payload, error_type) in [
        (with(task(1), "/source", json!(long)), "UnsupportedSource"),
        (with(task(1), "/detail-type", json!(long)), "UnsupportedDetailType"),
        (
            task(1).to_string().replace("\"lastStatus\"", &format!("\"{long}\":\"\\ud800\",\"lastStatus\"")),
            "InvalidEvent",
        ),
    ] {
        let message = refused(&payload, error_type).await;
        assert_eq!(message.matches('é').count(), 128, "{message}");
    }
}

// Retention.

/// 30 days after the time of `task(…)`.
const EXPIRES_AT: i64 = 1_775_034_868;

/// Sends one event to a recorder with these environment variables, and returns the row.
async fn row_under(variables: &[(&str, &str)], event: &Value) -> Value {
    let dynamodb = DynamoDb::start().await;
    let recorder = Recorder::with_variables(&dynamodb.url, variables);
    let answer = recorder.invoke(&event.to_string()).await;
    assert_eq!(answer["outcome"], "stored", "{answer}");
    dynamodb.row(answer["table"].as_str().unwrap())
}

/// A task event with this `lastStatus`, and its row without `expires_at`.
fn task_with_status(status: &Value) -> (Value, Value) {
    let mut event = task(1);
    event["detail"]["lastStatus"] = status.clone();
    let row = json!({
        "taskArn": {"S": TASK},
        "version": {"N": "1"},
        "lastStatus": status.as_str().map_or(json!({"NULL": true}), |status| json!({"S": status})),
        "cw_version": {"S": "0"},
        "event_id": {"S": "event-1"},
        "event_time": {"S": "2026-03-02T09:14:28Z"},
    });
    (event, row)
}

#[tokio::test]
async fn a_row_in_a_terminal_state_expires_30_days_after_its_event() {
    for status in ["STOPPED", "DELETED"] {
        let (event, mut row) = task_with_status(&json!(status));
        row["expires_at"] = json!({"N": EXPIRES_AT.to_string()});
        assert_eq!(row_under(&[], &event).await, row, "{status}");
    }
    let mut event = sample("container-instance-draining");
    event["time"] = json!("2026-03-02T10:14:28.999+01:00");
    event["detail"]["status"] = json!("INACTIVE");
    let row = row_under(&[], &event).await;
    let mut expected = events::row(&event);
    expected["expires_at"] = json!({"N": EXPIRES_AT.to_string()});
    expected["event_time"] = json!({"S": "2026-03-02T09:14:28.999Z"});
    assert_eq!(row, expected);
}

#[tokio::test]
async fn a_row_in_any_other_state_never_expires() {
    for status in [
        "PROVISIONING",
        "PENDING",
        "ACTIVATING",
        "RUNNING",
        "DEACTIVATING",
        "STOPPING",
        "DEPROVISIONING",
        "stopped",
        // Terminal for a container instance only.
        "INACTIVE",
    ] {
        let (event, row) = task_with_status(&json!(status));
        assert_eq!(row_under(&[], &event).await, row, "{status}");
    }
    let (event, row) = task_with_status(&Value::Null);
    assert_eq!(row_under(&[], &event).await, row);

    for status in ["REGISTERING", "REGISTRATION_FAILED", "ACTIVE", "DEREGISTERING", "DRAINING", "STOPPED"] {
        let event = json!({
            "source": "aws.ecs", "detail-type": "ECS Container Instance State Change", "time": "2026-03-02T09:14:28Z",
            // The other two are not a container instance's status: `current_status` is the name of `status` in the
            // row, and `lastStatus` is a task's.
            "detail": {
                "containerInstanceArn": "arn:1", "version": 1, "status": status, "lastStatus": "STOPPED",
                "current_status": "INACTIVE",
            },
        });
        let row = json!({
            "containerInstanceArn": {"S": "arn:1"},
            "version": {"N": "1"},
            "current_status": {"S": status},
            "lastStatus": {"S": "STOPPED"},
            "event_time": {"S": "2026-03-02T09:14:28Z"},
        });
        assert_eq!(row_under(&[], &event).await, row, "{status}");
    }
}

#[tokio::test]
async fn a_row_that_leaves_a_terminal_state_no_longer_expires() {
    let (dynamodb, recorder) = start().await;
    let (stopped, _) = task_with_status(&json!("STOPPED"));
    recorder.invoke(&stopped.to_string()).await;
    assert_eq!(dynamodb.row(TASKS)["expires_at"], json!({"N": EXPIRES_AT.to_string()}));
    recorder.invoke(&task(2).to_string()).await;
    assert_eq!(dynamodb.row(TASKS), events::row(&task(2)));
}

#[tokio::test]
async fn retention_days_sets_when_a_row_expires_and_0_means_never() {
    let (mut event, row) = task_with_status(&json!("STOPPED"));
    // Overwritten by our attribute, and dropped without one.
    event["detail"]["expires_at"] = json!(1);
    for (days, expires_at) in
        [("1", EXPIRES_AT - 29 * 86_400), ("16", EXPIRES_AT - 14 * 86_400), ("36500", 4_926_042_868)]
    {
        let mut row = row.clone();
        row["expires_at"] = json!({"N": expires_at.to_string()});
        assert_eq!(row_under(&[("RETENTION_DAYS", days)], &event).await, row, "{days}");
    }
    assert_eq!(row_under(&[("RETENTION_DAYS", "0")], &event).await, row);
}

#[tokio::test]
async fn a_row_in_a_terminal_state_without_an_event_time_never_expires() {
    let (mut event, mut row) = task_with_status(&json!("STOPPED"));
    event["time"] = Value::Null;
    row.as_object_mut().unwrap().remove("event_time");
    assert_eq!(row_under(&[], &event).await, row);
}

// The index.

/// The keys of the index in a task's row, after an event with these fields in its detail.
async fn index_keys(fields: Value, time: Option<&str>) -> Option<[String; 2]> {
    let mut event = task(1);
    event["time"] = json!(time);
    event["detail"]["clusterArn"] = json!("arn:aws:ecs:eu-west-1:123456789012:cluster/demo");
    for (name, value) in fields.as_object().unwrap() {
        event["detail"][name] = value.clone();
    }
    let row = row_under(&[], &event).await;
    let keys =
        ["index_cluster", "index_state"].map(|name| row.get(name).map(|key| key["S"].as_str().unwrap().to_owned()));
    match keys {
        [Some(cluster), Some(sort_key)] => Some([cluster, sort_key]),
        [None, None] => None,
        one => panic!("one key without the other: {one:?}"),
    }
}

#[tokio::test]
async fn the_index_orders_active_tasks_by_group_and_stopped_tasks_by_time() {
    let event_time = Some("2026-03-02T09:14:28.5Z");
    let stopped = |status: &str, stopped_at: Value| {
        let created = "2026-03-02T08:00:00Z";
        json!({"lastStatus": status, "group": "family:web", "createdAt": created, "stoppedAt": stopped_at})
    };
    for (fields, time, expected) in [
        (
            json!({"group": "service:web", "createdAt": "2026-03-02T08:00:00.25Z"}),
            event_time,
            "A#service:web#2026-03-02T08:00:00.250Z",
        ),
        // Times always have milliseconds, in UTC.
        (json!({"createdAt": "2026-03-02T08:00:00Z"}), event_time, "A##2026-03-02T08:00:00.000Z"),
        (json!({"createdAt": "2026-03-02T09:00:00.1239+01:00"}), event_time, "A##2026-03-02T08:00:00.123Z"),
        // A missing or malformed time falls back to the event's, if there is one.
        (json!({"group": "a#b"}), event_time, "A#a#b#2026-03-02T09:14:28.500Z"),
        (json!({"createdAt": "yesterday"}), event_time, "A##2026-03-02T09:14:28.500Z"),
        (json!({"createdAt": 1_619_719_924.711}), event_time, "A##2026-03-02T09:14:28.500Z"),
        (json!({"group": 7}), None, "A##"),
        (json!({"lastStatus": "DEPROVISIONING", "stoppedAt": "2026-03-02T08:30:00Z"}), None, "A##"),
        (json!({"lastStatus": null}), None, "A##"),
        // Stopped.
        (stopped("STOPPED", json!("2026-03-02T08:30:00.1Z")), event_time, "S#2026-03-02T08:30:00.100Z"),
        (stopped("DELETED", json!("2026-03-02T08:30:00.1Z")), event_time, "S#2026-03-02T08:30:00.100Z"),
        (stopped("STOPPED", json!(null)), event_time, "S#2026-03-02T09:14:28.500Z"),
        (stopped("STOPPED", json!(null)), None, "S#"),
        // Fields with the names of the keys don't count.
        (
            json!({"index_cluster": "arn:other", "index_state": 7, "createdAt": "2026-03-02T08:00:00Z"}),
            None,
            "A##2026-03-02T08:00:00.000Z",
        ),
    ] {
        let cluster = "arn:aws:ecs:eu-west-1:123456789012:cluster/demo".to_owned();
        assert_eq!(index_keys(fields.clone(), time).await, Some([cluster, expected.to_owned()]), "{fields}");
    }
}

#[tokio::test]
async fn a_row_that_the_index_would_refuse_is_stored_without_its_keys() {
    for cluster in [json!(null), json!(7), json!(""), json!("c".repeat(2049))] {
        let fields = json!({"clusterArn": cluster, "index_cluster": "arn:other", "index_state": "S#"});
        assert_eq!(index_keys(fields, None).await, None, "{cluster}");
    }
    let longest = "c".repeat(2048);
    assert_eq!(index_keys(json!({"clusterArn": longest}), None).await, Some([longest, "A##".to_owned()]));

    // 1,024 bytes including the time, in characters of two bytes.
    let group = |bytes: usize| "é".repeat(bytes / 2) + &"e".repeat(bytes % 2);
    let (time, other) = (Some("2026-03-02T09:14:28Z"), "A##2026-03-02T09:14:28.000Z".len());
    let [_, sort_key] = index_keys(json!({"group": group(1024 - other)}), time).await.unwrap();
    assert_eq!(sort_key.len(), 1024);
    assert_eq!(index_keys(json!({"group": group(1025 - other)}), time).await, None);
}

#[tokio::test]
async fn only_a_tasks_first_event_and_its_stop_write_to_the_index() {
    let dynamodb = DynamoDb::start().await;
    let mut units = Vec::new();
    for (version, status) in ["PROVISIONING", "PENDING", "RUNNING", "STOPPING", "STOPPED"].into_iter().enumerate() {
        let mut event = sample("fargate-task-running");
        event["detail"]["version"] = json!(version + 1);
        event["detail"]["lastStatus"] = json!(status);
        let [table, index] = dynamodb.put_and_count(&events::row(&event));
        assert!(table > 0.0);
        units.push(index);
    }
    // Three, as docs/operations.md says: the stop deletes one entry and puts another.
    assert_eq!(units, [1.0, 0.0, 0.0, 0.0, 2.0]);
}

#[tokio::test]
async fn a_container_instance_is_not_in_the_index() {
    let mut event = sample("container-instance-registered");
    let row = events::row(&event);
    event["detail"]["index_cluster"] = json!("arn:other");
    event["detail"]["index_state"] = json!("S#");
    assert!(event["detail"]["clusterArn"].is_string());
    assert_eq!(row_under(&[], &event).await, row);
}

// Redaction.

#[tokio::test]
async fn redaction_keeps_the_names_of_environment_variables_and_removes_their_values() {
    let mut event = task(1);
    event["detail"]["overrides"] = json!({
        "containerOverrides": [
            {
                "name": "web",
                "command": ["serve"],
                "environment": [{"name": "TOKEN", "value": "hunter2"}, {"name": "EMPTY", "value": ""}],
                "cpu": 256,
            },
            {"name": "sidecar", "environment": []},
            {"name": "plain"},
        ],
        "taskRoleArn": "arn:role",
    });
    let mut expected = events::row(&event);
    assert_eq!(row_under(&[], &event).await, expected, "off by default");
    assert_eq!(row_under(&[("REDACT_ENVIRONMENT", "false")], &event).await, expected);

    let variable = |name: &str| json!({"M": {"name": {"S": name}, "value": {"S": "[redacted]"}}});
    expected["overrides"]["M"]["containerOverrides"]["L"][0]["M"]["environment"] =
        json!({"L": [variable("TOKEN"), variable("EMPTY")]});
    assert_eq!(row_under(&[("REDACT_ENVIRONMENT", "true")], &event).await, expected);
}

#[tokio::test]
async fn overrides_of_an_unexpected_form_are_fully_redacted_and_still_stored() {
    let redacted = json!({"S": "[redacted]"});
    let overrides = [
        (json!("hunter2"), redacted.clone()),
        (json!(["hunter2"]), redacted.clone()),
        (json!(null), json!({"NULL": true})),
        (json!({}), json!({"M": {}})),
        (json!({"containerOverrides": "hunter2"}), json!({"M": {"containerOverrides": redacted}})),
        (
            json!({"containerOverrides": {"environment": [{"name": "A", "value": "hunter2"}]}}),
            json!({"M": {"containerOverrides": redacted}}),
        ),
        (
            json!({"containerOverrides": ["hunter2", null, 5]}),
            json!({"M": {"containerOverrides": {"L": [redacted, {"NULL": true}, redacted]}}}),
        ),
    ];
    let environments = [
        (json!("A=hunter2"), redacted.clone()),
        (json!({"A": "hunter2"}), redacted.clone()),
        (json!(null), json!({"NULL": true})),
        (json!(["A=hunter2", ["hunter2"], 7, true]), json!({"L": [redacted, redacted, redacted, redacted]})),
        (
            json!([{
                "name": {"A": "hunter2"}, "value": ["hunter2"], "VALUE": "hunter2", "valueFrom": {"x": "hunter2"},
            }]),
            json!({"L": [{"M": {"name": redacted, "value": redacted, "VALUE": redacted, "valueFrom": redacted}}]}),
        ),
        (json!([{"name": "A"}, {}]), json!({"L": [{"M": {"name": {"S": "A"}}}, {"M": {}}]})),
    ];
    let environments = environments.map(|(environment, stored)| {
        let stored = json!({"M": {"containerOverrides": {"L": [{"M": {"environment": stored}}]}}});
        (json!({"containerOverrides": [{"environment": environment}]}), stored)
    });
    for (overrides, stored) in overrides.into_iter().chain(environments) {
        let mut event = task(1);
        let mut row = events::row(&event);
        event["detail"]["overrides"] = overrides;
        row["overrides"] = stored;
        assert_eq!(row_under(&[("REDACT_ENVIRONMENT", "true")], &event).await, row, "{event}");
    }
}

// The one conditional write.

#[tokio::test]
async fn an_invocation_sends_one_conditional_put_item_and_no_other_request() {
    let (url, mut requests) = scripted(200, "{}").await;
    let answer = Recorder::new(&url).invoke(&task(4).to_string()).await;
    assert_eq!(answer["outcome"], "stored");
    let (target, body) = requests.recv().await.unwrap();
    assert_eq!(target, "DynamoDB_20120810.PutItem");
    assert_eq!(
        body,
        json!({
            "TableName": "ECSTaskState",
            "Item": events::row(&task(4)),
            "ConditionExpression": "attribute_not_exists(#version) OR #version < :version OR (#version = :version AND \
                                    attribute_exists(reconciled_at))",
            "ExpressionAttributeNames": {"#version": "version"},
            "ExpressionAttributeValues": {":version": {"N": "4"}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        })
    );
    assert!(requests.try_recv().is_err(), "a second request");
}

#[tokio::test]
async fn a_row_with_a_lower_version_is_overwritten() {
    let (dynamodb, recorder) = start().await;
    // As strings, 9 would sort after 10.
    dynamodb.put(TASKS, &events::row(&task(9)));
    let answer = recorder.invoke(&task(10).to_string()).await;
    assert_eq!(answer, json!({"outcome": "stored", "table": TASKS, "arn": TASK, "version": 10}));
    assert_eq!(dynamodb.row(TASKS), events::row(&task(10)));
}

#[tokio::test]
async fn a_row_with_a_higher_version_is_kept_and_the_event_is_stale() {
    let (dynamodb, recorder) = start().await;
    dynamodb.put(TASKS, &events::row(&task(10)));
    let answer = recorder.invoke(&task(9).to_string()).await;
    assert_eq!(answer, json!({"outcome": "stale", "table": TASKS, "arn": TASK, "version": 9, "stored_version": 10}));
    assert_eq!(dynamodb.row(TASKS), events::row(&task(10)));
}

#[tokio::test]
async fn a_row_with_the_same_version_is_kept_and_the_event_is_a_duplicate() {
    let (dynamodb, recorder) = start().await;
    dynamodb.put(TASKS, &events::row(&task(9)));
    let mut again = task(9);
    again["detail"]["lastStatus"] = json!("another");
    let answer = recorder.invoke(&again.to_string()).await;
    assert_eq!(answer, json!({"outcome": "duplicate", "table": TASKS, "arn": TASK, "version": 9, "stored_version": 9}));
    assert_eq!(dynamodb.row(TASKS), events::row(&task(9)));
}

#[tokio::test]
async fn a_row_without_a_version_is_overwritten() {
    let (dynamodb, recorder) = start().await;
    dynamodb.put(TASKS, &json!({"taskArn": {"S": TASK}, "note": {"S": "by hand"}}));
    assert_eq!(recorder.invoke(&task(0).to_string()).await["outcome"], "stored");
    assert_eq!(dynamodb.row(TASKS), events::row(&task(0)));
}

#[tokio::test]
async fn a_row_written_by_the_documented_function_is_compared_like_one_of_ours() {
    // That function stores `status` under its own name, and the envelope's version, but neither its id nor its time.
    let theirs = json!({
        "containerInstanceArn": {"S": sample("container-instance-changed")["detail"]["containerInstanceArn"]},
        "version": {"N": "9"},
        "cw_version": {"S": "0"},
        "status": {"S": "ACTIVE"},
    });
    let (dynamodb, recorder) = start().await;
    dynamodb.put(CONTAINER_INSTANCES, &theirs);
    assert_eq!(recorder.invoke(&sample("container-instance-registered").to_string()).await["outcome"], "stale");
    assert_eq!(recorder.invoke(&sample("container-instance-changed").to_string()).await["outcome"], "duplicate");
    assert_eq!(dynamodb.row(CONTAINER_INSTANCES), theirs);
    let newer = sample("container-instance-draining");
    assert_eq!(recorder.invoke(&newer.to_string()).await["outcome"], "stored");
    assert_eq!(dynamodb.row(CONTAINER_INSTANCES), events::row(&newer));
}

#[tokio::test]
async fn a_stored_version_that_ecs_would_never_send_is_still_compared() {
    for (version, stored_version) in [("2.5", json!(2.5)), ("100000000000000000000000", json!(1e23))] {
        let (dynamodb, recorder) = start().await;
        dynamodb.put(TASKS, &json!({"taskArn": {"S": TASK}, "version": {"N": version}}));
        let answer = recorder.invoke(&task(2).to_string()).await;
        assert_eq!(answer["outcome"], "stale");
        assert_eq!(answer["stored_version"], stored_version);
        assert_eq!(dynamodb.row(TASKS)["version"], json!({"N": version}));
    }
    let (dynamodb, recorder) = start().await;
    dynamodb.put(TASKS, &json!({"taskArn": {"S": TASK}, "version": {"N": "1.5"}}));
    assert_eq!(recorder.invoke(&task(2).to_string()).await["outcome"], "stored");
    assert_eq!(dynamodb.row(TASKS), events::row(&task(2)));
}

#[tokio::test]
async fn a_stored_version_that_is_not_a_number_is_an_error_and_the_row_is_kept() {
    for version in [json!({"S": "3"}), json!({"NULL": true}), json!({"L": [{"N": "3"}]})] {
        let (dynamodb, recorder) = start().await;
        let row = json!({"taskArn": {"S": TASK}, "version": version, "secret": {"S": "hunter2"}});
        dynamodb.put(TASKS, &row);
        let answer = recorder.invoke(&task(2).to_string()).await;
        let cause = "the stored row has a \"version\" that is not a number; correct or delete that row";
        assert_eq!(answer, write_error("StoreRejected", cause));
        assert_eq!(dynamodb.row(TASKS), row);
    }
}

// The errors.

/// A fake DynamoDB that sends the same response to every request, and forwards the requests to the test, except for the
/// binary's `GET /` before its first event.
async fn scripted(status: u16, answer: impl Into<String>) -> (String, mpsc::UnboundedReceiver<(String, Value)>) {
    let (sent, requests) = mpsc::unbounded_channel();
    let (status, answer) = (StatusCode::from_u16(status).unwrap(), answer.into());
    let answer = move |headers: HeaderMap, body: String| async move {
        let target = headers["x-amz-target"].to_str().unwrap().to_owned();
        // A test that ignores the requests has dropped the receiver.
        let _ = sent.send((target, serde_json::from_str(&body).unwrap()));
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amzn-requestid", "request-1")];
        (status, headers, answer)
    };
    (harness::serve(Router::new().fallback(post(answer))).await, requests)
}

fn service_error(code: &str, message: &str) -> String {
    json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message}).to_string()
}

/// The answer to an event of version 2 if DynamoDB responds in this way.
async fn answer_to(status: u16, response: impl Into<String>) -> Value {
    Recorder::new(&scripted(status, response).await.0).invoke(&task(2).to_string()).await
}

/// The answer if the write of version 2 fails for this cause.
fn write_error(error_type: &str, cause: &str) -> Value {
    let help = if error_type == "StoreUnavailable" { "may help" } else { "won't help" };
    let message = format!("writing version 2 of {TASK} to table ECSTaskState failed (retrying {help}): {cause}");
    json!({"errorType": error_type, "errorMessage": message})
}

#[tokio::test]
async fn a_refusal_is_store_unavailable_if_it_is_transient_or_else_store_rejected_with_its_code_and_advice() {
    const THROTTLES: &str = "DynamoDB throttled the request; check the table's and the account's limits";
    const UNKNOWN: &str = "see DynamoDB's list of error codes";
    const ROLE: &str = "the function's role must allow the action on the table, and the use of its KMS key";
    const CREDENTIALS: &str = "the credentials are invalid or have expired; check the function's role and environment";
    const LIMITS: &str = "the item exceeds a DynamoDB limit (400 KB, 32 nesting levels, 38 digits in a number, no empty \
                          names), or lacks the table's key";
    let (transient, permanent) = ("StoreUnavailable", "StoreRejected");
    for (error_type, status, code, advice) in [
        (transient, 500, "InternalServerError", UNKNOWN),
        (transient, 503, "ServiceUnavailable", UNKNOWN),
        (transient, 400, "ProvisionedThroughputExceededException", THROTTLES),
        (transient, 400, "ThrottlingException", THROTTLES),
        (transient, 400, "RequestLimitExceeded", THROTTLES),
        (transient, 400, "RequestTimeoutException", UNKNOWN),
        (transient, 400, "TransactionConflictException", UNKNOWN),
        (transient, 400, "ReplicatedWriteConflictException", UNKNOWN),
        (permanent, 400, "AccessDeniedException", ROLE),
        (permanent, 400, "ResourceNotFoundException", "the table does not exist in this account and region"),
        (permanent, 400, "ExpiredTokenException", CREDENTIALS),
        (permanent, 400, "ValidationException", LIMITS),
        (permanent, 400, "AnUnknownError", UNKNOWN),
    ] {
        let answer = answer_to(status, service_error(code, "the reason")).await;
        assert_eq!(answer, write_error(error_type, &format!("{code}: {advice} (HTTP {status})")));
    }
}

#[tokio::test]
async fn a_dynamodb_message_is_passed_on_only_if_it_cannot_contain_item_data() {
    const DENIED: &str = "User: arn:aws:sts::123456789012:assumed-role/recorder/recorder is not authorized to perform: \
                          dynamodb:PutItem on resource: arn:aws:dynamodb:eu-west-1:123456789012:table/ECSTaskState";
    let allows = "allows the dynamodb:PutItem action";
    for (code, message) in [
        ("AccessDeniedException", DENIED.to_owned()),
        ("AccessDeniedException", format!("{DENIED} because no identity-based policy {allows}")),
        ("AccessDeniedException", format!("{DENIED} because no service control policy {allows}")),
        ("AccessDeniedException", format!("{DENIED} because no VPC endpoint policy {allows}")),
        ("AccessDeniedException", format!("{DENIED} because no permissions boundary {allows}")),
        ("AccessDeniedException", format!("{DENIED} with an explicit deny in an identity-based policy")),
        ("AccessDeniedException", format!("{DENIED} with an explicit deny in a resource-based policy")),
        ("AccessDeniedException", format!("{DENIED} with an explicit deny in a service control policy")),
        ("AccessDeniedException", format!("{DENIED} with an explicit deny in a permissions boundary")),
        ("ResourceNotFoundException", "Requested resource not found".to_owned()),
        ("ExpiredTokenException", "The security token included in the request is expired".to_owned()),
        ("ValidationException", "Item size has exceeded the maximum allowed size".to_owned()),
    ] {
        let answer = answer_to(400, service_error(code, &message)).await;
        assert_eq!(answer["errorType"], "StoreRejected", "{answer}");
        // Advice follows the message.
        let expected = write_error("StoreRejected", &format!("{code}: {message}; the "));
        let [error, expected] = [&answer, &expected].map(|answer| answer["errorMessage"].as_str().unwrap());
        assert!(error.starts_with(expected) && error.ends_with(" (HTTP 400)"), "{answer}");
        // The same message with extra text after, before or inside it, or with another code.
        for (code, message) in [
            (code, format!("{message} hunter2")),
            (code, format!("hunter2 {message}")),
            (code, message.replacen(' ', " hunter2 ", 1)),
            (code, message.replacen(' ', " {\"hunter2\"} ", 1)),
            (code, "hunter2".to_owned()),
            ("AnUnknownError", message.clone()),
        ] {
            let answer = answer_to(400, service_error(code, &message)).await.to_string();
            assert!(!answer.contains("hunter2") && !answer.contains(&message), "{answer}");
        }
    }
}

#[tokio::test]
async fn one_foreign_word_in_an_error_is_not_passed_on() {
    const ARN: &str = "arn:aws:sts::123456789012:assumed-role/recorder/recorder";
    for (code, message) in [
        ("hunter2-correct-horse", "the reason".to_owned()),
        ("hunter2", "the reason".to_owned()),
        ("Refused-hunter2", "the reason".to_owned()),
        ("ResourceNotFoundException", "Requested resource not found: Table: hunter2 not found".to_owned()),
        (
            "ValidationException",
            "One or more parameter values were invalid: Missing the key hunter2 in the item".to_owned(),
        ),
        (
            "AccessDeniedException",
            "User: hunter2 is not authorized to perform: dynamodb:PutItem on resource: *".to_owned(),
        ),
        (
            "AccessDeniedException",
            format!("User: {ARN}\"hunter2\" is not authorized to perform: dynamodb:PutItem on resource: {ARN}"),
        ),
        (
            "AccessDeniedException",
            format!("User: {ARN}/{:2000}hunter2 is not authorized to perform: dynamodb:PutItem on resource: {ARN}", "")
                .replace("  ", "xx"),
        ),
        ("AccessDeniedException", format!("User: {ARN} is not authorized to perform: hunter2 on resource: {ARN}")),
        (
            "AccessDeniedException",
            format!("User: {ARN} is not authorized to perform: dynamodb:hunter2 on resource: {ARN}"),
        ),
        (
            "AccessDeniedException",
            format!(
                "User: {ARN} is not authorized to perform: dynamodb:PutItem on resource: {ARN} because no hunter2 \
                 policy allows the dynamodb:PutItem action"
            ),
        ),
    ] {
        let answer = answer_to(400, service_error(code, &message)).await;
        assert_eq!(answer["errorType"], "StoreRejected", "{answer}");
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
    }
}

#[tokio::test]
async fn a_success_that_is_not_from_dynamodb_is_store_rejected() {
    for (status, body) in [(StatusCode::OK, ""), (StatusCode::OK, "{}"), (StatusCode::NO_CONTENT, "")] {
        let url = harness::serve(Router::new().fallback(move || async move { (status, body) })).await;
        let answer = Recorder::new(&url).invoke(&task(2).to_string()).await;
        assert_eq!(answer["errorType"], "StoreRejected", "{answer}");
        assert!(answer["errorMessage"].as_str().unwrap().contains("something other than DynamoDB"), "{answer}");
    }
}

#[tokio::test]
async fn a_response_without_an_error_code_is_transient_or_permanent_by_its_http_status() {
    for (status, answer, error_type) in [
        (200, "not JSON", "StoreRejected"),
        (200, "{\"Attrib", "StoreRejected"),
        (307, "", "StoreRejected"),
        (403, "<html>", "StoreRejected"),
        (502, "<html>", "StoreUnavailable"),
        (500, "", "StoreUnavailable"),
        (408, "", "StoreUnavailable"),
        (429, "", "StoreUnavailable"),
    ] {
        let answer = answer_to(status, answer).await;
        assert_eq!(answer["errorType"], error_type, "{answer}");
        let end = format!(
            "no DynamoDB error code: something other than DynamoDB may have responded; check the endpoint and any \
             proxy in between (HTTP {status})"
        );
        assert!(answer["errorMessage"].as_str().unwrap().ends_with(&end), "{answer}");
    }
}

#[tokio::test]
async fn an_unreachable_database_is_store_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let answer = Recorder::new(&url).invoke(&task(2).to_string()).await;
    assert_eq!(answer["errorType"], "StoreUnavailable");
    assert!(answer["errorMessage"].as_str().unwrap().contains("(connection refused)"), "{answer}");
}

/// Some engines do not support `ReturnValuesOnConditionCheckFailure`.
#[tokio::test]
async fn a_failed_condition_without_the_stored_row_is_store_rejected_and_the_error_says_so() {
    let cause = "the row already holds this version or a newer one, but the answer lacks the row, so stale and duplicate \
                 can't be told apart: the endpoint does not support ReturnValuesOnConditionCheckFailure";
    let answer = answer_to(400, service_error("ConditionalCheckFailedException", "")).await;
    assert_eq!(answer, write_error("StoreRejected", cause));
}

#[tokio::test]
async fn a_missing_table_is_store_rejected() {
    let (dynamodb, recorder) = start().await;
    dynamodb.delete_table(TASKS);
    let answer = recorder.invoke(&task(2).to_string()).await;
    assert_eq!(answer["errorType"], "StoreRejected");
    assert!(answer["errorMessage"].as_str().unwrap().contains("ResourceNotFoundException"), "{answer}");
}

#[tokio::test]
async fn an_item_that_dynamodb_refuses_is_store_rejected_and_nothing_is_stored() {
    for (value, cause) in [
        (format!("\"{}\"", "x".repeat(400 * 1024)), "Item size has exceeded the maximum allowed size"),
        (nested(33), "Nesting Levels have exceeded supported limits"),
        (nested(64), "Nesting Levels have exceeded supported limits"),
        ("123456789012345678901234567890123456789".to_owned(), "more than 38 significant digits"),
        ("1e400".to_owned(), "Number overflow"),
        (r#"{"":1}"#.to_owned(), "the item exceeds a DynamoDB limit"),
    ] {
        let event = task(1).to_string().replace("\"RUNNING\"", &value);
        let message = refused(&event, "StoreRejected").await;
        assert!(message.contains(cause), "{message}");
        assert!(message.contains(TASK) && message.contains(TASKS) && message.len() < 1000, "{message}");
    }
}

#[tokio::test]
async fn a_detail_that_cannot_become_a_row_is_an_invalid_event_and_the_message_names_the_field() {
    for (value, error) in [
        (r#""\ud800""#, "a string with an unpaired surrogate"),
        (r#"[{"a":"\udfff"}]"#, "a string with an unpaired surrogate"),
        (r#"{"\ud800":1}"#, "a string with an unpaired surrogate"),
        (&nested(65), "arrays or objects nested more than 64 levels deep"),
        (&nested(300_000), "arrays or objects nested more than 64 levels deep"),
    ] {
        let event = task(1).to_string().replace("\"RUNNING\"", value);
        let message = refused(&event, "InvalidEvent").await;
        assert_eq!(message, format!("detail.lastStatus of {TASK} can't be stored: it contains {error}"));
    }
}
