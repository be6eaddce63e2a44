//! Tasks counted by cluster and group, which is what `services` and `jobs` show.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use anstyle::Style;
use chrono::{DateTime, TimeDelta, Utc};
use ecs_model::arn::cluster_arn;
use ecs_model::diagnosis::{CRASH_LOOP_SPAN, Cause, Code, Diagnosis, Kind, Stop, is_crash_loop};
use ecs_model::{Task, TaskStatus};
use ecs_state_recorder::state::stored::Stored;
use serde_json::Value;

use crate::access::{Source, filter};
use crate::arguments::{GroupArguments, PlainOutput};
use crate::column_widths::Column;
use crate::columns::{Cell, Table};
use crate::failure::{Failure, Unreadable};
use crate::json;
use crate::state_at::status_at;
use crate::tables::filter::{Filter, is_service};
use crate::tables::{Tables, TaskSet};
use crate::terminal::width;
use crate::time::Window;

pub(crate) struct View {
    /// Whether it shows services, or what has none.
    pub(crate) services: bool,
    /// What an empty answer says is missing, and the same for `--failing`.
    pub(crate) nothing: [&'static str; 2],
    pub(crate) columns: &'static [Column],
    /// The cells of a group at a time.
    pub(crate) cells: fn(&Group, DateTime<Utc>) -> Vec<Cell>,
    pub(crate) json: fn(&Group) -> Value,
}

/// The tasks of one group: those at the end of a window, and those that stopped in it.
#[derive(Default)]
pub(crate) struct Group {
    /// The cluster's ARN.
    pub(crate) cluster: String,
    /// The group's name, such as `service:web`.
    pub(crate) name: String,
    pub(crate) running: usize,
    pub(crate) starting: usize,
    pub(crate) stopping: usize,
    pub(crate) stopped: usize,
    pub(crate) failed: usize,
    pub(crate) last_stopped_at: Option<DateTime<Utc>>,
    /// When the last task stopped that had finished.
    pub(crate) last_success_at: Option<DateTime<Utc>>,
    /// The task that was created last.
    pub(crate) last_run: Run,
    pub(crate) is_crash_loop: bool,
    /// Those of earlier stops have a count of 0.
    pub(crate) reasons: BTreeMap<(Code, Option<Cause>), Reason>,
    /// Of the tasks that have started.
    start_times: Vec<TimeDelta>,
    definitions: BTreeMap<String, Definition>,
    /// In the window, and in the [`CRASH_LOOP_SPAN`] before its end.
    stops: Vec<Stop>,
}

#[derive(Default)]
pub(crate) struct Run {
    pub(crate) created_at: Option<DateTime<Utc>>,
    pub(crate) task_arn: String,
    pub(crate) is_stopping: bool,
    /// `None` while it runs, as is `stopped_at`.
    pub(crate) code: Option<(Code, Kind)>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) stopped_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct Reason {
    pub(crate) code: Code,
    pub(crate) cause: Option<Cause>,
    pub(crate) kind: Kind,
    pub(crate) count: usize,
}

#[derive(Default)]
struct Definition {
    /// When the newest task with it was created.
    last_used: Option<DateTime<Utc>>,
    is_active: bool,
}

impl Group {
    /// The tasks that have not stopped.
    pub(crate) fn active(&self) -> usize {
        self.running + self.starting + self.stopping
    }

    /// The most frequent reason of the worst kind of stop.
    pub(crate) fn most_frequent(&self) -> Option<Reason> {
        let reasons = self.reasons.values().copied().filter(|reason| reason.count > 0);
        reasons.min_by_key(|reason| Reverse((reason.kind, reason.count)))
    }

    /// The median time from the creation of a task to its start.
    pub(crate) fn median_start(&self) -> Option<TimeDelta> {
        let mut times = self.start_times.clone();
        times.sort_unstable();
        let middle = times.len() / 2;
        match times.len() {
            0 => None,
            count if count % 2 == 1 => Some(times[middle]),
            _ => Some((times[middle - 1] + times[middle]) / 2),
        }
    }

    /// The task definition used last, then the others that are still in use, newest first.
    pub(crate) fn definitions(&self) -> Vec<&str> {
        let mut definitions: Vec<_> = self.definitions.iter().collect();
        definitions.sort_by_key(|(_, definition)| Reverse(definition.last_used));
        let shown = definitions.iter().enumerate().filter(|(at, (_, definition))| *at == 0 || definition.is_active);
        shown.map(|(_, (arn, _))| arn.as_str()).collect()
    }

