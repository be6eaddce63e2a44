"""make smoke: all green on a stack as deployed, and the right line in red for each broken link.

moto's EventBridge delivers nothing to Lambda, and its Lambda runs nothing: here, the built function runs in their place,
and its log lines go to moto's log group, and are counted in moto's metric, as CloudWatch's metric filters would."""

import json
import os
import signal
import subprocess
import time
from datetime import datetime, timezone

import boto3
import pytest
from moto.cloudformation.models import cloudformation_backends
from moto.core.responses import ActionResult
from moto.events.models import EventPattern, Replay, Rule, events_backends
from moto.events.responses import EventsHandler

from .aws import ACCOUNT, PROJECT, REGION
from .ops import TASKS, command, ops, rows

SAMPLES = len([*(PROJECT / "events").rglob("*.json")])
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:on-call"
CHECKS = [
    "credentials", "stack", "version", "tables", "rule", "pattern", "permission", "invocation", "order", "log", "metric",
    "notifier", "queues", "alarm topic", "archive", "replay",
]


@pytest.fixture
def stack(aws):
    boto3.client("sns").create_topic(Name="on-call")
    return aws.deploy("recorder", AlarmTopicArn=TOPIC)


class Lambda:
    """In front of moto: runs the built function, and keeps its log."""

    def __init__(self, aws, stack, function):
        self.name, self.stack, self.function, self.seen = "recorder", stack, function, 0
        # What DynamoDB answers to PutItem instead.
        self.refusal = None
        # Whether the caller may not invoke the function.
        self.denies = lambda environ: False
        server = aws.server._server
        self.moto, server.app = server.app, self

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"].endswith("/invocations"):
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            if self.denies(environ):
                start_response("403 ", [("x-amzn-errortype", "AccessDeniedException")])
                return [b"{}"]
            answer = self.invoke(body)
            error = [("x-amz-function-error", "Unhandled")] if "errorType" in answer else []
            start_response("200 ", [("content-type", "application/json"), *error])
            return [json.dumps(answer).encode()]
        if self.refusal and environ.get("HTTP_X_AMZ_TARGET", "").endswith(".PutItem"):
            start_response("400 ", [("content-type", "application/x-amz-json-1.0"), ("x-amzn-requestid", "R" * 52)])
            return [json.dumps(self.refusal).encode()]
        return self.moto(environ, start_response)

    def invoke(self, event):
        answer = self.function.invoke(event)
        lines, logs = self.function.log(), boto3.client("logs")
        new, self.seen = lines[self.seen :], len(lines)
        at, group = int(time.time() * 1000), self.stack.outputs["RecorderLogGroupName"]
        if not new or group not in [each["logGroupName"] for each in logs.describe_log_groups()["logGroups"]]:
            return answer
        stream = f"2026/{at}/{self.seen}"
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[
            {"timestamp": at, "message": json.dumps(line)} for line in new
        ])
        for line in new:
            if line.get("message") == "invocation":
                boto3.client("cloudwatch").put_metric_data(Namespace=f"ecs-state-recorder/{self.name}", MetricData=[{
                    "MetricName": "Invocations", "Value": 1,
                    "Dimensions": [{"Name": "outcome", "Value": line["outcome"]}],
                }])
        return answer


