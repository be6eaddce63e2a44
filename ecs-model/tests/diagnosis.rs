//! The diagnosis: gates, texts, containers, and properties of any task.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::fmt::Debug;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use ecs_model::diagnosis::{Actor, Cause, Code, Diagnosis, Kind, Stop, UnknownName, is_crash_loop};
use ecs_model::{Container, Task, from_json, tasks_from_json};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;
use serde::Deserialize;
use serde_json::{Value, json};

use Code::*;

/// How a container ended: its name, exit code and reason. `""` stands for none.
type Ended<'a> = (&'a str, Option<i64>, &'a str);

const EXITED: &str = "Essential container in task exited";
const OOM: &str = "OutOfMemoryError: Container killed due to memory usage";
const DENIED: &str = "CannotPullContainerError: 403 Forbidden";
const SCALING: &str = "Scaling activity initiated by (deployment ecs-svc/4093171225387263520)";

/// The task of a stop: its `stopCode`, `stoppedReason` and containers.
fn task(stop_code: &str, reason: &str, containers: &[Ended]) -> Value {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let containers: Vec<Value> = containers
        .iter()
        .map(|(name, exit_code, reason)| json!({"name": name, "exitCode": exit_code, "reason": some(reason)}))
        .collect();
    json!({
        "taskArn": "arn:aws:ecs:eu-west-1:123456789012:task/demo/5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6",
        "lastStatus": "STOPPED",
        "stopCode": some(stop_code),
        "stoppedReason": some(reason),
        "containers": containers,
    })
}

/// The task of a stop after it started.
fn started(stop_code: &str, reason: &str, containers: &[Ended]) -> Value {
    let mut task = task(stop_code, reason, containers);
    task["startedAt"] = json!("2026-01-01T00:00:00Z");
    task
}

fn diagnose(task: &Value) -> Diagnosis {
    let task: Task = from_json(task).unwrap_or_else(|error| panic!("{error}"));
    Diagnosis::new(&task).expect("a stopped task")
}

fn code(task: &Value) -> Code {
    diagnose(task).code
}

/// The code, and the container that it is about.
fn verdict_on(task: &Value) -> (Code, String) {
    let diagnosis = diagnose(task);
    (diagnosis.code, diagnosis.container.unwrap_or_default())
}

fn about(code: Code, container: &str) -> (Code, String) {
    (code, container.to_owned())
}

// The answer.

#[test]
fn a_diagnosis_is_serialized_with_these_eight_keys() {
    let mut stopped =
        task("TaskFailedToStart", "Task failed to start", &[("web", None, "CannotPullContainerError: EOF")]);
    stopped["containers"][0]["image"] = json!("shop/web:2");
    assert_eq!(
        serde_json::to_value(diagnose(&stopped)).unwrap(),
        json!({
            "code": "ImagePullFailed",
            "cause": "Unreachable",
            "summary": "image \"shop/web:2\" of container \"web\" could not be pulled: its registry could not be reached",
            "actor": "network",
            "advice": "Check the route, NAT gateway or VPC endpoint, security groups and DNS between the task's subnet and \
                its registry (for image \"shop/web:2\").",
            "transient": null,
            "container": "web",
            "evidence": "CannotPullContainerError: EOF",
        })
    );
    let nothing = diagnose(&task("", "", &[]));
    assert_eq!(
        serde_json::to_value(nothing).unwrap(),
        json!({
            "code": "Unknown",
            "cause": null,
            "summary": "ECS gave no reason",
            "actor": "unknown",
            "advice": "Check the containers' logs and the service's events around that time.",
            "transient": null,
            "container": null,
            "evidence": null,
        })
    );
}

#[test]
fn names_are_parsed_in_any_letter_case_and_an_error_lists_the_valid_ones() {
    fn check<T: Copy + Debug + PartialEq + ToString + FromStr<Err = UnknownName>>(all: impl Iterator<Item = T>) {
        for name in all {
            assert_eq!(name.to_string().to_uppercase().parse(), Ok(name));
            assert_eq!(name.to_string().to_lowercase().parse(), Ok(name));
        }
    }
    check(Code::all());
    check(Cause::all());
    check(Actor::all());
    check(Kind::all());
    let message = |error: UnknownName| error.to_string();
    assert_eq!(
        "nowhere".parse::<Actor>().map_err(message),
        Err(
            "there is no actor \"nowhere\"; the actors are application, release, iam, network, platform, caller, aws, \
             nobody, unknown"
                .to_owned()
        )
    );
    assert!(
        message("oom".parse::<Code>().unwrap_err())
            .starts_with("there is no code \"oom\"; the codes are OutOfMemory, ")
    );
}

#[test]
fn a_task_that_is_being_stopped_has_a_diagnosis_that_says_so() {
    let mut stopping = started("SpotInterruption", "Your Spot Task was interrupted.", &[("web", None, "")]);
    stopping["desiredStatus"] = json!("STOPPED");
    for status in ["PROVISIONING", "RUNNING", "DEACTIVATING", "STOPPING", "NEW"] {
        stopping["lastStatus"] = json!(status);
        assert!(from_json::<Task>(&stopping).unwrap().is_stopping(), "{status}");
        let diagnosis = diagnose(&stopping);
        assert_eq!(diagnosis.code, SpotInterruption);
        assert_eq!(
            diagnosis.summary,
            "the task is being stopped: AWS reclaimed the Spot capacity that the task ran on"
        );
    }
    stopping["lastStatus"] = json!("STOPPED");
    assert!(!from_json::<Task>(&stopping).unwrap().is_stopping());
    assert_eq!(diagnose(&stopping).summary, "AWS reclaimed the Spot capacity that the task ran on");
}

#[test]
fn a_task_that_is_neither_stopped_nor_being_stopped_has_no_diagnosis() {
    let mut running = task("UserInitiated", "x", &[("web", Some(0), "")]);
    running["lastStatus"] = json!("RUNNING");
    for desired in [json!(null), json!("RUNNING")] {
        running["desiredStatus"] = desired;
        assert_eq!(Diagnosis::new(&from_json(&running).unwrap()), None);
    }
    running["lastStatus"] = json!("DELETED");
    assert_eq!(code(&running), StoppedByUser);
}

