//! Tasks and container instances as the ECS API returns them.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize as _;
use serde_json::ser::{CompactFormatter, Formatter};
use serde_json::{Serializer, Value, json};

/// When the first task was created, in milliseconds: 2026-03-02T09:14:28.417Z.
const CREATED: u64 = 1_772_442_868_417;

pub fn cluster(name: &str) -> String {
    format!("arn:aws:ecs:eu-west-1:123456789012:cluster/{name}")
}

/// A running Fargate task, identified by its number in the cluster. Its start depends on the version.
pub fn task(cluster: &str, number: u32, version: u64) -> Value {
    let id = id(number);
    let arn = arn(cluster, "task", &id);
    let attachment = format!("{}-{}-4e57-9b1c-{}", &id[..8], &id[8..12], &id[20..]);
    let [_, _, high, low] = number.to_be_bytes();
    let address = format!("10.0.{high}.{low}");
    let time = |after: u64| time(CREATED + u64::from(number) * 1000 + after);
    json!({
        "attachments": [{
            "id": attachment,
            "type": "ElasticNetworkInterface",
            "status": "ATTACHED",
            "details": [
                {"name": "subnetId", "value": "subnet-0b7c6931f2a4d5e68"},
                {"name": "networkInterfaceId", "value": format!("eni-0{}", &id[..16])},
                {"name": "macAddress", "value": format!("0e:27:11:4e:{high:02x}:{low:02x}")},
                {"name": "privateDnsName", "value": format!("ip-10-0-{high}-{low}.eu-west-1.compute.internal")},
                {"name": "privateIPv4Address", "value": address},
            ],
        }],
        "attributes": [{"name": "ecs.cpu-architecture", "value": "arm64"}],
        "availabilityZone": "eu-west-1b",
        "clusterArn": cluster,
        "connectivity": "CONNECTED",
        "connectivityAt": time(4_322),
        "containers": [{
            "containerArn": format!("{}/7f0af8bb-6da5-40ad-b473-726d6721124c", arn.replace(":task/", ":container/")),
            "taskArn": arn,
            "name": "web",
            "image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web:2.4.1",
            "imageDigest": "sha256:3442d9824b2a7fa7fdd33e9ea63f9f0efa6ad6cde28938f442d1bf4f4e65135e",
            "runtimeId": format!("{id}-2309530183"),
            "lastStatus": "RUNNING",
            "networkBindings": [],
            "networkInterfaces": [{"attachmentId": attachment, "privateIpv4Address": address}],
            "healthStatus": "HEALTHY",
            "managedAgents": [{
                "lastStartedAt": time(21_300),
                "name": "ExecuteCommandAgent",
                "lastStatus": "RUNNING",
            }],
            "cpu": "256",
            "memory": "512",
        }],
        "cpu": "256",
        "createdAt": time(0),
        "desiredStatus": "RUNNING",
        "enableExecuteCommand": true,
        "ephemeralStorage": {"sizeInGiB": 20},
        "fargateEphemeralStorage": {"sizeInGiB": 20},
        "group": "service:web",
        "healthStatus": "HEALTHY",
        "lastStatus": "RUNNING",
        "launchType": "FARGATE",
        "memory": "512",
        "overrides": {
            "containerOverrides": [
                {"name": "web", "environment": [{"name": "FEATURE_FLAGS", "value": "checkout-v2"}]},
            ],
            "inferenceAcceleratorOverrides": [],
        },
        "platformFamily": "Linux",
        "platformVersion": "1.4.0",
        "pullStartedAt": time(14_318),
        "pullStoppedAt": time(18_627),
        "startedAt": time(19_789 + version),
        "startedBy": "ecs-svc/4093171225387263520",
        "tags": [],
        "taskArn": arn,
        "taskDefinitionArn": "arn:aws:ecs:eu-west-1:123456789012:task-definition/web:42",
        "version": version,
    })
}

