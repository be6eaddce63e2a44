//! A proxy for DynamoDB that injects network and service faults.

use std::io::Write as _;
use std::net::SocketAddr;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::lock;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Refused with this status and error code; DynamoDB does not get the request.
    Refused(u16, &'static str),
    /// Refused in the same way, with a header that asks for a pause of a minute.
    RetryAfter(u16, &'static str),
    /// Refused in the same way, with the whole request as the message, and also as the code if that is empty.
    Echoed(u16, &'static str),
    /// A proxy responds with an HTML page that contains the whole request.
    Page(u16),
    /// The connection is reset before DynamoDB gets the request.
    ResetBefore,
    /// DynamoDB executes the request, but the connection is reset before the response.
    ResetAfter,
    /// DynamoDB executes the request, but the response is not HTTP.
    NotHttp,
    /// DynamoDB executes the request, but only half of the response arrives.
    Truncated,
    /// DynamoDB executes the request, but the response is a 200 whose body is not JSON.
    NotJson,
    /// DynamoDB executes the request, but the response arrives one byte every two seconds.
    Trickle,
    /// DynamoDB executes the request, but no response arrives.
    Silence,
    /// An outage of this length: new connections are refused, open ones are reset.
    Down(Duration),
}

/// Decides which fault the next request meets, if any.
type Plan = Box<dyn FnMut() -> Option<Fault> + Send>;

/// Serves until dropped.
pub struct Proxy {
    pub url: String,
    state: Arc<State>,
    server: JoinHandle<()>,
}

struct State {
    upstream: String,
    client: reqwest::Client,
    plan: Mutex<Plan>,
    requests: AtomicU64,
    connections: AtomicU64,
    /// The capacity units so far, if they are metered.
    units: Mutex<Option<f64>>,
    down: tokio::sync::watch::Sender<Duration>,
}

impl Proxy {
    /// Starts a proxy in front of the DynamoDB at `upstream`, initially without faults.
    pub async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let state = Arc::new(State {
            upstream: upstream.to_owned(),
            client: reqwest::Client::builder().no_proxy().build().expect("a client"),
            plan: Mutex::new(Box::new(|| None)),
            requests: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            units: Mutex::new(None),
            down: tokio::sync::watch::Sender::default(),
        });
        let server = tokio::spawn(serve(state.clone(), listener, address));
        Self { url: format!("http://{address}"), state, server }
    }

    /// From now on, `plan` decides which fault each request meets.
    pub fn plan(&self, plan: impl FnMut() -> Option<Fault> + Send + 'static) {
        *lock(&self.state.plan) = Box::new(plan);
    }

    /// The next `count` requests meet this fault.
    pub fn fail_next(&self, count: usize, fault: Fault) {
        let mut left = count;
        self.plan(move || {
            let hit = left > 0;
            left = left.saturating_sub(1);
            hit.then_some(fault)
        });
    }

    /// From now on, throttles above a capacity in write units per second. Each request counts as a write of
    /// `units_a_write`. Unused capacity lasts for a second: DynamoDB may keep it for longer, but does not guarantee it.
    pub fn throttle(&self, units_a_second: f64, units_a_write: f64) {
        let mut left = units_a_second;
        let mut then = Instant::now();
        self.plan(move || {
            let now = Instant::now();
            left = (left + units_a_second * now.duration_since(then).as_secs_f64()).min(units_a_second);
            then = now;
            if left < units_a_write {
                return Some(Fault::Refused(400, "ThrottlingException"));
            }
            left -= units_a_write;
            None
        });
    }

    /// The number of requests so far, except those that only open a connection.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// From now on, adds up the capacity units that DynamoDB reports for each request.
    pub fn meter(&self) {
        *lock(&self.state.units) = Some(0.0);
    }

    /// The capacity units of all requests since [`Proxy::meter`].
    pub fn units(&self) -> f64 {
        lock(&self.state.units).expect("a proxy that meters")
    }

    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(state: Arc<State>, mut listener: TcpListener, address: SocketAddr) {
    let mut down = state.down.subscribe();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("a connection");
                state.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(connection(state.clone(), stream));
            }
            _ = down.changed() => {
                let pause = *down.borrow_and_update();
                drop(listener);
                connections.abort_all();
                tokio::time::sleep(pause).await;
                listener = TcpListener::bind(address).await.expect("the same port");
            }
        }
    }
}

