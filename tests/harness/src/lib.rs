//! The functions' environment in the tests, the local run and the benchmark: events, a real DynamoDB engine, the ECS
//! API, an event bus, Lambda's Runtime API, and the faults in between.
#![allow(clippy::expect_used, clippy::panic, reason = "a harness that can't go on fails the test by panicking")]
#![allow(clippy::missing_panics_doc, reason = "panicking is how a harness fails, everywhere")]
#![allow(missing_docs, reason = "comments say what names do not")]

pub mod any_bytes;
pub mod bus;
pub mod documented;
pub mod dynamodb;
pub mod ecs;
pub mod events;
pub mod proxy;
pub mod recorder;
pub mod runtime_api;
pub mod storm;
pub mod stream;
pub mod tls;

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::Router;
use tokio::net::TcpListener;

/// Serves on a free port until the test ends. Returns the URL.
pub async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
