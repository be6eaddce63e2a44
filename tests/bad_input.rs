//! Malformed and hostile inputs, each with the expected result of the real binary.

use serde_json::{Value, json};

use harness::dynamodb::{CONTAINER_INSTANCES, DynamoDb, TASKS};
use harness::events::{self, TASK, task};
use harness::runtime_api::Lambda;

use crate::RECORDER;

struct Case {
    what: String,
    payload: Vec<u8>,
    /// Stored (`Some` is the expected `lastStatus` of the row), or an error of this type whose message contains this
    /// text.
    expected: Result<Option<Value>, (&'static str, &'static str)>,
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn refused(&mut self, what: &str, payload: impl Into<Vec<u8>>, error_type: &'static str, message: &'static str) {
        self.0.push(Case { what: what.to_owned(), payload: payload.into(), expected: Err((error_type, message)) });
    }

    /// The row must equal the payload, as read by another JSON parser.
    fn stored(&mut self, what: &str, payload: impl Into<Vec<u8>>) {
        self.0.push(Case { what: what.to_owned(), payload: payload.into(), expected: Ok(None) });
    }

    /// `lastStatus` must become `attribute`: for values that the other JSON parser does not preserve.
    fn stored_as(&mut self, what: &str, json: &str, attribute: Value) {
        self.0.push(Case { what: what.to_owned(), payload: with_value(json).into(), expected: Ok(Some(attribute)) });
    }
}

/// A valid event with a field of the envelope set to this JSON text.
fn with_envelope(field: &str, json: &str) -> String {
    let mut event = task(1);
    event[field] = json!("PLACEHOLDER");
    event.to_string().replace("\"PLACEHOLDER\"", json)
}

fn without_envelope(field: &str) -> String {
    let mut event = task(1);
    event.as_object_mut().unwrap().remove(field);
    event.to_string()
}

/// A valid event with a field of the detail set to this JSON text.
fn with_detail(field: &str, json: &str) -> String {
    let mut event = task(1);
    event["detail"][field] = json!("PLACEHOLDER");
    event.to_string().replace("\"PLACEHOLDER\"", json)
}

fn with_value(json: &str) -> String {
    with_detail("lastStatus", json)
}

fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

/// A valid event whose item has this size, as DynamoDB counts it: the names and values of all attributes.
fn sized(bytes: usize) -> String {
    let row = events::row(&task(1));
    let text = |value: &Value| value["S"].as_str().map_or(0, str::len);
    // The version has one digit, which takes 2 bytes.
    let rest: usize = row.as_object().unwrap().iter().map(|(name, value)| name.len() + text(value)).sum::<usize>() + 2;
    with_value(&format!("\"{}\"", "x".repeat(bytes - rest + "RUNNING".len())))
}

