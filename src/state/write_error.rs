//! Why a write failed, in words that can't quote the row.
//!
//! A row can hold secrets, and whoever fails to write it may quote it: the SDK prints the request where it can't apply
//! an endpoint to it, DynamoDB names the number that it can't convert, and a proxy may echo anything. So an error keeps
//! no text of others, only what is known not to hold any of the request.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::iter::successors;

use aws_credential_types::provider::error::CredentialsError;
use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_smithy_types::retry::ErrorKind;
use thiserror::Error;

use super::row::VERSION;

/// Why a row was not written.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum WriteError {
    /// It can pass by itself: throttling, a timeout, a failed connection, credentials that didn't come in time, or a
    /// fault on DynamoDB's side that outlasted the retries.
    #[error("{0}")]
    Transient(Cause),
    /// It fails again until someone acts: the table is missing, access is denied, the item is too large.
    #[error("{0}")]
    Permanent(Cause),
}

/// What happened to the request. Its text says what to check.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// No answer within the time limits.
    Timeout,
    /// The endpoint's name has no address.
    UnknownHost,
    /// The connection failed, or broke before the answer was complete.
    Connection(Option<io::ErrorKind>),
    /// TLS failed; in rustls' words, which are about the handshake, and so precede any request.
    Tls(rustls::Error),
    /// There are none.
    NoCredentials,
    /// Whatever should provide them failed.
    Credentials,
    /// The SDK could not make or send the request, or the answer is not HTTP.
    NoRequest,
    /// DynamoDB, or whatever answers in its place, refused the request.
    Refused {
        /// Its HTTP status.
        status: u16,
        /// DynamoDB's error code, where it has one.
        code: Option<String>,
        /// DynamoDB's message, where it is one of [`MESSAGES`].
        message: Option<String>,
    },
    /// The stored row has a `version` that is not a number, so that nothing can be compared with it.
    NoStoredVersion,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timeout: DynamoDB did not answer in time; check the route to it and its health"),
            Self::UnknownHost => f.write_str(
                "the endpoint's host name has no address; check AWS_REGION, the endpoint, and the DNS of the function's \
                 network",
            ),
            Self::Connection(kind) => {
                f.write_str("the connection to DynamoDB failed")?;
                if let Some(kind) = kind {
                    write!(f, " ({kind})")?;
                }
                f.write_str("; check the endpoint, and the route to it")
            }
            Self::Tls(error) => write!(
                f,
                "no TLS connection to DynamoDB ({error}); check the endpoint, the proxies on the way, and the trusted \
                 roots"
            ),
            Self::NoCredentials => f.write_str(
                "no AWS credentials were found; Lambda provides those of the function's role, elsewhere set both \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ),
            Self::Credentials => {
                f.write_str("the AWS credentials could not be fetched; check the provider that the environment names")
            }
            Self::NoRequest => f.write_str(
                "the request could not be sent, or the answer is not HTTP; check the endpoint, AWS_REGION, and the \
                 other AWS_ variables of the function",
            ),
            Self::Refused { status, code, message } => {
                let said = message.as_deref().unwrap_or_else(|| advice(code.as_deref()));
                write!(f, "{}: {said} (HTTP {status})", code.as_deref().unwrap_or("no error code of DynamoDB's"))
            }
            Self::NoStoredVersion => write!(
                f,
                "the stored row has a \"{VERSION}\" that is not a number; correct or delete that row"
            ),
        }
    }
}

/// What an error code asks for, where DynamoDB's message is not passed on.
fn advice(code: Option<&str>) -> &'static str {
    match code {
        Some("AccessDeniedException") => "the function's role needs dynamodb:PutItem on the table, and its KMS key",
        Some("ResourceNotFoundException") => "the table does not exist in this account and region",
        Some("ValidationException") => {
            "the item breaks a limit of DynamoDB (400 KB, 32 levels, 38 digits a number, no empty name), or lacks the table's key"
        }
        Some("ExpiredTokenException" | "UnrecognizedClientException" | "InvalidSignatureException") => {
            "the credentials are not valid, or expired; check the function's role and environment"
        }
        Some(code) if THROTTLING_ERRORS.contains(&code) => {
            "DynamoDB throttles; check the table's and the account's limits"
        }
        Some(_) => "look it up in DynamoDB's list of error codes",
        None => "something other than DynamoDB may have answered; check the endpoint and the proxies on the way",
    }
}

impl WriteError {
    /// Tells what an error of the SDK is.
    #[must_use]
    pub fn new(error: &SdkError<PutItemError>) -> Self {
        let (is_transient, cause) = match error {
            SdkError::TimeoutError(_) => (true, Cause::Timeout),
            // Half of the answer came: the SDK tries that again, too.
            SdkError::ResponseError(_) => (true, Cause::Connection(cause(error).map(io::Error::kind))),
            SdkError::DispatchFailure(_) => dispatch_failure(error),
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let code = error.code().filter(|code| is_word(code));
                let is_transient = status >= 500
                    || matches!(status, 408 | 429)
                    || code.is_some_and(|code| THROTTLING_ERRORS.contains(&code) || TRANSIENT_ERRORS.contains(&code))
                    || answer.err().is_replicated_write_conflict_exception()
                    || answer.err().is_transaction_conflict_exception();
                let message = error.message().filter(|message| is_harmless(code.unwrap_or_default(), message));
                (is_transient, Cause::Refused { status, code: code.map(Into::into), message: message.map(Into::into) })
            }
            _ => (false, Cause::NoRequest),
        };
        if is_transient { Self::Transient(cause) } else { Self::Permanent(cause) }
    }
}

