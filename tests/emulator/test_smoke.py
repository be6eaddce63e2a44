"""make smoke: all green on a stack as deployed, and the right line in red for each thing that is broken."""

import json
import os
import signal
import subprocess
import sys
from unittest.mock import Mock

import boto3
import pytest

import deployment
from deploy.ops import command, ops, start

from .conftest import PROJECT, STACK, TEMPLATE, names, until
from .proxy import Proxy
from .test_replay import Archive

sys.path.insert(0, str(PROJECT / "ops"))
import smoke as smoke_program  # noqa: E402

ACCOUNT, REGION = "123456789012", "eu-west-1"
SAMPLES = len([*(PROJECT / "events").rglob("*.json")])
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:on-call"
CHECKS = [
    "credentials", "stack", "version", "tables", "rule", "pattern", "permission", "invocation", "order", "log", "metric",
    "notifier", "queues", "alarm topic", "archive", "replay",
]
# The lines that are red on a stack as deployed, since MiniStack lacks something: it evaluates no metric filters. In the
# other tests, count() does.
LACKING = ["metric"]


@pytest.fixture
def stack(deploy):
    boto3.client("sns").create_topic(Name="on-call")
    return deploy(AlarmTopicArn=TOPIC)


def update(stack, lacks=deployment.LACKS, **parameters):
    parameters = {"AlarmTopicArn": TOPIC, **names(stack["Name"]), **parameters}
    return deployment.update(stack["Name"], deployment.template(TEMPLATE, lacks), **parameters)[0]


def rows(stack):
    return boto3.client("dynamodb").scan(TableName=stack["TaskTableName"])["Items"]


def smoke(environment, stack, *arguments):
    """The exit code, the lines by check, and those that are red."""
    code, lines, errors = ops("smoke.py", stack["Name"], "--patience", "2", *arguments, **environment)
    assert errors == [], errors
    marks = {line[2:].split(":")[0]: line for line in lines}
    assert list(marks) == [check for check in CHECKS if check in marks]
    return code, marks, [check for check, line in marks.items() if line.startswith("✗")]


def count(stack, *outcomes):
    """What CloudWatch makes of the log's lines, by the template's metric filter."""
    boto3.client("cloudwatch").put_metric_data(Namespace=f"ecs-state-recorder/{stack['Name']}", MetricData=[
        {"MetricName": "Invocations", "Value": 1, "Dimensions": [{"Name": "outcome", "Value": outcome}]}
        for outcome in outcomes
    ])


def test_a_stack_as_deployed_is_green_and_the_fictional_task_leaves_no_row(stack, environment):
    boto3.client("lambda").invoke(
        FunctionName=stack["RecorderName"], Payload=(PROJECT / "events/fargate-task-stopped.json").read_text())
    before = rows(stack)
    assert len(before) == 1
    count(stack, "duplicate")
    code, lines, red = smoke(environment, stack)
    assert (code, red) == (0, []), lines
    assert list(lines.values()) == [
        f"✓ credentials: {ACCOUNT} in {REGION}",
        f"✓ stack: {stack['Name']} is CREATE_COMPLETE",
        "✓ version: 0.2.0-dev",
        f"✓ tables: {' and '.join(names(stack['Name']).values())}",
        "✓ rule: enabled on the bus default",
        f"✓ pattern: right for all {SAMPLES} sample events",
        "✓ permission: the rule may invoke the recorder",
        f"✓ invocation: stored, and the row is in {stack['TaskTableName']}",
        "✓ order: an older state is stale, the same one a duplicate, and the row is as it was",
        f"✓ log: the invocation's line is in {stack['RecorderLogGroupName']}",
        "✓ metric: the log's line is counted",
        "- notifier: not checked: Notify is false",
        "✓ queues: both accept events",
        f"✓ alarm topic: {TOPIC}",
        "✓ archive: keeps 14 days",
        "✓ replay: completed, without events: that hour had none",
    ]
    assert rows(stack) == before


def test_only_what_the_emulator_lacks_is_red(stack, environment):
    code, lines, red = smoke(environment, stack)
    assert (code, red, list(lines)) == (1, LACKING, CHECKS), lines