#[test]
fn stops_are_expected_interruptions_or_failures() {
    let of = |kind: Kind, tasks: &[Value]| {
        for task in tasks {
            assert_eq!(diagnose(task).kind(), kind, "{task}");
        }
    };
    let mut of_service = started("EssentialContainerExited", EXITED, &[("web", Some(0), "")]);
    of_service["group"] = json!("service:shop");
    of(
        Kind::Expected,
        &[
            started("ServiceSchedulerInitiated", SCALING, &[("web", Some(137), "")]),
            started("EssentialContainerExited", EXITED, &[("web", Some(143), "")]),
            started("EssentialContainerExited", EXITED, &[("web", Some(0), "")]),
            started("UserInitiated", "bye", &[("web", Some(1), "")]),
            started("", "Container instance deregistration forced by user", &[("web", None, "")]),
        ],
    );
    of(
        Kind::Interrupted,
        &[
            task("SpotInterruption", "", &[]),
            task("TerminationNotice", "", &[]),
            task("TaskFailedToStart", "Timeout waiting for network interface provisioning to complete.", &[]),
            started("", "Host EC2 (instance i-0f3a2b1c) terminated.", &[("web", None, "")]),
            started("", "ECS is performing maintenance on the underlying infrastructure hosting the task", &[]),
        ],
    );
    of(
        Kind::Failed,
        &[
            of_service,
            started("EssentialContainerExited", EXITED, &[("web", Some(1), "")]),
            task("TaskFailedToStart", DENIED, &[("web", None, "")]),
            task("TaskFailedToStart", "RESOURCE:GPU", &[]),
            task("", "", &[]),
        ],
    );
}

/// One task for each cause: who acts, and whether a retry helps.
#[test]
fn the_cause_decides_who_acts_and_whether_a_retry_helps_with_these_exceptions() {
    let secret = "ResourceInitializationError: unable to pull secrets or registry auth";
    for (reason, cause, actor, transient) in [
        ("CannotPullContainerError: no basic auth credentials", Cause::AccessDenied, Actor::Iam, Some(false)),
        ("CannotPullContainerError: manifest unknown", Cause::NotFound, Actor::Release, Some(false)),
        (
            "CannotPullContainerError: no matching manifest for linux/arm64",
            Cause::WrongPlatform,
            Actor::Release,
            Some(false),
        ),
        ("CannotPullContainerError: invalid reference format", Cause::Invalid, Actor::Release, Some(false)),
        ("CannotPullContainerError: i/o timeout", Cause::Unreachable, Actor::Network, None),
        ("CannotPullContainerError: toomanyrequests", Cause::RateLimited, Actor::Platform, Some(true)),
        ("CannotPullContainerError: no space left on device", Cause::Exhausted, Actor::Platform, Some(false)),
        ("CannotPullContainerError: it timed out", Cause::Timeout, Actor::Aws, Some(true)),
        // On the host itself.
        (
            &format!("{secret}: dial tcp 127.0.0.1:51679: connect: connection refused"),
            Cause::Unreachable,
            Actor::Platform,
            None,
        ),
        (&format!("{secret}: Get http://169.254.170.2/v2: EOF"), Cause::Unreachable, Actor::Platform, None),
        (&format!("{secret}: dial unix /run/x.sock: connection refused"), Cause::Unreachable, Actor::Platform, None),
        (&format!("{secret}: lookup a on 127.0.0.11:53: no such host"), Cause::Unreachable, Actor::Network, None),
        // Of instances, of an account, of EBS, of EC2, of a command.
        ("TaskFailedToStart: RESOURCE:CPU", Cause::Exhausted, Actor::Platform, Some(true)),
        ("You've reached the limit on the number of tasks you can run", Cause::Exhausted, Actor::Platform, Some(false)),
        ("You've reached the limit on the number of vCPUs you can run", Cause::Exhausted, Actor::Platform, Some(false)),
        ("ECS timed out while configuring the EBS volume attachment", Cause::Timeout, Actor::Release, Some(false)),
        ("failed to chown /data: operation not permitted", Cause::AccessDenied, Actor::Release, Some(false)),
        (
            "Unexpected EC2 error while attempting to Create Network Interface: AuthFailure",
            Cause::AccessDenied,
            Actor::Iam,
            None,
        ),
        ("DockerTimeoutError: Could not transition to created; timed out", Cause::Timeout, Actor::Platform, Some(true)),
    ] {
        let found = diagnose(&task("TaskFailedToStart", reason, &[("web", None, "")]));
        assert_eq!((found.cause, found.actor, found.transient), (Some(cause), actor, transient), "{reason}");
    }
    let mut on_fargate = task("TaskFailedToStart", "ContainerRuntimeTimeoutError: x", &[("web", None, "")]);
    on_fargate["launchType"] = json!("FARGATE");
    assert_eq!(diagnose(&on_fargate).actor, Actor::Aws);
}

// The gates.

#[test]
fn a_container_that_could_not_be_pulled_explains_only_a_task_that_never_started() {
    let sidecar = ("aws-guardduty-agent-x", None, DENIED);
    for (task, expected) in [
        (started("EssentialContainerExited", EXITED, &[sidecar, ("web", Some(1), "")]), about(ApplicationError, "web")),
        (started("EssentialContainerExited", EXITED, &[sidecar, ("web", Some(0), "")]), about(Finished, "web")),
        (started("ServiceSchedulerInitiated", SCALING, &[sidecar, ("web", Some(143), "")]), about(ScaledIn, "")),
        (started("UserInitiated", "bye", &[sidecar, ("web", Some(143), "")]), about(StoppedByUser, "")),
        (started("SpotInterruption", "", &[sidecar, ("web", Some(143), "")]), about(SpotInterruption, "")),
        (task("TaskFailedToStart", "", &[sidecar, ("web", None, "")]), about(ImagePullFailed, "aws-guardduty-agent-x")),
    ] {
        assert_eq!(verdict_on(&task), expected, "{task}");
        let summary = diagnose(&task).summary;
        let is_said = "the image of container \"aws-guardduty-agent-x\" could not be pulled: access denied";
        assert!(summary.contains(is_said), "{summary}");
    }
}

#[test]
fn a_pull_error_of_a_container_that_ran_is_old_and_follows_the_sentence() {
    let cached = started("EssentialContainerExited", EXITED, &[("web", Some(1), DENIED)]);
    assert_eq!(
        diagnose(&cached).summary,
        "container \"web\" ended with exit code 1; earlier, the image of container \"web\" could not be pulled: access denied"
    );
}

