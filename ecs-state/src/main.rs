//! `ecs-state`: shows what runs on Amazon ECS, what stopped, and why, from the tables of ecs-state-recorder.

mod access;
mod arguments;
mod aws_cli;
mod cells;
mod column_widths;
mod columns;
mod commands;
mod connection;
mod exit_code;
mod failure;
mod json;
mod log_stream;
mod one_task;
mod reason;
mod state_at;
mod tables;
mod terminal;
mod time;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use self::arguments::{Arguments, Command, Connection};
use self::commands::{explain, groups, images, instances, jobs, logs, metrics, services, stopped, task, tasks, watch};
use self::failure::Failure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Arguments { command, connection } = Arguments::parse();
    match run(command, &connection) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), env!("CARGO_BIN_NAME"), &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

#[tokio::main]
async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    let command = match command {
        Command::Completions { shell } => return completions(shell),
        Command::Explain(arguments) => return explain::run(&arguments),
        command => command,
    };
    let (profile, region) = (connection.profile.as_deref(), connection.region.as_deref());
    let aws = connection::load(profile, region).await?;
    let tables = connection::open(&aws, connection);
    match command {
        Command::Tasks(arguments) => tasks::run(&tables, arguments).await,
        Command::Stopped(arguments) => stopped::run(&tables, arguments).await,
        Command::Services(arguments) => groups::show(&tables, &arguments, &services::VIEW).await,
        Command::Jobs(arguments) => groups::show(&tables, &arguments, &jobs::VIEW).await,
        Command::Task(arguments) => task::run(&tables, connection, &arguments).await,
        Command::Logs(arguments) => match arguments.task_profile.as_deref() {
            Some(name) => {
                logs::run(&tables, &connection::load(Some(name), region).await?, Some(name), &arguments).await
            }
            None => logs::run(&tables, &aws, profile, &arguments).await,
        },
        Command::Images(arguments) => images::run(&tables, arguments).await,
        Command::Instances(arguments) => instances::run(&tables, arguments).await,
        Command::Metrics(arguments) => metrics::run(&tables, arguments).await,
        Command::Watch(arguments) => watch::run(&tables, arguments).await,
        Command::Completions { .. } | Command::Explain(_) => Ok(()),
    }
}
