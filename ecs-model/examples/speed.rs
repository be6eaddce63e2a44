//! How fast tasks are diagnosed: `cargo run --release -p ecs-model --example speed`.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use ecs_model::diagnosis::Diagnosis;
use ecs_model::{Task, from_json};
use serde_json::Value;

const TASKS: u32 = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let tasks = include_str!("../tests/stops.jsonl")
        .lines()
        .map(|line| {
            let mut case: Value = serde_json::from_str(line)?;
            case["task"]["taskArn"] = "task".into();
            Ok(from_json::<Task>(&case["task"])?)
        })
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    // What is prepared once does not count.
    black_box(Diagnosis::new(&tasks[0]));
    let start = Instant::now();
    for task in tasks.iter().cycle().take(TASKS as usize) {
        black_box(Diagnosis::new(black_box(task)));
    }
    let elapsed = start.elapsed();
    println!("{TASKS} tasks of {} kinds: {elapsed:.2?}, {:.1?} each", tasks.len(), elapsed / TASKS);
    Ok(())
}
