//! Why a task stopped: what people have seen in public, one task for each code, and the traps.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use ecs_model::diagnosis::{Code, Diagnosis};
use ecs_model::{Task, from_json};
use serde_json::{Value, json};

use Code::*;

/// How a container ended: its name, exit code and reason. `""` stands for none.
type Ended<'a> = (&'a str, Option<i64>, &'a str);

/// The task of a stop: its `stopCode`, `stoppedReason` and containers.
fn task(stop_code: &str, reason: &str, containers: &[Ended]) -> Value {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let containers: Vec<Value> = containers
        .iter()
        .map(|(name, exit_code, reason)| json!({"name": name, "exitCode": exit_code, "reason": some(reason)}))
        .collect();
    json!({
        "taskArn": "arn:aws:ecs:eu-west-1:123456789012:task/demo/5f1b9c0e6d7a4f0f8c3e2b1a09d8c7f6",
        "lastStatus": "STOPPED",
        "stopCode": some(stop_code),
        "stoppedReason": some(reason),
        "containers": containers,
    })
}

fn diagnose(task: &Value) -> Diagnosis {
    let task: Task = from_json(task).unwrap_or_else(|error| panic!("{error}"));
    Diagnosis::new(&task).expect("a stopped task")
}

fn code(stop_code: &str, reason: &str, containers: &[Ended]) -> Code {
    diagnose(&task(stop_code, reason, containers)).code
}

const EXITED: &str = "Essential container in task exited";
const OOM: &str = "OutOfMemoryError: Container killed due to memory usage";

/// A stop that somebody has published: where, what ECS said (as far as it was published), and what it is.
struct Published {
    at: &'static str,
    stop_code: &'static str,
    reason: &'static str,
    containers: &'static [Ended<'static>],
    code: Code,
}

const fn published(
    code: Code,
    at: &'static str,
    stop_code: &'static str,
    reason: &'static str,
    containers: &'static [Ended<'static>],
) -> Published {
    Published { at, stop_code, reason, containers, code }
}

