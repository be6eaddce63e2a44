//! A run in progress: its scope, its report, and the comparison of one resource with its row.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use chrono::{TimeDelta, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use tracing::warn;

use super::conditional_update::add_index_keys;
use super::described;
use super::ecs::{Ecs, describe_operation};
use super::known_row::KnownRow;
use super::mark;
use super::rate_limiter::RateLimiter;
use super::settings::Settings;
use crate::aws_json::CallError;
use crate::lambda::Payload;
use crate::resource::Resource;
use crate::state::conditional_write::{self, Outcome};
use crate::state::index::IndexKeys;
use crate::state::lossless_json::{Fields, Json};
use crate::state::row::Row;

/// If no event has reported a change within this time, the event was lost or is very late. EventBridge usually delivers
/// within seconds.
const DRIFT: TimeDelta = TimeDelta::minutes(5);
/// How many rows a second are given the keys of the index. A cluster's rows can be in one partition of the index, which
/// accepts 1,000 writes a second: this leaves half of them to the recorder.
const INDEXED_PER_SECOND: u32 = 500;
/// How many failures an error names, and how many rows that can't be checked have a line in the log.
const MAX_NAMED: usize = 10;
/// How many batches a run halves to find the ARNs that ECS does not accept. That is up to 200 calls, 40 s at five a
/// second, and finds at least 14 such ARNs.
pub const MAX_HALVED: u32 = 100;

/// The direction in which a run compares.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Is everything in ECS in the tables?
    #[default]
    Fleet,
    /// Does everything in the tables still exist?
    Table,
}

/// What a run is asked to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Request {
    /// The direction in which it compares.
    pub scope: Scope,
    /// For a table run: whether to scan the task table even if it has the index. Without it, the date decides.
    pub scan: Option<bool>,
}

impl Request {
    /// Reads the payload; `None` if it is anything but `{"scope": "fleet"}` or `{"scope": "table"}`, the latter perhaps
    /// with `scan`.
    pub fn parse(payload: &Payload) -> Option<Self> {
        let (mut scope, mut scan) = (None, None);
        // serde would also accept `["fleet"]`, for example.
        for (name, value) in Fields::parse(payload.json()?).ok()? {
            match (&*name, value) {
                ("scope", Ok(Json::String(text))) if scope.is_none() => {
                    scope = [Scope::Fleet, Scope::Table].into_iter().find(|scope| scope.name() == text);
                    scope?;
                }
                ("scan", Ok(Json::Bool(value))) if scan.is_none() => scan = Some(value),
                _ => return None,
            }
        }
        let scope = scope?;
        (scope == Scope::Table || scan.is_none()).then_some(Self { scope, scan })
    }
}

impl Scope {
    /// Its name in the request and the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fleet => "fleet",
            Self::Table => "table",
        }
    }
}

/// The result of a run, returned as JSON. Tasks and container instances are counted together.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Report {
    /// The scope of the run.
    pub scope: Scope,
    /// The clusters that were compared.
    pub clusters: u64,
    /// The resources that ECS listed (`fleet`), or the rows that were checked (`table`).
    pub listed: u64,
    /// The rows that were absent or older, and were written.
    pub stored: u64,
    /// The rows with the same version as in ECS.
    pub unchanged: u64,
    /// The rows with a newer version than ECS returned.
    pub stale: u64,
    /// The rows newly marked as missing in ECS.
    pub marked: u64,
    /// The rows whose mark was removed.
    pub cleared: u64,
    /// The rows of tasks to which the keys of the index were added.
    pub indexed: u64,
    /// The rows that can't be checked, although their state is not terminal.
    pub unchecked: u64,
    /// The tasks whose row was older, although they last changed over five minutes ago: an event was lost or is very
    /// late.
    pub drift: u64,
    /// The requests sent to ECS, including retries.
    pub calls: u64,
    /// The parts of the run that failed.
    pub failures: u64,
    /// Whether the run scanned the task table, instead of reading it by its index.
    pub scanned: bool,
    /// Whether the run finished before the deadline.
    pub complete: bool,
}

/// A run in progress.
pub struct Run<'r> {
    /// The reconciler's settings.
    pub settings: &'r Settings,
    /// The client of the tables.
    pub dynamodb: &'r Client,
    /// The client of the ECS API.
    pub ecs: &'r Ecs,
    /// The prefix of ECS's ARNs in the function's account and region; `None` if these are unknown.
    pub home: Option<String>,
    /// When half of the run's time is over.
    pub half_time: Instant,
    indexing: RateLimiter,
    halved: Cell<u32>,
    denied: RefCell<HashSet<(Resource, String)>>,
    report: RefCell<Report>,
    failures: RefCell<Vec<String>>,
}

impl<'r> Run<'r> {
    /// Starts a run of this function with this much time.
    pub fn new(
        scope: Scope,
        settings: &'r Settings,
        dynamodb: &'r Client,
        ecs: &'r Ecs,
        function_arn: &str,
        time_left: Duration,
    ) -> Self {
        Self {
            settings,
            dynamodb,
            ecs,
            // `cargo lambda watch` sends another text.
            home: function_arn.split_once(":function:").map(|(home, _)| home.replace(":lambda:", ":ecs:")),
            half_time: Instant::now() + time_left / 2,
            indexing: RateLimiter::new(INDEXED_PER_SECOND),
            halved: Cell::default(),
            denied: RefCell::default(),
            report: RefCell::new(Report { scope, ..Report::default() }),
            failures: RefCell::default(),
        }
    }

