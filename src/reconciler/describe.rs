//! Asks ECS about resources of a cluster, and judges its answers. Whatever they leave open is a failure of the run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use serde_json::value::RawValue;

use super::ecs::{Description, describe_operation};
use super::run::Run;
use crate::resource::Resource;
use crate::state::lossless_json::{Fields, Json};

/// What ECS says about resources of a cluster.
#[derive(Default)]
pub struct Described {
    /// The tasks or container instances that it described.
    pub found: Vec<Box<RawValue>>,
    /// The ARNs that it does not know in this cluster.
    pub missing: Vec<String>,
    /// Whether it does not find the cluster. Then there may be nothing else.
    pub is_cluster_not_found: bool,
}

/// Describes resources of a cluster.
///
/// ECS refuses a whole batch for a single ARN that it does not accept: such a batch is halved until the ARN is found, at
/// most [`MAX_HALVED`](super::run::MAX_HALVED) times in a run. If access is denied, the cluster is not asked about again.
pub async fn describe(run: &Run<'_>, resource: Resource, cluster: &str, arns: &[&str]) -> Described {
    let part = &format!("{} of {cluster}", describe_operation(resource));
    let mut described = Described::default();
    let mut batches = vec![arns];
    while let Some(batch) = batches.pop() {
        if run.is_denied(resource, cluster) {
            break;
        }
        match run.ecs.describe(resource, cluster, batch).await {
            Ok(description) => judge(run, part, resource, batch, description, &mut described),
            Err(error) if error.is_cluster_not_found() => {
                described.is_cluster_not_found = true;
                break;
            }
            Err(error) if error.is_access_denied() => run.deny(resource, cluster, part, error),
            Err(error) if error.is_invalid_parameter() && batch.len() > 1 && run.may_halve() => {
                let (first, second) = batch.split_at(batch.len() / 2);
                batches.extend([first, second]);
            }
            Err(error) if error.is_invalid_parameter() => run.fail(part, format_args!("{error} for {}", Named(batch))),
            Err(error) => run.fail(part, error),
        }
    }
    described
}

/// Adds an answer to what is known, and reports every ARN of the batch that it leaves open.
fn judge(
    run: &Run<'_>,
    part: &str,
    resource: Resource,
    batch: &[&str],
    Description { found, failures }: Description,
    described: &mut Described,
) {
    let mut open: BTreeSet<&str> = batch.iter().copied().collect();
    for json in &found {
        let fields = Fields::parse_some(json, &[resource.key()]);
        if let Ok(Some(Ok(Json::String(arn)))) = fields.as_ref().map(|fields| fields.get(resource.key())) {
            open.remove(&**arn);
        }
    }
    described.found.extend(found);
    let mut refused: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for failure in &failures {
        let arn = failure.arn.as_deref().and_then(|arn| open.take(arn));
        if !failure.is_missing() {
            refused.entry(failure.reason()).or_default().extend(arn);
        } else if let Some(arn) = arn {
            described.missing.push(arn.to_owned());
        }
    }
    for (reason, arns) in refused {
        run.fail(part, format_args!("{reason} for {}", Named(&arns)));
    }
    if !open.is_empty() {
        let open: Vec<&str> = open.into_iter().collect();
        run.fail(part, format_args!("the response lacks {}", Named(&open)));
    }
}

/// Names the first of several ARNs, and counts the others.
struct Named<'n>(&'n [&'n str]);

impl Display for Named<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => write!(formatter, "an ARN that was not asked for"),
            [arn] => write!(formatter, "{arn}"),
            [arn, others @ ..] => write!(formatter, "{arn} and {} more", others.len()),
        }
    }
}
