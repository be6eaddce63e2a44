//! What all AWS clients share: their configuration (region, endpoints, credentials, TLS), and how to read their errors.

use std::env;
use std::error::Error as StdError;
use std::io;
use std::iter::successors;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_sdk_dynamodb::config::retry::{RetryPartition, TokenBucket};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use http::Uri;

use crate::config::{InvalidVariable, is_region};

/// Loads the configuration in the SDK's standard way.
///
/// # Errors
///
/// The region is missing, or the region or an endpoint is malformed.
pub async fn load() -> Result<SdkConfig, InvalidVariable> {
    load_from(aws_config::defaults(BehaviorVersion::latest())).await
}

/// The same, for a loader that already has some settings, such as a profile.
pub async fn load_from(loader: ConfigLoader) -> Result<SdkConfig, InvalidVariable> {
    for (variable, example) in [
        ("AWS_ENDPOINT_URL_DYNAMODB", "https://dynamodb.eu-west-1.amazonaws.com"),
        ("AWS_ENDPOINT_URL_ECS", "https://ecs.eu-west-1.amazonaws.com"),
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", "https://events.eu-west-1.amazonaws.com"),
        ("AWS_ENDPOINT_URL_STS", "https://sts.eu-west-1.amazonaws.com"),
        ("AWS_ENDPOINT_URL", "http://localhost:4566"),
    ] {
        if env::var_os(variable).is_some_and(|url| !url.to_str().is_some_and(is_endpoint)) {
            // Without the value: a URL can contain a password.
            return Err(InvalidVariable::new(
                variable,
                format!("must be a URL with http:// or https:// and a host, and no user name, such as {example}"),
            ));
        }
    }
    let aws = loader
        .http_client(https())
        // Each client sets its own. Set here, too, because the SDK panics if it reads an invalid AWS_RETRY_MODE or
        // AWS_MAX_ATTEMPTS from the environment.
        .retry_config(RetryConfig::standard())
        // Meant for bodies of megabytes. Here, the attempt timeouts are enough.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .load()
        .await;
    let problem = match aws.region().map(AsRef::as_ref) {
        Some(region) if is_region(region) => return Ok(aws),
        Some(region) => format!("must be an AWS region such as eu-west-1, found {region:?}"),
        None => "must be set to an AWS region such as eu-west-1".to_owned(),
    };
    Err(InvalidVariable::new("AWS_REGION", problem))
}

/// An HTTP client with rustls and ring.
pub fn https() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

/// Whether a URL has a scheme and a host, no password, and no port or a valid one.
fn is_endpoint(url: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else { return false };
    let (Some("http" | "https"), Some(authority)) = (url.scheme_str(), url.authority()) else { return false };
    let port = authority.as_str().strip_prefix(authority.host());
    !authority.host().is_empty()
        && port.is_some_and(|port| {
            let number = authority.port_u16().filter(|number| *number > 0);
            port.is_empty() || number.is_some_and(|number| port == format!(":{number}"))
        })
}

/// Lets every request use all its attempts: the SDK's own token bucket would be empty after some 25 failed writes, and
/// allow one attempt each from then on.
pub fn unlimited_retries() -> RetryPartition {
    RetryPartition::custom("unlimited").token_bucket(TokenBucket::unlimited()).build()
}

/// Whether a text has the form of an AWS error code or of an action's name: `ThrottlingException`, `PutItem`.
pub(crate) fn is_error_code(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// An error and its chain of causes. An I/O error's `source()` skips the error that it wraps, so that one is taken
/// directly.
pub(crate) fn chain<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    successors(Some(error), |&error| match error.downcast_ref().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
        None => error.source(),
    })
}

/// The innermost error of a type.
pub(crate) fn find_cause<'e, E: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e E> {
    chain(error).filter_map(|error| error.downcast_ref()).last()
}
