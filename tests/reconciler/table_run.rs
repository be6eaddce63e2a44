//! Table runs: does everything in the tables still exist?

use chrono::{NaiveDate, TimeDelta, Utc};
use ecs_state_recorder::reconciler::is_scan_day;
use serde_json::{Value, json};

use harness::dynamodb::{CONTAINER_INSTANCES, DynamoDb, TASKS};
use harness::ecs::{Gone, cluster, container_instance, task};
use harness::events;
use harness::events::reconciled_row;
use harness::proxy::Proxy;

use super::{LONG_AGO, World, arn, assert_recent, counts, event, put_row, request, stopped as stopped_task};

#[tokio::test]
async fn what_ecs_no_longer_knows_is_marked_and_nothing_else_is() {
    for scope in ["table", "index"] {
        marks_what_ecs_no_longer_knows_and_nothing_else(scope).await;
    }
}

async fn marks_what_ecs_no_longer_knows_and_nothing_else(scope: &str) {
    let world = World::new().await;
    let demo = cluster("demo");
    let row = |number, change: &dyn Fn(&mut Value)| {
        let mut row = events::row(&event(&task(&demo, number, 5), LONG_AGO));
        change(&mut row);
        world.dynamodb.put(TASKS, &row);
        row
    };
    let ago = |minutes| json!({"S": (Utc::now() - TimeDelta::minutes(minutes)).to_rfc3339()});
    let remove = |row: &mut Value, name: &str| _ = row.as_object_mut().unwrap().remove(name);
    let missing = [
        row(0, &|_| {}),
        // Without either time, it counts as old.
        row(1, &|row| remove(row, "event_time")),
        row(2, &|row| {
            row["lastStatus"] = json!({"S": "DEPROVISIONING"});
            row["event_time"] = ago(16);
        }),
        // Without a status, it is not terminal.
        row(3, &|row| remove(row, "lastStatus")),
        row(4, &|row| {
            row["reconciled_at"] = row["event_time"].clone();
            remove(row, "event_time");
        }),
    ];
    let kept = [
        row(10, &|row| row["lastStatus"] = json!({"S": "STOPPED"})),
        row(11, &|row| row["lastStatus"] = json!({"S": "DELETED"})),
        row(12, &|row| row["event_time"] = ago(14)),
        row(13, &|row| {
            row["reconciled_at"] = ago(14);
            remove(row, "event_time");
        }),
        // The version or the cluster of these is unknown.
        row(14, &|row| remove(row, "version")),
        row(15, &|row| remove(row, "clusterArn")),
        // ECS knows it.
        row(16, &|_| {}),
    ];
    world.ecs.put_task(&task(&demo, 16, 5));

    let expected = json!({
        "scope": "table", "clusters": 1, "listed": 7, "marked": 5, "unchanged": 1, "unchecked": 2, "complete": true,
    });
    assert_eq!(world.run(scope).await, expected, "{scope}");
    for mut row in missing {
        let found = world.row(row["taskArn"]["S"].as_str().unwrap());
        assert_recent(&found["missing_since"]);
        row["missing_since"] = found["missing_since"].clone();
        assert_eq!(found, row);
    }
    for row in kept {
        assert_eq!(world.row(row["taskArn"]["S"].as_str().unwrap()), row);
    }
    // A marked row is not written again.
    let writes = world.writes();
    assert_eq!(world.run(scope).await["marked"], Value::Null);
    assert_eq!(world.writes(), writes);
}

#[tokio::test]
async fn a_container_instance_is_marked_too() {
    let world = World::new().await;
    let demo = cluster("demo");
    world.ecs.put_cluster(&demo);
    let row = |number, status| {
        let instance = container_instance(&demo, number, 3);
        let row = json!({
            "containerInstanceArn": {"S": arn(&instance)}, "clusterArn": {"S": demo}, "version": {"N": "3"},
            "current_status": {"S": status}, "event_time": {"S": LONG_AGO},
        });
        world.dynamodb.put(CONTAINER_INSTANCES, &row);
        row
    };
    let (mut active, inactive) = (row(1, "ACTIVE"), row(2, "INACTIVE"));
    assert_eq!(world.run("table").await["marked"], 1);
    let found = world.row(active["containerInstanceArn"]["S"].as_str().unwrap());
    assert_recent(&found["missing_since"]);
    active["missing_since"] = found["missing_since"].clone();
    assert_eq!(found, active);
    assert_eq!(world.row(inactive["containerInstanceArn"]["S"].as_str().unwrap()), inactive);
}

