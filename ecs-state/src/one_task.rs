//! The one task that a command is about, and the container that matters most in it.

use ecs_model::arn::is_id;
use ecs_model::diagnosis::Diagnosis;
use ecs_model::{Container, ModelError, Task};
use ecs_state_recorder::resource::Resource;
use ecs_state_recorder::state::stored::Stored;

use crate::access::Source;
use crate::arguments::OneTask;
use crate::failure::{Failure, Unreadable};
use crate::tables::Tables;
use crate::tables::search::possible_task_arns;

/// How many tasks are listed if several match.
const LISTED: usize = 20;

/// The task with this ARN or id, or the only one whose id contains it.
pub(crate) async fn find(tables: &Tables, task: &OneTask, scan: bool) -> Result<Stored<Task>, Failure> {
    let (id, cluster) = (&task.id, task.cluster.as_deref());
    // Ids are in lower case.
    let id = &if id.starts_with("arn:") { id.to_owned() } else { id.to_ascii_lowercase() };
    let mut source = Source::new(tables, scan);
    match read(tables, &mut source, id, cluster).await? {
        Some(Ok(row)) => Ok(row),
        Some(Err(error)) => {
            Unreadable::default().add(&error);
            Err(Failure::Unreadable)
        }
        None if id.starts_with("arn:") => Err(Failure::Nothing(format!("no task has the ARN {id}"))),
        None => {
            let cluster = cluster.map(|cluster| format!(" in the cluster {cluster}")).unwrap_or_default();
            let hint = if source.scans() { "" } else { "; --scan also finds rows outside the index" };
            Err(Failure::Nothing(format!("no task{cluster} has the id {id}, or one that contains it{hint}")))
        }
    }
}

type Found = Option<Result<Stored<Task>, ModelError>>;

/// Reads the task by its ARN if that is known, or else searches for it.
async fn read(tables: &Tables, source: &mut Source<'_>, id: &str, cluster: Option<&str>) -> Result<Found, Failure> {
    if id.starts_with("arn:") {
        return Ok(tables.get(Resource::Task, id).await?);
    }
    if let Some(arn) = cluster.filter(|cluster| cluster.starts_with("arn:") && is_id(id))
        && let Some(arn) = possible_task_arns(arn, id).first()
        && let Some(row) = tables.get(Resource::Task, arn).await?
    {
        return Ok(Some(row));
    }
    let found = source.find(id, cluster).await?;
    match &found[..] {
        [] => Ok(None),
        [arn] => Ok(tables.get(Resource::Task, arn).await?),
        several => {
            let mut list = several.iter().take(LISTED).cloned().collect::<Vec<_>>().join("\n  ");
            if several.len() > LISTED {
                list = format!("{list}\n  … and {} more", several.len() - LISTED);
            }
            Err(Failure::Usage(format!(
                "{} tasks have an id like {id}: give more of it, or the ARN\n  {list}",
                several.len()
            )))
        }
    }
}

/// The container that the diagnosis is about, or else the only one that is not a sidecar.
pub(crate) fn main_container(task: &Task) -> Option<&Container> {
    let name = Diagnosis::new(task).and_then(|diagnosis| diagnosis.container);
    let named = |container: &&Container| name.is_some() && container.name == name;
    let mut applications = task.containers.iter().filter(|container| !container.is_sidecar());
    let only = applications.next().filter(|_| applications.next().is_none());
    task.containers.iter().find(named).or(only)
}
