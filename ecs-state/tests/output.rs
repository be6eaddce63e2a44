//! The complete output of each command into a pipe.

use harness::dynamodb::TASKS;
use serde_json::{Value, json};

use super::fixture::{
    ECS, Fixture, ago, binary, cluster, container_instance, fleet, missing, row, run, stopped, task, time, with,
};

/// With the index and without.
async fn fleets() -> [Fixture; 2] {
    let fixtures = [Fixture::with(true, &fleet()).await, Fixture::with(false, &fleet()).await];
    for fixture in &fixtures {
        fixture.put(&missing());
    }
    fixtures
}

/// Checks standard error: only a scan writes a note, with its cost.
fn assert_notes(fixture: &Fixture, stderr: &str, found: u32) {
    if fixture.has_index {
        assert_eq!(stderr, "");
    } else {
        let units = found.div_ceil(20).max(1);
        assert!(stderr.starts_with("note: the whole table was read (8 rows, "), "{stderr}");
        let end = format!(" read units); through the index by_cluster, this takes about {units}\n");
        assert!(stderr.ends_with(&end), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_listed_by_cluster_group_and_age() {
    for fixture in fleets().await {
        let done = fixture.run(&["tasks"]).await;
        let expected = "\
TASK                              CLUSTER  GROUP        DEFINITION  STATUS   AGE    RUNS ON  STARTED BY
3c6ef3720a1b4c5d8e9fa0b1c2d3e4f5  demo     family:etl   etl:42      PENDING  2d2h   FARGATE  cron
5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6  demo     service:web  web:42      RUNNING  3h12m  FARGATE  ecs-svc/4093171225387263520
a81c2d3e4f5061728394a5b6c7d8e9f0  demo     service:web  web:42      RUNNING  4m3xs  FARGATE  ecs-svc/4093171225387263520
77e0d1c2b3a495867768594a3b2c1d0e  other    service:web  web:42      RUNNING  1d6h   EC2      ecs-svc/4093171225387263520
";
        assert_eq!(done.stdout, expected);
        assert_notes(&fixture, &done.stderr, 4);
        assert_eq!(done.code, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_and_regions_are_shown_where_rows_differ_in_them() {
    for fixture in fleets().await {
        for detail in [fleet().remove(0), fleet().remove(5), container_instance("demo", "1", "i-1", true)] {
            fixture.put(&row(&detail, ago(1, 0, 30)));
            let elsewhere = detail.to_string().replace("1:123456789012", "2:210987654321");
            fixture.put(&row(&serde_json::from_str(&elsewhere).unwrap(), ago(1, 0, 30)));
        }
        let tasks = fixture.run(&["tasks", "--family", "web", "--cluster", "demo"]).await;
        let stopped = fixture.run(&["stopped", "--code", "scaledin"]).await;
        let instances = fixture.run(&["instances"]).await;
        let services = fixture.run(&["services", "--service", "web", "--cluster", "demo", "--since", "1m"]).await;
        let expected = "\
TASK                              CLUSTER  ACCOUNT       REGION     GROUP        DEFINITION  STATUS   AGE    RUNS ON  STARTED BY
5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6  demo     123456789012  eu-west-1  service:web  web:42      RUNNING  3h12m  FARGATE  ecs-svc/4093171225387263520
a81c2d3e4f5061728394a5b6c7d8e9f0  demo     123456789012  eu-west-1  service:web  web:42      RUNNING  4m3xs  FARGATE  ecs-svc/4093171225387263520
5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6  demo     210987654321  eu-west-2  service:web  web:42      RUNNING  3h12m  FARGATE  ecs-svc/4093171225387263520
AGO    TASK                              CLUSTER  ACCOUNT       REGION     GROUP        DEFINITION  RAN    CODE      WHY
2h20m  18bb22cc33dd44ee55ff667788990011  demo     123456789012  eu-west-1  service:web  web:42      5h39m  ScaledIn  service \"web\" was scaled in or is deploying another version
2h20m  18bb22cc33dd44ee55ff667788990011  demo     210987654321  eu-west-2  service:web  web:42      5h39m  ScaledIn  service \"web\" was scaled in or is deploying another version
INSTANCE  CLUSTER  ACCOUNT       REGION     EC2 ID  STATUS  AGENT      TASKS  FREE CPU   FREE MIB   TYPE        ZONE        VERSION  AS OF
1         demo     123456789012  eu-west-1  i-1     ACTIVE  connected  2      1024/2048  1836/3884  t4g.medium  eu-west-1b  1.89.2   1h
1         demo     210987654321  eu-west-2  i-1     ACTIVE  connected  2      1024/2048  1836/3884  t4g.medium  eu-west-1b  1.89.2   1h
CLUSTER  ACCOUNT       REGION     SERVICE  RUNNING  START  DEFINITION
demo     123456789012  eu-west-1  web      2        20.0s  web:42
demo     210987654321  eu-west-2  web      1        20.0s  web:42
";
        let found = [tasks.stdout, stopped.stdout, instances.stdout, services.stdout].concat();
        assert_eq!(found, expected);
        let done = fixture.run(&["instances", "--account", "210987654321", "--json"]).await;
        assert_eq!(done.objects().len(), 1, "{done:?}");
        let summary = fixture.run(&["stopped", "--code", "scaledin", "--summary"]).await.stdout;
        assert!(
            ["123456789012/eu-west-1/demo/serv", "210987654321/eu-west-2"].iter().all(|name| summary.contains(name))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_only_later_rows_fill_get_a_header() {
    let fixture = Fixture::new(true).await;
    let bare = |number: u32, service: &str| {
        let mut task = task("demo", &format!("{number:032x}"), service, ago(1, 0, 0));
        for name in ["launchType", "startedBy"] {
            task.as_object_mut().unwrap().remove(name);
        }
        task
    };
    let mut rows: Vec<_> = (0..1000).map(|number| row(&bare(number, "a"), ago(1, 0, 0))).collect();
    rows.push(row(&with(bare(1000, "b"), json!({"launchType": "FARGATE"})), ago(1, 0, 0)));
    rows.push(row(&with(bare(1001, "b"), json!({"startedBy": "x"})), ago(1, 0, 0)));
    fixture.dynamodb.fill(TASKS, rows);
    let done = fixture.run(&["tasks"]).await;
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(lines.len(), 1004);
    assert!(lines[0].starts_with("TASK ") && lines[0].ends_with("  AGE"), "{}", lines[0]);
    assert!(lines[1001].starts_with("TASK ") && lines[1001].ends_with("  RUNS ON  STARTED BY"), "{}", lines[1001]);
    assert!(lines[1002].ends_with("  FARGATE"), "{}", lines[1002]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_finds_a_row_without_the_clusters_arn_by_its_cluster() {
    let fixture = Fixture::new(true).await;
    let id = "5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6";
    for mut detail in [task("demo", id, "web", ago(1, 0, 0)), container_instance("demo", id, "i-1", true)] {
        detail.as_object_mut().unwrap().remove("clusterArn");
        fixture.put(&row(&detail, ago(0, 0, 0)));
    }
    for command in [&["tasks", "--scan"][..], &["task", id, "--scan"], &["task", "5f1b", "--scan"], &["instances"]] {
        for (name, code) in [("demo", 0), (&cluster("demo"), 0), ("other", 1), (&cluster("other"), 1)] {
            let done = fixture.run(&[command, &["--cluster", name]].concat()).await;
            let found = (done.stdout.contains(id), done.code);
            assert_eq!(found, (code == 0, Some(code)), "{command:?} {name} {done:?}");
        }
    }
    assert!(fixture.run(&["images", "--scan"]).await.stdout.contains("demo/service:web"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_is_suggested_only_where_it_could_find_more() {
    let suggestion = "; --scan also finds rows outside the index\n";
    for (has_index, arguments, suggests) in [
        (true, &["task", "5f1b"][..], true),
        (true, &["task", "5f1b", "--scan"], false),
        (true, &["task", "arn:aws:ecs:x"], false),
        (false, &["task", "5f1b"], false),
    ] {
        let done = Fixture::new(has_index).await.run(arguments).await;
        assert_eq!((done.stderr.ends_with(suggestion), done.code), (suggests, Some(1)), "{arguments:?} {done:?}");
    }
}

/// Whatever their precision in the row: an event's times have milliseconds only where they are not zero.
#[tokio::test(flavor = "multi_thread")]
async fn times_in_json_sort_as_text() {
    let fixture = Fixture::new(true).await;
    let at = |id: &str, time: &str| {
        let times = json!({"createdAt": time, "stoppedAt": time, "version": 6});
        let task = stopped(task("demo", id, "web", ago(1, 0, 0)), ago(0, 0, 0), times);
        fixture.put(&row(&task, ago(0, 0, 0)));
    };
    at("a1", "2026-03-02T11:40:16.001Z");
    at("a2", "2026-03-02T11:40:16Z");
    let instance = with(container_instance("demo", "c1", "i-1", true), json!({"registeredAt": "2026-03-02T11:40:16Z"}));
    fixture.put(&row(&instance, "2026-03-02T11:40:26Z".parse().unwrap()));
    let done = fixture.run(&["stopped", "--since", "2026-03-02", "--json"]).await;
    let times: Vec<Value> = done.objects().iter().map(|task| task["stoppedAt"].clone()).collect();
    assert_eq!(times, ["2026-03-02T11:40:16.001Z", "2026-03-02T11:40:16.000Z"]);
    let is_time = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().is_ok();
    for arguments in
        [&["stopped", "--since", "2026-03-02", "--json"][..], &["task", "a1", "--json"], &["instances", "--json"]]
    {
        let done = fixture.run(arguments).await;
        let objects = done.objects();
        let texts: Vec<&str> =
            objects.iter().flat_map(|object| object.as_object().unwrap().values()).filter_map(Value::as_str).collect();
        let times: Vec<&&str> = texts.iter().filter(|text| is_time(text)).collect();
        assert!(times.len() >= 2 && times.iter().all(|time| time.len() == 24 && time.ends_with('Z')), "{times:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ecs_no_longer_knows_is_listed_only_if_asked_for() {
    for fixture in fleets().await {
        let done = fixture.run(&["tasks", "--cluster", "demo", "--service", "web", "--missing"]).await;
        let expected = "\
TASK                              CLUSTER  GROUP        DEFINITION  STATUS                AGE    RUNS ON  STARTED BY
f09d2c71a3b84e6f9d15c7e80b2a4463  demo     service:web  web:42      RUNNING, missing 13h  2d12h  FARGATE  ecs-svc/4093171225387263520
5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6  demo     service:web  web:42      RUNNING               3h12m  FARGATE  ecs-svc/4093171225387263520
a81c2d3e4f5061728394a5b6c7d8e9f0  demo     service:web  web:42      RUNNING               4m3xs  FARGATE  ecs-svc/4093171225387263520
";
        assert_eq!(done.stdout, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_tasks_are_listed_newest_first_with_the_reason() {
    for fixture in fleets().await {
        let done = fixture.run(&["stopped", "--since", "3d"]).await;
        let expected = "\
AGO     TASK                              CLUSTER  GROUP        DEFINITION  RAN    CODE             CAUSE     WHY
12m3xs  09aa11bb22cc33dd44ee55ff66778899  demo     service:web  web:42      4h47m  OutOfMemory                container \"web\" was killed for exceeding its 512 MiB of memory
2h20m   18bb22cc33dd44ee55ff667788990011  demo     service:web  web:42      5h39m  ScaledIn                   service \"web\" was scaled in or is deploying another version
1d15h   27cc33dd44ee55ff6677889900112233  other    service:api  api:42      –      ImagePullFailed  NotFound  image \"registry/api:2.4.1\" of container \"api\" could not be pulled: not found
";
        assert_eq!(done.stdout, expected);
        assert_notes(&fixture, &done.stderr, 3);
        assert_eq!(done.code, Some(0));

        // A day, unless another time is given.
        assert_eq!(fixture.run(&["stopped"]).await.stdout.lines().count(), 3);
        let done = fixture.run(&["stopped", "--code", "outofmemory", "--limit", "5", "--json"]).await;
        assert_eq!(done.ids(), ["09aa11bb22cc33dd44ee55ff66778899"]);
        for (filters, id) in [
            (["--cause", "notfound"], "27cc33dd44ee55ff6677889900112233"),
            (["--actor", "release"], "27cc33dd44ee55ff6677889900112233"),
            (["--actor", "application"], "09aa11bb22cc33dd44ee55ff66778899"),
        ] {
            let done = fixture.run(&[&["stopped", "--since", "3d", "--json"], &filters[..]].concat()).await;
            assert_eq!(done.ids(), [id], "{filters:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_counts_stops_by_code_and_group() {
    for fixture in fleets().await {
        let again = stopped(
            task("other", "36dd44ee55ff66778899001122334455", "web", ago(5, 0, 30)),
            ago(1, 0, 30),
            json!({"containers": [{"name": "web", "lastStatus": "STOPPED", "exitCode": 137,
                                   "reason": "OutOfMemoryError: Container killed due to memory usage"}]}),
        );
        fixture.put_detail(&again);
        let done = fixture.run(&["stopped", "--since", "2026-03-02", "--summary"]).await;
        let expected = "\
4 tasks have stopped since 2026-03-02 00:00:00Z

  OutOfMemory                 2  ████████████████████████████████████████
  ImagePullFailed (NotFound)  1  ████████████████████
  ScaledIn                    1  ████████████████████

By cluster and group
  demo/service:web   2  OutOfMemory 1, ScaledIn 1
  other/service:api  1  ImagePullFailed (NotFound) 1
  other/service:web  1  OutOfMemory 1
";
        assert_eq!(done.stdout, expected);
        let done = fixture.run(&["stopped", "--since", "90000h", "--summary", "--json"]).await;
        let count = |name: &str, group: &str, code: &str, cause: Value| json!({"clusterArn": cluster(name), "group": group, "code": code, "cause": cause, "count": 1});
        assert_eq!(
            done.objects(),
            [
                count("demo", "service:web", "OutOfMemory", json!(null)),
                count("demo", "service:web", "ScaledIn", json!(null)),
                count("other", "service:api", "ImagePullFailed", json!("NotFound")),
                count("other", "service:web", "OutOfMemory", json!(null)),
            ]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_shown_with_its_life_containers_and_diagnosis() {
    let fixture = Fixture::new(true).await;
    let sample = harness::events::sample("fargate-task-stopped");
    fixture.put(&row(&sample["detail"], "2026-03-02T11:40:26Z".parse().unwrap()));
    let arn = format!("{ECS}:task/demo/5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6");
    let done = fixture.run(&["task", &arn]).await;
    let age = done.stdout.split("26Z, ").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(
        done.stdout,
        "\
arn:aws:ecs:eu-west-1:123456789012:task/demo/5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6
  cluster     demo
  group       service:web
  definition  web:42
  status      STOPPED
  as of       2026-03-02 11:40:26Z, {age} ago, from an event, version 6
  started by  ecs-svc/4093171225387263520
  ran on      FARGATE, platform 1.4.0, eu-west-1b
  size        256 CPU units, 512 MiB of memory

Why it stopped
  ScaledIn: service \"web\" was scaled in or is deploying another version
  what to do        Nothing to do: the service no longer needs the task.
  who can act       nobody
  a retry may help  no
  stop code         ServiceSchedulerInitiated
  stopped reason    Scaling activity initiated by (deployment ecs-svc/4093171225387263520)

Life (UTC)
  2026-03-02 09:14:28.417             created
             09:14:32.739      +4.3s  agent connected
             09:14:42.735      +9.9s  image pull started
             09:14:47.044      +4.3s  image pull ended
             09:14:48.206      +1.1s  running
             11:39:31.246     +2h24m  stopping
             11:40:03.186     +31.9s  containers ended
             11:40:26.312     +23.1s  stopped

Containers
  NAME  STATUS   EXIT  IMAGE
  web   STOPPED  0     123456789012.dkr.ecr.eu-west-1.amazonaws.com/web:2.4.1

Network
  address    10.0.24.54
  interface  eni-0272386519f4df8b6
  subnet     subnet-0b7c6931f2a4d5e68

Overrides of this run (--show-environment shows all)
  web  FEATURE_FLAGS=[hidden]

Next
  log    ecs-state logs 5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6
"
        .replace("{age}", age)
    );
    assert_eq!((done.stderr.as_str(), done.code), ("", Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_on_ec2_is_shown_with_its_ports_and_until_now() {
    let fixture = Fixture::new(true).await;
    let created = ago(30, 2, 30);
    let detail = with(
        task("other", "77e0d1c2b3a495867768594a3b2c1d0e", "web", created),
        json!({
            "launchType": "EC2", "desiredStatus": "STOPPED", "stopCode": "UserInitiated",
            "stoppedReason": "retire old worker",
            "containerInstanceArn": format!("{ECS}:container-instance/other/78dde6e5"),
            "containers": [{
                "name": "web", "image": "registry/web:2.4.1", "lastStatus": "RUNNING",
                "networkBindings": [{"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 32768, "protocol": "tcp"}],
            }],
        }),
    );
    let reported = ago(2, 0, 30);
    let mut row = row(&detail, reported);
    row["missing_since"] = json!({"S": time(ago(1, 0, 30))});
    fixture.put(&row);
    let done = fixture.run(&["task", "77e0", "--cluster", "other"]).await;
    let at = |time: chrono::DateTime<chrono::Utc>| time.format("%Y-%m-%d %H:%M:%S").to_string();
    let started = created + chrono::TimeDelta::seconds(20);
    let same_day = created.date_naive() == started.date_naive();
    let expected = format!(
        "\
{ECS}:task/other/77e0d1c2b3a495867768594a3b2c1d0e
  cluster     other
  group       service:web
  definition  web:42
  status      RUNNING → STOPPED
  missing     unknown to ECS since {}Z, 1h ago
  as of       {}Z, 2h ago, from an event, version 3
  started by  ecs-svc/4093171225387263520
  runs on     EC2
  instance    {ECS}:container-instance/other/78dde6e5

Why it is being stopped
  StoppedByUser: the task is being stopped: StopTask was called: \"retire old worker\"
  what to do        Nothing to do if this was intended; if not, check CloudTrail for who called StopTask.
  who can act       caller
  a retry may help  no
  stop code         UserInitiated
  stopped reason    retire old worker

Life (UTC)
  {}             created
  {}     +20.0s  running
                                1d5h  missing in ECS

Containers
  NAME  STATUS   IMAGE
  web   RUNNING  registry/web:2.4.1

Network
  port  0.0.0.0:32768 → web 80/tcp

Next
  log    ecs-state logs 77e0d1c2b3a495867768594a3b2c1d0e
",
        at(ago(1, 0, 30)),
        at(reported),
        created.format("%Y-%m-%d %H:%M:%S%.3f"),
        started.format(if same_day { "           %H:%M:%S%.3f" } else { "%Y-%m-%d %H:%M:%S%.3f" }),
    );
    // Two of the times were taken a moment apart.
    let without_since = |text: &str| {
        text.lines()
            .map(|line| line.split_once("since").map_or(line, |(start, _)| start).replace("+1d5h", " 1d5h"))
            .collect::<Vec<_>>()
    };
    assert_eq!(without_since(&done.stdout), without_since(&expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_in_json_has_the_field_names_of_ecs_and_the_diagnosis() {
    for fixture in fleets().await {
        let done = fixture.run(&["task", "09aa11bb22cc33dd44ee55ff66778899", "--json"]).await;
        let [found] = &done.objects()[..] else { panic!("{done:?}") };
        let detail = fleet().into_iter().find(|task| task["taskArn"] == found["taskArn"]).unwrap();
        for name in ["clusterArn", "group", "lastStatus", "containers", "stopCode", "stoppedReason", "version"] {
            assert_eq!(found[name], detail[name], "{name}");
        }
        assert_eq!(
            found["diagnosis"],
            json!({
                "code": "OutOfMemory",
                "summary": "container \"web\" was killed for exceeding its 512 MiB of memory",
                "cause": null,
                "actor": "application",
                "advice": "Raise the memory limit of container \"web\" above 512 MiB, or find out why it needs more.",
                "transient": false,
                "container": "web",
                "evidence": "OutOfMemoryError: Container killed due to memory usage",
            })
        );
        assert!(found["event_time"].is_string() && found["expires_at"].is_string(), "{found}");
        assert!(found.get("index_cluster").is_none() && found.get("index_state").is_none(), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn container_instances_are_listed_and_filtered_by_how_long_they_have_been_disconnected() {
    let fixture = Fixture::new(false).await;
    let put = |id: &str, ec2: &str, connected, minutes, fields| {
        let cluster_name = if id.starts_with('1') { "demo" } else { "other" };
        fixture.put(&row(&with(container_instance(cluster_name, id, ec2, connected), fields), ago(0, minutes, 30)));
    };
    put("20000000000000000000000000000002", "i-2", false, 62, json!({"pendingTasksCount": 1}));
    put("30000000000000000000000000000003", "i-3", false, 2, json!({"status": "DRAINING"}));
    put("10000000000000000000000000000001", "i-1", true, 121, json!({}));
    put("40000000000000000000000000000004", "i-4", false, 600, json!({"status": "INACTIVE"}));
    let done = fixture.run(&["instances"]).await;
    let expected = "\
INSTANCE                          CLUSTER  EC2 ID  STATUS    AGENT               TASKS  FREE CPU   FREE MIB   TYPE        ZONE        VERSION  AS OF
10000000000000000000000000000001  demo     i-1     ACTIVE    connected           2      1024/2048  1836/3884  t4g.medium  eu-west-1b  1.89.2   2h1m
20000000000000000000000000000002  other    i-2     ACTIVE    disconnected 1h2m   2+1    1024/2048  1836/3884  t4g.medium  eu-west-1b  1.89.2   1h2m
30000000000000000000000000000003  other    i-3     DRAINING  disconnected 2m3xs  2      1024/2048  1836/3884  t4g.medium  eu-west-1b  1.89.2   2m3xs
";
    assert_eq!(done.stdout, expected);
    assert_eq!((done.stderr.as_str(), done.code), ("", Some(0)));

    let ids = async |arguments: &[&str]| {
        let done = fixture.run(&[&["instances", "--json"], arguments].concat()).await;
        let id = |object: &serde_json::Value| object["ec2InstanceId"].as_str().unwrap().to_owned();
        done.objects().iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&["--disconnected", "5m"]).await, ["i-2"]);
    assert_eq!(ids(&["--disconnected", "1m"]).await, ["i-2", "i-3"]);
    assert_eq!(ids(&["--cluster", "demo"]).await, ["i-1"]);
    assert_eq!(ids(&["--cluster", &cluster("other")]).await, ["i-2", "i-3"]);
    assert_eq!(ids(&["--inactive"]).await, ["i-1", "i-2", "i-3", "i-4"]);
}

#[tokio::test]
async fn the_help_explains_the_commands_with_examples() {
    assert_eq!(run(binary(&["--help"])).await.stdout, include_str!("help.txt"));
    let names = "tasks stopped services jobs task logs explain images instances metrics watch completions";
    for name in names.split(' ') {
        let done = run(binary(&[name, "--help"])).await;
        assert!(done.stdout.contains(&format!("Usage: ecs-state {name}")), "{done:?}");
        assert!(done.stdout.lines().all(|line| line.chars().count() <= 120), "{done:?}");
        assert_eq!(done.stdout.contains("--task-table"), !["explain", "completions"].contains(&name), "{name}");
    }
}

#[tokio::test]
async fn completions_exist_for_every_shell() {
    for (shell, start, word) in [
        ("bash", "_ecs__state() {", "--started-by"),
        ("zsh", "#compdef ecs-state", "OutOfMemory"),
        ("fish", "# Print", "OutOfMemory"),
    ] {
        let done = run(binary(&["completions", shell])).await;
        assert!(done.stdout.starts_with(start) && done.stdout.contains(word), "{shell}: {}", done.stdout);
        assert_eq!((done.stderr.as_str(), done.code), ("", Some(0)));
    }
}