def test_other_code_of_the_same_version_is_told_from_the_packages(stack, environment, tmp_path):
    for key in deployment.CODE.values():
        boto3.client("s3").download_file(deployment.BUCKET, key, str(tmp_path / key))
    count(stack, "duplicate")
    code, lines, red = smoke(environment, stack, "--no-replay", "--package", str(tmp_path))
    assert (code, red) == (0, []) and lines["version"].endswith(f", the functions as in {tmp_path}")
    (tmp_path / "reconciler.zip").write_bytes(b"a later build")
    code, lines, red = smoke(environment, stack, "--no-replay", "--package", str(tmp_path))
    assert (code, red) == (1, ["version"])
    assert f" is not {tmp_path}/reconciler.zip: run `make deploy PACKAGE={tmp_path}`" in lines["version"]


def test_what_there_is_nothing_to_check_of_is_said_and_is_not_red_and_waiting_events_are_mentioned(stack, environment):
    update(stack, AlarmTopicArn="", TicketTopicArn=TOPIC, ArchiveDays=0)
    boto3.client("sqs").send_message(QueueUrl=stack["FailureQueueUrl"], MessageBody="{}")
    count(stack, "duplicate")
    code, lines, red = smoke(environment, stack)
    assert (code, red) == (0, []), lines
    assert [line for line in lines.values() if line.startswith("-")] == [
        "- notifier: not checked: Notify is false",
        "- alarm topic: not checked: AlarmTopicArn is empty, so pages notify nobody",
        "- archive: not checked: ArchiveDays is 0",
        "- replay: not checked: there is no archive",
    ]
    assert lines["queues"] == (
        "✓ queues: both accept events; 1 wait in the failure queue: see `make redrive DRY_RUN=1`"
    )


# What is broken on purpose, and what each turns red.


def rule(stack):
    return stack["RuleArn"].split("/")[-1]


def disabled(stack):
    boto3.client("events").disable_rule(Name=rule(stack))


def other_pattern(stack):
    boto3.client("events").put_rule(Name=rule(stack), EventPattern=json.dumps(
        {"source": ["aws.ecs"], "detail-type": ["ECS Task State Change"]}))


def no_target(stack):
    boto3.client("events").remove_targets(Rule=rule(stack), Ids=["RecorderStateChangesLambdaTarget"])


def no_permission(stack):
    client, function = boto3.client("lambda"), stack["RecorderName"]
    for statement in json.loads(client.get_policy(FunctionName=function)["Policy"])["Statement"]:
        client.remove_permission(FunctionName=function, StatementId=statement["Sid"])


def no_table(stack):
    boto3.client("dynamodb").delete_table(TableName=stack["TaskTableName"])


def no_put_item(stack):
    role = boto3.client("lambda").get_function_configuration(FunctionName=stack["RecorderName"])["Role"].split("/")[-1]
    boto3.client("iam").delete_role_policy(RoleName=role, PolicyName="record")


def no_queue_policy(stack):
    boto3.client("sqs").set_queue_attributes(QueueUrl=stack["DeadLetterQueueUrl"], Attributes={"Policy": ""})


def no_destination(stack):
    boto3.client("lambda").delete_function_event_invoke_config(FunctionName=stack["RecorderName"], Qualifier="$LATEST")


def another_accounts_topic(stack):
    other = TOPIC.replace(ACCOUNT, "999900001111")
    update(stack, AlarmTopicArn=other)


def no_archive(stack):
    boto3.client("events").delete_archive(ArchiveName=stack["ArchiveArn"].split("/")[1])


def old_version(stack):
    boto3.client("lambda").update_function_configuration(
        FunctionName=stack["ReconcilerName"], Description="Compares the tables with the ECS API; version 0.0.9")


def rolled_back(stack):
    assert update(stack, deployment.LACKS | deployment.BROKEN) == "UPDATE_ROLLBACK_COMPLETE"


def earlier_version(stack):
    update(stack, deployment.LACKS | {"Outputs.ReconcilerName": None})


