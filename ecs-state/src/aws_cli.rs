//! Ready commands of the AWS CLI.

use std::borrow::Cow;

use ecs_model::Task;
use ecs_model::arn::region;

/// A command of the AWS CLI, for a POSIX shell.
pub(crate) fn command(words: &[&str], region: &str, profile: Option<&str>) -> String {
    let connection = ["--region", region].into_iter().chain(profile.into_iter().flat_map(|name| ["--profile", name]));
    let add = |command: String, word| format!("{command} {}", quoted(word));
    words.iter().copied().chain(connection).fold("aws".to_owned(), add)
}

/// The command that opens a shell in a container of a task, if ECS Exec is enabled.
pub(crate) fn shell(task: &Task, container: Option<&str>, profile: Option<&str>) -> Option<String> {
    if task.enable_execute_command != Some(true) || task.is_stopped() || task.is_stopping() {
        return None;
    }
    let mut words = vec!["ecs", "execute-command", "--cluster", task.cluster_name()?, "--task", task.id()];
    words.extend(container.iter().flat_map(|name| ["--container", name]));
    words.extend(["--interactive", "--command", "/bin/sh"]);
    Some(command(&words, region(&task.task_arn)?, profile))
}

/// A word as a shell reads it back. Names from ECS may contain anything.
pub(crate) fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=@%+,".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}