    /// Counts a task at the end of the window.
    fn add(&mut self, row: &Stored<Task>, window: Window) {
        let task = &row.state;
        let created_at = task.created_at.or(row.recorded.as_of());
        let started_at = task.started_at.filter(|time| window.until.is_none_or(|until| *time <= until));
        let mut run = Run { created_at, task_arn: task.task_arn.clone(), started_at, ..Run::default() };
        let status = status_at(row, window.until);
        let is_active = !matches!(status, Some(TaskStatus::Stopped | TaskStatus::Deleted));
        if is_active {
            run.is_stopping =
                matches!(status, Some(TaskStatus::Deactivating | TaskStatus::Stopping | TaskStatus::Deprovisioning))
                    || window.until.is_none() && task.is_stopping();
            *match status {
                _ if run.is_stopping => &mut self.stopping,
                Some(TaskStatus::Running) => &mut self.running,
                _ => &mut self.starting,
            } += 1;
        } else {
            let stopped_at = task.stopped_at.or(row.recorded.as_of());
            let (Some(stopped_at), Some(diagnosis)) = (stopped_at, Diagnosis::new(task)) else { return };
            let Diagnosis { code, cause, .. } = diagnosis;
            let kind = diagnosis.kind();
            self.stops.push(Stop { kind, started_at, stopped_at });
            let reason = self.reasons.entry((code, cause)).or_insert(Reason { code, cause, kind, count: 0 });
            if stopped_at < window.since {
                return;
            }
            reason.count += 1;
            self.stopped += 1;
            self.failed += usize::from(kind == Kind::Failed);
            self.last_stopped_at = self.last_stopped_at.max(Some(stopped_at));
            if code == Code::Finished {
                self.last_success_at = self.last_success_at.max(Some(stopped_at));
            }
            run.code = Some((code, kind));
            run.stopped_at = Some(stopped_at);
        }
        self.start_times
            .extend(started_at.zip(task.created_at).map(|(started_at, created_at)| started_at - created_at));
        if let Some(arn) = &task.task_definition_arn {
            let definition = self.definitions.entry(arn.clone()).or_default();
            definition.last_used = definition.last_used.max(created_at);
            definition.is_active |= is_active;
        }
        if (run.created_at, &run.task_arn) > (self.last_run.created_at, &self.last_run.task_arn) {
            self.last_run = run;
        }
    }
}

pub(crate) async fn show(tables: &Tables, arguments: &GroupArguments, view: &View) -> Result<(), Failure> {
    let GroupArguments { since, at, failing, filters, output: PlainOutput { json, scan } } = arguments;
    let window = Window::new(*since, *at)?;
    let filter = Filter { services: Some(view.services), ..filter(tables, filters, false, *at).await? };
    let (mut groups, unreadable) = read(&mut Source::new(tables, *scan), &filter, window, window.since).await?;
    groups.retain(|group| !failing || group.failed > 0 || group.is_crash_loop);
    let mut stdout = anstream::stdout().lock();
    let mut table = Table::new(view.columns, width(), &mut stdout);
    let now = at.unwrap_or_else(Utc::now);
    for group in &groups {
        if *json {
            json::line(table.output(), &(view.json)(group))?;
        } else {
            table.add((view.cells)(group, now))?;
        }
    }
    table.flush()?;
    unreadable.outcome(groups.len(), || format!("no {} {window} matches", view.nothing[usize::from(*failing)]))
}

/// Reads and counts the tasks that a filter admits, by cluster and group, with crash loops first. The state is that at
/// the end of the window. A group is listed if it has had tasks since a time, which may be before the window.
pub(crate) async fn read<'t>(
    source: &mut Source<'t>,
    filter: &'t Filter,
    window: Window,
    listed_since: DateTime<Utc>,
) -> Result<(Vec<Group>, Unreadable), Failure> {
    if let Some(status) = &filter.status {
        return Err(Failure::Usage(format!(
            "a group's tasks are counted in every status: leave out --status {status}"
        )));
    }
    if let (Some(services), Some(group)) = (filter.services, filter.only_group())
        && is_service(&group) != services
    {
        let command = if services { "jobs" } else { "services" };
        return Err(Failure::Usage(format!("the group {group:?} is listed by `ecs-state {command}`")));
    }
    let end = window.until.unwrap_or_else(Utc::now);
    let since = listed_since.min(end - CRASH_LOOP_SPAN);
    let listing = source.tasks(TaskSet::ActiveSince(since), filter, None).await?;
    let mut groups = BTreeMap::<_, Group>::new();
    let add = |row: Stored<Task>| {
        let task = &row.state;
        let cluster = cluster_arn(task.cluster_arn.as_deref(), &task.task_arn).unwrap_or_default();
        let name = task.group.clone().unwrap_or_default();
        let group = groups.entry((cluster.clone(), name.clone())).or_default();
        group.cluster = cluster;
        group.name = name;
        group.add(&row, window);
        true
    };
    let (_, unreadable) = source.for_all_rows(listing, add).await?;
    let mut groups: Vec<Group> = groups.into_values().collect();
    for group in &mut groups {
        // What has no service is not started again and again.
        group.is_crash_loop = filter.services == Some(true) && is_crash_loop(group.stops.iter().copied(), end);
    }
    groups.retain(|group| {
        group.active() > 0 || group.is_crash_loop || group.stops.iter().any(|stop| stop.stopped_at >= listed_since)
    });
    groups.sort_by_key(|group| !group.is_crash_loop);
    Ok((groups, unreadable))
}

/// A count; nothing for none, so that a column without any is omitted.
pub(crate) fn count(count: usize, style: Style) -> Cell {
    if count > 0 { Cell::styled(&count.to_string(), style) } else { Cell::new("") }
}