/// Texts are as published, cut where they were cut there. Most are what somebody saw; those at docs.aws.amazon.com and
/// repost.aws are AWS's own examples, and those with a name in parentheses the tests of other projects. Ours are the
/// names of containers where none was published, and what a comment says.
#[rustfmt::skip]
const PUBLISHED: &[Published] = &[
    published(OutOfMemory, "https://github.com/aws/amazon-ecs-agent/issues/1187", "", "", &[("app", Some(137), OOM)]),
    published(OutOfMemory, "https://github.com/aws/amazon-ecs-agent/issues/2467", "", "", &[("main", Some(0), OOM)]),
    published(OutOfMemory, "https://github.com/aws/copilot-cli/issues/3470", "", "", &[("node", Some(137), OOM)]),

    published(ImageRateLimited, "https://github.com/PrefectHQ/prefect/issues/12003", "TaskFailedToStart",
        "CannotPullContainerError: ref pull has been retried 1 time(s): failed to copy: httpReadSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/prefecthq/prefect/manifests/sha256:69998e9cf3744779b98d816351e6ac837dc0eea4f450e0ad4180b6aefe995d33: 429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit",
        &[("prefect", None, "")]),
    published(ImageRateLimited, "https://repost.aws/knowledge-center/ecs-pull-container-error-rate-limit", "",
        "CannotPullContainerError: inspect image has been retried 5 time(s): httpReaderSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/manifests/sha256:2bb501e6429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit",
        &[("app", None, "")]),

    published(ImageAccessDenied, "https://github.com/OvertureMaps/overture-tiles/pull/20", "", "",
        &[("app", None, "CannotPullECRContainerError: AccessDeniedException: User: arn:aws:sts::...:assumed-role/OvertureTilesCdkStack-OvertureTilesContainer... is not authorized to perform: ecr:GetAuthorizationToken on r")]),
    published(ImageAccessDenied, "https://github.com/aws/aws-cdk/issues/29876", "",
        "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref 123456789123.dkr.ecr.us-east-1.amazonaws.com/a2-ecr-app-repo:latest: pulling from host 123456789123.dkr.ecr.us-east-1.amazonaws.com failed with status code [manifests latest]: 403 Forbidden",
        &[("app", None, "")]),
    published(ImageAccessDenied, "https://github.com/aws/containers-roadmap/issues/2493", "",
        "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref .dkr.ecr.us-west-2.amazonaws.com/otel-collector:latest@sha256:863****9ac: unexpected status from HEAD request to https://.dkr.ecr.us-west-2.amazonaws.com/v2/otel-collector/blobs/sha256:863*****9ac: 403 Forbidden",
        &[("otel", None, "")]),

    published(ImageNotFound, "https://github.com/CircleCI-Public/circleci-demo-aws-ecs-ecr/issues/4", "", "",
        &[("app", None, "CannotPullContainerError: Error response from daemon: manifest for nginx:0f6b3cdf5e24f0da3dd932acd84fd90e9786a522 not found")]),
    published(ImageNotFound, "https://github.com/aws/amazon-ecs-agent/issues/337", "", "",
        &[("deathstar", None, "CannotPullContainerError: Error: image deathstar:9ce7d67bf402b337a75c8acf49c11881be2f16bd not found")]),
    published(ImageNotFound, "https://github.com/aws/amazon-ecs-agent/issues/2137", "", "",
        &[("app", None, "CannotPullContainerError: Error response from daemon: pull access denied for FOO.dkr.ecr.us-east-1.amazonaws.com/foo/app, repository does not exist or may require 'docker login'")]),
    published(ImageNotFound, "https://github.com/docker-archive/compose-cli/issues/853", "",
        "CannotPullContainerError: failed to resolve ref \"docker.io/library/chatalicious_braid:latest\": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
        &[("braid", None, "")]),
    published(ImageNotFound, "https://github.com/RafalWilinski/deploy-with-serverless/issues/11", "", EXITED,
        &[("app", None, "CannotPullContainerError: API error (404): repository serverless-batch not found: does not exist or no pull access")]),

    // A message of the service, which quotes the task's reason.
    published(ImagePlatformMismatch, "https://github.com/aviswerdlow/relay/issues/71", "",
        "(service relay-temporal-worker) was unable to place a task. Reason: CannotPullContainerError: pull image manifest has been retried 7 time(s): image Manifest does not contain descriptor matching platform 'linux/amd64'.",
        &[("worker", None, "")]),

    published(ImagePlatformMismatch, "notes in a public repository, of the stop at 2026-03-28T04:01:44.070Z", "",
        "CannotPullContainerError: pull image manifest has been retried 7 time(s): image Manifest does not contain descriptor matching platform 'linux/amd64'",
        &[("n8n", None, "")]),
    published(ImagePlatformMismatch, "a public repository's guide to its deployment from Apple silicon", "",
        "CannotPullContainerError: pull image manifest has been retried 5 time(s): image Manifest does not contain descriptor matching platform 'linux/amd64'",
        &[("app", None, "")]),

    published(RegistryUnreachable, "https://github.com/aws-samples/aws-modern-application-workshop/issues/71", "", "",
        &[("app", None, "CannotPullContainerError: API error (500): Get https://111222333444.dkr.ecr.eu-west-1.amazonaws.com/v2/: net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)")]),
    published(RegistryUnreachable, "https://github.com/aws/amazon-ecs-agent/issues/1680", "", "",
        &[("app", None, "CannotPullContainerError: API error (500): Get https://xxx.dkr.ecr.ap-southeast-2.amazonaws.com/v2/: net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)")]),
    published(RegistryUnreachable, "https://github.com/josmo/drone-ecs/issues/37", "", "",
        &[("app", None, "CannotPullContainerError: Error response from daemon: Get https://xxx.dkr.ecr.eu-central-1.amazonaws.com/v2/: net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)")]),

    published(DiskFull, "https://github.com/awsdocs/amazon-ecs-developer-guide/pull/42", "", "",
        &[("app", None, "CannotPullContainerError: write /var/lib/docker/tmp/GetImageBlob111111111: no space left on device")]),
    published(DiskFull, "https://github.com/aws/amazon-ecs-agent/issues/1434", "", "",
        &[("app", None, "CannotPullContainerError: failed to register layer: Error processing tar file(exit status 1): write /tmp/my_large_file: no space left on device")]),
    published(DiskFull, "https://github.com/aws/amazon-ecs-agent/issues/463", "", "",
        &[("webapp", None, "CannotPullContainer\nError: write /var/lib/docker/tmp/GetImageBlob501781855: no space left on device")]),

    published(ImagePullFailed, "https://github.com/aws/amazon-ecs-agent/issues/1185", "", "",
        &[("app", None, "CannotPullContainerError: API error (404)")]),
    published(ImagePullFailed, "https://github.com/aws/aws-cdk/issues/30680", "",
        "CannotPullContainerError: unsupported media type application/vnd.in-toto+json", &[("app", None, "")]),
    published(ImagePullFailed, "https://github.com/hackoregon/civic-devops/issues/132", "", "",
        &[("app", None, "CannotPullContainerError: failed to register layer: devmapper: Thin Pool has 4446 free data blocks which is less than minimum required 4454 free data blocks. Create more free space in thin pool or use dm.min_free_space option to change behavior")]),
    published(ImagePullFailed, "https://github.com/aws/containers-roadmap/issues/1120", "", "",
        &[("app", None, "CannotPullContainerError: failed to find a descriptor for platform {linux/amd64}")]),
    published(ImagePullFailed, "https://github.com/nextflow-io/nextflow/issues/4096", "", "",
        &[("job", None, "CannotPullContainerError: context canceled")]),

    published(SecretsUnavailable, "https://github.com/Releem/releem-agent/issues/195", "",
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from asm: service call has been retried 5 time(s): failed to fetch secret arn:aws:secretsmanager:us-west-2:*:secret:DBPasswordSecret-* from secrets manager: RequestCanceled: request context canceled caused by: context deadline exceeded. Please check your task network configuration.",
        &[("releem", None, "")]),
    published(SecretsUnavailable, "https://github.com/aws/aws-app-mesh-examples/issues/413", "",
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve ecr registry auth: service call has been retried 5 time(s): RequestError: send request failed caused by: Post https://api.ecr....",
        &[("app", None, "")]),
    published(SecretsUnavailable, "https://github.com/GiamPy5/terraform-aws-directus/issues/10", "",
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from asm: service call has been retried 1 time(s): failed to fetch secret arn:aws:secretsmanager:eu-central-1:account_id:secret:algo-dev-directus-secret20240626183203358800000004-EaPYTy from secrets manager: AccessDeniedException: Access to KMS is not allowed status code: 400, request id: a87a66d9-f839-4353-b8c2-9984b1465695",
        &[("directus", None, "")]),
    published(SecretsUnavailable, "https://github.com/aws/copilot-cli/issues/2095", "",
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secrets from ssm: service call has been retried 1 time...",
        &[("app", None, "")]),

    published(LoggingFailed, "https://github.com/terraform-aws-modules/terraform-aws-ecs/pull/313", "",
        "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log group: AccessDeniedException: User: arn:aws:sts::[redacted]:assumed-role/[redacted]-ecs-task-execution-role/[redacted] is not authorized to perform: logs:CreateLogGroup on resource: arn:aws:logs:eu-central-1:[redacted]:log-group:[redacted]:log-stream: because no identity-based policy allows the logs:CreateLogGroup action : exit status 1",
        &[("app", None, "")]),
    published(LoggingFailed, "https://github.com/TechToSpeech/terraform-aws-serverless-static-wordpress/issues/74", "",
        "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log stream: MissingEndpoint: 'Endpoint' configuration is required for t",
        &[("wordpress", None, "")]),

    published(VolumeFailed, "https://github.com/docker-archive/compose-cli/issues/1490", "",
        "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: stderr: mount.nfs4: Connection reset by peer : unsuccessful EFS utils command execution; code: 32",
        &[("app", None, "")]),
    published(VolumeFailed, "https://github.com/acp-io/terraform-grafana/issues/4", "",
        "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: stderr: b'mount.nfs4: mounting fs-<some numbers>.efs.<region>.amazonaws.com:/grafana failed, reason given by server: No such file or directory' : unsuccessful EFS utils command execution; code: 32",
        &[("grafana", None, "")]),
    published(VolumeFailed, "https://github.com/cn-terraform/terraform-aws-jenkins/issues/23", "",
        "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: stderr: Failed to resolve \"fs-0867a83d8ed398433.efs.",
        &[("jenkins", None, "")]),
    // In other letters.
    published(VolumeFailed, "https://github.com/rileydakota/valheim-ecs-fargate-cdk/issues/28", "",
        "Resourceinitializationerror: failed to invoke EFS utils commands to set up EFS volumes: stderr: Failed to resolve \"fs-<id>.efs.us-east-1.amazonaws.com\" - check that your file system ID is correct, and ensure that the VPC has an EFS mount target for this file system ID.",
        &[("valheim", None, "")]),

    published(StartupResourceFailed, "https://github.com/aws/aws-cdk/issues/12720", "",
        "ResourceInitializationError: failed to download env files: file download command: non empty error stream: RequestCanceled: request context canceled caused by: context deadline exceeded",
        &[("app", None, "")]),
    published(StartupResourceFailed, "https://github.com/aws/aws-cli/issues/6470", "",
        "ResourceInitializationError: failed to download env files: file download command: non empty error stream: RequestCanceled: request context canceled caused by: context deadline exceeded",
        &[("app", None, "")]),
    // Two errors in one text: the first rule wins.
    published(StartupResourceFailed, "https://github.com/aws/amazon-ecs-agent/issues/2954", "", "",
        &[("sonarqube", None, "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: OCI runtime create failed: container_linux.go:370: starting container process caused: exec: \"/opt/sonarqube/bin/run.sh\": stat /opt/sonarqube/bin/run.sh...no such file or direct...")]),
    published(StartupResourceFailed, "https://github.com/jenkinsci/amazon-ecs-plugin/issues/258", "", "",
        &[("jenkins", None, "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: failed to create shim: OCI runtime create failed: container_linux.go:380: starting container process caused: exec: \"-url\": executable file not found in")]),

    published(SlowProvisioning, "https://github.com/aws/amazon-ecs-agent/issues/4825", "",
        "Timeout waiting for network interface provisioning to complete.", &[("app", None, "")]),
    published(SlowProvisioning, "https://github.com/aws-solutions/distributed-load-testing-on-aws/issues/82", "",
        "Timeout waiting for network interface provisioning to complete", &[("jmeter", None, "")]),
    published(SlowProvisioning, "https://github.com/dagster-io/dagster (test_launching.py)", "",
        "Timeout waiting for EphemeralStorage provisioning to complete.", &[("run", None, "")]),

    published(ContainerStartFailed, "https://github.com/aws/amazon-ecs-agent/issues/3021", "", "",
        &[("app", None, "CannotStartContainerError: Error response from daemon: OCI runtime create failed: container_linux.go:380: starting container process caused: container init was OOM-killed (memory limit too low?): unknown")]),
    published(ContainerStartFailed, "https://github.com/aws/amazon-ecs-cli/issues/78", "", "",
        &[("octopusws", None, "CannotStartContainerError: API error (500): Cannot start container 54b6caa1f3d8476a7b3538827d4d5017596d696b0877925d1d28a9de735b2433: [8] System error: exec: \"node index.js -t sockets_transport -i 0\": executable file not found in $PATH")]),
    published(ContainerStartFailed, "https://github.com/aws/amazon-ecs-cli/issues/194", "", "",
        &[("app", None, "CannotCreateContainerError: API error (500): Untar")]),
    published(ContainerStartFailed, "https://github.com/ryfeus/stepfunctions2processing/issues/5", "", "",
        &[("app", None, "CannotStartContainerError: Error response from daemon: failed to initialize logging driver: failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist.")]),

    published(RuntimeTimeout, "https://github.com/aws/amazon-ecs-agent/issues/410", "", "",
        &[("app", None, "DockerTimeoutError: Could not transition to pullBegin; timed out after waiting 5m0s")]),
    published(RuntimeTimeout, "https://github.com/aws-actions/amazon-ecs-deploy-task-definition/issues/232", "", "",
        &[("app", None, "DockerTimeoutError: Could not tranisition to started; timed out after waiting 8m0s")]),
    published(RuntimeTimeout, "https://github.com/treasure-data/digdag/pull/1724", "", "",
        &[("digdag", None, "DockerTimeoutError: Could not transition to started; timed out after waiting 3m0s")]),

    published(LoadBalancerUnhealthy, "https://github.com/aws/copilot-cli/issues/3456", "",
        "Task failed ELB health checks in (target-group arn:aws:elasticloadbalancing:us-west-2:561168971383:targetgroup/examp-Targe-BNN5THFBIYHD/1b16379bd7038558)",
        &[("front-end", None, "")]),
    published(LoadBalancerUnhealthy, "https://github.com/boltops-tools/ufo/pull/171", "",
        "Task failed ELB health checks in (target-group...)", &[("web", None, "")]),
    published(LoadBalancerUnhealthy, "a public sample event, id 51a6f4cb-60bd-b181-8ae8-430a485d95af",
        "ServiceSchedulerInitiated",
        "Task failed ELB health checks in (target-group arn:aws:elasticloadbalancing:ap-northeast-2:123456789012:targetgroup/sin-web-target-dev/ccb1c7ee670051a0)",
        &[("web", Some(143), "")]),

    published(HealthCheckFailed, "https://github.com/aws/containers-roadmap/issues/1553", "",
        "failed container health checks", &[("app", None, "")]),
    // Published in words: the scheduler stopped it, the exit code was 137.
    published(HealthCheckFailed, "a public repository's specification of a fix", "ServiceSchedulerInitiated",
        "Task failed container health checks", &[("api", Some(137), "")]),
    published(HealthCheckFailed, "a public repository's report of an outage after a change of AUTH_URL", "",
        "Task failed container health checks", &[("web", None, "")]),

    published(InstanceTerminated, "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-errors.html",
        "", "Host EC2 (instance id) stopped/terminated", &[("app", None, "")]),
    published(InstanceTerminated, "https://github.com/apache/airflow (test_host_terminated_raises)", "",
        "Host EC2 (instance i-1234567890abcdef) terminated.", &[("foo", None, "")]),
    // The text goes before the stop code.
    published(InstanceTerminated, "a public report of an incident", "TerminationNotice",
        "Host EC2 (instance i-0da6526579af3bd1b) terminated.", &[("worker", None, "")]),

    published(InstanceDeregistered, "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-errors.html",
        "", "Container instance deregistration forced by user", &[("app", None, "")]),

    published(HostMaintenance, "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-maintenance.html",
        "", "ECS is performing maintenance on the underlying infrastructure hosting the task", &[("app", None, "")]),

    published(ScaledIn, "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-errors.html",
        "", "Scaling activity initiated by (deployment deployment-id)", &[("app", None, "")]),
    published(ScaledIn, "a public sample event of deployment ecs-svc/8646900195280463695", "ServiceSchedulerInitiated",
        "Scaling activity initiated by (deployment ecs-svc/8646900195280463695)", &[("FargateContainer", Some(137), "")]),

    // The text goes before the stop code, and before the exit code.
    published(SpotInterruption, "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-capacity-providers.html",
        "TerminationNotice", "Your Spot Task was interrupted.", &[]),
    published(SpotInterruption, "https://github.com/reproio/wrapbox/pull/53", "",
        "Your Spot Task was interrupted.", &[("wrapbox", Some(2), "")]),
    published(SpotInterruption, "https://github.com/nextflow-io/nextflow/issues/5786", "",
        "Your Spot Task was interrupted.", &[("job", None, "")]),

    // Messages of a service and of RunTask.
    published(CapacityUnavailable, "https://github.com/sil-org/ecs-deploy/issues/277", "",
        "was unable to place a task. Reason: Capacity is unavailable at this time. Please try again later or in a different availability zone",
        &[("app", None, "")]),
    published(CapacityUnavailable, "https://github.com/aws/containers-roadmap/issues/2231", "", "RESOURCE:MEMORY",
        &[("job", None, "")]),
    published(CapacityUnavailable, "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_cwe_events.html", "",
        "RESOURCE:FARGATE", &[("app", None, "")]),

    // Published as text only: the stop code is the one that this text comes with.
    published(StoppedByUser, "https://github.com/aws-solutions/distributed-load-testing-on-aws/issues/82",
        "UserInitiated", "Task stopped by user", &[("jmeter", None, "")]),
    published(StoppedByUser, "a public sample event, id 95fb0ab4-e6f9-ba18-da16-ea0a3191d1b4",
        "UserInitiated", "Task stopped by user", &[("Example", Some(0), "")]),
    published(StoppedByUser, "https://github.com/comic/grand-challenge.org (test_handle_stopped_cancelled_task)",
        "UserInitiated", "", &[("job-timeout", None, ""), ("job", None, "")]),

    published(HostLeaving, "https://github.com/comic/grand-challenge.org (test_handle_stopped_terminated_task)",
        "TerminationNotice", "", &[("job-timeout", None, ""), ("job", None, "")]),

    published(Killed, "https://github.com/hackoregon/civic-devops/issues/149", "", "", &[("app", Some(137), "")]),
    published(Killed, "https://github.com/mapbox/ecs-watchbot/issues/327", "", EXITED, &[("telephone", Some(137), "")]),

    published(Crashed, "https://github.com/aws/amazon-ecs-agent/issues/625", "", EXITED, &[("app", Some(139), "")]),
    published(Crashed, "https://github.com/aws/amazon-ecs-agent/issues/594", "", "", &[("app", Some(139), "")]),

    published(CommandNotFound, "https://github.com/aws-samples/aws-genomics-workflows/issues/142", "", EXITED,
        &[("default", Some(126), "")]),
    published(CommandNotFound, "https://github.com/aws/amazon-genomics-cli/issues/40", "", "", &[("default", Some(126), "")]),

    published(ApplicationError, "https://github.com/aws/amazon-ecs-agent/issues/1071", "", "", &[("app", Some(64), "")]),
    published(ApplicationError, "https://github.com/prakhar1989/docker-curriculum/issues/61", "", "",
        &[("es", Some(1), "")]),
    published(ApplicationError, "https://repost.aws/knowledge-center/ecs-task-exec-format-error", "", EXITED,
        &[("app", Some(1), "")]),

    published(Finished, "https://github.com/aws/amazon-ecs-agent/issues/1236", "", "", &[("api", Some(0), "")]),
    // Stopped because the other had ended, and killed since its shell kept SIGTERM from it. Published in words: the
    // other's exit code is ours.
    published(Finished, "https://github.com/aws/aws-for-fluent-bit/issues/11", "", "",
        &[("fluent-bit", Some(137), ""), ("app", Some(0), "")]),
    published(Finished, "https://github.com/hyperdxio/aws-ecs-opentelemetry-sidecar/issues/2", "", "",
        &[("otel", Some(137), ""), ("migrations", Some(0), "")]),
    published(Finished, "https://github.com/comic/grand-challenge.org (test_handle_stopped_successful_task)",
        "EssentialContainerExited", "", &[("job-timeout", Some(143), ""), ("job", Some(0), "")]),
    // So fast that the other container never started.
    published(Finished, "https://github.com/comic/grand-challenge.org (test_handle_stopped_successful_fast_task)",
        "TaskFailedToStart", "", &[("job-timeout", None, ""), ("job", Some(0), "")]),

    published(Unknown, "https://github.com/aws/amazon-ecs-agent/issues/1654", "", "Task failed to start",
        &[("app", None, "")]),
    published(Unknown, "https://github.com/comic/grand-challenge.org (test_handle_stopped_start_failed_task)",
        "TaskFailedToStart", "", &[("job-timeout", None, ""), ("job", None, "")]),
];

