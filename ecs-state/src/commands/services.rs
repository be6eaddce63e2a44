//! `ecs-state services`

use chrono::{DateTime, TimeDelta, Utc};
use ecs_model::arn::last_part;
use ecs_state_recorder::attributes::timestamp;
use serde_json::{Value, json};

use super::groups::{Group, Reason, View, count};
use crate::cells::{self, ACCOUNT, REGION, code_style, place};
use crate::column_widths::{Column, Fit};
use crate::columns::Cell;
use crate::terminal::{GREEN, PLAIN, RED, YELLOW};
use crate::time::{Since, age, precise};

/// The window of `watch services`, which is the default of `--since`.
pub(super) const SINCE: Since = Since::Ago(TimeDelta::hours(1));

pub(crate) const COLUMNS: &[Column] = &[
    Column { title: "CLUSTER", fit: Fit::AtLeast(7) },
    ACCOUNT,
    REGION,
    Column { title: "SERVICE", fit: Fit::AtLeast(12) },
    Column { title: "RUNNING", fit: Fit::Whole },
    Column { title: "STARTING", fit: Fit::Optional },
    Column { title: "STOPPING", fit: Fit::Optional },
    Column { title: "STOPPED", fit: Fit::Whole },
    Column { title: "MOST FREQUENT", fit: Fit::AtLeast(28) },
    Column { title: "LAST STOP", fit: Fit::Optional },
    Column { title: "START", fit: Fit::Optional },
    Column { title: "DEFINITION", fit: Fit::Optional },
];

pub(crate) const VIEW: View = View {
    services: true,
    nothing: ["service with tasks", "service with failed stops"],
    columns: COLUMNS,
    cells,
    json,
};

fn json(service: &Group) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "these are milliseconds of a start")]
    let seconds = |time: TimeDelta| time.num_milliseconds() as f64 / 1000.0;
    let reason = |Reason { code, cause, count, .. }| json!({"code": code, "cause": cause, "count": count});
    json!({
        "clusterArn": service.cluster,
        "group": service.name,
        "running": service.running,
        "starting": service.starting,
        "stopping": service.stopping,
        "stopped": service.stopped,
        "failed": service.failed,
        "isCrashLoop": service.is_crash_loop,
        "mostFrequent": service.most_frequent().map(reason),
        "lastStoppedAt": service.last_stopped_at.map(timestamp),
        "medianStartSeconds": service.median_start().map(seconds),
        "taskDefinitionArns": service.definitions(),
    })
}

pub(crate) fn cells(service: &Group, now: DateTime<Utc>) -> Vec<Cell> {
    let reason = service.most_frequent();
    let style = reason.map_or(PLAIN, |reason| code_style(reason.code, reason.kind));
    let reason = reason.map(|Reason { code, cause, count, .. }| format!("{} {count}", cells::reason(code, cause)));
    // A window shorter than the loop may have no stop in it.
    let mark = service.is_crash_loop.then(|| "crash loop".to_owned());
    let reason = mark.into_iter().chain(reason).collect::<Vec<_>>().join(": ");
    let definitions: Vec<&str> = service.definitions().into_iter().map(last_part).collect();
    let [account, region] = place(&service.cluster);
    vec![
        Cell::new(last_part(&service.cluster)),
        account,
        region,
        Cell::new(name(service)),
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

pub(super) fn name(service: &Group) -> &str {
    service.name.strip_prefix("service:").unwrap_or(&service.name)
}
