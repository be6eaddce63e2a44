//! `ecs-state jobs`

use chrono::{DateTime, Utc};
use ecs_model::arn::last_part;
use ecs_state_recorder::attributes::timestamp;
use serde_json::{Value, json};

use super::groups::{Group, Run, View, count};
use crate::cells::{ACCOUNT, REGION, code_style, place};
use crate::column_widths::{Column, Fit};
use crate::columns::Cell;
use crate::terminal::{GREEN, PLAIN, RED, YELLOW};
use crate::time::{age, duration};

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

pub(crate) const VIEW: View =
    View { services: false, nothing: ["job with runs", "job with failed runs"], columns: COLUMNS, cells, json };

fn json(job: &Group) -> Value {
    let Run { task_arn, code, started_at, stopped_at, .. } = &job.last_run;
    json!({
        "clusterArn": job.cluster,
        "group": job.name,
        "running": job.active(),
        "runs": job.stopped,
        "failed": job.failed,
        "lastRun": {
            "taskArn": task_arn,
            "code": code.map(|(code, _)| code),
            "startedAt": started_at.map(timestamp),
            "stoppedAt": stopped_at.map(timestamp),
        },
        "lastSuccessAt": job.last_success_at.map(timestamp),
    })
}

fn cells(job: &Group, now: DateTime<Utc>) -> Vec<Cell> {
    let run = &job.last_run;
    let outcome = match run.code {
        Some((code, kind)) => Cell::styled(code.as_str(), code_style(code, kind)),
        None if run.is_stopping => Cell::styled("stopping", YELLOW),
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
