//! Calls of AWS services in the JSON 1.1 protocol, through the SDK's generic operation.
//!
//! For services whose SDK crate would be large, and lose unknown fields and the digits of numbers. Requests follow the
//! [service models]; responses stay text.
//!
//! [service models]: https://github.com/aws/aws-sdk-rust/tree/main/aws-models

use std::env;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_runtime::auth::SigV4OperationSigningConfig;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::auth::{AuthSchemeOptionResolverParams, SharedAuthScheme};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::error::ErrorMetadata;
use aws_types::SigningName;
use aws_types::region::SigningRegion;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::aws::{find_cause, is_error_code, unlimited_retries};

/// An AWS service, and how patiently it is called.
pub struct Service {
    /// Its name in endpoints and signatures.
    pub name: &'static str,
    /// The prefix of the header `X-Amz-Target`.
    pub target: &'static str,
    /// The environment variable with another endpoint.
    pub endpoint_variable: &'static str,
    /// Limit for one attempt.
    pub attempt_timeout: Duration,
    /// How many times a call is attempted.
    pub attempts: u32,
}

/// A client of one service. Build it once: it keeps its connections open.
pub struct AwsJson {
    operation: Operation<Call, Vec<u8>, ErrorMetadata>,
    service: &'static Service,
}

/// Why a call failed, and what to check. No message quotes the response.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum CallError {
    /// The service refused the call.
    #[error("{} (HTTP {status}){}", code.as_deref().unwrap_or("no AWS error code"), advice(code.as_deref()))]
    Refused {
        /// The service's error code, if there is one.
        code: Option<String>,
        /// The response's HTTP status.
        status: u16,
    },
    /// No response in time.
    #[error("no response within {} s; check the network routes and the AWS Health Dashboard", .0.as_secs())]
    Timeout(Duration),
    /// The connection failed, or broke before the response was complete.
    #[error("the connection failed; check the endpoint and the network route to it")]
    Connection,
    /// There are no valid credentials.
    #[error("there are no valid AWS credentials; check the function's role and environment")]
    Credentials,
    /// The response is not from the service.
    #[error("the response is not from AWS; check the endpoint and any proxy in between")]
    NotAws,
}

/// What to do about an error code.
fn advice(code: Option<&str>) -> &'static str {
    match code {
        Some("AccessDeniedException") => "; the function's role must allow it",
        Some(_) => "",
        None => "; check the endpoint and any proxy in between",
    }
}

impl CallError {
    /// Whether the service refused the call with this error code.
    pub fn has_code(&self, expected: &str) -> bool {
        matches!(self, Self::Refused { code: Some(code), .. } if code == expected)
    }
}

#[derive(Debug)]
struct Call {
    target: String,
    body: String,
}

