//! Rows read back as typed tasks and container instances.

use std::fmt::Debug;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use ecs_model::diagnosis::Diagnosis;
use ecs_model::{ContainerInstance, ContainerInstanceStatus, ContainerOverride, ModelError, Task, from_json};
use ecs_state_recorder::attributes::Item;
use ecs_state_recorder::config::Config;
use ecs_state_recorder::lambda::Payload;
use ecs_state_recorder::notifier::announcement::detail;
use ecs_state_recorder::notifier::news::Stop;
use ecs_state_recorder::notifier::noise::Standing;
use ecs_state_recorder::notifier::record::Change;
use ecs_state_recorder::recorder::envelope::Envelope;
use ecs_state_recorder::state::row::Row;
use ecs_state_recorder::state::stored::{Recorded, Stored};
use harness::events::{sample, samples};
use proptest::collection::{hash_map, vec};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

const TASK: &str = "arn:aws:ecs:eu-west-1:123456789012:task/demo/5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6";

/// The recorder's row of an event.
fn recorded(event: &str, redact: bool) -> Item {
    let payload = Payload::deserialize(&mut serde_json::Deserializer::from_str(event)).expect("a payload");
    let envelope = Envelope::parse(&payload).expect("an envelope");
    let variable = |name: &str| (redact && name == "REDACT_ENVIRONMENT").then(|| "true".into());
    let config = Config::read(variable).expect("a configuration");
    Row::new(envelope.state().expect("a state"), &config).expect("a row").item
}

#[test]
fn the_row_of_every_sample_event_is_the_same_as_the_event() {
    fn check<T: DeserializeOwned + Debug + PartialEq>(event: &Value) {
        let row: Stored<T> = Stored::from_item(recorded(&event.to_string(), false)).unwrap();
        assert_eq!(row.state, from_json(&event["detail"]).unwrap());
        let recorded = row.recorded;
        assert_eq!(recorded.event_id.as_deref(), event["id"].as_str());
        assert_eq!(recorded.event_time.unwrap(), event["time"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap());
        assert_eq!(recorded.cw_version.as_deref(), Some("0"));
        assert_eq!((recorded.reconciled_at, recorded.missing_since), (None, None));
    }
    for name in samples() {
        let event = sample(&name);
        match event["detail-type"].as_str() {
            Some("ECS Task State Change") => check::<Task>(&event),
            _ => check::<ContainerInstance>(&event),
        }
    }
}

#[test]
fn our_own_attributes_are_separate_from_the_state() {
    let mut item = recorded(&sample("container-instance-draining").to_string(), false);
    let text = |text: &str| AttributeValue::S(text.to_owned());
    item.remove("event_id");
    item.remove("event_time");
    item.remove("cw_version");
    item.insert("reconciled_at".to_owned(), text("2026-03-02T12:00:00.000Z"));
    item.insert("missing_since".to_owned(), text("2026-03-02T13:00:00Z"));
    item.insert("expires_at".to_owned(), AttributeValue::N("1772442868".to_owned()));
    item.insert("index_cluster".to_owned(), text("arn:aws:ecs:eu-west-1:123456789012:cluster/demo"));
    item.insert("index_state".to_owned(), text("A##2026-03-02T12:00:00.000Z"));
    let row: Stored<ContainerInstance> = Stored::from_item(item).unwrap();
    assert_eq!(row.state.status, Some(ContainerInstanceStatus::Draining));
    assert_eq!(row.state, from_json(&sample("container-instance-draining")["detail"]).unwrap());
    let time = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap());
    assert_eq!(
        row.recorded,
        Recorded {
            reconciled_at: time("2026-03-02T12:00:00Z"),
            missing_since: time("2026-03-02T13:00:00Z"),
            expires_at: time("2026-03-02T09:14:28Z"),
            ..Recorded::default()
        }
    );
}

#[test]
fn a_row_may_contain_redacted_values_nulls_and_numbers_of_thirty_digits() {
    let mut event = sample("ec2-task-stopped-by-exit-code");
    event["detail"]["capacityProviderName"] = json!(null);
    let text = event.to_string().replacen(
        "\"attachments\":",
        "\"brandNew\":123456789012345678901234567890,\"attachments\":",
        1,
    );
    let item = recorded(&text, true);
    assert_eq!(item["brandNew"], AttributeValue::N("123456789012345678901234567890".to_owned()));
    let row: Stored<Task> = Stored::from_item(item).unwrap();
    assert_eq!(row.state.capacity_provider_name, None);
    assert_eq!(row.state.other["brandNew"].as_f64(), Some(123_456_789_012_345_678_901_234_567_890.0));
    let overrides: &ContainerOverride = &row.state.overrides.as_ref().unwrap().container_overrides[0];
    assert_eq!(overrides.environment[0].name.as_deref(), Some("LOG_LEVEL"));
    assert_eq!(overrides.environment[0].value.as_deref(), Some("[redacted]"));
    assert_eq!(
        Diagnosis::new(&row.state).unwrap().summary,
        "container \"worker\" was killed for exceeding its 1024 MiB of memory"
    );
}