/// Tells why a request got no answer, and whether that can pass: what the SDK knows as I/O or a timeout can, and the
/// rest can't.
fn dispatch_failure(error: &SdkError<PutItemError>) -> (bool, Cause) {
    let SdkError::DispatchFailure(failure) = error else { return (false, Cause::NoRequest) };
    if let Some(credentials) = cause::<CredentialsError>(error) {
        return match credentials {
            CredentialsError::CredentialsNotLoaded(_) => (false, Cause::NoCredentials),
            CredentialsError::ProviderTimedOut(_) => (true, Cause::Credentials),
            _ => (false, Cause::Credentials),
        };
    }
    if let Some(tls) = cause::<rustls::Error>(error) {
        return (false, Cause::Tls(tls.clone()));
    }
    if failure.is_timeout() {
        (true, Cause::Timeout)
    } else if chain(error).any(|error| error.to_string() == "dns error") {
        // The type is hyper-util's own.
        (true, Cause::UnknownHost)
    } else if failure.is_io() || failure.as_other() == Some(ErrorKind::TransientError) {
        (true, Cause::Connection(cause(error).map(io::Error::kind)))
    } else {
        (false, Cause::NoRequest)
    }
}

/// An error, its cause, and so on. What an I/O error wraps is no source of it, but what it wraps has.
fn chain<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    successors(Some(error), |&error| match error.downcast_ref().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
        None => error.source(),
    })
}

/// The innermost error of a type.
fn cause<'e, E: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e E> {
    chain(error).filter_map(|error| error.downcast_ref()).last()
}

/// The messages of DynamoDB that are passed on, by their code. A `*` is one word: an ARN, an action, a table's name.
/// None of them has a place for anything out of an item.
///
/// Sources: DynamoDB's [errors], IAM's [access denied messages].
///
/// [errors]: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
/// [access denied messages]: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
const MESSAGES: [(&str, &str); 24] = [
    ("AccessDeniedException", "User: * is not authorized to perform: * on resource: *"),
    (
        "AccessDeniedException",
        "User: * is not authorized to perform: * on resource: * because no * policy allows the * action",
    ),
    (
        "AccessDeniedException",
        "User: * is not authorized to perform: * on resource: * because no * * policy allows the * action",
    ),
    (
        "AccessDeniedException",
        "User: * is not authorized to perform: * on resource: * because no permissions boundary allows the * action",
    ),
    (
        "AccessDeniedException",
        "User: * is not authorized to perform: * on resource: * with an explicit deny in a * policy",
    ),
    (
        "AccessDeniedException",
        "User: * is not authorized to perform: * on resource: * with an explicit deny in an * policy",
    ),
    (
        "AccessDeniedException",
        "User: * is not authorized to perform: * on resource: * with an explicit deny in a * * policy",
    ),
    (
        "AccessDeniedException",
        "User: * is not authorized to perform: * on resource: * with an explicit deny in a permissions boundary",
    ),
    ("ResourceNotFoundException", "Requested resource not found"),
    ("ResourceNotFoundException", "Requested resource not found: Table: * not found"),
    ("ResourceNotFoundException", "Cannot do operations on a non-existent table"),
    (
        "ProvisionedThroughputExceededException",
        "The level of configured provisioned throughput for the table was exceeded. Consider increasing your \
         provisioning level with the UpdateTable API.",
    ),
    (
        "ThrottlingException",
        "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling your table \
         or index so please try again shortly. If exceptions persist, check if you have a hot key: *",
    ),
    ("ThrottlingException", "Rate of requests exceeds the allowed throughput."),
    ("ThrottlingException", "Rate exceeded"),
    (
        "RequestLimitExceeded",
        "Throughput exceeds the current throughput limit for your account. Please contact AWS Support at * request a \
         limit increase",
    ),
    ("ValidationException", "Item size has exceeded the maximum allowed size"),
    (
        "ValidationException",
        "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit",
    ),
    ("ValidationException", "Attempting to store more than 38 significant digits in a Number"),
    ("ValidationException", "Number overflow. Attempting to store a number with magnitude larger than supported range"),
    (
        "ValidationException",
        "Number underflow. Attempting to store a number with magnitude smaller than supported range",
    ),
    ("ValidationException", "Missing the key * in the item"),
    ("UnrecognizedClientException", "The security token included in the request is invalid."),
    ("ExpiredTokenException", "The security token included in the request is expired"),
];

/// Whether a message is one of [`MESSAGES`], after what may precede those of a `ValidationException`.
fn is_harmless(code: &str, message: &str) -> bool {
    let message = ["1 validation error detected: ", "One or more parameter values were invalid: "]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix))
        .unwrap_or(message);
    let has_form = |form: &str| {
        let mut words = message.split(' ');
        let fits = |expected: &str, word: &str| word == expected || expected == "*" && is_word(word);
        form.split(' ').all(|expected| words.next().is_some_and(|word| fits(expected, word))) && words.next().is_none()
    };
    MESSAGES.iter().any(|(known, form)| *known == code && has_form(form))
}

/// Whether a text is one word, as codes, ARNs and actions are.
fn is_word(text: &str) -> bool {
    (1..=2048).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":/_.@=+,-*".contains(&byte))
}
