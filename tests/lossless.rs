//! Any bytes become an item without loss, or an error, and never a panic.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aws_sdk_dynamodb::types::AttributeValue;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use harness::any_bytes;
use harness::events::{sample, samples};

/// A JSON value, independent of the parser under test.
#[derive(Clone, Debug)]
enum Json {
    Null,
    Bool(bool),
    /// The digits, as written.
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    fn write(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(digits) => digits.clone(),
            Self::String(text) => write_string(text),
            Self::Array(values) => format!("[ {} ]", values.iter().map(Self::write).collect::<Vec<_>>().join(" ,\n")),
            Self::Object(values) => {
                let fields = values.iter().map(|(name, value)| format!("{}:\t{}", write_string(name), value.write()));
                format!("{{{} }}", fields.collect::<Vec<_>>().join(","))
            }
        }
    }

    fn attribute(&self) -> AttributeValue {
        match self {
            Self::Null => AttributeValue::Null(true),
            Self::Bool(value) => AttributeValue::Bool(*value),
            Self::Number(digits) => AttributeValue::N(digits.clone()),
            Self::String(text) => AttributeValue::S(text.clone()),
            Self::Array(values) => AttributeValue::L(values.iter().map(Self::attribute).collect()),
            Self::Object(values) => {
                AttributeValue::M(values.iter().map(|(name, value)| (name.clone(), value.attribute())).collect())
            }
        }
    }
}

/// Writes every other character as `\u` escapes, with surrogate pairs.
fn write_string(text: &str) -> String {
    let mut json = String::from('"');
    for (index, character) in text.chars().enumerate() {
        if index % 2 == 0 || character < ' ' || character == '"' || character == '\\' {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(json, "\\u{unit:04x}").expect("writing to a string never fails");
            }
        } else {
            json.push(character);
        }
    }
    json.push('"');
    json
}

fn json() -> impl Strategy<Value = Json> {
    let number = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        "-?(0|[1-9][0-9]{0,45})(\\.[0-9]{1,45})?([eE][+-]?[0-9]{1,5})?",
    ];
    let name = prop_oneof![
        4 => "\\PC{0,8}".boxed(),
        1 => any::<String>().boxed(),
        1 => prop_oneof![
            Just("$serde_json::private::Number"),
            Just("$serde_json::private::RawValue"),
            Just("status"),
            Just("S"),
        ].prop_map(str::to_owned).boxed(),
    ];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        number.prop_map(Json::Number),
        any::<String>().prop_map(Json::String),
    ];
    leaf.prop_recursive(6, 60, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Json::Array),
            btree_map(name.clone(), inner, 0..8).prop_map(Json::Object),
        ]
    })
}

fn configuration(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/lossless.failures"))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(configuration(2000))]

    #[test]
    fn every_detail_becomes_an_item_with_the_same_content(
        fields in btree_map("[a-zA-Z_$:]{1,30}", json(), 0..12), version in any::<u64>(), instance in any::<bool>(),
    ) {
        let (detail_type, key) = if instance {
            ("ECS Container Instance State Change", "containerInstanceArn")
        } else {
            ("ECS Task State Change", "taskArn")
        };
        let mut detail = fields;
        detail.insert(key.to_owned(), Json::String("arn:é".to_owned()));
        detail.insert("version".to_owned(), Json::Number(version.to_string()));
        let event = Json::Object(BTreeMap::from([
            ("source".to_owned(), Json::String("aws.ecs".to_owned())),
            ("detail-type".to_owned(), Json::String(detail_type.to_owned())),
            ("detail".to_owned(), Json::Object(detail.clone())),
        ]));

        let row = any_bytes::read(event.write().as_bytes()).expect("a valid event");

        let mut expected: BTreeMap<String, AttributeValue> =
            detail.iter().map(|(name, value)| (name.clone(), value.attribute())).collect();
        for ours in ["cw_version", "event_id", "event_time", "current_status", "expires_at"] {
            expected.remove(ours);
        }
        if let Some(status) = expected.remove("status") {
            expected.insert("current_status".to_owned(), status);
        }
        prop_assert_eq!(row.item.into_iter().collect::<BTreeMap<_, _>>(), expected);
        prop_assert_eq!(row.version, version);
    }

    #[test]
    fn any_bytes_become_a_complete_row_or_a_readable_error(bytes in vec(any::<u8>(), 0..300)) {
        any_bytes::read(&bytes);
    }

    #[test]
    fn a_corrupted_sample_event_becomes_a_complete_row_or_a_readable_error(
        name in prop::sample::select(samples()),
        changes in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), vec(any::<u8>(), 0..4)), 1..5),
    ) {
        let mut bytes = sample(&name).to_string().into_bytes();
        for (from, length, with) in changes {
            let from = from.index(bytes.len());
            let to = bytes.len().min(from + length.index(4));
            bytes.splice(from..to, with);
        }
        any_bytes::read(&bytes);
    }
}

#[test]
fn every_sample_event_becomes_a_row() {
    for name in samples() {
        assert!(any_bytes::read(sample(&name).to_string().as_bytes()).is_some(), "{name}");
    }
}