#[allow(clippy::too_many_lines, reason = "a list")]
fn cases() -> Vec<Case> {
    let mut cases = Cases::default();

    // Not JSON.
    for (what, payload) in [
        ("an empty payload", &b""[..]),
        ("white space", b" \n\t "),
        ("half an event", br#"{"source": "aws.ecs", "detail"#),
        ("a bare word", b"undefined"),
        ("NaN", b"NaN"),
        ("single quotes", b"{'source': 'aws.ecs'}"),
        ("a byte order mark", b"\xef\xbb\xbf{}"),
        ("bytes that are not UTF-8", b"{\"source\": \"\xff\xfe\"}"),
        ("a NUL byte in a string", b"{\"source\": \"aws\0ecs\"}"),
        ("a line break in a string", b"{\"source\": \"aws\necs\"}"),
        ("a trailing comma", b"{\"source\": \"aws.ecs\",}"),
        ("a comment", b"{/* */}"),
        ("a number with a leading zero", b"01"),
        ("a million unclosed brackets", &vec![b'['; 1_000_000]),
    ] {
        cases.refused(what, payload, "InvalidEvent", "the payload must be JSON");
    }

    // Not an envelope.
    for (payload, message) in [
        ("null", "found null"),
        ("true", "found a boolean"),
        ("-1.5", "found a number"),
        ("1e400", "found a number"),
        ("\"\"", "found a string"),
        (r#""\ud800""#, "found a string with an unpaired surrogate"),
        ("[]", "found an array"),
        (r#"[{"source": "aws.ecs"}]"#, "found an array"),
        (&nested(400_000), "found arrays or objects nested more than 64 levels deep"),
        (r#"{"\udc00": 1}"#, "found an object with a field name that is a string with an unpaired surrogate"),
    ] {
        cases.refused(&payload[..payload.len().min(40)], payload, "InvalidEvent", message);
    }
    cases.refused("an empty object", "{}", "UnsupportedSource", "found nothing");
    cases.refused("a detail without its envelope", task(1)["detail"].to_string(), "UnsupportedSource", "found nothing");
    cases.refused("an event inside a string", json!(task(1).to_string()).to_string(), "InvalidEvent", "found a string");
    cases.refused(
        "an event inside Lambda's on-failure record",
        json!({"version": "1.0", "requestPayload": task(1)}).to_string(),
        "UnsupportedSource",
        "found nothing",
    );

    // Fields of the envelope.
    cases.refused("no source", without_envelope("source"), "UnsupportedSource", "found nothing");
    cases.refused("no detail-type", without_envelope("detail-type"), "UnsupportedDetailType", "found nothing");
    cases.refused("no detail", without_envelope("detail"), "InvalidEvent", "detail must be an object, found nothing");
    for field in ["version", "id", "time"] {
        cases.stored(&format!("no {field}"), without_envelope(field));
    }
    for field in ["account", "region", "resources", "an unknown field"] {
        cases.stored(&format!("{field} null"), with_envelope(field, "null"));
    }
    for (json, message) in [
        ("null", "found null"),
        ("7", "found a number"),
        ("[\"aws.ecs\"]", "found an array"),
        ("\"aws.ecs \"", "found \"aws.ecs \""),
        ("\"AWS.ECS\"", "found \"AWS.ECS\""),
        (r#""\ud800""#, "found a string with an unpaired surrogate"),
    ] {
        cases.refused(&format!("source {json}"), with_envelope("source", json), "UnsupportedSource", message);
        cases.refused(
            &format!("detail-type {json}"),
            with_envelope("detail-type", json),
            "UnsupportedDetailType",
            message,
        );
    }
    let long = format!("\"{}\"", "aws.ecs".repeat(100_000));
    cases.refused("a source of 700 KB", with_envelope("source", &long), "UnsupportedSource", "found \"aws.ecsaws.ecs");
    for (field, json, message) in [
        ("version", "0", "version must be a string, found a number"),
        ("id", "{}", "id must be a string, found an object"),
        ("id", r#""\ud800""#, "id must be a string, found a string with an unpaired surrogate"),
        ("time", "1772442868", "time must be an RFC 3339 time, found a number"),
        ("time", "\"yesterday\"", "time must be an RFC 3339 time, found a string"),
        ("time", "\"2026-13-45T25:61:00Z\"", "time must be an RFC 3339 time, found a string"),
        ("account", "123456789012", "account must be a string, found a number"),
        ("region", "true", "region must be a string, found a boolean"),
        ("resources", "\"arn\"", "resources must be an array of strings, found a string"),
        ("resources", "[null]", "resources must be an array of strings, found an array"),
    ] {
        cases.refused(&format!("{field} {json}"), with_envelope(field, json), "InvalidEvent", message);
    }
    for json in ["1e400", r#""\ud800""#, &nested(5000), r#"{"\udfff": 1}"#] {
        let payload = with_envelope("an unknown field", json);
        let expected = json!({"S": "RUNNING"});
        cases.0.push(Case {
            what: format!("an unknown field of the envelope: {}", &json[..json.len().min(40)]),
            payload: payload.into(),
            expected: Ok(Some(expected)),
        });
    }
    let duplicate = |field: &str, json: &str| task(1).to_string().replacen('{', &format!("{{{field}:{json},"), 1);
    cases.refused("source twice", duplicate("\"source\"", "\"aws.ecs\""), "InvalidEvent", "without duplicate fields");
    cases.refused("detail twice", duplicate("\"detail\"", "{}"), "InvalidEvent", "without duplicate fields");

    // The detail.
    for (json, message) in [
        ("null", "found null"),
        ("[]", "found an array"),
        ("\"{}\"", "found a string"),
        ("0", "found a number"),
        ("false", "found a boolean"),
        (r#"{"\ud800": 1}"#, "found an object with a field name that is a string with an unpaired surrogate"),
    ] {
        cases.refused(&format!("detail {json}"), with_envelope("detail", json), "InvalidEvent", message);
    }
    cases.refused("an empty detail", with_envelope("detail", "{}"), "InvalidEvent", "detail.taskArn must be");

    // The key.
    let long = |bytes: usize| format!("\"{}\"", "k".repeat(bytes));
    for (json, message) in [
        ("null", "found null"),
        ("\"\"", "found an empty string"),
        ("5", "found a number"),
        ("[\"arn\"]", "found an array"),
        ("{\"S\": \"arn\"}", "found an object"),
        (r#""\ud83d""#, "found a string with an unpaired surrogate"),
        (&long(2049), "found a string of 2049 bytes"),
        (&long(900_000), "found a string of 900000 bytes"),
    ] {
        let what = format!("key {}", &json[..json.len().min(40)]);
        cases.refused(&what, with_detail("taskArn", json), "InvalidEvent", message);
    }
    for json in [&long(2048), "\"x\"", "\" \"", r#""a\u0000b""#, r#""\ud83d\ude80""#, "\"' OR 1=1 --\""] {
        cases.stored(&format!("key {}", &json[..json.len().min(40)]), with_detail("taskArn", json));
    }

    // The version.
    for (json, message) in [
        ("null", "found null"),
        ("\"5\"", "found a string"),
        ("true", "found a boolean"),
        ("[5]", "found an array"),
        ("{\"N\": \"5\"}", "found an object"),
        ("-1", "found a negative number"),
        ("-9223372036854775809", "found a negative number"),
        ("5.0", "found a number with a fraction or an exponent"),
        ("0.5", "found a number with a fraction or an exponent"),
        ("1e2", "found a number with a fraction or an exponent"),
        ("1e400", "found a number with a fraction or an exponent"),
        ("18446744073709551616", "found a larger number"),
        ("100000000000000000000000000000000000000", "found a larger number"),
    ] {
        cases.refused(&format!("version {json}"), with_detail("version", json), "InvalidEvent", message);
    }
    for json in ["0", "9223372036854775808", "18446744073709551615"] {
        cases.stored(&format!("version {json}"), with_detail("version", json));
    }

    // Values.
    for (what, json, message) in [
        ("33 levels", &*nested(33), "Nesting Levels have exceeded supported limits"),
        ("40 levels", &nested(40), "Nesting Levels have exceeded supported limits"),
        ("64 levels", &nested(64), "Nesting Levels have exceeded supported limits"),
        ("39 digits", "123456789012345678901234567890123456789", "more than 38 significant digits"),
        ("1e126", "1e126", "magnitude larger than supported range"),
        ("1e400", "-1e400", "magnitude larger than supported range"),
        ("1e-131", "1e-131", "magnitude smaller than supported range"),
        ("an exponent with 20 digits", "1e99999999999999999999", "ValidationException"),
        ("an empty name", r#"{"": 1}"#, "no empty names"),
    ] {
        cases.refused(what, with_value(json), "StoreRejected", message);
    }
    cases.refused("a field without a name", with_detail("", "1"), "StoreRejected", "ValidationException");
    cases.refused("401 KB", sized(401 * 1024), "StoreRejected", "Item size has exceeded the maximum allowed size");
    cases.refused("a megabyte", sized(1_000_000), "StoreRejected", "Item size has exceeded the maximum allowed size");
    cases.stored("399 KB", sized(399 * 1024));
    cases.stored("31 levels", with_value(&nested(31)));
    for (what, json) in [("65 levels", nested(65)), ("450,000 levels", nested(450_000))] {
        cases.refused(what, with_value(&json), "InvalidEvent", "it contains arrays or objects nested more than 64");
    }
    for json in [r#""\ud800""#, r#""\udc00\ud800""#, r#"["\ud800x"]"#, r#"{"a": {"\udfff": 1}}"#] {
        cases.refused(json, with_value(json), "InvalidEvent", "it contains a string with an unpaired surrogate");
    }
    for json in [r#""\u0000""#, r#""\uffff""#, r#"{"a": 1, "a": 2}"#] {
        cases.stored(json, with_value(json));
    }
    cases.stored(
        "version twice: the last one wins",
        with_value("1").replace("\"version\":1", "\"version\":9,\"version\":1"),
    );
    cases.stored(
        "5,000 fields",
        with_value(
            &json!((0..5000).map(|n| (n.to_string(), n)).collect::<std::collections::BTreeMap<_, _>>()).to_string(),
        ),
    );
    for (json, number) in [
        ("-0", "0"),
        ("-0.0e-7", "0"),
        ("1E5", "100000"),
        ("1.50", "1.5"),
        ("99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
        ("0.00000000000000000000000000000000000001", "0.00000000000000000000000000000000000001"),
    ] {
        cases.stored_as(json, json, json!({"N": number}));
    }
    cases.0
}

#[tokio::test]
async fn every_bad_input_gets_its_expected_result_and_is_never_stored_in_part() {
    let cases = cases();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let dynamodb = DynamoDb::start().await;
    let lambda = Lambda::start(&RECORDER, 1, &[("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb.url)]).await;
    for Case { what, payload, expected } in &cases {
        dynamodb.clear(TASKS);
        let answer = lambda.invoke(payload.clone()).await;
        match expected {
            Ok(last_status) => {
                assert_eq!(answer.outcome(), "stored", "{what}: {answer:?}");
                let row = dynamodb.row(TASKS);
                match last_status {
                    Some(last_status) => assert_eq!(row["lastStatus"], *last_status, "{what}"),
                    None => assert_eq!(row, events::row(&serde_json::from_slice(payload).unwrap()), "{what}"),
                }
            }
            Err((error_type, expected)) => {
                assert_eq!(answer.outcome(), *error_type, "{what}: {answer:?}");
                let message = answer.body["errorMessage"].as_str().unwrap();
                assert!(message.contains(expected), "{what}: {message}");
                assert!(message.len() < 500 && !message.contains('\n'), "{what}: not a readable message: {message}");
                assert_eq!(dynamodb.rows(TASKS), [] as [Value; 0], "{what}");
            }
        }
        assert_eq!(dynamodb.rows(CONTAINER_INSTANCES), [] as [Value; 0], "{what}");
    }
    // One process handled all of them, and still serves.
    assert_eq!(lambda.deaths(), 0, "{}", lambda.log());
    assert!(!lambda.log().contains("panicked"), "{}", lambda.log());
    let answer = lambda.invoke(task(2).to_string()).await;
    assert_eq!(answer.body["arn"], TASK, "{answer:?}");
    println!("{} inputs", cases.len());
}
