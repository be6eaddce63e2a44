//! An invocation: from the payload that Lambda hands over to the answer or the error it gets back, and the one line
//! in the log.

use aws_sdk_dynamodb::Client;
use chrono::Utc;
use lambda_runtime::Diagnostic;
use serde::Serialize;
use serde_json::Number;
use thiserror::Error;
use tracing::{Value, info};

use super::event::{Envelope, EventError, Payload};
use crate::config::Config;
use crate::state::row::{Row, RowError};
use crate::state::store;
use crate::state::write_error::WriteError;

/// Records states, one an invocation. Built once, used by all.
pub struct Recorder {
    config: Config,
    client: Client,
}

/// What an invocation answers, as JSON.
#[derive(Debug, Eq, PartialEq, Serialize)]
pub struct Answer {
    /// The outcome of the write: `stored`, `stale` or `duplicate`.
    pub outcome: &'static str,
    /// The table it went to.
    pub table: String,
    /// The row's key.
    pub arn: String,
    /// The version in the event.
    pub version: u64,
    /// The version in the row, where the row was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_version: Option<Number>,
}

/// Why an event is not recorded.
#[derive(Debug, Error)]
pub enum InvocationError {
    /// It is not an event that this function accepts.
    #[error(transparent)]
    Event(#[from] EventError),
    /// Its state can't be a row.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The row was not written.
    #[error("version {version} of {arn} was not written to table {table} ({}): {error}", match error {
        WriteError::Transient(_) => "retrying can help",
        WriteError::Permanent(_) => "retrying won't help",
    })]
    Write {
        /// The table.
        table: String,
        /// The row's key.
        arn: String,
        /// The version in the event.
        version: u64,
        /// What happened.
        #[source]
        error: WriteError,
    },
}

impl InvocationError {
    /// The `errorType` that Lambda gets: a part of the function's interface, which alarms and retries may rely on.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Event(EventError::UnsupportedSource { .. }) => "UnsupportedSource",
            Self::Event(EventError::UnsupportedDetailType { .. }) => "UnsupportedDetailType",
            Self::Event(EventError::InvalidEvent { .. }) | Self::Row(_) => "InvalidEvent",
            Self::Write { error: WriteError::Transient(_), .. } => "StoreUnavailable",
            Self::Write { error: WriteError::Permanent(_), .. } => "StoreRejected",
        }
    }
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
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
    pub async fn handle(&self, payload: &Payload) -> Result<Answer, InvocationError> {
        let envelope = Envelope::parse(payload);
        let result = match &envelope {
            Ok(envelope) => self.record(envelope).await,
            Err(error) => Err(error.clone().into()),
        };
        log(envelope.as_ref().ok(), &result);
        result
    }

    async fn record(&self, envelope: &Envelope) -> Result<Answer, InvocationError> {
        let state = envelope.state()?;
        let table = self.config.table(state.resource).to_owned();
        let (arn, version) = (state.arn.clone(), state.version);
        let row = Row::new(state, &self.config)?;
        match store::put(&self.client, &table, row).await {
            Ok(outcome) => {
                let stored_version = outcome.stored_version().cloned();
                Ok(Answer { outcome: outcome.name(), table, arn, version, stored_version })
            }
            Err(error) => Err(InvocationError::Write { table, arn, version, error }),
        }
    }
}

/// Writes the invocation's line. Its fields are an interface: docs/operations.md lists them, and metrics and alarms read
/// them. Why an event failed is in the line that `lambda_runtime` writes of the error, at ERROR.
fn log(envelope: Option<&Envelope>, result: &Result<Answer, InvocationError>) {
    let outcome = result.as_ref().map_or_else(InvocationError::error_type, |answer| answer.outcome);
    let (table, arn, version) = match result {
        Ok(Answer { table, arn, version, .. }) | Err(InvocationError::Write { table, arn, version, .. }) => {
            (Some(table.as_str()), Some(arn.as_str()), Some(*version))
        }
        Err(InvocationError::Row(RowError { arn, .. })) => (None, Some(arn.as_str()), None),
        Err(InvocationError::Event(EventError::InvalidEvent { arn, .. })) => (None, arn.as_deref(), None),
        Err(InvocationError::Event(_)) => (None, None, None),
    };
    let stored_version = result.as_ref().ok().and_then(|answer| answer.stored_version.as_ref());
    let stored_version = stored_version.map(|version| match version.as_u64() {
        Some(version) => Box::new(version) as Box<dyn Value>,
        None => Box::new(version.as_f64()),
    });
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
