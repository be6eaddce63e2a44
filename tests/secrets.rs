//! Whatever is misconfigured, a secret in the event stays out of the log and the result, and the error says what is
//! wrong.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use harness::dynamodb::DynamoDb;
use harness::events::sample;
use harness::proxy::{Fault, Proxy};
use harness::runtime_api::Lambda;
use harness::tls::TlsProxy;

use crate::RECORDER;

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

/// How the operator learns about a misconfiguration.
enum Report {
    /// Startup fails, with a line that names the variable and says what it must be.
    AtStart(&'static str, &'static str),
    /// The event fails with an error of this type, whose message contains this text.
    AtEvent(&'static str, &'static str),
}

use Report::{AtEvent, AtStart};

struct Misconfiguration {
    name: &'static str,
    variables: Vec<(&'static str, String)>,
    report: Report,
}

fn with(name: &'static str, variables: &[(&'static str, &str)], report: Report) -> Misconfiguration {
    let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Misconfiguration { name, variables, report }
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::too_many_lines, reason = "a table")]
async fn no_misconfiguration_reveals_a_secret_and_each_error_says_what_to_do() {
    const ENDPOINT: &str = "AWS_ENDPOINT_URL_DYNAMODB";
    let folder = std::env::temp_dir().join(format!("secrets-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let dynamodb = DynamoDb::start().await;
    let tls = TlsProxy::start(&dynamodb.url, &folder).await;
    let plain_at_tls_port = tls.url.replace("https", "http");
    let tls_at_plain_port = dynamodb.url.replace("http", "https");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nothing_listens = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silence = format!("http://{}", silent.local_addr().unwrap());
    let profile = folder.join("config");
    fs::write(&profile, "[default]\nendpoint_url = localhost:8000\n").unwrap();
    let profile = profile.to_str().unwrap();
    let roots = tls.roots.to_str().unwrap();
    let dynamodb = dynamodb.url.as_str();

    let must_be_a_url = || AtStart(ENDPOINT, "must be a URL with http:// or https:// and a host");
    let must_be_a_region = |found| AtStart("AWS_REGION", found);
    let mut misconfigurations = vec![
        with("an endpoint without a scheme", &[(ENDPOINT, "localhost:8000")], must_be_a_url()),
        with("an endpoint that is not a URL", &[(ENDPOINT, "http://[::1")], must_be_a_url()),
        with("an endpoint without a host", &[(ENDPOINT, "http://")], must_be_a_url()),
        with("an endpoint with nothing but a port", &[(ENDPOINT, "http://:8000")], must_be_a_url()),
        with(
            "an endpoint without a port, where nothing listens",
            &[(ENDPOINT, "http://127.0.0.9")],
            AtEvent("StoreUnavailable", "the connection to DynamoDB failed"),
        ),
        with("an endpoint that is only a path", &[(ENDPOINT, "/x")], must_be_a_url()),
        with("an endpoint with a port that cannot exist", &[(ENDPOINT, "http://127.0.0.1:99999")], must_be_a_url()),
        with("an endpoint with port 0", &[(ENDPOINT, "http://127.0.0.1:0")], must_be_a_url()),
        with("an endpoint with a password", &[(ENDPOINT, "http://a:b@127.0.0.1:8000")], must_be_a_url()),
        with("an endpoint with another scheme", &[(ENDPOINT, "ftp://127.0.0.1:8000")], must_be_a_url()),
        with("an empty endpoint", &[(ENDPOINT, "")], must_be_a_url()),
        with(
            "an invalid endpoint for all services",
            &[("AWS_ENDPOINT_URL", "localhost:8000"), (ENDPOINT, dynamodb)],
            AtStart("AWS_ENDPOINT_URL", "must be a URL with http:// or https:// and a host"),
        ),
        with(
            "an invalid endpoint in a profile",
            &[("AWS_CONFIG_FILE", profile)],
            AtEvent("StoreRejected", "check the endpoint, AWS_REGION, and the function's other AWS_ variables"),
        ),
        with("no region", &[("AWS_REGION", ""), (ENDPOINT, dynamodb)], must_be_a_region("must be")),
        with(
            "an impossible region",
            &[("AWS_REGION", "eu west 1"), (ENDPOINT, dynamodb)],
            must_be_a_region("must be an AWS region such as eu-west-1, found \"eu west 1\""),
        ),
        with(
            "a region that does not exist",
            &[("AWS_REGION", "moon"), (ENDPOINT, dynamodb)],
            must_be_a_region("must be an AWS region such as eu-west-1, found \"moon\""),
        ),
        with(
            "an endpoint with an unknown host",
            &[(ENDPOINT, "http://dynamodb.invalid:8000")],
            AtEvent("StoreUnavailable", "host name could not be resolved; check AWS_REGION, the endpoint"),
        ),
        with(
            "nothing listening",
            &[(ENDPOINT, &nothing_listens)],
            AtEvent("StoreUnavailable", "the connection to DynamoDB failed (connection refused); check the endpoint"),
        ),
        with(
            "an endpoint that never responds",
            &[(ENDPOINT, &silence)],
            AtEvent("StoreUnavailable", "timeout: DynamoDB, or the credentials provider, did not respond in time"),
        ),
        with(
            "TLS with an unknown root",
            &[(ENDPOINT, &tls.url)],
            AtEvent(
                "StoreRejected",
                "the TLS handshake with DynamoDB failed (invalid peer certificate: UnknownIssuer)",
            ),
        ),
        with(
            "TLS at a plain HTTP port",
            &[(ENDPOINT, &tls_at_plain_port), ("SSL_CERT_FILE", roots)],
            AtEvent(
                "StoreRejected",
                "the TLS handshake with DynamoDB failed (received corrupt message of type InvalidContentType)",
            ),
        ),
        with(
            "plain HTTP at a TLS port",
            &[(ENDPOINT, &plain_at_tls_port)],
            AtEvent("StoreRejected", "the response is not HTTP; check the endpoint"),
        ),
        with(
            "FIPS at an endpoint without it",
            &[(ENDPOINT, dynamodb), ("AWS_USE_FIPS_ENDPOINT", "true")],
            AtEvent("StoreRejected", "check the endpoint, AWS_REGION, and the function's other AWS_ variables"),
        ),
        with(
            "a credentials provider that is silent",
            &[
                (ENDPOINT, dynamodb),
                ("AWS_ACCESS_KEY_ID", ""),
                ("AWS_SECRET_ACCESS_KEY", ""),
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &silence),
            ],
            AtEvent("StoreUnavailable", "or the credentials provider, did not respond in time"),
        ),
        with(
            "a credentials provider that is not there",
            &[
                (ENDPOINT, dynamodb),
                ("AWS_ACCESS_KEY_ID", ""),
                ("AWS_SECRET_ACCESS_KEY", ""),
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &nothing_listens),
            ],
            AtEvent("StoreUnavailable", "the AWS credentials could not be fetched"),
        ),
        with(
            "missing credentials",
            &[(ENDPOINT, dynamodb), ("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")],
            AtEvent("StoreRejected", "no AWS credentials were found"),
        ),
        with(
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
            "ExpiredTokenException: the credentials are invalid or have expired",
        ),
        (
            "a 400 that echoes the request",
            Fault::Echoed(400, "ValidationException"),
            "StoreRejected",
            "ValidationException: the item exceeds a DynamoDB limit",
        ),
        (
            "denied access that echoes the request",
            Fault::Echoed(400, "AccessDeniedException"),
            "StoreRejected",
            "AccessDeniedException: the function's role must allow the action",
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
            "ThrottlingException: DynamoDB throttled the request",
        ),
        (
            "an unknown error that echoes the request",
            Fault::Echoed(400, "AnUnknownError"),
            "StoreRejected",
            "AnUnknownError: see DynamoDB's list",
        ),
        (
            "an error code that echoes the request",
            Fault::Echoed(400, ""),
            "StoreRejected",
            "something other than DynamoDB may have responded",
        ),
        (
            "a 500 that echoes the request",
            Fault::Echoed(500, "InternalServerError"),
            "StoreUnavailable",
            "InternalServerError: ",
        ),
        (
            "a proxy that responds 502 with a page",
            Fault::Page(502),
            "StoreUnavailable",
            "check the endpoint and any proxy in between (HTTP 502)",
        ),
        (
            "a proxy that responds 403 with a page",
            Fault::Page(403),
            "StoreRejected",
            "check the endpoint and any proxy in between (HTTP 403)",
        ),
        (
            "a proxy that responds 200 with a page",
            Fault::Page(200),
            "StoreRejected",
            "check the endpoint and any proxy in between (HTTP 200)",
        ),
    ] {
        let proxy = Proxy::start(dynamodb).await;
        proxy.plan(move || Some(fault));
        misconfigurations.push(with(name, &[(ENDPOINT, &proxy.url)], AtEvent(error_type, message)));
        proxies.push(proxy);
    }

    let mut running = tokio::task::JoinSet::new();
    for Misconfiguration { name, variables, report } in misconfigurations {
        running.spawn(async move {
            let defaults =
                [("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_LAMBDA_LOG_LEVEL", "TRACE"), ("RUST_LOG", "trace")];
            let variables: Vec<_> =
                defaults.into_iter().chain(variables.iter().map(|(name, value)| (*name, value.as_str()))).collect();
            let lambda = Lambda::start(&RECORDER, 1, &variables).await;
            let answer = lambda.invoke(event().to_string()).await;
            let message = answer.body["errorMessage"].as_str().unwrap_or_default();
            let (outcome, advice, retry) = match report {
                AtStart(variable, problem) => ("Runtime.ExitError", format!("{variable} {problem}"), ""),
                AtEvent(outcome @ "StoreUnavailable", advice) => (outcome, advice.to_owned(), "(retrying may help)"),
                AtEvent(outcome, advice) => (outcome, advice.to_owned(), "(retrying won't help)"),
            };
            let line = json!(advice).to_string();
            let log = log_with(&lambda, line.trim_matches('"')).await;
            let mut wrong = Vec::new();
            if SECRETS.iter().any(|secret| answer.body.to_string().contains(secret) || log.contains(secret)) {
                wrong.push("it reveals a secret");
            }
            if answer.outcome() != outcome || !message.contains(retry) {
                wrong.push("the error has the wrong type");
            }
            if !log.contains(line.trim_matches('"')) || !retry.is_empty() && !message.contains(&advice) {
                wrong.push("it doesn't say what to do");
            }
            (!wrong.is_empty()).then(|| format!("{name}: {}: {answer:?}\n{log}", wrong.join(", ")))
        });
    }
    let wrong: Vec<String> = running.join_all().await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    fs::remove_dir_all(&folder).unwrap();
}

/// The log as soon as it contains this text, or after five seconds.
async fn log_with(lambda: &Lambda, text: &str) -> String {
    let start = Instant::now();
    while !lambda.log().contains(text) && start.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    lambda.log()
}
