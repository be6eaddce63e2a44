//! A fake Amazon ECS API, with the operations that read tasks and container instances.
//!
//! It answers as ECS does: in pages, with at most 100 descriptions at once, with `failures` for unknown resources,
//! throttled by token buckets, and eventually consistent on request. What is put into it is returned verbatim.
//!
//! It is stricter than ECS: a parameter that it does not implement is an error, so that no filter is silently ignored,
//! and descriptions are never in the order of the request, since ECS guarantees no order.

mod faults;
mod objects;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use axum::body::{Body, Bytes};
use ecs_state_recorder::resource::Resource;
use futures_util::stream;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::http::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use self::faults::Buckets;
pub use self::faults::{Fault, Rule, Times};
pub use self::objects::{cluster, container_instance, task};
use crate::lock;

/// The maximum size of a page, and of a call that describes resources.
const LIMIT: usize = 100;

const JSON: &str = "application/x-amz-json-1.1";

/// Empty at first, without faults or throttling. It serves until dropped.
pub struct Ecs {
    pub url: String,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

#[derive(Clone, Debug)]
pub struct Call {
    /// Such as `ListTasks`.
    pub operation: String,
    /// The cluster, as the request named it.
    pub cluster: Option<String>,
    /// How many tasks, container instances or clusters it asked to describe.
    pub arns: usize,
    pub at: Instant,
    /// Whether it received an error or met a fault.
    pub refused: bool,
}

/// What ECS says about a deleted cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Gone {
    /// `DescribeClusters` still knows it, as `INACTIVE`.
    Inactive,
    /// `DescribeClusters` says `MISSING`.
    Missing,
}

