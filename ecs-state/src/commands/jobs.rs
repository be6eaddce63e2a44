//! `ecs-state jobs`

use chrono::{DateTime, Utc};
use ecs_model::arn::last_part;
use ecs_model::diagnosis::Code;
use ecs_state_recorder::attributes::timestamp;
use serde::Serialize;

use super::groups::{self, Group, Run};
use super::services::count;
use crate::access::{Source, filter};
use crate::arguments::GroupArguments;
use crate::cells::{ACCOUNT, REGION, code_style, place};
use crate::column_widths::{Column, Fit};
use crate::columns::{Cell, Table};
use crate::failure::Failure;
use crate::json;
use crate::tables::Tables;
use crate::tables::filter::Filter;
use crate::terminal::{GREEN, PLAIN, RED, width};
use crate::time::{Window, age, duration};

/// The columns from `LAST RUN` to `RAN` are about the last run.
const COLUMNS: &[Column] = &[
    Column { title: "CLUSTER", fit: Fit::AtLeast(7) },
    ACCOUNT,
    REGION,
    Column { title: "GROUP", fit: Fit::AtLeast(12) },
    Column { title: "RUNNING", fit: Fit::Whole },
    Column { title: "RUNS", fit: Fit::Whole },
    Column { title: "FAILED", fit: Fit::Whole },
    Column { title: "LAST RUN", fit: Fit::Whole },
    Column { title: "OUTCOME", fit: Fit::AtLeast(8) },
    Column { title: "RAN", fit: Fit::Whole },
    Column { title: "LAST SUCCESS", fit: Fit::Optional },
    Column { title: "TASK", fit: Fit::Optional },
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'g> {
    cluster_arn: &'g str,
    group: &'g str,
    running: usize,
    runs: usize,
    failed: usize,
    last_run: LastRun<'g>,
    last_success_at: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LastRun<'g> {
    task_arn: &'g str,
    code: Option<Code>,
    started_at: Option<String>,
    stopped_at: Option<String>,
}

pub(crate) async fn run(tables: &Tables, arguments: &GroupArguments) -> Result<(), Failure> {
    let window = Window::new(arguments.since, arguments.at)?;
    let filter = Filter { at: arguments.at, services: Some(false), ..filter(tables, &arguments.filters, false).await? };
    let (mut jobs, unreadable) = groups::read(&mut Source::new(tables, arguments.scan), &filter, window).await?;
    jobs.retain(|job| job.active() + job.stopped > 0 && (!arguments.failing || job.failed > 0));
    let mut stdout = anstream::stdout().lock();
    let mut table = Table::new(COLUMNS, width(), &mut stdout);
    let now = window.until.unwrap_or_else(Utc::now);
    for job in &jobs {
        if arguments.json {
            json::line(table.output(), &line(job))?;
        } else {
            table.add(cells(job, now))?;
        }
    }
    table.flush()?;
    unreadable.outcome(jobs.len(), || {
        let what = if arguments.failing { "failed runs" } else { "runs" };
        format!("no job with {what} {window} matches")
    })
}

fn line(job: &Group) -> Line<'_> {
    let Run { task_arn, code, started_at, stopped_at, .. } = &job.last_run;
    Line {
        cluster_arn: &job.cluster,
        group: &job.name,
        running: job.active(),
        runs: job.stopped,
        failed: job.failed,
        last_run: LastRun {
            task_arn,
            code: code.map(|(code, _)| code),
            started_at: started_at.map(timestamp),
            stopped_at: stopped_at.map(timestamp),
        },
        last_success_at: job.last_success_at.map(timestamp),
    }
}

fn cells(job: &Group, now: DateTime<Utc>) -> Vec<Cell> {
    let run = &job.last_run;
    let outcome = match run.code {
        Some((code, kind)) => Cell::styled(code.as_str(), code_style(code, kind)),
        None => Cell::styled(if run.started_at.is_some() { "running" } else { "starting" }, GREEN),
    };
    let ran = run.started_at.map_or_else(|| "–".to_owned(), |from| duration(run.stopped_at.unwrap_or(now) - from));
    let [account, region] = place(&job.cluster);
    vec![
        Cell::new(last_part(&job.cluster)),
        account,
        region,
        Cell::new(if job.name.is_empty() { "–" } else { &job.name }),
        count(job.active(), GREEN),
        count(job.stopped, PLAIN),
        count(job.failed, RED),
        Cell::new(&age(run.created_at, now)),
        outcome,
        Cell::new(&ran),
        Cell::new(&age(job.last_success_at, now)),
        Cell::new(last_part(&run.task_arn)),
    ]
}