/// Source: <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_cwet_handling.html>
#[tokio::test]
async fn a_container_instance_that_amazons_function_stored_as_inactive_is_not_marked() {
    let world = World::new().await;
    let demo = cluster("demo");
    world.ecs.put_cluster(&demo);
    // It means to rename `status`, but never does, and it stores neither the event's id nor its time.
    let row = |number, more: Value| {
        let arn = arn(&container_instance(&demo, number, 3)).to_owned();
        let mut row = json!({
            "cw_version": {"S": "0"}, "containerInstanceArn": {"S": arn}, "clusterArn": {"S": demo}, "version": {"N": "3"},
            "agentConnected": {"BOOL": false}, "updatedAt": {"S": LONG_AGO},
        });
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.dynamodb.put(CONTAINER_INSTANCES, &row);
        (arn, row)
    };
    let (active, inactive) = (row(1, json!({"status": {"S": "ACTIVE"}})), row(2, json!({"status": {"S": "INACTIVE"}})));
    // `status` counts only where `current_status` is absent.
    let both = row(3, json!({"current_status": {"S": "ACTIVE"}, "status": {"S": "INACTIVE"}}));

    let expected = json!({"scope": "table", "clusters": 1, "listed": 2, "marked": 2, "complete": true});
    assert_eq!(world.run("table").await, expected);
    for (arn, mut row) in [active, both] {
        let found = world.row(&arn);
        assert_recent(&found["missing_since"]);
        row["missing_since"] = found["missing_since"].clone();
        assert_eq!(found, row);
    }
    assert_eq!(world.row(&inactive.0), inactive.1);
}

#[tokio::test]
async fn a_marked_row_expires_only_if_it_is_missing_again_after_twelve_hours() {
    for (retention, hours, expires) in [("30", 11, false), ("30", 13, true), ("0", 13, false)] {
        let world = World::with(&[("RETENTION_DAYS", retention)]).await;
        let demo = cluster("demo");
        world.ecs.put_cluster(&demo);
        let mut row = put_row(&world, &task(&demo, 1, 5));
        row["missing_since"] = json!({"S": (Utc::now() - TimeDelta::hours(hours)).to_rfc3339()});
        world.dynamodb.put(TASKS, &row);
        assert_eq!(world.run("table").await, json!({"scope": "table", "clusters": 1, "listed": 1, "complete": true}));
        let found = world.row(arn(&task(&demo, 1, 5)));
        if expires {
            let at: i64 = found["expires_at"]["N"].as_str().unwrap().parse().unwrap();
            let days = TimeDelta::seconds(at - Utc::now().timestamp());
            assert!((days - TimeDelta::days(30)).abs() < TimeDelta::minutes(2), "{days}");
            row["expires_at"] = found["expires_at"].clone();
        }
        assert_eq!(found, row, "retention {retention}, {hours} h");
        // The expiry stays as it is.
        let writes = world.writes();
        world.run("table").await;
        assert_eq!(world.writes(), writes);
    }
}

#[tokio::test]
async fn both_scopes_clear_the_mark_of_whatever_ecs_returns_at_any_version() {
    for scope in ["fleet", "table", "index"] {
        let world = World::new().await;
        let demo = cluster("demo");
        let mut rows = Vec::new();
        for (number, stored) in [(1, 4), (2, 5), (3, 6)] {
            world.ecs.put_task(&task(&demo, number, 5));
            let mut row = put_row(&world, &task(&demo, number, stored));
            rows.push(row.clone());
            row["missing_since"] = json!({"S": "2026-03-03T00:00:00.000Z"});
            row["expires_at"] = json!({"N": "4102444800"});
            world.dynamodb.put(TASKS, &row);
        }
        let expected = json!({
            "scope": if scope == "fleet" { scope } else { "table" }, "clusters": 1, "listed": 3, "stored": 1, "unchanged": 1, "stale": 1, "cleared": 3,
            "drift": 1, "complete": true,
        });
        assert_eq!(world.run(scope).await, expected);
        let row = world.row(arn(&task(&demo, 1, 5)));
        assert_eq!(row, reconciled_row(&demo, &task(&demo, 1, 5), &row));
        assert_eq!(world.row(arn(&task(&demo, 2, 5))), rows[1]);
        assert_eq!(world.row(arn(&task(&demo, 3, 5))), rows[2]);
    }
}

