//! The recorder: handles an event, returns an answer or an error, and writes one log line.

pub mod envelope;

use aws_sdk_dynamodb::Client;
use chrono::Utc;
use lambda_runtime::Diagnostic;
use serde::Serialize;
use serde_json::Number;
use thiserror::Error;
use tracing::{Value, info};

use self::envelope::{Envelope, EventError};
use crate::config::Config;
use crate::lambda::Payload;
use crate::state::conditional_write;
use crate::state::row::{Row, RowError};
use crate::state::store_error::StoreError;

/// Records one state per invocation. Built once and shared by all invocations.
pub struct Recorder {
    config: Config,
    client: Client,
}

/// The result of a successful invocation, returned as JSON.
#[derive(Debug, Eq, PartialEq, Serialize)]
pub struct Answer {
    /// The outcome of the write: `stored`, `stale` or `duplicate`.
    pub outcome: &'static str,
    /// The name of the table.
    pub table: String,
    /// The resource's ARN, which is the row's key.
    pub arn: String,
    /// The version in the event.
    pub version: u64,
    /// The version in the row, if the existing row was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_version: Option<Number>,
}

/// Why an event was not recorded.
#[derive(Debug, Error)]
pub enum InvocationError {
    /// The recorder does not accept the event.
    #[error(transparent)]
    Event(#[from] EventError),
    /// Its state can't be stored as a row.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The row was not written.
    #[error("writing version {version} of {arn} to table {table} failed ({}): {error}", match error {
        StoreError::Transient(_) => "retrying may help",
        StoreError::Permanent(_) => "retrying won't help",
    })]
    Write {
        /// The name of the table.
        table: String,
        /// The resource's ARN, which is the row's key.
        arn: String,
        /// The version in the event.
        version: u64,
        /// Why the write failed.
        #[source]
        error: StoreError,
    },
}

impl InvocationError {
    /// The `errorType` reported to Lambda: part of the recorder's interface, so alarms and retries may rely on it.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::Event(EventError::UnsupportedSource { .. }) => "UnsupportedSource",
            Self::Event(EventError::UnsupportedDetailType { .. }) => "UnsupportedDetailType",
            Self::Event(EventError::InvalidEvent { .. }) | Self::Row(_) => "InvalidEvent",
            Self::Write { error: StoreError::Transient(_), .. } => "StoreUnavailable",
            Self::Write { error: StoreError::Permanent(_), .. } => "StoreRejected",
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
    pub fn new(config: Config, client: Client) -> Self {
        Self { config, client }
    }

    /// Handles one invocation and logs it. A stale or duplicate state is not an error.
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
        match conditional_write::put(&self.client, &table, row).await {
            Ok(outcome) => {
                let stored_version = outcome.stored_version().cloned();
                Ok(Answer { outcome: outcome.name(), table, arn, version, stored_version })
            }
            Err(error) => Err(InvocationError::Write { table, arn, version, error }),
        }
    }
}

/// Writes the invocation's log line. Its fields are an interface, listed in docs/reference.md: metrics and alarms read
/// them. `lambda_runtime` logs an error's message itself, at ERROR.
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
