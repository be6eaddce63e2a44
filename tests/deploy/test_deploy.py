"""Deploying and deleting: the checks beforehand, and a stack in any state."""

import json
import re
import subprocess

import boto3
import pytest
from moto.cloudformation.models import cloudformation_backends
from samcli.yamlhelper import yaml_parse

from .aws import ACCOUNT, PROJECT, REGION
from .ops import ops

TASKS, CONTAINER_INSTANCES = "ECSTaskState", "ECSCtrInstanceState"


def preflight(aws, parameters="", name="recorder"):
    return ops("preflight.py", name, f"Architecture=arm64 {parameters}", **aws.environment())


def create_table(name, key, kind="S", **more):
    boto3.client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind}],
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        **more,
    )


def tables():
    """The existing tables, and whether they are protected from deletion."""
    client = boto3.client("dynamodb")
    described = [client.describe_table(TableName=name)["Table"] for name in client.list_tables()["TableNames"]]
    return {table["TableName"]: table["DeletionProtectionEnabled"] for table in described}


def model(name):
    """moto's stack object, whose state can be set."""
    return cloudformation_backends[ACCOUNT][REGION].get_stack(name)


def status(name="recorder"):
    stacks = [stack for stack in boto3.client("cloudformation").describe_stacks()["Stacks"] if stack["StackName"] == name]
    return stacks[0]["StackStatus"] if stacks else None


# The checks before a deployment.


def test_a_first_deployment_without_obstacles_starts_silently(aws):
    assert preflight(aws) == (0, [], [])
    # Tables in another region do not conflict.
    boto3.client("dynamodb", region_name="us-east-1").create_table(
        TableName=TASKS, AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}], BillingMode="PAY_PER_REQUEST",
    )
    assert preflight(aws) == (0, [], [])


def test_a_key_whose_policy_allows_nobody_is_reported(aws):
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    arn = boto3.client("kms").create_key(Policy=policy)["KeyMetadata"]["Arn"]
    code, output, [error] = preflight(aws, f"KmsKeyArn={arn}")
    assert (code, output) == (1, [])
    assert error.startswith(f"error: the policy of the key {arn} must also allow events.amazonaws.com (without")


def test_conflicting_tables_are_named_with_what_to_do(aws):
    create_table(TASKS, "taskArn")
    assert preflight(aws) == (1, [], [
        "error: ECSTaskState can't be created in eu-west-1: a table with this name already exists outside the stack. "
        "In PARAMETERS, choose another name with TaskTableName=…",
    ])
    create_table(CONTAINER_INSTANCES, "containerInstanceArn")
    assert preflight(aws) == (1, [], [
        "error: ECSTaskState and ECSCtrInstanceState can't be created in eu-west-1: tables with these names already exist "
        "outside the stack. In PARAMETERS, use both with CreateTables=false, or choose other names with "
        "TaskTableName=… ContainerInstanceTableName=…",
    ])
    for parameters in (
        "CreateTables=false",
        "TaskTableName=NewTasks ContainerInstanceTableName=NewInstances",
        'TaskTableName="" ContainerInstanceTableName=""',
    ):
        assert preflight(aws, parameters) == (0, [], [])


def test_tables_to_be_used_must_exist_with_the_right_key(aws):
    create_table("Numbers", "taskArn", "N")
    create_table("Others", "id")
    names = "CreateTables=false TaskTableName={} ContainerInstanceTableName={}"
    assert preflight(aws, names.format("Numbers", "Others")) == (1, [], [
        "error: the table Numbers can't be used: its key must be taskArn, a string, without a sort key",
        "error: the table Others can't be used: its key must be containerInstanceArn, a string, without a sort key",
    ])
    assert preflight(aws, names.format("None", "''")) == (1, [], [
        "error: CreateTables=false, but there is no table None in eu-west-1: check TaskTableName",
        "error: CreateTables=false needs ContainerInstanceTableName, the name of an existing table",
    ])
    # A table that can't be used is not offered as a solution.
    create_table(TASKS, "id")
    create_table(CONTAINER_INSTANCES, "id")
    code, lines, [error] = preflight(aws)
    assert code == 1 and "CreateTables=false" not in error and "choose other names with TaskTableName=…" in error


def test_an_update_accepts_its_own_tables_and_keeps_its_earlier_parameters(aws):
    aws.deploy("recorder", ContainerInstanceTableName="Instances")
    # A table with the default name, which this stack does not use.
    create_table(CONTAINER_INSTANCES, "containerInstanceArn")
    assert preflight(aws) == (0, [], [])
    create_table("Older", "taskArn")
    code, lines, [error] = preflight(aws, "TaskTableName=Older")
    assert code == 1 and error.startswith("error: Older can't be created") and "Instances" not in error
    # A new stack has the defaults.
    code, lines, [error] = preflight(aws, name="second")
    assert code == 1 and error.startswith("error: ECSTaskState and ECSCtrInstanceState can't be created")


def test_parameters_and_an_alarm_topic_that_cannot_work_are_refused(aws):
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:on-call"
    assert preflight(aws, f"AlarmTopicArn={topic} ArchiveDay=3") == (1, [], [
        "error: template.yaml has no parameter ArchiveDay",
        f"error: AlarmTopicArn must be a topic in the stack's region, eu-west-1, found {topic}",
    ])
    assert preflight(aws, f"TicketTopicArn={topic}") == (1, [], [
        f"error: TicketTopicArn must be a topic in the stack's region, eu-west-1, found {topic}",
    ])
    assert preflight(aws, f"AlarmTopicArn={topic.replace('us-east-1', REGION)} ArchiveDays=3") == (0, [], [])
    assert preflight(aws, "ReservedConcurrency=some WarmWriteUnits='4 k'") == (1, [], [
        "error: WarmWriteUnits must be 0 (DynamoDB's default), or 4000 to 999999, found 4 k",
        "error: ReservedConcurrency must be an integer, found some",
    ])
    for wrong, error in (
        ("file://none.yaml", "must have the form 'Name=value …', found file://none.yaml"),
        ("Tracing='", "must be words of a shell (No closing quotation), found Architecture=arm64 Tracing='"),
    ):
        assert preflight(aws, wrong) == (1, [], [f"error: PARAMETERS {error}"])


