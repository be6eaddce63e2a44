//! Faults of ECS and DynamoDB, and the rate of calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::HeaderMap;
use serde_json::{Value, json};

use harness::dynamodb::{CONTAINER_INSTANCES, TASKS};
use harness::ecs::{Fault, Rule, Times, cluster, container_instance, task};
use harness::events::reconciled_row;

use super::{SECRET, World, arn};

/// A fake DynamoDB that leaves keys unprocessed this many times.
async fn hesitant_dynamodb(times: usize) -> String {
    let left = Arc::new(Mutex::new(times));
    let respond = move |headers: HeaderMap, body: String| async move {
        let request: Value = serde_json::from_str(&body).unwrap();
        let is_read = headers["x-amz-target"].to_str().unwrap().ends_with("BatchGetItem");
        let mut left = left.lock().unwrap();
        let answer = if is_read && *left > 0 {
            *left -= 1;
            json!({"Responses": {}, "UnprocessedKeys": request["RequestItems"]})
        } else if is_read {
            let task = task(&cluster("demo"), 1, 5);
            let row = json!({"taskArn": {"S": arn(&task)}, "version": {"N": "5"}});
            json!({"Responses": {TASKS: [row]}, "UnprocessedKeys": {}})
        } else {
            json!({})
        };
        ([("x-amzn-requestid", "1")], answer.to_string())
    };
    harness::serve(Router::new().fallback(respond)).await
}

#[tokio::test]
async fn keys_that_dynamodb_leaves_unprocessed_are_requested_again_and_do_not_count_as_absent() {
    for (times, message) in [(3, None), (100, Some("DynamoDB repeatedly left some rows unread"))] {
        let world = World::with(&[("AWS_ENDPOINT_URL_DYNAMODB", &hesitant_dynamodb(times).await)]).await;
        world.ecs.put_task(&task(&cluster("demo"), 1, 5));
        match message {
            None => {
                let expected = json!({"scope": "fleet", "clusters": 1, "listed": 1, "unchanged": 1, "complete": true});
                assert_eq!(world.run("fleet").await, expected);
            }
            Some(expected) => {
                let (_, message) = world.fail("fleet").await;
                assert!(message.contains(expected), "{message}");
            }
        }
    }
}

#[tokio::test]
async fn a_transient_fault_of_ecs_is_retried() {
    for fault in [Fault::Throttled, Fault::ServerError, Fault::HalfAnswer, Fault::Closed] {
        let world = World::new().await;
        world.ecs.put_task(&task(&cluster("demo"), 1, 5));
        world.ecs.inject(Rule::new(fault, Times::Every(2)));
        let expected = json!({"scope": "fleet", "clusters": 1, "listed": 1, "stored": 1, "complete": true});
        assert_eq!(world.run("fleet").await, expected, "{fault:?}");
        world.assert_equal_to_ecs();
    }
}

#[tokio::test]
async fn a_permanent_fault_fails_only_its_part_and_the_error_names_it() {
    for (fault, reason) in [
        (Fault::Throttled, "ThrottlingException (HTTP 400)"),
        (Fault::ServerError, "ServerException (HTTP 500)"),
        (Fault::AccessDenied, "AccessDeniedException (HTTP 400); the function's role must allow it"),
        (Fault::HalfAnswer, "the connection failed"),
        (Fault::Closed, "the connection failed"),
        (Fault::NotJson, "the response is not from AWS"),
        (Fault::Foreign("the password is hunter2"), "no AWS error code (HTTP 400); check the endpoint"),
        (Fault::Foreign("hunter2"), "no AWS error code (HTTP 400); check the endpoint"),
    ] {
        let world = World::new().await;
        let (good, bad) = (cluster("good"), cluster("bad"));
        for cluster in [&good, &bad] {
            let mut task = task(cluster, 1, 5);
            task["overrides"]["containerOverrides"][0]["environment"][0]["value"] = json!(SECRET);
            world.ecs.put_task(&task);
            world.ecs.put_container_instance(cluster, &container_instance(cluster, 1, 5));
        }
        world.ecs.inject(Rule::new(fault, Times::Always).operation("DescribeTasks").cluster(&bad));
        let (error_type, message) = world.fail("fleet").await;
        assert_eq!(error_type, "Incomplete");
        assert!(message.contains(&format!("DescribeTasks of {bad}: {reason}")), "{message}");
        assert!(message.starts_with("1 part of the run failed, and the next run repeats them: "), "{message}");
        assert_eq!(world.rows().len(), 3, "{fault:?}");
        let log = world.lambda.log();
        let line: Value = serde_json::from_str(log.lines().nth(1).unwrap()).unwrap();
        assert_eq!((&line["stored"], &line["failures"], &line["complete"]), (&json!(3), &json!(1), &json!(true)));
        assert!(!message.contains(SECRET) && !log.contains(SECRET));
        // The next run repeats it.
        world.ecs.clear_faults();
        assert_eq!(world.run("fleet").await["stored"], 1);
    }
}

