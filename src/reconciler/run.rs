//! A run: from Lambda's payload to the answer or error that is returned, and the log line.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use chrono::{DateTime, TimeDelta, Utc};
use lambda_runtime::Diagnostic;
use serde::Serialize;
use serde_json::value::RawValue;
use thiserror::Error;
use tracing::info;

use super::ecs::{Ecs, describe};
use super::limiter::Limiter;
use super::rows::Known;
use super::{described, fleet, rows, table};
use crate::config::ReconcilerConfig;
use crate::payload::Payload;
use crate::state::index::IndexKeys;
use crate::state::json::{Fields, Json};
use crate::state::resource::Resource;
use crate::state::row::Row;
use crate::state::store::{self, Outcome};

/// A run stops this long before Lambda would end it.
pub const RESERVE: Duration = Duration::from_secs(5);
/// The time of a run where there is no deadline: Lambda's longest.
const NO_DEADLINE: Duration = Duration::from_mins(15);
/// A state that no event told of for longer than this was lost, or is very late. EventBridge usually delivers within
/// seconds.
const DRIFT: TimeDelta = TimeDelta::minutes(5);
/// How many rows a second get the keys of the index. One partition of the index takes 1,000 writes a second, and a
/// cluster's rows can be in one: this leaves half of them to the recorder.
const INDEXED_PER_SECOND: u32 = 500;
/// How many failures an error names.
const MAX_NAMED: usize = 10;

/// Compares ECS with the tables. Built once.
pub struct Reconciler {
    config: ReconcilerConfig,
    dynamodb: Client,
    ecs: Ecs,
}

/// What a run compares.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Is everything that ECS has in the tables?
    #[default]
    Fleet,
    /// Does everything in the tables still exist?
    Table,
}

/// What a run did, returned as JSON. Tasks and container instances are summed.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Report {
    /// What was compared.
    pub scope: Scope,
    /// The clusters.
    pub clusters: u64,
    /// The resources that ECS listed (`fleet`), or the rows that were checked (`table`).
    pub listed: u64,
    /// The rows that were absent or older, and are now as ECS says.
    pub stored: u64,
    /// The rows that have the version that ECS says.
    pub unchanged: u64,
    /// The rows that are newer than what ECS says.
    pub stale: u64,
    /// The rows that now say that ECS no longer knows their resource.
    pub marked: u64,
    /// The rows that no longer say so.
    pub cleared: u64,
    /// The rows of tasks that lacked the keys of the index, and now have them.
    pub indexed: u64,
    /// The tasks whose rows were older, although their newest time is over five minutes ago: an event was lost, or is
    /// very late.
    pub drift: u64,
    /// The requests that were sent to ECS, retries included.
    pub calls: u64,
    /// What failed.
    pub failures: u64,
    /// Whether the run came to its end before the deadline.
    pub complete: bool,
}

/// Why a run is not a success.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum RunError {
    /// The payload is not a request.
    #[error(
        "the request must be {{\"scope\": \"fleet\"}} or {{\"scope\": \"table\"}}: check what invokes this function"
    )]
    InvalidRequest,
    /// Parts of the run failed. All others were done, unless the deadline came first.
    #[error("{count} {} of the run failed, and the next run repeats them: {failures}", if *count == 1 { "part" } else { "parts" })]
    Incomplete {
        /// How many.
        count: u64,
        /// The first of them, each with its reason.
        failures: String,
    },
}

impl RunError {
    /// The `errorType` reported to Lambda: part of the function's interface.
    #[must_use]
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::InvalidRequest => "InvalidRequest",
            Self::Incomplete { .. } => "Incomplete",
        }
    }
}

impl From<RunError> for Diagnostic {
    fn from(error: RunError) -> Self {
        Self { error_type: error.error_type().to_owned(), error_message: error.to_string() }
    }
}

impl Scope {
    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// It is anything but `{"scope": "fleet"}` or `{"scope": "table"}`.
    pub fn parse(payload: &Payload) -> Result<Self, RunError> {
        // serde would also take `["fleet"]`, for one.
        let fields = payload.json().and_then(|json| Fields::parse(json).ok()).ok_or(RunError::InvalidRequest)?;
        let mut fields = fields.into_iter();
        match (fields.next(), fields.next()) {
            (Some((name, Ok(Json::String(scope)))), None) if name == "scope" => match &*scope {
                "fleet" => Ok(Self::Fleet),
                "table" => Ok(Self::Table),
                _ => Err(RunError::InvalidRequest),
            },
            _ => Err(RunError::InvalidRequest),
        }
    }
}

impl Reconciler {
    /// A reconciler of these tables with this part of ECS.
    #[must_use]
    pub fn new(config: ReconcilerConfig, dynamodb: Client, ecs: Ecs) -> Self {
        Self { config, dynamodb, ecs }
    }

