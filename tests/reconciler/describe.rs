//! Answers of ECS that leave something open, and rows that it can't be asked about.

use serde_json::{Value, json};

use harness::dynamodb::{CONTAINER_INSTANCES, TASKS};
use harness::ecs::{Fault, Rule, Times, cluster, container_instance, task};
use harness::events;

use super::{LONG_AGO, SECRET, World, arn, event, put_row};

/// Fills the table with rows of tasks that ECS does not know.
fn put_dead_rows(world: &World, cluster: &str, count: u32) -> Vec<String> {
    world.ecs.put_cluster(cluster);
    let tasks: Vec<Value> = (0..count).map(|number| task(cluster, number, 5)).collect();
    world.dynamodb.fill(TASKS, tasks.iter().map(|task| events::row(&event(task, LONG_AGO))).collect());
    tasks.iter().map(|task| arn(task).to_owned()).collect()
}

/// The lines of the log about rows that can't be checked: the ARN and the reason.
fn unchecked(world: &World) -> Vec<(String, String)> {
    let log = world.lambda.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
    let mut found: Vec<_> = lines
        .filter(|line| line["message"] == "unchecked")
        .inspect(|line| assert_eq!(line["level"], "WARN"))
        .map(|line| (text(&line, "arn"), text(&line, "reason")))
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn a_row_that_ecs_cannot_be_asked_about_is_counted_and_named_and_holds_up_no_other() {
    for scope in ["table", "index"] {
        let world = World::new().await;
        let demo = cluster("demo");
        put_dead_rows(&world, &demo, 3);
        let id = arn(&task(&demo, 7, 5)).rsplit_once('/').unwrap().1.to_owned();
        let (elsewhere, short) = (
            "its ARN is not of its cluster's account and region",
            "its ARN does not end with the ID \
                                   of a task or container instance",
        );
        let prefix = "arn:aws:ecs:eu-west-1:123456789012";
        let mut expected = vec![
            (format!("arn:aws:ecs:eu-west-1:210987654321:task/demo/{id}"), elsewhere),
            (format!("arn:aws:ecs:us-east-1:123456789012:task/demo/{id}"), elsewhere),
            (format!("arn:aws-cn:ecs:eu-west-1:123456789012:task/demo/{id}"), elsewhere),
            (format!("{prefix}:service/demo/{id}"), elsewhere),
            (format!("{prefix}:task/other/{id}"), "its ARN is of another cluster"),
            (format!("{prefix}:task/demo/{}", &id[1..]), short),
            (format!("{prefix}:task/demo/{}", &id.replace(&id[..2], "%2")), short),
            (format!("{prefix}:task/demo/x/{}", &id[2..]), short),
            (format!("{prefix}:task/"), short),
        ];
        for (arn, _) in &expected {
            let mut row = task(&demo, 8, 5);
            row["taskArn"] = json!(arn);
            put_row(&world, &row);
            world.ecs.refuse(arn);
        }
        // ECS accepts the older form of an ARN, and a UUID.
        let old = [format!("{prefix}:task/{id}"), format!("{prefix}:task/0b5e4a3c-1111-2222-3333-444455556666")];
        for arn in &old {
            let mut row = task(&demo, 9, 5);
            row["taskArn"] = json!(arn);
            put_row(&world, &row);
        }
        let counted =
            json!({"scope": "table", "clusters": 1, "listed": 5, "marked": 5, "unchecked": 9, "complete": true});
        assert_eq!(world.run(scope).await, counted, "{scope}");
        expected.sort();
        let named: Vec<(String, String)> = expected.iter().map(|(arn, why)| (arn.clone(), (*why).to_owned())).collect();
        assert_eq!(unchecked(&world), named);
    }
}

#[tokio::test]
async fn a_row_without_a_cluster_or_a_version_is_counted_and_named() {
    let world = World::new().await;
    let demo = cluster("demo");
    world.ecs.put_cluster(&demo);
    let rows = ["version", "clusterArn"].map(|absent| {
        let instance = container_instance(&demo, u32::try_from(absent.len()).unwrap(), 3);
        let mut row = json!({
            "containerInstanceArn": {"S": arn(&instance)}, "clusterArn": {"S": demo}, "version": {"N": "3"},
            "current_status": {"S": "ACTIVE"}, "event_time": {"S": LONG_AGO},
        });
        row.as_object_mut().unwrap().remove(absent);
        world.dynamodb.put(CONTAINER_INSTANCES, &row);
        (arn(&instance).to_owned(), format!("it has no {absent}"))
    });
    let expected = json!({"scope": "table", "clusters": 1, "listed": 1, "unchecked": 2, "complete": true});
    assert_eq!(world.run("index").await, expected);
    let mut named = rows.to_vec();
    named.sort();
    assert_eq!(unchecked(&world), named);
}

#[tokio::test]
async fn an_arn_that_ecs_does_not_accept_is_found_by_halving_its_batch_and_named() {
    for scope in ["table", "index"] {
        let world = World::new().await;
        let arns = put_dead_rows(&world, &cluster("demo"), 100);
        for arn in [&arns[17], &arns[64]] {
            world.ecs.refuse(arn);
        }
        let (_, message) = world.fail(scope).await;
        assert!(message.starts_with("2 parts of the run failed"), "{message}");
        for arn in [&arns[17], &arns[64]] {
            let part = format!("DescribeTasks of {}: InvalidParameterException (HTTP 400) for {arn}", cluster("demo"));
            assert!(message.contains(&part), "{message}");
        }
        let marked = world.rows().values().filter(|row| row.get("missing_since").is_some()).count();
        assert_eq!(marked, 98, "{scope}");
        assert!(world.ecs.calls().len() < 30, "{}", world.ecs.calls().len());
    }
}

#[tokio::test]
async fn halving_ends_when_its_calls_are_used_up() {
    let world = World::new().await;
    for arn in put_dead_rows(&world, &cluster("demo"), 300) {
        world.ecs.refuse(&arn);
    }
    let (_, message) = world.fail("table").await;
    assert!(message.contains("InvalidParameterException (HTTP 400) for arn:"), "{message}");
    // One for each batch, and two for each halved one.
    assert_eq!(world.ecs.calls().len(), 3 + 200);
    // Some were refused one by one, and the rest in batches.
    let count: usize = message.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(count, 103);
}

#[tokio::test]
async fn a_cluster_to_which_access_is_denied_fails_once_by_name_and_its_batches_are_not_halved() {
    for scope in ["table", "index", "fleet"] {
        let world = World::new().await;
        let (good, bad) = (cluster("good"), cluster("bad"));
        for (cluster, count) in [(&good, 1), (&bad, 1_000)] {
            for number in 0..count {
                world.ecs.put_task(&task(cluster, number, 5));
            }
            let rows = (0..count).map(|number| events::row(&event(&task(cluster, number, 4), LONG_AGO)));
            world.dynamodb.fill(TASKS, rows.collect());
        }
        let denied = Rule::new(Fault::AccessDenied, Times::Always).operation("DescribeTasks").cluster(&bad);
        world.ecs.inject(denied);
        let (_, message) = world.fail(scope).await;
        let expected = format!(
            "1 part of the run failed, and the next run repeats them: DescribeTasks of {bad}: AccessDeniedException \
             (HTTP 400); the function's role must allow it"
        );
        assert_eq!(message, expected, "{scope}");
        // As many as are in flight at once.
        let denied = world.ecs.calls().iter().filter(|call| call.refused).count();
        assert!((1..=4).contains(&denied), "{scope}: {denied}");
        assert_eq!(world.row(arn(&task(&good, 0, 5)))["version"], json!({"N": "5"}));
    }
}

#[tokio::test]
async fn a_list_to_which_access_is_denied_fails_its_cluster_once() {
    let world = World::new().await;
    let bad = cluster("bad");
    world.ecs.put_task(&task(&bad, 1, 5));
    world.ecs.inject(Rule::new(Fault::AccessDenied, Times::Always).operation("ListTasks"));
    let (_, message) = world.fail("fleet").await;
    assert!(
        message.starts_with(&format!("1 part of the run failed, and the next run repeats them: ListTasks of {bad}"))
    );
}

#[tokio::test]
async fn a_row_about_which_ecs_says_something_else_than_missing_or_nothing_fails_the_run() {
    for scope in ["table", "index", "fleet"] {
        let world = World::new().await;
        let demo = cluster("demo");
        let arns: Vec<String> = (0..7).map(|number| arn(&task(&demo, number, 5)).to_owned()).collect();
        for number in 0..7 {
            world.ecs.put_task(&task(&demo, number, 5));
            put_row(&world, &task(&demo, number, 4));
        }
        for arn in &arns[1..4] {
            world.ecs.fail_description(arn, "ACCESS_DENIED", 1);
        }
        world.ecs.fail_description(&arns[4], SECRET, 1);
        for arn in &arns[5..] {
            world.ecs.omit(arn);
        }
        let (_, message) = world.fail(scope).await;
        assert!(message.starts_with("3 parts of the run failed"), "{scope}: {message}");
        let first = |arns: &[String], lacks: &str| arns.iter().any(|arn| message.contains(&lacks.replace("ARN", arn)));
        assert!(first(&arns[1..4], "ACCESS_DENIED for ARN and 2 more"), "{scope}: {message}");
        assert!(first(&arns[4..5], "an unknown reason for ARN"), "{scope}: {message}");
        assert!(first(&arns[5..], "the response lacks ARN and 1 more"), "{scope}: {message}");
        assert!(!message.contains(SECRET), "{message}");
        assert_eq!(world.row(&arns[0])["version"], json!({"N": "5"}));
    }
}

#[tokio::test]
async fn an_answer_without_any_of_the_rows_is_not_a_success() {
    for scope in ["table", "index"] {
        let world = World::new().await;
        for arn in put_dead_rows(&world, &cluster("demo"), 3) {
            world.ecs.omit(&arn);
        }
        let (_, message) = world.fail(scope).await;
        assert!(message.contains("the response lacks arn:"), "{message}");
    }
}

#[tokio::test]
async fn a_cluster_that_is_not_found_but_not_gone_fails_the_run() {
    let world = World::new().await;
    let active = task(&cluster("active"), 3, 5);
    world.ecs.put_task(&active);
    let kept = put_row(&world, &active);
    world.ecs.inject(Rule::new(Fault::ClusterNotFound, Times::Always).operation("DescribeTasks"));
    let (_, message) = world.fail("table").await;
    let expected =
        format!("DescribeClusters of {}: it is not gone, but DescribeTasks does not find it", cluster("active"));
    assert!(message.contains(&expected), "{message}");
    assert_eq!(world.row(arn(&active)), kept);
}
