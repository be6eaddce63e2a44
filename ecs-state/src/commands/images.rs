//! `ecs-state images`

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use ecs_model::arn::{cluster_arn, last_part};
use ecs_model::{Task, TaskStatus};
use ecs_state_recorder::attributes::timestamp;
use ecs_state_recorder::state::stored::Stored;
use serde_json::{Value, json};

use crate::access::{Source, filter};
use crate::arguments::{ImagesArguments, PlainOutput};
use crate::cells::{ACCOUNT, REGION, place};
use crate::column_widths::{Column, Fit};
use crate::columns::{Cell, Table};
use crate::failure::Failure;
use crate::json;
use crate::state_at::status_at;
use crate::tables::filter::has_image;
use crate::tables::{Tables, TaskSet};
use crate::terminal::width;
use crate::time::{age, instant};

const COLUMNS: &[Column] = &[
    Column { title: "DIGEST", fit: Fit::Id },
    ACCOUNT,
    REGION,
    Column { title: "TASKS", fit: Fit::Whole },
    Column { title: "AGE", fit: Fit::Whole },
    Column { title: "GROUPS", fit: Fit::AtLeast(12) },
    Column { title: "IMAGE", fit: Fit::Below },
];

/// An image and its digest, in one region of one account.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct Key {
    image: Option<String>,
    digest: Option<String>,
    /// The start of its tasks' ARNs: `arn:aws:ecs:eu-west-1:123456789012`.
    origin: String,
}

#[derive(Default)]
struct Found {
    tasks: u64,
    /// Their clusters' ARNs and their groups.
    groups: BTreeSet<(String, String)>,
    /// When the oldest of them started.
    since: Option<DateTime<Utc>>,
}

pub(crate) async fn run(tables: &Tables, arguments: ImagesArguments) -> Result<(), Failure> {
    let ImagesArguments { at, filters, output: PlainOutput { json, scan } } = arguments;
    let filter = filter(tables, &filters, false, at).await?;
    let which = at.map_or(TaskSet::Active, TaskSet::ActiveSince);
    let mut source = Source::new(tables, scan);
    let listing = source.tasks(which, &filter, None).await?;
    let mut images: BTreeMap<Key, Found> = BTreeMap::new();
    let add = |row: Stored<Task>| {
        let task = &row.state;
        if status_at(&row, at) == Some(TaskStatus::Stopped) {
            return false;
        }
        let is_wanted = |container: &&_| filter.image.as_ref().is_none_or(|text| has_image(container, text));
        let keys = task.containers.iter().filter(is_wanted).map(|container| Key {
            image: container.image.clone(),
            digest: container.image_digest.clone(),
            origin: task.task_arn.split(":task/").next().unwrap_or_default().to_owned(),
        });
        let started = task.started_at.filter(|time| at.is_none_or(|at| *time <= at));
        let started = started.or(task.created_at).or(row.recorded.as_of());
        for key in keys.collect::<BTreeSet<Key>>() {
            let found = images.entry(key).or_default();
            found.tasks += 1;
            let cluster = cluster_arn(task.cluster_arn.as_deref(), &task.task_arn).unwrap_or_default();
            found.groups.insert((cluster, task.group.clone().unwrap_or_default()));
            found.since = found.since.into_iter().chain(started).min();
        }
        true
    };
    let (_, unreadable) = source.for_all_rows(listing, add).await?;
    let mut stdout = anstream::stdout().lock();
    if json {
        images.iter().try_for_each(|(key, found)| json::line(&mut stdout, &object(key, found)))?;
    } else {
        let mut table = Table::new(COLUMNS, width(), &mut stdout);
        let now = at.unwrap_or_else(Utc::now);
        images.iter().try_for_each(|(key, found)| table.add(cells(key, found, now)))?;
        table.flush()?;
    }
    unreadable.outcome(images.len(), || match at {
        Some(at) => format!("no task that ran at {} matches", instant(at)),
        None => "no task that has not stopped matches".to_owned(),
    })
}

fn object(key: &Key, found: &Found) -> Value {
    let group = |(cluster, group): &(String, String)| json!({"clusterArn": cluster, "group": group});
    json!({
        "image": key.image,
        "imageDigest": key.digest,
        "tasks": found.tasks,
        "groups": found.groups.iter().map(group).collect::<Vec<_>>(),
        "since": found.since.map(timestamp),
    })
}

fn cells(key: &Key, found: &Found, now: DateTime<Utc>) -> Vec<Cell> {
    let digest = key.digest.as_deref().map_or("–", |digest| digest.strip_prefix("sha256:").unwrap_or(digest));
    let [account, region] = place(&key.origin);
    let groups: Vec<String> =
        found.groups.iter().map(|(cluster, group)| format!("{}/{group}", last_part(cluster))).collect();
    vec![
        Cell::new(digest),
        account,
        region,
        Cell::new(&found.tasks.to_string()),
        Cell::new(&age(found.since, now)),
        Cell::new(&groups.join(", ")),
        Cell::new(key.image.as_deref().unwrap_or("–")),
    ]
}
