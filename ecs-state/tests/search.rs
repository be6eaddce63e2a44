//! A task is found by its ARN, its id, or a part of its id.

use harness::proxy::Proxy;

use super::fixture::{Done, ECS, Fixture, ago, cluster, fleet, reading, run, split, task};

const ID: &str = "5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6";

async fn fixture(has_index: bool) -> Fixture {
    let fixture = Fixture::with(has_index, &fleet()).await;
    fixture.put_detail(&task("other", "5f1bffff6d7a4f0f8c3e2b1a09d8c7f6", "web", ago(1, 0, 0)));
    fixture
}

/// Searches for a task, and counts the requests.
async fn search(fixture: &Fixture, arguments: &[&str]) -> (Done, u64) {
    let proxy = Proxy::start(&fixture.dynamodb.url).await;
    (run(reading(&proxy.url, &[&["task", "--json"], arguments].concat())).await, proxy.requests())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_arn_or_an_id_with_the_arn_of_its_cluster_is_one_request() {
    for has_index in [true, false] {
        let fixture = fixture(has_index).await;
        let arn = format!("{ECS}:task/demo/{ID}");
        for arguments in [&[arn.as_str()][..], &[ID, "--cluster", &cluster("demo")]] {
            let (done, requests) = search(&fixture, arguments).await;
            assert_eq!((done.ids(), done.code, requests), (vec![ID.to_owned()], Some(0), 1));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_id_takes_one_request_per_cluster_and_three_more() {
    let fixture = fixture(true).await;
    for arguments in [&[ID][..], &[ID, "--cluster", "demo"]] {
        let (done, requests) = search(&fixture, arguments).await;
        // Two clusters, the end of the list, the batch, the row.
        assert_eq!((done.ids(), done.code, requests), (vec![ID.to_owned()], Some(0), 5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_an_id_is_enough_if_no_other_task_has_it() {
    for has_index in [true, false] {
        let fixture = fixture(has_index).await;
        let all = format!("5f1b9, 5F1B9, 9c0e6d, 5f1b --cluster demo, 5f1b --cluster {}", cluster("demo"));
        for arguments in split(&all) {
            let (done, _) = search(&fixture, &arguments).await;
            assert_eq!((done.ids(), done.code), (vec![ID.to_owned()], Some(0)), "{arguments:?}");
        }
        for arguments in split(&format!("5f1bz, 5f1b9 --cluster other, demo, {ECS}:task/demo/none")) {
            let (done, _) = search(&fixture, &arguments).await;
            assert_eq!((done.stdout.as_str(), done.code), ("", Some(1)), "{arguments:?}");
            assert!(done.stderr.contains("has the "), "{done:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_tasks_that_match_are_named() {
    for has_index in [true, false] {
        let (done, _) = search(&fixture(has_index).await, &["5f1b"]).await;
        assert_eq!((done.stdout.as_str(), done.code), ("", Some(2)));
        let error = format!(
            "error: 2 tasks have an id like 5f1b: give more of it, or the ARN\n  {ECS}:task/demo/{ID}\n  \
             {ECS}:task/other/5f1bffff6d7a4f0f8c3e2b1a09d8c7f6\n"
        );
        assert!(done.stderr.ends_with(&error), "{done:?}");
    }
}
