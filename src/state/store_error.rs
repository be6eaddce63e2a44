//! Why a request to DynamoDB failed, in words that can't quote the row.
//!
//! A row can contain secrets, and a foreign error message may quote it: the SDK prints the request if it can't apply an
//! endpoint to it, DynamoDB quotes a number that it can't convert, and a proxy may echo anything. So an error keeps
//! foreign text only if it is known to contain nothing from the request.

use std::error::Error as StdError;
use std::io;

use aws_credential_types::provider::error::CredentialsError;
use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::result::DispatchFailure;
use aws_smithy_types::retry::ErrorKind;
use thiserror::Error;

use super::known_messages::is_known_message;
use crate::attributes::VERSION;
use crate::aws::{chain, find_cause, is_error_code};

/// Why a row was not written, or rows could not be read.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum StoreError {
    /// May resolve itself: throttling, a timeout, a failed connection, credentials that could not be fetched in time,
    /// or a fault on DynamoDB's side that outlasted the retries.
    #[error("{0}")]
    Transient(Cause),
    /// Fails until someone acts: the table is missing, access is denied, the item is too large.
    #[error("{0}")]
    Permanent(Cause),
}

/// What went wrong, and what to check.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum Cause {
    /// No response within the timeouts.
    #[error(
        "timeout: DynamoDB, or the credentials provider, did not respond in time; check the network routes and the AWS \
         Health Dashboard"
    )]
    Timeout,
    /// The endpoint's host name could not be resolved.
    #[error(
        "the endpoint's host name could not be resolved; check AWS_REGION, the endpoint, and DNS in the function's network"
    )]
    UnknownHost,
    /// The connection failed, or broke before the response was complete.
    #[error(
        "the connection to DynamoDB failed{}; check the endpoint and the network route to it",
        .0.map(|kind| format!(" ({kind})")).unwrap_or_default()
    )]
    Connection(Option<io::ErrorKind>),
    /// The TLS handshake failed. rustls' error can't quote the request, which is only sent after the handshake.
    #[error(
        "the TLS handshake with DynamoDB failed ({0}); check the endpoint, any proxy in between, and the trusted root \
         certificates"
    )]
    Tls(rustls::Error),
    /// No credentials were found.
    #[error(
        "no AWS credentials were found; Lambda provides those of the function's role; elsewhere, set both \
         AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )]
    NoCredentials,
    /// The credentials provider failed.
    #[error(
        "the AWS credentials could not be fetched; check the credentials provider in the function's environment, and for \
         a reconciler with TABLE_ROLE_ARN, that role's trust policy"
    )]
    Credentials,
    /// The SDK could not build or send the request, or the response is not HTTP.
    #[error(
        "the request could not be sent, or the response is not HTTP; check the endpoint, AWS_REGION, and the function's \
         other AWS_ variables"
    )]
    NotSent,
    /// DynamoDB, or something that responded in its place, refused the request.
    #[error(
        "{}: {}{} (HTTP {status})",
        code.as_deref().unwrap_or("no DynamoDB error code"),
        message.as_ref().map(|message| format!("{}; ", message.trim_end_matches('.'))).unwrap_or_default(),
        advice(code.as_deref())
    )]
    Refused {
        /// The HTTP status.
        status: u16,
        /// DynamoDB's error code, if there is one.
        code: Option<String>,
        /// DynamoDB's message, if it is known not to quote the item.
        message: Option<String>,
    },
    /// Something other than DynamoDB responded.
    #[error(
        "something other than DynamoDB responded, and it is unknown whether the row was stored; check the endpoint and \
         any proxy in between"
    )]
    NotDynamoDb,
    /// The stored row's `version` is not a number, so versions can't be compared.
    #[error("the stored row has a \"{VERSION}\" that is not a number; correct or delete that row")]
    UnreadableVersion,
    /// A write was refused because the table holds the same or a newer version, but not said which.
    #[error(
        "the row already holds this version or a newer one, but the answer lacks the row, so stale and duplicate can't be \
         told apart: the endpoint does not support ReturnValuesOnConditionCheckFailure"
    )]
    RowNotReturned,
    /// DynamoDB repeatedly left some of the requested rows unread.
    #[error("DynamoDB repeatedly left some rows unread; check whether the table or the account is being throttled")]
    UnprocessedKeys,
    /// A scan ignored its start key and restarted at the beginning.
    #[error("the scan restarted at the beginning instead of after its start key; check that the endpoint is DynamoDB")]
    StartKeyIgnored,
}