/// An active container instance, identified by its number in the cluster. Its running tasks depend on the version.
pub fn container_instance(cluster: &str, number: u32, version: u64) -> Value {
    let id = id(number);
    let tcp = ["22", "2375", "2376", "51678", "51679"];
    json!({
        "agentConnected": true,
        "attachments": [],
        "attributes": [
            {"name": "ecs.capability.secrets.asm.environment-variables"},
            {"name": "ecs.capability.branch-cni-plugin-version", "value": "21e22be3-"},
            {"name": "ecs.ami-id", "value": "ami-0c5f3e1a9b7d2c4e6"},
            {"name": "ecs.capability.task-eia.optimized-cpu"},
            {"name": "com.amazonaws.ecs.capability.logging-driver.none"},
            {"name": "ecs.capability.ecr-endpoint"},
            {"name": "ecs.capability.docker-plugin.local"},
            {"name": "ecs.capability.task-cpu-mem-limit"},
            {"name": "ecs.capability.secrets.ssm.bootstrap.log-driver"},
            {"name": "ecs.capability.efsAuth"},
            {"name": "ecs.capability.full-sync"},
            {"name": "com.amazonaws.ecs.capability.docker-remote-api.1.44"},
            {"name": "ecs.capability.container-health-check"},
            {"name": "ecs.subnet-id", "value": "subnet-0b7c6931f2a4d5e68"},
            {"name": "ecs.availability-zone", "value": "eu-west-1a"},
            {"name": "ecs.instance-type", "value": "m6i.large"},
            {"name": "com.amazonaws.ecs.capability.task-iam-role-network-host"},
            {"name": "ecs.vpc-id", "value": "vpc-06a7c91d3f5b2e480"},
            {"name": "ecs.cpu-architecture", "value": "x86_64"},
            {"name": "com.amazonaws.ecs.capability.logging-driver.awslogs"},
            {"name": "ecs.os-type", "value": "linux"},
            {"name": "ecs.capability.task-eni"},
            {"name": "ecs.capability.execution-role-awslogs"},
        ],
        "capacityProviderName": "demo-ec2",
        "containerInstanceArn": arn(cluster, "container-instance", &id),
        "ec2InstanceId": format!("i-0{}", &id[..16]),
        "pendingTasksCount": 0,
        "registeredAt": time(CREATED + u64::from(number) * 1000),
        "registeredResources": [
            integer("CPU", 2048),
            integer("MEMORY", 7764),
            ports("PORTS", &tcp),
            ports("PORTS_UDP", &[]),
        ],
        "remainingResources": [
            integer("CPU", 1536),
            integer("MEMORY", 6740),
            ports("PORTS", &tcp),
            ports("PORTS_UDP", &[]),
        ],
        "runningTasksCount": version,
        "status": "ACTIVE",
        "tags": [],
        "version": version,
        "versionInfo": {
            "agentHash": "5c2d9a4e",
            "agentVersion": "1.98.0",
            "dockerVersion": "DockerVersion: 25.0.13",
        },
    })
}

fn integer(name: &str, value: u32) -> Value {
    json!({"name": name, "type": "INTEGER", "doubleValue": 0.0, "longValue": 0, "integerValue": value})
}

fn ports(name: &str, ports: &[&str]) -> Value {
    json!({
        "name": name,
        "type": "STRINGSET",
        "doubleValue": 0.0,
        "longValue": 0,
        "integerValue": 0,
        "stringSetValue": ports,
    })
}

/// 32 hexadecimal digits, different for each number.
fn id(number: u32) -> String {
    // An odd factor maps no two numbers to the same product.
    format!("{:032x}", (u128::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn arn(cluster: &str, kind: &str, id: &str) -> String {
    format!("{}/{id}", cluster.replacen(":cluster/", &format!(":{kind}/"), 1))
}

fn time(milliseconds: u64) -> f64 {
    Duration::from_millis(milliseconds).as_secs_f64()
}

pub(super) fn text(object: &Value) -> String {
    let mut text = Vec::new();
    object.serialize(&mut Serializer::with_formatter(&mut text, EcsNumbers)).expect("JSON");
    String::from_utf8(text).expect("JSON")
}

/// ECS, a Java program, writes large fractions in scientific notation: `1.619719924711E9`.
struct EcsNumbers;

impl Formatter for EcsNumbers {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        if value.abs() < 1e7 { CompactFormatter.write_f64(writer, value) } else { write!(writer, "{value:E}") }
    }
}
