//! Timeouts and retries of the functions' requests to DynamoDB. The environment does not change them
//! (`AWS_MAX_ATTEMPTS`, `AWS_RETRY_MODE`, `AWS_NEW_RETRIES_2026`).

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::retry::{RetryPartition, TokenBucket};
use aws_smithy_types::retry::RetrySpec;

/// Limit for connecting. Within a region, that takes a few milliseconds; a second leaves room for one lost packet.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Limit for one attempt, from fetching credentials to the last byte of the response. DynamoDB responds in about 10 ms,
/// and the first TLS handshake at 128 MB adds a few (docs/performance.md); a longer attempt is assumed lost.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2500);
/// How many times a request is attempted.
pub const ATTEMPTS: u32 = 3;
/// The longest pause between two attempts: random, up to this. It also caps a pause that a response asks for
/// (`x-amz-retry-after`).
pub const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// Limit for a request. Three attempts and two pauses take at most 9.5 s, so the third attempt is never cut short. A
/// third of Lambda's 15 s remains for everything else, so a fault ends in an error that names it and not in a Lambda
/// timeout.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

const _: () = assert!(
    ATTEMPTS as u128 * ATTEMPT_TIMEOUT.as_millis() + (ATTEMPTS as u128 - 1) * MAX_BACKOFF.as_millis()
        < OPERATION_TIMEOUT.as_millis(),
    "the operation timeout must leave time for every attempt"
);

/// The timeouts above, for the SDK.
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}

/// The attempts and pauses above, for the SDK.
pub fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(MAX_BACKOFF)
        .with_max_backoff(MAX_BACKOFF)
        // Version 2.1 lets a response's `x-amz-retry-after` exceed the maximum backoff by 5 s.
        .with_retry_spec(RetrySpec::v2_0().with_non_throttling_initial_backoff(MAX_BACKOFF))
}

/// Lets every request use all its attempts: the SDK's own token bucket would be empty after some 25 failed writes, and
/// allow one attempt each from then on.
pub fn unlimited_retries() -> RetryPartition {
    RetryPartition::custom("unlimited").token_bucket(TokenBucket::unlimited()).build()
}
