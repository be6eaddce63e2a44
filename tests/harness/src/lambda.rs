//! Lambda's side: a queue of events, and copies of the real binary that take them through the [Runtime API].
//!
//! [Runtime API]: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html

use std::collections::VecDeque;
use std::env;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// The function that is tested: `FUNCTION_BINARY`, or the one that was built with the tests.
#[must_use]
pub fn binary(built: &str) -> String {
    env::var("FUNCTION_BINARY").unwrap_or_else(|_| built.to_owned())
}

/// How often Lambda's asynchronous side delivers an event before it goes to the on-failure destination: once, and two
/// retries.
const ASYNCHRONOUS_DELIVERIES: u32 = 3;

/// What came of an event in the end.
#[derive(Debug)]
pub struct Answer {
    /// Whether the last delivery failed, so that the event is in the on-failure destination.
    pub failed: bool,
    /// The function's answer, or its error.
    pub body: Value,
    /// How often the event was delivered.
    pub deliveries: u32,
    /// How long the slowest delivery took, from the function's taking it to its answer.
    pub slowest: Duration,
}

impl Answer {
    /// The outcome, or the error's type.
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

/// Runs copies of a function until it is dropped.
pub struct Lambda {
    service: Arc<Service>,
    copies: Vec<(Arc<Environment>, JoinHandle<()>)>,
}

/// What all copies share.
struct Service {
    command: Vec<String>,
    /// How many events a copy has at once: more than one on Lambda's managed instances only.
    concurrency: usize,
    variables: Vec<(String, String)>,
    queue: Mutex<VecDeque<Invocation>>,
    queued: Notify,
    next_id: Mutex<u64>,
    deaths: Mutex<Vec<Option<i32>>>,
    log: Mutex<String>,
}

/// One copy's execution environment. It outlives the process in it: where that dies, the next one is started.
struct Environment {
    service: Arc<Service>,
    /// The events that the process has and hasn't answered, the oldest first.
    in_flight: Mutex<VecDeque<Invocation>>,
    process: Mutex<Option<Pid>>,
    /// How long the process took from its start to its first question for an event.
    ready: watch::Sender<Option<Duration>>,
    started: Mutex<Instant>,
}

impl Lambda {
    /// Starts copies of a function, with `variables` beside those that Lambda sets.
    pub async fn start(program: &str, copies: usize, variables: &[(&str, &str)]) -> Self {
        Self::start_command(&[program], copies, variables).await
    }

    /// The same for a function that takes arguments.
    pub async fn start_command(command: &[&str], copies: usize, variables: &[(&str, &str)]) -> Self {
        let concurrency = variables.iter().find(|(name, _)| *name == "AWS_LAMBDA_MAX_CONCURRENCY");
        let service = Arc::new(Service {
            concurrency: concurrency.map_or(1, |(_, value)| value.parse().expect("a number")),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            queue: Mutex::default(),
            queued: Notify::new(),
            next_id: Mutex::default(),
            deaths: Mutex::default(),
            log: Mutex::default(),
        });
        let mut started = Vec::new();
        for _ in 0..copies {
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
        Self { service, copies: started }
    }

    /// Invokes the function once, and waits for its answer.
    pub async fn invoke(&self, payload: impl Into<Bytes>) -> Answer {
        self.finished(self.service.enqueue(payload.into(), 1)).await
    }

    /// Sends an event the asynchronous way: delivered again, twice, where it fails.
    pub fn send(&self, payload: impl Into<Bytes>) -> oneshot::Receiver<Answer> {
        self.service.enqueue(payload.into(), ASYNCHRONOUS_DELIVERIES)
    }

    /// Waits for what comes of an event.
    pub async fn finished(&self, answer: oneshot::Receiver<Answer>) -> Answer {
        let Ok(answer) = tokio::time::timeout(Duration::from_mins(2), answer).await else {
            panic!("no answer within two minutes; the function's log:\n{}", self.log());
        };
        answer.expect("every event is answered")
    }

    /// Sends a signal to the process of one copy, if it lives.
    pub fn signal(&self, copy: usize, signal: Signal) {
        if let Some(process) = *lock(&self.copies[copy].0.process) {
            // It may be gone by now, and that is as good.
            let _ = kill(process, signal);
        }
    }

    /// Waits until one copy is initialised: its process has asked for its first event. Says which process, and how long
    /// that took from its start.
    pub async fn ready(&self, copy: usize) -> (Pid, Duration) {
        let environment = &self.copies[copy].0;
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

    /// How many of them by this signal.
    pub fn deaths_by(&self, signal: Signal) -> usize {
        lock(&self.service.deaths).iter().filter(|death| **death == Some(signal as i32)).count()
    }

    /// All that the copies wrote to standard output and standard error up to now.
    pub fn log(&self) -> String {
        lock(&self.service.log).clone()
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        for (_, copy) in &self.copies {
            copy.abort();
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
                tokio::spawn(self.clone().keep(process.stdout.take().expect("piped"))),
                tokio::spawn(self.clone().keep(process.stderr.take().expect("piped"))),
            ];
            let status = process.wait().await.expect("a child of ours");
            *lock(&self.process) = None;
            lock(&self.service.deaths).push(status.signal());
            for output in outputs {
                output.await.expect("it only reads");
            }
            if self.ready.send_replace(None).is_none() {
                // It ended before it asked for an event. Lambda starts one for an event, and fails that.
                let invocation = self.service.next().await;
                self.take(invocation);
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

    async fn keep(self: Arc<Self>, mut output: impl AsyncRead + Unpin) {
        let mut buffer = [0; 8192];
        while let Ok(read @ 1..) = output.read(&mut buffer).await {
            lock(&self.service.log).push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }

    /// Gives the process an event.
    fn take(&self, mut invocation: Invocation) {
        invocation.deliveries += 1;
        invocation.deliveries_left -= 1;
        invocation.delivered = Instant::now();
        let mut in_flight = lock(&self.in_flight);
        in_flight.push_back(invocation);
        // A question that a process died on can have taken an event after it: that one goes back, undelivered.
        if in_flight.len() > self.service.concurrency {
            let mut unheard = in_flight.pop_front().expect("there are more than none");
            unheard.deliveries -= 1;
            unheard.deliveries_left += 1;
            self.service.deliver(unheard);
        }
    }

    /// Takes what came of an event: it is done, or goes back into the queue.
    fn finish(&self, id: u64, failed: bool, body: Value) {
        let mut in_flight = lock(&self.in_flight);
        let Some(position) = in_flight.iter().position(|invocation| invocation.id == id) else { return };
        let mut invocation = in_flight.remove(position).expect("it has just been found");
        invocation.slowest = invocation.slowest.max(invocation.delivered.elapsed());
        if failed && invocation.deliveries_left > 0 {
            self.service.deliver(invocation);
        } else {
            // A test that doesn't wait for the answer is free to drop it.
            let Invocation { deliveries, slowest, done, .. } = invocation;
            let _ = done.send(Answer { failed, body, deliveries, slowest });
        }
    }
}

async fn next(State(environment): State<Arc<Environment>>) -> impl IntoResponse {
    let started = *lock(&environment.started);
    environment.ready.send_if_modified(|ready| ready.is_none() && ready.replace(started.elapsed()).is_none());
    let invocation = environment.service.next().await;
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") + Duration::from_secs(15);
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
    environment.take(invocation);
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

/// The event that a request id stands for.
fn id(request: &str) -> u64 {
    request.strip_prefix("request-").and_then(|id| id.parse().ok()).expect("a request id of ours")
}

fn answer(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("the function answers in JSON")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
