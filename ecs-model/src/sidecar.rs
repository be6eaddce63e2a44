//! Containers beside the application, known by their names.

use crate::Container;

/// What AWS adds to a task, by the beginning of its container's name, and who adds it.
const INJECTED: [(&str, &str); 2] =
    [("aws-guardduty-agent", "Amazon GuardDuty"), ("ecs-service-connect", "Amazon ECS Service Connect")];

/// Words in the names of containers that help the application: proxies, agents for metrics and traces, log routers.
const HELPERS: [&str; 17] = [
    "adot",
    "aws-otel",
    "cloudwatch-agent",
    "datadog",
    "dd-agent",
    "envoy",
    "filebeat",
    "firelens",
    "fluent-bit",
    "fluentbit",
    "fluentd",
    "log-router",
    "logrouter",
    "newrelic",
    "otel",
    "x-ray",
    "xray",
];

impl Container {
    /// Who added it to the task, if that was AWS and not the task definition.
    #[must_use]
    pub fn injected_by(&self) -> Option<&'static str> {
        let name = self.name.as_deref()?;
        let begins = |with: &str| name.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
        INJECTED.iter().find(|(start, _)| begins(start)).map(|(_, by)| *by)
    }

    /// Whether it is injected, or helps the application.
    #[must_use]
    pub fn is_sidecar(&self) -> bool {
        let name = self.name.as_deref().unwrap_or_default().to_ascii_lowercase().replace(['_', '.'], "-");
        let is_word = |rest: &str| !rest.starts_with(char::is_alphanumeric);
        let is_helper = |text: &str| HELPERS.iter().any(|helper| text.strip_prefix(helper).is_some_and(is_word));
        let mut starts = name.char_indices().filter(|(at, _)| !name[..*at].ends_with(char::is_alphanumeric));
        self.injected_by().is_some() || starts.any(|(at, _)| is_helper(&name[at..]))
    }
}
