//! Limits the rate of requests, including retries, since the account's own deployments share ECS's limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// ECS allows 20 calls a second per account and region, which the account's own deployments share.
///
/// Source: <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html>
pub const MAX_CALLS_PER_SECOND: u32 = 20;
/// A quarter of that, unless another rate is configured.
pub const DEFAULT_CALLS_PER_SECOND: u32 = 5;

/// Lets requests pass one by one, evenly spaced, and counts them.
#[derive(Debug)]
pub struct RateLimiter {
    next: Mutex<Interval>,
    calls: AtomicU64,
}

impl RateLimiter {
    /// A limiter for this many requests a second. It needs Tokio's timer.
    pub fn new(calls_per_second: u32) -> Self {
        let mut next = interval(Duration::from_secs(1) / calls_per_second);
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { next: Mutex::new(next), calls: AtomicU64::new(0) }
    }

    /// How many requests have passed.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Waits until the next request may be sent.
    pub async fn pass(&self) {
        self.next.lock().await.tick().await;
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

/// An HTTP client in which every request, and thus every attempt of a call, waits for the limiter.
#[derive(Debug)]
pub struct LimitedClient {
    client: SharedHttpClient,
    limiter: Arc<RateLimiter>,
}

impl LimitedClient {
    /// Limits the requests of a client.
    pub fn new(client: SharedHttpClient, limiter: Arc<RateLimiter>) -> Self {
        Self { client, limiter }
    }
}

impl HttpClient for LimitedClient {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let connector = self.client.http_connector(settings, components);
        SharedHttpConnector::new(LimitedConnector { connector, limiter: self.limiter.clone() })
    }
}

#[derive(Debug)]
struct LimitedConnector {
    connector: SharedHttpConnector,
    limiter: Arc<RateLimiter>,
}

impl HttpConnector for LimitedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (connector, limiter) = (self.connector.clone(), self.limiter.clone());
        HttpConnectorFuture::new(async move {
            limiter.pass().await;
            connector.call(request).await
        })
    }
}