#[test]
fn what_people_have_published_is_diagnosed_and_quoted() {
    for Published { at, stop_code, reason, containers, code } in PUBLISHED {
        let diagnosis = diagnose(&task(stop_code, reason, containers));
        assert_eq!(diagnosis.code, *code, "{at}: {diagnosis:?}");
        let said =
            containers.iter().map(|(_, _, reason)| *reason).chain([*reason, *stop_code]).find(|text| !text.is_empty());
        assert_eq!(diagnosis.evidence.as_deref(), said, "{at}");
    }
}

#[test]
fn every_code_has_three_published_cases_where_they_exist() {
    let mut cases: BTreeMap<Code, usize> = Code::all().map(|code| (code, 0)).collect();
    for case in PUBLISHED {
        *cases.entry(case.code).or_default() += 1;
    }
    let fewer: Vec<_> = cases.into_iter().filter(|(_, count)| *count < 3).collect();
    assert_eq!(
        fewer,
        [
            (ImageRateLimited, 2),
            (LoggingFailed, 2),
            (ScaledIn, 2),
            (InstanceDeregistered, 1),
            (HostMaintenance, 1),
            (HostLeaving, 1),
            (KilledWhileStopping, 0),
            (Killed, 2),
            (Terminated, 0),
            (Crashed, 2),
            (CommandNotFound, 2),
            (Unknown, 2),
        ]
    );
}

