"""Deploying and deleting: the checks beforehand, a failed creation, a stack in any state, and cargo-lambda."""

import json
import re
import shutil
import subprocess

import boto3
import pytest
from moto.cloudformation.models import cloudformation_backends
from moto.cloudwatch.models import CloudWatchBackend
from moto.scheduler.exceptions import ValidationException
from moto.scheduler.models import EventBridgeSchedulerBackend
from moto.sqs.models import SQSBackend
from samcli.yamlhelper import yaml_parse

from .aws import ACCOUNT, PROJECT, REGION
from .function import binary
from .ops import ops

TASKS, CONTAINER_INSTANCES = "ECSTaskState", "ECSCtrInstanceState"
KEYS = {TASKS: "taskArn", CONTAINER_INSTANCES: "containerInstanceArn"}


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


@pytest.fixture
def make(aws, tmp_path):
    """Runs make. The output of `make build` is already in place."""
    built = tmp_path / "target/sam/build"
    template = (PROJECT / "template.yaml").read_text()
    assert template.count("CodeUri: .\n") == 3
    for function in ("Recorder", "Reconciler", "Notifier"):
        (built / function).mkdir(parents=True)
        (built / function / "bootstrap").write_text(f"the built {function}")
        template = template.replace("CodeUri: .\n", f"CodeUri: {function}\n", 1)
    (built / "template.yaml").write_text(template)
    environment = aws.sams_environment(tmp_path, CARGO_TARGET_DIR=str(tmp_path / "target"))

    def run(*words, **more):
        command = ["make", "--old-file=build", "STACK=recorder", *words]
        ended = subprocess.run(command, cwd=PROJECT, env=environment | more, capture_output=True, text=True, timeout=120)
        return ended.returncode, ended.stdout, ended.stderr

    return run


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
    assert ops("preflight.py", "recorder", "file://none.yaml", **aws.environment()) == (
        1, [], ["error: PARAMETERS must have the form 'Name=value …', found file://none.yaml"],
    )


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


# A failed creation.


