//! Where a container's log goes, by its task definition.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use ecs_model::arn::{last_part, region};
use ecs_model::{Container, Task};
use ecs_state_recorder::aws_json::CallError;
use ecs_state_recorder::reconciler::ecs;
use serde::Deserialize;
use serde_json::json;

use crate::connection::client;
use crate::failure::Failure;
use crate::json::HIDDEN;

/// Where a container's log goes.
pub(crate) enum LogDestination {
    /// A log stream in CloudWatch Logs.
    Stream(LogStream),
    /// Anywhere else: a sentence that says where.
    Elsewhere(String),
}

/// A log stream in CloudWatch Logs.
pub(crate) struct LogStream {
    pub(crate) region: String,
    pub(crate) group: String,
    pub(crate) name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    task_definition: TaskDefinition,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TaskDefinition {
    container_definitions: Vec<ContainerDefinition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerDefinition {
    name: Option<String>,
    log_configuration: Option<LogConfiguration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogConfiguration {
    log_driver: String,
    /// `null` without options.
    options: Option<BTreeMap<String, String>>,
}

/// Options of log drivers, and of outputs of `FireLens`, that say where a log goes. Others can be secrets.
const PLACES: [&str; 12] = [
    "bucket",
    "delivery_stream",
    "fluentd-address",
    "gelf-address",
    "host",
    "log_group_name",
    "log_stream_name",
    "log_stream_prefix",
    "region",
    "splunk-url",
    "stream",
    "syslog-address",
];

impl LogDestination {
    /// Asks ECS for the task definition.
    pub(crate) async fn find(aws: &SdkConfig, task: &Task, container: &Container) -> Result<Self, Failure> {
        let Some(definition) = &task.task_definition_arn else {
            return Ok(Self::Elsewhere("the row of the task has no task definition".to_owned()));
        };
        let ecs = client(aws, &ecs::SERVICE, region(definition));
        let body = json!({"taskDefinition": definition}).to_string();
        let described: Described = match ecs.call("DescribeTaskDefinition", body).await {
            Err(error) if error.has_code("ClientException") => {
                let name = last_part(definition);
                return Ok(Self::Elsewhere(format!(
                    "ECS finds no task definition {name}: it has been deleted, or is in another account (--task-profile)"
                )));
            }
            described => described.map_err(|error: CallError| {
                Failure::of_call(&error, "ECS", &ecs::SERVICE, "ecs:DescribeTaskDefinition", definition)
            })?,
        };
        let mut definitions = described.task_definition.container_definitions.into_iter();
        let name = container.name.as_deref().unwrap_or_default();
        Ok(match definitions.find(|definition| definition.name.as_deref() == Some(name)) {
            Some(ContainerDefinition { log_configuration: Some(configuration), .. }) => {
                configuration.destination(task, container)
            }
            Some(_) if task.container_instance_arn.is_none() => {
                Self::Elsewhere(format!("container {name:?} has no log configuration, so its log is not kept"))
            }
            Some(_) => {
                Self::Elsewhere(format!("container {name:?} has no log configuration{}", on_host(task, container)))
            }
            None => Self::Elsewhere(format!(
                "the task definition has no container {name:?}: {} added it to the task, with a log of its own",
                container.injected_by().unwrap_or("ECS")
            )),
        })
    }
}

impl LogConfiguration {
    fn destination(self, task: &Task, container: &Container) -> LogDestination {
        let name = container.name.as_deref().unwrap_or_default();
        let options = self.options.unwrap_or_default();
        // FireLens accepts the names of options in any case.
        let places: Vec<String> = options
            .iter()
            .filter(|(option, _)| PLACES.contains(&option.to_ascii_lowercase().as_str()))
            // A URL may have a password or a key in it.
            .map(|(option, value)| format!("{option} {}", if value.contains(['@', '?']) { HIDDEN } else { value }))
            .collect();
        let places = if places.is_empty() { String::new() } else { format!(" ({})", places.join(", ")) };
        let sentence = match self.log_driver.as_str() {
            "awslogs" => {
                let get = |option: &str| options.get(option).filter(|value| !value.is_empty());
                // Without a prefix, Docker's id of the container is the name.
                let stream = match get("awslogs-stream-prefix") {
                    Some(prefix) => Some(format!("{prefix}/{name}/{}", task.id())),
                    None => container.runtime_id.clone(),
                };
                let region = get("awslogs-region").map(String::as_str).or(region(&task.task_arn));
                if let (Some(group), Some(name), Some(region)) = (get("awslogs-group"), stream, region) {
                    let (region, group) = (region.to_owned(), group.clone());
                    return LogDestination::Stream(LogStream { region, group, name });
                }
                "logs to CloudWatch Logs, but its log configuration does not say where".to_owned()
            }
            "awsfirelens" => {
                let output =
                    options.iter().find(|(option, _)| matches!(&*option.to_ascii_lowercase(), "name" | "@type"));
                let output = output.map_or_else(
                    || ", which routes the log by its own configuration".to_owned(),
                    |(_, output)| format!(", to its output {output}{places}"),
                );
                format!("logs through FireLens{output}")
            }
            driver @ ("json-file" | "journald" | "local") => {
                format!("logs with the driver {driver}{}", on_host(task, container))
            }
            driver => format!("logs with the driver {driver}{places}"),
        };
        LogDestination::Elsewhere(format!("container {name:?} {sentence}"))
    }
}

/// How to read a log that stays on the container instance.
fn on_host(task: &Task, container: &Container) -> String {
    let instance = task.container_instance_arn.as_deref().map_or("", last_part);
    let id = container.runtime_id.as_deref().unwrap_or("with the container's id");
    format!(": on its container instance {instance}, `docker logs {id}` shows it")
}
