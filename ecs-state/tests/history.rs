//! `services`, `jobs` and the state at any time, compared with a recomputation from random histories.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use super::fixture::{ECS, Fixture, cluster, row, time, with};

type Time = DateTime<Utc>;

/// How a task stopped: its code, its cause, the index of its kind, and the fields that say so. By precedence.
fn reasons() -> [(&'static str, Option<&'static str>, usize, Value); 5] {
    let exit =
        |code: i64| json!({"stopCode": "EssentialContainerExited", "containers": [{"name": "a", "exitCode": code}]});
    let told = |code: &str, reason: &str| json!({"stopCode": code, "stoppedReason": reason});
    [
        ("ImagePullFailed", Some("NotFound"), 2, told("TaskFailedToStart", "CannotPullContainerError: x: not found")),
        ("ApplicationError", None, 2, exit(3)),
        // A service's task should not finish.
        ("Finished", None, 0, exit(0)),
        ("ScaledIn", None, 0, told("ServiceSchedulerInitiated", "Scaling activity initiated by x")),
        ("SpotInterruption", None, 1, told("SpotInterruption", "Your Spot Task was interrupted.")),
    ]
}

/// What happened to a task until now.
struct Life {
    arn: String,
    cluster: &'static str,
    group: &'static str,
    definition: String,
    address: &'static str,
    /// The statuses that it went through, and when it reached them. The first is its creation.
    statuses: Vec<(Time, &'static str)>,
    reason: usize,
    missing_since: Option<Time>,
}

impl Life {
    fn random(number: usize, now: Time, random: &mut StdRng) -> Self {
        let mut after = |seconds: i64| TimeDelta::milliseconds(random.random_range(1..seconds * 500) * 2);
        // Many short lives, so that there are crash loops.
        let mut at = now - after(8 * 3600);
        let mut statuses = vec![(at, "PENDING")];
        for (status, seconds) in [("RUNNING", 120), ("STOPPING", 1), ("STOPPED", 60)] {
            at += after(seconds);
            statuses.push((at, status));
        }
        let stay = after(14_000) * i32::from(random.random_bool(0.4));
        let stay = stay + TimeDelta::days(1) * i32::from(random.random_bool(0.15));
        statuses[2..].iter_mut().for_each(|(at, _)| *at += stay);
        // Some never start, and some stop by themselves.
        let (never_starts, ends_itself) = (random.random_bool(0.2), random.random_bool(0.3));
        statuses.retain(|(at, status)| {
            *at <= now && !(never_starts && *status == "RUNNING") && !(ends_itself && *status == "STOPPING")
        });
        let mut pick = |of: &[&'static str]| of[random.random_range(0..of.len())];
        let cluster = pick(&["demo", "other"]);
        let group = pick(&["service:web", "service:api", "service:a#b", "family:etl", "nightly", ""]);
        let definition = format!("{ECS}:task-definition/{}", pick(&["web:1", "web:2", "web:3"]));
        let address = pick(&["10.0.0.1", "10.0.0.2", "10.0.0.11"]);
        let (last, status) = statuses[statuses.len() - 1];
        let missing_since = (status != "STOPPED" && random.random_bool(0.2))
            .then(|| last + (now - last) * random.random_range(0..100) / 100);
        let reason = random.random_range(0..reasons().len());
        let arn = format!("{ECS}:task/{cluster}/{number:032x}");
        Self { arn, cluster, group, definition, address, statuses, reason, missing_since }
    }

    /// When it reached a status, by a time.
    fn reached(&self, wanted: &str, by: Time) -> Option<Time> {
        self.statuses.iter().find(|(at, status)| *status == wanted && *at <= by).map(|(at, _)| *at)
    }

    fn status(&self, at: Time) -> Option<&'static str> {
        self.statuses.iter().rfind(|(time, _)| *time <= at).map(|(_, status)| *status)
    }

    /// The index of the kind of its stop.
    fn kind(&self) -> usize {
        let (code, _, kind, _) = reasons()[self.reason];
        if code == "Finished" && self.group.starts_with("service:") { 2 } else { kind }
    }

