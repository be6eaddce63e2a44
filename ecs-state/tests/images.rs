//! Which images run.

use serde_json::{Value, json};

use super::fixture::{Fixture, ago, cluster, row, stopped, task, with};

/// A task with containers of these images and digests, started 20 s after its creation.
fn running(cluster_name: &str, number: u32, service: &str, hours: i64, images: &[(&str, Value)]) -> Value {
    let container = |(image, digest): &(&str, Value)| json!({"name": "c", "image": image, "imageDigest": digest});
    let containers: Vec<Value> = images.iter().map(container).collect();
    with(task(cluster_name, &format!("{number:032}"), service, ago(hours, 0, 50)), json!({"containers": containers}))
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_listed_with_digest_tasks_age_and_groups() {
    let (one, two) = (format!("sha256:{}", "1a".repeat(32)), format!("sha256:{}", "2b".repeat(32)));
    for has_index in [true, false] {
        let fixture = Fixture::new(has_index).await;
        let tasks = [
            running("demo", 1, "web", 5, &[("registry/web:2", json!(one)), ("registry/web:2", json!(one))]),
            running("demo", 2, "web", 3, &[("registry/web:2", json!(two)), ("envoy:1", json!(two))]),
            running("other", 3, "api", 7, &[("registry/web:2", json!(one))]),
            // Its image has not been pulled.
            running("demo", 4, "etl", 1, &[("registry/etl:1", json!(null))]),
        ];
        fixture.put_details(&tasks);
        fixture.put_detail(&stopped(running("demo", 5, "web", 9, &[("old:1", json!(one))]), ago(1, 0, 0), json!({})));
        let done = fixture.run(&["images"]).await;
        let expected = "\
DIGEST                                                            TASKS  AGE  GROUPS                               IMAGE
2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b  1      3h   demo/service:web                     envoy:1
–                                                                 1      1h   demo/service:etl                     registry/etl:1
1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a  2      7h   demo/service:web, other/service:api  registry/web:2
2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b  1      3h   demo/service:web                     registry/web:2
";
        assert_eq!((done.stdout.as_str(), done.code), (expected, Some(0)), "{done:?}");
        assert_eq!(done.stderr.is_empty(), has_index, "{}", done.stderr);

        // Then, one task had not been created, and one had not stopped.
        let done = fixture.run(&["images", "--at", "90m"]).await;
        let expected = "\
DIGEST                                                            TASKS  AGE    GROUPS                               IMAGE
2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b  1      1h30m  demo/service:web                     envoy:1
1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a  1      7h30m  demo/service:web                     old:1
1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a  2      5h30m  demo/service:web, other/service:api  registry/web:2
2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b  1      1h30m  demo/service:web                     registry/web:2
";
        assert_eq!((done.stdout.as_str(), done.code), (expected, Some(0)), "{done:?}");

        // Only the containers that match, and in JSON.
        let started = |number: usize| tasks[number]["startedAt"].clone();
        let group = |name: &str, group: &str| json!({"clusterArn": cluster(name), "group": group});
        let [web, api] = [group("demo", "service:web"), group("other", "service:api")];
        let image = |digest: &str, tasks: u32, groups: &[&Value], since: Value| json!({"image": "registry/web:2", "imageDigest": digest, "tasks": tasks, "groups": groups, "since": since});
        let done = fixture.run(&["images", "--json", "--image", "web:2"]).await;
        assert_eq!(done.objects(), [image(&one, 2, &[&web, &api], started(2)), image(&two, 1, &[&web], started(1))]);
        let done = fixture.run(&["images", "--json", "--image", "1a1a", "--cluster", "demo"]).await;
        assert_eq!(done.objects(), [image(&one, 1, &[&web], started(0))]);

        // The same image in another account is another line.
        let elsewhere = tasks[3].to_string().replace("1:123456789012", "2:210987654321");
        fixture.put(&row(&serde_json::from_str(&elsewhere).unwrap(), ago(0, 0, 0)));
        let done = fixture.run(&["images", "--image", "etl"]).await;
        let expected = "\
DIGEST  ACCOUNT       REGION     TASKS  AGE  GROUPS            IMAGE
–       123456789012  eu-west-1  1      1h   demo/service:etl  registry/etl:1
–       210987654321  eu-west-2  1      1h   demo/service:etl  registry/etl:1
";
        assert_eq!(done.stdout, expected);
        let done = fixture.run(&["images", "--image", "none"]).await;
        assert_eq!((done.stdout.as_str(), done.code), ("", Some(1)));
        assert!(done.stderr.ends_with("no task that has not stopped matches\n"), "{done:?}");
    }
}