#[test]
fn what_stops_a_task_from_outside_is_the_diagnosis_whatever_its_containers_say() {
    for containers in [
        [("web", Some(137), OOM)],
        [("web", Some(1), "")],
        [("web", Some(139), "DockerTimeoutError: x")],
        [("web", None, DENIED)],
    ] {
        assert_eq!(code(&started("ServiceSchedulerInitiated", SCALING, &containers)), ScaledIn);
        assert_eq!(code(&started("UserInitiated", "bye", &containers)), StoppedByUser);
        assert_eq!(code(&started("TerminationNotice", "", &containers)), HostLeaving);
    }
    // A Spot interruption is one whatever the text.
    assert_eq!(code(&started("SpotInterruption", SCALING, &[])), SpotInterruption);
    // A text goes before other stop codes.
    assert_eq!(code(&started("TerminationNotice", "Your Spot Task was interrupted.", &[])), SpotInterruption);
    // A host that vanishes leaves no stop code and no exit codes.
    assert_eq!(code(&started("", "", &[("web", None, OOM)])), Unknown);
}

#[test]
fn the_exit_codes_of_a_schedulers_stop_count_only_without_a_known_text() {
    let stop = |containers: &[Ended]| verdict_on(&started("ServiceSchedulerInitiated", "A new sentence.", containers));
    assert_eq!(stop(&[("web", Some(143), ""), ("db", Some(137), "")]), about(KilledWhileStopping, "db"));
    assert_eq!(stop(&[("web", Some(143), "")]), about(Terminated, "web"));
    // It handles SIGTERM, or has the stop signal SIGINT.
    assert_eq!(stop(&[("web", Some(0), "")]), about(Terminated, "web"));
    assert_eq!(stop(&[("web", Some(130), "")]), about(Terminated, "web"));
    assert_eq!(stop(&[("web", Some(1), ""), ("db", Some(143), "")]), about(ApplicationError, "web"));
}

#[test]
fn an_unknown_stop_code_is_unknown_unless_a_text_or_an_exit_code_says_more() {
    for exit_code in [0, 137, 143] {
        assert_eq!(code(&started("SomethingNew", "Something new.", &[("web", Some(exit_code), "")])), Unknown);
    }
    assert_eq!(code(&started("SomethingNew", SCALING, &[("web", Some(143), "")])), ScaledIn);
    assert_eq!(code(&started("SomethingNew", "", &[("web", Some(1), "")])), ApplicationError);
}

#[test]
fn a_sentence_of_ecs_is_asked_first_where_there_is_no_stop_code() {
    assert_eq!(code(&started("", SCALING, &[("web", Some(1), "")])), ScaledIn);
    assert_eq!(code(&started("", "We saw no scaling activity", &[("web", Some(1), "")])), ApplicationError);
    assert_eq!(code(&started(" ", SCALING, &[("web", Some(1), "")])), ScaledIn);
}

#[test]
fn what_kept_a_task_from_starting_is_asked_of_the_task_its_attachments_and_its_containers() {
    let mut stopped =
        task("TaskFailedToStart", "Task failed to start", &[("web", None, DENIED), ("init", Some(1), "")]);
    assert_eq!(code(&stopped), ImagePullFailed);
    stopped["attachments"] = json!([{"type": "AmazonElasticBlockStorage", "details": [
        {"name": "volumeName", "value": "pgdata"},
        {"name": "statusReason", "value": "ECS failed to set up the EBS volume: VolumeLimitExceeded"},
    ]}]);
    let found = diagnose(&stopped);
    assert_eq!((found.code, found.cause, found.container.as_deref()), (VolumeFailed, Some(Cause::Exhausted), None));
    assert_eq!(found.evidence.as_deref(), Some("ECS failed to set up the EBS volume: VolumeLimitExceeded"));
    assert_eq!(
        found.summary,
        "EBS volume \"pgdata\" could not be mounted: a quota of the account is reached; container \"init\" ended with exit \
         code 1; the image of container \"web\" could not be pulled: access denied"
    );
    stopped["stoppedReason"] = json!("Timeout waiting for network interface provisioning to complete.");
    assert_eq!(code(&stopped), SlowProvisioning);
    // Last, an init container.
    let init = task("TaskFailedToStart", "Task failed to start", &[("web", None, ""), ("init", Some(1), "")]);
    assert_eq!(verdict_on(&init), about(ApplicationError, "init"));
    // A task that was never placed has no containers.
    assert_eq!(code(&task("TaskFailedToStart", "Task failed to start", &[])), CapacityUnavailable);
    assert_eq!(code(&task("", "Task failed to start", &[])), Unknown);
}

#[test]
fn an_exit_code_of_the_runtime_does_not_mean_that_a_container_ran() {
    let exec = "CannotStartContainerError: exec: \"x\": executable file not found in $PATH";
    for stop_code in ["TaskFailedToStart", "EssentialContainerExited", ""] {
        let found = diagnose(&task(stop_code, "", &[("web", Some(127), exec)]));
        assert_eq!((found.code, found.cause), (CommandNotFound, Some(Cause::NotFound)), "{stop_code}");
        let start = task(stop_code, "", &[("web", Some(128), "CannotStartContainerError: hook #0")]);
        assert_eq!(code(&start), ContainerStartFailed, "{stop_code}");
    }
    // A container whose image could not be pulled again has run.
    let found = diagnose(&started("EssentialContainerExited", EXITED, &[("web", Some(127), DENIED)]));
    assert_eq!((found.code, found.cause), (CommandNotFound, None));
}

#[test]
fn a_container_whose_dependency_failed_is_not_the_cause() {
    let dependent = "CannotStartContainerError: dependency graph: failed to resolve container ordering dependency [db]";
    let stop = |containers: &[Ended]| verdict_on(&task("TaskFailedToStart", "Task failed to start", containers));
    assert_eq!(stop(&[("app", Some(143), dependent), ("db", Some(1), "")]), about(ApplicationError, "db"));
    assert_eq!(stop(&[("app", None, dependent), ("db", None, DENIED)]), about(ImagePullFailed, "db"));
    assert_eq!(stop(&[("app", None, dependent), ("db", None, "")]), about(ContainerStartFailed, "app"));
}