impl AwsJson {
    /// A client that sends its requests with `http_client`.
    pub fn new(aws: &SdkConfig, service: &'static Service, http_client: Option<SharedHttpClient>) -> Self {
        let mut config = Layer::new(service.name);
        config.store_put(unlimited_retries());
        config.store_put(AuthSchemeOptionResolverParams::new(()));
        config.store_put(SigV4OperationSigningConfig {
            region: aws.region().cloned().map(SigningRegion::from),
            name: Some(SigningName::from_static(service.name)),
            ..SigV4OperationSigningConfig::default()
        });
        let mut components = RuntimeComponentsBuilder::new(service.name)
            .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID])))
            .with_auth_scheme(SharedAuthScheme::new(SigV4AuthScheme::new()))
            .with_identity_cache(aws.identity_cache())
            .with_time_source(aws.time_source())
            .with_sleep_impl(aws.sleep_impl())
            .with_http_client(http_client);
        if let Some(credentials) = aws.credentials_provider() {
            components.set_identity_resolver(SCHEME_ID, credentials);
        }
        let operation = Operation::builder()
            .service_name(service.name)
            .operation_name("Call")
            .endpoint_url(&endpoint(aws, service))
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(service.attempt_timeout).build())
            .standard_retry(&RetryConfig::standard().with_max_attempts(service.attempts))
            .retry_classifier(TransientErrorClassifier::<ErrorMetadata>::new())
            .retry_classifier(AwsErrorCodeClassifier::<ErrorMetadata>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .with_connection_poisoning()
            .serializer(serialize)
            .deserializer(deserialize)
            .runtime_plugin(StaticRuntimePlugin::new().with_config(config.freeze()).with_runtime_components(components))
            .build();
        Self { operation, service }
    }

    /// Calls an operation of the service.
    pub async fn call<T: DeserializeOwned>(&self, operation: &str, body: String) -> Result<T, CallError> {
        let call = Call { target: format!("{}.{operation}", self.service.target), body };
        let response = self.operation.invoke(call).await.map_err(|error| self.call_error(&error))?;
        serde_json::from_slice(&response).map_err(|_| CallError::NotAws)
    }

    fn call_error(&self, error: &SdkError<ErrorMetadata, HttpResponse>) -> CallError {
        let timeout = CallError::Timeout(self.service.attempt_timeout);
        match error {
            SdkError::ServiceError(refused) => CallError::Refused {
                code: refused.err().code().filter(|code| is_error_code(code)).map(str::to_owned),
                status: refused.raw().status().as_u16(),
            },
            SdkError::TimeoutError(_) => timeout,
            _ if find_cause::<CredentialsError>(error).is_some() => CallError::Credentials,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => timeout,
            _ => CallError::Connection,
        }
    }
}

/// A service's endpoint: the one in the environment, or else the region's.
///
/// Sources: <https://docs.aws.amazon.com/general/latest/gr/ecs-service.html>,
/// <https://docs.aws.amazon.com/general/latest/gr/ev.html>
pub fn endpoint(aws: &SdkConfig, service: &Service) -> String {
    if let Some(url) = env::var(service.endpoint_variable).ok().or_else(|| aws.endpoint_url().map(str::to_owned)) {
        return url;
    }
    let region = aws.region().map_or("", AsRef::as_ref);
    // In GovCloud, EventBridge's only endpoint is the one with FIPS.
    let is_fips = aws.use_fips() == Some(true) && !(service.name == "events" && region.starts_with("us-gov-"));
    format!("https://{}{}.{region}.{}", service.name, if is_fips { "-fips" } else { "" }, domain(region))
}

/// The domain of a region's partition.
///
/// Source: <https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json>
fn domain(region: &str) -> &'static str {
    const DOMAINS: [(&str, &str); 6] = [
        ("cn-", "amazonaws.com.cn"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("us-iso-", "c2s.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("eusc-", "amazonaws.eu"),
    ];
    DOMAINS.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("amazonaws.com", |(_, domain)| domain)
}

fn serialize(call: Call) -> Result<HttpRequest, BoxError> {
    let request = http::Request::post("/")
        .header("content-type", "application/x-amz-json-1.1")
        .header("content-length", call.body.len())
        .header("x-amz-target", call.target)
        .header("user-agent", concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .body(call.body.into())?;
    Ok(request.try_into()?)
}

fn deserialize(response: &HttpResponse) -> Result<Vec<u8>, OrchestratorError<ErrorMetadata>> {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(rename = "__type")]
        code: Option<String>,
    }
    let body = response.body().bytes().unwrap_or_default();
    if response.status().is_success() {
        return Ok(body.to_vec());
    }
    let mut error = ErrorMetadata::builder();
    // `com.amazonaws.ecs#ClusterNotFoundException` or without the namespace.
    if let Ok(Refusal { code: Some(code) }) = serde_json::from_slice(body) {
        error = error.code(code.rsplit('#').next().unwrap_or_default());
    }
    Err(OrchestratorError::operation(error.build()))
}
