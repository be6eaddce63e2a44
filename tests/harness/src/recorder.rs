//! The recorder under test: the binary in `RECORDER_BINARY`, or else its handler, called in this process.

use std::env;

use ecs_state_recorder::config::Config;
use ecs_state_recorder::lambda::Payload;
use ecs_state_recorder::recorder;
use lambda_runtime::Diagnostic;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::dynamodb::client;
use crate::runtime_api::Lambda;

pub enum Recorder {
    /// The handler, with a DynamoDB client that does not retry.
    Handler(Box<recorder::Recorder>),
    /// The binary and its environment variables. The first event starts it.
    Binary(String, Vec<(String, String)>, Box<OnceCell<Lambda>>),
}

impl Recorder {
    pub fn new(url: &str) -> Self {
        Self::with_variables(url, &[])
    }

    /// `variables` are its environment.
    pub fn with_variables(url: &str, variables: &[(&str, &str)]) -> Self {
        if let Ok(binary) = env::var("RECORDER_BINARY") {
            let variables = [&[("AWS_ENDPOINT_URL_DYNAMODB", url)], variables].concat();
            let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            return Self::Binary(binary, variables, Box::default());
        }
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        let variables = Config::read(variable).expect("valid variables");
        Self::Handler(Box::new(recorder::Recorder::new(variables, client(url))))
    }

    /// What Lambda would receive: the answer, or `{"errorType": …, "errorMessage": …}`.
    pub async fn invoke(&self, payload: &str) -> Value {
        match self {
            Self::Handler(recorder) => {
                let payload: Payload = serde_json::from_str(payload).expect("any payload is accepted");
                let answer = match recorder.handle(&payload).await {
                    Ok(answer) => serde_json::to_value(answer),
                    Err(error) => serde_json::to_value(Diagnostic::from(error)),
                };
                answer.expect("an answer is JSON")
            }
            Self::Binary(binary, variables, lambda) => {
                let variables: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let lambda = lambda.get_or_init(|| Lambda::start(binary, 1, &variables)).await;
                lambda.invoke(payload.to_owned()).await.body
            }
        }
    }
}