@pytest.fixture
def deployed(aws, stack, function, monkeypatch):
    deployed, send = Lambda(aws, stack, function), Rule.send_to_targets

    def send_to_targets(rule, event, **more):
        if not rule.event_pattern.matches_event(event):
            return
        [target] = rule.targets
        if ":lambda:" in target["Arn"]:
            deployed.invoke(json.dumps(event | {"time": f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"}).encode())
        else:
            send(rule, event, **more)

    def test_event_pattern(handler):
        pattern, event = handler._get_param("EventPattern"), json.loads(handler._get_param("Event"))
        return ActionResult({"Result": EventPattern.load(pattern).matches_event(event)})

    def describe(replay):
        archive = events_backends[ACCOUNT][REGION].archives[replay.source_arn.split("/")[-1]]
        last = {"EventLastReplayedTime": replay.end_time} if archive.events else {}
        return described(replay) | last

    described = Replay.describe
    monkeypatch.setattr(Replay, "describe", describe)
    monkeypatch.setattr(Rule, "send_to_targets", send_to_targets)
    monkeypatch.setattr(EventsHandler, "test_event_pattern", test_event_pattern)
    return deployed


def smoke(aws, *arguments):
    """The exit code, the lines by check, and those that are red."""
    code, lines, errors = ops("smoke.py", "recorder", "--patience", "4", *arguments, **aws.environment(), seconds=120)
    assert errors == [], errors
    marks = {line[2:].split(":")[0]: line for line in lines}
    assert list(marks) == [check for check in CHECKS if check in marks]
    return code, marks, [check for check, line in marks.items() if line.startswith("✗")]


def task_stops(path="events/fargate-task-stopped.json"):
    """ECS sends an event."""
    event = json.loads((PROJECT / path).read_text())
    boto3.client("events").put_events(Entries=[{
        "Source": event["source"], "DetailType": event["detail-type"], "Detail": json.dumps(event["detail"]),
    }])
    return event["detail"]["taskArn"]


def test_a_stack_as_deployed_is_green_and_the_fictional_task_leaves_no_row(aws, stack, deployed):
    arn = task_stops()
    before = rows()
    assert set(before) == {arn}
    code, lines, red = smoke(aws)
    assert (code, red) == (0, []), lines
    assert list(lines.values()) == [
        f"✓ credentials: {ACCOUNT} in {REGION}",
        "✓ stack: recorder is CREATE_COMPLETE",
        "✓ version: 0.2.0-dev",
        "✓ tables: ECSTaskState and ECSCtrInstanceState",
        "✓ rule: enabled on the bus default",
        f"✓ pattern: right for all {SAMPLES} sample events",
        "✓ permission: the rule may invoke the recorder",
        "✓ invocation: stored, and the row is in ECSTaskState",
        "✓ order: an older state is stale, the same one a duplicate, and the row is as it was",
        f"✓ log: the invocation's line is in {stack.outputs['RecorderLogGroupName']}",
        "✓ metric: the log's line is counted",
        "- notifier: not checked: Notify is false",
        "✓ queues: both accept events",
        f"✓ alarm topic: {TOPIC}",
        "✓ archive: keeps 14 days",
        "✓ replay: 1 events went from the archive through the rule to the recorder",
    ]
    assert rows() == before


def test_other_code_of_the_same_version_is_told_from_the_packages(aws, deployed, tmp_path):
    for name in ("recorder", "reconciler"):
        (tmp_path / f"{name}.zip").write_bytes(b"the built function")
    code, lines, red = smoke(aws, "--no-replay", "--package", str(tmp_path))
    assert (code, red) == (0, []) and lines["version"].endswith(f", the functions as in {tmp_path}")
    (tmp_path / "reconciler.zip").write_bytes(b"a later build")
    code, lines, red = smoke(aws, "--no-replay", "--package", str(tmp_path))
    assert (code, red) == (1, ["version"])
    assert f" is not {tmp_path}/reconciler.zip: run `make deploy PACKAGE={tmp_path}`" in lines["version"]


def test_a_link_that_the_stack_does_not_have_is_reported_and_is_not_red(aws, deployed):
    boto3.client("cloudformation").update_stack(StackName="recorder", UsePreviousTemplate=True, Parameters=[
        {"ParameterKey": "AlarmTopicArn", "ParameterValue": ""}, {"ParameterKey": "ArchiveDays", "ParameterValue": "0"},
    ])
    code, lines, red = smoke(aws)
    assert (code, red) == (0, []), lines
    assert [line for line in lines.values() if line.startswith("-")] == [
        "- notifier: not checked: Notify is false",
        "- alarm topic: not checked: AlarmTopicArn is empty, so alarms notify nobody",
        "- archive: not checked: ArchiveDays is 0",
        "- replay: not checked: there is no archive",
    ]


def test_an_hour_without_events_is_no_failure_and_waiting_events_are_mentioned(aws, stack, deployed):
    boto3.client("sqs").send_message(QueueUrl=stack.outputs["FailureQueueUrl"], MessageBody="{}")
    code, lines, red = smoke(aws)
    assert (code, red) == (0, [])
    assert lines["replay"] == "✓ replay: completed, without events: that hour had none"
    assert lines["queues"] == (
        "✓ queues: both accept events; 1 wait in the failure queue: see `make redrive DRY_RUN=1`"
    )


# Ten links broken on purpose, and the lines that turn red.


def disabled(stack, deployed):
    boto3.client("events").disable_rule(Name=stack.names["RecorderStateChanges"])


def other_pattern(stack, deployed):
    boto3.client("events").put_rule(Name=stack.names["RecorderStateChanges"], EventPattern=json.dumps(
        {"source": ["aws.ecs"], "detail-type": ["ECS Task State Change"]}))


def no_permission(stack, deployed):
    client, function = boto3.client("lambda"), stack.outputs["RecorderName"]
    for statement in json.loads(client.get_policy(FunctionName=function)["Policy"])["Statement"]:
        client.remove_permission(FunctionName=function, StatementId=statement["Sid"])


def no_table(stack, deployed):
    boto3.client("dynamodb").delete_table(TableName=TASKS)


def no_put_item(stack, deployed):
    deployed.refusal = {
        "__type": "com.amazon.coral.service#AccessDeniedException",
        "Message": "User: arn:aws:sts::123456789012:assumed-role/recorder/recorder is not authorized to perform: "
                   "dynamodb:PutItem on resource: arn:aws:dynamodb:eu-west-1:123456789012:table/ECSTaskState because no "
                   "identity-based policy allows the dynamodb:PutItem action",
    }


def no_queue_policy(stack, deployed):
    boto3.client("sqs").set_queue_attributes(QueueUrl=stack.outputs["DeadLetterQueueUrl"], Attributes={"Policy": ""})


def another_accounts_topic(stack, deployed):
    client = boto3.client("cloudformation")
    client.update_stack(
        StackName="recorder", UsePreviousTemplate=True,
        Parameters=[{"ParameterKey": "AlarmTopicArn", "ParameterValue": TOPIC.replace(ACCOUNT, "999900001111")}],
    )


def no_log_group(stack, deployed):
    boto3.client("logs").delete_log_group(logGroupName=stack.outputs["RecorderLogGroupName"])


def archive_off(stack, deployed):
    [archive] = events_backends[ACCOUNT][REGION].archives.values()
    archive.state = "DISABLED"


def old_version(stack, deployed):
    boto3.client("lambda").update_function_configuration(
        FunctionName=stack.outputs["ReconcilerName"], Description="Compares the tables with the ECS API; version 0.0.9")


@pytest.mark.parametrize("break_it, red, says", [
    (disabled, ["rule"], "is DISABLED, so nothing arrives: run `aws events enable-rule"),
    (other_pattern, ["pattern"], "events/container-instance-draining.json does not match"),
    (no_permission, ["permission"], "EventBridge may not invoke"),
    (no_table, ["tables", "invocation"], "there is no table ECSTaskState: restore it"),
    (no_put_item, ["invocation"], "the recorder fails: StoreRejected: "),
    (no_queue_policy, ["queues"], "the dead-letter queue's policy does not let EventBridge send"),
    (another_accounts_topic, ["alarm topic"], "of another account, 999900001111, can't be read"),
    (no_log_group, ["log", "metric"], "there is no log group"),
    (archive_off, ["archive"], "is DISABLED (no reason given), so no event is kept"),
    (old_version, ["version"], "this folder's version 0.2.0-dev, found 'Compares the tables with the ECS API; version 0.0.9'"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_broken_is_red_with_what_to_do(aws, stack, deployed, break_it, red, says):
    break_it(stack, deployed)
    code, lines, found = smoke(aws, "--no-replay")
    assert (code, found) == (1, red), lines
    assert says in lines[red[0]]
    # The other lines are still there.
    assert list(lines) == [check for check in CHECKS if check != "replay"]
    assert not [arn for arn in (rows() if break_it is not no_table else {}) if "smoke" in arn]


def test_more_that_can_be_broken(aws, stack, deployed):
    function = stack.outputs["RecorderName"]
    boto3.client("lambda").delete_function_event_invoke_config(FunctionName=function)
    boto3.client("events").remove_targets(
        Rule=stack.names["RecorderStateChanges"], Ids=["RecorderStateChangesLambdaTarget"])
    [archive] = events_backends[ACCOUNT][REGION].archives
    boto3.client("events").delete_archive(ArchiveName=archive)
    code, lines, red = smoke(aws)
    assert (code, red) == (1, ["rule", "queues", "archive"])
    assert f"has no target {function}: run `make deploy`" in lines["rule"]
    assert "do not go to the failure queue" in lines["queues"] and "there is no archive" in lines["archive"]
    assert lines["replay"] == "- replay: not checked: there is no archive"


def test_a_stack_that_was_rolled_back_or_is_of_an_earlier_version_is_red(aws, stack, deployed):
    model = cloudformation_backends[ACCOUNT][REGION].get_stack("recorder")
    model.status = "UPDATE_ROLLBACK_COMPLETE"
    outputs = model.output_map._output_json_map
    model.output_map._output_json_map = {name: value for name, value in outputs.items() if name != "ReconcilerName"}
    code, lines, red = smoke(aws, "--no-replay")
    assert (code, red) == (1, ["stack", "version"])
    assert lines["stack"].startswith("✗ stack: recorder is UPDATE_ROLLBACK_COMPLETE: ")
    assert "the stack has no output ReconcilerName, so an earlier version deployed it" in lines["version"]


def test_lines_are_colored_on_a_terminal_only(aws, stack, deployed):
    ours, theirs = os.openpty()
    ended = subprocess.Popen(
        command("smoke.py", "recorder", "--no-replay", "--patience", "0"), env=aws.environment(), stdout=theirs,
        cwd=PROJECT,
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:
        pass
    ended.wait(timeout=60)
    assert shown.startswith("\x1b[32m✓ credentials: ".encode()) and "\x1b[0m" in shown.decode()


def test_ctrl_c_while_it_waits_removes_the_row(aws, stack, deployed):
    # The first line never arrives.
    deployed.seen = 10**6
    program = subprocess.Popen(
        command("smoke.py", "recorder", "--no-replay", "--patience", "600"), env=aws.environment(), cwd=PROJECT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    for line in program.stdout:
        if line.startswith("✓ order"):
            break
    assert [arn for arn in rows() if "smoke" in arn]
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 1 and errors == "interrupted: the fictional task's row is removed\n"
    assert rows() == {}


def test_ctrl_c_during_the_replay_cancels_it(aws, stack, deployed, monkeypatch):
    # It never gets further than its start.
    monkeypatch.setattr(Replay, "replay_events", lambda replay, archive: None)
    program = subprocess.Popen(
        command("smoke.py", "recorder", "--patience", "4"), env=aws.environment(), cwd=PROJECT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    replays, deadline = events_backends[ACCOUNT][REGION].replays, time.monotonic() + 60
    while not replays:
        assert time.monotonic() < deadline and program.poll() is None, "there is no replay"
        time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 1 and errors == "interrupted: the fictional task's row is removed\n"
    assert [replay.state.value for replay in replays.values()] == ["CANCELLED"]
    assert rows() == {}
