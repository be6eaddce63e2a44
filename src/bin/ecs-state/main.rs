//! `ecs-state`: asks the tables, in a terminal, what runs and why tasks stopped.

mod access;
mod arguments;
mod connection;
mod failure;
mod instances;
mod json;
mod stopped;
mod summary;
mod table;
mod task;
mod tasks;
mod terminal;
mod time;
mod timeline;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use self::arguments::{Arguments, Command, Connection};
use self::failure::Failure;

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

#[tokio::main(flavor = "current_thread")]
async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    if let Command::Completions { shell } = command {
        return completions(shell);
    }
    let tables = connection::open(connection).await?;
    match command {
        Command::Tasks(arguments) => tasks::run(&tables, arguments).await,
        Command::Stopped(arguments) => stopped::run(&tables, arguments).await,
        Command::Task(arguments) => task::run(&tables, &arguments).await,
        Command::Instances(arguments) => instances::run(&tables, arguments).await,
        Command::Watch(arguments) => watch::run(&tables, arguments).await,
        Command::Completions { .. } => Ok(()),
    }
}
