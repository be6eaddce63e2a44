//! The Lambda function: wires the library to Lambda's runtime.

use std::env;
use std::process::ExitCode;
use std::sync::Arc;

use ecs_state_recorder::config::{Config, LogConfig};
use ecs_state_recorder::logging;
use ecs_state_recorder::recorder::event::Payload;
use ecs_state_recorder::recorder::invocation::Recorder;
use ecs_state_recorder::state::client;
use ecs_state_recorder::state::resource::Resource;
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, Runtime, service_fn};

#[cfg(not(panic = "unwind"))]
compile_error!("a panic has to unwind: lambda_runtime then reports it as that one event's error, and serves the next");

// One thread: an instance has one event at a time, and 128 MB come with a fourteenth of a core. Where it has several
// events, on managed instances, they wait for DynamoDB side by side.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        eprintln!("ecs-state-recorder is an AWS Lambda function: Lambda starts it. To try it here, use `make run`.");
        return ExitCode::FAILURE;
    }
    match LogConfig::read(|name| env::var_os(name)) {
        Ok(config) => logging::start(config),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
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
    let config = Config::read(|name| env::var_os(name))?;
    if let Some(warning) = config.warning() {
        tracing::warn!("{warning}");
    }
    let client = client::new().await?;
    if let Err(error) = client::connect(&client, config.table(Resource::Task)).await {
        tracing::warn!("no connection to DynamoDB before the first event: {error}");
    }
    let recorder = Arc::new(Recorder::new(config, client));
    let handler = service_fn(move |invocation: LambdaEvent<Payload>| {
        let recorder = recorder.clone();
        async move { recorder.handle(&invocation.payload).await.map_err(Diagnostic::from) }
    });
    // As a task of its own: each time that something wakes the future of `main` itself, tokio writes to an eventfd.
    tokio::spawn(Runtime::new(handler).layer(TracingLayer::new()).run_concurrent()).await?
}
