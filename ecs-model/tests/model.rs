//! Tasks and container instances are read from events and the ECS API, and written back without a difference.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Debug;
use std::fs;

use chrono::{DateTime, Utc};
use ecs_model::diagnosis::Diagnosis;
use ecs_model::{
    ContainerInstance, HealthStatus, LaunchType, ModelError, Moment, StopCode, Task, TaskStatus, from_json,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

const TASK: &str = "arn:aws:ecs:eu-west-1:123456789012:task/demo/5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6";

/// All names under which ECS sends a time.
const TIMES: [&str; 14] = [
    "connectivityAt",
    "createdAt",
    "executionStoppedAt",
    "lastStartedAt",
    "lastStatusChange",
    "lastUpdated",
    "pullStartedAt",
    "pullStoppedAt",
    "registeredAt",
    "startedAt",
    "stoppedAt",
    "stoppingAt",
    "updatedAt",
    "expires_at",
];

/// Normalizes a value for a comparison: no nulls in objects, times as instants, numbers by value.
fn by_value(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), by_value(name, value)))
            .collect(),
        Value::Array(values) => values.iter().map(|value| by_value("", value)).collect(),
        time if TIMES.contains(&name) => {
            let instant = match time {
                Value::String(text) => text.parse::<DateTime<Utc>>().ok(),
                #[expect(clippy::cast_possible_truncation, reason = "times out of range are refused")]
                Value::Number(seconds) => {
                    seconds.as_f64().and_then(|seconds| DateTime::from_timestamp_millis((seconds * 1e3).round() as i64))
                }
                _ => None,
            };
            instant.map_or_else(|| time.clone(), |instant| json!(instant.to_rfc3339()))
        }
        Value::Number(number) => json!(number.as_f64()),
        other => other.clone(),
    }
}

/// Reads an object, and asserts that it is serialized as it was.
fn there_and_back<T: DeserializeOwned + Serialize + Debug + PartialEq>(object: &Value) -> T {
    let model: T = from_json(object).unwrap_or_else(|error| panic!("{error}: {object}"));
    let back = serde_json::to_value(&model).expect("JSON");
    assert_eq!(by_value("", &back), by_value("", object));
    assert_eq!(from_json::<T>(&back).expect("the same again"), model);
    model
}

/// Asserts that the model knows every field and every name.
fn assert_known(model: &impl Debug) {
    let text = format!("{model:?}");
    assert!(!text.contains("other: {\""), "{text}");
    assert!(!text.contains("Unknown("), "{text}");
}

fn read(path: &str) -> Value {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))).expect("JSON")
}

fn published(name: &str) -> Value {
    read(&format!("tests/published/{name}.json"))
}

/// A file of the project's `events/`.
fn sample(name: &str) -> Value {
    read(&format!("../events/{name}.json"))
}

#[test]
fn every_sample_event_is_read_and_written_back_without_a_difference() {
    let (mut tasks, mut instances) = (0, 0);
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../events")).expect("the folder") {
        let name = entry.expect("a file").file_name().into_string().expect("a name");
        let Some(name) = name.strip_suffix(".json") else { continue };
        let event = sample(name);
        if event["detail-type"] == "ECS Task State Change" {
            assert_known(&there_and_back::<Task>(&event["detail"]));
            tasks += 1;
        } else {
            assert_known(&there_and_back::<ContainerInstance>(&event["detail"]));
            instances += 1;
        }
    }
    assert_eq!((tasks, instances), (6, 3));
}

/// Both were published in an article, in July 2021: a task on Fargate that stopped, and one that failed to start.
#[test]
fn two_real_events_are_read_written_back_and_diagnosed() {
    for (name, summary) in [
        ("fargate-stopped", "container \"alpine-hello\" finished with exit code 0"),
        (
            "fargate-failed-to-start",
            "the secrets or the registry login could not be fetched: their AWS endpoint could not be reached",
        ),
    ] {
        let task: Task = there_and_back(&published(name)["detail"]);
        assert_known(&task);
        assert_eq!(Diagnosis::new(&task).expect("a stopped task").summary, summary);
    }
}

