"""make deploy-cargo-lambda, in an account of its own."""

import json
import re
import shutil
import subprocess
import sys

import boto3

import deployment
from deploy.cloudformation import REGION, Stack
from deploy.ops import ops

from .conftest import PROJECT, RECORDER
from .proxy import Proxy

TASKS, CONTAINER_INSTANCES = "ECSTaskState", "ECSCtrInstanceState"
# Any program for this machine, where nothing runs it.
BINARY = {"RECORDER_BINARY": sys.executable}
# The names of the template's resources in cargo-lambda's deployment.
ALONE = {
    "Recorder": "alone", "Reconciler": "alone-reconciler",
    "RecorderLogs": "/aws/lambda/alone", "ReconcilerLogs": "/aws/lambda/alone-reconciler",
    "RecorderRole": f"alone-{REGION}", "ReconcilerRole": f"alone-reconciler-{REGION}",
    "ScheduleRole": f"alone-schedules-{REGION}",
    "FleetSchedule": "alone-fleet", "TableSchedule": "alone-table",
    "TaskTable": TASKS, "ContainerInstanceTable": CONTAINER_INSTANCES,
}


def deploy(account, **more):
    code, lines, errors = ops("cargo_lambda.py", "deploy", "alone", seconds=200, **account | more)
    assert code == 0, (lines, errors)
    return lines


def policy_of(role, name):
    return boto3.client("iam").get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]


def functions(**region):
    return {each["FunctionName"]: each["Role"] for each in boto3.client("lambda", **region).list_functions()["Functions"]}


def schedules(**region):
    return sorted(each["Name"] for each in boto3.client("scheduler", **region).list_schedules()["Schedules"])


def test_it_creates_what_the_template_does_except_for_its_queues(account):
    # Other names, so that the template's are not those that are found.
    stack = Stack("recorder", place=(account["AWS_ACCESS_KEY_ID"], REGION), TaskTableName="TheTasks",
                  ContainerInstanceTableName="TheContainerInstances")
    assert deploy(account, **BINARY)[-1] == (
        "notifier: not here, since it needs the table's stream: only the stack has one (make deploy)")

    def wanted(resource):
        """The properties that CloudFormation gives a resource, with the names of cargo-lambda's deployment."""
        text = json.dumps(stack.properties[resource])
        for name in sorted(ALONE, key=lambda name: len(stack.names[name]), reverse=True):
            text = text.replace(stack.names[name], ALONE[name])
        return json.loads(text)

    def expect(found, wanted, *names):
        assert {name: found[name] for name in names} == {name: wanted[name] for name in names}

    lambda_, dynamodb = boto3.client("lambda"), boto3.client("dynamodb")
    groups = {each["logGroupName"]: each for each in boto3.client("logs").describe_log_groups()["logGroups"]}
    for function in ("Recorder", "Reconciler"):
        found = lambda_.get_function_configuration(FunctionName=ALONE[function])
        expect(found, wanted(function), "Runtime", "MemorySize", "Timeout", "Role")
        found = lambda_.get_function_event_invoke_config(FunctionName=ALONE[function])
        expect(found, wanted(f"{function}EventInvokeConfig"), "MaximumRetryAttempts", "MaximumEventAgeInSeconds")
        logs = f"{function}Logs"
        assert groups[ALONE[logs]]["retentionInDays"] == wanted(logs)["RetentionInDays"]

    for role in ("RecorderRole", "ReconcilerRole", "ScheduleRole"):
        trust = boto3.client("iam").get_role(RoleName=ALONE[role])["Role"]["AssumeRolePolicyDocument"]["Statement"]
        assert trust == wanted(role)["AssumeRolePolicyDocument"]["Statement"]
        [policy] = wanted(role)["Policies"]
        assert policy_of(ALONE[role], policy["PolicyName"]) == [
            statement for statement in policy["PolicyDocument"]["Statement"] if statement["Sid"] != "KeepFailedEvents"
        ]

    rule = wanted("RecorderStateChanges")
    assert json.loads(boto3.client("events").describe_rule(Name="alone")["EventPattern"]) == rule["EventPattern"]
    [target] = boto3.client("events").list_targets_by_rule(Rule="alone")["Targets"]
    expect(target, rule["Targets"][0], "Arn", "RetryPolicy")
    [permission] = json.loads(lambda_.get_policy(FunctionName="alone")["Policy"])["Statement"]
    assert permission["Principal"] == {"Service": "events.amazonaws.com"}
    assert permission["Condition"] == {"ArnLike": {
        "AWS:SourceArn": boto3.client("events").describe_rule(Name="alone")["Arn"]}}
    for schedule in ("FleetSchedule", "TableSchedule"):
        found = boto3.client("scheduler").get_schedule(Name=ALONE[schedule])
        expect(found, wanted(schedule), "ScheduleExpression", "FlexibleTimeWindow", "Target")

    for table in ("TaskTable", "ContainerInstanceTable"):
        theirs, ours = wanted(table), dynamodb.describe_table(TableName=ALONE[table])["Table"]
        expect(ours, theirs, "AttributeDefinitions", "KeySchema")
        assert ours["BillingModeSummary"]["BillingMode"] == theirs["BillingMode"] and ours["DeletionProtectionEnabled"]
        indexes = theirs.get("GlobalSecondaryIndexes", [])
        assert [{name: index[name] for name in indexes[0]} for index in ours.get("GlobalSecondaryIndexes", [])] == indexes
        ttl = dynamodb.describe_time_to_live(TableName=ALONE[table])["TimeToLiveDescription"]
        assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": theirs["TimeToLiveSpecification"]["AttributeName"]}


