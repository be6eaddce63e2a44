//! What the functions do alike when Lambda starts them.

use std::env;
use std::process::ExitCode;

use lambda_runtime::Error;

use crate::config::LogConfig;
use crate::logging;

#[cfg(not(panic = "unwind"))]
compile_error!(
    "panics must unwind, so that lambda_runtime reports a panic as that event's error and serves the next event"
);

/// Starts the log and runs a function. An error ends the process with a line that says why.
pub async fn run(function: &str, serve: impl Future<Output = Result<(), Error>>) -> ExitCode {
    if env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        eprintln!("{function} is an AWS Lambda function, started by Lambda. To try it locally, use `make run`.");
        return ExitCode::FAILURE;
    }
    match LogConfig::read(|name| env::var_os(name)) {
        Ok(config) => logging::start(config),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    tracing::info!("{function} {} is starting", env!("CARGO_PKG_VERSION"));
    match serve.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
