//! The notifier's Lambda function: wires the library to Lambda's runtime.

use std::env;
use std::process::ExitCode;

use ecs_state_recorder::aws;
use ecs_state_recorder::lambda::{self, Payload};
use ecs_state_recorder::notifier::Notifier;
use ecs_state_recorder::notifier::event_bus::EventBus;
use ecs_state_recorder::notifier::settings::Settings;
use ecs_state_recorder::state::client;
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, Runtime, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::run(env!("CARGO_BIN_NAME"), Box::pin(serve())).await
}

async fn serve() -> Result<(), Error> {
    let Settings { table, bus } = Settings::read(|name| env::var_os(name))?;
    let aws = aws::load().await?;
    let notifier = &Notifier::new(table, client::new(&aws), EventBus::new(&aws, bus));
    let handler = service_fn(|invocation: LambdaEvent<Payload>| async move {
        notifier.handle(&invocation.payload, &invocation.context).await.map_err(Diagnostic::from)
    });
    Runtime::new(handler).layer(TracingLayer::new()).run().await
}