/// Every field of the API's model and of the event's schema at once, in the form of the API.
fn full_task() -> Value {
    json!({
        "attachments": [{
            "id": "a", "type": "ElasticNetworkInterface", "status": "ATTACHED",
            "details": [{"name": "subnetId", "value": "subnet-1"}],
        }],
        "attributes": [
            {"name": "ecs.cpu-architecture", "value": "arm64", "targetType": "container-instance", "targetId": "x"},
        ],
        "availabilityZone": "eu-west-1a",
        "capacityProviderName": "spot",
        "clusterArn": "arn:aws:ecs:eu-west-1:123456789012:cluster/demo",
        "connectivity": "CONNECTED",
        "connectivityAt": 1.619_719_924_711E9,
        "containerInstanceArn": "arn:aws:ecs:eu-west-1:123456789012:container-instance/demo/8a1f",
        "containers": [{
            "containerArn": "arn:aws:ecs:eu-west-1:123456789012:container/demo/x",
            "taskArn": TASK,
            "name": "web",
            "image": "web:2",
            "imageDigest": "sha256:1",
            "runtimeId": "1",
            "lastStatus": "STOPPED",
            "exitCode": 3_221_225_786_u32,
            "reason": "OutOfMemoryError: Container killed due to memory usage",
            "networkBindings": [{
                "bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 49153, "protocol": "tcp",
                "containerPortRange": "80-90", "hostPortRange": "49153-49163",
            }],
            "networkInterfaces": [{"attachmentId": "a", "privateIpv4Address": "10.0.0.1", "ipv6Address": "::1"}],
            "healthStatus": "UNKNOWN",
            "managedAgents": [
                {"lastStartedAt": 1_619_719_925, "name": "ExecuteCommandAgent", "reason": "r", "lastStatus": "RUNNING"},
            ],
            "cpu": "256",
            "memory": "512",
            "memoryReservation": "256",
            "gpuIds": ["0"],
            "neuronDeviceIds": ["1"],
            "gpuSharingStrategy": {"nvidiaMps": {"memory": 1024, "maxComputePercent": 50}},
        }],
        "cpu": "256",
        "createdAt": 1_619_719_924,
        "desiredStatus": "STOPPED",
        "enableExecuteCommand": true,
        "executionStoppedAt": 1_619_719_990.5,
        "group": "service:web",
        "healthStatus": "HEALTHY",
        "inferenceAccelerators": [{"deviceName": "d", "deviceType": "eia1.medium"}],
        "lastStatus": "STOPPED",
        "launchType": "MANAGED_INSTANCES",
        "memory": "512",
        "overrides": {
            "containerOverrides": [{
                "name": "web",
                "command": ["run"],
                "environment": [{"name": "A", "value": "b"}],
                "environmentFiles": [{"value": "arn:aws:s3:::bucket/a.env", "type": "s3"}],
                "cpu": 1,
                "memory": 2,
                "memoryReservation": 3,
                "resourceRequirements": [
                    {"value": "1", "type": "GPU", "sharingStrategy": {"nvidiaMps": {"memory": 1}}},
                ],
            }],
            "cpu": "1",
            "inferenceAcceleratorOverrides": [{"deviceName": "d", "deviceType": "eia1.medium"}],
            "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
            "memory": "1",
            "taskRoleArn": "arn:aws:iam::123456789012:role/task",
            "ephemeralStorage": {"sizeInGiB": 21},
        },
        "platformVersion": "1.4.0",
        "platformFamily": "Linux",
        "pullStartedAt": 1_619_719_930,
        "pullStoppedAt": 1_619_719_935.25,
        "startedAt": 1_619_719_940,
        "startedBy": "ecs-svc/1",
        "stopCode": "EssentialContainerExited",
        "stoppedAt": 1_619_719_999,
        "stoppedReason": "Essential container in task exited",
        "stoppingAt": 1_619_719_991,
        "tags": [{"key": "team", "value": "shop"}],
        "taskArn": TASK,
        "taskDefinitionArn": "arn:aws:ecs:eu-west-1:123456789012:task-definition/web:42",
        "updatedAt": "2021-04-29T18:13:19Z",
        "version": 7,
        "ephemeralStorage": {"sizeInGiB": 21},
        "fargateEphemeralStorage": {"sizeInGiB": 20, "kmsKeyId": "k"},
        "trustedExecutionSummary": {"isolationMode": "SHARED", "attestationPolicyStatus": "CONFIGURED"},
    })
}

