//! Faults and throttling of ECS.

use std::time::Instant;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    Throttled,
    /// Refused with a status of 500 and `ServerException`.
    ServerError,
    AccessDenied,
    ClusterNotFound,
    /// Refused with an error code and a message that are not from AWS, as by a proxy.
    Foreign(&'static str),
    /// The connection is closed after half of the response.
    HalfAnswer,
    Silence,
    /// The response is a 200 whose body is HTML.
    NotJson,
    /// The connection is closed without a response.
    Closed,
}

/// Which of a rule's requests meet its fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Times {
    Once,
    Next(u32),
    /// `Every(3)` is the third, the sixth, and so on.
    Every(u32),
    Always,
}

/// A fault, and its requests: by default all operations in all clusters.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    times: Times,
    operation: Option<&'static str>,
    cluster: Option<String>,
    matched: u32,
}

impl Rule {
    pub fn new(fault: Fault, times: Times) -> Self {
        Self { fault, times, operation: None, cluster: None, matched: 0 }
    }

    /// Only for this operation, such as `ListTasks`.
    #[must_use]
    pub fn operation(self, operation: &'static str) -> Self {
        Self { operation: Some(operation), ..self }
    }

    /// Only for requests that name this cluster.
    #[must_use]
    pub fn cluster(self, cluster: &str) -> Self {
        Self { cluster: Some(cluster.to_owned()), ..self }
    }

    /// The fault that a request about these clusters meets, if any.
    pub(super) fn hit(&mut self, operation: &str, clusters: &[String]) -> Option<Fault> {
        if self.operation.is_some_and(|only| only != operation)
            || self.cluster.as_ref().is_some_and(|only| !clusters.contains(only))
        {
            return None;
        }
        self.matched += 1;
        let hit = match self.times {
            Times::Once => self.matched == 1,
            Times::Next(count) => self.matched <= count,
            Times::Every(count) => self.matched.is_multiple_of(count),
            Times::Always => true,
        };
        hit.then_some(self.fault)
    }
}

pub(super) struct Buckets {
    resources: Bucket,
    clusters: Bucket,
}

impl Buckets {
    pub(super) fn new(burst: u32, per_second: u32) -> Self {
        Self { resources: Bucket::new(burst, per_second), clusters: Bucket::new(burst.div_ceil(2), per_second) }
    }

    /// Takes a token for a request, if there is one.
    pub(super) fn take(&mut self, operation: &str) -> bool {
        if operation.ends_with("Clusters") { self.clusters.take() } else { self.resources.take() }
    }
}

struct Bucket {
    size: f64,
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn new(size: u32, per_second: u32) -> Self {
        Self { size: size.into(), per_second: per_second.into(), tokens: size.into(), filled: Instant::now() }
    }

    fn take(&mut self) -> bool {
        let now = Instant::now();
        self.tokens = (self.tokens + (now - self.filled).as_secs_f64() * self.per_second).min(self.size);
        self.filled = now;
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }
}
