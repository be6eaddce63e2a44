"""The documented make commands from deploy to delete, with the real SAM CLI."""

import json
import os
import platform
import subprocess
from datetime import datetime, timezone

import boto3
import pytest

from .aws import PROJECT
from .function import Function

# What SAM can build for without Rust's standard library for another architecture.
ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())


@pytest.mark.skipif("RECORDER_BINARY" not in os.environ, reason="it needs a build by SAM, as in .ci/run")
def test_from_deploy_to_delete(aws, tmp_path):
    rust = {name: value for name, value in os.environ.items() if name.startswith(("CARGO", "RUSTUP"))}
    environment = aws.sams_environment(tmp_path, **rust)

    def make(*words, **more):
        command = ["make", *words, "STACK=journey", f"ARCHITECTURE={ARCHITECTURE}"]
        ended = subprocess.run(command, cwd=PROJECT, env=environment | more, capture_output=True, text=True, timeout=900)
        return ended.returncode, ended.stdout, ended.stderr

    missing = (
        "error: there is no stack journey in eu-west-1: create it with `make deploy`, or name another one with STACK=…\n"
    )
    for target in ("delete", "redrive"):
        code, output, errors = make(target)
        assert (code, output) == (2, "") and errors.startswith(missing), errors

    code, output, errors = make("deploy", 'PARAMETERS=ArchiveDays=0 TaskTableName=""')
    assert code == 0, output + errors
    assert "Successfully created/updated stack - journey in eu-west-1" in output
    assert "table ECSCtrInstanceState: protected from deletion" in output
    [stack] = boto3.client("cloudformation").describe_stacks(StackName="journey")["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert "ArchiveArn" not in outputs and outputs["TaskTableName"].startswith("journey-TaskTable-")
    configuration = boto3.client("lambda").get_function_configuration(FunctionName=outputs["RecorderName"])

    variables = {name: str(value) for name, value in configuration["Environment"]["Variables"].items()}
    function = Function({"AWS_ENDPOINT_URL": aws.url, **variables})
    try:
        code, output, errors = make(
            "invoke-remote", "EVENT=events/fargate-task-running.json", AWS_ENDPOINT_URL_LAMBDA=function.url
        )
        assert (code, errors) == (0, "") and '"outcome": "stored"' in output
        # An event older than the retention would not be sent.
        dead_letter = json.loads((PROJECT / "events/fargate-task-stopped.json").read_text())
        dead_letter = json.dumps(dead_letter | {"time": f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"})
        boto3.client("sqs").send_message(QueueUrl=outputs["DeadLetterQueueUrl"], MessageBody=dead_letter)
        code, output, errors = make("redrive", "DRY_RUN=1", AWS_ENDPOINT_URL_LAMBDA=function.url)
        assert (code, errors) == (0, "") and "dead-letter queue: 1 to send, 0 left" in output
        code, output, errors = make("redrive", AWS_ENDPOINT_URL_LAMBDA=function.url)
        assert (code, errors) == (0, "") and "dead-letter queue: 1 sent, 0 left" in output
        assert function.answers.get(timeout=30)["outcome"] == "stored"
    finally:
        function.stop()
    [row] = boto3.client("dynamodb").scan(TableName=outputs["TaskTableName"])["Items"]
    assert row["event_id"] == {"S": json.loads(dead_letter)["id"]}

    code, output, errors = make("delete")
    kept = {outputs["TaskTableName"], outputs["ContainerInstanceTableName"]}
    assert code == 0 and "stack journey: deleted; the tables " in output and all(name in output for name in kept), errors
    assert set(boto3.client("dynamodb").list_tables()["TableNames"]) == kept
    code, output, errors = make("delete")
    assert code == 2 and errors.startswith(missing), errors
