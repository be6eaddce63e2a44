//! The conditional write: one request to DynamoDB, which decides by itself whether a state is newer.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::iter::successors;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpRequest;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use serde::Serialize;
use serde_json::Number;
use thiserror::Error;

use crate::row::{Row, VERSION};

/// The condition of every write: no row, a row without a version, or one with a lower version.
pub const CONDITION: &str = "attribute_not_exists(#version) OR #version < :version";

/// How long connecting may take. Within a region it takes a few milliseconds: a second has room for one lost packet.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long one attempt may take, connecting and reading the answer included. DynamoDB answers in some 10 ms, and the
/// first TLS handshake of a 128 MB function adds a few (docs/performance.md): what takes longer than this is lost. Three
/// attempts fit into the operation's limit below.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2500);
/// How long all attempts and the pauses between them may take. It leaves a third of Lambda's 15 s to the rest, so
/// that a fault ends in an error that says what it was, never in a function that was cut off.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// A DynamoDB client with the region, credentials and endpoint of the environment, the SDK's standard retries, and
/// the time limits above. It comes with an open connection, where DynamoDB can be reached, and keeps its connections:
/// build it once.
pub async fn client() -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    let https = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(https)
        .timeout_config(timeouts)
        // It watches over bodies of megabytes. Here, the time limit of the attempt does.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .load()
        .await;
    let client = Client::new(&config);
    connect(&client).await;
    client
}

/// Opens the connection, and goes the SDK's whole way once, before the first event: Lambda gives a function a whole CPU
/// while it initialises, and 128 MB a fourteenth of one after that. Whatever comes of it, the first event meets the
/// same, and its error says so. The HTTP client closes a connection that nothing was sent on for 90 s.
///
/// It asks for `/`, without an operation. DynamoDB's front answers that it is there, or that this is no request of
/// its own: either needs no permission, and leaves the connection open.
pub async fn connect(client: &Client) {
    let once = aws_sdk_dynamodb::Config::builder()
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(CONNECT_TIMEOUT).build());
    let get = |request: &mut HttpRequest| {
        request.headers_mut().remove("x-amz-target");
        request.headers_mut().remove("content-length");
        *request.body_mut() = "".into();
        request.set_method("GET").unwrap_or_default();
    };
    _ = client.put_item().table_name("-").customize().config_override(once).mutate_request(get).send().await;
}

/// What came of a write.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "outcome")]
pub enum Outcome {
    /// The row holds this state now.
    Stored,
    /// The row holds a newer state, and keeps it.
    Stale {
        /// The version in the row.
        stored_version: Number,
    },
    /// The row holds this version already: the event was delivered again, or the SDK repeated a write whose answer
    /// was lost.
    Duplicate {
        /// The version in the row.
        stored_version: Number,
    },
}

/// Why a write failed, with the cause in words: the SDK's own error shows, in its `Debug` form, the row that was there.
#[derive(Debug, Error)]
pub enum Failure {
    /// Throttled, timed out, unreachable, or DynamoDB's own fault, and the SDK's retries didn't help. The same write
    /// can succeed later.
    #[error("{0}")]
    Unavailable(String),
    /// The table is missing, the access denied, the item too large: the same write fails again until someone acts.
    #[error("{0}")]
    Rejected(String),
}

/// Writes a row into a table, unless the table holds the same or a newer version of it.
///
/// # Errors
///
/// [`Failure`]; a row that is there already and whose version is no number is `Rejected`.
pub async fn put(client: &Client, table: &str, row: Row) -> Result<Outcome, Failure> {
    let version = row.version;
    let written = client
        .put_item()
        .table_name(table)
        .set_item(Some(row.item))
        .condition_expression(CONDITION)
        .expression_attribute_names("#version", VERSION)
        .expression_attribute_values(":version", AttributeValue::N(version.to_string()))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .send()
        .await;
    match written {
        Ok(_) => Ok(Outcome::Stored),
        Err(error) => match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(refused)) => refusal(version, refused.item()),
            _ if is_transient(&error) => Err(Failure::Unavailable(cause(&error))),
            _ => Err(Failure::Rejected(cause(&error))),
        },
    }
}

/// Tells by the row that was there what the refusal of `version` means.
fn refusal(version: u64, stored: Option<&HashMap<String, AttributeValue>>) -> Result<Outcome, Failure> {
    let stored_version: Number =
        stored.and_then(|row| row.get(VERSION)?.as_n().ok()?.parse().ok()).ok_or_else(|| {
            Failure::Rejected(format!(
                "the row that is there has a \"{VERSION}\" that is no number; correct or delete that row"
            ))
        })?;
    // The condition refuses no number but a higher or an equal one.
    Ok(if stored_version == version.into() {
        Outcome::Duplicate { stored_version }
    } else {
        Outcome::Stale { stored_version }
    })
}

/// Whether the same request can succeed later: what the SDK itself retries, and every fault on DynamoDB's side.
fn is_transient(error: &SdkError<PutItemError>) -> bool {
    match error {
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => true,
        // The request got no answer. Where it wasn't even sent, for want of credentials, someone has to give some.
        SdkError::DispatchFailure(_) => !chain(error).any(|error| {
            matches!(
                error.downcast_ref(),
                Some(CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_))
            )
        }),
        SdkError::ServiceError(answer) => {
            let code = error.code().unwrap_or_default();
            let status = answer.raw().status();
            // Whatever is no refusal of the request: 5xx, a 200 that can't be read, "timeout", "too many requests".
            !status.is_client_error()
                || matches!(status.as_u16(), 408 | 429)
                || THROTTLING_ERRORS.contains(&code)
                || TRANSIENT_ERRORS.contains(&code)
                || answer.err().is_replicated_write_conflict_exception()
                || answer.err().is_transaction_conflict_exception()
        }
        _ => false,
    }
}

/// DynamoDB's code and message where it gave them, else the chain of causes; and the status, where it answered.
fn cause(error: &SdkError<PutItemError>) -> String {
    let said = match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => chain(error).map(ToString::to_string).collect::<Vec<_>>().join(": "),
    };
    match error.raw_response() {
        Some(answer) => format!("{said} (HTTP {})", answer.status().as_u16()),
        None => said,
    }
}

/// An error, its cause, and so on.
fn chain<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    successors(Some(error), |&error| error.source())
}