async fn connection(state: Arc<State>, stream: TcpStream) {
    let stream = stream.into_std().expect("a socket");
    let socket = Arc::new(stream.try_clone().expect("a second handle"));
    let stream = TcpStream::from_std(stream).expect("the same socket");
    let service = service_fn(move |request| answer(state.clone(), socket.clone(), request));
    // A fault that ends the connection is returned as an error, as intended.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

type Body = Either<Full<Bytes>, StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Reset>>>>;

/// Resets the connection.
#[derive(Debug, thiserror::Error)]
#[error("reset")]
struct Reset;

async fn answer(
    state: Arc<State>,
    socket: Arc<std::net::TcpStream>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Reset> {
    if request.method() == Method::GET {
        // An instance opens its connection with this request. DynamoDB's health response looks like this.
        return Ok(response(200, "healthy: dynamodb.eu-west-1.amazonaws.com ".into()));
    }
    state.requests.fetch_add(1, Ordering::Relaxed);
    let fault = lock(&state.plan)();
    let reset = || {
        // With a linger time of 0, closing a socket sends RST instead of FIN.
        SockRef::from(&*socket).set_linger(Some(Duration::ZERO)).expect("an open socket");
        Err(Reset)
    };
    match fault {
        Some(Fault::Refused(status, code)) => return Ok(refused(status, code, "by the proxy")),
        Some(Fault::RetryAfter(status, code)) => {
            let mut response = refused(status, code, "by the proxy");
            response.headers_mut().insert("x-amz-retry-after", HeaderValue::from_static("60000"));
            return Ok(response);
        }
        Some(Fault::Echoed(status, code)) => {
            let request = text(request).await;
            return Ok(refused(status, if code.is_empty() { &request } else { code }, &request));
        }
        Some(Fault::Page(status)) => {
            let page = format!("<html><h1>{status} Bad Gateway</h1><pre>{}</pre></html>", text(request).await);
            return Ok(response(status, page.into()));
        }
        Some(Fault::ResetBefore) => return reset(),
        Some(Fault::Down(pause)) => {
            state.down.send_replace(pause);
            return reset();
        }
        _ => {}
    }
    let (status, request_id, body) = forward(&state, request).await.map_err(|_| Reset)?;
    match fault {
        None => {
            let mut response = response(status, body);
            response.headers_mut().extend(request_id.map(|id| (HeaderName::from_static("x-amzn-requestid"), id)));
            Ok(response)
        }
        Some(Fault::ResetAfter) => reset(),
        Some(Fault::NotHttp) => {
            (&*socket).write_all(b"220 mail.example.com ESMTP\r\n").expect("room in the socket's buffer");
            Err(Reset)
        }
        Some(Fault::NotJson) => Ok(response(200, "<html>".into())),
        Some(Fault::Truncated) => {
            let half = body.slice(..body.len() / 2);
            Ok(streamed(status, body.len(), stream::iter([Ok(Frame::data(half)), Err(Reset)]).boxed()))
        }
        Some(Fault::Trickle) => {
            let length = body.len();
            let bytes = stream::unfold(body, |mut body| async move {
                tokio::time::sleep(Duration::from_secs(2)).await;
                (!body.is_empty()).then(|| (Ok(Frame::data(body.split_to(1))), body))
            });
            Ok(streamed(status, length, bytes.boxed()))
        }
        Some(_) => std::future::pending().await,
    }
}

async fn text(request: Request<Incoming>) -> String {
    let body = request.into_body().collect().await.expect("a whole request");
    String::from_utf8(body.to_bytes().into()).expect("JSON")
}

fn refused(status: u16, code: &str, message: &str) -> Response<Body> {
    let body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message});
    response(status, body.to_string().into())
}

async fn forward(
    state: &State,
    request: Request<Incoming>,
) -> Result<(u16, Option<HeaderValue>, Bytes), reqwest::Error> {
    let (mut parts, body) = request.into_parts();
    let mut body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let meters = lock(&state.units).is_some();
    if meters {
        // The embedded DynamoDB does not check signatures.
        let mut request: Value = serde_json::from_slice(&body).expect("a request is JSON");
        request["ReturnConsumedCapacity"] = json!("TOTAL");
        body = request.to_string().into();
        parts.headers.remove(CONTENT_LENGTH);
    }
    let answer = state.client.post(&state.upstream).headers(parts.headers).body(body).send().await?;
    let (status, request_id) = (answer.status().as_u16(), answer.headers().get("x-amzn-requestid").cloned());
    let body = answer.bytes().await?;
    if let Some(units) = &mut *lock(&state.units) {
        *units += consumed(&body);
    }
    Ok((status, request_id, body))
}

/// The capacity units in an answer, which are per table for a batch.
fn consumed(answer: &[u8]) -> f64 {
    let answer: Value = serde_json::from_slice(answer).expect("an answer is JSON");
    let consumed = &answer["ConsumedCapacity"];
    let tables = consumed.as_array().map_or(slice::from_ref(consumed), Vec::as_slice);
    tables.iter().map(|table| table["CapacityUnits"].as_f64().expect("capacity units")).sum()
}

fn response(status: u16, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(body)));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

fn streamed(
    status: u16,
    length: usize,
    body: stream::BoxStream<'static, Result<Frame<Bytes>, Reset>>,
) -> Response<Body> {
    let mut response = Response::new(Either::Right(StreamBody::new(body)));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert("content-length", length.into());
    response
}
