//! Every failure is explained in a sentence that says what to do, and has its exit code.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use harness::dynamodb::{CONTAINER_INSTANCES, TASKS};
use harness::proxy::{Fault, Proxy};

use serde_json::{Value, json};

use super::fixture::{ECS, Fixture, binary, cluster, failed, fleet, reading, run, split};

const NOWHERE: &str = "http://127.0.0.1:1";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_found_is_code_1() {
    let hint = "no task matches; `ecs-state tasks` lists all tasks that have not stopped, with their clusters and \
                groups, and `ecs-state stopped` lists stopped tasks";
    let no_instance = "no container instance in the table \"ECSCtrInstanceState\" has the EC2 id i-1";
    for has_index in [true, false] {
        let fixture = Fixture::new(has_index).await;
        let cases: [(&[&str], &str); 7] = [
            (&["tasks"], hint),
            (&["stopped", "--since", "2026-03-02"], "no task that has stopped since 2026-03-02 00:00:00Z matches"),
            (&["services", "--since", "2026-03-02"], "no service with tasks since 2026-03-02 00:00:00Z matches"),
            (
                &["jobs", "--failing", "--since", "2026-03-02"],
                "no job with failed runs since 2026-03-02 00:00:00Z matches",
            ),
            (&["tasks", "--at", "2026-03-02"], "no task of 2026-03-02 00:00:00Z matches"),
            (&["instances"], "no container instance matches"),
            (&["tasks", "--instance", "i-1"], no_instance),
        ];
        for (arguments, message) in cases {
            assert_eq!(fixture.run(arguments).await, failed(1, message));
        }
        assert_eq!(fixture.run(&["task", "5f1b"]).await.code, Some(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_code_2() {
    let cases: [(&[&str], &str); 23] = [
        (&[], "Usage: ecs-state"),
        (&["task"], "<ID>"),
        (&["task", ""], "a value is required"),
        (&["tasks", "--limit", "0"], "must be an integer of at least 1"),
        (&["tasks", "--status", "runing"], "[possible values: PROVISIONING"),
        (&["tasks", "--status", "stopped"], "error: tasks in status STOPPED are listed by `ecs-state stopped`"),
        (&["stopped", "--status", "running"], "error: tasks in status RUNNING are listed by `ecs-state tasks`"),
        (&["stopped", "--missing"], "error: tasks that are missing in ECS are listed by `ecs-state tasks --missing`"),
        (&["stopped", "--since", "-1h"], "must be a duration such as 24h or 7d, or a time such as"),
        (&["stopped", "--since", "+12026-01-01"], "must be a duration such as 24h or 7d, or a time such as"),
        (&["tasks", "--at", "2126-03-02"], "must be in the past"),
        (&["stopped", "--until", "2126-03-02"], "must be in the past"),
        (
            &["services", "--since", "2026-03-02", "--at", "2026-03-01"],
            "error: the window must start before it ends: 2026-03-02 00:00:00Z is after 2026-03-01 00:00:00Z\n",
        ),
        (&["tasks", "--ip", "10.0.0"], "invalid IP address syntax"),
        (&["instances", "--account", "demo"], "must be an AWS account, 12 digits"),
        (&["watch", "--interval", "0s"], "must be a duration such as 5s or 1m"),
        (&["stopped", "--since", "yesterday"], "must be a duration such as 24h or 7d, or a time such as"),
        (&["watch"], "error: watch needs a terminal: for a program, use `ecs-state tasks --json`"),
        (&["watch", "services"], "error: watch needs a terminal: for a program, use `ecs-state services --json`"),
        (&["tasks", "--at", "1h", "--status", "activating"], "error: with --at, the status is PENDING, RUNNING or "),
        (&["jobs", "--service", "web"], "error: the group \"service:web\" is listed by `ecs-state services`"),
        (
            &["services", "--status", "running"],
            "error: a group's tasks are counted in every status: leave out --status",
        ),
        (&["services", "--group", "etl"], "error: the group \"etl\" is listed by `ecs-state jobs`"),
    ];
    for (arguments, message) in cases {
        let done = run(reading(NOWHERE, arguments)).await;
        assert!(
            done.code == Some(2) && done.stdout.is_empty() && done.stderr.contains(message),
            "{arguments:?} {done:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_is_named() {
    let fixture = Fixture::new(false).await;
    let no_table = |name: &str| {
        let others = "choose another table with --task-table or --container-instance-table, another account with \
                      --profile, another region with --region";
        failed(3, &format!("error: there is no table \"{name}\" in this account and region: {others}"))
    };
    for arguments in split("tasks, stopped, task 5f1b, task arn:aws:ecs:x, tasks --scan") {
        let mut command = fixture.command(&arguments);
        command.env("TASK_TABLE_NAME", "nope");
        assert_eq!(run(command).await, no_table("nope"), "{arguments:?}");
    }
    assert_eq!(fixture.run(&["instances", "--container-instance-table", "none"]).await, no_table("none"));
    // A flag overrides the variable, and an empty variable counts as absent.
    let mut command = fixture.command(&["tasks", "--task-table", TASKS]);
    command.env("TASK_TABLE_NAME", "nope").env("CONTAINER_INSTANCE_TABLE_NAME", "");
    assert_eq!(run(command).await.code, Some(1));
    let mut command = fixture.command(&["instances"]);
    command.env("CONTAINER_INSTANCE_TABLE_NAME", "");
    assert_eq!(run(command).await.code, Some(1), "{CONTAINER_INSTANCES}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_region_or_credentials_or_endpoint_is_code_3() {
    let mut command = binary(&["tasks"]);
    command.env_remove("AWS_REGION");
    let region = "error: AWS_REGION must be set to an AWS region such as eu-west-1, or use --region";
    assert_eq!(run(command).await, failed(3, region));

    let credentials = "error: no AWS credentials were found: sign in with `aws configure` or `aws sso login`, and \
                       check that the profile of --profile or AWS_PROFILE exists";
    let mut command = reading(NOWHERE, &["tasks"]);
    command.env_remove("AWS_ACCESS_KEY_ID");
    assert_eq!(run(command).await, failed(3, credentials));

    // An explicit profile overrides the credentials in the environment.
    assert_eq!(run(reading(NOWHERE, &["tasks", "--profile", "nope"])).await, failed(3, credentials));

    let endpoint = "error: DynamoDB could not be reached: connection refused. Check the region, the network, and \
                    AWS_ENDPOINT_URL_DYNAMODB if it is set";
    assert_eq!(run(reading(NOWHERE, &["tasks"])).await, failed(3, endpoint));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_dynamodb_says_what_to_do() {
    let fixture = Fixture::with(true, &fleet()).await;
    let refusals = [
        ("AccessDeniedException", "your role must allow dynamodb:Scan on the table \"ECSTaskState\" and its index\n"),
        ("ExpiredTokenException", "the AWS credentials are invalid or have expired"),
        ("UnrecognizedClientException", "the AWS credentials are invalid or have expired"),
        ("ValidationException", "dynamodb:Scan on the table \"ECSTaskState\" failed: ValidationException"),
        ("ThrottlingException", "DynamoDB kept throttling dynamodb:Scan on the table \"ECSTaskState\""),
    ];
    for (code, message) in refusals {
        let proxy = Proxy::start(&fixture.dynamodb.url).await;
        proxy.plan(move || Some(Fault::Refused(400, code)));
        let done = run(reading(&proxy.url, &["tasks"])).await;
        assert!(done.code == Some(3) && done.stdout.is_empty() && done.stderr.contains(message), "{code}: {done:?}");
        assert!(done.stderr.starts_with("error: "), "{done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transient_faults_are_retried() {
    let fixture = Fixture::with(true, &fleet()).await;
    for fault in [
        Fault::Refused(500, "InternalServerError"),
        Fault::Refused(400, "ProvisionedThroughputExceededException"),
        Fault::ResetBefore,
        Fault::Truncated,
        Fault::Down(Duration::from_millis(100)),
    ] {
        let proxy = Proxy::start(&fixture.dynamodb.url).await;
        proxy.fail_next(2, fault);
        let done = run(reading(&proxy.url, &["tasks", "--json"])).await;
        assert_eq!((done.ids().len(), done.code), (4, Some(0)), "{fault:?} {}", done.stderr);
    }
}

/// A fake DynamoDB that gives these answers in turn, and then repeats the last one.
async fn answering(answers: &'static [&'static str]) -> String {
    let number = Arc::new(AtomicUsize::new(0));
    let answer = async move || {
        let number = number.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        ([("x-amzn-requestid", "1")], answers[number])
    };
    harness::serve(axum::Router::new().fallback(answer)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_of_an_unknown_type_is_named_and_not_a_panic() {
    let future = answering(&[r#"{"Item": {"taskArn": {"S": "arn:aws:ecs:x"}, "cpu": {"DECIMAL": "1"}}}"#]).await;
    let done = run(reading(&future, &["task", "arn:aws:ecs:x"])).await;
    let warning = "warning: a field is left out: arn:aws:ecs:x: cpu must be what JSON can represent, found binary data \
                   or another type\n";
    assert_eq!((done.stderr.as_str(), done.code), (warning, Some(0)), "{done:?}");
    assert!(done.stdout.starts_with("arn:aws:ecs:x\n"), "{done:?}");
}

/// A proxy's empty answer is not "nothing found": every request notices.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_from_dynamodb_is_code_3() {
    let (arn, id) = (cluster("demo"), "5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6");
    let cases: [(&[&str], &str); 12] = [
        (&["tasks"], "dynamodb:Scan"),
        (&["tasks", "--cluster", &arn], "dynamodb:Query"),
        (&["tasks", "--scan"], "dynamodb:Scan"),
        (&["tasks", "--instance", "i-1"], "dynamodb:Scan"),
        (&["stopped"], "dynamodb:Scan"),
        (&["stopped", "--cluster", &arn], "dynamodb:Query"),
        (&["stopped", "--scan", "--json"], "dynamodb:Scan"),
        (&["task", "5f1b"], "dynamodb:Scan"),
        (&["task", id], "dynamodb:Scan"),
        (&["task", id, "--cluster", &arn], "dynamodb:GetItem"),
        (&["task", "arn:aws:ecs:x"], "dynamodb:GetItem"),
        (&["instances"], "dynamodb:Scan"),
    ];
    let proxy = harness::serve(axum::Router::new().fallback(async || "{}")).await;
    for (arguments, action) in cases {
        let table = if arguments.iter().any(|word| word.starts_with('i')) { CONTAINER_INSTANCES } else { TASKS };
        let error = format!(
            "error: {action} on the table \"{table}\" failed: the response is not from DynamoDB: check whether \
             AWS_ENDPOINT_URL_DYNAMODB or a proxy leads to something other than DynamoDB"
        );
        assert_eq!(run(reading(&proxy, arguments)).await, failed(3, &error), "{arguments:?}");
    }
}

/// DynamoDB may read one row of a batch at a time, and none in between, for as long as it takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_makes_progress_is_read_to_its_end() {
    const ROWS: usize = 12;
    let arn = |number: usize| format!("{ECS}:task/demo/{number:032x}");
    let item = move |number: usize| {
        json!({"taskArn": {"S": arn(number)}, "index_cluster": {"S": cluster("demo")},
               "index_state": {"S": "A#service:web#2026"}, "lastStatus": {"S": "RUNNING"}})
    };
    let batches = Arc::new(AtomicUsize::new(0));
    let answer = async move |request: String| {
        let items: Vec<Value> = (0..ROWS).map(item).collect();
        let answer = if request.contains("RequestItems") {
            let read = batches.fetch_add(1, Ordering::Relaxed);
            let keys: Vec<Value> =
                (read.div_ceil(2)..ROWS).map(|number| json!({"taskArn": {"S": arn(number)}})).collect();
            let left = if keys.is_empty() { json!({}) } else { json!({TASKS: {"Keys": keys}}) };
            let rows = if read % 2 == 1 { &items[read / 2..=read / 2] } else { &[] };
            json!({"Responses": {TASKS: rows}, "UnprocessedKeys": left})
        } else {
            json!({"Items": items})
        };
        ([("x-amzn-requestid", "1")], answer.to_string())
    };
    let url = harness::serve(axum::Router::new().fallback(answer)).await;
    let done = run(reading(&url, &["tasks", "--json", "--cluster", &cluster("demo")])).await;
    assert_eq!((done.ids().len(), done.stderr.as_str(), done.code), (ROWS, "", Some(0)));
}

/// The server ends the list after a few requests, so that the test ends in any case.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_returning_the_same_cluster_is_an_error() {
    const PAGE: &str = r#"{"Items": [{"taskArn": {"S": "arn:aws:ecs:x"}, "index_cluster": {"S": "demo"}}]}"#;
    const END: &str = r#"{"Items": []}"#;
    let url = answering(&[PAGE, PAGE, PAGE, PAGE, END]).await;
    let error = "error: dynamodb:Scan on the index of the table \"ECSTaskState\" restarted at the beginning: use \
                 --scan, or check whether AWS_ENDPOINT_URL_DYNAMODB leads to something other than DynamoDB";
    assert_eq!(run(reading(&url, &["tasks"])).await, failed(3, error));
}