def cargo(folder, script):
    """A cargo that comes first in PATH. In its script, REAL is the real one."""
    path = folder / "cargo"
    path.write_text(f"#!/bin/sh\n{script.replace('REAL', shutil.which('cargo'))}\n")
    path.chmod(0o755)


def test_it_can_be_repeated_the_function_records_and_delete_removes_all_but_the_tables(ministack, account, tmp_path):
    # Lambda and Scheduler refuse a new role for a few seconds. MiniStack does not, so a fake cargo and a proxy do, once each.
    refused, refusals = tmp_path / "refused", ["The execution role you provide must allow AWS EventBridge Scheduler "
                                               "to assume the role."]
    cargo(tmp_path, f"[ -f {refused} ] && exec REAL \"$@\"\ntouch {refused}\n"
          "echo 'The role defined for the function cannot be assumed by Lambda.' >&2; exit 1")
    answer = lambda call: call.method == "POST" and refusals and (
        400, {"__type": "ValidationException", "message": refusals.pop()})
    with Proxy(ministack.url, answer) as scheduler:
        for _ in range(2):
            deploy(account, RECORDER_BINARY=str(RECORDER), AWS_ENDPOINT_URL_SCHEDULER=scheduler.url,
                   PATH=f"{tmp_path}:{account['PATH']}")
    assert refused.exists() and refusals == []

    event = PROJECT / "events/ec2-task-stopped-by-exit-code.json"
    remote = ["cargo-lambda", "lambda", "invoke", "--remote", "alone", "--data-file", event, "--output-format", "json"]
    ended = subprocess.run(remote, env=account, cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    sent = json.loads(event.read_text())["detail"]
    answer = {"outcome": "stored", "table": TASKS, "arn": sent["taskArn"], "version": sent["version"]}
    assert json.loads(ended.stdout) == answer
    found = boto3.client("dynamodb").get_item(TableName=TASKS, Key={"taskArn": {"S": sent["taskArn"]}})["Item"]
    assert found["version"] == {"N": str(sent["version"])}

    for _ in range(2):
        code, lines, errors = ops("cargo_lambda.py", "delete", "alone", **account)
        assert (code, errors) == (0, []), errors
    assert (functions(), schedules()) == ({}, [])
    assert boto3.client("logs").describe_log_groups()["logGroups"] == []
    assert boto3.client("events").list_rules()["Rules"] == []
    assert boto3.client("iam").list_roles()["Roles"] == []
    assert set(boto3.client("dynamodb").list_tables()["TableNames"]) == {TASKS, CONTAINER_INSTANCES}


def test_it_deploys_each_function_with_its_own_binary(account, tmp_path):
    deployed = tmp_path / "deployed"
    # The functions are not built here, so this fake cargo notes the binary that was asked for, and deploys another file.
    cargo(tmp_path, f"echo \"$*\" >> {deployed}\n"
          f"exec REAL $(echo \"$*\" | sed 's|--binary-name [a-z-]*|--binary-path {sys.executable}|')")
    deploy(account, PATH=f"{tmp_path}:{account['PATH']}")
    asked = re.findall(r"--binary-name (\S+) (\S+)$", deployed.read_text(), re.MULTILINE)
    assert asked == [("ecs-state-recorder", "alone"), ("ecs-state-reconciler", "alone-reconciler")]


def test_two_regions_share_nothing(account):
    regions = {region: account | {"AWS_REGION": region, "AWS_DEFAULT_REGION": region} for region in (REGION, "us-east-1")}
    for environment in regions.values():
        deploy(environment, **BINARY)

    def found(region):
        """What there is in a region, and the regions of the resources that its roles may use."""
        assert boto3.client("events", region_name=region).list_targets_by_rule(Rule="alone")["Targets"]
        policies = [(f"alone-{region}", "record"), (f"alone-reconciler-{region}", "reconcile"),
                    (f"alone-schedules-{region}", "run")]
        used = re.findall(r"arn:aws:\w+:([\w-]*):", json.dumps([policy_of(*role) for role in policies]))
        return functions(region_name=region), schedules(region_name=region), set(used)

    def expected(region):
        role = f"arn:aws:iam::{account['AWS_ACCESS_KEY_ID']}:role"
        return (
            {name: f"{role}/{name}-{region}" for name in ("alone", "alone-reconciler")}, ["alone-fleet", "alone-table"],
            {region},
        )

    assert {region: found(region) for region in regions} == {region: expected(region) for region in regions}
    assert ops("cargo_lambda.py", "delete", "alone", **regions["us-east-1"])[0] == 0
    assert (functions(region_name="us-east-1"), schedules(region_name="us-east-1")) == ({}, [])
    assert found(REGION) == expected(REGION)
    assert sorted(role["RoleName"] for role in boto3.client("iam").list_roles()["Roles"]) == [
        f"alone-{REGION}", f"alone-reconciler-{REGION}", f"alone-schedules-{REGION}",
    ]


def test_a_name_that_is_too_long_for_a_role_is_refused_before_anything_is_created(account):
    # The longest name is the reconciler's role.
    name = "x" * 44
    assert ops("cargo_lambda.py", "deploy", name, **account) == (1, [], [
        f"error: the role name {name}-reconciler-eu-west-1 must have at most 64 characters, found 65: "
        "choose a shorter STACK",
    ])
    assert boto3.client("dynamodb").list_tables()["TableNames"] == []