/// The same for a container instance.
fn full_instance() -> Value {
    json!({
        "containerInstanceArn": "arn:aws:ecs:eu-west-1:123456789012:container-instance/demo/8a1f",
        "ec2InstanceId": "i-0f3a2b1c4d5e6f708",
        "capacityProviderName": "demo",
        "version": 31,
        "versionInfo": {"agentVersion": "1.98.0", "agentHash": "5c2d9a4e", "dockerVersion": "DockerVersion: 25.0.13"},
        "remainingResources": [
            {"name": "CPU", "type": "INTEGER", "doubleValue": 0.0, "longValue": 0, "integerValue": 2048},
            {"name": "GPU", "type": "DOUBLE", "doubleValue": 0.5, "longValue": 0, "integerValue": 0},
            {
                "name": "PORTS", "type": "STRINGSET", "doubleValue": 0.0, "longValue": 0, "integerValue": 0,
                "stringSetValue": ["22"],
            },
        ],
        "registeredResources": [{
            "name": "DISK", "type": "LONG", "doubleValue": 0.0, "longValue": 9_007_199_254_740_991_i64,
            "integerValue": 0,
        }],
        "status": "DRAINING",
        "statusReason": "r",
        "agentConnected": true,
        "runningTasksCount": 1,
        "pendingTasksCount": 0,
        "agentUpdateStatus": "UPDATED",
        "attributes": [{"name": "ecs.capability.task-eni"}, {"name": "ecs.instance-type", "value": "m6i.large"}],
        "registeredAt": 1_619_719_924.711,
        "attachments": [],
        "tags": [],
        "healthStatus": {"overallStatus": "OK", "details": [{
            "type": "CONTAINER_RUNTIME", "status": "OK", "statusReason": "r",
            "lastUpdated": 1_619_719_924, "lastStatusChange": 1_619_719_924.5,
        }]},
        "gpuDevices": [{
            "gpuId": "0", "sharingMode": "IDLE", "totalMemoryInMiB": 1, "remainingMemoryInMiB": 1, "containerCount": 0,
        }],
        "clusterArn": "arn:aws:ecs:eu-west-1:123456789012:cluster/demo",
        "accountType": "aws",
        "updatedAt": "2021-04-29T18:13:19.5Z",
    })
}

#[test]
fn every_field_of_the_api_and_of_the_events_is_known() {
    assert_known(&there_and_back::<Task>(&full_task()));
    assert_known(&there_and_back::<ContainerInstance>(&full_instance()));
    // The forms that occur only in events.
    let mut task = full_task();
    task["attachments"] = json!([{"id": "b", "type": "elb", "status": "DELETED", "details": []}]);
    task["containers"][0]["managedAgents"] = json!([{"name": "ExecuteCommandAgent", "status": "STOPPED"}]);
    assert_known(&there_and_back::<Task>(&task));
}

#[test]
fn an_event_and_the_api_give_the_same_task_for_the_same_state() {
    let event = sample("ec2-task-stopped-by-exit-code");
    let from_event: Task = from_json(&event["detail"]).unwrap();
    let mut described = event["detail"].clone();
    for name in TIMES {
        if let Some(Value::String(time)) = described.get(name) {
            #[expect(clippy::cast_precision_loss, reason = "as the API does")]
            let seconds = time.parse::<DateTime<Utc>>().unwrap().timestamp_millis() as f64 / 1e3;
            described[name] = json!(seconds);
        }
    }
    assert!(described["createdAt"].is_f64());
    // One-sided: the event has updatedAt, the API has health, tags and empty lists.
    described.as_object_mut().unwrap().remove("updatedAt");
    described["healthStatus"] = json!("UNKNOWN");
    described["tags"] = json!([]);
    let mut from_api: Task = from_json(&described).unwrap();
    assert_eq!(from_api.health_status.take(), Some(HealthStatus::NotKnown));
    assert!(from_api.tags.is_empty() && !from_api.tags.is_absent());
    from_api.tags = from_event.tags.clone();
    from_api.updated_at = from_event.updated_at;
    assert_eq!(from_api, from_event);
}