impl Ecs {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound address"));
        let state = Arc::new(Mutex::new(State { page_size: LIMIT, ..State::default() }));
        let server = tokio::spawn(serve(listener, state.clone()));
        Self { url, state, server }
    }

    /// Creates a cluster, or reactivates it.
    pub fn put_cluster(&self, arn: &str) {
        self.lock().clusters.insert(arn.to_owned(), true);
    }

    /// Creates or replaces a task, and its cluster. Large fractions are written as ECS does: `1.619719924711E9`.
    pub fn put_task(&self, task: &Value) {
        self.put(Resource::Task, text_of(task, "clusterArn"), task, objects::text(task));
    }

    /// The same, from JSON that `DescribeTasks` returns verbatim.
    pub fn put_task_text(&self, text: &str) {
        let task: Value = serde_json::from_str(text).expect("JSON");
        self.put(Resource::Task, text_of(&task, "clusterArn"), &task, text.to_owned());
    }

    /// Creates or replaces a container instance, and its cluster. Large fractions are written as for tasks.
    pub fn put_container_instance(&self, cluster: &str, instance: &Value) {
        self.put(Resource::ContainerInstance, cluster, instance, objects::text(instance));
    }

    /// The same, from JSON that `DescribeContainerInstances` returns verbatim.
    pub fn put_container_instance_text(&self, cluster: &str, text: &str) {
        let instance = serde_json::from_str(text).expect("JSON");
        self.put(Resource::ContainerInstance, cluster, &instance, text.to_owned());
    }

    fn put(&self, kind: Resource, cluster: &str, object: &Value, text: String) {
        self.lock().put(kind, cluster, object, text);
    }

    /// Puts numbered tasks and container instances at version 1 into each of this many clusters.
    pub fn fleet(&self, clusters: u32, tasks_each: u32, instances_each: u32) {
        for cluster in (0..clusters).map(|number| cluster(&format!("fleet-{number:03}"))) {
            (0..tasks_each).for_each(|number| self.put_task(&task(&cluster, number, 1)));
            (0..instances_each)
                .for_each(|number| self.put_container_instance(&cluster, &container_instance(&cluster, number, 1)));
        }
    }

    /// Removes a task or container instance: from now on it is `MISSING`.
    pub fn forget(&self, arn: &str) {
        self.lock().resources.remove(arn);
    }

    /// Deletes a cluster with everything in it.
    pub fn delete_cluster(&self, arn: &str, gone: Gone) {
        let mut state = self.lock();
        state.resources.retain(|_, resource| resource.cluster != arn);
        match gone {
            Gone::Inactive => state.clusters.insert(arn.to_owned(), false),
            Gone::Missing => state.clusters.remove(arn),
        };
    }

    /// The next `times` descriptions of this task or container instance return this object, older or newer.
    pub fn describe_as(&self, arn: &str, object: &Value, times: usize) {
        self.describe_next(arn, times, Ok(objects::text(object)));
    }

    /// The next `times` descriptions of this task or container instance say `MISSING`.
    pub fn flap(&self, arn: &str, times: usize) {
        self.fail_description(arn, "MISSING", times);
    }

    /// The next `times` descriptions of this task or container instance fail for this reason.
    pub fn fail_description(&self, arn: &str, reason: &str, times: usize) {
        self.describe_next(arn, times, Err(reason.to_owned()));
    }

    /// From now on, a call that asks to describe this ARN is refused.
    pub fn refuse(&self, arn: &str) {
        self.lock().refused.insert(arn.to_owned());
    }

    /// From now on, answers say nothing about this task or container instance.
    pub fn omit(&self, arn: &str) {
        self.lock().omitted.insert(arn.to_owned());
    }

    fn describe_next(&self, arn: &str, times: usize, description: Description) {
        self.lock().next.entry(arn.to_owned()).or_default().extend(std::iter::repeat_n(description, times));
    }

    /// Runs `hook` just before the next description.
    pub fn before_describe(&self, hook: impl FnOnce() + Send + 'static) {
        self.lock().before_describe = Some(Box::new(hook));
    }

    /// Puts a task as soon as the tasks with this desired status have been listed.
    pub fn after_list(&self, desired_status: &'static str, task: &Value) {
        self.lock().after_list = Some((desired_status, task.clone()));
    }

    pub fn page_size(&self, size: usize) {
        self.lock().page_size = size.clamp(1, LIMIT);
    }

    /// Throttles from now on. The documented limits are 100 and 20. Lists and descriptions of tasks and container
    /// instances share a bucket of size `burst`; `ListClusters` and `DescribeClusters` share one of half that size.
    pub fn throttling(&self, burst: u32, per_second: u32) {
        self.lock().buckets = Some(Buckets::new(burst, per_second));
    }

    /// Adds a fault. If several apply to a request, it meets the one added first.
    pub fn inject(&self, rule: Rule) {
        self.lock().rules.push(rule);
    }

    pub fn clear_faults(&self) {
        self.lock().rules.clear();
    }

    /// Every request so far, in order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// All tasks, and the container instances that are not `INACTIVE`, sorted by ARN, each with its cluster's ARN.
    pub fn states(&self) -> Vec<(String, Value)> {
        let state = self.lock();
        let current = state.resources.values().filter(|resource| resource.status != "INACTIVE");
        let state = |resource: &Object| (resource.cluster.clone(), serde_json::from_str(&resource.text).expect("JSON"));
        current.map(state).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Ecs {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Default)]
