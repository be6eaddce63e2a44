//! The Lambda function: wires the library to Lambda's runtime.

use std::env;
use std::process::ExitCode;

use ecs_state_recorder::config::Config;
use ecs_state_recorder::invocation::Recorder;
use ecs_state_recorder::{logging, store};
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, Runtime, service_fn};
use serde_json::value::RawValue;

// One thread: a copy of the function has one event at a time, and 128 MB come with a fourteenth of a core.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        eprintln!("ecs-state-recorder is an AWS Lambda function: Lambda starts it. To try it here, use `make run`.");
        return ExitCode::FAILURE;
    }
    if let Err(error) = logging::start(|name| env::var_os(name)) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    let recorder = &Recorder::new(Config::read(|name| env::var_os(name))?, store::client().await);
    // The payload stays JSON text until our own code reads it: what the runtime itself can't parse never reaches the
    // handler, and is answered with the name of a Rust type.
    let handler = service_fn(|invocation: LambdaEvent<Box<RawValue>>| async move {
        recorder.handle(&invocation.payload).await.map_err(Diagnostic::from)
    });
    Runtime::new(handler).layer(TracingLayer::new()).run().await
}
