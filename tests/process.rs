//! The recorder's binary with the harness's Runtime API: startup, results, errors and log.

use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use ecs_state_recorder::config::Config;
use ecs_state_recorder::recorder::Recorder;
use ecs_state_recorder::resource::Resource;
use ecs_state_recorder::state::{client, timeouts};
use ecs_state_recorder::{aws, lambda};
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{Diagnostic, LambdaEvent, Runtime, service_fn};
use serde_json::{Value, json};

use harness::dynamodb::{CONTAINER_INSTANCES, DynamoDb, TASKS};
use harness::events::{self, TASK, sample, task};
use harness::proxy::{Fault, Proxy};
use harness::runtime_api::Lambda;

use crate::RECORDER;

/// The lines of the JSON log of one process, after the first.
fn lines(log: &str) -> Vec<Value> {
    let mut lines =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")));
    let message = concat!("ecs-state-recorder ", env!("CARGO_PKG_VERSION"), " is starting");
    assert_eq!(stable(lines.next().expect("a first line")), json!({"level": "INFO", "message": message}));
    lines.collect()
}

/// Checks and removes the parts of a log line that vary from run to run.
fn stable(mut line: Value) -> Value {
    let fields = line.as_object_mut().unwrap();
    let timestamp = fields.remove("timestamp").unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(timestamp.as_str().unwrap()).is_ok(), "{timestamp}");
    if let Some(lag) = fields.remove("lag_ms") {
        // All events in this file are from within the same hour.
        let time = chrono::DateTime::parse_from_rfc3339("2026-03-02T09:00:00Z").unwrap().to_utc();
        let lag = chrono::TimeDelta::milliseconds(lag.as_i64().unwrap());
        assert!((chrono::Utc::now() - (time + lag)).abs() < chrono::TimeDelta::hours(1), "{lag}");
        fields.insert("lag_ms".to_owned(), json!("checked"));
    }
    line
}

