//! Every filter gives the right answer in the right order, through the index and by a scan.

use chrono::{TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use super::fixture::{ECS, Fixture, container_instance, row, stopped, task, time, with};

/// Tasks that differ in everything that can be filtered by.
fn tasks(random: &mut StdRng) -> Vec<Value> {
    let now = Utc::now();
    (0..120)
        .map(|number| {
            let mut pick = |names: &[&str]| names[random.random_range(0..names.len())].to_owned();
            let (cluster, service) = (pick(&["demo", "other", "a#b"]), pick(&["web", "web2", "api", "a#b", "a"]));
            // All at different times: the index does not order tasks with the same time.
            let created = now - TimeDelta::minutes(number * 20) - TimeDelta::hours(50);
            // The same IPv6 address, as two programs write it.
            let ipv6 = pick(&["2001:db8::7", "2001:0DB8:0:0:0:0:0:7", "2001:db8::77"]);
            let fields = json!({
                "attachments": [{"details": [
                    {"name": "privateIPv4Address", "value": pick(&["10.0.0.7", "10.0.0.70"])},
                    {"name": "macAddress", "value": "06:00:00:00:00:07"}, {"name": "subnetId"},
                ]}],
                "group": pick(&["service:web", "service:a", "service:a#b", "family:web", "a", "a#b", ""]),
                "startedBy": pick(&["cron", "ecs-svc/1", "ecs-svc/2"]),
                "taskDefinitionArn": format!("{ECS}:task-definition/{}", pick(&["web:1", "web:42", "web2:1"])),
                "lastStatus": pick(&["RUNNING", "PENDING", "STOPPING", "STOPPED", "STOPPED", "DELETED"]),
                "stoppedAt": time(created + TimeDelta::hours(49)),
                "containerInstanceArn": format!("{ECS}:container-instance/{cluster}/{}", pick(&["aaa", "bbb"])),
                "containers": [{"name": "web", "image": pick(&["registry/web:1", "registry/web:12"]),
                                "imageDigest": pick(&["sha256:aa", "sha256:bb"]),
                                "networkInterfaces": [{"privateIpv4Address": pick(&["10.0.0.7", "10.0.1.7"])},
                                                      {"ipv6Address": ipv6}]}],
            });
            let mut task = with(task(&cluster, &format!("{number:032x}"), &service, created), fields);
            if ["STOPPED", "DELETED"].contains(&task["lastStatus"].as_str().unwrap()) {
                let status = task["lastStatus"].clone();
                task = stopped(task, created + TimeDelta::hours(49), json!({"lastStatus": status}));
            } else {
                task.as_object_mut().unwrap().remove("stoppedAt");
            }
            // Some fields are absent in old tasks.
            for name in ["group", "startedBy", "containers", "attachments"] {
                if random.random_bool(0.1) {
                    task.as_object_mut().unwrap().remove(name);
                }
            }
            if random.random_bool(0.3) {
                task = serde_json::from_str(&task.to_string().replace("1:123456789012", "2:210987654321")).unwrap();
            }
            task
        })
        .collect()
}

fn text<'t>(task: &'t Value, name: &str) -> &'t str {
    task[name].as_str().unwrap_or_default()
}

/// Whether any field of a task has this value.
fn has(task: &Value, value: &str) -> bool {
    task.to_string().contains(&format!(":\"{value}\""))
}

type Expected = fn(&Value) -> bool;

const OTHER: &str = "arn:aws:ecs:eu-west-1:123456789012:cluster/other";
const INSTANCE: &str = "arn:aws:ecs:eu-west-1:123456789012:container-instance/demo/aaa";

