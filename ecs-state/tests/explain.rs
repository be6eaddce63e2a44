//! Diagnoses: of a file, and of tasks that are being stopped.

use std::io::{Write as _, pipe};

use ecs_model::diagnosis::{Actor, Cause, Code};
use serde_json::{Value, json};

use super::fixture::{Done, Fixture, ago, binary, run, stopped, task, with};

const EVENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/ec2-task-stopped-by-exit-code.json");

async fn explain(arguments: &[&str], input: &str) -> Done {
    // It is shorter than a pipe's buffer.
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(input.as_bytes()).unwrap();
    drop(writer);
    let mut command = binary(&[&["explain"], arguments].concat());
    // Neither a region nor credentials are needed.
    command.env_clear().stdin(reader);
    run(command).await
}

/// What `aws ecs describe-tasks` prints.
fn described(tasks: &[Value]) -> String {
    json!({"tasks": tasks, "failures": []}).to_string()
}

fn killed(id: &str) -> Value {
    let container = json!({"name": "web", "exitCode": 137, "reason": "OutOfMemoryError: Container killed"});
    let mut task = stopped(task("demo", id, "web", ago(2, 0, 0)), ago(1, 0, 0), json!({"containers": [container]}));
    // Seconds since 1970, as in the API.
    task["createdAt"] = json!(1_772_442_868.417);
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_explained_with_what_to_do() {
    let expected = "\
arn:aws:ecs:eu-west-1:123456789012:task/demo/e07b1d34c5a64f0b9d2e8f7a6c5b4d3e

Why it stopped
  OutOfMemory: container \"worker\" was killed for exceeding its 1024 MiB of memory
  what to do        Raise the memory limit of container \"worker\" above 1024 MiB, or find out why it needs more.
  who can act       application
  a retry may help  no
  stop code         EssentialContainerExited
  stopped reason    Essential container in task exited
  evidence          OutOfMemoryError: Container killed due to memory usage
";
    let event = std::fs::read_to_string(EVENT).unwrap();
    for done in [explain(&[EVENT], "").await, explain(&["-"], &event).await] {
        assert_eq!((done.stdout.as_str(), done.stderr.as_str(), done.code), (expected, "", Some(0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_tasks_are_explained_a_line_each() {
    let running = task("demo", "5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6", "web", ago(3, 0, 0));
    let input = described(&[killed("1".repeat(32).as_str()), running, killed("2".repeat(32).as_str())]);
    let done = explain(&["-"], &input).await;
    let expected = "\
TASK                              CLUSTER  GROUP        DEFINITION  RAN     CODE         WHY
11111111111111111111111111111111  demo     service:web  web:42      59m4xs  OutOfMemory  container \"web\" was killed for exceeding its memory
22222222222222222222222222222222  demo     service:web  web:42      59m4xs  OutOfMemory  container \"web\" was killed for exceeding its memory
";
    assert_eq!(done.stdout, expected);
    // As JSON, several values may follow one another.
    let done = explain(&["--json", "-"], &format!("{input}\n{}", killed("3".repeat(32).as_str()))).await;
    assert_eq!(done.ids(), ["1", "2", "3"].map(|digit| digit.repeat(32)));
    assert!(done.objects().iter().all(|task| task["diagnosis"]["code"] == "OutOfMemory"), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_explained_is_an_error_that_says_why() {
    let must = "error: standard input must be an ECS event or the output of `aws ecs describe-tasks`, as JSON: ";
    let running = task("demo", "5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6", "web", ago(3, 0, 0));
    let wrong = json!({"detail": {"taskArn": "arn", "containers": "hunter2"}}).to_string();
    for (input, code, message) in [
        (described(std::slice::from_ref(&running)), 1, "the task has not stopped, nor is it being stopped".to_owned()),
        (described(&[running.clone(), running]), 1, "none of the 2 tasks has stopped, or is being stopped".to_owned()),
        (described(&[]), 1, "the file has no task".to_owned()),
        (String::new(), 1, "the file has no task".to_owned()),
        ("{".to_owned(), 2, format!("{must}EOF while parsing an object at line 1 column 1")),
        (wrong, 2, format!("{must}detail.containers must be an array, found a string")),
    ] {
        let done = explain(&["-"], &input).await;
        assert_eq!((done.stdout.as_str(), done.stderr, done.code), ("", format!("{message}\n"), Some(code)), "{input}");
    }
    let done = explain(&["missing.json"], "").await;
    assert_eq!(done.stderr, "error: missing.json can't be read: No such file or directory (os error 2)\n");
    assert_eq!(done.code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_being_stopped_shows_why() {
    let fixture = Fixture::new(true).await;
    let id = "5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6";
    let reason = "Your Spot Task was interrupted.";
    let spot = json!({"desiredStatus": "STOPPED", "stopCode": "SpotInterruption", "stoppedReason": reason});
    fixture.put_detail(&with(task("demo", id, "web", ago(3, 12, 30)), spot));
    let done = fixture.run(&["tasks"]).await;
    let [header, line] = &done.stdout.lines().collect::<Vec<_>>()[..] else { panic!("{done:?}") };
    assert!(header.ends_with("  WHY"), "{header}");
    assert!(line.contains("RUNNING → STOPPED  3h12m"), "{line}");
    let why = "the task is being stopped: AWS reclaimed the Spot capacity that the task ran on";
    assert!(line.ends_with(why), "{line}");
    let done = fixture.run(&["tasks", "--json"]).await;
    assert_eq!(done.objects()[0]["diagnosis"]["summary"], why);
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_and_injected_containers_are_shown() {
    let fixture = Fixture::new(true).await;
    let id = "5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6";
    let detail = json!({
        "attachments": [{
            "id": "a", "type": "AmazonElasticBlockStorage", "status": "ATTACHED",
            "details": [{"name": "volumeName", "value": "data"}, {"name": "volumeId", "value": "vol-1"}],
        }],
        "containers": [
            {"name": "web", "image": "web:1", "lastStatus": "RUNNING"},
            {"name": "aws-guardduty-agent-Zj3", "image": "agent:1", "lastStatus": "RUNNING"},
        ],
    });
    fixture.put_detail(&with(task("demo", id, "web", ago(3, 12, 30)), detail));
    let done = fixture.run(&["task", id]).await;
    let containers = "\
Containers
  NAME                     STATUS   IMAGE    INJECTED BY
  web                      RUNNING  web:1
  aws-guardduty-agent-Zj3  RUNNING  agent:1  Amazon GuardDuty

Volumes
  volume  data vol-1 ATTACHED

Next
  log    ecs-state logs 5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6
";
    assert!(done.stdout.ends_with(containers), "{}", done.stdout);
}

#[test]
fn the_reference_lists_every_code_cause_and_actor_in_order() {
    let page = include_str!("../../docs/reference.md");
    let page = page.split_once("## Diagnosis").unwrap().1;
    let listed = |header: &str| -> Vec<&str> {
        let rows = page.lines().skip_while(|line| !line.starts_with(&format!("| {header} | "))).skip(2);
        rows.map_while(|line| line.strip_prefix("| `")?.split_once('`')).map(|(name, _)| name).collect()
    };
    assert_eq!(listed("code"), Code::all().map(Code::as_str).collect::<Vec<_>>());
    assert_eq!(listed("cause"), Cause::all().map(Cause::as_str).collect::<Vec<_>>());
    assert_eq!(listed("actor"), Actor::all().map(Actor::as_str).collect::<Vec<_>>());
}
