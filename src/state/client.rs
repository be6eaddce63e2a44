//! The DynamoDB client: timeouts, retries, and the connection that is opened before the first event.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpRequest;
use aws_sdk_dynamodb::config::retry::{RetryPartition, TokenBucket};
use aws_smithy_types::retry::RetrySpec;

use super::store_error::StoreError;

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

/// Builds a DynamoDB client. Timeouts and retries are those above, whatever the environment says (`AWS_MAX_ATTEMPTS`,
/// `AWS_RETRY_MODE`, `AWS_NEW_RETRIES_2026`). Build it once: it keeps its connections open.
#[must_use]
pub fn new(aws: &SdkConfig) -> Client {
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
    let config = aws_sdk_dynamodb::config::Builder::from(aws)
        .timeout_config(timeouts)
        .retry_config(retries)
        .retry_partition(partition)
        .build();
    Client::from_conf(config)
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
pub async fn connect(client: &Client, table: &str) -> Result<(), StoreError> {
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
        Err(error) if error.raw_response().is_none() => Err(StoreError::new(&error)),
        _ => Ok(()),
    }
}
