//! `services`, `jobs`, and the state at a time in the past.

use serde_json::{Value, json};

use super::fixture::{Done, ECS, Fixture, ago, container_instance, fleet, missing, stopped, task, time, with};

/// Stops after their container ended by itself.
fn exited(code: i64) -> Value {
    json!({"stopCode": "EssentialContainerExited", "stoppedReason": "Essential container in task exited",
           "containers": [{"name": "app", "lastStatus": "STOPPED", "exitCode": code}]})
}

/// The fleet of most tests, with a service in a crash loop, a new deployment, and jobs; with the index and without.
async fn fixtures() -> [Fixture; 2] {
    let fixtures = [Fixture::new(true).await, Fixture::new(false).await];
    let job = |id: &str, group: &str, created| {
        with(task("demo", id, group, created), json!({"group": group, "startedBy": "cron"}))
    };
    let mut details = fleet();
    for (number, minutes) in [65, 35, 5].into_iter().enumerate() {
        let started = json!({"taskDefinitionArn": format!("{ECS}:task-definition/api:43")});
        let task = with(task("other", &format!("c{number:031x}"), "api", ago(0, minutes + 2, 30)), started);
        details.push(stopped(task, ago(0, minutes, 30), exited(1)));
    }
    details.extend([
        with(
            task("demo", "b81c2d3e4f5061728394a5b6c7d8e9f0", "web", ago(0, 2, 30)),
            json!({"taskDefinitionArn": format!("{ECS}:task-definition/web:43"), "lastStatus": "PENDING",
                   "startedAt": null}),
        ),
        with(
            task("demo", "d81c2d3e4f5061728394a5b6c7d8e9f0", "web", ago(0, 40, 30)),
            json!({"desiredStatus": "STOPPED", "stoppingAt": time(ago(0, 1, 30))}),
        ),
        stopped(job("e1000000000000000000000000000000", "nightly", ago(26, 0, 30)), ago(25, 0, 30), exited(0)),
        stopped(job("e2000000000000000000000000000000", "nightly", ago(20, 0, 30)), ago(19, 0, 30), exited(0)),
        stopped(job("e3000000000000000000000000000000", "nightly", ago(2, 0, 30)), ago(1, 40, 30), exited(3)),
    ]);
    for fixture in &fixtures {
        fixture.put_details(&details);
        fixture.put(&missing());
    }
    fixtures
}