#[test]
fn how_a_stop_went_is_the_diagnosis_only_if_nothing_explains_it() {
    let slow = "DockerTimeoutError: Could not transition to stopped; timed out after waiting 2m0s";
    let stop = |containers: &[Ended]| verdict_on(&started("EssentialContainerExited", EXITED, containers));
    assert_eq!(stop(&[("web", Some(137), slow)]), about(RuntimeTimeout, "web"));
    assert_eq!(stop(&[("web", Some(137), "CannotStopContainerError: x")]), about(RuntimeTimeout, "web"));
    assert_eq!(stop(&[("web", Some(1), ""), ("db", Some(137), slow)]), about(ApplicationError, "web"));
    assert_eq!(stop(&[("web", Some(0), ""), ("db", Some(137), slow)]), about(Finished, "web"));
    let found = diagnose(&started("EssentialContainerExited", EXITED, &[("web", Some(137), slow)]));
    assert_eq!((found.cause, found.transient), (None, Some(true)));
}

// Several containers.

#[test]
fn the_container_that_ended_by_itself_is_the_diagnosis() {
    let stop = |containers: &[Ended]| verdict_on(&started("EssentialContainerExited", EXITED, containers));
    // A text before any exit code, then an error, an interrupt only if nothing else ended, then a success, and only
    // then what the agent stopped.
    assert_eq!(stop(&[("a", Some(1), ""), ("b", Some(137), OOM)]), about(OutOfMemory, "b"));
    assert_eq!(stop(&[("a", Some(143), ""), ("b", Some(0), ""), ("c", Some(1), "")]), about(ApplicationError, "c"));
    assert_eq!(stop(&[("a", Some(137), ""), ("b", Some(139), "")]), about(Crashed, "b"));
    assert_eq!(stop(&[("a", Some(130), ""), ("b", Some(0), "")]), about(Finished, "b"));
    assert_eq!(stop(&[("a", Some(130), ""), ("b", Some(143), "")]), about(ApplicationError, "a"));
    assert_eq!(stop(&[("a", Some(137), ""), ("b", Some(143), ""), ("c", Some(0), "")]), about(Finished, "c"));
    assert_eq!(stop(&[("a", Some(143), ""), ("b", Some(137), "")]), about(Killed, "b"));
    assert_eq!(stop(&[("a", Some(143), ""), ("b", Some(143), "")]), about(Terminated, "a"));
    // Windows' SIGTERM is an exit code of its own.
    assert_eq!(stop(&[("a", Some(3_221_225_786), ""), ("b", Some(7), "")]), about(ApplicationError, "b"));
    assert_eq!(stop(&[("a", Some(3_221_225_786), "")]), about(Terminated, "a"));
    // What was killed for its memory has run, though its exit code is not known.
    assert_eq!(stop(&[("a", None, OOM), ("b", Some(143), "")]), about(OutOfMemory, "a"));
    // One without an exit code has not succeeded.
    assert_eq!(stop(&[("a", None, ""), ("b", Some(2), "")]), about(ApplicationError, "b"));
}

#[test]
fn a_sidecars_text_decides_only_if_the_application_was_stopped() {
    let stop = |containers: &[Ended]| verdict_on(&started("EssentialContainerExited", EXITED, containers));
    let sidecar = ("xray-daemon", Some(137), OOM);
    assert_eq!(stop(&[("web", Some(143), ""), sidecar]), about(OutOfMemory, "xray-daemon"));
    assert_eq!(
        stop(&[("web", Some(143), ""), ("log_router", Some(0), ""), sidecar]),
        about(OutOfMemory, "xray-daemon")
    );
    assert_eq!(stop(&[("web", Some(1), ""), sidecar]), about(ApplicationError, "web"));
    assert_eq!(stop(&[("web", Some(0), ""), sidecar]), about(Finished, "web"));
    // Of what never ran, too, and with or without a start.
    let start = |containers: &[Ended]| verdict_on(&task("EssentialContainerExited", EXITED, containers));
    assert_eq!(start(&[("job", Some(0), ""), ("envoy", None, DENIED)]), about(Finished, "job"));
    assert_eq!(start(&[("init", Some(0), ""), ("web", None, DENIED)]), about(ImagePullFailed, "web"));
    assert_eq!(
        start(&[("web", None, "CannotStartContainerError: x"), ("envoy", None, DENIED)]),
        about(ContainerStartFailed, "web")
    );
}

#[test]
fn sidecars_are_known_by_their_names_and_what_aws_adds_by_whom() {
    let container = |name: &str| from_json::<Container>(&json!({"name": name})).unwrap();
    for (name, is_sidecar, injected_by) in [
        ("aws-guardduty-agent-mfjGLB", true, Some("Amazon GuardDuty")),
        ("ecs-service-connect-7Wq2b", true, Some("Amazon ECS Service Connect")),
        ("aws-otel-collector", true, None),
        ("xray-daemon", true, None),
        ("datadog_agent", true, None),
        ("Envoy", true, None),
        ("log_router", true, None),
        ("envoys-of-trade", false, None),
        ("catalog-router", false, None),
        ("web", false, None),
    ] {
        assert_eq!((container(name).is_sidecar(), container(name).injected_by()), (is_sidecar, injected_by), "{name}");
    }
}

#[test]
fn all_containers_that_failed_are_named() {
    let three = [("web", Some(1), ""), ("db", Some(137), OOM), ("cron", Some(137), ""), ("log", Some(143), "")];
    assert_eq!(
        diagnose(&started("EssentialContainerExited", EXITED, &three)).summary,
        "container \"db\" was killed for exceeding its memory; container \"cron\" did not end on SIGTERM and was killed \
         (exit code 137); container \"web\" ended with exit code 1"
    );
    assert_eq!(
        diagnose(&started("UserInitiated", "bye", &three)).summary,
        "StopTask was called: \"bye\"; container \"cron\" did not end on SIGTERM and was killed (exit code 137); container \
         \"db\" was killed for exceeding its memory; container \"web\" ended with exit code 1"
    );
}

#[test]
fn a_text_about_the_task_is_about_the_container_whose_image_it_names_or_the_only_application() {
    let pull = "CannotPullContainerError: failed to resolve ref docker.io/library/proxy:7: not found";
    let mut stopped = task("TaskFailedToStart", pull, &[("web", None, ""), ("proxy", None, ""), ("envoy", None, "")]);
    let image = |stopped: &mut Value, of: usize, image: &str| stopped["containers"][of]["image"] = json!(image);
    image(&mut stopped, 0, "web:2");
    image(&mut stopped, 1, "proxy:7");
    assert_eq!(verdict_on(&stopped), about(ImagePullFailed, "proxy"));
    // Without its tag, too, but not as a part of a name.
    image(&mut stopped, 1, "proxy@sha256:1");
    assert_eq!(verdict_on(&stopped), about(ImagePullFailed, "proxy"));
    image(&mut stopped, 1, "oxy:7");
    assert_eq!(verdict_on(&stopped), about(ImagePullFailed, ""));
    let web = task("TaskFailedToStart", pull, &[("web", None, ""), ("envoy", None, "")]);
    assert_eq!(verdict_on(&web), about(ImagePullFailed, "web"));
}