#[tokio::test]
async fn a_page_that_fails_keeps_what_the_previous_pages_listed() {
    let world = World::new().await;
    world.ecs.page_size(1);
    (0..3).for_each(|number| world.ecs.put_task(&task(&cluster("demo"), number, 5)));
    world.ecs.inject(Rule::new(Fault::AccessDenied, Times::Every(2)).operation("ListTasks"));
    let (error_type, message) = world.fail("fleet").await;
    assert_eq!(error_type, "Incomplete");
    assert!(message.contains("ListTasks"), "{message}");
    assert_eq!(world.rows().len(), 1);
}

#[tokio::test]
async fn a_listed_task_that_ecs_does_not_describe_is_a_failure_unless_it_is_missing() {
    let world = World::new().await;
    let [denied, gone, odd] = [1, 2, 3].map(|number| task(&cluster("demo"), number, 5));
    for task in [&denied, &gone, &odd] {
        world.ecs.put_task(task);
    }
    world.ecs.fail_description(arn(&denied), "ACCESS_DENIED", 1);
    world.ecs.flap(arn(&gone), 1);
    world.ecs.fail_description(arn(&odd), "the password is hunter2", 1);
    let (_, message) = world.fail("fleet").await;
    assert!(message.starts_with("2 parts of the run failed"), "{message}");
    assert!(message.contains("ACCESS_DENIED") && message.contains("an unknown reason"), "{message}");
    assert!(!message.contains(SECRET), "{message}");
}

