//! The DynamoDB client, and the connection that is opened before the first event.

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpRequest;

use super::store_error::StoreError;
use super::timeouts::{BrokenConnections, CONNECT_TIMEOUT, retries, timeouts};
use crate::aws::unlimited_retries;

/// Builds a client with the [timeouts and retries](super::timeouts). Build it once: it keeps its connections open.
pub fn new(aws: &SdkConfig) -> Client {
    let config = aws_sdk_dynamodb::config::Builder::from(aws)
        .timeout_config(timeouts())
        .retry_config(retries())
        .retry_partition(unlimited_retries())
        .retry_classifier(BrokenConnections)
        .build();
    Client::from_conf(config)
}

/// Opens the connection and exercises the full request pipeline once, while Lambda still grants a whole CPU for
/// initialization; afterwards, at 128 MB, a function gets 1/14 of a CPU. The HTTP client closes connections that have
/// been idle for 90 s.
///
/// The request is a plain `GET /`: the endpoint's health response needs no permission. The SDK caches the resolved
/// endpoint of one table at a time, so `table` should be the one that receives most events. If there is no response
/// within [`CONNECT_TIMEOUT`], the first event tries again and reports the failure.
pub async fn connect(client: &Client, table: &str) -> Result<(), StoreError> {
    let once = aws_sdk_dynamodb::Config::builder()
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(CONNECT_TIMEOUT).build());
    let get = |request: &mut HttpRequest| {
        request.headers_mut().remove("x-amz-target");
        request.headers_mut().remove("content-length");
        *request.body_mut() = "".into();
        request.set_method("GET").unwrap_or_default();
    };
    match client.put_item().table_name(table).customize().config_override(once).mutate_request(get).send().await {
        // The SDK can't parse the response, since it is not PutItem's, but the endpoint did respond.
        Err(error) if error.raw_response().is_none() => Err(StoreError::new(&error)),
        _ => Ok(()),
    }
}