    /// Ends the run. Returns its report, and its first failures, each with its reason.
    pub fn into_report(self) -> (Report, String) {
        let report = self.report.into_inner();
        let mut failures = self.failures.into_inner().join("; ");
        if report.failures > MAX_NAMED as u64 {
            failures.push_str("; and more");
        }
        (report, failures)
    }

    /// Updates the report.
    pub fn count(&self, count: impl FnOnce(&mut Report)) {
        count(&mut self.report.borrow_mut());
    }

    /// Records that a part of the run failed.
    pub fn fail(&self, part: impl Display, error: impl Display) {
        self.count(|report| report.failures += 1);
        let mut failures = self.failures.borrow_mut();
        if failures.len() < MAX_NAMED {
            failures.push(format!("{part}: {error}"));
        }
    }

    /// Records that access to a cluster's tasks, or to its container instances, is denied: once, however many calls were
    /// in flight.
    pub fn deny(&self, resource: Resource, cluster: &str, part: impl Display, error: CallError) {
        if self.denied.borrow_mut().insert((resource, cluster.to_owned())) {
            self.fail(part, error);
        }
    }

    /// Whether access to these is denied.
    pub fn is_denied(&self, resource: Resource, cluster: &str) -> bool {
        self.denied.borrow().contains(&(resource, cluster.to_owned()))
    }

    /// Whether one more batch may be halved.
    pub fn may_halve(&self) -> bool {
        self.halved.replace(self.halved.get() + 1) < MAX_HALVED
    }

    /// Records that a row can't be checked. That is not a failure, since it would fail every run.
    pub fn leave_unchecked(&self, arn: &str, reason: &str) {
        let mut unchecked = 0;
        self.count(|report| {
            report.unchecked += 1;
            unchecked = report.unchecked;
        });
        if unchecked <= MAX_NAMED as u64 {
            warn!(arn, reason, "unchecked");
        }
    }

    /// The name of the table for this kind of resource.
    pub fn table(&self, resource: Resource) -> &str {
        self.settings.tables.table(resource)
    }

    /// Compares ECS's description of a resource with its row, and writes the row if it is absent or older.
    pub async fn settle(&self, resource: Resource, cluster: &str, json: &RawValue, known: &HashMap<String, KnownRow>) {
        let now = Utc::now();
        let state = match described::state(resource, cluster, json, now) {
            Ok(state) => state,
            Err(error) => return self.fail(format_args!("{} of {cluster}", describe_operation(resource)), error),
        };
        let (arn, version) = (state.arn.clone(), state.version);
        let known = known.get(&arn);
        match known.and_then(KnownRow::version) {
            Some(stored) if stored == version => self.count(|report| report.unchanged += 1),
            Some(stored) if stored > version => self.count(|report| report.stale += 1),
            _ => {
                // A container instance has none of these times.
                let newest = described::newest_time(&state);
                let drifted = known.is_some() && newest.is_some_and(|time| now - time > DRIFT);
                let row = match Row::new(state, &self.settings.tables) {
                    Ok(row) => row,
                    Err(error) => {
                        return self.fail(format_args!("{} of {cluster}", describe_operation(resource)), error);
                    }
                };
                match conditional_write::put(self.dynamodb, self.table(resource), row).await {
                    Ok(Outcome::Stored) => {
                        return self.count(|report| {
                            report.stored += 1;
                            report.drift += u64::from(drifted);
                            report.cleared += u64::from(known.is_some_and(KnownRow::is_marked));
                        });
                    }
                    Ok(Outcome::Duplicate { .. }) => self.count(|report| report.unchanged += 1),
                    Ok(Outcome::Stale { .. }) => self.count(|report| report.stale += 1),
                    Err(error) => self.fail(format_args!("writing the row of {arn}"), error),
                }
            }
        }
        if let Some(marked) = known.filter(|row| row.is_marked()) {
            match mark::clear(self.dynamodb, self.table(resource), resource, marked).await {
                Ok(cleared) => self.count(|report| report.cleared += u64::from(cleared)),
                Err(error) => self.fail(format_args!("updating the row of {arn}"), error),
            }
        }
        if let Some(row) = known
            && let Some(keys) = row.missing_keys.clone()
        {
            self.add_index_keys(row, keys).await;
        }
    }

    /// Adds the keys of the index to the row of a task.
    pub async fn add_index_keys(&self, row: &KnownRow, keys: IndexKeys) {
        self.indexing.pass().await;
        match add_index_keys(self.dynamodb, self.table(Resource::Task), row, keys).await {
            Ok(indexed) => self.count(|report| report.indexed += u64::from(indexed)),
            Err(error) => self.fail(format_args!("updating the row of {}", row.arn), error),
        }
    }
}
