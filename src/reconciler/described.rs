//! Converts descriptions of the ECS API into states, in the form of an event.
//!
//! The API formats some fields differently: times, the type of an attachment, the status of a managed agent, the
//! cluster of a container instance. These are converted into the event's form; everything else stays as it is.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;

use crate::attributes::timestamp;
use crate::resource::Resource;
use crate::state::lossless_json::{Fields, Json};
use crate::state::{InvalidField, Origin, State, identify};

const TASK_TIMES: [&str; 8] = [
    "connectivityAt",
    "createdAt",
    "executionStoppedAt",
    "pullStartedAt",
    "pullStoppedAt",
    "startedAt",
    "stoppedAt",
    "stoppingAt",
];

/// The end of the latest year that RFC 3339 can express.
const MAX_MILLISECONDS: i64 = 253_402_300_799_999;

/// Parses the description of a task or a container instance of a cluster. `time` is when the API returned it.
pub fn state<'j>(
    resource: Resource,
    cluster: &'j str,
    json: &'j RawValue,
    time: DateTime<Utc>,
) -> Result<State<'j>, InvalidField> {
    let mut detail = Fields::parse(json).map_err(|found| InvalidField {
        arn: None,
        field: match resource {
            Resource::Task => "a task",
            Resource::ContainerInstance => "a container instance",
        },
        expected: "an object",
        found,
    })?;
    let (arn, version) = identify(resource, &detail)?;
    match resource {
        Resource::Task => convert_task(&mut detail),
        Resource::ContainerInstance => {
            convert_container_instance(&mut detail);
            detail.add("clusterArn", Json::String(cluster.into()));
        }
    }
    Ok(State { resource, arn, version, detail, origin: Origin::Api { time } })
}

/// The latest time in a state.
pub fn newest_time(state: &State<'_>) -> Option<DateTime<Utc>> {
    let time = |name: &&str| match state.detail.get(name) {
        Some(Ok(Json::String(time))) => time.parse().ok(),
        _ => None,
    };
    TASK_TIMES.iter().filter_map(time).max()
}

fn convert_task(task: &mut Fields<'_>) {
    for name in TASK_TIMES {
        task.get_mut(name).map(convert_time);
    }
    convert_attachments(task);
    for container in values(task.get_mut("containers")) {
        for agent in values(container.get_mut("managedAgents")) {
            agent.get_mut("lastStartedAt").map(convert_time);
            agent.rename("lastStatus", "status");
        }
    }
}

fn convert_container_instance(instance: &mut Fields<'_>) {
    instance.get_mut("registeredAt").map(convert_time);
    convert_attachments(instance);
    for detail in values(instance.get_mut("healthStatus").and_then(|health| health.get_mut("details"))) {
        for name in ["lastUpdated", "lastStatusChange"] {
            detail.get_mut(name).map(convert_time);
        }
    }
}

fn convert_attachments(detail: &mut Fields<'_>) {
    for attachment in values(detail.get_mut("attachments")) {
        if let Some(Json::String(kind)) = attachment.get_mut("type")
            && kind == "ElasticNetworkInterface"
        {
            *kind = "eni".into();
        }
    }
}

fn values<'v, 'j>(array: Option<&'v mut Json<'j>>) -> &'v mut [Json<'j>] {
    array.map_or(&mut [], Json::values_mut)
}

/// Converts seconds since 1970 into a time in an event's form. Any other value stays as it is.
fn convert_time(value: &mut Json<'_>) {
    if let Json::Number(digits) = value
        && let Some(time) = milliseconds(digits).and_then(DateTime::from_timestamp_millis)
    {
        *value = Json::String(timestamp(time).into());
    }
}

/// Converts the digits of a number of seconds, such as `1.619719924711E9`, into rounded milliseconds. Some of them
/// would change as floats.
fn milliseconds(digits: &str) -> Option<i64> {
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    if digits.starts_with('-') {
        return None;
    }
    let zeros = i64::try_from(all.len() - digits.len()).ok()?;
    // How many digits precede the decimal point, once it is moved by the exponent, and by 3 for milliseconds.
    let point = i64::try_from(whole.len()).ok()? - zeros + i64::from(exponent.parse::<i32>().ok()?) + 3;
    let Ok(point) = usize::try_from(point) else { return Some(0) };
    if point > 18 {
        return digits.is_empty().then_some(0);
    }
    let integer = digits
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(point)
        .try_fold(0_i64, |integer, digit| digit.is_ascii_digit().then(|| integer * 10 + i64::from(digit - b'0')))?;
    let rounded = integer + i64::from(digits.as_bytes().get(point).is_some_and(|digit| *digit >= b'5'));
    (rounded <= MAX_MILLISECONDS).then_some(rounded)
}
