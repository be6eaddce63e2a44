//! The DynamoDB client: region and endpoint, timeouts, retries, and the connection that is opened before the first
//! event.

use std::env;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpRequest;
use aws_sdk_dynamodb::config::retry::{RetryPartition, TokenBucket};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_types::retry::RetrySpec;
use http::Uri;

use super::write_error::WriteError;
use crate::config::InvalidVariable;

/// Limit for connecting. Within a region, that takes a few milliseconds; a second leaves room for one lost packet.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Limit for one attempt, from fetching credentials to the last byte of the response. DynamoDB responds in about 10 ms,
/// and the first TLS handshake at 128 MB adds a few (docs/performance.md); a longer attempt is assumed lost.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2500);
/// How many times a write is attempted.
pub const ATTEMPTS: u32 = 3;
/// The longest pause between two attempts: random, up to this. It also caps a pause that a response asks for
/// (`x-amz-retry-after`).
pub const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// Limit for a write. Three attempts and two pauses take at most 9.5 s, so the third attempt is never cut short. A
/// third of Lambda's 15 s remains for everything else, so a fault ends in an error that names it and not in a Lambda
/// timeout.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

const _: () = assert!(
    ATTEMPTS as u128 * ATTEMPT_TIMEOUT.as_millis() + (ATTEMPTS as u128 - 1) * MAX_BACKOFF.as_millis()
        < OPERATION_TIMEOUT.as_millis(),
    "the operation timeout must leave time for every attempt"
);

/// Builds a DynamoDB client with the region, credentials and endpoint from the environment. Timeouts and retries are
/// those above, whatever the environment says (`AWS_MAX_ATTEMPTS`, `AWS_RETRY_MODE`, `AWS_NEW_RETRIES_2026`). Build it
/// once: it keeps its connections open.
///
/// # Errors
///
/// The region is missing, or the region or an endpoint is malformed.
pub async fn new() -> Result<Client, InvalidVariable> {
    for variable in ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"] {
        if env::var_os(variable).is_some_and(|url| !url.to_str().is_some_and(is_endpoint)) {
            return Err(InvalidVariable {
                variable,
                // Without the value: a URL can contain a password.
                problem: "must be a URL with http:// or https:// and a host, such as \
                          https://dynamodb.eu-west-1.amazonaws.com"
                    .to_owned(),
            });
        }
    }
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(MAX_BACKOFF)
        .with_max_backoff(MAX_BACKOFF)
        // Version 2.1 lets a response's `x-amz-retry-after` exceed the maximum backoff by 5 s.
        .with_retry_spec(RetrySpec::v2_0().with_non_throttling_initial_backoff(MAX_BACKOFF));
    // The SDK's own bucket would be empty after some 25 failed writes, and allow one attempt each from then on.
    let partition = RetryPartition::custom("unlimited").token_bucket(TokenBucket::unlimited()).build();
    let https = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(https)
        .timeout_config(timeouts)
        .retry_config(retries)
        // Meant for bodies of megabytes. Here, the attempt timeout is enough.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .load()
        .await;
    let problem = match config.region().map(AsRef::as_ref) {
        Some(region) if is_region(region) => {
            let config = aws_sdk_dynamodb::config::Builder::from(&config).retry_partition(partition).build();
            return Ok(Client::from_conf(config));
        }
        Some(region) => format!("must be an AWS region such as eu-west-1, found {region:?}"),
        None => "must be set to an AWS region such as eu-west-1".to_owned(),
    };
    Err(InvalidVariable { variable: "AWS_REGION", problem })
}

/// Whether a URL has a scheme, a host and, if any, a port that exists; but no password.
fn is_endpoint(url: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else { return false };
    let (Some("http" | "https"), Some(authority)) = (url.scheme_str(), url.authority()) else { return false };
    match authority.as_str().strip_prefix(authority.host()) {
        Some("") => !authority.host().is_empty(),
        Some(port) => authority.port_u16().is_some_and(|number| number > 0 && port == format!(":{number}")),
        None => false,
    }
}

/// Whether a name has the form that region names have in every partition: `eu-west-1`, `us-gov-east-1`,
/// `us-isob-east-1`.
fn is_region(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    matches!(&parts[..], [words @ .., number] if words.len() >= 2 && words.iter().all(is_word) && is_number(number))
}

/// Opens the connection and exercises the full request pipeline once, while Lambda still grants a whole CPU for
/// initialisation; afterwards, 128 MB come with a fourteenth of one. The HTTP client closes a connection that has been
/// idle for 90 s.
///
/// The request is a plain `GET /`: the endpoint's health response needs no permission. The SDK caches the resolved
/// endpoint of one table at a time, so `table` should be the one that receives most events.
///
/// # Errors
///
/// No response within [`CONNECT_TIMEOUT`]. The first event tries again and reports any failure.
pub async fn connect(client: &Client, table: &str) -> Result<(), WriteError> {
    let once = aws_sdk_dynamodb::Config::builder()
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(CONNECT_TIMEOUT).build());
    let get = |request: &mut HttpRequest| {
        request.headers_mut().remove("x-amz-target");
        request.headers_mut().remove("content-length");
        *request.body_mut() = "".into();
        request.set_method("GET").unwrap_or_default();
    };
    match client.put_item().table_name(table).customize().config_override(once).mutate_request(get).send().await {
        // The SDK can't parse the response, since it is not PutItem's, but the endpoint did respond.
        Err(error) if error.raw_response().is_none() => Err(WriteError::new(&error)),
        _ => Ok(()),
    }
}