#[test]
fn a_field_that_cannot_be_read_is_left_out_and_named_with_the_arn() {
    let error = |name: &str, value: AttributeValue| {
        let mut item = recorded(&sample("fargate-task-running").to_string(), false);
        item.remove(name);
        let without: Stored<Task> = Stored::from_item(item.clone()).unwrap();
        item.insert(name.to_owned(), value);
        let row: Stored<Task> = Stored::from_item(item).unwrap();
        assert_eq!((row.state, row.recorded), (without.state, without.recorded));
        let [error] = &row.left_out[..] else { panic!("{:?}", row.left_out) };
        error.to_string()
    };
    let thirty = AttributeValue::N("123456789012345678901234567890".to_owned());
    for (message, expected) in [
        (
            error("version", thirty),
            "version must be a non-negative integer, found a number with a fraction, or of more than 64 bits",
        ),
        (
            error("event_time", AttributeValue::S("secret".to_owned())),
            "event_time must be a time, in RFC 3339 or in seconds since 1970, found a string",
        ),
        (error("containers", AttributeValue::S("secret".to_owned())), "containers must be an array, found a string"),
        (
            error("x", AttributeValue::B(Blob::new("secret"))),
            "x must be what JSON can represent, found binary data or another type",
        ),
    ] {
        assert_eq!(message, format!("{TASK}: {expected}"));
    }
}

#[test]
fn a_projection_of_the_index_is_a_task() {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let item = Item::from([
        ("taskArn".to_owned(), text(TASK)),
        ("index_cluster".to_owned(), text("c")),
        ("index_state".to_owned(), text("A##x")),
        ("group".to_owned(), text("service:web")),
    ]);
    let row: Stored<Task> = Stored::from_item(item).unwrap();
    assert_eq!((row.state.id(), row.state.service_name()), ("5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6", Some("web")));
    assert_eq!(row.state.other, Map::new());
}

fn any_attribute() -> impl Strategy<Value = AttributeValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(AttributeValue::Null),
        any::<bool>().prop_map(AttributeValue::Bool),
        "-?[0-9]{1,38}(\\.[0-9]{1,10})?([eE][+-]?[0-9]{1,3})?".prop_map(AttributeValue::N),
        any::<String>().prop_map(AttributeValue::N),
        any::<String>().prop_map(AttributeValue::S),
        vec(any::<u8>(), 0..9).prop_map(|bytes| AttributeValue::B(Blob::new(bytes))),
        vec(any::<String>(), 0..3).prop_map(AttributeValue::Ss),
        vec("[0-9]{1,40}", 0..3).prop_map(AttributeValue::Ns),
        vec(vec(any::<u8>(), 0..9), 0..3)
            .prop_map(|sets| AttributeValue::Bs(sets.into_iter().map(Blob::new).collect())),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(AttributeValue::L),
            hash_map(names(), inner, 0..6).prop_map(AttributeValue::M),
        ]
    })
}

/// The names of all fields of the samples, and some others.
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
    for name in samples() {
        collect(&sample(&name)["detail"], &mut names);
    }
    prop_oneof![9 => prop::sample::select(names), 1 => any::<String>()]
}

fn is_clear(error: &ModelError) -> bool {
    let known = error.field.len() < 200 && error.problem.len() < 200;
    known && error.problem.starts_with("must ")
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/stored.failures"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_row_becomes_a_model_and_clear_errors(
        mut item in hash_map(names(), any_attribute(), 0..8),
        arn in prop_oneof![9 => any::<String>().prop_map(AttributeValue::S).boxed(), 1 => any_attribute().boxed()],
    ) {
        item.insert("taskArn".to_owned(), arn.clone());
        item.insert("containerInstanceArn".to_owned(), arn);
        let of_task = Stored::<Task>::from_item(item.clone()).map(|row| row.left_out);
        let of_instance = Stored::<ContainerInstance>::from_item(item).map(|row| row.left_out);
        for result in [of_task, of_instance] {
            for error in result.unwrap_or_else(|error| vec![error]) {
                prop_assert!(is_clear(&error), "{}", error);
            }
        }
    }

    #[test]
    fn any_row_of_a_stopped_task_becomes_an_event_of_limited_size(
        mut item in hash_map(names(), any_attribute(), 0..8),
        arn in any::<String>(),
    ) {
        item.insert("taskArn".to_owned(), AttributeValue::S(arn));
        item.insert("lastStatus".to_owned(), AttributeValue::S("STOPPED".to_owned()));
        let now = Utc::now();
        let change = Change { sequence_number: String::new(), written_at: now, before: None, after: Some(item) };
        if let Ok(stop) = Stop::parse(change, now) {
            let event = detail(&stop.expect("a stop"), &Standing::default());
            prop_assert!(event.to_string().len() < 64 * 1024, "{}", event);
        }
    }
}