struct State {
    /// The clusters by ARN, and whether they are active.
    clusters: BTreeMap<String, bool>,
    /// By ARN.
    resources: BTreeMap<String, Object>,
    /// The next descriptions of a resource, instead of its current state.
    next: HashMap<String, VecDeque<Description>>,
    refused: HashSet<String>,
    omitted: HashSet<String>,
    page_size: usize,
    /// For each page token: its list, and the last ARN of the previous page.
    tokens: HashMap<String, (String, String)>,
    buckets: Option<Buckets>,
    rules: Vec<Rule>,
    after_list: Option<(&'static str, Value)>,
    before_describe: Option<Box<dyn FnOnce() + Send>>,
    calls: Vec<Call>,
}

struct Object {
    kind: Resource,
    cluster: String,
    /// The status that lists filter by: of a task, the desired status.
    status: String,
    text: Box<str>,
}

/// An object as JSON, or the reason of a failure.
type Description = Result<String, String>;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Parameters {
    cluster: Option<String>,
    clusters: Vec<String>,
    tasks: Vec<String>,
    container_instances: Vec<String>,
    desired_status: Option<String>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

/// Why a request does not get its answer.
enum Failure {
    /// An error: its status, code and message.
    Error(u16, &'static str, String),
    Half(String),
    Silence,
    Page,
    Closed,
}

impl Failure {
    fn invalid(message: &str) -> Self {
        Self::Error(400, "InvalidParameterException", message.to_owned())
    }
}

impl State {
    fn put(&mut self, kind: Resource, cluster: &str, object: &Value, text: String) {
        let status = if kind == Resource::Task { "desiredStatus" } else { "status" };
        let (arn, status) = (text_of(object, kind.key()).to_owned(), text_of(object, status).to_owned());
        self.clusters.insert(cluster.to_owned(), true);
        self.resources.insert(arn, Object { kind, cluster: cluster.to_owned(), status, text: text.into() });
    }

    fn call(&mut self, headers: &HeaderMap, body: &[u8]) -> Result<String, Failure> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let operation = header("x-amz-target").strip_prefix("AmazonEC2ContainerServiceV20141113.").unwrap_or_default();
        let parameters = serde_json::from_slice(body);
        let (cluster, arns) = match &parameters {
            Ok(Parameters { cluster, clusters, tasks, container_instances, .. }) => {
                (cluster.clone(), clusters.len() + tasks.len() + container_instances.len())
            }
            Err(_) => (None, 0),
        };
        let at = Instant::now();
        let result = front(header("content-type"), header("authorization"))
            .and_then(|()| parameters.map_err(|error| Failure::Error(400, "SerializationException", error.to_string())))
            .and_then(|parameters| self.admit(operation, &parameters));
        let refused = result.is_err();
        self.calls.push(Call { operation: operation.to_owned(), cluster, arns, at, refused });
        result
    }

    /// Answers a request unless it is throttled or meets a fault.
    fn admit(&mut self, operation: &str, parameters: &Parameters) -> Result<String, Failure> {
        let throttled = || Failure::Error(400, "ThrottlingException", "Rate exceeded".to_owned());
        if !self.buckets.as_mut().is_none_or(|buckets| buckets.take(operation)) {
            return Err(throttled());
        }
        let mut clusters = parameters.clusters.clone();
        clusters.extend(parameters.cluster.clone());
        // Every rule counts the request, even after another rule hit it.
        let hits: Vec<_> = self.rules.iter_mut().filter_map(|rule| rule.hit(operation, &clusters)).collect();
        let Some(fault) = hits.first() else { return self.answer(operation, parameters) };
        Err(match fault {
            Fault::Throttled => throttled(),
            Fault::ServerError => {
                Failure::Error(500, "ServerException", "Service Unavailable. Please try again later.".to_owned())
            }
            Fault::AccessDenied => Failure::Error(
                400,
                "AccessDeniedException",
                format!("User: local is not authorized to perform: ecs:{operation} because no policy allows it"),
            ),
            Fault::ClusterNotFound => cluster_not_found(),
            Fault::Foreign(text) => Failure::Error(400, text, (*text).to_owned()),
            Fault::HalfAnswer => Failure::Half(self.answer(operation, parameters)?),
            Fault::Silence => Failure::Silence,
            Fault::NotJson => Failure::Page,
            Fault::Closed => Failure::Closed,
        })
    }

    fn answer(&mut self, operation: &str, parameters: &Parameters) -> Result<String, Failure> {
        if operation.starts_with("Describe")
            && let Some(hook) = self.before_describe.take()
        {
            hook();
        }
        match operation {
            "ListClusters" => {
                let active = self.clusters.iter().filter(|(_, active)| **active).map(|(arn, _)| arn.clone()).collect();
                self.page("clusterArns", operation, active, parameters)
            }
            "ListTasks" => {
                let cluster = self.active(parameters)?;
                let desired = parameters.desired_status.as_deref().unwrap_or("RUNNING");
                if !["RUNNING", "PENDING", "STOPPED"].contains(&desired) {
                    return Err(Failure::invalid("Invalid desiredStatus."));
                }
                // ECS never sets a task's desired status to PENDING.
                let tasks = self.list(Resource::Task, &cluster, |status| status == desired && status != "PENDING");
                if let Some((_, task)) = self.after_list.take_if(|(status, _)| *status == desired) {
                    self.put(Resource::Task, &cluster, &task, objects::text(&task));
                }
                self.page("taskArns", &format!("{desired} tasks in {cluster}"), tasks, parameters)
            }
            "ListContainerInstances" => {
                let cluster = self.active(parameters)?;
                let instances = self.list(Resource::ContainerInstance, &cluster, |status| status != "INACTIVE");
                self.page("containerInstanceArns", &format!("instances in {cluster}"), instances, parameters)
            }
            "DescribeTasks" => {
                let cluster = self.active(parameters)?;
                let tasks = self.described(&parameters.tasks, "Tasks", "taskIds")?;
                Ok(answer("tasks", &tasks, |arn| self.describe(Resource::Task, &cluster, arn)))
            }
            "DescribeContainerInstances" => {
                let cluster = self.active(parameters)?;
                let instances = &parameters.container_instances;
                let instances = self.described(instances, "Container instances", "containerInstanceIds")?;
                let describe = |arn: &str| self.describe(Resource::ContainerInstance, &cluster, arn);
                Ok(answer("containerInstances", &instances, describe))
            }
            "DescribeClusters" => {
                let clusters = self.described(&parameters.clusters, "Clusters", "clusterIds")?;
                Ok(answer("clusters", &clusters, |cluster| self.describe_cluster(cluster)))
            }
            _ => Err(Failure::Error(400, "UnknownOperationException", operation.to_owned())),
        }
    }

    /// The ARN of the cluster with this name or ARN, if there is one.
    fn arn(&self, cluster: Option<&str>) -> Option<String> {
        let cluster = cluster.unwrap_or("default");
        let named = |arn: &&String| *arn == cluster || arn.split_once('/').is_some_and(|(_, name)| name == cluster);
        self.clusters.keys().find(named).cloned()
    }

    /// The ARN of the cluster that a request is about, which must be active.
    fn active(&self, parameters: &Parameters) -> Result<String, Failure> {
        let cluster = self.arn(parameters.cluster.as_deref()).filter(|arn| self.clusters[arn]);
        cluster.ok_or_else(cluster_not_found)
    }

    fn list(&self, kind: Resource, cluster: &str, status: impl Fn(&str) -> bool) -> Vec<String> {
        let listed = self
            .resources
            .iter()
            .filter(|(_, resource)| resource.kind == kind && resource.cluster == cluster && status(&resource.status));
        listed.map(|(arn, _)| arn.clone()).collect()
    }

    /// A page of a list. It starts after the last ARN of the previous page, whatever has changed since.
    fn page(
        &mut self,
        field: &str,
        list: &str,
        mut arns: Vec<String>,
        parameters: &Parameters,
    ) -> Result<String, Failure> {
        if let Some(token) = &parameters.next_token {
            let known = self.tokens.get(token).filter(|(known, _)| known == list);
            let (_, previous) = known.ok_or_else(|| Failure::invalid("Invalid token."))?;
            arns.retain(|arn| arn > previous);
        }
        let size = parameters.max_results.unwrap_or(LIMIT);
        if !(1..=LIMIT).contains(&size) {
            return Err(Failure::invalid("maxResults must be between 1 and 100."));
        }
        let size = size.min(self.page_size);
        let more = arns.len() > size;
        arns.truncate(size);
        let mut page = json!({field: arns});
        if more && let Some(last) = arns.pop() {
            let token = format!("{:032x}", rand::random::<u128>());
            page["nextToken"] = json!(token);
            self.tokens.insert(token, (list.to_owned(), last));
        }
        Ok(page.to_string())
    }

    /// Checks the ARNs to describe. Returns those that the answer says something about.
    fn described(&self, arns: &[String], name: &str, ids: &str) -> Result<Vec<String>, Failure> {
        match arns.len() {
            0 => Err(Failure::invalid(&format!("{name} cannot be empty."))),
            1..=LIMIT if arns.iter().any(|arn| self.refused.contains(arn)) => {
                Err(Failure::invalid("Invalid identifier."))
            }
            1..=LIMIT => Ok(arns.iter().filter(|arn| !self.omitted.contains(*arn)).cloned().collect()),
            _ => Err(Failure::invalid(&format!("{ids} can have at most {LIMIT} items."))),
        }
    }

    fn describe(&mut self, kind: Resource, cluster: &str, arn: &str) -> Description {
        let known = self.resources.get(arn);
        let elsewhere = known.is_some_and(|resource| resource.kind != kind || resource.cluster != cluster);
        let next = self.next.get_mut(arn).filter(|_| !elsewhere).and_then(VecDeque::pop_front);
        let current = known.filter(|_| !elsewhere).map(|resource| resource.text.to_string());
        next.unwrap_or_else(|| current.ok_or_else(|| "MISSING".to_owned()))
    }

    fn describe_cluster(&self, cluster: &str) -> Description {
        let arn = self.arn(Some(cluster)).ok_or("MISSING")?;
        let description = json!({
            "clusterArn": arn,
            "clusterName": arn.split_once('/').map(|(_, name)| name),
            "status": if self.clusters[&arn] { "ACTIVE" } else { "INACTIVE" },
        });
        Ok(description.to_string())
    }
}

fn cluster_not_found() -> Failure {
    Failure::Error(400, "ClusterNotFoundException", "Cluster not found.".to_owned())
}

/// Checks what AWS checks before any operation.
fn front(content_type: &str, authorization: &str) -> Result<(), Failure> {
    let error = |status, code, message: &str| Err(Failure::Error(status, code, message.to_owned()));
    let scope = authorization.split_once("Credential=").map(|(_, scope)| scope.split(',').next().unwrap_or_default());
    match scope {
        _ if content_type != JSON => error(404, "UnknownOperationException", "content-type"),
        None => error(400, "MissingAuthenticationTokenException", "Missing Authentication Token"),
        Some(scope) if !scope.ends_with("/eu-west-1/ecs/aws4_request") => {
            error(400, "InvalidSignatureException", "Credential should be scoped to a valid region and service.")
        }
        Some(_) => Ok(()),
    }
}

/// The answer to a request for descriptions, in the reverse order of the request.
fn answer(field: &str, arns: &[String], mut describe: impl FnMut(&str) -> Description) -> String {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for arn in arns.iter().rev() {
        match describe(arn) {
            Ok(description) => found.push(description),
            Err(reason) => failures.push(json!({"arn": arn, "reason": reason})),
        }
    }
    format!(r#"{{"{field}":[{}],"failures":{}}}"#, found.join(","), Value::from(failures))
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let state = state.clone();
        let service = service_fn(move |request| respond(state.clone(), request));
        // A fault that ends the connection is returned as an error, as intended.
        connections.spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        while connections.try_join_next().is_some() {}
    }
}

/// Closes the connection, without a response or in the middle of one.
#[derive(Debug, thiserror::Error)]
#[error("closed")]
struct Closed;

async fn respond(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Body>, Closed> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
    let result = lock(&state).call(&head.headers, &body);
    let (status, content_type, body) = match result {
        Ok(text) => (200, JSON, text),
        Err(Failure::Error(status, code, message)) => {
            (status, JSON, json!({"__type": code, "message": message}).to_string())
        }
        Err(Failure::Half(text)) => return Ok(half(text)),
        Err(Failure::Silence) => std::future::pending().await,
        Err(Failure::Page) => (200, "text/html", "<html><h1>Maintenance</h1></html>".to_owned()),
        Err(Failure::Closed) => return Err(Closed),
    };
    let response = Response::builder()
        .status(status)
        .header("content-type", content_type)
        .header("x-amzn-requestid", format!("{:032x}", rand::random::<u128>()))
        .body(Body::from(body));
    Ok(response.expect("a response"))
}

fn half(text: String) -> Response<Body> {
    let length = text.len();
    let mut half = Bytes::from(text);
    half.truncate(length / 2);
    let rest = stream::once(async {
        // hyper sends what it has only when it must wait for more.
        tokio::task::yield_now().await;
        Err(Closed)
    });
    let body = stream::StreamExt::chain(stream::iter([Ok(half)]), rest);
    let response =
        Response::builder().header("content-type", JSON).header("content-length", length).body(Body::from_stream(body));
    response.expect("a response")
}

/// A field of an object that must be a string.
fn text_of<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_else(|| panic!("{field} must be a string in {object}"))
}
