//! Values that may be secret are shown only on request, and redacted values never.

use harness::dynamodb::TASKS;
use serde_json::json;

use super::fixture::{Fixture, ago, row, task, with};

const ID: &str = "5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6";

async fn fixture() -> Fixture {
    let fixture = Fixture::new(true).await;
    let environment = json!([{"name": "TOKEN", "value": "hunter2"}, {"name": "KEY", "value": "[redacted]"},
                             {"name": "NEW", "value": "x", "valueFrom": "hunter3"}]);
    let container = json!({"name": "web", "command": ["run", "--password", "hunter4"], "environment": environment,
                           "memory": 256, "entryPoint": ["hunter5"]});
    let overrides = json!({"containerOverrides": [container], "newer": {"environment": "hunter6"}});
    fixture.put_detail(&with(task("demo", ID, "web", ago(1, 0, 0)), json!({"overrides": overrides})));
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn overridden_values_and_commands_are_hidden_by_default() {
    let fixture = fixture().await;
    for arguments in [&["task", ID][..], &["task", ID, "--json"], &["tasks", "--json"], &["tasks"]] {
        let done = fixture.run(arguments).await;
        assert!(done.code == Some(0) && !format!("{done:?}").contains("hunter"), "{done:?}");
    }
    let done = fixture.run(&["task", ID]).await;
    let (_, overrides) = done.stdout.split_once("Overrides of this run (--show-environment shows all)\n").unwrap();
    assert_eq!(
        overrides,
        "  web  command: [hidden]\n  web  TOKEN=[hidden]\n  web  KEY=[redacted]\n  web  NEW=[hidden]\n  \
           web  256 MiB of memory\n\n\
         Next\n  log    ecs-state logs 5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6\n"
    );
    let done = fixture.run(&["tasks", "--json"]).await;
    assert_eq!(
        done.objects()[0]["overrides"]["containerOverrides"][0],
        json!({"name": "web", "command": ["[hidden]"], "memory": 256, "entryPoint": "[hidden]", "environment": [
            {"name": "TOKEN", "value": "[hidden]"}, {"name": "KEY", "value": "[redacted]"},
            {"name": "NEW", "value": "[hidden]", "valueFrom": "[hidden]"}]})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn overridden_values_are_shown_on_request() {
    let fixture = fixture().await;
    let done = fixture.run(&["task", ID, "--show-environment"]).await;
    let (_, overrides) = done.stdout.split_once("Overrides of this run\n").unwrap();
    assert_eq!(
        overrides,
        "  web  command: run --password hunter4\n  web  TOKEN=hunter2\n  web  KEY=[redacted]\n  web  NEW=x\n  \
           web  256 MiB of memory\n\n\
         Next\n  log    ecs-state logs 5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6\n"
    );
    for arguments in [&["task", ID, "--json", "--show-environment"][..], &["tasks", "--json", "--show-environment"]] {
        let done = fixture.run(arguments).await;
        let found = &done.objects()[0]["overrides"]["containerOverrides"][0];
        assert_eq!((&found["command"][2], &found["environment"][0]["value"]), (&json!("hunter4"), &json!("hunter2")));
    }
}

/// The row is shown without the field. Where a filter does not admit it, that may be why: it counts as not read.
#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_cannot_be_read_is_named_without_its_value_and_the_rest_is_shown() {
    const BROKEN: &str = "a81c2d3e4f5061728394a5b6c7d8e9f0";
    let fixture = fixture().await;
    let mut broken = row(&task("demo", BROKEN, "web", ago(2, 0, 0)), ago(2, 0, 0));
    broken["overrides"] = json!({"M": {"containerOverrides": {"S": "hunter5"}}});
    broken["containers"]["L"][0]["M"]["exitCode"] = json!({"S": "hunter6"});
    broken["expires_at"] = json!({"S": "hunter7"});
    broken["tags"] = json!({"B": "aHVudGVyOA=="});
    fixture.put(&broken);
    let arn = broken["taskArn"]["S"].as_str().unwrap();
    let problems = [
        "containers[0].exitCode must be an integer, found a string",
        "expires_at must be a time, in RFC 3339 or in seconds since 1970, found a string",
        "overrides.containerOverrides must be an array, found a string",
        "tags must be what JSON can represent, found binary data or another type",
    ];
    let fields = problems.map(|problem| format!("warning: a field is left out: {arn}: {problem}\n")).concat();
    for access in [&[][..], &["--scan"]] {
        let done = fixture.run(&[&["tasks", "--json"], access].concat()).await;
        assert_eq!((done.ids(), done.code), (vec![BROKEN.to_owned(), ID.to_owned()], Some(0)), "{done:?}");
        assert!(done.stderr.ends_with(&fields), "{done:?}");
        let found = &done.objects()[0];
        assert_eq!((&found["group"], &found["overrides"]), (&json!("service:web"), &json!({})), "{found}");
        assert_eq!(found["containers"][0]["image"], "registry/web:2.4.1");
        let done = fixture.run(&[&["tasks", "--json", "--image", "api"], access].concat()).await;
        assert_eq!((done.stdout.as_str(), done.code), ("", Some(3)), "{done:?}");
        assert!(done.stderr.ends_with(&format!("warning: a row is left out: {arn}: {}\n", problems[0])), "{done:?}");
    }
    let done = fixture.run(&["task", arn]).await;
    assert!(done.stdout.contains("registry/web:2.4.1") && !done.stdout.contains("hunter"), "{done:?}");
    assert_eq!((done.stderr, done.code), (fields, Some(0)));
    assert_eq!(fixture.dynamodb.rows(TASKS).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_too_many_fields_that_cannot_be_read_is_left_out() {
    const BROKEN: &str = "a81c2d3e4f5061728394a5b6c7d8e9f0";
    let fixture = fixture().await;
    let mut broken = row(&task("demo", BROKEN, "web", ago(2, 0, 0)), ago(2, 0, 0));
    broken["containers"] = json!({"L": vec![json!({"S": "hunter5"}); 30_000]});
    fixture.put(&broken);
    let warning = format!(
        "warning: a row is left out: {}: containers[0] must be an object, found a string\n",
        broken["taskArn"]["S"].as_str().unwrap()
    );
    let done = fixture.run(&["tasks", "--json"]).await;
    assert_eq!((done.ids(), done.stderr, done.code), (vec![ID.to_owned()], warning, Some(3)));
}