#[test]
fn a_failed_health_check_is_about_the_unhealthy_container() {
    let mut stopped = started(
        "ServiceSchedulerInitiated",
        "Task failed container health checks",
        &[("a", Some(143), ""), ("b", Some(143), "")],
    );
    assert_eq!(verdict_on(&stopped), about(HealthCheckFailed, ""));
    stopped["containers"][1]["healthStatus"] = json!("UNHEALTHY");
    assert_eq!(verdict_on(&stopped), about(HealthCheckFailed, "b"));
}

// Texts.

#[test]
fn what_the_caller_of_stop_task_writes_is_quoted_and_not_believed() {
    for reason in [
        "retire old worker",
        "performing maintenance",
        "AGENT",
        "OutOfMemoryError seen in the logs",
        "restart: CannotPullContainerError on the sidecar",
        "Task failed ELB health checks in (target-group x), so I restart it by hand",
        "Task failed ELB health checks in (target-group x) and (target-group y)",
        "no capacity: RESOURCE:MEMORY",
    ] {
        let found = diagnose(&started("UserInitiated", reason, &[("web", Some(143), "")]));
        assert_eq!((found.code, found.evidence.as_deref()), (StoppedByUser, Some(reason)));
        assert_eq!(found.summary, format!("StopTask was called: {reason:?}"));
        assert_eq!(found.redacted_summary(), "StopTask was called");
    }
}

#[test]
fn a_whole_sentence_of_ecs_counts_even_of_a_stop_by_a_user() {
    let group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/1";
    for (sentence, expected) in [
        (&*format!("Task failed ELB health checks in (target-group {group})"), LoadBalancerUnhealthy),
        ("Task failed ELB health checks.", LoadBalancerUnhealthy),
        ("Task failed container health checks", HealthCheckFailed),
        (SCALING, ScaledIn),
        ("Scaling activity initiated by deployment ecs-svc/1", ScaledIn),
        ("Host EC2 (instance i-0f3a2b1c) terminated.", InstanceTerminated),
        ("Host EC2 (instance i-0f3a2b1c) stopped.", InstanceTerminated),
        ("Container instance deregistration forced by user", InstanceDeregistered),
        ("Amazon ECS is performing maintenance on the underlying infrastructure hosting the task.", HostMaintenance),
        (
            "Service shop: ECS is performing maintenance on the underlying infrastructure hosting the task",
            HostMaintenance,
        ),
        ("Your Spot Task was interrupted.", SpotInterruption),
    ] {
        for stop_code in ["UserInitiated", "ServiceSchedulerInitiated", ""] {
            assert_eq!(
                code(&started(stop_code, sentence, &[("web", Some(143), "")])),
                expected,
                "{stop_code} {sentence}"
            );
        }
        let more = format!("{sentence} and so on");
        assert_eq!(code(&started("UserInitiated", &more, &[("web", Some(143), "")])), StoppedByUser, "{more}");
    }
}

/// The phrases of each row of the tables, by code or cause.
#[derive(Deserialize)]
struct Phrases {
    codes: HashMap<String, Vec<String>>,
    causes: HashMap<String, Vec<String>>,
}

#[test]
fn each_phrase_indicates_its_code_or_its_cause() {
    let Phrases { codes, causes } = serde_json::from_str(include_str!("phrases.json")).unwrap();
    for (code, text) in codes.iter().flat_map(|(code, texts)| texts.iter().map(move |text| (code, text))) {
        let of_task = diagnose(&task("TaskFailedToStart", text, &[("web", None, "")]));
        let of_container = diagnose(&task("TaskFailedToStart", "", &[("web", None, text)]));
        assert_eq!([of_task.code.as_str(), of_container.code.as_str()], [code; 2], "{text}");
    }
    for (cause, text) in causes.iter().flat_map(|(cause, texts)| texts.iter().map(move |text| (cause, text))) {
        let reason = format!("CannotPullContainerError: {text}");
        let found = diagnose(&task("TaskFailedToStart", &reason, &[("web", None, "")]));
        assert_eq!(found.cause.map(Cause::as_str), Some(cause.as_str()), "{text}");
    }
}

#[test]
fn what_stops_a_task_from_outside_stops_one_that_has_not_started_yet_too() {
    for stop_code in ["TaskFailedToStart", "ServiceSchedulerInitiated"] {
        assert_eq!(code(&task(stop_code, "Your Spot Task was interrupted.", &[("web", None, "")])), SpotInterruption);
        assert_eq!(code(&task(stop_code, "RESOURCE:MEMORY", &[])), CapacityUnavailable);
    }
}

#[test]
fn some_phrases_are_a_cause_in_one_code_only() {
    let cause = |reason: &str| diagnose(&task("TaskFailedToStart", reason, &[("web", None, "")])).cause;
    assert_eq!(cause("EFS utils: No such file or directory"), Some(Cause::NotFound));
    assert_eq!(cause("EFS utils: Failed to resolve x"), Some(Cause::Unreachable));
    assert_eq!(cause("CannotPullContainerError: failed to resolve ref x: No such file or directory"), None);
    assert_eq!(cause("DockerTimeoutError: not found"), None);
    assert_eq!(cause("OutOfMemoryError: not found"), None);
}

#[test]
fn a_text_that_is_truncated_within_a_pattern_is_recognized() {
    let start = "CannotPullContainerError: ";
    let cause = |length: usize, end: &str| {
        let reason = format!("{start}{} {end}", "x".repeat(length - start.len() - end.len() - 1));
        diagnose(&task("TaskFailedToStart", "Task failed to start", &[("web", None, &reason)])).cause
    };
    for length in [255, 1024] {
        assert_eq!(cause(length, "not fou"), Some(Cause::NotFound));
        assert_eq!(cause(length, "manifest unk"), Some(Cause::NotFound));
        assert_eq!(cause(length, "toomanyre"), Some(Cause::RateLimited));
        assert_eq!(cause(length, "i/o timeo"), Some(Cause::Unreachable));
        // Two words of three.
        assert_eq!(cause(length, "requested access"), Some(Cause::NotFound));
        // Too little, or too much to tell one from another.
        assert_eq!(cause(length, "not"), None);
        assert_eq!(cause(length, "not f"), None);
        assert_eq!(cause(length, "does not"), None);
    }
    // People paste a text without its last blank. A cut character leaves a mark behind, and so do people.
    assert_eq!(cause(254, "manifest unk"), Some(Cause::NotFound));
    assert_eq!(cause(257, "manifest unk\u{fffd}"), Some(Cause::NotFound));
    assert_eq!(cause(90, "manifest unk..."), Some(Cause::NotFound));
    // A complete text ends as it ends.
    for length in [90, 256, 257, 401] {
        assert_eq!(cause(length, "manifest unk"), None);
    }
}