#[tokio::test]
async fn the_binary_stores_answers_refuses_and_logs_one_line_per_invocation() {
    let dynamodb = DynamoDb::start().await;
    let lambda = Lambda::start(&RECORDER, 1, &[("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb.url)]).await;
    let mut replayed = task(2);
    replayed["replay-name"] = json!("rebuild-1");

    for (event, outcome) in [
        (task(2), "stored"),
        (task(1), "stale"),
        (replayed, "duplicate"),
        (sample("container-instance-registered"), "stored"),
        (sample("refused/service-action"), "UnsupportedDetailType"),
        (json!({}), "UnsupportedSource"),
        (sample("refused/missing-version"), "InvalidEvent"),
    ] {
        let answer = lambda.invoke(event.to_string()).await;
        assert_eq!(answer.outcome(), outcome, "{answer:?}");
        assert_eq!(answer.failed, outcome.starts_with(char::is_uppercase), "{answer:?}");
    }
    assert_eq!(dynamodb.row(TASKS), events::row(&task(2)));
    dynamodb.delete_table(TASKS);
    assert_eq!(lambda.invoke(task(3).to_string()).await.outcome(), "StoreRejected");
    assert_eq!(dynamodb.row(CONTAINER_INSTANCES), events::row(&sample("container-instance-registered")));

    let log = lambda.log();
    let (invocations, others): (Vec<Value>, Vec<Value>) =
        lines(&log).into_iter().partition(|line| line["message"] == "invocation");
    let span = |request: u32| json!({"name": "Lambda runtime invoke", "requestId": format!("request-{request}")});
    let line = |request: u32, fields: Value| {
        let mut line = json!({"level": "INFO", "message": "invocation", "span": span(request)});
        line.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        line
    };
    let instance = &sample("container-instance-registered")["detail"]["containerInstanceArn"];
    let first_four = [
        json!({"outcome": "stored", "table": TASKS, "arn": TASK, "version": 2, "event_id": "event-2"}),
        json!({
            "outcome": "stale", "table": TASKS, "arn": TASK, "version": 1, "stored_version": 2, "event_id": "event-1",
        }),
        json!({
            "outcome": "duplicate", "table": TASKS, "arn": TASK, "version": 2, "stored_version": 2,
            "event_id": "event-2", "replay_name": "rebuild-1",
        }),
        json!({
            "outcome": "stored", "table": CONTAINER_INSTANCES, "arn": instance, "version": 2,
            "event_id": "7e9d0c5a-31b4-4c6f-8a2e-90f1d3b5a7c1",
        }),
    ];
    assert_eq!(invocations.len(), 8, "{log}");
    for (request, mut fields) in (1..).zip(first_four) {
        fields["lag_ms"] = json!("checked");
        assert_eq!(stable(invocations[request as usize - 1].clone()), line(request, fields));
    }
    assert_eq!(invocations[4]["outcome"], "UnsupportedDetailType");
    assert_eq!(invocations[4]["event_id"], "4d8c2b1a-9f0e-4a3b-b6c7-d8e9f0a1b2c3");
    assert_eq!(stable(invocations[5].clone()), line(6, json!({"outcome": "UnsupportedSource"})));

    let mut fields =
        json!({"outcome": "InvalidEvent", "arn": TASK, "event_id": "1d1a7b52-5d0c-b7a9-0e3f-6f1f9f1c2aff"});
    fields["lag_ms"] = json!("checked");
    assert_eq!(stable(invocations[6].clone()), line(7, fields));
    let mut fields =
        json!({"outcome": "StoreRejected", "table": TASKS, "arn": TASK, "version": 3, "event_id": "event-3"});
    fields["lag_ms"] = json!("checked");
    assert_eq!(stable(invocations[7].clone()), line(8, fields));

    // There is also one line per error, with the reason.
    assert_eq!(others.len(), 4, "{log}");
    let error_types = ["UnsupportedDetailType", "UnsupportedSource", "InvalidEvent", "StoreRejected"];
    for (other, error_type) in others.iter().zip(error_types) {
        assert_eq!(other["level"], "ERROR");
        assert!(other["message"].as_str().unwrap().contains(error_type), "{other}");
    }
}

#[tokio::test]
async fn no_secret_reaches_the_log_or_an_answer_at_any_level() {
    const SECRET: &str = "hunter2-correct-horse";
    let mut event = sample("fargate-task-running");
    event["detail"]["overrides"]["containerOverrides"][0]["environment"][0]["value"] = json!(SECRET);
    event["detail"]["lastStatus"] = json!(SECRET);
    let with = |pointer: &str, value: Value| {
        let mut event = event.clone();
        *event.pointer_mut(pointer).unwrap() = value;
        event.to_string()
    };
    let payloads = [
        (event.to_string(), "stored"),
        (event.to_string(), "duplicate"),
        (with("/detail/version", json!(1)), "stale"),
        (with("/detail/version", json!(SECRET)), "InvalidEvent"),
        (with("/detail/taskArn", json!(SECRET.repeat(200))), "InvalidEvent"),
        (with("/detail", json!(SECRET)), "InvalidEvent"),
        (with("/time", json!(SECRET)), "InvalidEvent"),
        (with("/resources", json!([{"a": SECRET}])), "InvalidEvent"),
        (with("/detail/cpu", json!(SECRET.repeat(20_000))), "StoreRejected"),
        (with("/detail/containers", json!([SECRET, {"": SECRET}])), "StoreRejected"),
        (event.to_string().replace("\"512\"", &format!("{{\"a\":\"{SECRET}\\ud800\"}}")), "InvalidEvent"),
        (event.to_string().replace("\"512\"", &format!("[\"{SECRET}\",1{}]", "0".repeat(200))), "StoreRejected"),
        (json!(SECRET).to_string(), "InvalidEvent"),
        (json!([SECRET]).to_string(), "InvalidEvent"),
    ];
    for (level, format) in [
        ("TRACE", "JSON"),
        ("TRACE", "Text"),
        ("DEBUG", "JSON"),
        ("INFO", "JSON"),
        ("WARN", "JSON"),
        ("ERROR", "JSON"),
        ("FATAL", "JSON"),
    ] {
        let dynamodb = DynamoDb::start().await;
        let variables = [
            ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url.as_str()),
            ("AWS_LAMBDA_LOG_LEVEL", level),
            ("AWS_LAMBDA_LOG_FORMAT", format),
            ("RUST_LOG", "trace"),
        ];
        let lambda = Lambda::start(&RECORDER, 1, &variables).await;
        for (payload, outcome) in &payloads {
            let answer = lambda.invoke(payload.clone()).await;
            assert_eq!(answer.outcome(), *outcome, "{answer:?}");
            assert!(!answer.body.to_string().contains("hunter2"), "{answer:?}");
        }
        // If the versions can't be compared, DynamoDB returns the complete row.
        let arn = &event["detail"]["taskArn"];
        dynamodb.put(TASKS, &json!({"taskArn": {"S": arn}, "version": {"S": SECRET}, "more": {"S": SECRET}}));
        let answer = lambda.invoke(event.to_string()).await;
        assert_eq!(answer.outcome(), "StoreRejected");
        assert!(!answer.body.to_string().contains("hunter2"), "{answer:?}");

        let log = lambda.log();
        assert!(log.contains("StoreRejected"), "nothing was logged at {level}");
        assert!(!log.contains("hunter2"), "a secret is in the log at {level}:\n{log}");
        assert_eq!(log.contains("invocation"), ["TRACE", "DEBUG", "INFO"].contains(&level), "{level}:\n{log}");
    }
}

#[tokio::test]
async fn the_table_names_come_from_the_environment() {
    let dynamodb = DynamoDb::start().await;
    // The two names are swapped, so DynamoDB rejects the key.
    let variables = [
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url.as_str()),
        ("TASK_TABLE_NAME", CONTAINER_INSTANCES),
        ("CONTAINER_INSTANCE_TABLE_NAME", TASKS),
    ];
    let lambda = Lambda::start(&RECORDER, 1, &variables).await;
    for (event, table) in [(task(1), CONTAINER_INSTANCES), (sample("container-instance-registered"), TASKS)] {
        let answer = lambda.invoke(event.to_string()).await;
        assert_eq!(answer.outcome(), "StoreRejected");
        assert!(answer.body["errorMessage"].as_str().unwrap().contains(&format!("to table {table}")), "{answer:?}");
    }
}

#[tokio::test]
async fn a_database_that_never_responds_is_an_error_well_before_lambdas_timeout() {
    // Accepts connections but never reads from them.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let lambda = Lambda::start(&RECORDER, 1, &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]).await;
    let start = Instant::now();
    let answer = lambda.invoke(task(1).to_string()).await;
    let took = start.elapsed().as_secs_f64();
    assert_eq!(answer.outcome(), "StoreUnavailable");
    assert!(answer.body["errorMessage"].as_str().unwrap().contains("timeout"), "{answer:?}");
    assert!(took < 12.0, "it took {took} s");
}

#[tokio::test]
async fn an_instance_opens_one_connection_to_dynamodb_and_keeps_it() {
    let dynamodb = DynamoDb::start().await;
    let proxy = Proxy::start(&dynamodb.url).await;
    let lambda = Lambda::start(&RECORDER, 1, &[("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url)]).await;
    for version in 0..5 {
        assert_eq!(lambda.invoke(task(version).to_string()).await.outcome(), "stored");
    }
    assert_eq!((proxy.requests(), proxy.connections()), (5, 1));
}

#[tokio::test]
async fn the_connection_to_dynamodb_is_open_before_the_first_event() {
    let dynamodb = DynamoDb::start().await;
    let proxy = Proxy::start(&dynamodb.url).await;
    let lambda = Lambda::start(&RECORDER, 1, &[("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url)]).await;
    lambda.ready(0).await;
    assert_eq!((proxy.requests(), proxy.connections()), (0, 1));
    assert_eq!(lambda.invoke(task(1).to_string()).await.outcome(), "stored");
    assert_eq!((proxy.requests(), proxy.connections()), (1, 1));
}

#[tokio::test]
async fn an_instance_starts_even_if_dynamodb_cannot_be_reached() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let lambda = Lambda::start(&RECORDER, 1, &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]).await;
    lambda.ready(0).await;
    assert_eq!(lambda.invoke(task(1).to_string()).await.outcome(), "StoreUnavailable");
    assert_eq!(lambda.deaths(), 0);
    // Logged once, before the first event.
    let warning = "could not connect to DynamoDB before the first event: the connection to DynamoDB failed (connection \
                   refused); check the endpoint and the network route to it";
    let log = lines(&lambda.log());
    assert_eq!(stable(log[0].clone()), json!({"level": "WARN", "message": warning}));
    assert!(log[1..].iter().all(|line| line["level"] != "WARN"), "{log:?}");
}

#[tokio::test]
async fn an_instance_waits_at_most_a_second_for_an_unresponsive_dynamodb() {
    // The kernel completes connections, but nothing accepts them.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let lambda = Lambda::start(&RECORDER, 1, &[("AWS_ENDPOINT_URL_DYNAMODB", &url)]).await;
    let (_, init) = lambda.ready(0).await;
    assert!(init >= timeouts::CONNECT_TIMEOUT && init < timeouts::ATTEMPT_TIMEOUT, "{init:?}");
    assert_eq!(lambda.deaths(), 0);
}

#[tokio::test]
async fn one_process_serves_eight_events_at_once_if_lambda_asks_for_it() {
    let dynamodb = DynamoDb::start().await;
    let proxy = Proxy::start(&dynamodb.url).await;
    let variables = [("AWS_ENDPOINT_URL_DYNAMODB", proxy.url.as_str()), ("AWS_LAMBDA_MAX_CONCURRENCY", "8")];
    let lambda = Lambda::start(&RECORDER, 1, &variables).await;
    // Each first attempt reaches DynamoDB but gets no response before its timeout.
    proxy.fail_next(8, Fault::Silence);
    let start = Instant::now();
    let events: Vec<Value> = (1..=8)
        .map(|number| {
            let mut event = task(number);
            event["detail"]["taskArn"] = json!(format!("{TASK}{number}"));
            event
        })
        .collect();
    let answers: Vec<_> = events.iter().map(|event| lambda.send(event.to_string())).collect();
    while proxy.requests() < 8 {
        assert!(start.elapsed() < timeouts::ATTEMPT_TIMEOUT, "{} of 8 are in flight", proxy.requests());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for answer in answers {
        // The second attempt finds the row that the first one wrote.
        assert_eq!(lambda.wait_for(answer).await.outcome(), "duplicate");
    }
    let mut rows = dynamodb.rows(TASKS);
    rows.sort_by_key(|row| row["taskArn"]["S"].to_string());
    assert_eq!(rows, events.iter().map(events::row).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_panic_is_one_events_error_and_the_same_process_serves_the_next() {
    let dynamodb = DynamoDb::start().await;
    let this_binary = std::env::current_exe().unwrap();
    let command =
        [this_binary.to_str().unwrap(), "process::a_recorder_with_a_bug", "--exact", "--ignored", "--nocapture"];
    let lambda = Lambda::start_command(&command, 1, &[("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb.url)]).await;
    assert_eq!(lambda.invoke(task(12).to_string()).await.outcome(), "stored");
    let answer = lambda.invoke(task(13).to_string()).await;
    assert!(answer.failed);
    assert_eq!(answer.body["errorMessage"], "Lambda panicked: a bug");
    assert_eq!(lambda.invoke(task(14).to_string()).await.outcome(), "stored");
    assert_eq!(lambda.deaths(), 0, "{}", lambda.log());
    assert_eq!(dynamodb.row(TASKS), events::row(&task(14)));
}

/// The recorder's wiring around a handler that panics at version 13.
#[tokio::test]
#[ignore = "a Lambda function, started by the test above"]
async fn a_recorder_with_a_bug() {
    let variable = |name: &str| std::env::var_os(name);
    lambda::start_log(lambda::LogConfig::read(variable).unwrap());
    let client = client::new(&aws::load().await.unwrap());
    let recorder = &Recorder::new(Config::read(variable).unwrap(), client);
    let handler = service_fn(|invocation: LambdaEvent<Value>| async move {
        assert!(invocation.payload["detail"]["version"] != 13, "a bug");
        let payload = serde_json::from_str(&invocation.payload.to_string()).unwrap();
        recorder.handle(&payload).await.map_err(Diagnostic::from)
    });
    Runtime::new(handler).layer(TracingLayer::new()).run().await.unwrap();
}

/// Starts the binary as Lambda would, and waits for it to exit.
fn start(variables: &[(&str, &str)]) -> Output {
    Command::new(&*RECORDER)
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9")
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn an_invalid_variable_prevents_startup_and_is_named() {
    for (variables, message) in [
        (&[("TASK_TABLE_NAME", "")][..], "TASK_TABLE_NAME must be a DynamoDB table name"),
        (&[("TASK_TABLE_NAME", "no spaces please")], "TASK_TABLE_NAME must be a DynamoDB table name"),
        (&[("CONTAINER_INSTANCE_TABLE_NAME", "ab")], "CONTAINER_INSTANCE_TABLE_NAME must be a DynamoDB"),
        (
            &[("CONTAINER_INSTANCE_TABLE_NAME", "ECSTaskState")],
            "CONTAINER_INSTANCE_TABLE_NAME must differ from TASK_TABLE_NAME",
        ),
        (&[("RETENTION_DAYS", "")], "RETENTION_DAYS must be an integer from 0"),
        (&[("RETENTION_DAYS", "-1")], "RETENTION_DAYS must be an integer from 0"),
        (&[("RETENTION_DAYS", "1.5")], "RETENTION_DAYS must be an integer from 0"),
        (&[("RETENTION_DAYS", "36501")], "(rows never expire) to 36500, found \"36501\""),
        (&[("AWS_ENDPOINT_URL_DYNAMODB", "localhost:8000")], "AWS_ENDPOINT_URL_DYNAMODB must be a URL"),
        (&[("AWS_REGION", "eu-west")], "AWS_REGION must be an AWS region such as eu-west-1, found \"eu-west\""),
        (&[("AWS_REGION", "eu-west-one")], "AWS_REGION must be an AWS region such as eu-west-1, found \"eu-west-one\""),
        (&[("AWS_REGION", "eu-West-1")], "AWS_REGION must be an AWS region such as eu-west-1, found \"eu-West-1\""),
        (&[("AWS_REGION", "eu--1")], "AWS_REGION must be an AWS region such as eu-west-1, found \"eu--1\""),
        (&[("REDACT_ENVIRONMENT", "")], "REDACT_ENVIRONMENT must be true or false"),
        (&[("REDACT_ENVIRONMENT", "True")], "REDACT_ENVIRONMENT must be true or false"),
        (&[("AWS_LAMBDA_LOG_LEVEL", "LOUD")], "AWS_LAMBDA_LOG_LEVEL must be TRACE"),
        (&[("AWS_LAMBDA_LOG_FORMAT", "XML")], "AWS_LAMBDA_LOG_FORMAT must be JSON or Text"),
    ] {
        let exited = start(variables);
        let output = String::from_utf8([exited.stdout, exited.stderr].concat()).unwrap();
        assert_eq!(exited.status.code(), Some(1), "{variables:?}: {output}");
        assert!(output.contains(message), "{variables:?}: {output}");
    }
}

#[tokio::test]
async fn a_retention_shorter_than_the_maximum_delivery_delay_is_accepted_with_a_warning() {
    for (days, warned) in [("1", true), ("29", true), ("30", false), ("0", false), ("36500", false)] {
        let dynamodb = DynamoDb::start().await;
        let variables = [("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url.as_str()), ("RETENTION_DAYS", days)];
        let lambda = Lambda::start(&RECORDER, 1, &variables).await;
        assert_eq!(lambda.invoke(task(1).to_string()).await.outcome(), "stored");
        let warnings: Vec<_> =
            lines(&lambda.log()).into_iter().filter(|line| line["level"] == "WARN").map(stable).collect();
        let message = format!(
            "RETENTION_DAYS is {days}: an event can arrive up to 30 days late, and a late event for an earlier state \
             recreates an expired row; set RETENTION_DAYS to 30 or more, or to 0"
        );
        let expected = if warned { vec![json!({"level": "WARN", "message": message})] } else { vec![] };
        assert_eq!(warnings, expected, "{days}");
    }
}

#[test]
fn table_names_follow_dynamodbs_naming_rules() {
    let read = |value: &[u8]| {
        let value = std::ffi::OsStr::from_bytes(value).to_owned();
        Config::read(|variable| (variable == "TASK_TABLE_NAME").then(|| value.clone()))
    };
    for name in ["abc", "my.table-1_X", &"x".repeat(255)] {
        assert_eq!(read(name.as_bytes()).unwrap().table(Resource::Task), name);
    }
    for name in [&b"ab"[..], b"my table", b"t\xffble", "t\u{e4}ble".as_bytes(), &[b'x'; 256]] {
        assert_eq!(read(name).unwrap_err().variable, "TASK_TABLE_NAME", "{name:?}");
    }
    let defaults = Config::read(|_| None).unwrap();
    assert_eq!(defaults.table(Resource::Task), "ECSTaskState");
    assert_eq!(defaults.table(Resource::ContainerInstance), "ECSCtrInstanceState");
}

#[test]
fn started_outside_lambda_it_says_what_it_is() {
    let exited = Command::new(&*RECORDER).env_clear().output().unwrap();
    assert_eq!(exited.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(exited.stderr).unwrap(),
        "ecs-state-recorder is an AWS Lambda function, started by Lambda. To try it locally, use `make run`.\n"
    );
}
