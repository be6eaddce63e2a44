//! A local Lambda: a queue of events, and instances of the real binary, which receive them through the [Runtime API].
//!
//! [Runtime API]: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

use crate::lock;

/// How many times an asynchronous invocation is attempted before the event goes to the on-failure destination.
const ASYNCHRONOUS_DELIVERIES: u32 = 3;

/// The final result of an event.
#[derive(Debug)]
pub struct Answer {
    /// Whether the last delivery failed, so the event is in the on-failure destination.
    pub failed: bool,
    /// The function's answer or error.
    pub body: Value,
    pub deliveries: u32,
    /// The longest time from the delivery of the event to the function's response.
    pub slowest: Duration,
}

impl Answer {
    /// The outcome, or else the error type.
    pub fn outcome(&self) -> &str {
        self.body["outcome"].as_str().or(self.body["errorType"].as_str()).unwrap_or("no outcome")
    }
}

struct Invocation {
    id: u64,
    payload: Bytes,
    deliveries: u32,
    deliveries_left: u32,
    delivered: Instant,
    slowest: Duration,
    done: oneshot::Sender<Answer>,
}

/// Runs instances of a function until dropped.
pub struct Lambda {
    service: Arc<Service>,
    instances: Vec<(Arc<Environment>, JoinHandle<()>)>,
}

/// Shared by all instances.
struct Service {
    command: Vec<String>,
    /// How many events an instance handles at once: several only on Lambda's managed instances.
    concurrency: usize,
    variables: Vec<(String, String)>,
    timeout: Mutex<Duration>,
    /// The waits before an event's second and third delivery.
    retry_waits: Mutex<[Duration; 2]>,
    queue: Mutex<VecDeque<Invocation>>,
    queued: Notify,
    next_id: Mutex<u64>,
    deaths: Mutex<Vec<Option<i32>>>,
    log: Mutex<String>,
}

/// The execution environment of one instance. If its process exits, it starts a new one.
struct Environment {
    service: Arc<Service>,
    /// The events that the process has received but not answered, oldest first.
    in_flight: Mutex<VecDeque<Invocation>>,
    process: Mutex<Option<Pid>>,
    /// The time from the start of the process to its first request for an event.
    ready: watch::Sender<Option<Duration>>,
    started: Mutex<Instant>,
}

impl Lambda {
    /// Starts instances of a function, with `variables` in addition to those that Lambda sets.
    pub async fn start(program: &str, instances: usize, variables: &[(&str, &str)]) -> Self {
        Self::start_command(&[program], instances, variables).await
    }

    /// The same for a command with arguments.
    pub async fn start_command(command: &[&str], instances: usize, variables: &[(&str, &str)]) -> Self {
        let concurrency = variables.iter().find(|(name, _)| *name == "AWS_LAMBDA_MAX_CONCURRENCY");
        let service = Arc::new(Service {
            concurrency: concurrency.map_or(1, |(_, value)| value.parse().expect("a number")),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            timeout: Mutex::new(Duration::from_secs(15)),
            retry_waits: Mutex::default(),
            queue: Mutex::default(),
            queued: Notify::new(),
            next_id: Mutex::default(),
            deaths: Mutex::default(),
            log: Mutex::default(),
        });
        let mut started = Vec::new();
        for _ in 0..instances {
            let environment = Arc::new(Environment {
                service: service.clone(),
                in_flight: Mutex::default(),
                process: Mutex::default(),
                ready: watch::Sender::default(),
                started: Mutex::new(Instant::now()),
            });
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            started.push((environment.clone(), tokio::spawn(environment.run(listener))));
        }
        Self { service, instances: started }
    }

    /// Sets the timeout that is reported to the function: 15 s by default. It is not enforced.
    pub fn set_timeout(&self, timeout: Duration) {
        *lock(&self.service.timeout) = timeout;
    }

    /// Sets how long failed events wait for their second and third delivery: not at all by default. Lambda waits for
    /// one minute, then for two.
    pub fn set_retry_waits(&self, waits: [Duration; 2]) {
        *lock(&self.service.retry_waits) = waits;
    }