#[tokio::test]
async fn one_wrong_answer_does_not_let_a_live_row_expire() {
    let world = World::new().await;
    let task = task(&cluster("demo"), 1, 5);
    world.ecs.put_task(&task);
    let row = put_row(&world, &task);
    world.ecs.flap(arn(&task), 1);
    assert_eq!(world.run("table").await["marked"], 1);
    assert!(world.row(arn(&task)).get("expires_at").is_none());
    assert_eq!(world.run("table").await["cleared"], 1);
    assert_eq!(world.row(arn(&task)), row);
}

/// Puts a row of version 5, starts a table run, and changes the row after it was scanned. Returns the final row, and
/// the changed one.
async fn changed_after_the_scan(
    is_in_ecs: bool,
    before: impl Fn(&mut Value),
    after: impl Fn(&mut Value),
) -> [Value; 2] {
    let world = World::new().await;
    let task = task(&cluster("demo"), 1, 5);
    world.ecs.put_cluster(&cluster("demo"));
    if is_in_ecs {
        world.ecs.put_task(&task);
    }
    let mut row = events::row(&event(&task, LONG_AGO));
    before(&mut row);
    world.dynamodb.put(TASKS, &row);
    after(&mut row);
    let (dynamodb, changed) = (world.dynamodb.clone(), row.clone());
    world.ecs.before_describe(move || dynamodb.put(TASKS, &changed));
    world.run("table").await;
    [world.row(arn(&task)), row]
}

#[tokio::test]
async fn a_row_that_has_changed_since_the_scan_is_left_alone() {
    let long_ago = || json!({"S": "2026-03-03T00:00:00.000Z"});
    let keep = |_: &mut Value| {};
    // A newer event arrives: not marked.
    let [found, changed] = changed_after_the_scan(false, keep, |row| row["version"] = json!({"N": "6"})).await;
    assert_eq!(found, changed);
    // It has stopped: not marked.
    let [found, changed] = changed_after_the_scan(false, keep, |row| row["lastStatus"] = json!({"S": "STOPPED"})).await;
    assert_eq!(found, changed);
    // A newer state has been marked: its mark is not cleared.
    let mark = |row: &mut Value| row["missing_since"] = long_ago();
    let [found, changed] = changed_after_the_scan(true, mark, |row| row["version"] = json!({"N": "6"})).await;
    assert_eq!(found, changed);
    // The mark has been cleared: it does not expire.
    let clear = |row: &mut Value| _ = row.as_object_mut().unwrap().remove("missing_since");
    let [found, changed] = changed_after_the_scan(false, mark, clear).await;
    assert_eq!(found, changed);
    // An event with ECS's version arrives: it is not replaced.
    let older = |row: &mut Value| row["version"] = json!({"N": "4"});
    let [found, changed] = changed_after_the_scan(true, older, |row| row["version"] = json!({"N": "5"})).await;
    assert_eq!(found, changed);
}

#[tokio::test]
async fn rows_of_another_account_or_region_are_left_alone() {
    let world = World::new().await;
    let demo = cluster("demo");
    let elsewhere = [demo.replace("123456789012", "210987654321"), demo.replace("eu-west-1", "us-east-1")];
    let rows: Vec<Value> = elsewhere.iter().map(|cluster| put_row(&world, &task(cluster, 1, 5))).collect();
    // Even if this account has no cluster here.
    for scope in ["index", "table"] {
        assert_eq!(world.run(scope).await, json!({"scope": "table", "complete": true}));
    }
    world.ecs.put_cluster(&demo);
    put_row(&world, &task(&demo, 2, 5));
    let expected = json!({"scope": "table", "clusters": 1, "listed": 1, "marked": 1, "complete": true});
    assert_eq!(world.run("index").await, expected);
    let expected = json!({"scope": "table", "clusters": 1, "listed": 1, "complete": true});
    assert_eq!(world.run("table").await, expected);
    for row in rows {
        assert_eq!(world.row(row["taskArn"]["S"].as_str().unwrap()), row);
    }
}

#[tokio::test]
async fn a_scan_reads_every_page() {
    let world = World::new().await;
    world.ecs.put_cluster(&cluster("demo"));
    // Some 2 MB in each of the 32 segments; a page has at most 1 MB.
    let rows = (0..200).map(|number| {
        let mut row = events::row(&event(&task(&cluster("demo"), number, 5), LONG_AGO));
        row["padding"] = json!({"S": "x".repeat(300_000)});
        row
    });
    world.dynamodb.fill(TASKS, rows.collect());
    let expected = json!({"scope": "table", "clusters": 1, "listed": 200, "marked": 200, "complete": true});
    assert_eq!(world.run("table").await, expected);
}

