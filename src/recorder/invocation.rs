//! An invocation: from the payload that Lambda hands over to the answer or the error it gets back, and the one line
//! in the log.

use aws_sdk_dynamodb::Client;
use chrono::Utc;
use lambda_runtime::Diagnostic;
use serde::Serialize;
use thiserror::Error;
use tracing::{Value, info};

use crate::config::Config;
use crate::event::{Envelope, Payload, Refusal, StateChange};
use crate::row::{Row, Unstorable};
use crate::store::{self, Outcome};
use crate::write_error::{Cause, WriteError};

/// Records state changes, one an invocation. Built once, used by all.
pub struct Recorder {
    config: Config,
    client: Client,
}

/// What an invocation answers, as JSON: `outcome`, `table`, `arn`, `version`, and `stored_version` where the row that
/// was there stays.
#[derive(Debug, Eq, PartialEq, Serialize)]
pub struct Answer {
    /// What came of the write.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The table it went to.
    pub table: String,
    /// The row's key.
    pub arn: String,
    /// The version that the event brought.
    pub version: u64,
}

/// Why an event isn't recorded.
#[derive(Debug, Error)]
pub enum Error {
    /// It isn't an event that this function takes.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// DynamoDB can't be had for it just now, or doesn't take it.
    #[error("version {version} of {arn} was not written to table {table} ({}): {failure}", match failure {
        WriteError::Transient(_) => "retrying can help",
        WriteError::Permanent(_) => "retrying won't help",
    })]
    Store {
        /// The table that was written to.
        table: String,
        /// The row's key.
        arn: String,
        /// The version that the event brought.
        version: u64,
        /// What happened.
        failure: WriteError,
    },
}

impl Error {
    /// The `errorType` that Lambda gets: a part of the function's interface, which alarms and retries may rely on.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::UnsupportedSource { .. }) => "UnsupportedSource",
            Self::Refused(Refusal::UnsupportedDetailType { .. }) => "UnsupportedDetailType",
            Self::Refused(Refusal::InvalidEvent { .. }) => "InvalidEvent",
            Self::Store { failure: WriteError::Transient(_), .. } => "StoreUnavailable",
            Self::Store { failure: WriteError::Permanent(_), .. } => "StoreRejected",
        }
    }
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self { error_type: error.error_type().to_owned(), error_message: error.to_string() }
    }
}

impl Recorder {
    /// A recorder that writes to these tables with this client.
    #[must_use]
    pub fn new(config: Config, client: Client) -> Self {
        Self { config, client }
    }

    /// Handles one invocation, and logs it.
    ///
    /// # Errors
    ///
    /// The event is refused, or DynamoDB doesn't store it. A state that is stale or a duplicate is no error.
    pub async fn handle(&self, payload: &Payload) -> Result<Answer, Error> {
        let envelope = Envelope::parse(payload);
        let result = match &envelope {
            Ok(envelope) => self.record(envelope).await,
            Err(refusal) => Err(refusal.clone().into()),
        };
        log(envelope.as_ref().ok(), &result);
        result
    }

    async fn record(&self, envelope: &Envelope) -> Result<Answer, Error> {
        let change = StateChange::of(&envelope.event)?;
        let table = self.config.table(change.resource).to_owned();
        let (arn, version) = (change.arn.clone(), change.version);
        let written = match Row::of(change, &self.config) {
            Ok(row) => store::put(&self.client, &table, row).await,
            Err(Unstorable::Invalid(refusal)) => return Err(refusal.of(&arn).into()),
            Err(Unstorable::TooDeep) => Err(WriteError::Permanent(Cause::TooDeep)),
        };
        match written {
            Ok(outcome) => Ok(Answer { outcome, table, arn, version }),
            Err(failure) => Err(Error::Store { table, arn, version, failure }),
        }
    }
}

/// Writes the invocation's line. Its fields are an interface: the README lists them, and metrics and alarms read them.
/// Why an event failed stands in the line that `lambda_runtime` writes of the error, at ERROR.
fn log(envelope: Option<&Envelope>, result: &Result<Answer, Error>) {
    let outcome = match result {
        Ok(Answer { outcome: Outcome::Stored, .. }) => "stored",
        Ok(Answer { outcome: Outcome::Stale { .. }, .. }) => "stale",
        Ok(Answer { outcome: Outcome::Duplicate { .. }, .. }) => "duplicate",
        Err(error) => error.error_type(),
    };
    let (table, arn, version) = match result {
        Ok(Answer { table, arn, version, .. }) | Err(Error::Store { table, arn, version, .. }) => {
            (Some(table.as_str()), Some(arn.as_str()), Some(*version))
        }
        Err(Error::Refused(Refusal::InvalidEvent { arn, .. })) => (None, arn.as_deref(), None),
        Err(Error::Refused(_)) => (None, None, None),
    };
    let stored_version: Option<Box<dyn Value>> = match result {
        Ok(Answer { outcome: Outcome::Stale { stored_version } | Outcome::Duplicate { stored_version }, .. }) => {
            Some(match stored_version.as_u64() {
                Some(version) => Box::new(version),
                None => Box::new(stored_version.as_f64()),
            })
        }
        _ => None,
    };
    info!(
        outcome,
        table,
        arn,
        version,
        stored_version,
        event_id = envelope.and_then(|envelope| envelope.event.id.as_deref()),
        lag_ms = envelope.and_then(|envelope| Some((Utc::now() - envelope.event.time?).num_milliseconds())),
        replay_name = envelope.and_then(|envelope| envelope.replay_name.as_deref()),
        "invocation"
    );
}