/// The error codes of a request that conflicts with another one on the same row.
const CONFLICTS: &[&str] = &["ReplicatedWriteConflictException", "TransactionConflictException"];

/// What to do about an error code.
fn advice(code: Option<&str>) -> &'static str {
    match code {
        Some("AccessDeniedException") => {
            "the function's role must allow the action on the table, and the use of its KMS key"
        }
        Some("ResourceNotFoundException") => "the table does not exist in this account and region",
        Some("ValidationException") => {
            "the item exceeds a DynamoDB limit (400 KB, 32 nesting levels, 38 digits in a number, no empty names), or \
             lacks the table's key"
        }
        Some("ExpiredTokenException" | "UnrecognizedClientException" | "InvalidSignatureException") => {
            "the credentials are invalid or have expired; check the function's role and environment"
        }
        Some(code) if THROTTLING_ERRORS.contains(&code) => {
            "DynamoDB throttled the request; check the table's and the account's limits"
        }
        Some(_) => "see DynamoDB's list of error codes",
        None => "something other than DynamoDB may have responded; check the endpoint and any proxy in between",
    }
}

impl StoreError {
    /// Converts and classifies an error of the SDK.
    pub fn new<E: StdError + ProvideErrorMetadata + 'static>(error: &SdkError<E>) -> Self {
        let (is_transient, cause) = match error {
            SdkError::TimeoutError(_) => (true, Cause::Timeout),
            // The response was incomplete. The SDK retries that, too.
            SdkError::ResponseError(_) => (true, Cause::Connection(find_cause(error).map(io::Error::kind))),
            SdkError::DispatchFailure(failure) => dispatch_failure(failure, error),
            SdkError::ServiceError(response) => {
                let status = response.raw().status().as_u16();
                let code = error.code().filter(|code| is_error_code(code));
                let is_transient = status >= 500
                    || matches!(status, 408 | 429)
                    || code.is_some_and(|code| {
                        [THROTTLING_ERRORS, TRANSIENT_ERRORS, CONFLICTS].iter().any(|codes| codes.contains(&code))
                    });
                let message = error.message().filter(|message| is_known_message(code.unwrap_or_default(), message));
                (is_transient, Cause::Refused { status, code: code.map(Into::into), message: message.map(Into::into) })
            }
            _ => (false, Cause::NotSent),
        };
        if is_transient { Self::Transient(cause) } else { Self::Permanent(cause) }
    }
}

/// Why a request got no response, and whether that is transient: I/O errors and timeouts are, everything else is not.
fn dispatch_failure(failure: &DispatchFailure, error: &(dyn StdError + 'static)) -> (bool, Cause) {
    if let Some(credentials) = find_cause::<CredentialsError>(error) {
        return match credentials {
            CredentialsError::CredentialsNotLoaded(_) => (false, Cause::NoCredentials),
            // The provider's endpoint could not be reached.
            _ => (find_cause::<io::Error>(error).is_some(), Cause::Credentials),
        };
    }
    if let Some(tls) = find_cause::<rustls::Error>(error) {
        return (false, Cause::Tls(tls.clone()));
    }
    if failure.is_timeout() {
        (true, Cause::Timeout)
    } else if chain(error).any(|error| error.to_string() == "dns error") {
        // hyper-util does not export the error's type.
        (true, Cause::UnknownHost)
    } else if failure.is_io() || failure.as_other() == Some(ErrorKind::TransientError) {
        (true, Cause::Connection(find_cause(error).map(io::Error::kind)))
    } else {
        (false, Cause::NotSent)
    }
}
