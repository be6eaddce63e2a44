//! Published and composed stops, one per line of `stops.jsonl`, each with its expected diagnosis.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use ecs_model::diagnosis::{Cause, Code, Diagnosis};
use ecs_model::{Task, from_json};
use serde::Deserialize;
use serde_json::{Value, json};

/// A line. Texts are as published in `source`; `note` says which parts of the task are not.
#[derive(Deserialize)]
struct Stop {
    id: String,
    /// The task without its ARN.
    task: Value,
    code: String,
    cause: Option<String>,
    actor: String,
    /// Not checked if there is none.
    container: Option<String>,
    /// What the summary contains.
    #[serde(default)]
    says: Vec<String>,
    /// The whole sentence, at least once for each kind.
    summary: Option<String>,
    advice: Option<String>,
}

impl Stop {
    fn diagnose(&self) -> Diagnosis {
        let mut task = self.task.clone();
        task["taskArn"] = json!("arn:aws:ecs:eu-west-1:123456789012:task/demo/5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6");
        let task: Task = from_json(&task).unwrap_or_else(|error| panic!("{}: {error}", self.id));
        Diagnosis::new(&task).unwrap_or_else(|| panic!("{}: no diagnosis", self.id))
    }

    fn misses(&self) -> Vec<String> {
        let found = self.diagnose();
        let cause = found.cause.map(|cause| cause.to_string());
        let compare = |field: &str, expected: String, found: String| {
            (expected != found).then(|| format!("{}: {field}: expected {expected}, found {found}", self.id))
        };
        let mut misses = vec![
            compare("code", self.code.clone(), found.code.to_string()),
            compare("cause", format!("{:?}", self.cause), format!("{cause:?}")),
            compare("actor", self.actor.clone(), found.actor.to_string()),
        ];
        let found_texts = [found.container.unwrap_or_default(), found.summary.clone(), found.advice];
        let expected_texts = [&self.container, &self.summary, &self.advice];
        for ((field, expected), found) in ["container", "summary", "advice"].iter().zip(expected_texts).zip(found_texts)
        {
            misses.push(expected.as_ref().and_then(|expected| compare(field, expected.clone(), found)));
        }
        for says in &self.says {
            let is_said = found.summary.to_lowercase().contains(&says.to_lowercase());
            misses.push(
                (!is_said).then(|| format!("{}: summary: expected {says:?}, found {:?}", self.id, found.summary)),
            );
        }
        misses.into_iter().flatten().collect()
    }
}

fn stops() -> Vec<Stop> {
    include_str!("stops.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn every_stop_has_its_code_cause_actor_container_and_facts() {
    let misses: Vec<String> = stops().iter().flat_map(Stop::misses).collect();
    assert!(misses.is_empty(), "{} misses:\n{}", misses.len(), misses.join("\n"));
}

#[test]
fn there_is_a_stop_for_every_code_and_every_cause() {
    let stops = stops();
    let missing = |names: Vec<String>, is_in: fn(&Stop) -> Option<&String>| -> Vec<String> {
        names.into_iter().filter(|name| !stops.iter().any(|stop| is_in(stop) == Some(name))).collect()
    };
    assert_eq!(missing(Code::all().map(|code| code.to_string()).collect(), |stop| Some(&stop.code)), [""; 0]);
    assert_eq!(missing(Cause::all().map(|cause| cause.to_string()).collect(), |stop| stop.cause.as_ref()), [""; 0]);
}