    /// Invokes the function once, and waits for its answer.
    pub async fn invoke(&self, payload: impl Into<Bytes>) -> Answer {
        self.wait_for(self.service.enqueue(payload.into(), 1)).await
    }

    /// Invokes the function asynchronously: an event that fails is delivered up to two more times.
    pub fn send(&self, payload: impl Into<Bytes>) -> oneshot::Receiver<Answer> {
        self.service.enqueue(payload.into(), ASYNCHRONOUS_DELIVERIES)
    }

    /// Waits for the final result of an event.
    pub async fn wait_for(&self, answer: oneshot::Receiver<Answer>) -> Answer {
        let Ok(answer) = tokio::time::timeout(Duration::from_mins(2), answer).await else {
            panic!("no answer within two minutes; the function's log:\n{}", self.log());
        };
        answer.expect("every event is answered")
    }

    /// Sends a signal to the process of an instance if it is running.
    pub fn signal(&self, instance: usize, signal: Signal) {
        if let Some(process) = *lock(&self.instances[instance].0.process) {
            // The process may already have exited.
            let _ = kill(process, signal);
        }
    }

    /// Waits until an instance is initialized: its process has asked for its first event. Returns the process, and the
    /// time from its start.
    pub async fn ready(&self, instance: usize) -> (Pid, Duration) {
        let environment = &self.instances[instance].0;
        let mut ready = environment.ready.subscribe();
        let Ok(ready) = tokio::time::timeout(Duration::from_mins(1), ready.wait_for(Option::is_some)).await else {
            panic!("{:?} asked for no event within a minute; its log:\n{}", self.service.command, self.log());
        };
        let ready = *ready.expect("an environment");
        (lock(&environment.process).expect("a process"), ready.expect("waited for"))
    }

    /// How many processes have ended.
    pub fn deaths(&self) -> usize {
        lock(&self.service.deaths).len()
    }

    /// How many processes were ended by this signal.
    pub fn deaths_by(&self, signal: Signal) -> usize {
        lock(&self.service.deaths).iter().filter(|death| **death == Some(signal as i32)).count()
    }

    /// The standard output and standard error of all instances so far.
    pub fn log(&self) -> String {
        lock(&self.service.log).clone()
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        for (_, instance) in &self.instances {
            instance.abort();
        }
    }
}

impl Service {
    fn enqueue(&self, payload: Bytes, deliveries_left: u32) -> oneshot::Receiver<Answer> {
        let (done, answer) = oneshot::channel();
        let id = {
            let mut next_id = lock(&self.next_id);
            *next_id += 1;
            *next_id
        };
        self.deliver(Invocation {
            id,
            payload,
            deliveries: 0,
            deliveries_left,
            delivered: Instant::now(),
            slowest: Duration::ZERO,
            done,
        });
        answer
    }

    fn deliver(&self, invocation: Invocation) {
        lock(&self.queue).push_back(invocation);
        self.queued.notify_one();
    }

    async fn next(&self) -> Invocation {
        loop {
            let queued = self.queued.notified();
            let next = lock(&self.queue).pop_front();
            match next {
                Some(invocation) => {
                    // One notification may stand for several events.
                    self.queued.notify_one();
                    return invocation;
                }
                None => queued.await,
            }
        }
    }
}

impl Environment {
    async fn run(self: Arc<Self>, listener: TcpListener) {
        let address = listener.local_addr().expect("a bound address");
        let api = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .with_state(self.clone());
        let _api = AbortOnDrop(tokio::spawn(async move { axum::serve(listener, api).await.expect("it serves") }));
        loop {
            *lock(&self.started) = Instant::now();
            let mut process = self.spawn(&address.to_string());
            *lock(&self.process) = process.id().map(|id| Pid::from_raw(id.cast_signed()));
            let outputs = [
                tokio::spawn(self.clone().collect(process.stdout.take().expect("piped"))),
                tokio::spawn(self.clone().collect(process.stderr.take().expect("piped"))),
            ];
            let status = process.wait().await.expect("our own child");
            *lock(&self.process) = None;
            lock(&self.service.deaths).push(status.signal());
            for output in outputs {
                output.await.expect("reading never panics");
            }
            if self.ready.send_replace(None).is_none() {
                // It exited during initialization. Lambda starts an instance for an event, and that event fails.
                let invocation = self.service.next().await;
                self.assign(invocation);
            }
            let unanswered: Vec<u64> = lock(&self.in_flight).iter().map(|invocation| invocation.id).collect();
            for id in unanswered {
                self.finish(id, true, json!({"errorType": "Runtime.ExitError", "errorMessage": status.to_string()}));
            }
        }
    }

