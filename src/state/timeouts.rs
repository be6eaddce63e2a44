//! Timeouts and retries of the functions' requests to DynamoDB. The environment does not change them
//! (`AWS_MAX_ATTEMPTS`, `AWS_RETRY_MODE`, `AWS_NEW_RETRIES_2026`).

use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction, RetryClassifierPriority};
use aws_smithy_types::retry::{ErrorKind, RetrySpec};

use crate::aws::find_cause;

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
/// The pause after a connection broke, in milliseconds: often, an unused connection was reset while Lambda had frozen the
/// execution environment. A new one helps at once.
pub const RECONNECT_MILLISECONDS: RangeInclusive<u64> = 25..=50;
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

/// Shortens the pause after a connection broke to [`RECONNECT_MILLISECONDS`]. If no new connection can be made, or
/// `DynamoDB` responds with an error, the pause stays as long as above.
#[derive(Debug)]
pub struct BrokenConnections;

impl ClassifyRetry for BrokenConnections {
    fn classify_retry(&self, attempt: &InterceptorContext) -> RetryAction {
        let error = match attempt.output_or_error() {
            Some(Err(error)) => error.as_connector_error(),
            _ => None,
        };
        let is_broken = error.is_some_and(|error| {
            let is_reset = |error: &io::Error| {
                matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                )
            };
            // The SDK's kind for a connection that was closed before the response.
            error.as_other() == Some(ErrorKind::TransientError) || find_cause(error).is_some_and(is_reset)
        });
        if is_broken {
            let pause = Duration::from_millis(fastrand::u64(RECONNECT_MILLISECONDS));
            RetryAction::retryable_error_with_explicit_delay(ErrorKind::TransientError, pause)
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "broken connections"
    }

    /// The SDK's own classifier retries such an error, too, after the usual pause.
    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}