/// One constructed task for each code, with everything that a diagnosis says of it.
#[test]
fn each_code_has_its_sentence_its_actor_and_its_prospects() {
    #[rustfmt::skip]
    let expected = [
        (task("EssentialContainerExited", EXITED, &[("web", Some(137), OOM)]),
            OutOfMemory, r#"container "web" was killed for exceeding its 512 MiB of memory"#, "application: memory", Some(false)),
        (task("TaskFailedToStart", "CannotPullContainerError: toomanyrequests", &[("web", None, "")]),
            ImageRateLimited, r#"image "web:2" could not be pulled because of the registry's rate limit"#, "platform: mirror, or log in", Some(true)),
        (task("TaskFailedToStart", "CannotPullContainerError: no basic auth credentials", &[("web", None, "")]),
            ImageAccessDenied, r#"the execution role may not pull image "web:2""#, "IAM", Some(false)),
        (task("TaskFailedToStart", "CannotPullContainerError: manifest unknown", &[("web", None, "")]),
            ImageNotFound, r#"image "web:2" is missing from the registry, or private"#, "whoever released it", Some(false)),
        (task("TaskFailedToStart", "CannotPullContainerError: no matching manifest for linux/arm64", &[("web", None, "")]),
            ImagePlatformMismatch, r#"image "web:2" was built for another processor"#, "whoever released it", Some(false)),
        (task("TaskFailedToStart", "CannotPullContainerError: unexpected EOF", &[("web", None, "")]),
            RegistryUnreachable, r#"image "web:2" could not be pulled because its registry could not be reached"#, "retry; the network if it stays", Some(true)),
        (task("", "write /data: no space left on device", &[("web", None, "")]),
            DiskFull, r#"container "web" failed because the disk is full"#, "platform: ephemeral storage", Some(false)),
        (task("TaskFailedToStart", "CannotPullContainerError: signal: killed", &[("web", None, "")]),
            ImagePullFailed, r#"image "web:2" could not be pulled"#, "platform", None),
        (task("TaskFailedToStart", "ResourceInitializationError: unable to pull secrets or registry auth", &[("web", None, "")]),
            SecretsUnavailable, "secrets or the login to the registry could not be fetched", "network or IAM", None),
        (task("TaskFailedToStart", "ResourceInitializationError: failed to initialize logging driver", &[("web", None, "")]),
            LoggingFailed, "logging could not be set up", "platform", Some(false)),
        (task("TaskFailedToStart", "CannotCreateVolumeError: no such driver", &[("web", None, "")]),
            VolumeFailed, "a volume could not be mounted", "platform", None),
        (task("TaskFailedToStart", "ResourceInitializationError: failed to download env files", &[("web", None, "")]),
            StartupResourceFailed, "something that the task needs at its start could not be set up", "platform", None),
        (task("TaskFailedToStart", "Timeout waiting for EphemeralStorage provisioning to complete.", &[("web", None, "")]),
            SlowProvisioning, "AWS took too long to provide the task's ephemeral storage", "nobody: retry", Some(true)),
        (task("TaskFailedToStart", "Task failed to start", &[("web", None, "CannotStartContainerError: no such file")]),
            ContainerStartFailed, r#"container "web" was refused by the container runtime"#, "application: command, mounts", Some(false)),
        (task("TaskFailedToStart", "", &[("web", None, "ContainerRuntimeTimeoutError: Could not transition to running")]),
            RuntimeTimeout, r#"the container runtime took too long to start or stop container "web""#, "platform", Some(true)),
        (task("ServiceSchedulerInitiated", "Task failed ELB health checks in (elb web)", &[("web", Some(143), "")]),
            LoadBalancerUnhealthy, "the load balancer found the task unhealthy", "application, network", None),
        (task("ServiceSchedulerInitiated", "Task failed container health checks", &[("web", Some(143), "")]),
            HealthCheckFailed, r#"container "web" failed its own health check"#, "application", None),
        (task("ServiceSchedulerInitiated", "Scaling activity initiated by deployment ecs-svc/1", &[("web", Some(143), "")]),
            ScaledIn, r#"a scale-in or a deployment of service "shop" stopped the task"#, "nobody", Some(false)),
        (task("", "Host EC2 (instance i-0f3a2b1c) terminated.", &[("web", None, "")]),
            InstanceTerminated, "the instance i-0f3a2b1c that the task ran on was stopped or terminated", "platform", Some(true)),
        (task("UserInitiated", "Container instance deregistration forced by user", &[("web", None, "")]),
            InstanceDeregistered, "the instance that the task ran on was deregistered by force", "whoever did", Some(false)),
        (task("ServiceSchedulerInitiated", "Service shop: ECS is performing maintenance on the underlying infrastructure hosting the task", &[("web", Some(143), "")]),
            HostMaintenance, "AWS retires the host that the task ran on", "nobody for a service; the owner of a standalone task", Some(true)),
        (task("SpotInterruption", "", &[("web", Some(143), "")]),
            SpotInterruption, "AWS took its Spot capacity back", "nobody: retry", Some(true)),
        (task("TaskFailedToStart", "", &[]),
            CapacityUnavailable, "the task was never placed for lack of capacity", "platform: capacity", Some(true)),
        (task("UserInitiated", "retire old worker", &[("web", Some(143), "")]),
            StoppedByUser, r#"StopTask was called: "retire old worker""#, "the caller, in CloudTrail", Some(false)),
        (task("InfrastructureHealth", "", &[("web", Some(143), "")]),
            HostLeaving, "the host that the task ran on is leaving, or unhealthy", "platform", Some(true)),
        (task("ServiceSchedulerInitiated", "", &[("web", Some(137), "")]),
            KilledWhileStopping, r#"container "web" did not end on SIGTERM and was killed after its stopTimeout"#, "application: handle SIGTERM", Some(false)),
        (task("EssentialContainerExited", EXITED, &[("web", Some(137), "")]),
            Killed, r#"container "web" was killed (exit code 137), likely for its memory, though ECS does not say so"#, "application", None),
        (task("EssentialContainerExited", EXITED, &[("web", Some(143), "")]),
            Terminated, r#"container "web" ended on SIGTERM (exit code 143), as a stop normally goes"#, "nobody", Some(false)),
        (task("EssentialContainerExited", EXITED, &[("web", Some(134), "")]),
            Crashed, r#"container "web" crashed by an abort (exit code 134)"#, "application", Some(false)),
        (task("EssentialContainerExited", EXITED, &[("web", Some(127), "")]),
            CommandNotFound, r#"the command of container "web" is missing (exit code 127)"#, "whoever built the image", Some(false)),
        (task("EssentialContainerExited", EXITED, &[("web", Some(3_221_225_786), "")]),
            ApplicationError, r#"container "web" ended with exit code 3221225786"#, "application", None),
        (task("EssentialContainerExited", EXITED, &[("web", Some(0), "")]),
            Finished, r#"container "web" finished with exit code 0, although a service's task should keep running"#, "nobody, or application", Some(false)),
        (task("", "Gone fishing", &[("web", None, "")]),
            Unknown, r#"ECS says "Gone fishing", which is not a reason that is known here"#, "–", None),
    ];
    for (mut task, code, summary, actor, transient) in expected.clone() {
        task["group"] = json!("service:shop");
        if let Some(container) = task["containers"].get_mut(0) {
            container["image"] = json!("web:2");
            container["memory"] = json!("512");
        }
        let found = serde_json::to_value(diagnose(&task)).expect("a diagnosis");
        let about_a_container = summary.contains("\"web\"") || summary.contains("\"web:2\"");
        let said = [&task["containers"][0]["reason"], &task["stoppedReason"], &task["stopCode"]];
        let expected = json!({
            "code": code.to_string(),
            "summary": summary,
            "actor": actor,
            "transient": transient,
            "container": about_a_container.then_some("web"),
            "evidence": said.into_iter().find(|text| text.is_string()),
        });
        assert_eq!(found, expected);
    }
    assert_eq!(expected.map(|(_, code, ..)| code).as_slice(), Code::all().collect::<Vec<_>>());
}

#[test]
fn a_code_is_parsed_whatever_its_case() {
    for code in Code::all() {
        assert_eq!(code.to_string().to_lowercase().parse(), Ok(code));
    }
    let message = "oom".parse::<Code>().expect_err("no code").to_string();
    assert!(
        message.starts_with("there is no code \"oom\"; the codes are OutOfMemory, ImageRateLimited, "),
        "{message}"
    );
}

#[test]
fn a_task_that_has_not_stopped_has_no_diagnosis() {
    for status in ["PROVISIONING", "RUNNING", "STOPPING", "DEPROVISIONING", "NEW"] {
        let mut running = task("UserInitiated", "x", &[("web", Some(0), "")]);
        running["lastStatus"] = json!(status);
        assert_eq!(Diagnosis::new(&from_json(&running).unwrap()), None, "{status}");
    }
    let mut deleted = task("UserInitiated", "x", &[]);
    deleted["lastStatus"] = json!("DELETED");
    assert_eq!(diagnose(&deleted).code, StoppedByUser);
}

// 137 and 143.

#[test]
fn exit_code_137_is_out_of_memory_only_where_ecs_says_so() {
    assert_eq!(code("EssentialContainerExited", EXITED, &[("web", Some(137), OOM)]), OutOfMemory);
    assert_eq!(code("EssentialContainerExited", EXITED, &[("web", Some(137), "")]), Killed);
    assert_eq!(code("EssentialContainerExited", EXITED, &[("web", Some(1), OOM)]), OutOfMemory);
    assert_eq!(code("", "OutOfMemory: killed", &[("web", None, "")]), OutOfMemory);
}

#[test]
fn a_stop_by_the_scheduler_or_a_user_is_the_diagnosis_and_not_the_exit_code() {
    let scaling = "Scaling activity initiated by (deployment ecs-svc/4093171225387263520)";
    for exit_code in [0, 1, 137, 143] {
        assert_eq!(code("ServiceSchedulerInitiated", scaling, &[("web", Some(exit_code), "")]), ScaledIn);
        assert_eq!(code("UserInitiated", "bye", &[("web", Some(exit_code), "")]), StoppedByUser);
    }
    assert_eq!(code("ServiceSchedulerInitiated", "", &[("web", Some(137), "")]), KilledWhileStopping);
    assert_eq!(
        code("ServiceSchedulerInitiated", "", &[("web", Some(143), ""), ("log", Some(137), "")]),
        KilledWhileStopping
    );
    assert_eq!(code("ServiceSchedulerInitiated", "", &[("web", Some(143), "")]), Terminated);
}

#[test]
fn the_summary_of_a_stop_names_the_containers_that_had_to_be_killed() {
    let stopped = task("UserInitiated", "bye", &[("web", Some(137), ""), ("log", Some(143), ""), ("db", Some(1), "")]);
    assert_eq!(
        diagnose(&stopped).summary,
        r#"StopTask was called: "bye"; container "web" ended with exit code 137; container "db" ended with exit code 1"#
    );
}

#[test]
fn what_a_container_says_goes_before_the_task_and_a_text_before_a_code() {
    let timeout = "DockerTimeoutError: Could not transition to stopped";
    let elb = "Task failed ELB health checks in (elb web)";
    for (stop_code, reason, containers, expected) in [
        ("TaskFailedToStart", "ResourceInitializationError: x", [("web", Some(1), timeout)], RuntimeTimeout),
        ("ServiceSchedulerInitiated", elb, [("web", Some(137), OOM)], OutOfMemory),
        ("ServiceSchedulerInitiated", elb, [("web", Some(137), "")], LoadBalancerUnhealthy),
        ("SpotInterruption", elb, [("web", Some(137), "")], LoadBalancerUnhealthy),
        ("TerminationNotice", "Your Spot Task was interrupted.", [("web", Some(1), "")], SpotInterruption),
        ("TerminationNotice", "", [("web", Some(1), "")], HostLeaving),
    ] {
        assert_eq!(code(stop_code, reason, &containers), expected, "{stop_code} {reason} {containers:?}");
    }
}

// Several containers.

#[test]
fn the_container_that_ended_by_itself_is_the_diagnosis() {
    let diagnosed = |containers: &[Ended]| {
        let diagnosis = diagnose(&task("EssentialContainerExited", EXITED, containers));
        (diagnosis.code, diagnosis.container.unwrap())
    };
    let found = |code, container: &str| (code, container.to_owned());
    // A reason before any exit code, then an error, then a success, and only then what the agent stopped.
    assert_eq!(diagnosed(&[("a", Some(1), ""), ("b", Some(137), OOM)]), found(OutOfMemory, "b"));
    assert_eq!(
        diagnosed(&[("a", Some(143), ""), ("b", Some(0), ""), ("c", Some(1), "")]),
        found(ApplicationError, "c")
    );
    assert_eq!(diagnosed(&[("a", Some(137), ""), ("b", Some(139), "")]), found(Crashed, "b"));
    assert_eq!(diagnosed(&[("a", Some(137), ""), ("b", Some(143), ""), ("c", Some(0), "")]), found(Finished, "c"));
    assert_eq!(diagnosed(&[("a", Some(143), ""), ("b", Some(137), "")]), found(Killed, "b"));
    assert_eq!(diagnosed(&[("a", Some(143), ""), ("b", Some(143), "")]), found(Terminated, "a"));
    // One without an exit code has not succeeded.
    assert_eq!(diagnosed(&[("a", None, ""), ("b", Some(2), "")]), found(ApplicationError, "b"));
    // Of two reasons, the one whose rule comes first.
    assert_eq!(diagnosed(&[("a", None, "DockerTimeoutError: x"), ("b", Some(137), OOM)]), found(OutOfMemory, "b"));
}

#[test]
fn all_containers_that_failed_are_named() {
    let two =
        task("EssentialContainerExited", EXITED, &[("web", Some(1), ""), ("log", Some(2), ""), ("db", Some(137), OOM)]);
    assert_eq!(
        diagnose(&two).summary,
        "container \"db\" was killed for exceeding its memory; container \"web\" ended with exit code 1; \
         container \"log\" ended with exit code 2"
    );
    let two = task(
        "EssentialContainerExited",
        EXITED,
        &[("a", Some(139), ""), ("b", None, "CannotStartContainerError: x"), ("c", Some(143), "")],
    );
    assert_eq!(
        diagnose(&two).summary,
        r#"container "b" was refused by the container runtime; container "a" ended with exit code 139"#
    );
}

#[test]
fn a_pull_that_the_task_reports_is_about_the_container_whose_image_it_mentions() {
    let mut stopped = task(
        "TaskFailedToStart",
        "CannotPullContainerError: failed to resolve ref docker.io/library/proxy:7: not found",
        &[("web", None, ""), ("proxy", None, "")],
    );
    stopped["containers"][0]["image"] = json!("web:2");
    stopped["containers"][1]["image"] = json!("proxy:7");
    let diagnosis = diagnose(&stopped);
    assert_eq!((diagnosis.code, diagnosis.container.as_deref()), (ImageNotFound, Some("proxy")));
    // It can't be told.
    stopped["containers"][1]["image"] = json!("other");
    let diagnosis = diagnose(&stopped);
    assert_eq!(
        (diagnosis.summary.as_str(), diagnosis.container),
        ("the image of a container is missing from the registry, or private", None)
    );
}

#[test]
fn a_failed_health_check_is_about_the_unhealthy_container() {
    let mut stopped = task(
        "ServiceSchedulerInitiated",
        "Task failed container health checks",
        &[("a", Some(143), ""), ("b", Some(143), "")],
    );
    stopped["containers"][0]["healthStatus"] = json!("HEALTHY");
    stopped["containers"][1]["healthStatus"] = json!("UNHEALTHY");
    assert_eq!(diagnose(&stopped).container.as_deref(), Some("b"));
}

#[test]
fn memory_is_the_containers_or_else_the_tasks() {
    let mut stopped = task("EssentialContainerExited", EXITED, &[("web", Some(137), OOM)]);
    for (container, of_task, memory) in [
        (json!("512"), json!("1024"), "its 512 MiB of memory"),
        (json!(null), json!("1024"), "the task's 1024 MiB of memory"),
        (json!("0"), json!("1024"), "the task's 1024 MiB of memory"),
        (json!("much"), json!(null), "its memory"),
    ] {
        (stopped["containers"][0]["memory"], stopped["memory"]) = (container, of_task);
        assert_eq!(diagnose(&stopped).summary, format!("container \"web\" was killed for exceeding {memory}"));
    }
}

// What people write.

#[test]
fn what_the_caller_of_stop_task_writes_is_quoted_and_not_believed() {
    for reason in [
        "retire old worker",
        "hardware swap",
        "performing maintenance",
        "OutOfMemoryError seen in the logs",
        "restart: CannotPullContainerError on the sidecar",
        "Task failed ELB health checks in (target-group x), so I restart it by hand",
        "no capacity: RESOURCE:MEMORY",
    ] {
        let diagnosis = diagnose(&task("UserInitiated", reason, &[("web", Some(143), "")]));
        assert_eq!((diagnosis.code, diagnosis.evidence.as_deref()), (StoppedByUser, Some(reason)));
    }
    for (sentence, expected) in [
        (
            "Task failed ELB health checks in (target-group arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/1)",
            LoadBalancerUnhealthy,
        ),
        ("Task failed container health checks", HealthCheckFailed),
        ("Scaling activity initiated by (deployment ecs-svc/4093171225387263520)", ScaledIn),
        ("Host EC2 (instance i-0f3a2b1c) terminated.", InstanceTerminated),
        ("Container instance deregistration forced by user", InstanceDeregistered),
        ("Amazon ECS is performing maintenance on the underlying infrastructure hosting the task.", HostMaintenance),
        ("Your Spot Task was interrupted.", SpotInterruption),
    ] {
        assert_eq!(code("UserInitiated", sentence, &[("web", Some(143), "")]), expected, "{sentence}");
        let more = format!("{sentence} and so on");
        assert_eq!(code("UserInitiated", &more, &[("web", Some(143), "")]), StoppedByUser, "{more}");
    }
    // What a container says, it says whoever stopped the task.
    assert_eq!(code("UserInitiated", "bye", &[("web", Some(137), OOM)]), OutOfMemory);
    // Without UserInitiated, the text is ECS's.
    assert_eq!(code("", "AWS retires the hardware", &[("web", Some(143), "")]), HostMaintenance);
}

#[test]
fn names_and_texts_can_not_break_the_sentence() {
    let stopped = task("UserInitiated", "one\ntwo \u{1b}[31m \"three\"", &[("w\teb\n{image}", Some(1), "")]);
    assert_eq!(
        diagnose(&stopped).summary,
        r#"StopTask was called: "one\ntwo \u{1b}[31m \"three\""; container "w\teb\n{image}" ended with exit code 1"#
    );
}

// Texts.

#[test]
fn letter_case_does_not_matter() {
    for case in PUBLISHED {
        let change = |text: &str| (text.to_uppercase(), text.to_lowercase());
        let (upper, lower) = (change(case.reason).0, change(case.reason).1);
        for reason in [upper, lower] {
            let containers: Vec<(&str, Option<i64>, String)> =
                case.containers.iter().map(|(name, code, text)| (*name, *code, text.to_uppercase())).collect();
            let containers: Vec<Ended> =
                containers.iter().map(|(name, code, text)| (*name, *code, text.as_str())).collect();
            assert_eq!(code(case.stop_code, &reason, &containers), case.code, "{reason} {containers:?}");
        }
    }
}

#[test]
fn a_text_that_is_cut_within_a_pattern_is_recognized() {
    let cut_at_255 = |text: &str| {
        let start = "CannotPullContainerError: ";
        let text = format!("{start}{}{text}", "x".repeat(254 - start.len() - text.len()) + " ");
        assert_eq!(text.len(), 255);
        code("TaskFailedToStart", &text, &[("web", None, "")])
    };
    assert_eq!(cut_at_255("not found"), ImageNotFound);
    assert_eq!(cut_at_255("not fou"), ImageNotFound);
    assert_eq!(cut_at_255("manifest unk"), ImageNotFound);
    assert_eq!(cut_at_255("toomanyre"), ImageRateLimited);
    assert_eq!(cut_at_255("i/o timeo"), RegistryUnreachable);
    // Too little to tell.
    assert_eq!(cut_at_255("not f"), ImagePullFailed);
    // A text that isn't cut ends as it ends.
    assert_eq!(code("", "CannotPullContainerError: not fou", &[("web", None, "")]), ImagePullFailed);
}

#[test]
fn names_that_people_chose_are_not_mistaken_for_reasons() {
    for (reason, expected) in [
        // An image and a role.
        ("CannotPullContainerError: failed to pull docker.io/geoff/eoffice:1: signal: killed", ImagePullFailed),
        (
            "ResourceInitializationError: denied for arn:aws:sts::1:assumed-role/secret-volumes/x by policy",
            StartupResourceFailed,
        ),
        ("ResourceInitializationError: a huge amount of things", StartupResourceFailed),
        // "on resource:", as a missing permission has it.
        ("Denied: no permission on resource: arn:aws:ecs:eu-west-1:123456789012:task/x", Unknown),
    ] {
        assert_eq!(code("TaskFailedToStart", reason, &[("web", None, "")]), expected, "{reason}");
    }
}

#[test]
fn nothing_said_at_all_is_unknown() {
    let diagnosis = diagnose(&task("", "", &[("web", None, "")]));
    assert_eq!((diagnosis.code, diagnosis.summary.as_str()), (Unknown, "ECS gave no reason"));
    assert_eq!((diagnosis.container, diagnosis.evidence), (None, None));
    assert_eq!(code("", "", &[]), Unknown);
    assert_eq!(code("SomethingNew", "", &[("web", None, "")]), Unknown);
    assert_eq!(code("", " \n ", &[("web", None, "  ")]), Unknown);
    assert_eq!(diagnose(&json!({"taskArn": "x", "lastStatus": "STOPPED"})).code, Unknown);
    // A task that failed to start has to be one without containers to have never been placed.
    assert_eq!(code("TaskFailedToStart", "", &[("web", None, "")]), Unknown);
}