#[test]
fn the_cause_may_be_in_another_text_of_the_same_code() {
    let found = diagnose(&task(
        "TaskFailedToStart",
        "CannotPullContainerError: pull failed",
        &[("a", None, "CannotStartContainerError: not found"), ("b", None, "CannotPullContainerError: EOF")],
    ));
    assert_eq!((found.code, found.cause), (ImagePullFailed, Some(Cause::Unreachable)));
}

#[test]
fn advice_names_what_to_act_on() {
    let advice = |task: &Value| diagnose(task).advice;
    let failed = [("api", Some(1), ""), ("db", Some(2), ""), ("web", Some(143), ""), ("worker", Some(3), "")];
    assert_eq!(
        advice(&started("EssentialContainerExited", EXITED, &failed)),
        "Read the last log lines of containers \"api\", \"db\" and \"worker\" to find out why they ended."
    );
    let unreachable = "ResourceInitializationError: unable to pull secrets or registry auth: connection issue";
    assert_eq!(
        advice(&task("TaskFailedToStart", unreachable, &[])),
        "Check the route, NAT gateway or VPC endpoint, security groups and DNS between the task's subnet and AWS \
         Secrets Manager, Systems Manager and Amazon ECR."
    );
    let full = "CannotPullContainerError: write /var/x: no space left on device";
    let mut on_ec2 = task("TaskFailedToStart", full, &[("web", None, "")]);
    on_ec2["containerInstanceArn"] = json!("arn:aws:ecs:eu-west-1:123456789012:container-instance/demo/0c5b");
    assert_eq!(
        advice(&on_ec2),
        "Free up space on the disk of container instance \"0c5b\", starting with unused images, or enlarge it: the \
         image of container \"web\" needs more."
    );
    let truncated = "CannotPullContainerError: pull image manifest has been retried 5 time(s): fai...";
    let mut cut = task("TaskFailedToStart", truncated, &[("web", None, "")]);
    cut["containers"][0]["image"] = json!("shop/web:2");
    assert_eq!(
        advice(&cut),
        "ECS truncated the error: pull image \"shop/web:2\" by hand with the task's execution role from its subnet to \
         see the whole of it."
    );
}

#[test]
fn a_sentence_agrees_with_what_it_is_about() {
    let key = "unable to retrieve secrets from asm: a secret did not contain json key pw";
    assert_eq!(
        diagnose(&task("TaskFailedToStart", key, &[])).summary,
        "secrets could not be fetched: they have no key \"pw\""
    );
    let draining = "container instance is in DRAINING state";
    let mut leaving = started("ServiceSchedulerInitiated", draining, &[("web", None, "")]);
    assert_eq!(diagnose(&leaving).summary, "the host that the task ran on is draining");
    leaving["lastStatus"] = json!("RUNNING");
    leaving["desiredStatus"] = json!("STOPPED");
    assert_eq!(diagnose(&leaving).summary, "the task is being stopped: the host that the task runs on is draining");
}

#[test]
fn memory_is_the_containers_or_else_the_tasks() {
    let mut stopped = started("EssentialContainerExited", EXITED, &[("web", Some(137), OOM)]);
    for (container, of_task, memory) in [
        (json!("512"), json!("1024"), "its 512 MiB of memory"),
        (json!(null), json!("1024"), "the task's 1024 MiB of memory"),
        (json!("0"), json!("1024"), "the task's 1024 MiB of memory"),
        (json!("much"), json!(null), "its memory"),
    ] {
        (stopped["containers"][0]["memory"], stopped["memory"]) = (container, of_task);
        assert_eq!(diagnose(&stopped).summary, format!("container \"web\" was killed for exceeding {memory}"));
    }
}

#[test]
fn the_redacted_summary_has_the_facts_but_no_command_and_no_unknown_text() {
    let exec = "CannotStartContainerError: exec: \"deploy --token hunter2\": executable file not found in $PATH";
    let found = diagnose(&task("TaskFailedToStart", "", &[("web", None, exec), ("db", None, "Odd: hunter2")]));
    assert_eq!(
        found.summary,
        "the command \"deploy --token hunter2\" of container \"web\" was not found; ECS says of container \"db\": \"Odd: \
         hunter2\""
    );
    assert_eq!(found.redacted_summary(), "the command of container \"web\" was not found");
    let unknown = diagnose(&started("", "Odd: hunter2", &[("web", None, "")]));
    assert_eq!(unknown.redacted_summary(), "ECS gave an unrecognized reason");
    // A person can write a sentence of ECS, too.
    let sentence = diagnose(&started("UserInitiated", "Task failed ELB health checks in (elb hunter2)", &[]));
    assert_eq!(sentence.summary, "the load balancer found the task unhealthy in \"hunter2\"");
    assert_eq!(sentence.redacted_summary(), "the load balancer found the task unhealthy");
    assert!(!sentence.advice.contains("hunter2"), "{}", sentence.advice);
}

#[test]
fn no_password_environment_or_command_is_in_an_answer() {
    for reason in [
        "CannotPullContainerError: Get \"https://deploy:hunter2@registry.acme/v2/\": dial tcp: i/o timeout",
        "CannotPullContainerError: Get \"https://deploy:hunter2/x@registry.acme/v2/\": i/o timeout",
        "Odd: https://a@b:hunter2@registry.acme/v2/",
        "CannotStartContainerError: hcsshim::CreateComputeSystem x: context deadline exceeded extra info: \
         {\"Environment\":{\"URL\":\"postgres://db/hunter2\",\"X\":\"https://hunter2\"}}",
        "ResourceInitializationError: failed to download env files: NoSuchKey: s3://b/a.env?X-Amz-Signature=hunter2",
        "CannotStartContainerError: command \"curl http://hunter2.example/\": context deadline exceeded",
        "CannotStartContainerError: error executing \"x https://hunter2.example\": connection refused",
        "CannotStartContainerError: Cmd ['curl','https://hunter2.example']: i/o timeout",
    ] {
        let found = diagnose(&task("TaskFailedToStart", reason, &[("web", None, "")]));
        assert!(!format!("{} {}", found.summary, found.redacted_summary()).contains("hunter2"), "{}", found.summary);
        assert!(!found.advice.contains("hunter2"), "{}", found.advice);
        assert_eq!(found.evidence.as_deref(), Some(reason));
    }
}