/// A filter, and an independent definition of what it means.
const FILTERS: &[(&[&str], Expected)] = &[
    (&[], |_| true),
    (&["--cluster", "demo"], |task| text(task, "clusterArn").ends_with("/demo")),
    (&["--cluster", "a#b"], |task| text(task, "clusterArn").ends_with("/a#b")),
    (&["--cluster", OTHER], |task| text(task, "clusterArn") == OTHER),
    (&["--account", "210987654321"], |task| text(task, "taskArn").contains(":210987654321:")),
    (&["--account", "123456789012", "--cluster", "demo"], |task| {
        text(task, "clusterArn").ends_with(":123456789012:cluster/demo")
    }),
    (&["--cluster", "dem"], |_| false),
    (&["--service", "web"], |task| text(task, "group") == "service:web"),
    (&["--service", "service:web"], |task| text(task, "group") == "service:web"),
    (&["--service", "a"], |task| text(task, "group") == "service:a"),
    (&["--service", "a#b"], |task| text(task, "group") == "service:a#b"),
    (&["--group", "a"], |task| text(task, "group") == "a"),
    (&["--group", "family:web"], |task| text(task, "group") == "family:web"),
    (&["--group", ""], |task| text(task, "group").is_empty()),
    (&["--family", "web"], |task| text(task, "taskDefinitionArn").contains("/web:")),
    (&["--family", "web:42"], |task| text(task, "taskDefinitionArn").ends_with("/web:42")),
    (&["--family", "42"], |_| false),
    (&["--started-by", "ecs-svc/1"], |task| text(task, "startedBy") == "ecs-svc/1"),
    (&["--image", "web:12"], |task| text(&task["containers"][0], "image") == "registry/web:12"),
    (&["--image", "sha256:bb"], |task| text(&task["containers"][0], "imageDigest") == "sha256:bb"),
    (&["--instance", "aa"], |task| text(task, "containerInstanceArn").ends_with("/aaa")),
    (&["--instance", "aaa"], |task| text(task, "containerInstanceArn").ends_with("/aaa")),
    (&["--instance", INSTANCE], |task| text(task, "containerInstanceArn") == INSTANCE),
    (&["--instance", "i-0abc"], |task| text(task, "containerInstanceArn") == INSTANCE),
    (&["--ip", "10.0.0.7"], |task| has(task, "10.0.0.7")),
    (&["--ip", "10.0.0.70"], |task| has(task, "10.0.0.70")),
    (&["--ip", "10.0.0.8"], |_| false),
    (&["--ip", "2001:db8:0::7"], |task| has(task, "2001:db8::7") || has(task, "2001:0DB8:0:0:0:0:0:7")),
    (&["--cluster", "demo", "--service", "web", "--family", "web:42"], |task| {
        text(task, "clusterArn").ends_with("/demo")
            && text(task, "group") == "service:web"
            && text(task, "taskDefinitionArn").ends_with("/web:42")
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_finds_the_same_through_the_index_and_by_a_scan() {
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let fixture = Fixture::new(true).await;
    let tasks = tasks(&mut random);
    fixture.put_details(&tasks);
    fixture.put(&row(&container_instance("demo", "aaa", "i-0abc", true), Utc::now()));

    let active = |task: &Value| !["STOPPED", "DELETED"].contains(&text(task, "lastStatus"));
    let sort_key = |task: &&Value| {
        (text(task, "clusterArn").to_owned(), format!("{}#{}", text(task, "group"), text(task, "createdAt")))
    };
    let special: [(&[&str], &[&str], Expected); 7] = [
        (&["tasks"], &["--status", "running"], |task| text(task, "lastStatus") == "RUNNING"),
        (&["tasks"], &["--status", "PENDING"], |task| text(task, "lastStatus") == "PENDING"),
        (&["stopped", "--since", "7d"], &["--status", "Stopped"], |task| text(task, "lastStatus") == "STOPPED"),
        (&["stopped", "--since", "7d"], &["--status", "deleted"], |task| text(task, "lastStatus") == "DELETED"),
        (&["stopped", "--since", "10h"], &[], |task| {
            text(task, "stoppedAt").parse::<chrono::DateTime<Utc>>().unwrap() > Utc::now() - TimeDelta::hours(10)
        }),
        (&["stopped", "--since", "1s"], &[], |_| false),
        // All had been created by then.
        (&["tasks", "--at", "20h"], &["--ip", "10.0.0.7"], |task| {
            let stopped = text(task, "stoppedAt").parse::<chrono::DateTime<Utc>>();
            // The others have not stopped yet.
            has(task, "10.0.0.7") && stopped.map_or(true, |time| time > Utc::now() - TimeDelta::hours(20))
        }),
    ];
    let cases = FILTERS.iter().flat_map(|(filter, expected)| {
        [(&["tasks"][..], *filter, *expected), (&["stopped", "--since", "90000h"][..], *filter, *expected)]
    });
    let mut checks = 0;
    for (command, filter, is_expected) in cases.chain(special) {
        let wants_active = command[0] == "tasks";
        let is_in = |command: &[&str], task| command.contains(&"--at") || active(task) == wants_active;
        let mut expected: Vec<&Value> = tasks.iter().filter(|task| is_in(command, task) && is_expected(task)).collect();
        if wants_active {
            expected.sort_by_key(sort_key);
        } else {
            expected.sort_by_key(|task| std::cmp::Reverse(text(task, "stoppedAt").to_owned()));
        }
        let expected: Vec<&str> =
            expected.iter().map(|task| text(task, "taskArn").rsplit_once('/').unwrap().1).collect();
        for access in [&[][..], &["--scan"]] {
            for limit in [None, Some(3)] {
                let number = limit.unwrap_or(usize::MAX).to_string();
                let limit_arguments = if limit.is_some() { vec!["--limit", &number] } else { Vec::new() };
                let arguments = [command, filter, access, &limit_arguments, &["--json"]].concat();
                let done = fixture.run(&arguments).await;
                let expected = &expected[..expected.len().min(limit.unwrap_or(usize::MAX))];
                assert_eq!(done.ids(), expected, "{arguments:?} {}", done.stderr);
                assert_eq!(done.code, Some(i32::from(expected.is_empty())), "{arguments:?}");
                checks += 1;
            }
        }
    }
    println!("{checks} answers");
}