@pytest.mark.parametrize("state, advice", [
    ("CREATE_IN_PROGRESS", "wait until that is finished, then deploy again"),
    ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "wait until that is finished, then deploy again"),
    ("DELETE_IN_PROGRESS", "wait until that is finished, then deploy again"),
    ("CREATE_FAILED", "it can't be updated: run `make delete`, then deploy again"),
    ("ROLLBACK_FAILED", "it can't be updated: run `make delete`, then deploy again"),
    ("DELETE_FAILED", "it can't be updated: run `make delete`, then deploy again"),
    ("UPDATE_FAILED", "run `aws cloudformation rollback-stack --stack-name recorder`, then deploy again"),
    ("UPDATE_ROLLBACK_FAILED", "fix what stopped the rollback, run `aws cloudformation continue-update-rollback "
     "--stack-name recorder`, then deploy again"),
])
def test_a_state_that_accepts_no_deployment_is_reported_with_what_to_do(aws, state, advice):
    aws.deploy("recorder")
    model("recorder").status = state
    assert preflight(aws) == (1, [], [f"error: the stack recorder is {state}: {advice}"])
    assert status() == state


@pytest.mark.parametrize("state", ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"])
def test_a_state_that_accepts_a_deployment_is_left_unchanged(aws, state):
    aws.deploy("recorder")
    model("recorder").status = state
    assert preflight(aws) == (0, [], [])
    assert status() == state


def test_after_an_update_nothing_is_suggested(aws):
    aws.deploy("recorder")
    model("recorder").status = "UPDATE_COMPLETE"
    assert ops("stack.py", "next-step", "recorder", **aws.environment()) == (0, [], [])


def test_a_conflict_leaves_a_failed_stack_unchanged(aws):
    aws.deploy("recorder", TaskTableName="Older")
    model("recorder").status = "ROLLBACK_COMPLETE"
    # The table for container instances is a remnant of the failed creation, as earlier versions left it.
    code, output, [error] = preflight(aws)
    assert (code, output) == (1, []) and error.startswith("error: ECSCtrInstanceState can't be created in eu-west-1")
    assert status() == "ROLLBACK_COMPLETE"


@pytest.mark.parametrize("options, error", [
    *((option, "error: SAM_OPTIONS must not contain --profile or --region: export AWS_PROFILE or AWS_DEFAULT_REGION "
               "instead\n") for option in ("--profile work", "--region=us-east-1")),
    ("--guided --tags a=b", "SAM_OPTIONS: error: unrecognized arguments: --guided\n"),
])
def test_an_option_of_another_account_or_region_or_that_does_not_exist_is_refused(aws, options, error):
    ended = subprocess.run(
        ["make", "--no-print-directory", "deploy", "STACK=recorder", f"SAM_OPTIONS={options}"], cwd=PROJECT,
        env=aws.environment(), capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (2, "") and error in ended.stderr, ended.stderr


def test_make_help_suggests_an_archive_that_is_shorter_than_the_retention():
    template = yaml_parse((PROJECT / "template.yaml").read_text())
    output = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    suggested = [int(days) for days in re.findall(r"ArchiveDays=(\d+)", output)]
    assert suggested and max(suggested) < template["Parameters"]["RetentionDays"]["Default"]


# Deleting.


@pytest.mark.parametrize("state", [
    "CREATE_COMPLETE", "UPDATE_COMPLETE", "CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED",
    "UPDATE_FAILED", "UPDATE_ROLLBACK_FAILED", "UPDATE_ROLLBACK_COMPLETE",
])
def test_a_stack_is_deleted_in_any_state_and_its_tables_are_kept(aws, state):
    aws.deploy("recorder")
    model("recorder").status = state
    if "COMPLETE" not in state or state == "ROLLBACK_COMPLETE":
        model("recorder").output_map._output_json_map = {}
    # In moto, every resource has its stack's state, so here the creation of the tables has failed, too.
    kept = "" if state == "CREATE_FAILED" else f"; the tables {TASKS} and {CONTAINER_INSTANCES} are kept"
    assert ops("stack.py", "delete", "recorder", **aws.environment()) == (0, [
        f"stack recorder ({state}): deleting it …",
        "  recorder: DELETE_COMPLETE",
        f"stack recorder: deleted{kept}",
    ], [])
    assert status() is None and set(tables()) == {TASKS, CONTAINER_INSTANCES}
    assert boto3.client("sqs").list_queues().get("QueueUrls", []) == []


OTHER = json.dumps({"Description": "Another project's", "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})


@pytest.mark.parametrize("state", ["CREATE_COMPLETE", "ROLLBACK_COMPLETE", "DELETE_FAILED"])
def test_another_projects_stack_is_refused_in_any_state(aws, state):
    boto3.client("cloudformation").create_stack(StackName="recorder", TemplateBody=OTHER)
    model("recorder").status = state
    refusal = [f"error: the stack recorder ({state}) was not created from this project's template.yaml"]
    assert ops("stack.py", "delete", "recorder", **aws.environment()) == (1, [], refusal)
    assert ops("stack.py", "protect", "recorder", **aws.environment()) == (1, [], refusal)
    assert preflight(aws) == (1, [], refusal)
    assert status() == state