/// Checks the output, and that only a scan notes its cost.
fn assert_output(fixture: &Fixture, done: &Done, stdout: &str) {
    assert_eq!((done.stdout.as_str(), done.code), (stdout, Some(0)));
    let note = "note: the whole table was read (16 rows, ";
    assert!(if fixture.has_index { done.stderr.is_empty() } else { done.stderr.starts_with(note) }, "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_listed_crash_loops_first_with_what_runs_and_why_tasks_stopped() {
    for fixture in fixtures().await {
        let done = fixture.run(&["services"]).await;
        let expected = "\
CLUSTER  SERVICE  RUNNING  STARTING  STOPPING  STOPPED  MOST FREQUENT                   LAST STOP  START  DEFINITION
other    api      0                            2        crash loop: ApplicationError 2  5m3xs      20.0s  api:43
demo     web      2        1         1         1        OutOfMemory 1                   12m3xs     20.0s  web:43 web:42
other    web      1                                                                                20.0s  web:42
";
        assert_output(&fixture, &done, expected);
        // The most frequent reason is that of the failed stops, not the most frequent of all.
        let done = fixture.run(&["services", "--since", "3h", "--failing", "--cluster", "demo", "--json"]).await;
        let reason = json!({"code": "OutOfMemory", "cause": null, "count": 1});
        let [service] = &done.objects()[..] else { panic!("{done:?}") };
        assert_eq!((&service["stopped"], &service["mostFrequent"]), (&json!(2), &reason));
        let done = fixture.run(&["services", "--since", "1m", "--failing"]).await;
        let expected = "CLUSTER  SERVICE  RUNNING  MOST FREQUENT\nother    api      0        crash loop\n";
        assert_output(&fixture, &done, expected);
        // An hour ago, the first of the failures had not become a loop.
        let done = fixture.run(&["services", "--at", "1h", "--cluster", "other", "--service", "api"]).await;
        let expected = "\
CLUSTER  SERVICE  RUNNING  STOPPED  MOST FREQUENT       LAST STOP  START  DEFINITION
other    api      0        1        ApplicationError 1  5m3xs      20.0s  api:43
";
        assert_output(&fixture, &done, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_with_their_last_run_and_success() {
    for fixture in fixtures().await {
        let expected = "\
CLUSTER  GROUP       RUNNING  RUNS  FAILED  LAST RUN  OUTCOME           RAN     LAST SUCCESS  TASK
demo     family:etl  1                      2d2h      starting          –       –             3c6ef3720a1b4c5d8e9fa0b1c2d3e4f5
demo     nightly              2     1       2h        ApplicationError  19m4xs  19h           e3000000000000000000000000000000
";
        assert_output(&fixture, &fixture.run(&["jobs"]).await, expected);
        let done = fixture.run(&["jobs", "--failing", "--since", "4h", "--json"]).await;
        let [job] = &done.objects()[..] else { panic!("{done:?}") };
        assert_eq!([&job["group"], &job["runs"], &job["lastSuccessAt"]], [&json!("nightly"), &json!(1), &json!(null)]);
        let done = fixture.run(&["jobs", "--at", "19h30m", "--group", "nightly"]).await;
        let expected = "\
CLUSTER  GROUP    RUNNING  RUNS  LAST RUN  OUTCOME  RAN     LAST SUCCESS  TASK
demo     nightly  1        1     30m3xs    running  30m1xs  5h30m         e2000000000000000000000000000000
";
        assert_output(&fixture, &done, expected);
        let etl = task("demo", "3c6ef3720a1b4c5d8e9fa0b1c2d3e4f5", "etl", ago(50, 0, 30));
        fixture.put_detail(&with(etl, json!({"group": "family:etl", "desiredStatus": "STOPPED"})));
        let done = fixture.run(&["jobs", "--group", "family:etl"]).await;
        assert!(done.stdout.contains("  stopping  2d2h"), "{}", done.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_of_an_earlier_time_are_listed_with_their_status_then() {
    for fixture in fixtures().await {
        let at = ["tasks", "--at", "20m", "--cluster", "demo"];
        let done = fixture.run(&at).await;
        let expected = "\
TASK                              CLUSTER  GROUP        DEFINITION  STATUS   AGE     RUNS ON  STARTED BY
3c6ef3720a1b4c5d8e9fa0b1c2d3e4f5  demo     family:etl   etl:42      PENDING  2d1h    FARGATE  cron
09aa11bb22cc33dd44ee55ff66778899  demo     service:web  web:42      RUNNING  4h40m   FARGATE  ecs-svc/4093171225387263520
5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6  demo     service:web  web:42      RUNNING  2h52m   FARGATE  ecs-svc/4093171225387263520
d81c2d3e4f5061728394a5b6c7d8e9f0  demo     service:web  web:42      RUNNING  20m3xs  FARGATE  ecs-svc/4093171225387263520
";
        assert_output(&fixture, &done, expected);
        let done = fixture.run(&[&at[..], &["--json", "--limit", "2"]].concat()).await;
        let statuses: Vec<_> =
            done.objects().iter().map(|task| [&task["statusAt"], &task["lastStatus"]].map(Value::clone)).collect();
        assert_eq!(statuses, [["PENDING", "PENDING"], ["RUNNING", "STOPPED"]]);
        assert_eq!(done.ids(), ["3c6ef3720a1b4c5d8e9fa0b1c2d3e4f5", "09aa11bb22cc33dd44ee55ff66778899"]);
        // Why a task is stopping is shown, but not why a running one will stop.
        let done = fixture.run(&["tasks", "--at", "1m", "--status", "stopping"]).await;
        assert!(done.stdout.ends_with("the task is being stopped: ECS gave no reason\n"), "{}", done.stdout);
        // 14 hours ago, the task that is missing since 13 was not.
        for (at, arguments, status) in
            [("14h", &[][..], "RUNNING  1d22h"), ("12h", &["--missing"], "RUNNING, missing 1h")]
        {
            let done = fixture.run(&[&["tasks", "--at", at], arguments].concat()).await;
            let line = done.stdout.lines().find(|line| line.starts_with("f09d2c71a3b84e6f9d15c7e80b2a4463"));
            assert!(line.unwrap().contains(status), "{at} {}", done.stdout);
        }
        let done = fixture.run(&["tasks", "--at", "12h"]).await;
        assert!(!done.stdout.contains("f09d2c71a3b84e6f9d15c7e80b2a4463"), "{}", done.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_tasks_are_listed_up_to_a_time() {
    for fixture in fixtures().await {
        let done = fixture.run(&["stopped", "--since", "1h", "--until", "90m", "--json"]).await;
        assert_eq!(done.ids(), ["e3000000000000000000000000000000", "18bb22cc33dd44ee55ff667788990011"]);
        let done = fixture.run(&["stopped", "--since", "2026-03-02", "--until", "2026-03-02T11:40:26Z"]).await;
        let message = "no task that has stopped since 2026-03-02 00:00:00Z and until 2026-03-02 11:40:26Z matches\n";
        assert!(done.stderr.ends_with(message) && done.code == Some(1), "{done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_the_tasks_of_every_group_of_the_last_day_and_the_container_instances() {
    for fixture in fixtures().await {
        let awkward = json!({"group": "a\"b\\\u{1b}", "clusterArn": "arn:aws:ecs:eu-west-1:210987654321:cluster/demo"});
        fixture.put_details(&[
            container_instance("demo", "8a1f4b6d", "i-0f3a2b1c4d5e6f708", true),
            container_instance("demo", "8a1f4b6e", "i-0f3a2b1c4d5e6f709", true),
            container_instance("other", "8a1f4b6f", "i-0f3a2b1c4d5e6f710", false),
            with(container_instance("other", "8a1f4b70", "i-0f3a2b1c4d5e6f711", true), json!({"status": "DRAINING"})),
            with(container_instance("other", "8a1f4b71", "i-0f3a2b1c4d5e6f712", true), json!({"status": "INACTIVE"})),
            with(task("demo", "f2000000000000000000000000000000", "web", ago(1, 0, 0)), awkward),
        ]);
        let done = fixture.run(&["metrics"]).await;
        let short = [
            (r#"account="123456789012",region="eu-west-1",cluster="demo""#, "DEMO"),
            (r#"account="123456789012",region="eu-west-1",cluster="other""#, "OTHER"),
            (r#"account="210987654321",region="eu-west-1",cluster="demo""#, "ELSEWHERE"),
        ];
        let stdout = short.into_iter().fold(done.stdout.clone(), |text, (labels, name)| text.replace(labels, name));
        let expected = r#"# HELP ecs_tasks Tasks that have not stopped.
# TYPE ecs_tasks gauge
ecs_tasks{DEMO,group="family:etl",status="running"} 0
ecs_tasks{DEMO,group="family:etl",status="starting"} 1
ecs_tasks{DEMO,group="family:etl",status="stopping"} 0
ecs_tasks{DEMO,group="nightly",status="running"} 0
ecs_tasks{DEMO,group="nightly",status="starting"} 0
ecs_tasks{DEMO,group="nightly",status="stopping"} 0
ecs_tasks{DEMO,group="service:web",status="running"} 2
ecs_tasks{DEMO,group="service:web",status="starting"} 1
ecs_tasks{DEMO,group="service:web",status="stopping"} 1
ecs_tasks{OTHER,group="service:api",status="running"} 0
ecs_tasks{OTHER,group="service:api",status="starting"} 0
ecs_tasks{OTHER,group="service:api",status="stopping"} 0
ecs_tasks{OTHER,group="service:web",status="running"} 1
ecs_tasks{OTHER,group="service:web",status="starting"} 0
ecs_tasks{OTHER,group="service:web",status="stopping"} 0
ecs_tasks{ELSEWHERE,group="a\"b\\\\u{1b}",status="running"} 1
ecs_tasks{ELSEWHERE,group="a\"b\\\\u{1b}",status="starting"} 0
ecs_tasks{ELSEWHERE,group="a\"b\\\\u{1b}",status="stopping"} 0
# HELP ecs_stopped_tasks Tasks that have stopped within the window.
# TYPE ecs_stopped_tasks gauge
ecs_stopped_tasks{DEMO,group="nightly",code="ApplicationError",cause=""} 0
ecs_stopped_tasks{DEMO,group="nightly",code="Finished",cause=""} 0
ecs_stopped_tasks{DEMO,group="service:web",code="OutOfMemory",cause=""} 1
ecs_stopped_tasks{DEMO,group="service:web",code="ScaledIn",cause=""} 0
ecs_stopped_tasks{OTHER,group="service:api",code="ApplicationError",cause=""} 2
# HELP ecs_container_instances Container instances.
# TYPE ecs_container_instances gauge
ecs_container_instances{DEMO,status="active",agent="connected"} 2
ecs_container_instances{OTHER,status="active",agent="disconnected"} 1
ecs_container_instances{OTHER,status="draining",agent="connected"} 1
# HELP ecs_task_start_seconds Median time from a task's creation to its start.
# TYPE ecs_task_start_seconds gauge
# UNIT ecs_task_start_seconds seconds
ecs_task_start_seconds{DEMO,group="service:web"} 20.0
ecs_task_start_seconds{OTHER,group="service:api"} 20.0
ecs_task_start_seconds{OTHER,group="service:web"} 20.0
ecs_task_start_seconds{ELSEWHERE,group="a\"b\\\\u{1b}"} 20.0
# EOF
"#;
        assert_eq!((stdout.as_str(), done.code), (expected, Some(0)));
        let done = fixture.run(&["metrics", "--cluster", "other", "--since", "4m"]).await;
        let stops: Vec<&str> = done.stdout.lines().filter(|line| line.starts_with("ecs_stopped_tasks{")).collect();
        let labels = r#"account="123456789012",region="eu-west-1",cluster="other",group="service:api""#;
        let none = format!(r#"ecs_stopped_tasks{{{labels},code="ApplicationError",cause=""}} 0"#);
        assert_eq!(stops, [none]);
    }
}