#[tokio::test]
async fn rows_of_a_cluster_that_is_gone_are_marked() {
    for scope in ["table", "index"] {
        let world = World::new().await;
        world.ecs.put_cluster(&cluster("active"));
        for (number, gone) in [(1, Gone::Inactive), (2, Gone::Missing)] {
            let cluster = cluster(&format!("gone-{number}"));
            world.ecs.put_cluster(&cluster);
            put_row(&world, &task(&cluster, number, 5));
            world.ecs.delete_cluster(&cluster, gone);
        }
        let expected = json!({"scope": "table", "clusters": 2, "listed": 2, "marked": 2, "complete": true});
        assert_eq!(world.run(scope).await, expected, "{scope}");
    }
}

#[tokio::test]
async fn a_table_run_writes_what_is_newer_in_ecs_and_describes_in_batches_of_100() {
    for scope in ["table", "index"] {
        let world = World::new().await;
        let mut rows = Vec::new();
        for name in ["one", "two"] {
            for number in 0..150 {
                let task = task(&cluster(name), number, 5);
                world.ecs.put_task(&task);
                rows.push(events::row(&event(&self::task(&cluster(name), number, 4), LONG_AGO)));
            }
        }
        world.dynamodb.fill(TASKS, rows);
        let expected = json!({
            "scope": "table", "clusters": 2, "listed": 300, "stored": 300, "drift": 300, "complete": true,
        });
        assert_eq!(world.run(scope).await, expected);
        world.assert_equal_to_ecs();
        let mut sizes: Vec<usize> = world.ecs.calls().iter().map(|call| call.arns).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [50, 50, 100, 100]);
    }
}

#[tokio::test]
async fn without_a_request_to_scan_a_run_reads_by_the_index_except_every_seventh_day() {
    let first = NaiveDate::from_ymd_opt(2026, 12, 28).unwrap();
    let scans: Vec<bool> = first.iter_days().take(21).map(is_scan_day).collect();
    assert_eq!(scans.iter().filter(|scans| **scans).count(), 3);
    assert_eq!((&scans[..7], &scans[..7]), (&scans[7..14], &scans[14..]));

    let world = World::new().await;
    // In case midnight passes meanwhile.
    loop {
        let day = Utc::now().date_naive();
        let answer = world.lambda.invoke(r#"{"scope": "table"}"#).await;
        if day == Utc::now().date_naive() {
            assert_eq!(answer.body["scanned"], is_scan_day(day), "{}", answer.body);
            break;
        }
    }
}

#[tokio::test]
async fn a_run_by_the_index_reads_only_active_rows_of_all_its_pages() {
    let (active, stopped) = (1_100, 5_000);
    let dynamodb = DynamoDb::start().await;
    let proxy = Proxy::start(&dynamodb.url).await;
    proxy.meter();
    let world = World::with(&[("AWS_ENDPOINT_URL_DYNAMODB", &proxy.url)]).await;
    let demo = cluster("demo");
    world.ecs.put_cluster(&demo);
    let rows = (0..active + stopped).map(|number| {
        let task = task(&demo, number, 5);
        events::row(&event(&if number < active { task } else { stopped_task(task) }, LONG_AGO))
    });
    dynamodb.fill(TASKS, rows.collect());
    // Each row is written once, when it is marked.
    let mut units = Vec::new();
    for expected in [
        json!({"scope": "table", "clusters": 1, "listed": active, "marked": active, "complete": true}),
        json!({"scope": "table", "clusters": 1, "listed": active, "complete": true}),
    ] {
        let (before, requests) = (proxy.units(), proxy.requests());
        assert_eq!(world.run("index").await, expected);
        units.push((proxy.units() - before, proxy.requests() - requests));
    }
    // The index's clusters: 2. Two pages of keys, 11 batches of rows at half a unit each. 32 segments of no instance.
    let (units, requests) = units[1];
    assert_eq!(requests, 2 + 2 + 11 + 32);
    assert!((550.0..800.0).contains(&units), "{units}");
}

#[tokio::test]
async fn without_the_index_a_run_scans() {
    let world = World::new().await;
    world.dynamodb.remove_index();
    let demo = cluster("demo");
    world.ecs.put_cluster(&demo);
    put_row(&world, &task(&demo, 1, 5));
    let answer = world.lambda.invoke(request("index")).await;
    assert_eq!(answer.body["scanned"], true, "{}", answer.body);
    assert_eq!(
        counts(answer.body),
        json!({"scope": "table", "clusters": 1, "listed": 1, "marked": 1, "complete": true})
    );
}
