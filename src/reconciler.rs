//! The reconciler: writes what the ECS API knows but no event reported, and marks rows of what ECS no longer knows.
//!
//! A [`run`] has one of two scopes. A [`fleet_run`] checks that everything in ECS is in the tables; a [`table_run`]
//! checks that everything in the tables still exists. Both call the API through [`ecs`], at the pace of
//! [`rate_limiter`]; [`describe`] judges its answers, and [`described`] converts them into states. They read
//! [`known_row`]s and write states with [`crate::state::conditional_write`]; a [`conditional_update`] adds missing keys
//! of the index, or the [`mark`] of a missing resource. [`settings`] reads the configuration, including the
//! [`table_role`] for tables in another account.

pub mod conditional_update;
pub mod describe;
pub mod described;
pub mod ecs;
pub mod fleet_run;
pub mod known_row;
pub mod mark;
pub mod rate_limiter;
pub mod run;
pub mod settings;
pub mod table_role;
pub mod table_run;

use aws_sdk_dynamodb::Client;
use chrono::{Datelike as _, NaiveDate, Utc, Weekday};
use lambda_runtime::{Context, Diagnostic};
use thiserror::Error;
use tracing::info;

use self::ecs::Ecs;
use self::run::{Report, Request, Run, Scope};
use self::settings::Settings;
use crate::lambda::{Payload, time_left};

/// Compares ECS with the tables. Built once and used by all invocations.
pub struct Reconciler {
    settings: Settings,
    dynamodb: Client,
    ecs: Ecs,
}

/// Why a run failed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum RunError {
    /// The payload is not a request.
    #[error(
        "the request must be {{\"scope\": \"fleet\"}} or {{\"scope\": \"table\"}}, which may also have \"scan\", true or \
         false: check what invokes this function"
    )]
    InvalidRequest,
    /// Parts of the run failed. All others were completed, unless the deadline came first.
    #[error(
        "{count} {} of the run failed, and the next run repeats them: {failures}",
        if *count == 1 { "part" } else { "parts" }
    )]
    Incomplete {
        /// How many parts failed.
        count: u64,
        /// The first failures, each with its reason.
        failures: String,
    },
}

impl RunError {
    /// The `errorType` reported to Lambda: part of the reconciler's interface.
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

impl Reconciler {
    /// A reconciler that uses these clients.
    pub fn new(settings: Settings, dynamodb: Client, ecs: Ecs) -> Self {
        Self { settings, dynamodb, ecs }
    }

    /// Handles one invocation and logs it. It stops when no [time is left](time_left), even if the run is not complete.
    pub async fn handle(&self, payload: &Payload, context: &Context) -> Result<Report, RunError> {
        let Request { scope, scan } = Request::parse(payload).ok_or(RunError::InvalidRequest)?;
        let time_left = time_left(context);
        let run = Run::new(scope, &self.settings, &self.dynamodb, &self.ecs, &context.invoked_function_arn, time_left);
        let calls = self.ecs.calls();
        let compare = async {
            match scope {
                Scope::Fleet => fleet_run::compare(&run).await,
                Scope::Table => {
                    table_run::compare(&run, scan.unwrap_or_else(|| is_scan_day(Utc::now().date_naive()))).await;
                }
            }
        };
        let complete = tokio::time::timeout(time_left, compare).await.is_ok();
        let (report, failures) = run.into_report();
        let report = Report { calls: self.ecs.calls() - calls, complete, ..report };
        log(&report);
        if report.failures == 0 { Ok(report) } else { Err(RunError::Incomplete { count: report.failures, failures }) }
    }
}

/// Whether table runs scan the task table on this day (UTC), even if it has the index. The date decides, since the
/// reconciler remembers nothing.
pub fn is_scan_day(day: NaiveDate) -> bool {
    day.weekday() == Weekday::Sun
}

/// Writes the run's log line. Its fields are an interface, listed in docs/reference.md: metrics and alarms read them.
fn log(report: &Report) {
    info!(
        scope = report.scope.name(),
        clusters = report.clusters,
        listed = report.listed,
        stored = report.stored,
        unchanged = report.unchanged,
        stale = report.stale,
        marked = report.marked,
        cleared = report.cleared,
        indexed = report.indexed,
        unchecked = report.unchecked,
        drift = report.drift,
        calls = report.calls,
        failures = report.failures,
        scanned = report.scanned,
        complete = report.complete,
        "run"
    );
}
