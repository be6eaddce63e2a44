//! The facts that a summary is made of.

use crate::{Container, HealthStatus, StopCode, Task};

/// What is known about a stop.
pub(super) struct Facts<'t> {
    pub(super) task: &'t Task,
    pub(super) container: Option<&'t Container>,
    /// The text that the rule matched.
    pub(super) text: Option<&'t str>,
}

impl Facts<'_> {
    /// Replaces each `{fact}` of a rule's summary.
    pub(super) fn render(&self, summary: &str) -> String {
        let mut parts = summary.split(['{', '}']);
        let mut text = parts.next().unwrap_or_default().to_owned();
        while let (Some(fact), Some(rest)) = (parts.next(), parts.next()) {
            text += &self.fact(fact);
            text += rest;
        }
        text
    }

    fn fact(&self, name: &str) -> String {
        match name {
            "container" => self::name(self.container),
            "image" => self.image(),
            "memory" => self.memory(),
            "exit_code" => self.exit_code().map(|code| code.to_string()).unwrap_or_default(),
            "signal" => self.signal().to_owned(),
            "command" => if self.exit_code() == Some(126) { "not executable" } else { "missing" }.to_owned(),
            "resource" => self.resource().to_owned(),
            "service" => self.task.service_name().map_or("the service".to_owned(), |name| format!("service {name:?}")),
            "instance" => self.instance(),
            "reason" => self.reason(),
            "unexpectedly" => self.unexpectedly().to_owned(),
            "nothing_known" => self.nothing_known(),
            _ => String::new(),
        }
    }

    fn image(&self) -> String {
        match self.container.and_then(|container| container.image.as_deref()) {
            Some(image) => format!("image {image:?}"),
            None => format!("the image of {}", self::name(self.container)),
        }
    }

    /// The container's limit; without one, it shares the task's.
    fn memory(&self) -> String {
        let mib = |memory: Option<&str>| memory?.parse::<u64>().ok().filter(|mib| *mib > 0);
        if let Some(mib) = mib(self.container.and_then(|container| container.memory.as_deref())) {
            format!("its {mib} MiB of memory")
        } else if let Some(mib) = mib(self.task.memory.as_deref()) {
            format!("the task's {mib} MiB of memory")
        } else {
            "its memory".to_owned()
        }
    }

    fn exit_code(&self) -> Option<i64> {
        self.container?.exit_code
    }

    /// A shell's exit code for a signal is 128 more than the signal.
    fn signal(&self) -> &'static str {
        match self.exit_code() {
            Some(132) => "an illegal instruction",
            Some(134) => "an abort",
            Some(136) => "an arithmetic error",
            _ => "a segmentation fault",
        }
    }

    fn resource(&self) -> &'static str {
        match self.text {
            Some(text) if text.to_lowercase().contains("ephemeralstorage") => "ephemeral storage",
            _ => "network interface",
        }
    }

    fn instance(&self) -> String {
        let id = self.text.and_then(|text| {
            text.split(|character: char| !character.is_ascii_alphanumeric() && character != '-')
                .find(|word| word.starts_with("i-") && word.len() > 2)
        });
        id.map_or("instance".to_owned(), |id| format!("instance {id}"))
    }

    /// What the caller of `StopTask` said.
    fn reason(&self) -> String {
        super::said(self.task.stopped_reason.as_deref()).map_or(String::new(), |reason| format!(": {reason:?}"))
    }

    fn unexpectedly(&self) -> &'static str {
        if self.task.service_name().is_some() { ", although a service's task should keep running" } else { "" }
    }

    fn nothing_known(&self) -> String {
        let task = self.task;
        let reason = task.containers.iter().find_map(|container| super::said(container.reason.as_deref()));
        let said = reason
            .or_else(|| super::said(task.stopped_reason.as_deref()))
            .or_else(|| task.stop_code.as_ref().map(StopCode::as_str));
        match said {
            Some(said) => format!("ECS says {said:?}, which is not a reason that is known here"),
            None => "ECS gave no reason".to_owned(),
        }
    }
}

/// A container by its name. Quoted, so that control characters in it are escaped.
pub(super) fn name(container: Option<&Container>) -> String {
    match container.and_then(|container| container.name.as_deref()) {
        Some(name) => format!("container {name:?}"),
        None => "a container".to_owned(),
    }
}

/// The container that a text about the whole task is about: the one whose image it mentions, or which is unhealthy, or
/// the only one.
pub(super) fn meant<'t>(task: &'t Task, text: Option<&str>) -> Option<&'t Container> {
    let mentioned = |container: &&Container| {
        let image = container.image.as_deref().filter(|image| !image.is_empty());
        matches!((text, image), (Some(text), Some(image)) if text.contains(image))
    };
    let unhealthy = |container: &&Container| container.health_status == Some(HealthStatus::Unhealthy);
    let containers = &task.containers;
    containers.iter().find(mentioned).or_else(|| containers.iter().find(unhealthy)).or(match &**containers {
        [only] => Some(only),
        _ => None,
    })
}
