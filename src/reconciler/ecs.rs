//! The ECS API: six read operations.
//!
//! It does not use `aws-sdk-ecs`: its types would lose unknown fields and the digits of numbers, and it has 248,000
//! lines. Requests follow the [service model]; responses stay text.
//!
//! [service model]: https://github.com/aws/aws-sdk-rust/blob/main/aws-models/ecs.json

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::rate_limiter::{LimitedClient, RateLimiter};
use crate::aws_json::{AwsJson, CallError, Service};
use crate::resource::Resource;

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

/// The ECS API. The rate limiter limits retries anyway.
pub const SERVICE: Service = Service {
    name: "ecs",
    target: "AmazonEC2ContainerServiceV20141113",
    endpoint_variable: "AWS_ENDPOINT_URL_ECS",
    attempt_timeout: ATTEMPT_TIMEOUT,
    attempts: ATTEMPTS,
};

/// A client of the ECS API.
pub struct Ecs {
    api: AwsJson,
    limiter: Arc<RateLimiter>,
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

impl Ecs {
    /// A client that sends at most this many requests a second.
    pub fn new(aws: &SdkConfig, calls_per_second: u32) -> Self {
        let limiter = Arc::new(RateLimiter::new(calls_per_second));
        let client = aws.http_client().map(|client| LimitedClient::new(client, limiter.clone()));
        Self { api: AwsJson::new(aws, &SERVICE, client.map(SharedHttpClient::new)), limiter }
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
            match self.api.call::<Page>(list.operation(), body.to_string()).await {
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
        self.api.call(describe_operation(resource), json!({"cluster": cluster, field: arns}).to_string()).await
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
        let Clusters { clusters, failures } =
            self.api.call("DescribeClusters", json!({"clusters": [cluster]}).to_string()).await?;
        let is_this = |arn: &Option<String>| arn.as_deref() == Some(cluster);
        Ok(clusters.iter().any(|found| is_this(&found.arn) && found.status.as_deref() == Some("INACTIVE"))
            || failures.iter().any(|failure| is_this(&failure.arn) && failure.is_missing()))
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
