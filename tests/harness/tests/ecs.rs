//! The fake ECS API answers as ECS does.
#![allow(clippy::expect_used, reason = "a test that can't go on fails by panicking")]

use std::time::Duration;

use harness::ecs::{self, Ecs, Fault, Gone, Rule, Times};
use serde_json::{Value, json};

/// Calls an operation. Returns the status and the body.
async fn call(ecs: &Ecs, operation: &str, parameters: Value) -> reqwest::Result<(u16, String)> {
    let request = reqwest::Client::builder().no_proxy().build()?.post(&ecs.url);
    let response = request
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("AmazonEC2ContainerServiceV20141113.{operation}"))
        .header("authorization", "AWS4-HMAC-SHA256 Credential=local/20260302/eu-west-1/ecs/aws4_request, Signature=0")
        .body(parameters.to_string())
        .send()
        .await?;
    Ok((response.status().as_u16(), response.text().await?))
}

async fn answer(ecs: &Ecs, operation: &str, parameters: Value) -> Value {
    let (status, body) = call(ecs, operation, parameters).await.expect("a response");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

fn error(status: u16, code: &str, message: &str) -> (u16, String) {
    (status, json!({"__type": code, "message": message}).to_string())
}

#[tokio::test]
async fn lists_come_in_pages_that_contain_everything_once() {
    let ecs = Ecs::start().await;
    ecs.fleet(2, 25, 3);
    ecs.page_size(10);
    let cluster = ecs::cluster("fleet-001");
    let mut stopped = ecs::task(&cluster, 99, 7);
    stopped["desiredStatus"] = json!("STOPPED");
    ecs.put_task(&stopped);

    let mut parameters = json!({"cluster": cluster});
    let mut listed = Vec::new();
    loop {
        let mut page = answer(&ecs, "ListTasks", parameters.clone()).await;
        listed.append(page["taskArns"].as_array_mut().expect("ARNs"));
        match page["nextToken"].take() {
            Value::Null => break,
            token => parameters["nextToken"] = token,
        }
    }
    let states = ecs.states();
    let mut running: Vec<_> =
        states.iter().filter(|(of, task)| *of == cluster && task["taskArn"].is_string()).collect();
    running.retain(|(_, task)| task["desiredStatus"] == "RUNNING");
    assert_eq!(listed, running.iter().map(|(_, task)| task["taskArn"].clone()).collect::<Vec<_>>());
    assert_eq!(ecs.calls().len(), 3);

    let stopped_tasks = answer(&ecs, "ListTasks", json!({"cluster": cluster, "desiredStatus": "STOPPED"})).await;
    assert_eq!(stopped_tasks, json!({"taskArns": [stopped["taskArn"]]}));
    let foreign = call(&ecs, "ListClusters", parameters).await.expect("a response");
    assert_eq!(foreign, error(400, "InvalidParameterException", "Invalid token."));
}

#[tokio::test]
async fn descriptions_are_verbatim_and_say_what_is_missing() {
    let ecs = Ecs::start().await;
    let (demo, other) = (ecs::cluster("default"), ecs::cluster("other"));
    let text = format!(
        r#"{{"taskArn": "arn:task", "clusterArn": "{demo}", "desiredStatus":"RUNNING", "createdAt": 1.619719924711E9,
            "new": 123456789012345678901234567890, "tags": []}}"#
    );
    ecs.put_task_text(&text);
    ecs.put_cluster(&other);
    let describe = |cluster: String| call(&ecs, "DescribeTasks", json!({"cluster": cluster, "tasks": ["arn:task"]}));
    let missing = r#"{"tasks":[],"failures":[{"arn":"arn:task","reason":"MISSING"}]}"#;
    let there = format!(r#"{{"tasks":[{text}],"failures":[]}}"#);

    assert_eq!(describe(demo.clone()).await.expect("a response"), (200, there.clone()));
    assert_eq!(describe("default".to_owned()).await.expect("a response"), (200, there.clone()));
    assert_eq!(describe(other.clone()).await.expect("a response"), (200, missing.to_owned()));
    ecs.flap("arn:task", 1);
    assert_eq!(describe(demo.clone()).await.expect("a response"), (200, missing.to_owned()));
    assert_eq!(describe(demo.clone()).await.expect("a response"), (200, there));
    ecs.describe_as("arn:task", &json!({"createdAt": 1_619_719_924.711}), 1);
    let lagging = r#"{"tasks":[{"createdAt":1.619719924711E9}],"failures":[]}"#.to_owned();
    assert_eq!(describe(demo.clone()).await.expect("a response"), (200, lagging));
    ecs.forget("arn:task");
    assert_eq!(describe(demo.clone()).await.expect("a response"), (200, missing.to_owned()));

    for gone in [Gone::Inactive, Gone::Missing] {
        ecs.delete_cluster(&demo, gone);
        let not_found = error(400, "ClusterNotFoundException", "Cluster not found.");
        assert_eq!(describe(demo.clone()).await.expect("a response"), not_found);
        let clusters = answer(&ecs, "DescribeClusters", json!({"clusters": [demo]})).await;
        match gone {
            Gone::Inactive => assert_eq!(clusters["clusters"][0]["status"], "INACTIVE"),
            Gone::Missing => assert_eq!(clusters["failures"], json!([{"arn": demo, "reason": "MISSING"}])),
        }
    }
    let tasks = vec!["arn:task"; 101];
    let too_many = call(&ecs, "DescribeTasks", json!({"cluster": other, "tasks": tasks})).await.expect("a response");
    assert_eq!(too_many, error(400, "InvalidParameterException", "taskIds can have at most 100 items."));
}

#[tokio::test]
async fn faults_hit_the_requests_of_their_rule() {
    let ecs = Ecs::start().await;
    ecs.fleet(1, 3, 0);
    let list = || call(&ecs, "ListTasks", json!({"cluster": ecs::cluster("fleet-000")}));
    let all = list().await.expect("a response");

    ecs.inject(Rule::new(Fault::ServerError, Times::Always).operation("DescribeTasks"));
    ecs.inject(Rule::new(Fault::ServerError, Times::Always).cluster("arn:other"));
    ecs.inject(Rule::new(Fault::Throttled, Times::Every(2)).operation("ListTasks"));
    assert_eq!(list().await.expect("a response"), all);
    assert_eq!(list().await.expect("a response"), error(400, "ThrottlingException", "Rate exceeded"));
    assert_eq!(ecs.calls().iter().map(|call| call.refused).collect::<Vec<_>>(), [false, false, true]);
    ecs.clear_faults();

    ecs.inject(Rule::new(Fault::NotJson, Times::Once));
    assert_eq!(list().await.expect("a response").1, "<html><h1>Maintenance</h1></html>");
    ecs.inject(Rule::new(Fault::Closed, Times::Next(1)));
    assert!(list().await.expect_err("closed").is_request());
    ecs.inject(Rule::new(Fault::HalfAnswer, Times::Once));
    let half = list().await.expect_err("half a body");
    assert!(half.is_body() || half.is_decode(), "{half:?}");
    ecs.inject(Rule::new(Fault::Silence, Times::Once));
    assert!(tokio::time::timeout(Duration::from_millis(100), list()).await.is_err(), "a response");
    assert_eq!(list().await.expect("a response"), all);

    ecs.throttling(2, 1);
    assert_eq!(list().await.expect("a response"), all);
    assert_eq!(list().await.expect("a response"), all);
    assert_eq!(list().await.expect("a response"), error(400, "ThrottlingException", "Rate exceeded"));
    assert_eq!(call(&ecs, "ListClusters", json!({})).await.expect("a response").0, 200);
}