#[test]
fn an_absent_array_an_empty_array_and_null_read_as_empty_and_only_the_empty_one_is_written() {
    let task: Task = from_json(&json!({"taskArn": TASK, "containers": [], "attachments": null})).unwrap();
    assert_eq!((task.containers.len(), task.attachments.len(), task.attributes.len()), (0, 0, 0));
    assert_eq!(serde_json::to_value(&task).unwrap(), json!({"taskArn": TASK, "containers": []}));
}

#[test]
fn what_the_model_does_not_know_is_kept() {
    let object = json!({
        "taskArn": TASK,
        "lastStatus": "HIBERNATING",
        "stopCode": "",
        "launchType": "MOON",
        "brandNew": {"null": null, "list": [1, -2, 0.5, 18_446_744_073_709_551_615_u64]},
        "containers": [{"name": "web", "lastStatus": "CREATED", "color": "blue"}],
        "overrides": {"containerOverrides": [{"environment": [{"name": "A", "value": "b", "from": "c"}]}], "x": []},
    });
    let task: Task = there_and_back(&object);
    assert_eq!(task.last_status, Some(TaskStatus::Unknown("HIBERNATING".to_owned())));
    assert_eq!(task.stop_code, Some(StopCode::Unknown(String::new())));
    assert_eq!(task.launch_type.as_ref().map(ToString::to_string).as_deref(), Some("MOON"));
    assert_eq!(task.other["brandNew"], object["brandNew"]);
    assert_eq!(task.containers[0].other["color"], "blue");
    // Even null, which means absent only in a known field.
    assert_eq!(serde_json::to_value(&task).unwrap()["brandNew"], object["brandNew"]);
}

#[test]
fn a_time_is_read_from_a_string_of_any_precision_and_from_seconds() {
    let instant = |time: Value| {
        let task: Result<Task, _> = from_json(&json!({"taskArn": TASK, "createdAt": time}));
        task.map(|task| serde_json::to_value(task).unwrap()["createdAt"].as_str().unwrap().to_owned())
    };
    for (time, expected) in [
        (json!("2026-03-02T09:14:28Z"), "2026-03-02T09:14:28.000Z"),
        (json!("2026-03-02T10:02:17.31Z"), "2026-03-02T10:02:17.310Z"),
        (json!("2026-03-02T10:14:28.123456+01:00"), "2026-03-02T09:14:28.123Z"),
        // Not RFC 3339.
        (json!("2026-03-02T10:14:28+0100"), "2026-03-02T09:14:28.000Z"),
        (json!(1_619_719_924), "2021-04-29T18:12:04.000Z"),
        (json!(1_619_719_924.711), "2021-04-29T18:12:04.711Z"),
        (json!(-1), "1969-12-31T23:59:59.000Z"),
    ] {
        assert_eq!(instant(time.clone()).as_deref(), Ok(expected), "{time}");
    }
    let problem = "must be a time, in RFC 3339 or in seconds since 1970, found ";
    for (time, found) in [
        (json!("yesterday"), "a string"),
        (json!(""), "a string"),
        (json!(1e300), "a number with a fraction, or of more than 64 bits"),
        (json!(u64::MAX), "an integer"),
        (json!(i64::MIN), "an integer"),
        (json!(true), "a boolean"),
        (json!([]), "an array"),
    ] {
        assert_eq!(instant(time).unwrap_err().problem, format!("{problem}{found}"));
    }
}

