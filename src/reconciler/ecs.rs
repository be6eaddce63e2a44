//! The ECS API: six read operations, through the SDK's generic operation.
//!
//! It does not use `aws-sdk-ecs`: its types would lose unknown fields and the digits of numbers, and it has 248,000
//! lines. Requests follow the [service model]; responses stay text.
//!
//! [service model]: https://github.com/aws/aws-sdk-rust/blob/main/aws-models/ecs.json

use std::env;
use std::sync::Arc;
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
use serde_json::value::RawValue;
use serde_json::{Value, json};
use thiserror::Error;

use super::rate_limiter::{LimitedClient, RateLimiter};
use crate::resource::Resource;
use crate::state::known_messages::is_error_code;
use crate::state::store_error::find_cause;
use crate::state::timeouts::unlimited_retries;

/// The maximum number of ARNs in a page of a list, and in a call that describes them.
///
/// Source: <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTasks.html>
pub const BATCH: usize = 100;

/// Limit for one attempt, including its wait for the [`RateLimiter`]: up to 4 s at one call a second, with
/// [`CONCURRENCY`] calls in flight.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// How many calls are in flight at once.
pub const CONCURRENCY: usize = 4;
/// How many times a call is attempted.
pub const ATTEMPTS: u32 = 4;

/// A client of the ECS API.
pub struct Ecs {
    operation: Operation<Call, Vec<u8>, ErrorMetadata>,
    limiter: Arc<RateLimiter>,
}

/// Why a call failed, and what to check. No message quotes the response.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum CallError {
    /// ECS refused the call.
    #[error("{} (HTTP {status}){}", code.as_deref().unwrap_or("no ECS error code"), advice(code.as_deref()))]
    Refused {
        /// ECS's error code, if there is one.
        code: Option<String>,
        /// The response's HTTP status.
        status: u16,
    },
    /// No response in time.
    #[error(
        "no response within {} s; check the network routes and the AWS Health Dashboard",
        ATTEMPT_TIMEOUT.as_secs()
    )]
    Timeout,
    /// The connection failed, or broke before the response was complete.
    #[error("the connection failed; check the endpoint and the network route to it")]
    Connection,
    /// There are no valid credentials.
    #[error("there are no valid AWS credentials; check the function's role and environment")]
    Credentials,
    /// The response is not from ECS.
    #[error("the response is not from ECS; check the endpoint and any proxy in between")]
    NotEcs,
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
    /// Whether ECS says that there is no such cluster.
    pub fn is_cluster_not_found(&self) -> bool {
        self.has_code("ClusterNotFoundException")
    }

    /// Whether ECS does not accept a parameter, such as one of the ARNs.
    pub fn is_invalid_parameter(&self) -> bool {
        self.has_code("InvalidParameterException")
    }

    /// Whether the role lacks a permission.
    pub fn is_access_denied(&self) -> bool {
        self.has_code("AccessDeniedException")
    }

    fn has_code(&self, expected: &str) -> bool {
        matches!(self, Self::Refused { code: Some(code), .. } if code == expected)
    }
}

/// What to list.
#[derive(Clone, Copy, Debug)]
pub enum ListRequest<'c> {
    /// All clusters of the account in the region.
    Clusters,
    /// The tasks of a cluster with this `desiredStatus`: `RUNNING` or `STOPPED`, the only two.
    Tasks(&'c str, &'static str),
    /// The container instances of a cluster that are not `INACTIVE`.
    ContainerInstances(&'c str),
}

/// The response to a call that describes resources.
#[derive(Deserialize)]
pub struct Description {
    /// The described tasks or container instances.
    #[serde(alias = "tasks", alias = "containerInstances")]
    pub found: Vec<Box<RawValue>>,
    /// The resources that could not be described.
    #[serde(default)]
    pub failures: Vec<DescribeFailure>,
}

/// A resource that could not be described.
#[derive(Deserialize)]
pub struct DescribeFailure {
    /// The resource's ARN.
    pub arn: Option<String>,
    /// ECS's reason, such as `MISSING`.
    pub reason: Option<String>,
}

impl DescribeFailure {
    /// The reason, if it has the form of ECS's reasons.
    pub fn reason(&self) -> &str {
        let is_reason =
            |reason: &&str| reason.len() <= 64 && reason.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        self.reason.as_deref().filter(is_reason).unwrap_or("an unknown reason")
    }

    /// Whether ECS says that it does not know the ARN.
    pub fn is_missing(&self) -> bool {
        self.reason.as_deref() == Some("MISSING")
    }
}

#[derive(Debug)]
struct Call {
    operation: &'static str,
    body: String,
}

