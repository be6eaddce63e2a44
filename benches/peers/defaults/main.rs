//! The recorder with the SDK's defaults, as a peer for the benchmark. Built with the profile `plain`, it is a good
//! first version; with `stock`, it also has Cargo's defaults. It connects to DynamoDB at the first event, as most
//! functions do, or with the argument `connect` during initialization, as the recorder does. It has one thread: with
//! Tokio's default, one per core, it takes a fifth longer.

use std::env;
use std::sync::Arc;

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use ecs_state_recorder::config::Config;
use ecs_state_recorder::lambda::{self, Payload};
use ecs_state_recorder::recorder::Recorder;
use ecs_state_recorder::resource::Resource;
use ecs_state_recorder::state::client;
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda::start_log(lambda::LogConfig::read(|name| env::var_os(name))?);
    let config = Config::read(|name| env::var_os(name))?;
    let client = Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await);
    if env::args().any(|argument| argument == "connect") {
        client::connect(&client, config.table(Resource::Task)).await?;
    }
    let recorder = Arc::new(Recorder::new(config, client));
    lambda_runtime::run(service_fn(move |invocation: LambdaEvent<Payload>| {
        let recorder = recorder.clone();
        async move { recorder.handle(&invocation.payload).await.map_err(Diagnostic::from) }
    }))
    .await
}
