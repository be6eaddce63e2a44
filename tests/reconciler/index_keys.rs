//! The keys of the index, added to rows that lack them.

use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region};
use chrono::Utc;
use ecs_state_recorder::reconciler::conditional_update::add_index_keys;
use ecs_state_recorder::reconciler::known_row;
use ecs_state_recorder::resource::Resource;
use ecs_state_recorder::state::client;
use serde_json::{Value, json};

use harness::dynamodb::{CONTAINER_INSTANCES, TASKS};
use harness::ecs::{cluster, container_instance, task};
use harness::events;

use super::{LONG_AGO, World, arn, event, request, stopped};

/// Puts a task's row without the keys of the index, as from an older recorder. Returns the expected row.
fn put_without_index(world: &World, event: &Value) -> Value {
    let row = events::row(event);
    let mut old = row.clone();
    for key in ["index_cluster", "index_state"] {
        assert!(old.as_object_mut().unwrap().remove(key).is_some());
    }
    world.dynamodb.put(TASKS, &old);
    row
}

#[tokio::test]
async fn a_fleet_run_adds_the_keys_of_the_index_to_rows_that_lack_them() {
    let world = World::new().await;
    let demo = cluster("demo");
    let mut detailed = event(&task(&demo, 1, 5), LONG_AGO);
    detailed["detail"]["group"] = json!("service:web");
    detailed["detail"]["createdAt"] = json!("2026-03-02T08:00:00Z");
    let expected = [
        put_without_index(&world, &detailed),
        put_without_index(&world, &event(&stopped(task(&demo, 2, 5)), LONG_AGO)),
        // Newer than in ECS.
        put_without_index(&world, &event(&task(&demo, 3, 6), LONG_AGO)),
    ];
    (1..4).for_each(|number| world.ecs.put_task(&task(&demo, number, 5)));
    world.ecs.put_task(&stopped(task(&demo, 2, 5)));
    let first = json!({
        "scope": "fleet", "clusters": 1, "listed": 3, "unchanged": 2, "stale": 1, "indexed": 3, "complete": true,
    });
    assert_eq!(world.run("fleet").await, first);
    for row in expected {
        assert_eq!(world.row(row["taskArn"]["S"].as_str().unwrap()), row);
    }
    assert_eq!(world.run("fleet").await["indexed"], Value::Null);
}

#[tokio::test]
async fn a_table_run_adds_the_keys_of_the_index_to_every_row_that_lacks_them() {
    let world = World::with(&[("CLUSTER_ARNS", &cluster("demo"))]).await;
    let demo = cluster("demo");
    world.ecs.put_task(&task(&demo, 1, 5));
    let now = Utc::now().to_rfc3339();
    let expected = [
        put_without_index(&world, &event(&task(&demo, 1, 5), LONG_AGO)),
        put_without_index(&world, &event(&stopped(task(&demo, 2, 5)), LONG_AGO)),
        // Too young to be compared with ECS, and in a cluster that is not configured.
        put_without_index(&world, &event(&task(&demo, 3, 5), &now)),
        put_without_index(&world, &event(&task(&cluster("other"), 4, 5), LONG_AGO)),
    ];
    // The cluster or the version of these is unknown.
    let mut kept =
        [events::row(&event(&task(&demo, 5, 5), LONG_AGO)), events::row(&event(&task(&demo, 6, 5), LONG_AGO))];
    for (row, absent) in kept.iter_mut().zip(["clusterArn", "version"]) {
        for name in [absent, "index_cluster", "index_state"] {
            row.as_object_mut().unwrap().remove(name);
        }
        row["lastStatus"] = json!({"S": "STOPPED"});
        world.dynamodb.put(TASKS, row);
    }
    let instance = json!({
        "containerInstanceArn": {"S": arn(&container_instance(&demo, 1, 5))}, "clusterArn": {"S": demo},
        "version": {"N": "5"}, "current_status": {"S": "INACTIVE"}, "event_time": {"S": LONG_AGO},
    });
    world.dynamodb.put(CONTAINER_INSTANCES, &instance);

    // Only a scan finds them.
    let answer = world.lambda.invoke(request("index")).await;
    assert_eq!((&answer.body["complete"], &answer.body["indexed"]), (&json!(true), &json!(0)), "{answer:?}");
    let first = json!({
        "scope": "table", "clusters": 1, "listed": 1, "unchanged": 1, "indexed": 4, "complete": true,
    });
    assert_eq!(world.run("table").await, first);
    for row in expected.into_iter().chain(kept) {
        assert_eq!(world.row(row["taskArn"]["S"].as_str().unwrap()), row);
    }
    assert_eq!(world.row(instance["containerInstanceArn"]["S"].as_str().unwrap()), instance);
    let writes = world.writes();
    assert_eq!(world.run("table").await["indexed"], Value::Null);
    assert_eq!(world.writes(), writes);
}

#[tokio::test]
async fn the_keys_of_the_index_are_added_only_to_the_state_that_was_read_and_at_a_limited_rate() {
    let world = World::new().await;
    let demo = cluster("demo");
    let rows: Vec<Value> =
        (0..250).map(|number| put_without_index(&world, &event(&task(&demo, number, 5), LONG_AGO))).collect();
    let changed = |number: usize, change: &dyn Fn(&mut Value)| {
        let mut row = rows[number].clone();
        change(&mut row);
        world.dynamodb.put(TASKS, &row);
        row
    };
    let client = dynamodb_client(&world.dynamodb.url).await;
    let arns: Vec<&str> = rows[..2].iter().map(|row| row["taskArn"]["S"].as_str().unwrap()).collect();
    let known = known_row::read(&client, TASKS, Resource::Task, &arns).await.unwrap();
    // A newer state, and the same state from an event, each with its own keys.
    let newer = changed(0, &|row| {
        row["version"] = json!({"N": "6"});
        row["index_state"] = json!({"S": "S#2026-03-02T10:00:00.000Z"});
    });
    let same = changed(1, &|row| row["index_state"] = json!({"S": "A#service:web#2026-03-02T10:00:00.000Z"}));
    for (arn, row) in arns.iter().zip([newer, same]) {
        let known = &known[*arn];
        let keys = known.missing_keys.clone().expect("keys");
        assert!(!add_index_keys(&client, TASKS, known, keys).await.unwrap());
        assert_eq!(world.row(arn), row);
    }
    // The other 248, at 500 a second.
    world.ecs.put_cluster(&demo);
    let start = Instant::now();
    assert_eq!(world.run("table").await["indexed"], 248);
    assert!(start.elapsed() > Duration::from_millis(490), "{:?}", start.elapsed());
}

/// A client with the reconciler's settings.
pub(super) async fn dynamodb_client(url: &str) -> aws_sdk_dynamodb::Client {
    let aws = aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(url)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .region(Region::from_static("eu-west-1"))
        .test_credentials()
        .load()
        .await;
    client::new(&aws)
}