#[tokio::test]
async fn an_outage_does_not_use_up_the_retries() {
    let world = World::new().await;
    // An operation that always fails, often enough to use up the SDK's bucket of retries.
    (0..60).for_each(|number| world.ecs.put_task(&task(&cluster(&format!("c{number}")), 1, 5)));
    world.ecs.inject(Rule::new(Fault::Closed, Times::Always).operation("DescribeTasks"));
    world.lambda.set_timeout(Duration::from_secs(35));
    world.lambda.invoke(r#"{"scope": "fleet"}"#).await;
    world.ecs.clear_faults();
    world.ecs.inject(Rule::new(Fault::Closed, Times::Next(2)).operation("ListClusters"));
    let before = world.ecs.calls().len();
    world.lambda.set_timeout(Duration::from_secs(15));
    let answer = world.lambda.invoke(r#"{"scope": "fleet"}"#).await;
    let lists = world.ecs.calls().into_iter().skip(before).filter(|call| call.operation == "ListClusters").count();
    assert_eq!(lists, 3, "{}", answer.body);
}

#[tokio::test]
async fn a_mix_of_all_faults_leaves_no_wrong_row_and_the_next_run_does_the_rest() {
    let world = World::new().await;
    world.ecs.page_size(5);
    for name in ["one", "two", "three"] {
        (0..12).for_each(|number| world.ecs.put_task(&task(&cluster(name), number, 5)));
        world.ecs.put_container_instance(&cluster(name), &container_instance(&cluster(name), 1, 5));
    }
    for (fault, every) in [
        (Fault::Throttled, 4),
        (Fault::ServerError, 5),
        (Fault::Closed, 7),
        (Fault::HalfAnswer, 9),
        (Fault::NotJson, 11),
        (Fault::AccessDenied, 13),
    ] {
        world.ecs.inject(Rule::new(fault, Times::Every(every)));
    }
    world.lambda.invoke(r#"{"scope": "fleet"}"#).await;
    let states: BTreeMap<String, Value> =
        world.ecs.states().into_iter().map(|(_, state)| (arn(&state).to_owned(), state)).collect();
    for (arn, row) in world.rows() {
        let cluster = row["clusterArn"]["S"].as_str().unwrap();
        assert_eq!(row, reconciled_row(cluster, &states[&arn], &row));
    }
    world.ecs.clear_faults();
    world.run("fleet").await;
    world.assert_equal_to_ecs();
}

#[tokio::test]
async fn no_response_from_ecs_is_an_error() {
    let world = World::new().await;
    world.ecs.put_task(&task(&cluster("demo"), 1, 5));
    world.ecs.inject(Rule::new(Fault::Silence, Times::Always));
    let start = Instant::now();
    let (error_type, message) = world.fail("fleet").await;
    assert_eq!(error_type, "Incomplete");
    assert!(
        message
            .ends_with("ListClusters: no response within 10 s; check the network routes and the AWS Health Dashboard"),
        "{message}"
    );
    assert!(start.elapsed() < Duration::from_mins(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_fault_of_dynamodb_fails_only_its_part() {
    let world = World::new().await;
    world.ecs.put_task(&task(&cluster("demo"), 1, 5));
    world.ecs.put_container_instance(&cluster("demo"), &container_instance(&cluster("demo"), 1, 5));
    world.dynamodb.delete_table(TASKS);
    let (error_type, message) = world.fail("fleet").await;
    assert_eq!(error_type, "Incomplete");
    assert!(message.contains("reading the rows of"), "{message}");
    assert!(message.contains("ResourceNotFoundException"), "{message}");
    assert_eq!(world.dynamodb.rows(CONTAINER_INSTANCES).len(), 1);
}

#[tokio::test]
async fn a_malformed_object_fails_alone() {
    let world = World::new().await;
    let demo = cluster("demo");
    world.ecs.put_task(&task(&demo, 1, 5));
    let mut odd = task(&demo, 2, 5);
    odd["version"] = json!(SECRET);
    world.ecs.put_task(&odd);
    let (error_type, message) = world.fail("fleet").await;
    assert_eq!(error_type, "Incomplete");
    let expected = format!("DescribeTasks of {demo}: version of {} must be an integer", arn(&odd));
    assert!(message.contains(&expected), "{message}");
    assert!(!message.contains(SECRET) && !world.lambda.log().contains(SECRET));
    assert_eq!(world.rows().len(), 1);
}

#[tokio::test]
async fn calls_keep_to_their_rate_including_retries() {
    let world = World::with(&[("ECS_CALLS_PER_SECOND", "10")]).await;
    world.ecs.throttling(3, 5);
    (0..3).for_each(|number| world.ecs.put_task(&task(&cluster(&format!("c{number}")), 1, 5)));
    assert_eq!(world.run("fleet").await["stored"], 3);
    let calls = world.ecs.calls();
    assert!(calls.iter().any(|call| call.refused), "nothing was throttled");
    for pair in calls.windows(6) {
        let took = pair[5].at - pair[0].at;
        // Five intervals of 100 ms, minus differences in latency.
        assert!(took >= Duration::from_millis(480), "{took:?}");
    }
    let log = world.lambda.log();
    let line: Value = serde_json::from_str(log.lines().nth(1).unwrap()).unwrap();
    assert_eq!(line["calls"], calls.len());
}