#[test]
fn an_error_names_the_field_and_quotes_no_value() {
    let error = |object: Value| from_json::<Task>(&object).unwrap_err().to_string();
    let with = |pointer: &str, value: Value| {
        let mut task = full_task();
        *task.pointer_mut(pointer).unwrap() = value;
        error(task)
    };
    for (message, expected) in [
        (with("/containers/0/exitCode", json!("secret")), "containers[0].exitCode must be an integer, found a string"),
        (with("/version", json!(-1)), "version must be a non-negative integer, found an integer"),
        (with("/containers", json!({"secret": 1})), "containers must be an array, found an object"),
        (with("/containers/0", json!(null)), "containers[0] must be an object, found null"),
        (with("/overrides", json!("secret")), "overrides must be an object, found a string"),
        (with("/lastStatus", json!(["secret"])), "lastStatus must be a string, found an array"),
        (with("/enableExecuteCommand", json!("secret")), "enableExecuteCommand must be a boolean, found a string"),
        (with("/taskArn", json!(null)), "taskArn must be a string, found null"),
        (
            with("/overrides/containerOverrides/0/environment/0/value", json!(5)),
            "overrides.containerOverrides[0].environment[0].value must be a string, found an integer",
        ),
        (error(json!({"version": 1})), "the object must have the field taskArn"),
        (error(json!("secret")), "the object must be an object, found a string"),
    ] {
        assert_eq!(message, expected);
    }
    let mut instance = full_instance();
    instance["remainingResources"][0]["doubleValue"] = json!("secret");
    let error = from_json::<ContainerInstance>(&instance).unwrap_err();
    assert_eq!(error.to_string(), "remainingResources[0].doubleValue must be a number, found a string");
}

// Names.

#[test]
fn a_task_knows_its_names() {
    let task: Task = from_json(&sample("fargate-task-stopped")["detail"]).unwrap();
    assert_eq!(task.id(), "5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6");
    assert_eq!(task.cluster_name(), Some("demo"));
    assert_eq!(task.service_name(), Some("web"));
    assert_eq!(task.capacity(), Some("FARGATE"));
    let task: Task = from_json(&sample("ec2-task-stopped-by-exit-code")["detail"]).unwrap();
    assert_eq!((task.capacity(), &task.launch_type), (Some("demo-ec2"), &Some(LaunchType::Ec2)));
    // Old and unknown forms.
    let named = |arn: &str, more: Value| {
        let mut object = more;
        object["taskArn"] = json!(arn);
        from_json::<Task>(&object).unwrap()
    };
    let old = named("arn:aws:ecs:us-east-1:123456789012:task/5f1b9c0e-6d7a", json!({"group": "family:service:web"}));
    assert_eq!((old.id(), old.cluster_name(), old.service_name()), ("5f1b9c0e-6d7a", None, None));
    assert_eq!((old.capacity(), old.is_stopped()), (None, false));
    let odd = named("x", json!({"clusterArn": "default", "group": "service:"}));
    assert_eq!((odd.id(), odd.cluster_name()), ("x", Some("default")));
    assert_eq!(odd.service_name(), Some(""));
    assert_eq!(named(TASK, json!({})).cluster_name(), Some("demo"));
}

#[test]
fn a_container_instance_knows_its_names() {
    let mut instance: ContainerInstance = from_json(&sample("container-instance-registered")["detail"]).unwrap();
    assert_eq!(instance.id(), "8a1f4b6d2c3e4f5a9b8c7d6e5f4a3b2c");
    assert_eq!(instance.attribute("ecs.instance-type"), Some("m6i.large"));
    assert_eq!(instance.attribute("ecs.capability.task-eni"), None);
    // The API omits the cluster.
    instance.cluster_arn = None;
    assert_eq!(instance.cluster_name(), Some("demo"));
}

