//! The function without Lambda: its handler, called in this process.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use ecs_state_recorder::config::Config;
use ecs_state_recorder::payload::Payload;
use ecs_state_recorder::recorder::invocation::Recorder;
use lambda_runtime::Diagnostic;
use serde_json::Value;

/// The handler, with its own DynamoDB client.
pub struct Function {
    recorder: Recorder,
}

impl Function {
    /// A function that writes to the DynamoDB at `url`, without retries.
    pub fn new(url: &str) -> Self {
        Self::with_variables(url, &[])
    }

    /// The same, with `variables` in its environment.
    pub fn with_variables(url: &str, variables: &[(&str, &str)]) -> Self {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(url)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::from_static("eu-west-1"))
            .credentials_provider(Credentials::for_tests())
            .retry_config(RetryConfig::disabled())
            .build();
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        let variables = Config::read(variable).expect("valid variables");
        Self { recorder: Recorder::new(variables, Client::from_conf(config)) }
    }

    /// What Lambda would receive: the answer, or `{"errorType": …, "errorMessage": …}`.
    pub async fn invoke(&self, payload: &str) -> Value {
        let payload: Payload = serde_json::from_str(payload).expect("any payload is accepted");
        let answer = match self.recorder.handle(&payload).await {
            Ok(answer) => serde_json::to_value(answer),
            Err(error) => serde_json::to_value(Diagnostic::from(error)),
        };
        answer.expect("an answer is JSON")
    }
}
