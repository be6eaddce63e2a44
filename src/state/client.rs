//! How DynamoDB is reached: region and endpoint, time limits, retries, and the connection that is open before the first
//! event.

use std::env;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpRequest;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_types::retry::RetrySpec;
use http::Uri;

use super::write_error::WriteError;
use crate::config::InvalidVariable;

/// How long connecting may take. Within a region it takes a few milliseconds: a second has room for one lost packet.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long one attempt may take, from the credentials to the last byte of the answer. DynamoDB answers in some 10 ms,
/// and the first TLS handshake of a 128 MB function adds a few (docs/performance.md): what takes longer is assumed lost.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2500);
/// How often a write is attempted.
pub const ATTEMPTS: u32 = 3;
/// The longest pause between two attempts: a random part of it before the second, of all of it before the third. An
/// answer may ask for a pause of its own (`x-amz-retry-after`), and gets no more than this either.
pub const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// How long a write may take. Three attempts and two pauses take 9.5 s at most, so the third is never cut short. It
/// leaves a third of Lambda's 15 s to the rest: a fault ends in an error that names it, not in a Lambda timeout.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

const _: () = assert!(
    ATTEMPTS as u128 * ATTEMPT_TIMEOUT.as_millis() + (ATTEMPTS as u128 - 1) * MAX_BACKOFF.as_millis()
        < OPERATION_TIMEOUT.as_millis(),
    "every attempt must fit into the operation"
);

/// A DynamoDB client with the region, credentials and endpoint of the environment. Limits and retries are those above,
/// whatever the environment says of them (`AWS_MAX_ATTEMPTS`, `AWS_RETRY_MODE`, `AWS_NEW_RETRIES_2026`). It keeps its
/// connections: build it once.
///
/// # Errors
///
/// There is no region, or the region or an endpoint can't be one.
pub async fn new() -> Result<Client, InvalidVariable> {
    for variable in ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"] {
        if env::var_os(variable).is_some_and(|url| !url.to_str().is_some_and(is_endpoint)) {
            return Err(InvalidVariable {
                variable,
                // Not the value: a URL can hold a password.
                problem: "must be a URL with http:// or https:// and a host, such as \
                          https://dynamodb.eu-west-1.amazonaws.com"
                    .to_owned(),
            });
        }
    }
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(MAX_BACKOFF / 2)
        .with_max_backoff(MAX_BACKOFF)
        // By 2.1, an answer's `x-amz-retry-after` may exceed the longest pause by 5 s.
        .with_retry_spec(RetrySpec::v2_0());
    let https = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(https)
        .timeout_config(timeouts)
        .retry_config(retries)
        // It watches over bodies of megabytes. Here, the time limit of the attempt does.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .load()
        .await;
    let problem = match config.region().map(AsRef::as_ref) {
        Some(region) if is_region(region) => return Ok(Client::new(&config)),
        Some(region) => format!("must be an AWS region, such as eu-west-1; found {region:?}"),
        None => "must be set to an AWS region, such as eu-west-1".to_owned(),
    };
    Err(InvalidVariable { variable: "AWS_REGION", problem })
}

fn is_endpoint(url: &str) -> bool {
    url.parse::<Uri>().is_ok_and(|url| {
        matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some_and(|host| !host.is_empty())
    })
}

/// Whether a name has the form of every region of every partition: `eu-west-1`, `us-gov-east-1`, `us-isob-east-1`.
fn is_region(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    matches!(&parts[..], [words @ .., number] if words.len() >= 2 && words.iter().all(is_word) && is_number(number))
}

/// Opens the connection, and exercises the full request pipeline once: Lambda gives a function a whole CPU while it
/// initialises, and 128 MB a fourteenth of one after that. The HTTP client closes a connection that was unused for 90 s.
///
/// It asks for `/`, without an operation: the endpoint's health response needs no permission. The SDK keeps the resolved
/// endpoint of one `table` at a time, so it should be the one that most events go to.
///
/// # Errors
///
/// Nothing answered within [`CONNECT_TIMEOUT`]. The first event tries again, and reports what it meets.
pub async fn connect(client: &Client, table: &str) -> Result<(), WriteError> {
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
        // It isn't the answer to a PutItem, so the SDK can't read it; but it is one.
        Err(error) if error.raw_response().is_none() => Err(WriteError::new(&error)),
        _ => Ok(()),
    }
}
