//! Descriptions of the API become states in the form of an event.

use serde_json::json;

use harness::ecs::{cluster, task};
use harness::events::reconciled_row;

use super::{World, arn, assert_recent, stopped};

#[tokio::test]
async fn every_kind_of_field_of_the_api_gets_the_form_of_an_event() {
    let world = World::new().await;
    let demo = cluster("demo");
    // The JSON of a field in the API, and the expected attribute.
    let cases = [
        // Rounded from its digits: as a float, the last one would be …710.
        (r#""createdAt": 1.619719924711E9"#, json!({"createdAt": {"S": "2021-04-29T18:12:04.711Z"}})),
        (r#""createdAt": 1619719924"#, json!({"createdAt": {"S": "2021-04-29T18:12:04.000Z"}})),
        (r#""createdAt": 1619719924.7114999999"#, json!({"createdAt": {"S": "2021-04-29T18:12:04.711Z"}})),
        (r#""createdAt": 1619719924.7115"#, json!({"createdAt": {"S": "2021-04-29T18:12:04.712Z"}})),
        (r#""createdAt": 16197199247115e-4"#, json!({"createdAt": {"S": "2021-04-29T18:12:04.712Z"}})),
        (r#""createdAt": 1619719924.9999"#, json!({"createdAt": {"S": "2021-04-29T18:12:05.000Z"}})),
        (r#""createdAt": 0"#, json!({"createdAt": {"S": "1970-01-01T00:00:00.000Z"}})),
        (r#""createdAt": 1e-9"#, json!({"createdAt": {"S": "1970-01-01T00:00:00.000Z"}})),
        (r#""createdAt": 253402300799.999"#, json!({"createdAt": {"S": "9999-12-31T23:59:59.999Z"}})),
        (r#""createdAt": 0.0000000001619719924711E19"#, json!({"createdAt": {"S": "2021-04-29T18:12:04.711Z"}})),
        // A value outside the years 1970 to 9999 stays as it is.
        (r#""createdAt": 253402300800"#, json!({"createdAt": {"N": "253402300800"}})),
        (r#""createdAt": 1e30"#, json!({"createdAt": {"N": "1000000000000000000000000000000"}})),
        (r#""createdAt": -1"#, json!({"createdAt": {"N": "-1"}})),
        (r#""createdAt": -1e-9"#, json!({"createdAt": {"N": "-0.000000001"}})),
        (r#""createdAt": "2026-03-02T09:14:28Z""#, json!({"createdAt": {"S": "2026-03-02T09:14:28Z"}})),
        (r#""createdAt": null"#, json!({"createdAt": {"NULL": true}})),
        (r#""connectivityAt": 1.5"#, json!({"connectivityAt": {"S": "1970-01-01T00:00:01.500Z"}})),
        (r#""executionStoppedAt": 1.5"#, json!({"executionStoppedAt": {"S": "1970-01-01T00:00:01.500Z"}})),
        (r#""pullStartedAt": 1.5"#, json!({"pullStartedAt": {"S": "1970-01-01T00:00:01.500Z"}})),
        (r#""pullStoppedAt": 1.5"#, json!({"pullStoppedAt": {"S": "1970-01-01T00:00:01.500Z"}})),
        (r#""startedAt": 1.5"#, json!({"startedAt": {"S": "1970-01-01T00:00:01.500Z"}})),
        (r#""stoppedAt": 1.5"#, json!({"stoppedAt": {"S": "1970-01-01T00:00:01.500Z"}})),
        (r#""stoppingAt": 1.5"#, json!({"stoppingAt": {"S": "1970-01-01T00:00:01.500Z"}})),
        // A field with another name is not a time.
        (r#""someAt": 1.5"#, json!({"someAt": {"N": "1.5"}})),
        (
            r#""attachments": [{"type": "ElasticNetworkInterface"}, {"type": "Service Connect"}, {}, 7]"#,
            json!({"attachments": {"L": [
                {"M": {"type": {"S": "eni"}}}, {"M": {"type": {"S": "Service Connect"}}}, {"M": {}}, {"N": "7"},
            ]}}),
        ),
        (r#""attachments": []"#, json!({"attachments": {"L": []}})),
        (
            r#""containers": [{"managedAgents": [{"name": "a", "lastStatus": "RUNNING", "lastStartedAt": 1.5,
                "reason": null}, {"lastStatus": "STOPPED", "status": "both"}], "networkBindings": []}, "odd"]"#,
            json!({"containers": {"L": [
                {"M": {
                    "managedAgents": {"L": [
                        {"M": {
                            "name": {"S": "a"}, "status": {"S": "RUNNING"}, "reason": {"NULL": true},
                            "lastStartedAt": {"S": "1970-01-01T00:00:01.500Z"},
                        }},
                        {"M": {"lastStatus": {"S": "STOPPED"}, "status": {"S": "both"}}},
                    ]},
                    "networkBindings": {"L": []},
                }},
                {"S": "odd"},
            ]}}),
        ),
        (
            r#""aNewField": {"digits": 0.10000000000000000000000000000000001}"#,
            json!({
                "aNewField": {"M": {"digits": {"N": "0.10000000000000000000000000000000001"}}},
            }),
        ),
        (r#""tags": [], "inferenceAccelerators": []"#, json!({"tags": {"L": []}, "inferenceAccelerators": {"L": []}})),
        (r#""healthStatus": "UNKNOWN""#, json!({"healthStatus": {"S": "UNKNOWN"}})),
        // A terminal state expires 30 days after it stopped.
        (
            r#""lastStatus": "STOPPED", "stoppedAt": 1619719924.9999"#,
            json!({
                "lastStatus": {"S": "STOPPED"}, "stoppedAt": {"S": "2021-04-29T18:12:05.000Z"},
                "expires_at": {"N": "1622311925"},
            }),
        ),
        (r#""status": "odd""#, json!({"current_status": {"S": "odd"}})),
    ];
    let arn = |number: usize| format!("arn:aws:ecs:eu-west-1:123456789012:task/demo/{number:032}");
    for (number, (fields, _)) in cases.iter().enumerate() {
        world.ecs.put_task_text(&format!(
            r#"{{"taskArn": "{}", "clusterArn": "{demo}", "desiredStatus": "RUNNING", "version": 7, {fields}}}"#,
            arn(number)
        ));
    }
    assert_eq!(world.run("fleet").await["stored"], cases.len());
    for (number, (fields, expected)) in cases.into_iter().enumerate() {
        let mut row = world.row(&arn(number));
        let attributes = row.as_object_mut().unwrap();
        assert_recent(&attributes.remove("reconciled_at").unwrap());
        for (name, value) in [
            ("taskArn", json!({"S": arn(number)})),
            ("clusterArn", json!({"S": demo})),
            ("desiredStatus", json!({"S": "RUNNING"})),
            ("version", json!({"N": "7"})),
            ("index_cluster", json!({"S": demo})),
        ] {
            assert_eq!(attributes.remove(name), Some(value));
        }
        assert!(attributes.remove("index_state").is_some());
        assert_eq!(row, expected, "{fields}");
    }
}

/// From <https://docs.aws.amazon.com/cli/latest/reference/ecs/describe-tasks.html>.
#[tokio::test]
async fn the_task_in_the_documentation_of_aws_gets_the_form_of_an_event() {
    let world = World::new().await;
    let cluster = "arn:aws:ecs:us-west-2:123456789012:cluster/MyCluster";
    let task = json!({
        "taskArn": "arn:aws:ecs:us-west-2:123456789012:task/MyCluster/1234567890123456789",
        "clusterArn": cluster,
        "taskDefinitionArn": "arn:aws:ecs:us-west-2:123456789012:task-definition/sample-fargate:2",
        "overrides": {"containerOverrides": [{"name": "fargate-app"}]},
        "lastStatus": "RUNNING", "desiredStatus": "RUNNING", "cpu": "256", "memory": "512",
        "containers": [{
            "containerArn": "arn:aws:ecs:us-west-2:123456789012:container/a1b2c3d4-5678-90ab-cdef-11111EXAMPLE",
            "taskArn": "arn:aws:ecs:us-west-2:123456789012:task/MyCluster/1234567890123456789",
            "name": "fargate-app", "lastStatus": "RUNNING", "networkBindings": [],
            "networkInterfaces": [
                {"attachmentId": "a1b2c3d4-5678-90ab-cdef-22222EXAMPLE", "privateIpv4Address": "10.0.0.4"},
            ],
            "healthStatus": "UNKNOWN", "cpu": "0",
        }],
        "startedBy": "ecs-svc/1234567890123456789", "version": 3, "connectivity": "CONNECTED",
        "connectivityAt": 1_557_134_016.971, "pullStartedAt": 1_557_134_025.379, "pullStoppedAt": 1_557_134_033.379,
        "createdAt": 1_557_134_011.644, "startedAt": 1_557_134_035.379, "group": "service:fargate-service",
        "launchType": "FARGATE", "platformVersion": "1.3.0",
        "attachments": [{
            "id": "a1b2c3d4-5678-90ab-cdef-33333EXAMPLE", "type": "ElasticNetworkInterface", "status": "ATTACHED",
            "details": [
                {"name": "subnetId", "value": "subnet-12344321"},
                {"name": "networkInterfaceId", "value": "eni-12344321"},
                {"name": "macAddress", "value": "0a:90:09:84:f9:14"},
                {"name": "privateIPv4Address", "value": "10.0.0.4"},
            ],
        }],
        "healthStatus": "UNKNOWN", "tags": [],
    });
    world.ecs.put_task(&task);
    assert_eq!(world.run("fleet").await["stored"], 1);
    let row = world.row(arn(&task));
    assert_eq!(row, reconciled_row(cluster, &task, &row));
    assert_eq!(row["createdAt"], json!({"S": "2019-05-06T09:13:31.644Z"}));
    assert_eq!(row["attachments"]["L"][0]["M"]["type"], json!({"S": "eni"}));
}

#[tokio::test]
async fn a_container_instance_of_the_api_gets_the_form_of_an_event() {
    let world = World::new().await;
    let demo = cluster("demo");
    let arn = "arn:aws:ecs:eu-west-1:123456789012:container-instance/demo/1";
    world.ecs.put_container_instance_text(
        &demo,
        &format!(
            r#"{{"containerInstanceArn": "{arn}", "version": 3, "status": "ACTIVE", "registeredAt": 1.5,
            "attachments": [{{"type": "ElasticNetworkInterface"}}],
            "registeredResources": [{{"name": "CPU", "type": "INTEGER", "doubleValue": 0.0, "integerValue": 2048}}],
            "healthStatus": {{"overallStatus": "OK", "details": [
                {{"lastUpdated": 1.5, "lastStatusChange": 2.25, "other": 1.5}}]}}, "tags": []}}"#
        ),
    );
    assert_eq!(world.run("fleet").await["stored"], 1);
    let row = world.row(arn);
    assert_recent(&row["reconciled_at"]);
    let expected = json!({
        "containerInstanceArn": {"S": arn}, "version": {"N": "3"}, "clusterArn": {"S": demo},
        "current_status": {"S": "ACTIVE"}, "registeredAt": {"S": "1970-01-01T00:00:01.500Z"},
        "attachments": {"L": [{"M": {"type": {"S": "eni"}}}]},
        "registeredResources": {"L": [{"M": {
            "name": {"S": "CPU"}, "type": {"S": "INTEGER"}, "doubleValue": {"N": "0"}, "integerValue": {"N": "2048"},
        }}]},
        "healthStatus": {"M": {"overallStatus": {"S": "OK"}, "details": {"L": [{"M": {
            "lastUpdated": {"S": "1970-01-01T00:00:01.500Z"}, "lastStatusChange": {"S": "1970-01-01T00:00:02.250Z"},
            "other": {"N": "1.5"},
        }}]}}},
        "tags": {"L": []}, "reconciled_at": row["reconciled_at"],
    });
    assert_eq!(row, expected);
}

#[tokio::test]
async fn the_retention_of_a_stopped_state_without_a_time_starts_when_it_is_reconciled() {
    let world = World::new().await;
    let mut task = stopped(task(&cluster("demo"), 1, 5));
    task.as_object_mut().unwrap().remove("stoppedAt");
    world.ecs.put_task(&task);
    world.run("fleet").await;
    let row = world.row(arn(&task));
    assert_eq!(row, reconciled_row(&cluster("demo"), &task, &row));
    assert!(row.get("expires_at").is_some());
}

#[tokio::test]
async fn overridden_environment_variables_are_redacted_if_configured() {
    let world = World::with(&[("REDACT_ENVIRONMENT", "true")]).await;
    let task = task(&cluster("demo"), 1, 5);
    world.ecs.put_task(&task);
    world.run("fleet").await;
    let row = world.row(arn(&task));
    let environment = &row["overrides"]["M"]["containerOverrides"]["L"][0]["M"]["environment"];
    let expected = json!({"L": [{"M": {"name": {"S": "FEATURE_FLAGS"}, "value": {"S": "[redacted]"}}}]});
    assert_eq!(*environment, expected);
}
