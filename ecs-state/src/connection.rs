//! Connecting to AWS: profile, region, credentials and retries.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_types::region::Region;
use ecs_state_recorder::aws;
use ecs_state_recorder::aws_json::{AwsJson, Service};
use ecs_state_recorder::config::{default_table, is_region};
use ecs_state_recorder::resource::Resource;

use crate::arguments::Connection;
use crate::failure::Failure;
use crate::tables::Tables;

/// Enough for a page of 1 MB over a slow network.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 6;

pub(crate) async fn load(profile: Option<&str>, region: Option<&str>) -> Result<SdkConfig, Failure> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(profile) = profile {
        // As in the AWS CLI, a profile given here overrides credentials in the environment. A role of the profile is
        // assumed in the region of the tables.
        let region = if let Some(region) = region {
            Some(Region::new(region.to_owned()))
        } else {
            let profile_region = ProfileFileRegionProvider::builder().profile_name(profile).build();
            RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                .or_else(profile_region)
                .region()
                .await
        };
        let provider = ProviderConfig::without_region().with_region(region).with_http_client(aws::https());
        let credentials = ProfileFileCredentialsProvider::builder().profile_name(profile).configure(&provider).build();
        loader = loader.profile_name(profile).credentials_provider(credentials);
    }
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    Ok(aws::load_from(loader).await?)
}

pub(crate) fn open(aws: &SdkConfig, connection: &Connection) -> Tables {
    let timeouts =
        TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
    let config = aws_sdk_dynamodb::config::Builder::from(aws)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .build();
    let name = |given: &Option<String>, resource: Resource| {
        given.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| default_table(resource).to_owned())
    };
    Tables {
        client: Client::from_conf(config),
        tasks: name(&connection.task_table, Resource::Task),
        container_instances: name(&connection.container_instance_table, Resource::ContainerInstance),
    }
}

/// A client of another service in this region, or else in the configured one.
pub(crate) fn client(aws: &SdkConfig, service: &'static Service, region: Option<&str>) -> AwsJson {
    let mut aws = aws.clone().into_builder();
    // An invalid region could lead to another host.
    if let Some(region) = region.filter(|region| is_region(region)) {
        aws = aws.region(Region::new(region.to_owned()));
    }
    let aws = aws.build();
    AwsJson::new(&aws, service, aws.http_client())
}