impl Ecs {
    /// A client that sends at most this many requests a second.
    pub fn new(aws: &SdkConfig, calls_per_second: u32) -> Self {
        let limiter = Arc::new(RateLimiter::new(calls_per_second));
        let endpoint = endpoint(aws);
        let region = aws.region().cloned();
        let mut config = Layer::new("ecs");
        // The rate limiter limits retries anyway.
        config.store_put(unlimited_retries());
        config.store_put(AuthSchemeOptionResolverParams::new(()));
        config.store_put(SigV4OperationSigningConfig {
            region: region.map(SigningRegion::from),
            name: Some(SigningName::from_static("ecs")),
            ..SigV4OperationSigningConfig::default()
        });
        let mut components = RuntimeComponentsBuilder::new("ecs")
            .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID])))
            .with_auth_scheme(SharedAuthScheme::new(SigV4AuthScheme::new()))
            .with_identity_cache(aws.identity_cache())
            .with_time_source(aws.time_source())
            .with_sleep_impl(aws.sleep_impl())
            .with_http_client(aws.http_client().map(|client| LimitedClient::new(client, limiter.clone())));
        if let Some(credentials) = aws.credentials_provider() {
            components.set_identity_resolver(SCHEME_ID, credentials);
        }
        let operation = Operation::builder()
            .service_name("ECS")
            .operation_name("Read")
            .endpoint_url(&endpoint)
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build())
            .standard_retry(&RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .retry_classifier(TransientErrorClassifier::<ErrorMetadata>::new())
            .retry_classifier(AwsErrorCodeClassifier::<ErrorMetadata>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .with_connection_poisoning()
            .serializer(serialize)
            .deserializer(deserialize)
            .runtime_plugin(StaticRuntimePlugin::new().with_config(config.freeze()).with_runtime_components(components))
            .build();
        Self { operation, limiter }
    }

    /// How many requests have been sent, retries included.
    pub fn calls(&self) -> u64 {
        self.limiter.calls()
    }

    /// Lists ARNs, page by page. If a page fails, the ARNs of the pages before it are returned beside the error.
    pub async fn list(&self, list: ListRequest<'_>) -> (Vec<String>, Result<(), CallError>) {
        #[derive(Deserialize)]
        struct Page {
            #[serde(alias = "clusterArns", alias = "taskArns", alias = "containerInstanceArns")]
            arns: Vec<String>,
            #[serde(rename = "nextToken")]
            next: Option<String>,
        }
        let mut body = match list {
            ListRequest::Clusters => json!({"maxResults": BATCH}),
            ListRequest::Tasks(cluster, status) => {
                json!({"cluster": cluster, "desiredStatus": status, "maxResults": BATCH})
            }
            ListRequest::ContainerInstances(cluster) => json!({"cluster": cluster, "maxResults": BATCH}),
        };
        let mut arns = Vec::new();
        loop {
            match self.call::<Page>(list.operation(), &body).await {
                Ok(page) => {
                    arns.extend(page.arns);
                    match page.next {
                        Some(next) => body["nextToken"] = next.into(),
                        None => return (arns, Ok(())),
                    }
                }
                Err(error) => return (arns, Err(error)),
            }
        }
    }

    /// Describes up to [`BATCH`] tasks or container instances of a cluster.
    pub async fn describe(&self, resource: Resource, cluster: &str, arns: &[&str]) -> Result<Description, CallError> {
        let field = match resource {
            Resource::Task => "tasks",
            Resource::ContainerInstance => "containerInstances",
        };
        self.call(describe_operation(resource), &json!({"cluster": cluster, field: arns})).await
    }

    /// Whether ECS says that a cluster does not exist, or no longer exists.
    pub async fn is_gone(&self, cluster: &str) -> Result<bool, CallError> {
        #[derive(Deserialize)]
        struct Cluster {
            #[serde(rename = "clusterArn")]
            arn: Option<String>,
            status: Option<String>,
        }
        #[derive(Deserialize)]
        struct Clusters {
            clusters: Vec<Cluster>,
            #[serde(default)]
            failures: Vec<DescribeFailure>,
        }
        let Clusters { clusters, failures } = self.call("DescribeClusters", &json!({"clusters": [cluster]})).await?;
        let is_this = |arn: &Option<String>| arn.as_deref() == Some(cluster);
        Ok(clusters.iter().any(|found| is_this(&found.arn) && found.status.as_deref() == Some("INACTIVE"))
            || failures.iter().any(|failure| is_this(&failure.arn) && failure.is_missing()))
    }

    async fn call<T: DeserializeOwned>(&self, operation: &'static str, body: &Value) -> Result<T, CallError> {
        let call = Call { operation, body: body.to_string() };
        let response = self.operation.invoke(call).await.map_err(|error| call_error(&error))?;
        serde_json::from_slice(&response).map_err(|_| CallError::NotEcs)
    }
}

impl ListRequest<'_> {
    /// The operation that makes the list.
    pub fn operation(self) -> &'static str {
        match self {
            Self::Clusters => "ListClusters",
            Self::Tasks(..) => "ListTasks",
            Self::ContainerInstances(_) => "ListContainerInstances",
        }
    }
}

/// The operation that describes resources of a kind.
pub fn describe_operation(resource: Resource) -> &'static str {
    match resource {
        Resource::Task => "DescribeTasks",
        Resource::ContainerInstance => "DescribeContainerInstances",
    }
}

/// The endpoint from the environment, or else the region's.
///
/// Source: <https://docs.aws.amazon.com/general/latest/gr/ecs-service.html>
pub fn endpoint(aws: &SdkConfig) -> String {
    if let Some(url) = env::var("AWS_ENDPOINT_URL_ECS").ok().or_else(|| aws.endpoint_url().map(str::to_owned)) {
        return url;
    }
    let region = aws.region().map_or("", AsRef::as_ref);
    let name = if aws.use_fips() == Some(true) { "ecs-fips" } else { "ecs" };
    format!("https://{name}.{region}.{}", domain(region))
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
    let target = format!("AmazonEC2ContainerServiceV20141113.{}", call.operation);
    let request = http::Request::post("/")
        .header("content-type", "application/x-amz-json-1.1")
        .header("content-length", call.body.len())
        .header("x-amz-target", target)
        .header("user-agent", concat!("ecs-state-reconciler/", env!("CARGO_PKG_VERSION")))
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

fn call_error(error: &SdkError<ErrorMetadata, HttpResponse>) -> CallError {
    match error {
        SdkError::ServiceError(refused) => CallError::Refused {
            code: refused.err().code().filter(|code| is_error_code(code)).map(str::to_owned),
            status: refused.raw().status().as_u16(),
        },
        SdkError::TimeoutError(_) => CallError::Timeout,
        _ if find_cause::<CredentialsError>(error).is_some() => CallError::Credentials,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => CallError::Timeout,
        _ => CallError::Connection,
    }
}