#[test]
fn of_a_long_text_the_beginning_is_searched_and_ten_names_of_at_most_256_characters_are_named() {
    let parameters: Vec<String> = (10..30).map(|number| format!("{number}{}", "a".repeat(98))).collect();
    let reason = format!("Fetching secret data from SSM Parameter Store: invalid parameters: {}", parameters.join(","));
    let named: Vec<String> = parameters[..10].iter().map(|name| format!("{name:?}")).collect();
    assert_eq!(
        diagnose(&task("TaskFailedToStart", &reason, &[])).summary,
        format!("the parameters {} and 10 more could not be fetched: not found", named.join(", "))
    );
    let long = format!("CannotPullContainerError: failed to resolve ref {}: i/o timeout", "ä".repeat(1000));
    let found = diagnose(&task("TaskFailedToStart", &long, &[]));
    assert_eq!(
        found.summary,
        format!("image \"{}\" could not be pulled: its registry could not be reached", "ä".repeat(256))
    );
    let late = format!("{}ä CannotPullContainerError: EOF", "x".repeat(4095));
    assert_eq!(code(&task("TaskFailedToStart", &late, &[("web", None, "")])), Unknown);
    // Patterns that would take minutes.
    for slow in
        ["Unexpected EC2 error while attempting to ", "exec \\\\\" ", "arn:aws:secretsmanager:x:1:secret:n ", "/"]
    {
        diagnose(&task("TaskFailedToStart", &slow.repeat(1_000_000 / slow.len()), &[]));
    }
}

// What asks for it.

#[test]
fn tasks_are_read_from_an_event_from_describe_tasks_or_alone() {
    let one = task("UserInitiated", "bye", &[]);
    let ids = |document: Value| tasks_from_json(&document).map(|tasks| tasks.len()).map_err(|error| error.to_string());
    assert_eq!(ids(json!({"detail-type": "ECS Task State Change", "detail": one})), Ok(1));
    assert_eq!(ids(json!({"tasks": [one, one], "failures": []})), Ok(2));
    assert_eq!(ids(one.clone()), Ok(1));
    let mut odd = one;
    odd["containers"] = json!([{"exitCode": "1"}]);
    let problem = "containers[0].exitCode must be an integer, found a string";
    assert_eq!(ids(json!({"tasks": [odd]})), Err(format!("tasks[0].{problem}")));
    assert_eq!(ids(json!({"detail": odd})), Err(format!("detail.{problem}")));
    assert_eq!(ids(json!({})), Err("the object must have the field taskArn".to_owned()));
}

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
}

/// A failed stop after so many minutes of life.
fn failed(life: i64, stopped: i64) -> Stop {
    Stop { kind: Kind::Failed, started_at: Some(at(stopped - life)), stopped_at: at(stopped) }
}

#[test]
fn three_short_lives_that_end_in_failures_are_a_crash_loop() {
    let never_started = Stop { started_at: None, ..failed(0, 20) };
    // In any order.
    let three = [failed(9, 80), failed(1, 10), never_started];
    assert!(is_crash_loop(three, at(100)));
    assert!(is_crash_loop(three, at(140)));
    // The last is too old, a pause too long, a life too long, a stop not a failure or after the end.
    assert!(!is_crash_loop(three, at(141)));
    assert!(!is_crash_loop([failed(1, 10), failed(1, 20), failed(1, 81)], at(100)));
    assert!(!is_crash_loop([failed(1, 10), failed(1, 20), failed(10, 30)], at(60)));
    assert!(!is_crash_loop([failed(1, 10), failed(1, 20), Stop { kind: Kind::Expected, ..failed(1, 30) }], at(60)));
    assert!(!is_crash_loop(three, at(79)));
    assert!(!is_crash_loop([], at(0)));
    // What came before a long pause is another loop.
    let stops = [1, 2, 3, 100, 110, 120].map(|stopped| failed(0, stopped));
    assert!(is_crash_loop(stops, at(130)));
}

// Properties of any task.

/// All texts of the stops in `stops.jsonl`.
fn texts() -> Vec<String> {
    let lines = include_str!("stops.jsonl").lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut texts: Vec<String> = lines
        .flat_map(|line| {
            let task = &line["task"];
            let reasons = task["containers"].as_array().unwrap().iter().map(|container| container["reason"].clone());
            reasons.chain([task["stoppedReason"].clone()]).collect::<Vec<_>>()
        })
        .filter_map(|text| text.as_str().map(str::to_owned))
        .collect();
    texts.sort();
    texts.dedup();
    texts
}

/// Nothing, a text of a stop, a piece of one, or anything.
fn any_text() -> impl Strategy<Value = Option<String>> {
    let piece = (select(texts()), 0..400_usize, 0..400_usize)
        .prop_map(|(text, skip, take)| text.chars().skip(skip).take(take).collect());
    option::of(prop_oneof![select(texts()), piece, any::<String>()])
}

fn any_container() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        select(vec!["web", "db", "envoy", "aws-guardduty-agent-x"]).prop_map(str::to_owned),
        any::<String>()
    ];
    let exit_code =
        option::of(prop_oneof![select(vec![0, 1, 126, 127, 128, 130, 137, 139, 143, 3_221_225_786]), any::<i64>()]);
    let health = option::of(select(vec!["HEALTHY", "UNHEALTHY"]));
    let image = option::of(any::<String>());
    (name, exit_code, any_text(), health, image).prop_map(|(name, exit_code, reason, health, image)| {
        json!({"name": name, "exitCode": exit_code, "reason": reason, "healthStatus": health, "image": image})
    })
}

fn any_stop_code() -> impl Strategy<Value = Option<&'static str>> {
    option::of(select(vec![
        "TaskFailedToStart",
        "EssentialContainerExited",
        "UserInitiated",
        "ServiceSchedulerInitiated",
        "SpotInterruption",
        "TerminationNotice",
        "InfrastructureHealth",
        "SomethingNew",
    ]))
}