def test_a_failed_creation_does_not_block_the_next_one(aws, make, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no more dashboards in this account")

    with monkeypatch.context() as broken:
        broken.setattr(CloudWatchBackend, "put_dashboard", refuse)
        code, output, errors = make("deploy")
        assert code == 2 and "could not be created (ROLLBACK_COMPLETE)" in errors, output + errors
    assert (status(), tables()) == ("ROLLBACK_COMPLETE", {})
    assert ops("redrive.py", "recorder", **aws.environment()) == (
        1, [], ["error: the stack recorder is ROLLBACK_COMPLETE and has no output RecorderName: run `make deploy`"],
    )

    code, output, errors = make("deploy")
    assert code == 0, output + errors
    assert output.splitlines()[:3] == [
        "stack recorder: its earlier creation failed: Dashboard is CREATE_FAILED: no more dashboards in this account",
        "stack recorder (ROLLBACK_COMPLETE): deleting it …",
        "  recorder: DELETE_COMPLETE",
    ]
    assert output.endswith(
        f"table {TASKS}: protected from deletion\ntable {CONTAINER_INSTANCES}: protected from deletion\n"
        "To record what is already running: make reconcile SCOPE=fleet STACK=recorder\n"
    )
    assert (status(), tables()) == ("CREATE_COMPLETE", {TASKS: True, CONTAINER_INSTANCES: True})

    # If they are already protected, nothing is done or printed.
    assert ops("stack.py", "protect", "recorder", **aws.environment()) == (0, [], [])

    # After an update, nothing is suggested: the earlier runs have recorded everything.
    model("recorder").status = "UPDATE_COMPLETE"
    assert ops("stack.py", "next-step", "recorder", **aws.environment()) == (0, [], [])


def test_a_conflict_stops_make_before_the_build_and_leaves_a_failed_stack_unchanged(aws, make):
    aws.deploy("recorder", TaskTableName="Older")
    model("recorder").status = "ROLLBACK_COMPLETE"
    code, output, errors = make("deploy")
    # The table for container instances is a remnant of the failed creation, as earlier versions left it.
    assert (code, output) == (2, "") and errors.startswith("error: ECSCtrInstanceState can't be created in eu-west-1")
    assert status() == "ROLLBACK_COMPLETE"


def test_an_option_that_does_not_exist_is_refused_before_the_build(make):
    # The other programs would use another account or region.
    for option in ("--profile work", "--region=us-east-1"):
        code, output, errors = make("deploy", f"SAM_OPTIONS={option}")
        assert (code, output) == (2, "") and errors.startswith(
            "error: SAM_OPTIONS must not contain --profile or --region: export AWS_PROFILE or AWS_DEFAULT_REGION instead\n"
        )
    code, output, errors = make("deploy", "SAM_OPTIONS=--guided --tags a=b")
    assert (code, output) == (2, "") and "SAM_OPTIONS: error: unrecognized arguments: --guided\n" in errors, errors


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
    assert boto3.client("lambda").list_functions()["Functions"] == []


def review(template):
    """Creates a change set and does not execute it: the stack has a name and nothing else."""
    boto3.client("cloudformation").create_change_set(
        StackName="recorder", ChangeSetName="first", ChangeSetType="CREATE", TemplateBody=template,
        Capabilities=["CAPABILITY_IAM"],
    )
    assert status() == "REVIEW_IN_PROGRESS"


def test_a_stack_in_review_does_not_block_a_deployment_and_can_be_deleted(aws):
    review(json.dumps({"Description": "ecs-state-recorder: all of it", "Resources": {
        "Queue": {"Type": "AWS::SQS::Queue"}}}))
    assert preflight(aws) == (0, [], [])
    assert status() == "REVIEW_IN_PROGRESS"
    assert ops("stack.py", "protect", "recorder", **aws.environment()) == (0, [], [])
    assert ops("stack.py", "delete", "recorder", **aws.environment()) == (0, [
        "stack recorder (REVIEW_IN_PROGRESS): deleting it …",
        "  recorder: DELETE_COMPLETE",
        "stack recorder: deleted",
    ], [])
    assert status() is None


OTHER = json.dumps({"Description": "Another project's", "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})


@pytest.mark.parametrize("state", ["CREATE_COMPLETE", "ROLLBACK_COMPLETE", "DELETE_FAILED", "REVIEW_IN_PROGRESS"])
def test_another_projects_stack_is_refused_in_any_state(aws, state):
    if state == "REVIEW_IN_PROGRESS":
        review(OTHER)
    else:
        boto3.client("cloudformation").create_stack(StackName="recorder", TemplateBody=OTHER)
        model("recorder").status = state
    refusal = [f"error: the stack recorder ({state}) was not created from this project's template.yaml"]
    assert ops("stack.py", "delete", "recorder", **aws.environment()) == (1, [], refusal)
    assert ops("stack.py", "protect", "recorder", **aws.environment()) == (1, [], refusal)
    assert preflight(aws) == (1, [], refusal)
    assert status() == state


def test_a_failed_deletion_says_what_failed_and_why_and_can_be_repeated(aws, monkeypatch):
    stack = aws.deploy("recorder")

    def refuse(*_, **__):
        raise RuntimeError("not authorized to perform: sqs:DeleteQueue")

    with monkeypatch.context() as broken:
        broken.setattr(SQSBackend, "delete_queue", refuse)
        for state in ("CREATE_COMPLETE", "DELETE_FAILED"):
            code, lines, errors = ops("stack.py", "delete", "recorder", **aws.environment())
            assert (code, lines[0]) == (1, f"stack recorder ({state}): deleting it …")
            assert lines[-1] == "  recorder: DELETE_FAILED"
            assert errors == [
                "error: the stack recorder could not be deleted:",
                "  FailureQueue is DELETE_FAILED: not authorized to perform: sqs:DeleteQueue",
                "  DeadLetterQueue is DELETE_FAILED: not authorized to perform: sqs:DeleteQueue",
                "Fix the cause, then run `make delete` again",
            ]
            assert status() == "DELETE_FAILED"
    code, lines, errors = preflight(aws)
    assert code == 1 and errors[:2] == [
        "error: the stack recorder is DELETE_FAILED: it can't be updated: run `make delete`, then deploy again",
        "  FailureQueue is DELETE_FAILED: not authorized to perform: sqs:DeleteQueue",
    ]
    code, lines, errors = ops("stack.py", "delete", "recorder", **aws.environment())
    assert (code, errors, status()) == (0, [], None)
    assert boto3.client("sqs").list_queues().get("QueueUrls", []) == []
    assert stack.names["TaskTable"] in tables()


# With cargo-lambda.


def cargo(folder, script):
    """A cargo that comes first in PATH. In its script, REAL is the real one."""
    path = folder / "cargo"
    path.write_text(f"#!/bin/sh\n{script.replace('REAL', shutil.which('cargo'))}\n")
    path.chmod(0o755)


def policy_of(role, name):
    return boto3.client("iam").get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]


def trust_of(role):
    return boto3.client("iam").get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Statement"]


# The names of the template's resources in cargo-lambda's deployment.
ALONE = {
    "Recorder": "alone", "Reconciler": "alone-reconciler",
    "RecorderLogs": "/aws/lambda/alone", "ReconcilerLogs": "/aws/lambda/alone-reconciler",
    "RecorderRole": f"alone-{REGION}", "ReconcilerRole": f"alone-reconciler-{REGION}",
    "ScheduleRole": f"alone-schedules-{REGION}",
    "FleetSchedule": "alone-fleet", "TableSchedule": "alone-table",
    "TaskTable": TASKS, "ContainerInstanceTable": CONTAINER_INSTANCES,
}


def test_deploy_cargo_lambda_creates_what_the_template_does_except_for_its_queues(aws):
    stack = aws.deploy("recorder", TaskTableName="TheTasks", ContainerInstanceTableName="TheContainerInstances")
    code, lines, errors = ops("cargo_lambda.py", "deploy", "alone", **aws.environment(RECORDER_BINARY=binary()))
    assert code == 0, (lines, errors)
    assert lines[-1] == (
        "notifier: not here, since it needs the table's stream: only the stack has one (make deploy)")

    def wanted(resource):
        """The properties that CloudFormation gave a resource, with the names of cargo-lambda's deployment."""
        text = json.dumps(stack.properties[resource])
        for name in sorted(ALONE, key=lambda name: len(stack.names[name]), reverse=True):
            text = text.replace(stack.names[name], ALONE[name])
        return json.loads(text)

    def expect(found, wanted, *names):
        assert {name: found[name] for name in names} == {name: wanted[name] for name in names}

    lambda_, dynamodb = boto3.client("lambda"), boto3.client("dynamodb")
    for function in ("Recorder", "Reconciler"):
        found = lambda_.get_function_configuration(FunctionName=ALONE[function])
        expect(found, wanted(function), "Runtime", "MemorySize", "Timeout", "Role")
        found = lambda_.get_function_event_invoke_config(FunctionName=ALONE[function])
        expect(found, wanted(f"{function}EventInvokeConfig"), "MaximumRetryAttempts", "MaximumEventAgeInSeconds")
        groups = {each["logGroupName"]: each for each in boto3.client("logs").describe_log_groups()["logGroups"]}
        logs = f"{function}Logs"
        assert groups[ALONE[logs]]["retentionInDays"] == wanted(logs)["RetentionInDays"]

    for role in ("RecorderRole", "ReconcilerRole", "ScheduleRole"):
        assert trust_of(ALONE[role]) == wanted(role)["AssumeRolePolicyDocument"]["Statement"]
        [policy] = wanted(role)["Policies"]
        # In a list, moto turns AWS::NoValue into null.
        statements = [statement for statement in policy["PolicyDocument"]["Statement"] if statement]
        assert policy_of(ALONE[role], policy["PolicyName"]) == [
            statement for statement in statements if statement["Sid"] != "KeepFailedEvents"
        ]

    rule = wanted("RecorderStateChanges")
    assert json.loads(boto3.client("events").describe_rule(Name="alone")["EventPattern"]) == rule["EventPattern"]
    [target] = boto3.client("events").list_targets_by_rule(Rule="alone")["Targets"]
    expect(target, rule["Targets"][0], "Arn", "RetryPolicy")
    for schedule in ("FleetSchedule", "TableSchedule"):
        found = boto3.client("scheduler").get_schedule(Name=ALONE[schedule])
        expect(found, wanted(schedule), "ScheduleExpression", "FlexibleTimeWindow", "Target")

    for table in ("TaskTable", "ContainerInstanceTable"):
        names = stack.names[table], ALONE[table]
        theirs, ours = (dynamodb.describe_table(TableName=name)["Table"] for name in names)
        expect(ours, theirs, "AttributeDefinitions", "KeySchema", "BillingModeSummary")
        assert ours["DeletionProtectionEnabled"]
        indexes = [[{**index, "IndexArn": ""} for index in each.get("GlobalSecondaryIndexes", [])]
                   for each in (ours, theirs)]
        assert indexes[0] == indexes[1]
        ours, theirs = (dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"] for name in names)
        assert ours == theirs


def test_deploy_cargo_lambda_can_be_repeated_and_delete_removes_all_but_the_tables(aws, tmp_path, monkeypatch):
    environment = aws.environment(RECORDER_BINARY=binary())
    # Lambda and Scheduler refuse a new role for a few seconds. moto does not, so a fake cargo and this do, once each.
    refused = tmp_path / "refused"
    cargo(tmp_path, f"[ -f {refused} ] && exec REAL \"$@\"\ntouch {refused}\n"
          "echo 'The role defined for the function cannot be assumed by Lambda.' >&2; exit 1")
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    refusals, create = [ValidationException(
        "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
    )], EventBridgeSchedulerBackend.create_schedule

    def refuse_once(self, **given):
        if refusals:
            raise refusals.pop()
        return create(self, **given)

    monkeypatch.setattr(EventBridgeSchedulerBackend, "create_schedule", refuse_once)
    for _ in range(2):
        code, lines, errors = ops("cargo_lambda.py", "deploy", "alone", **environment)
        assert code == 0, (lines, errors)
    assert refused.exists() and refusals == []
    # moto accepts the same permission twice, Lambda does not.
    permission, again = json.loads(boto3.client("lambda").get_policy(FunctionName="alone")["Policy"])["Statement"]
    assert permission == again
    assert permission["Principal"] == {"Service": "events.amazonaws.com"}
    rule = boto3.client("events").describe_rule(Name="alone")
    assert permission["Condition"] == {"ArnLike": {"AWS:SourceArn": rule["Arn"]}}

    for _ in range(2):
        code, lines, errors = ops("cargo_lambda.py", "delete", "alone", **environment)
        assert (code, errors) == (0, []), errors
    assert boto3.client("lambda").list_functions()["Functions"] == []
    assert boto3.client("logs").describe_log_groups()["logGroups"] == []
    assert boto3.client("events").list_rules()["Rules"] == []
    assert boto3.client("scheduler").list_schedules()["Schedules"] == []
    assert boto3.client("iam").list_roles()["Roles"] == []
    assert tables() == {TASKS: True, CONTAINER_INSTANCES: True}


def test_deploy_cargo_lambda_deploys_each_function_with_its_own_binary(aws, tmp_path):
    environment, deployed = aws.environment(), tmp_path / "deployed"
    # The functions are not built here, so this fake cargo notes the binary that was asked for, and deploys another file.
    cargo(tmp_path, f"echo \"$*\" >> {deployed}\n"
          f"exec REAL $(echo \"$*\" | sed 's|--binary-name [a-z-]*|--binary-path {binary()}|')")
    code, lines, errors = ops("cargo_lambda.py", "deploy", "alone", **environment | {
        "PATH": f"{tmp_path}:{environment['PATH']}",
    })
    assert code == 0, (lines, errors)
    asked = re.findall(r"--binary-name (\S+) (\S+)$", deployed.read_text(), re.MULTILINE)
    assert asked == [("ecs-state-recorder", "alone"), ("ecs-state-reconciler", "alone-reconciler")]


def test_cargo_lambda_deploys_to_two_regions_that_share_nothing(aws):
    regions = {
        region: aws.environment(RECORDER_BINARY=binary(), AWS_REGION=region, AWS_DEFAULT_REGION=region)
        for region in (REGION, "us-east-1")
    }
    for environment in regions.values():
        code, lines, errors = ops("cargo_lambda.py", "deploy", "alone", **environment)
        assert code == 0, (lines, errors)

    def found(region):
        """What there is in a region, and the regions of the resources that its roles may use."""
        functions = boto3.client("lambda", region_name=region).list_functions()["Functions"]
        schedules = boto3.client("scheduler", region_name=region).list_schedules()["Schedules"]
        assert boto3.client("events", region_name=region).list_targets_by_rule(Rule="alone")["Targets"]
        policies = [(f"alone-{region}", "record"), (f"alone-reconciler-{region}", "reconcile"),
                    (f"alone-schedules-{region}", "run")]
        used = re.findall(r"arn:aws:\w+:([\w-]*):", json.dumps([policy_of(*role) for role in policies]))
        return (
            {function["FunctionName"]: function["Role"] for function in functions},
            sorted(schedule["Name"] for schedule in schedules),
            set(used),
        )

    def expected(region):
        return (
            {name: f"arn:aws:iam::{ACCOUNT}:role/{name}-{region}" for name in ("alone", "alone-reconciler")},
            ["alone-fleet", "alone-table"],
            {region},
        )

    assert {region: found(region) for region in regions} == {region: expected(region) for region in regions}
    assert ops("cargo_lambda.py", "delete", "alone", **regions["us-east-1"])[0] == 0
    assert boto3.client("lambda", region_name="us-east-1").list_functions()["Functions"] == []
    assert boto3.client("scheduler", region_name="us-east-1").list_schedules()["Schedules"] == []
    assert found(REGION) == expected(REGION)
    assert sorted(role["RoleName"] for role in boto3.client("iam").list_roles()["Roles"]) == [
        f"alone-{REGION}", f"alone-reconciler-{REGION}", f"alone-schedules-{REGION}",
    ]


def test_a_role_of_an_earlier_version_is_no_longer_used_but_kept_for_other_regions(aws):
    iam = boto3.client("iam")
    policy = {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [policy]})
    iam.create_role(RoleName="alone", AssumeRolePolicyDocument=policy)
    iam.put_role_policy(RoleName="alone", PolicyName="record", PolicyDocument=policy)
    boto3.client("lambda").create_function(
        FunctionName="alone", Role=f"arn:aws:iam::{ACCOUNT}:role/alone", Runtime="provided.al2023", Handler="bootstrap",
        Code={"ZipFile": b"an earlier version"},
    )
    left = (
        "role alone: left by an earlier version of this command. Once no region's function uses it, delete it: "
        "aws iam delete-role-policy --role-name alone --policy-name record && aws iam delete-role --role-name alone"
    )
    environment = aws.environment(RECORDER_BINARY=binary())
    code, lines, errors = ops("cargo_lambda.py", "deploy", "alone", **environment)
    assert (code, lines[-1]) == (0, left), (lines, errors)
    function = boto3.client("lambda").get_function_configuration(FunctionName="alone")
    assert function["Role"] == f"arn:aws:iam::{ACCOUNT}:role/alone-{REGION}"
    code, lines, errors = ops("cargo_lambda.py", "delete", "alone", **environment)
    assert (code, lines[-1], errors) == (0, left, [])
    assert [role["RoleName"] for role in iam.list_roles()["Roles"]] == ["alone"]


def test_a_name_that_is_too_long_for_a_role_is_refused_before_anything_is_created(aws):
    # The longest name is the reconciler's role.
    name = "x" * 44
    assert ops("cargo_lambda.py", "deploy", name, **aws.environment()) == (1, [], [
        f"error: the role name {name}-reconciler-eu-west-1 must have at most 64 characters, found 65: "
        "choose a shorter STACK",
    ])
    assert tables() == {}
