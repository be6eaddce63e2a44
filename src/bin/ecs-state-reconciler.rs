//! The reconciler's Lambda function: wires the library to Lambda's runtime.

use std::env;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use ecs_state_recorder::config::ReconcilerConfig;
use ecs_state_recorder::payload::Payload;
use ecs_state_recorder::reconciler::ecs::Ecs;
use ecs_state_recorder::reconciler::run::Reconciler;
use ecs_state_recorder::state::client;
use ecs_state_recorder::{aws, startup};
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, Runtime, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    startup::run(env!("CARGO_BIN_NAME"), Box::pin(serve())).await
}

async fn serve() -> Result<(), Error> {
    let config = ReconcilerConfig::read(|name| env::var_os(name))?;
    let aws = aws::load().await?;
    let ecs = Ecs::new(&aws, config.calls_per_second);
    let aws = match &config.table_role {
        Some(role) => aws::assume(role, aws).await,
        None => aws,
    };
    let reconciler = &Reconciler::new(config, client::new(&aws), ecs);
    let handler = service_fn(|invocation: LambdaEvent<Payload>| async move {
        let deadline = DateTime::<Utc>::from(invocation.context.deadline());
        reconciler.handle(&invocation.payload, deadline).await.map_err(Diagnostic::from)
    });
    Runtime::new(handler).layer(TracingLayer::new()).run().await
}
