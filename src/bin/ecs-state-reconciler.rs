//! The reconciler's Lambda function: wires the library to Lambda's runtime.

use std::env;
use std::process::ExitCode;

use ecs_state_recorder::aws;
use ecs_state_recorder::lambda::{self, Payload};
use ecs_state_recorder::reconciler::Reconciler;
use ecs_state_recorder::reconciler::ecs::Ecs;
use ecs_state_recorder::reconciler::settings::Settings;
use ecs_state_recorder::state::client;
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, Runtime, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    lambda::run(env!("CARGO_BIN_NAME"), Box::pin(serve())).await
}

async fn serve() -> Result<(), Error> {
    let settings = Settings::read(|name| env::var_os(name))?;
    let aws = aws::load().await?;
    let ecs = Ecs::new(&aws, settings.calls_per_second);
    let aws = match &settings.table_role {
        Some(role) => role.assume(aws).await,
        None => aws,
    };
    let reconciler = &Reconciler::new(settings, client::new(&aws), ecs);
    let handler = service_fn(|invocation: LambdaEvent<Payload>| async move {
        reconciler.handle(&invocation.payload, &invocation.context).await.map_err(Diagnostic::from)
    });
    Runtime::new(handler).layer(TracingLayer::new()).run().await
}
