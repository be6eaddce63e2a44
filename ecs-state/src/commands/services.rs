//! `ecs-state services`

use anstyle::Style;
use chrono::{DateTime, Utc};
use ecs_model::arn::last_part;
use ecs_model::diagnosis::{Cause, Code};
use ecs_state_recorder::attributes::timestamp;
use serde::Serialize;

use super::groups::{self, Group, Reason};
use crate::access::{Source, filter};
use crate::arguments::GroupArguments;
use crate::cells::{self, ACCOUNT, REGION, code_style, place};
use crate::column_widths::{Column, Fit};
use crate::columns::{Cell, Table};
use crate::failure::{Failure, Unreadable};
use crate::json;
use crate::tables::Tables;
use crate::tables::filter::Filter;
use crate::terminal::{GREEN, PLAIN, RED, YELLOW, width};
use crate::time::{Window, age, precise};

pub(crate) const COLUMNS: &[Column] = &[
    Column { title: "CLUSTER", fit: Fit::AtLeast(7) },
    ACCOUNT,
    REGION,
    Column { title: "SERVICE", fit: Fit::AtLeast(12) },
    Column { title: "RUNNING", fit: Fit::Whole },
    Column { title: "STARTING", fit: Fit::Optional },
    Column { title: "STOPPING", fit: Fit::Optional },
    Column { title: "STOPPED", fit: Fit::Whole },
    Column { title: "MOST FREQUENT", fit: Fit::AtLeast(13) },
    Column { title: "LAST STOP", fit: Fit::Optional },
    Column { title: "START", fit: Fit::Optional },
    Column { title: "DEFINITION", fit: Fit::Optional },
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'g> {
    cluster_arn: &'g str,
    group: &'g str,
    running: usize,
    starting: usize,
    stopping: usize,
    stopped: usize,
    failed: usize,
    is_crash_loop: bool,
    most_frequent: Option<MostFrequent>,
    last_stopped_at: Option<String>,
    median_start_seconds: Option<f64>,
    task_definition_arns: Vec<&'g str>,
}

#[derive(Serialize)]
struct MostFrequent {
    code: Code,
    cause: Option<Cause>,
    count: usize,
}

pub(crate) async fn run(tables: &Tables, arguments: &GroupArguments) -> Result<(), Failure> {
    let window = Window::new(arguments.since, arguments.at)?;
    let filter = Filter { at: arguments.at, services: Some(true), ..filter(tables, &arguments.filters, false).await? };
    let (mut services, unreadable) = read(&mut Source::new(tables, arguments.scan), &filter, window).await?;
    services.retain(|service| !arguments.failing || service.failed > 0 || service.is_crash_loop);
    let mut stdout = anstream::stdout().lock();
    let mut table = Table::new(COLUMNS, width(), &mut stdout);
    let now = window.until.unwrap_or_else(Utc::now);
    for service in &services {
        if arguments.json {
            json::line(table.output(), &line(service))?;
        } else {
            table.add(cells(service, now))?;
        }
    }
    table.flush()?;
    unreadable.outcome(services.len(), || {
        let what = if arguments.failing { "failed stops" } else { "tasks" };
        format!("no service with {what} {window} matches")
    })
}

/// The services that a filter admits, by cluster and name, but crash loops first.
pub(crate) async fn read<'t>(
    source: &mut Source<'t>,
    filter: &'t Filter,
    window: Window,
) -> Result<(Vec<Group>, Unreadable), Failure> {
    let (mut services, unreadable) = groups::read(source, filter, window).await?;
    services.sort_by_key(|service| !service.is_crash_loop);
    Ok((services, unreadable))
}

fn line(service: &Group) -> Line<'_> {
    let most_frequent = service.most_frequent();
    #[expect(clippy::cast_precision_loss, reason = "these are milliseconds of a start")]
    let seconds = |time: chrono::TimeDelta| time.num_milliseconds() as f64 / 1000.0;
    Line {
        cluster_arn: &service.cluster,
        group: &service.name,
        running: service.running,
        starting: service.starting,
        stopping: service.stopping,
        stopped: service.stopped,
        failed: service.failed,
        is_crash_loop: service.is_crash_loop,
        most_frequent: most_frequent.map(|Reason { code, cause, count, .. }| MostFrequent { code, cause, count }),
        last_stopped_at: service.last_stopped_at.map(timestamp),
        median_start_seconds: service.median_start().map(seconds),
        task_definition_arns: service.definitions(),
    }
}

pub(crate) fn cells(service: &Group, now: DateTime<Utc>) -> Vec<Cell> {
    let reason = service.most_frequent();
    let style = reason.map_or(PLAIN, |reason| code_style(reason.code, reason.kind));
    let reason = reason.map(|Reason { code, cause, count, .. }| format!("{} {count}", cells::reason(code, cause)));
    let mark = if service.is_crash_loop { "crash loop: " } else { "" };
    let reason = format!("{mark}{}", reason.unwrap_or_default());
    let definitions: Vec<&str> = service.definitions().into_iter().map(last_part).collect();
    let [account, region] = place(&service.cluster);
    vec![
        Cell::new(last_part(&service.cluster)),
        account,
        region,
        Cell::new(service.name.strip_prefix("service:").unwrap_or(&service.name)),
        Cell::styled(&service.running.to_string(), if service.running > 0 { GREEN } else { PLAIN }),
        count(service.starting, YELLOW),
        count(service.stopping, YELLOW),
        count(service.stopped, PLAIN),
        Cell::styled(&reason, if service.is_crash_loop { RED.bold() } else { style }),
        Cell::new(&service.last_stopped_at.map(|time| age(Some(time), now)).unwrap_or_default()),
        Cell::new(&service.median_start().map(precise).unwrap_or_default()),
        Cell::new(&definitions.join(" ")),
    ]
}

/// A count; nothing for none, so that a column without any is omitted.
pub(super) fn count(count: usize, style: Style) -> Cell {
    if count > 0 { Cell::styled(&count.to_string(), style) } else { Cell::new("") }
}