    fn row(&self, now: Time) -> Value {
        let last = self.statuses[self.statuses.len() - 1];
        let text = |status| json!(self.reached(status, now).map(time));
        let mut detail = json!({
            "taskArn": self.arn, "clusterArn": cluster(self.cluster), "group": self.group, "version": 1,
            "taskDefinitionArn": self.definition, "lastStatus": last.1, "createdAt": time(self.statuses[0].0),
            "desiredStatus": if ["STOPPING", "STOPPED"].contains(&last.1) { "STOPPED" } else { "RUNNING" },
            "attachments": [{"type": "eni", "details": [{"name": "privateIPv4Address", "value": self.address}]}],
            "startedAt": text("RUNNING"), "stoppingAt": text("STOPPING"), "stoppedAt": text("STOPPED"),
        });
        if last.1 == "STOPPED" {
            detail = with(detail, reasons()[self.reason].3.clone());
        }
        if self.group.is_empty() {
            detail.as_object_mut().unwrap().remove("group");
        }
        let mut row = row(&detail, last.0);
        if let Some(since) = self.missing_since {
            row["missing_since"] = json!({"S": time(since)});
        }
        row
    }
}

/// The answers of `services` and `jobs` for the window from `since` to `end`, and of `tasks` at its end.
fn expected(lives: &[Life], since: Time, end: Time) -> [Vec<Value>; 3] {
    let here: Vec<&Life> = lives.iter().filter(|life| life.missing_since.is_none_or(|missing| missing > end)).collect();
    let [mut services, mut loops, mut jobs] = [const { Vec::new() }; 3];
    let groups: BTreeSet<_> = here.iter().map(|life| (life.cluster, life.group)).collect();
    for (cluster_name, group) in groups {
        let is_service = group.starts_with("service:");
        let of_group = here.iter().filter(|life| (life.cluster, life.group) == (cluster_name, group));
        let (active, stops): (Vec<&Life>, Vec<&Life>) =
            of_group.filter(|life| life.status(end).is_some()).partition(|life| life.status(end) != Some("STOPPED"));
        let stopped_at = |life: &Life| life.reached("STOPPED", end).unwrap();
        let in_window: Vec<&Life> = stops.iter().copied().filter(|life| stopped_at(life) >= since).collect();
        let mut counted: Vec<&Life> = active.iter().chain(&in_window).copied().collect();
        let failed = in_window.iter().filter(|life| life.kind() == 2).count();
        let was_short = |life: &&&Life| {
            life.reached("RUNNING", end).is_none_or(|at| stopped_at(life) - at < TimeDelta::minutes(10))
        };
        let short = stops.iter().filter(|life| life.kind() == 2).filter(was_short).map(|life| stopped_at(life));
        // The last stops and the end: three gaps of at most an hour.
        let times: BTreeSet<Time> = short.chain([end]).collect();
        let times: Vec<Time> = times.into_iter().rev().take(4).collect();
        let is_loop = times.len() > 3 && times.windows(2).all(|pair| pair[0] - pair[1] <= TimeDelta::hours(1));
        if counted.is_empty() && !(is_loop && is_service) {
            continue;
        }
        let last = |code: &str| {
            let of_code = in_window.iter().filter(|life| code.is_empty() || reasons()[life.reason].0 == code);
            of_code.map(|life| stopped_at(life)).max().map(time)
        };
        if !is_service {
            let run = counted.iter().max_by_key(|life| life.statuses[0].0).unwrap();
            let stopped = run.reached("STOPPED", end);
            jobs.push(json!({
                "clusterArn": cluster(cluster_name), "group": group, "running": active.len(), "runs": in_window.len(),
                "failed": failed, "lastSuccessAt": last("Finished"),
                "lastRun": {"taskArn": run.arn, "code": stopped.map(|_| reasons()[run.reason].0),
                            "startedAt": run.reached("RUNNING", end).map(time), "stoppedAt": stopped.map(time)},
            }));
            continue;
        }
        let mut counts = BTreeMap::new();
        for life in &in_window {
            *counts.entry((life.kind(), life.reason)).or_insert(0) += 1;
        }
        let most = counts.iter().max_by_key(|((kind, reason), count)| (*kind, **count, usize::MAX - reason));
        let start = |life: &&Life| Some((life.reached("RUNNING", end)? - life.statuses[0].0).num_milliseconds());
        let mut starts: Vec<i64> = counted.iter().filter_map(start).collect();
        starts.sort_unstable();
        let half = starts.len() / 2;
        #[expect(clippy::cast_precision_loss, reason = "these are minutes")]
        let median =
            (!starts.is_empty()).then(|| i64::midpoint(starts[half], starts[(starts.len() - 1) / 2]) as f64 / 1000.0);
        let mut definitions: Vec<&str> = Vec::new();
        counted.sort_by_key(|life| std::cmp::Reverse(life.statuses[0].0));
        for life in &counted {
            let is_used = definitions.is_empty() || active.iter().any(|other| other.definition == life.definition);
            if is_used && !definitions.contains(&life.definition.as_str()) {
                definitions.push(&life.definition);
            }
        }
        let count = |status: &str| active.iter().filter(|life| life.status(end) == Some(status)).count();
        let line = json!({
            "clusterArn": cluster(cluster_name), "group": group, "running": count("RUNNING"),
            "starting": count("PENDING"), "stopping": count("STOPPING"), "stopped": in_window.len(),
            "failed": failed, "isCrashLoop": is_loop, "lastStoppedAt": last(""), "medianStartSeconds": median,
            "mostFrequent": most.map(|((_, reason), count)| {
                json!({"code": reasons()[*reason].0, "cause": reasons()[*reason].1, "count": count})
            }),
            "taskDefinitionArns": definitions,
        });
        if is_loop { loops.push(line) } else { services.push(line) }
    }
    loops.append(&mut services);
    let mut tasks: Vec<&&Life> =
        here.iter().filter(|life| life.status(end).is_some_and(|status| status != "STOPPED")).collect();
    tasks.sort_by_key(|life| (life.cluster, format!("{}#{}", life.group, time(life.statuses[0].0))));
    let tasks = tasks.iter().map(|life| json!([life.arn, life.status(end), life.statuses[life.statuses.len() - 1].1]));
    [loops, jobs, tasks.collect()]
}

#[tokio::test(flavor = "multi_thread")]
async fn services_jobs_and_tasks_at_any_time_are_what_the_histories_say() {
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let now = Utc::now() - TimeDelta::seconds(1);
    // A stop that is about to be an hour ago would leave a crash loop during the test.
    let is_stable = |life: &Life| life.statuses.iter().all(|(at, _)| !(55..=60).contains(&(now - *at).num_minutes()));
    let lives: Vec<Life> = (0..300)
        .map(|number| std::iter::repeat_with(|| Life::random(number, now, &mut random)).find(is_stable).unwrap())
        .collect();
    let (mut checks, mut loops) = (0, 0);
    for has_index in [true, false] {
        let fixture = Fixture::new(has_index).await;
        for life in &lives {
            fixture.put(&life.row(now));
        }
        for turn in 0..4 {
            let at = (turn > 0).then(|| now - TimeDelta::milliseconds(random.random_range(0..9 * 3_600_000)));
            let since = at.unwrap_or(now) - TimeDelta::milliseconds(random.random_range(0..5 * 3_600_000));
            let at_text = at.map(time);
            let at_arguments = at_text.as_ref().map_or_else(Vec::new, |at| vec!["--at", at]);
            let [services, jobs, tasks] = expected(&lives, since, at.unwrap_or(now));
            loops += services.iter().filter(|service| service["isCrashLoop"] == true).count();
            let since = time(since);
            let run = async |command: &[&str]| {
                let done = fixture.run(&[command, &at_arguments, &["--json"]].concat()).await;
                assert_eq!(done.code, Some(i32::from(done.stdout.is_empty())), "{done:?}");
                done.objects()
            };
            assert_eq!(run(&["services", "--since", &since]).await, services, "{since} {at_text:?}");
            assert_eq!(run(&["jobs", "--since", &since]).await, jobs, "{since} {at_text:?}");
            let is_failing = |service: &Value| service["failed"] != 0 || service["isCrashLoop"] == true;
            let failing: Vec<Value> = services.into_iter().filter(is_failing).collect();
            assert_eq!(run(&["services", "--failing", "--since", &since]).await, failing, "{since} {at_text:?}");
            let status = if at.is_some() { "statusAt" } else { "lastStatus" };
            let found = run(&["tasks"]).await;
            let found: Vec<_> =
                found.iter().map(|task| json!([task["taskArn"], task[status], task["lastStatus"]])).collect();
            assert_eq!(found, tasks, "{at_text:?}");
            let found = run(&["tasks", "--ip", "10.0.0.1"]).await;
            let with_address = |arn: &Value| lives.iter().any(|life| life.arn == *arn && life.address == "10.0.0.1");
            let tasks: Vec<&Value> = tasks.iter().map(|task| &task[0]).filter(|arn| with_address(arn)).collect();
            assert_eq!(found.iter().map(|task| &task["taskArn"]).collect::<Vec<_>>(), tasks, "{at_text:?}");
            checks += 5;
        }
    }
    println!("{checks} answers, {loops} crash loops in them");
}
