//! Fleet runs: is everything in ECS in the tables?

use chrono::Utc;
use ecs_state_recorder::config::Config;
use ecs_state_recorder::reconciler::described;
use ecs_state_recorder::resource::Resource;
use ecs_state_recorder::state::conditional_write;
use ecs_state_recorder::state::row::Row;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use harness::dynamodb::{CONTAINER_INSTANCES, TASKS};
use harness::ecs::{cluster, container_instance, task};
use harness::events;
use harness::events::reconciled_row;
use harness::runtime_api::Lambda;

use super::index_keys::dynamodb_client;
use super::{LONG_AGO, World, arn, event, put_row, stopped};
use crate::RECORDER;

#[tokio::test]
async fn a_fleet_run_fills_empty_tables_with_everything_in_ecs() {
    let world = World::new().await;
    world.ecs.page_size(7);
    for name in ["one", "two", "three"] {
        let cluster = cluster(name);
        (0..20).for_each(|number| world.ecs.put_task(&task(&cluster, number, 3)));
        (20..30).for_each(|number| world.ecs.put_task(&stopped(task(&cluster, number, 5))));
        (0..10).for_each(|number| {
            world.ecs.put_container_instance(&cluster, &container_instance(&cluster, number, 2));
        });
    }
    world.ecs.put_cluster(&cluster("empty"));

    let all = json!({"scope": "fleet", "clusters": 4, "listed": 120, "stored": 120, "complete": true});
    assert_eq!(world.run("fleet").await, all);
    world.assert_equal_to_ecs();

    // A second run has nothing to do, and writes nothing.
    let writes = world.writes();
    let same = json!({"scope": "fleet", "clusters": 4, "listed": 120, "unchanged": 120, "complete": true});
    assert_eq!(world.run("fleet").await, same);
    assert_eq!(world.writes(), writes);
    let answer = world.lambda.invoke(r#"{"scope": "table"}"#).await;
    assert_eq!(answer.body["listed"], 0, "rows that have just been reconciled are too young: {}", answer.body);
    assert_eq!(answer.body["complete"], true);
    assert_eq!(world.writes(), writes);
}

#[tokio::test]
async fn absent_and_older_rows_are_written_and_equal_and_newer_ones_are_kept() {
    let world = World::new().await;
    let demo = cluster("demo");
    let tasks: Vec<Value> = (0..4).map(|number| task(&demo, number, 5)).collect();
    for task in &tasks {
        world.ecs.put_task(task);
    }
    let with_version = |task: &Value, version: u64| {
        let mut task = task.clone();
        task["version"] = json!(version);
        task
    };
    // The first has no row.
    put_row(&world, &with_version(&tasks[1], 4));
    let equal = put_row(&world, &with_version(&tasks[2], 5));
    let newer = put_row(&world, &with_version(&tasks[3], 6));

    // Of the two that are written, one had an older row, although it last changed long ago.
    let expected = json!({
        "scope": "fleet", "clusters": 1, "listed": 4, "stored": 2, "unchanged": 1, "stale": 1, "drift": 1,
        "complete": true,
    });
    assert_eq!(world.run("fleet").await, expected);
    for task in &tasks[..2] {
        let row = world.row(arn(task));
        assert_eq!(row, reconciled_row(&demo, task, &row));
    }
    assert_eq!(world.row(arn(&tasks[2])), equal);
    assert_eq!(world.row(arn(&tasks[3])), newer);
}

#[tokio::test]
async fn a_task_that_changed_within_five_minutes_is_not_drift_nor_is_a_container_instance() {
    let world = World::new().await;
    let demo = cluster("demo");
    let mut changed = task(&demo, 1, 5);
    put_row(&world, &task(&demo, 1, 4));
    changed["connectivityAt"] = json!(f64::from(u32::try_from(Utc::now().timestamp()).unwrap() - 240));
    world.ecs.put_task(&changed);
    let instance = container_instance(&demo, 1, 5);
    world.ecs.put_container_instance(&demo, &instance);
    let row = json!({"containerInstanceArn": {"S": arn(&instance)}, "version": {"N": "4"}});
    world.dynamodb.put(CONTAINER_INSTANCES, &row);
    let expected = json!({"scope": "fleet", "clusters": 1, "listed": 2, "stored": 2, "complete": true});
    assert_eq!(world.run("fleet").await, expected);

    // Six minutes ago, it is.
    changed["connectivityAt"] = json!(f64::from(u32::try_from(Utc::now().timestamp()).unwrap() - 360));
    changed["version"] = json!(6);
    world.ecs.put_task(&changed);
    assert_eq!(world.run("fleet").await["drift"], 1);
}

/// Between the read of a row and its write, an event may store the same version or a newer one.
#[tokio::test]
async fn a_write_from_the_api_is_refused_if_an_event_came_first() {
    let world = World::new().await;
    let client = dynamodb_client(&world.dynamodb.url).await;
    let demo = cluster("demo");
    let put = async |version: u64| {
        let json = to_raw_value(&task(&demo, 1, version)).unwrap();
        let state = described::state(Resource::Task, &demo, &json, Utc::now()).unwrap();
        let row = Row::new(state, &Config::read(|_| None).unwrap()).unwrap();
        conditional_write::put(&client, TASKS, row).await.unwrap().name()
    };
    let event = event(&task(&demo, 1, 5), LONG_AGO);
    world.dynamodb.put(TASKS, &events::row(&event));
    assert_eq!([put(5).await, put(4).await], ["duplicate", "stale"]);
    assert_eq!(world.row(arn(&event["detail"])), events::row(&event));
    assert_eq!(put(6).await, "stored");
}

#[tokio::test]
async fn between_equal_versions_the_event_wins_whichever_comes_first() {
    let world = World::new().await;
    let recorder = Lambda::start(&RECORDER, 1, &[("AWS_ENDPOINT_URL_DYNAMODB", &world.dynamodb.url)]).await;
    let task = task(&cluster("demo"), 1, 5);
    world.ecs.put_task(&task);
    let event = event(&task, LONG_AGO);

    // First the API, then the event.
    world.run("fleet").await;
    assert!(world.row(arn(&task)).get("reconciled_at").is_some());
    assert_eq!(recorder.invoke(event.to_string()).await.outcome(), "stored");
    assert_eq!(world.row(arn(&task)), events::row(&event));

    // First the event, then the API. The second time, the event is a duplicate.
    assert_eq!(world.run("fleet").await["unchanged"], 1);
    assert_eq!(world.row(arn(&task)), events::row(&event));
    assert_eq!(recorder.invoke(event.to_string()).await.outcome(), "duplicate");

    // An older event does not replace a newer state of the API.
    let newer = self::task(&cluster("demo"), 1, 6);
    world.ecs.put_task(&newer);
    world.run("fleet").await;
    assert_eq!(recorder.invoke(event.to_string()).await.outcome(), "stale");
    let row = world.row(arn(&newer));
    assert_eq!(row, reconciled_row(&cluster("demo"), &newer, &row));
}

#[tokio::test]
async fn a_duplicate_stays_a_duplicate_if_a_field_has_the_name_of_one_of_our_attributes() {
    let world = World::new().await;
    let recorder = Lambda::start(&RECORDER, 1, &[("AWS_ENDPOINT_URL_DYNAMODB", &world.dynamodb.url)]).await;
    let task = task(&cluster("demo"), 1, 5);
    let event = event(&task, LONG_AGO);
    let mut odd = event.clone();
    odd["detail"]["reconciled_at"] = json!("2026-03-02T09:14:28.000Z");
    odd["detail"]["missing_since"] = json!("2026-03-02T09:14:28.000Z");
    assert_eq!(recorder.invoke(odd.to_string()).await.outcome(), "stored");
    assert_eq!(world.row(arn(&task)), events::row(&event));
    assert_eq!(recorder.invoke(odd.to_string()).await.outcome(), "duplicate");

    // The same for the API.
    let mut odd = self::task(&cluster("demo"), 2, 5);
    odd["missing_since"] = json!("2026-03-02T09:14:28.000Z");
    odd["reconciled_at"] = json!(7);
    odd["event_id"] = json!("odd");
    world.ecs.put_task(&odd);
    world.run("fleet").await;
    let row = world.row(arn(&odd));
    for name in ["missing_since", "reconciled_at", "event_id"] {
        odd.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(row, reconciled_row(&cluster("demo"), &odd, &row));
}

#[tokio::test]
async fn a_cluster_that_is_gone_is_empty_for_a_fleet_run() {
    let (demo, gone) = (cluster("demo"), cluster("gone"));
    let world = World::with(&[("CLUSTER_ARNS", &format!("{demo},{gone}"))]).await;
    world.ecs.put_task(&task(&demo, 1, 5));
    let expected = json!({"scope": "fleet", "clusters": 2, "listed": 1, "stored": 1, "complete": true});
    assert_eq!(world.run("fleet").await, expected);
}

#[tokio::test]
async fn a_task_that_stops_between_the_two_lists_is_not_missed() {
    let world = World::new().await;
    let demo = cluster("demo");
    world.ecs.put_task(&task(&demo, 1, 5));
    // The task stops after the running tasks were listed.
    world.ecs.after_list("RUNNING", &stopped(task(&demo, 2, 6)));
    assert_eq!(world.run("fleet").await["stored"], 2);
}
