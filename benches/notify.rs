//! The cost of the notifier: a cold start that announces a stop, a batch of a crash loop, memory, size.

use std::fs;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use harness::bus::Bus;
use harness::dynamodb::{DynamoDb, TASKS};
use harness::events::{self, sample};
use harness::runtime_api::Lambda;
use harness::stream::{self, batch};

use crate::{Arguments, Figures, megabytes, milliseconds, peak_memory, progress};

/// The stops of a batch, and the rows of the same loop before it.
const BATCH: u32 = 100;
const ROWS: u32 = 500;

/// Each start has a new process, which announces one stop, then a batch.
pub(crate) async fn notify(arguments: &Arguments, figures: &mut Figures) {
    let binary = arguments.notifier.to_str().expect("a Unicode path");
    let (bus, dynamodb) = (Bus::start().await, DynamoDb::start().await);
    dynamodb.fill(TASKS, (BATCH..BATCH + ROWS).map(row).collect());
    let urls = [("AWS_ENDPOINT_URL_EVENTBRIDGE", bus.url.as_str()), ("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb.url)];
    let records: Vec<Value> = (0..BATCH).map(record).collect();
    let mut runs: [(&str, &str, Vec<f64>); 4] = [
        ("notify: cold, start to ready", "ms", Vec::new()),
        ("notify: cold, one stop to its event", "ms", Vec::new()),
        ("notify: a batch of 100 stops", "ms", Vec::new()),
        ("notify: peak memory", "MB", Vec::new()),
    ];
    for start in 0..arguments.starts {
        progress(&format!("notify: run {} of {}", start + 1, arguments.starts));
        let lambda = Lambda::start(binary, 1, &urls).await;
        lambda.set_timeout(Duration::from_mins(1));
        let (process, ready) = lambda.ready(0).await;
        let mut figures = vec![milliseconds(ready)];
        for records in [&records[..1], &records] {
            let answer = lambda.invoke(batch(records)).await;
            assert_eq!(answer.body, json!({"batchItemFailures": []}), "{}", lambda.log());
            figures.push(milliseconds(answer.slowest));
        }
        figures.push(peak_memory(process).expect("a process"));
        runs.iter_mut().zip(figures).for_each(|((_, _, values), figure)| values.push(figure));
    }
    for (name, unit, values) in runs {
        figures.add(name, unit, "ours", values);
    }
    let size = fs::metadata(&arguments.notifier).expect("a binary").len();
    figures.add("notify: binary", "MB", "ours", vec![megabytes(size.try_into().expect("a size"))]);
}

/// The row of a task that ended by itself a moment ago.
fn row(number: u32) -> Value {
    let mut event = sample("ec2-task-stopped-by-exit-code");
    event["detail"]["taskArn"] = json!(format!("arn:aws:ecs:eu-west-1:123456789012:task/bench/{number:032x}"));
    event["detail"]["stoppedAt"] = json!((Utc::now() - TimeDelta::seconds(1)).to_rfc3339());
    events::row(&event)
}

fn record(number: u32) -> Value {
    let (mut before, after) = (row(number), row(number));
    before["lastStatus"] = json!({"S": "RUNNING"});
    stream::record(after["taskArn"]["S"].as_str().expect("an ARN"), number, before, after.clone())
}
