//! A secret in the event stays out of the log and the answer, whatever in the set-up is faulty; and the operator learns
//! what is.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use harness::dynamodb::DynamoDb;
use harness::events::sample;
use harness::lambda::{Lambda, binary};
use harness::proxy::{Fault, Proxy};
use harness::tls::TlsEnd;

static BINARY: LazyLock<String> = LazyLock::new(|| binary(env!("CARGO_BIN_EXE_ecs-state-recorder")));

/// A secret as a string, and one as a number.
const SECRETS: [&str; 2] = ["hunter2-correct-horse", "271828182845904523"];

fn event() -> Value {
    let [text, number] = SECRETS;
    let mut event = sample("fargate-task-running");
    event["detail"]["overrides"]["containerOverrides"][0]["environment"][0]["value"] = json!(text);
    event["detail"]["lastStatus"] = json!(text);
    event["detail"][text] = number.parse().unwrap();
    event
}

/// What the operator is told.
enum Told {
    /// The start stops, with a line that names the variable and what it must be.
    AtStart(&'static str, &'static str),
    /// The event fails with this type, and a message that says so.
    AtEvent(&'static str, &'static str),
}

use Told::{AtEvent, AtStart};

struct SetUp {
    name: &'static str,
    variables: Vec<(&'static str, String)>,
    told: Told,
}

fn set_up(name: &'static str, variables: &[(&'static str, &str)], told: Told) -> SetUp {
    let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    SetUp { name, variables, told }
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::too_many_lines, reason = "a table")]
async fn no_faulty_set_up_tells_a_secret_and_each_tells_what_to_do() {
    const ENDPOINT: &str = "AWS_ENDPOINT_URL_DYNAMODB";
    let folder = std::env::temp_dir().join(format!("secrets-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let dynamodb = DynamoDb::start().await;
    let tls = TlsEnd::start(&dynamodb.url, &folder).await;
    let plain_at_tls_port = tls.url.replace("https", "http");
    let tls_at_plain_port = dynamodb.url.replace("http", "https");
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nothing_listens = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silence = format!("http://{}", silent.local_addr().unwrap());
    let profile = folder.join("config");
    fs::write(&profile, "[default]\nendpoint_url = localhost:8000\n").unwrap();
    let profile = profile.to_str().unwrap();
    let roots = tls.roots.to_str().unwrap();
    let dynamodb = dynamodb.url.as_str();

    let must_be_a_url = || AtStart(ENDPOINT, "must be a URL with http:// or https:// and a host");
    let must_be_a_region = |found| AtStart("AWS_REGION", found);
    let mut set_ups = vec![
        set_up("an endpoint without a scheme", &[(ENDPOINT, "localhost:8000")], must_be_a_url()),
        set_up("an endpoint that is no URL", &[(ENDPOINT, "http://[::1")], must_be_a_url()),
        set_up("an endpoint without a host", &[(ENDPOINT, "http://")], must_be_a_url()),
        set_up("an endpoint that is only a path", &[(ENDPOINT, "/x")], must_be_a_url()),
        set_up("an endpoint of another scheme", &[(ENDPOINT, "ftp://127.0.0.1:8000")], must_be_a_url()),
        set_up("an empty endpoint", &[(ENDPOINT, "")], must_be_a_url()),
        set_up(
            "a faulty endpoint for all services",
            &[("AWS_ENDPOINT_URL", "localhost:8000"), (ENDPOINT, dynamodb)],
            AtStart("AWS_ENDPOINT_URL", "must be a URL with http:// or https:// and a host"),
        ),
        set_up(
            "a faulty endpoint in a profile",
            &[("AWS_CONFIG_FILE", profile)],
            AtEvent("StoreRejected", "check the endpoint, AWS_REGION, and the other AWS_ variables"),
        ),
        set_up("no region", &[("AWS_REGION", ""), (ENDPOINT, dynamodb)], must_be_a_region("must be")),
        set_up(
            "an impossible region",
            &[("AWS_REGION", "eu west 1"), (ENDPOINT, dynamodb)],
            must_be_a_region("must be an AWS region, such as eu-west-1; found \"eu west 1\""),
        ),
        set_up(
            "a region that is none",
            &[("AWS_REGION", "moon"), (ENDPOINT, dynamodb)],
            must_be_a_region("must be an AWS region, such as eu-west-1; found \"moon\""),
        ),
        set_up(
            "an endpoint of an unknown host",
            &[(ENDPOINT, "http://dynamodb.invalid:8000")],
            AtEvent("StoreUnavailable", "host name has no address; check AWS_REGION, the endpoint"),
        ),
        set_up(
            "nothing listening",
            &[(ENDPOINT, &nothing_listens)],
            AtEvent("StoreUnavailable", "the connection to DynamoDB failed (connection refused); check the endpoint"),
        ),
        set_up(
            "silence",
            &[(ENDPOINT, &silence)],
            AtEvent("StoreUnavailable", "timeout: DynamoDB did not answer in time"),
        ),
        set_up(
            "TLS with an unknown root",
            &[(ENDPOINT, &tls.url)],
            AtEvent("StoreRejected", "no TLS connection to DynamoDB (invalid peer certificate: UnknownIssuer)"),
        ),
        set_up(
            "TLS at a plain port",
            &[(ENDPOINT, &tls_at_plain_port), ("SSL_CERT_FILE", roots)],
            AtEvent(
                "StoreRejected",
                "no TLS connection to DynamoDB (received corrupt message of type InvalidContentType)",
            ),
        ),
        set_up(
            "no TLS at a TLS port",
            &[(ENDPOINT, &plain_at_tls_port)],
            AtEvent("StoreRejected", "the answer is not HTTP; check the endpoint"),
        ),
        set_up(
            "FIPS at an endpoint that has none",
            &[(ENDPOINT, dynamodb), ("AWS_USE_FIPS_ENDPOINT", "true")],
            AtEvent("StoreRejected", "check the endpoint, AWS_REGION, and the other AWS_ variables"),
        ),
        set_up(
            "missing credentials",
            &[(ENDPOINT, dynamodb), ("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")],
            AtEvent("StoreRejected", "no AWS credentials were found"),
        ),
        set_up(
            "partial credentials",
            &[(ENDPOINT, dynamodb), ("AWS_SECRET_ACCESS_KEY", "")],
            AtEvent("StoreRejected", "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ),
    ];
    let mut proxies = Vec::new();
    for (name, fault, error_type, message) in [
        (
            "expired credentials",
            Fault::Echoed(400, "ExpiredTokenException"),
            "StoreRejected",
            "ExpiredTokenException: the credentials are not valid, or expired",
        ),
        (
            "a 400 that echoes the request",
            Fault::Echoed(400, "ValidationException"),
            "StoreRejected",
            "ValidationException: the item breaks a limit of DynamoDB",
        ),
        (
            "denied access that echoes the request",
            Fault::Echoed(400, "AccessDeniedException"),
            "StoreRejected",
            "AccessDeniedException: the function's role needs dynamodb:PutItem",
        ),
        (
            "a missing table that echoes the request",
            Fault::Echoed(400, "ResourceNotFoundException"),
            "StoreRejected",
            "ResourceNotFoundException: the table does not exist",
        ),
        (
            "throttling that echoes the request",
            Fault::Echoed(400, "ThrottlingException"),
            "StoreUnavailable",
            "ThrottlingException: DynamoDB throttles",
        ),
        (
            "an unknown error that echoes the request",
            Fault::Echoed(400, "AnErrorOfTomorrow"),
            "StoreRejected",
            "AnErrorOfTomorrow: look it up",
        ),
        (
            "an error code that echoes the request",
            Fault::Echoed(400, ""),
            "StoreRejected",
            "something other than DynamoDB may have answered",
        ),
        (
            "a 500 that echoes the request",
            Fault::Echoed(500, "InternalServerError"),
            "StoreUnavailable",
            "InternalServerError: ",
        ),
        (
            "a proxy that answers 502 with a page",
            Fault::Page(502),
            "StoreUnavailable",
            "check the endpoint and the proxies on the way (HTTP 502)",
        ),
        (
            "a proxy that answers 403 with a page",
            Fault::Page(403),
            "StoreRejected",
            "check the endpoint and the proxies on the way (HTTP 403)",
        ),
        (
            "a proxy that answers 200 with a page",
            Fault::Page(200),
            "StoreRejected",
            "check the endpoint and the proxies on the way (HTTP 200)",
        ),
    ] {
        let proxy = Proxy::start(dynamodb).await;
        proxy.plan(move || Some(fault));
        set_ups.push(set_up(name, &[(ENDPOINT, &proxy.url)], AtEvent(error_type, message)));
        proxies.push(proxy);
    }

    let mut running = tokio::task::JoinSet::new();
    for SetUp { name, variables, told } in set_ups {
        running.spawn(async move {
            let everything =
                [("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_LAMBDA_LOG_LEVEL", "TRACE"), ("RUST_LOG", "trace")];
            let variables: Vec<_> =
                everything.into_iter().chain(variables.iter().map(|(name, value)| (*name, value.as_str()))).collect();
            let lambda = Lambda::start(&BINARY, 1, &variables).await;
            let answer = lambda.invoke(event().to_string()).await;
            let message = answer.body["errorMessage"].as_str().unwrap_or_default();
            let (outcome, told, retry) = match told {
                AtStart(variable, told) => ("Runtime.ExitError", format!("{variable} {told}"), ""),
                AtEvent(outcome @ "StoreUnavailable", told) => (outcome, told.to_owned(), "(retrying can help)"),
                AtEvent(outcome, told) => (outcome, told.to_owned(), "(retrying won't help)"),
            };
            let line = json!(told).to_string();
            let log = log_with(&lambda, line.trim_matches('"')).await;
            let mut wrong = Vec::new();
            if SECRETS.iter().any(|secret| answer.body.to_string().contains(secret) || log.contains(secret)) {
                wrong.push("it tells a secret");
            }
            if answer.outcome() != outcome || !message.contains(retry) {
                wrong.push("it is of the wrong type");
            }
            if !log.contains(line.trim_matches('"')) || !retry.is_empty() && !message.contains(&told) {
                wrong.push("it doesn't tell what to do");
            }
            (!wrong.is_empty()).then(|| format!("{name}: {}: {answer:?}\n{log}", wrong.join(", ")))
        });
    }
    let wrong: Vec<String> = running.join_all().await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    fs::remove_dir_all(&folder).unwrap();
}

/// The log, once it has this text in it, or after some seconds without it.
async fn log_with(lambda: &Lambda, text: &str) -> String {
    let start = Instant::now();
    while !lambda.log().contains(text) && start.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    lambda.log()
}