@pytest.mark.parametrize("break_it, red, says", [
    (disabled, ["rule"], "is DISABLED, so nothing arrives: run `aws events enable-rule"),
    (other_pattern, ["pattern"], "events/container-instance-draining.json does not match"),
    (no_target, ["rule"], ": run `make deploy`"),
    (no_permission, ["permission"], "EventBridge may not invoke"),
    (no_table, ["tables", "invocation"], "Tasks: restore it"),
    (no_put_item, ["invocation"], "the recorder fails: StoreRejected: "),
    (no_queue_policy, ["queues"], "the dead-letter queue's policy does not let EventBridge send"),
    (no_destination, ["queues"], "do not go to the failure queue"),
    (another_accounts_topic, ["alarm topic"], "of another account, 999900001111, can't be read"),
    (no_archive, ["archive"], "there is no archive own-"),
    (old_version, ["version"], "found 'Compares the tables with the ECS API; version 0.0.9': run `make deploy`"),
    (rolled_back, ["stack"], " is UPDATE_ROLLBACK_COMPLETE: "),
    (earlier_version, ["version"], "the stack has no output ReconcilerName, so an earlier version deployed it"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_broken_is_red_with_what_to_do(stack, environment, break_it, red, says):
    count(stack, "duplicate", "StoreRejected", "StoreUnavailable")
    break_it(stack)
    code, lines, found = smoke(environment, stack, "--no-replay")
    assert (code, found) == (1, red), lines
    # The other lines are still there.
    assert list(lines) == [check for check in CHECKS if check != "replay"]
    assert says in lines[red[0]]
    assert break_it is no_table or rows(stack) == []


def test_lines_are_colored_on_a_terminal_only(stack, environment):
    ours, theirs = os.openpty()
    ended = subprocess.Popen(
        command("smoke.py", stack["Name"], "--no-replay", "--patience", "0"), env=environment, stdout=theirs, cwd=PROJECT)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:
        pass
    ended.wait(timeout=60)
    assert shown.startswith("\x1b[32m✓ credentials: ".encode()) and "\x1b[0m" in shown.decode()


def test_ctrl_c_while_it_waits_removes_the_row(stack, environment):
    program = start("smoke.py", stack["Name"], "--patience", "600", **environment)
    for line in program.stdout:
        if line.startswith("✓ log"):
            break
    assert len(rows(stack)) == 1
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 130 and errors == "interrupted: the fictional task's row is removed\n"
    assert rows(stack) == []


def test_ctrl_c_during_the_replay_cancels_it_and_removes_the_row(ministack, stack, environment):
    archive = Archive()
    archive.states = ["RUNNING"]
    with Proxy(ministack.url, archive.answer) as proxy:
        program = start("smoke.py", stack["Name"], "--patience", "0",
                        **environment | {"AWS_ENDPOINT_URL_EVENTBRIDGE": proxy.url})
        until(lambda: archive.started, "the replay")
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=60)
    assert program.returncode == 130 and errors == "interrupted: the fictional task's row is removed\n"
    assert archive.cancelled == [each["ReplayName"] for each in archive.started] and rows(stack) == []


# What MiniStack's services don't do: an archive that is disabled, a log group that stays away.


@pytest.fixture
def program(deployed):
    """The smoke test, with services that answer as the test says."""
    program = smoke_program.Smoke(STACK, {**deployed, "ArchiveDays": "14"}, 0)
    program.client = Mock()
    program.client().exceptions.ResourceNotFoundException = LookupError
    return program


def test_an_archive_that_keeps_nothing_is_reported(program):
    program.client().describe_archive.return_value = {"State": "DISABLED"}
    with pytest.raises(smoke_program.Broken, match=r"is DISABLED \(no reason given\), so no event is kept"):
        program.archive()


def test_a_log_group_that_is_missing_is_reported(program):
    program.client().describe_log_groups.return_value = {"logGroups": []}
    with pytest.raises(smoke_program.Broken, match=f"there is no log group {STACK}-RecorderLogs"):
        program.log()