#[test]
fn the_moments_of_a_life_are_in_chronological_order() {
    let task: Task = from_json(&published("fargate-stopped")["detail"]).unwrap();
    let moments = task.moments();
    assert!(moments.is_sorted_by_key(|(_, time)| *time));
    assert_eq!(
        moments.into_iter().map(|(moment, _)| moment).collect::<Vec<_>>(),
        [
            Moment::Created,
            Moment::ConnectivityChanged,
            Moment::PullStarted,
            Moment::PullStopped,
            // Twenty milliseconds before it counts as started.
            Moment::ExecutionStopped,
            Moment::Started,
            Moment::Stopping,
            Moment::Stopped,
        ]
    );
    assert_eq!(from_json::<Task>(&json!({"taskArn": "x"})).unwrap().moments(), []);
}

// Any input.

/// The names of all fields, known and unknown.
fn names() -> impl Strategy<Value = String> {
    fn collect(value: &Value, names: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    names.push(name.clone());
                    collect(value, names);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, names)),
            _ => {}
        }
    }
    let mut names = vec!["current_status".to_owned(), "expires_at".to_owned(), "missing_since".to_owned()];
    collect(&full_task(), &mut names);
    collect(&full_instance(), &mut names);
    prop_oneof![9 => prop::sample::select(names), 1 => any::<String>()]
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-1e10..1e10).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,9})?(Z|\\+01:00)"
            .prop_map(Value::from),
        prop::sample::select(vec![
            "STOPPED",
            "RUNNING",
            "UserInitiated",
            "TaskFailedToStart",
            "CannotPullContainerError: …"
        ])
        .prop_map(Value::from),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(names(), inner, 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Any object becomes a model that is written back as it was, or a clear error.
fn check<T: DeserializeOwned + Serialize + Debug + PartialEq>(object: &Value) -> Result<Option<T>, TestCaseError> {
    match from_json::<T>(object) {
        Ok(model) => {
            let back = serde_json::to_value(&model).expect("JSON");
            prop_assert_eq!(by_value("", &back), by_value("", object));
            Ok(Some(model))
        }
        Err(error) => {
            prop_assert!(is_clear(&error), "{}", error);
            Ok(None)
        }
    }
}

fn is_clear(error: &ModelError) -> bool {
    let known = error.field.len() < 200 && error.problem.len() < 200;
    known && (error.problem.starts_with("must ") || error.problem.starts_with("has an attribute"))
}

fn configuration(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/model.failures"))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(configuration(500))]

    #[test]
    fn any_object_becomes_a_model_or_a_clear_error(fields in btree_map(names(), any_json(), 0..8)) {
        let mut object: Map<String, Value> = fields.into_iter().collect();
        object.insert("taskArn".to_owned(), json!("arn"));
        object.insert("containerInstanceArn".to_owned(), json!("arn"));
        let object = Value::Object(object);
        check::<ContainerInstance>(&object)?;
        if let Some(mut task) = check::<Task>(&object)? {
            prop_assert!(task.moments().len() <= 8);
            task.last_status = Some(TaskStatus::Stopped);
            prop_assert!(Diagnosis::new(&task).is_some());
        }
    }

    #[test]
    fn a_full_object_with_a_changed_part_becomes_a_model_or_a_clear_error(
        changes in vec((any::<prop::sample::Index>(), any_json()), 1..4),
    ) {
        fn pointers(at: &str, value: &Value, found: &mut Vec<String>) {
            found.push(at.to_owned());
            match value {
                Value::Object(fields) => {
                    for (name, value) in fields {
                        pointers(&format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), value, found);
                    }
                }
                Value::Array(values) => {
                    for (index, value) in values.iter().enumerate() {
                        pointers(&format!("{at}/{index}"), value, found);
                    }
                }
                _ => {}
            }
        }
        let (mut task, mut instance) = (full_task(), full_instance());
        for (index, value) in changes {
            for object in [&mut task, &mut instance] {
                let mut found = Vec::new();
                pointers("", object, &mut found);
                *object.pointer_mut(&found[index.index(found.len())]).unwrap() = value.clone();
            }
        }
        check::<Task>(&task)?;
        check::<ContainerInstance>(&instance)?;
    }
}
