//! Errors, explained to the person at the terminal.

use std::io;
use std::process::ExitCode;

use ecs_model::ModelError;
use ecs_state_recorder::aws_json::CallError;
use ecs_state_recorder::config::InvalidVariable;
use ecs_state_recorder::state::read_error::ReadError;
use ecs_state_recorder::state::store_error::{Cause, StoreError};
use thiserror::Error;

use crate::exit_code::{FAILED, FOUND, NOTHING_FOUND, USAGE};
use crate::terminal::{clean, note};

const NOT_DYNAMODB: &str = "check whether AWS_ENDPOINT_URL_DYNAMODB or a proxy leads to something other than DynamoDB";
const NO_CREDENTIALS: &str = "no AWS credentials were found: sign in with `aws configure` or `aws sso login`, and check \
                              that the profile of --profile or AWS_PROFILE exists";

#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Nothing(String),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Aws(String),
    /// Each row has been named already.
    #[error("rows could not be read")]
    Unreadable,
    /// A signal, with its exit code.
    #[error("ended by a signal")]
    Signal(u8),
    #[error("the output could not be written: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// Prints the error, and returns its exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let (code, text) = match self {
            // The reader has seen enough: `ecs-state tasks | head`.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => (FOUND, None),
            Self::Nothing(text) => (NOTHING_FOUND, Some(text.clone())),
            Self::Usage(_) => (USAGE, Some(format!("error: {self}"))),
            Self::Aws(_) | Self::Output(_) => (FAILED, Some(format!("error: {self}"))),
            Self::Unreadable => (FAILED, None),
            Self::Signal(code) => (*code, None),
        };
        if let Some(text) = text {
            note(&text);
        }
        ExitCode::from(code)
    }
}

impl From<InvalidVariable> for Failure {
    fn from(error: InvalidVariable) -> Self {
        let flag = if error.variable == "AWS_REGION" { ", or use --region" } else { "" };
        Self::Aws(format!("{error}{flag}"))
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let ReadError { action, table, cause, details } = error;
        let details = details.map(|details| format!(" ({})", details.trim_end_matches('.'))).unwrap_or_default();
        let (StoreError::Transient(cause) | StoreError::Permanent(cause)) = cause;
        Self::Aws(match cause {
            Cause::NoCredentials => NO_CREDENTIALS.to_owned(),
            Cause::Credentials => format!(
                "the AWS credentials could not be fetched{details}: sign in again, such as with `aws sso login`, or \
                 choose another profile with --profile or AWS_PROFILE"
            ),
            Cause::Timeout | Cause::UnknownHost | Cause::Connection(_) | Cause::Tls(_) => {
                let why = match &cause {
                    Cause::Timeout => "it did not respond in time".to_owned(),
                    Cause::UnknownHost => "its host name is unknown".to_owned(),
                    Cause::Connection(Some(kind)) => kind.to_string(),
                    Cause::Tls(error) => error.to_string(),
                    _ => "the connection broke".to_owned(),
                };
                format!(
                    "DynamoDB could not be reached: {why}. Check the region, the network, and \
                     AWS_ENDPOINT_URL_DYNAMODB if it is set"
                )
            }
            Cause::Refused { code, status, .. } => match code.as_deref() {
                Some("ResourceNotFoundException") => format!(
                    "there is no table {table:?} in this account and region: choose another table with --task-table \
                     or --container-instance-table, another account with --profile, another region with --region"
                ),
                Some("AccessDeniedException") => {
                    format!(
                        "access denied{details}: your role must allow {action} on the table {table:?} and its index"
                    )
                }
                Some("ExpiredTokenException" | "UnrecognizedClientException" | "InvalidSignatureException") => {
                    format!("the AWS credentials are invalid or have expired{details}: sign in again")
                }
                Some(code) if code.contains("Throttl") || code.contains("Exceeded") => format!(
                    "DynamoDB kept throttling {action} on the table {table:?}{details}: try again later, or raise the \
                     table's limits"
                ),
                Some(code) => format!("{action} on the table {table:?} failed: {code}{details}"),
                None => format!("{action} on the table {table:?} failed with HTTP status {status}: {NOT_DYNAMODB}"),
            },
            Cause::NotDynamoDb => {
                format!("{action} on the table {table:?} failed: the response is not from DynamoDB: {NOT_DYNAMODB}")
            }
            Cause::UnprocessedKeys => {
                format!("DynamoDB kept leaving rows of the table {table:?} unread: it is throttled; try again later")
            }
            Cause::StartKeyIgnored => format!(
                "{action} on the index of the table {table:?} restarted at the beginning: use --scan, or check whether \
                 AWS_ENDPOINT_URL_DYNAMODB leads to something other than DynamoDB"
            ),
            other => format!("{action} on the table {table:?} failed: {other}"),
        })
    }
}

impl Failure {
    /// A call of another service than DynamoDB failed: its action, and what the action is on.
    pub(crate) fn of_call(error: &CallError, action: &str, resource: &str) -> Self {
        let code = if let CallError::Refused { code, .. } = error { code.as_deref() } else { None };
        Self::Aws(match (code, error) {
            (Some("AccessDeniedException"), _) => format!(
                "access denied: your role must allow {action} on {resource}; for a task in another account, choose a \
                 profile with --task-profile"
            ),
            (Some("ExpiredTokenException" | "UnrecognizedClientException" | "InvalidSignatureException"), _) => {
                "the AWS credentials are invalid or have expired: sign in again".to_owned()
            }
            (_, CallError::Credentials) => NO_CREDENTIALS.to_owned(),
            _ => format!("{action} on {resource} failed: {error}"),
        })
    }
}

/// Names a field that could not be read, of a row that is shown without it.
pub(crate) fn note_field(error: &ModelError) {
    note(&format!("warning: a field is left out: {}", clean(&error.to_string())));
}

/// The rows of a listing that could not be read.
#[derive(Default)]
pub(crate) struct Unreadable {
    pub(crate) rows: usize,
    /// Whether they are counted, but not named.
    pub(crate) quiet: bool,
}

impl Unreadable {
    pub(crate) fn add(&mut self, error: &ModelError) {
        if !self.quiet {
            note(&format!("warning: a row is left out: {}", clean(&error.to_string())));
        }
        self.rows += 1;
    }

    /// Names a field of a row that is shown without it. If nothing is named, the row is counted.
    pub(crate) fn add_field(&mut self, error: &ModelError) {
        if self.quiet {
            self.rows += 1;
        } else {
            note_field(error);
        }
    }

    /// The outcome of a listing: an incomplete one is a failure.
    pub(crate) fn outcome(&self, found: usize, nothing: impl FnOnce() -> String) -> Result<(), Failure> {
        match (self.rows, found) {
            (0, 0) => Err(Failure::Nothing(nothing())),
            (0, _) => Ok(()),
            _ => Err(Failure::Unreadable),
        }
    }
}