fn any_task() -> impl Strategy<Value = Value> {
    let attachment = any_text().prop_map(
        |reason| json!({"type": "AmazonElasticBlockStorage", "details": [{"name": "statusReason", "value": reason}]}),
    );
    let started_at = option::of(Just("2026-01-01T00:00:00Z"));
    let group = option::of(any::<String>().prop_map(|name| format!("service:{name}")));
    let last_status = select(vec!["STOPPED", "DELETED", "RUNNING"]);
    let containers = vec(any_container(), 0..4);
    let attachments = vec(attachment, 0..2);
    (any_stop_code(), any_text(), started_at, group, last_status, containers, attachments).prop_map(
        |(stop_code, reason, started_at, group, last_status, containers, attachments)| {
            json!({
                "taskArn": "arn:aws:ecs:eu-west-1:123456789012:task/demo/5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6",
                "lastStatus": last_status,
                "desiredStatus": "STOPPED",
                "stopCode": stop_code,
                "stoppedReason": reason,
                "startedAt": started_at,
                "group": group,
                "containers": containers,
                "attachments": attachments,
            })
        },
    )
}

/// What people filter and route by.
fn verdict(task: &Value) -> (Code, Option<Cause>, Actor, Option<bool>, Option<String>, Kind) {
    let found = diagnose(task);
    (found.code, found.cause, found.actor, found.transient, found.container.clone(), found.kind())
}

/// Changes all texts.
fn with_texts(task: &Value, change: impl Fn(&str) -> String) -> Value {
    let mut task = task.clone();
    let changed = |text: &Value| text.as_str().map_or(Value::Null, |text| json!(change(text)));
    task["stoppedReason"] = changed(&task["stoppedReason"]);
    for container in task["containers"].as_array_mut().unwrap() {
        container["reason"] = changed(&container["reason"]);
    }
    for attachment in task["attachments"].as_array_mut().unwrap() {
        attachment["details"][0]["value"] = changed(&attachment["details"][0]["value"]);
    }
    task
}

/// Words that no sentence contains.
fn secret() -> impl Strategy<Value = String> {
    "[а-я]{8,20}( [а-я]{8,20}){0,3}"
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_task_has_a_diagnosis_without_control_characters(task in any_task()) {
        let found = diagnose(&task);
        for text in [&*found.summary, found.redacted_summary(), &*found.advice] {
            prop_assert!(!text.is_empty());
            prop_assert!(!text.contains(char::is_control), "{text:?}");
        }
        prop_assert!(found.advice.ends_with('.'), "{}", found.advice);
    }

    #[test]
    fn a_containers_text_never_outranks_a_stop_from_outside(
        task in any_task(),
        stop_code in select(vec!["UserInitiated", "SpotInterruption", "TerminationNotice", "InfrastructureHealth"]),
    ) {
        let (mut said, mut silent) = (task.clone(), task);
        said["stopCode"] = json!(stop_code);
        silent["stopCode"] = json!(stop_code);
        for container in silent["containers"].as_array_mut().unwrap() {
            container["reason"] = Value::Null;
        }
        prop_assert_eq!(code(&said), code(&silent));
    }

    #[test]
    fn the_order_of_containers_does_not_matter(task in any_task()) {
        let mut reversed = task.clone();
        reversed["containers"].as_array_mut().unwrap().reverse();
        let (found, of_reversed) = (diagnose(&task), diagnose(&reversed));
        prop_assert_eq!(&found.summary, &of_reversed.summary);
        prop_assert_eq!(found, of_reversed);
    }

    #[test]
    fn white_space_and_letter_case_do_not_matter(task in any_task()) {
        let expected = verdict(&task);
        prop_assert_eq!(&verdict(&with_texts(&task, |text| text.replace(' ', "\n"))), &expected);
        prop_assert_eq!(&verdict(&with_texts(&task, str::to_ascii_lowercase)), &expected);
        prop_assert_eq!(&verdict(&with_texts(&task, str::to_ascii_uppercase)), &expected);
    }

    #[test]
    fn the_redacted_summary_has_no_byte_of_the_reason_of_stop_task_or_a_command(
        task in any_task(),
        secret in secret(),
        frame in select(vec![
            "{}",
            "Task failed ELB health checks in ({})",
            "Host EC2 (instance {}) terminated.",
            "Host EC2 (instance i-1{}) terminated.",
            "Service {}: ECS is performing maintenance on the underlying infrastructure hosting the task",
            "CannotPullContainerError: {}: 403 Forbidden",
        ]),
        command in select(vec![
            "CannotStartContainerError: exec: \"{}\": executable file not found in $PATH",
            "CannotStartContainerError: caused \"exec: \\\"{}\\\": permission denied\"",
            "CannotStartContainerError: exec: \"{}",
            "CannotCreateContainerError: {\"CommandLine\":\"{}\",\"x\":1}: arn:aws:secretsmanager:x:1:secret:y",
            "Odd: {}",
        ]),
    ) {
        let mut task = task;
        task["stopCode"] = json!("UserInitiated");
        task["stoppedReason"] = json!(frame.replace("{}", &secret));
        let by_user = diagnose(&task);
        task["stopCode"] = json!("TaskFailedToStart");
        task["stoppedReason"] = Value::Null;
        task["containers"] = json!([{"name": "web", "reason": command.replace("{}", &secret)}]);
        let started = diagnose(&task);
        for found in [by_user, started] {
            for text in [found.redacted_summary(), &*found.advice] {
                prop_assert!(!secret.split(' ').any(|word| text.contains(word)), "{text:?}");
            }
        }
    }
}

/// The stops of `stops.jsonl`, with their texts changed.
#[test]
fn published_stops_have_the_same_verdict_in_any_letter_case_and_with_line_breaks() {
    for line in include_str!("stops.jsonl").lines() {
        let mut task: Value = serde_json::from_str::<Value>(line).unwrap()["task"].take();
        task["taskArn"] = json!("task");
        if task["attachments"].is_null() {
            task["attachments"] = json!([]);
        }
        task["attachments"]
            .as_array_mut()
            .unwrap()
            .retain(|attachment| attachment["details"][0]["name"] == "statusReason");
        let expected = verdict(&task);
        for change in [
            str::to_ascii_lowercase,
            str::to_ascii_uppercase,
            |text: &str| text.replace(' ', "\n"),
            |text: &str| text.replace('\'', "’"),
        ] {
            let changed = with_texts(&task, change);
            if change("a") != "a" || !changed["stoppedReason"].as_str().unwrap_or_default().contains('’') {
                assert_eq!(verdict(&changed), expected, "{changed}");
            }
        }
    }
}