    fn spawn(&self, api: &str) -> Child {
        Command::new(&self.service.command[0])
            .args(&self.service.command[1..])
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", api)
            .env("AWS_LAMBDA_FUNCTION_NAME", "ecs-state-recorder")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .envs(self.service.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", self.service.command))
    }

    async fn collect(self: Arc<Self>, mut output: impl AsyncRead + Unpin) {
        let mut buffer = [0; 8192];
        while let Ok(read @ 1..) = output.read(&mut buffer).await {
            lock(&self.service.log).push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }

    fn assign(&self, mut invocation: Invocation) {
        invocation.deliveries += 1;
        invocation.deliveries_left -= 1;
        invocation.delivered = Instant::now();
        let mut in_flight = lock(&self.in_flight);
        in_flight.push_back(invocation);
        // A pending request of a process that has died may have received an event, too: return it to the queue as
        // undelivered.
        if in_flight.len() > self.service.concurrency {
            let mut undelivered = in_flight.pop_front().expect("there are more than none");
            undelivered.deliveries -= 1;
            undelivered.deliveries_left += 1;
            self.service.deliver(undelivered);
        }
    }

    /// Records the result of a delivery: the event is done, or returns to the queue.
    fn finish(&self, id: u64, failed: bool, body: Value) {
        let mut in_flight = lock(&self.in_flight);
        let Some(position) = in_flight.iter().position(|invocation| invocation.id == id) else { return };
        let mut invocation = in_flight.remove(position).expect("it has just been found");
        invocation.slowest = invocation.slowest.max(invocation.delivered.elapsed());
        if failed && invocation.deliveries_left > 0 {
            let wait = lock(&self.service.retry_waits)[invocation.deliveries as usize - 1];
            let service = self.service.clone();
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                service.deliver(invocation);
            });
        } else {
            // A test that doesn't need the answer may have dropped the receiver.
            let Invocation { deliveries, slowest, done, .. } = invocation;
            let _ = done.send(Answer { failed, body, deliveries, slowest });
        }
    }
}

async fn next(State(environment): State<Arc<Environment>>) -> impl IntoResponse {
    let started = *lock(&environment.started);
    environment.ready.send_if_modified(|ready| ready.is_none() && ready.replace(started.elapsed()).is_none());
    let invocation = environment.service.next().await;
    let deadline =
        SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") + *lock(&environment.service.timeout);
    let headers = [
        ("lambda-runtime-aws-request-id", format!("request-{}", invocation.id)),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-west-1:123456789012:function:ecs-state-recorder".to_owned(),
        ),
        ("content-type", "application/json".to_owned()),
    ];
    let payload = invocation.payload.clone();
    environment.assign(invocation);
    (headers, payload)
}

async fn response(
    State(environment): State<Arc<Environment>>,
    UrlPath(request): UrlPath<String>,
    body: Bytes,
) -> StatusCode {
    environment.finish(id(&request), false, answer(&body));
    StatusCode::ACCEPTED
}

async fn error(
    State(environment): State<Arc<Environment>>,
    UrlPath(request): UrlPath<String>,
    body: Bytes,
) -> StatusCode {
    environment.finish(id(&request), true, answer(&body));
    StatusCode::ACCEPTED
}

fn id(request: &str) -> u64 {
    request.strip_prefix("request-").and_then(|id| id.parse().ok()).expect("a request id of ours")
}

fn answer(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("the function answers in JSON")
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
