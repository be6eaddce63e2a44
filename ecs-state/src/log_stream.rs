//! The log of a container in CloudWatch Logs.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_config::SdkConfig;
use ecs_model::arn::{last_part, region};
use ecs_model::{Container, Task};
use ecs_state_recorder::aws_json::Service;
use ecs_state_recorder::reconciler::ecs;
use serde::Deserialize;
use serde_json::json;

use crate::connection::client;
use crate::failure::Failure;
use crate::json::HIDDEN;

const CLOUDWATCH_LOGS: Service = Service {
    name: "logs",
    target: "Logs_20140328",
    endpoint_variable: "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
    attempt_timeout: Duration::from_secs(10),
    attempts: 4,
};
/// How many pages are read at most: a page can be empty although older ones are not.
const PAGES: usize = 100;

/// Options of log drivers, and of outputs of `FireLens`, that say where a log goes. Others can be secrets.
const PLACES: &str = "bucket delivery_stream fluentd-address gelf-address host log_group_name log_stream_name \
                      log_stream_prefix region splunk-url stream syslog-address";

pub(crate) struct LogStream {
    pub(crate) region: String,
    pub(crate) group: String,
    pub(crate) name: String,
}

#[derive(Deserialize)]
pub(crate) struct Event {
    /// In milliseconds since 1970.
    pub(crate) timestamp: i64,
    pub(crate) message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    events: Vec<Event>,
    next_backward_token: Option<String>,
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

impl LogStream {
    /// Asks ECS for the task definition, which says where the log of a container goes. [`Failure::Nothing`] says where
    /// else than to CloudWatch Logs.
    pub(crate) async fn find(aws: &SdkConfig, task: &Task, container: &Container) -> Result<Self, Failure> {
        let nothing = |text: String| Err(Failure::Nothing(text));
        let Some(definition) = &task.task_definition_arn else {
            return nothing("the row of the task has no task definition".to_owned());
        };
        let body = json!({"taskDefinition": definition}).to_string();
        let ecs = client(aws, &ecs::SERVICE, region(definition));
        let described: Described = ecs.call("DescribeTaskDefinition", body).await.map_err(|error| {
            if error.has_code("ClientException") {
                return Failure::Nothing(format!(
                    "ECS finds no task definition {}: it has been deleted, or is in another account (--task-profile)",
                    last_part(definition)
                ));
            }
            Failure::of_call(&error, "ecs:DescribeTaskDefinition", definition)
        })?;
        let mut definitions = described.task_definition.container_definitions.into_iter();
        let name = container.name.as_deref().unwrap_or_default();
        match definitions.find(|definition| definition.name.as_deref() == Some(name)).map(|it| it.log_configuration) {
            Some(Some(configuration)) => configuration.stream(task, container),
            Some(None) if task.container_instance_arn.is_none() => {
                nothing(format!("container {name:?} has no log configuration, so its log is not kept"))
            }
            Some(None) => nothing(format!("container {name:?} has no log configuration{}", on_host(task, container))),
            None => nothing(format!(
                "the task definition has no container {name:?}: {} added it to the task, with a log of its own",
                container.injected_by().unwrap_or("ECS")
            )),
        }
    }

    /// The last events, at most `count`, the oldest first.
    pub(crate) async fn last(&self, aws: &SdkConfig, count: u16) -> Result<Vec<Event>, Failure> {
        let Self { region, group, name } = self;
        let logs = client(aws, &CLOUDWATCH_LOGS, Some(region));
        let mut events: Vec<Event> = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES {
            let mut body = json!({"logGroupName": group, "logStreamName": name, "startFromHead": false});
            body["limit"] = (usize::from(count) - events.len()).into();
            body["nextToken"] = token.clone().into();
            let page: Page = logs.call("GetLogEvents", body.to_string()).await.map_err(|error| {
                if error.has_code("ResourceNotFoundException") {
                    return Failure::Nothing(format!(
                        "there is no log stream {name} in the log group {group} ({region}): the container has not \
                         started, or its log has been deleted"
                    ));
                }
                Failure::of_call(&error, "logs:GetLogEvents", &format!("the log group {group}"))
            })?;
            events.splice(0..0, page.events);
            // At the end of the stream, the token is the one that was sent.
            if events.len() >= count.into() || page.next_backward_token == token {
                break;
            }
            token = page.next_backward_token;
        }
        Ok(events)
    }
}

impl LogConfiguration {
    fn stream(self, task: &Task, container: &Container) -> Result<LogStream, Failure> {
        let name = container.name.as_deref().unwrap_or_default();
        let options = self.options.unwrap_or_default();
        let places: Vec<String> = options
            .iter()
            .filter(|(option, _)| PLACES.split(' ').any(|place| option.eq_ignore_ascii_case(place)))
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
                    return Ok(LogStream { region: region.to_owned(), group: group.clone(), name });
                }
                "logs to CloudWatch Logs, but its log configuration does not say where".to_owned()
            }
            "awsfirelens" => {
                let output = options.iter().find(|(name, _)| matches!(&*name.to_ascii_lowercase(), "name" | "@type"));
                let output = output.map(|(_, output)| format!(", to its output {output}{places}"));
                let output = output.unwrap_or_else(|| ", which routes the log by its own configuration".to_owned());
                format!("logs through FireLens{output}")
            }
            driver @ ("json-file" | "journald" | "local") => {
                format!("logs with the driver {driver}{}", on_host(task, container))
            }
            driver => format!("logs with the driver {driver}{places}"),
        };
        Err(Failure::Nothing(format!("container {name:?} {sentence}")))
    }
}

/// How to read a log that stays on the container instance.
fn on_host(task: &Task, container: &Container) -> String {
    let instance = task.container_instance_arn.as_deref().map_or("", last_part);
    let id = container.runtime_id.as_deref().unwrap_or("with the container's id");
    format!(": on its container instance {instance}, `docker logs {id}` shows it")
}
