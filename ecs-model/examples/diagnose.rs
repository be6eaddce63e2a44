//! Says why a task stopped, from an event in a file:
//!
//! ```console
//! $ cargo run -p ecs-model --example diagnose events/fargate-task-failed-to-start.json
//! ```

use std::error::Error;
use std::{env, fs};

use ecs_model::diagnosis::Diagnosis;
use ecs_model::{Task, from_json};
use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("usage: diagnose FILE, an event as EventBridge delivers it")?;
    let event: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let task: Task = from_json(&event["detail"])?;
    match Diagnosis::new(&task) {
        Some(diagnosis) => println!("{}", serde_json::to_string_pretty(&diagnosis)?),
        None => println!("{} has not stopped", task.task_arn),
    }
    Ok(())
}
