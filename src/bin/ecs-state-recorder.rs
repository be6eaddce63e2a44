//! The recorder's Lambda function: wires the library to Lambda's runtime.

use std::env;
use std::process::ExitCode;
use std::sync::Arc;

use ecs_state_recorder::aws;
use ecs_state_recorder::config::Config;
use ecs_state_recorder::lambda::{self, Payload};
use ecs_state_recorder::recorder::Recorder;
use ecs_state_recorder::resource::Resource;
use ecs_state_recorder::state::client;
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, Runtime, service_fn};

// One thread is enough: an execution environment handles one event at a time, with 1/14 of a CPU at 128 MB. On Lambda's
// managed instances it handles several, which wait for DynamoDB concurrently.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::run(env!("CARGO_BIN_NAME"), Box::pin(serve())).await
}

async fn serve() -> Result<(), Error> {
    let config = Config::read(|name| env::var_os(name))?;
    if let Some(warning) = config.warning() {
        tracing::warn!("{warning}");
    }
    let client = client::new(&aws::load().await?);
    if let Err(error) = client::connect(&client, config.table(Resource::Task)).await {
        tracing::warn!("could not connect to DynamoDB before the first event: {error}");
    }
    let recorder = Arc::new(Recorder::new(config, client));
    let handler = service_fn(move |invocation: LambdaEvent<Payload>| {
        let recorder = recorder.clone();
        async move { recorder.handle(&invocation.payload).await.map_err(Diagnostic::from) }
    });
    // Spawned, because each wake-up of the future that `main` itself blocks on costs a write to tokio's eventfd.
    tokio::spawn(Runtime::new(handler).layer(TracingLayer::new()).run_concurrent()).await?
}