    /// Handles one invocation, and logs it. It ends [`RESERVE`] before `deadline`, with whatever has been done by then.
    ///
    /// # Errors
    ///
    /// The payload is not a request, or a part of the run failed.
    pub async fn handle(&self, payload: &Payload, deadline: DateTime<Utc>) -> Result<Report, RunError> {
        let scope = Scope::parse(payload)?;
        // `cargo lambda watch` sets no deadline, but one in 1970.
        let time_left = (deadline - Utc::now()).to_std().map_or(NO_DEADLINE, |left| left.saturating_sub(RESERVE));
        let run = Run {
            config: &self.config,
            dynamodb: &self.dynamodb,
            ecs: &self.ecs,
            half_time: Instant::now() + time_left / 2,
            indexing: Limiter::new(INDEXED_PER_SECOND),
            report: Mutex::new(Report { scope, ..Report::default() }),
            failures: Mutex::default(),
        };
        let calls = self.ecs.calls();
        let compare = async {
            match scope {
                Scope::Fleet => fleet::compare(&run).await,
                Scope::Table => table::compare(&run).await,
            }
        };
        let ended = tokio::time::timeout(time_left, compare).await.is_ok();
        let failures = run.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        let report = run.report.into_inner().unwrap_or_else(PoisonError::into_inner);
        let report = Report { calls: self.ecs.calls() - calls, complete: ended, ..report };
        log(&report);
        if report.failures == 0 {
            return Ok(report);
        }
        let mut named = failures.join("; ");
        if report.failures > MAX_NAMED as u64 {
            named.push_str("; and more");
        }
        Err(RunError::Incomplete { count: report.failures, failures: named })
    }
}

/// A run in progress.
pub struct Run<'r> {
    /// The settings.
    pub config: &'r ReconcilerConfig,
    /// The tables.
    pub dynamodb: &'r Client,
    /// ECS.
    pub ecs: &'r Ecs,
    /// When half of the run's time is over.
    pub half_time: Instant,
    indexing: Limiter,
    report: Mutex<Report>,
    failures: Mutex<Vec<String>>,
}

impl Run<'_> {
    /// Counts something.
    pub fn count(&self, count: impl FnOnce(&mut Report)) {
        count(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Notes that a part of the run failed.
    pub fn fail(&self, part: impl Display, error: impl Display) {
        self.count(|report| report.failures += 1);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < MAX_NAMED {
            failures.push(format!("{part}: {error}"));
        }
    }

    /// The table of a kind of resource.
    #[must_use]
    pub fn table(&self, resource: Resource) -> &str {
        self.config.tables.table(resource)
    }

    /// Compares what ECS says of a resource with its row, and writes it if the row is absent or older.
    pub async fn settle(&self, resource: Resource, cluster: &str, json: &RawValue, known: &HashMap<String, Known>) {
        let now = Utc::now();
        let state = match described::state(resource, cluster, json, now) {
            Ok(state) => state,
            Err(error) => return self.fail(format_args!("{} of {cluster}", describe(resource)), error),
        };
        let (arn, version) = (state.arn.clone(), state.version);
        let known = known.get(&arn);
        match known.and_then(Known::version) {
            Some(stored) if stored == version => self.count(|report| report.unchanged += 1),
            Some(stored) if stored > version => self.count(|report| report.stale += 1),
            _ => {
                // A container instance has none of these times.
                let newest = described::newest_time(&state);
                let drifted = known.is_some() && newest.is_some_and(|time| now - time > DRIFT);
                let row = match Row::new(state, &self.config.tables) {
                    Ok(row) => row,
                    Err(error) => return self.fail(format_args!("{} of {cluster}", describe(resource)), error),
                };
                match store::put(self.dynamodb, self.table(resource), row).await {
                    Ok(Outcome::Stored) => {
                        return self.count(|report| {
                            report.stored += 1;
                            report.drift += u64::from(drifted);
                            report.cleared += u64::from(known.is_some_and(Known::is_marked));
                        });
                    }
                    Ok(Outcome::Duplicate { .. }) => self.count(|report| report.unchanged += 1),
                    Ok(Outcome::Stale { .. }) => self.count(|report| report.stale += 1),
                    Err(error) => self.fail(format_args!("writing the row of {arn}"), error),
                }
            }
        }
        if let Some(marked) = known.filter(|row| row.is_marked()) {
            match rows::clear(self.dynamodb, self.table(resource), resource, marked).await {
                Ok(cleared) => self.count(|report| report.cleared += u64::from(cleared)),
                Err(error) => self.fail(format_args!("updating the row of {arn}"), error),
            }
        }
        if let Some(row) = known
            && let Some(keys) = row.lacks.clone()
        {
            self.index(row, keys).await;
        }
    }

    /// Adds the keys of the index to the row of a task that lacks them.
    pub async fn index(&self, row: &Known, keys: IndexKeys) {
        self.indexing.pass().await;
        match rows::index(self.dynamodb, self.table(Resource::Task), row, keys).await {
            Ok(indexed) => self.count(|report| report.indexed += u64::from(indexed)),
            Err(error) => self.fail(format_args!("updating the row of {}", row.arn), error),
        }
    }
}

/// Writes the run's log line. Its fields are an interface: docs/operations.md lists them, and metrics and alarms read
/// them.
fn log(report: &Report) {
    info!(
        scope = match report.scope {
            Scope::Fleet => "fleet",
            Scope::Table => "table",
        },
        clusters = report.clusters,
        listed = report.listed,
        stored = report.stored,
        unchanged = report.unchanged,
        stale = report.stale,
        marked = report.marked,
        cleared = report.cleared,
        indexed = report.indexed,
        drift = report.drift,
        calls = report.calls,
        failures = report.failures,
        complete = report.complete,
        "run"
    );
}
