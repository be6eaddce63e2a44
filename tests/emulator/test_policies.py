"""ops/policies: enough for the documented commands, and no more.

MiniStack's own enforcement asks some services for other actions and resources than AWS, so each call of the program under
test is evaluated here, in a proxy. What CloudFormation calls on a deployer's behalf is not seen there: for that,
CloudFormation's own schemas list the actions of each resource's handlers."""

import json
import subprocess
import sys
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import unquote

import boto3
import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from samcli.yamlhelper import yaml_parse

from deploy.iam import allows, as_list
from deploy.ops import ops

from .conftest import PROJECT, STACK, TEMPLATE, started
from .proxy import Proxy

ACCOUNT, REGION = "123456789012", "eu-west-1"
FILES = sorted((PROJECT / "ops/policies").glob("*.json"))
CALLER = f"arn:aws:iam::{ACCOUNT}:user/tester"
# Services in signatures, and operations, that have another name in policies. Batches need the action of single calls.
SERVICES = {"monitoring": "cloudwatch"}
ACTIONS = {"lambda:Invoke": "lambda:InvokeFunction"}


def policy(name):
    return json.loads((PROJECT / f"ops/policies/{name}.json").read_text())


def actions(document):
    return {action for statement in document["Statement"] for action in as_list(statement["Action"])}


def resources(service, action, given, path):
    """The ARNs that a request is authorized on, as the Service Authorization Reference has them."""
    prefix = f"arn:aws:{service}:{REGION}:{ACCOUNT}:"
    if service == "cloudformation":
        name = given.get("StackName", "")
        return [name if name.startswith("arn:") else f"{prefix}stack/{name}/id" if name else "*"]
    if service == "lambda":
        return [f"{prefix}function:{unquote(path.split('/')[3])}"]
    if service == "sqs":
        return [prefix + (given.get("QueueName") or given["QueueUrl"].split("/")[-1])]
    if service == "dynamodb":
        return [f"{prefix}table/{given['TableName']}"]
    if service == "logs":
        return [f"{prefix}log-group:{given['logGroupName']}:*" if "logGroupName" in given else "*"]
    if service == "events":
        bus = "" if given.get("EventBusName", "default") == "default" else given["EventBusName"] + "/"
        found = [f"{prefix}archive/{given['ArchiveName']}"] if "ArchiveName" in given else []
        found += [f"{prefix}replay/{given['ReplayName']}"] if "ReplayName" in given else []
        found += [given["EventSourceArn"]] if action == "events:StartReplay" else []
        rule = given.get("Rule") or (given.get("Name") if "Rule" in action else None)
        return found + ([f"{prefix}rule/{bus}{rule}"] if rule else []) or ["*"]
    if service == "sns":
        return [given["TopicArn"]]
    if service == "s3":
        return [f"arn:aws:s3:::{path.strip('/')}"]
    return ["*"]


@pytest.fixture
def enforce(ministack, environment):
    """Applies a policy to all calls of a program. Yields its environment, and the actions that it asks for."""

    @contextmanager
    def enforced(document, url=ministack.url):
        asked, denied = set(), set()

        def refuse(call):
            service = SERVICES.get(call.service, call.service)
            action = f"{service}:{call.operation.removesuffix('Batch')}"
            action = ACTIONS.get(action, action)
            asked.add(action)
            text = {name: value for name, value in call.given.items() if isinstance(value, str)}
            asked_of = resources(service, action, text, call.path)
            if action != "sts:GetCallerIdentity" and not all(allows(document, CALLER, action, each) for each in asked_of):
                denied.add(action)
                message = f"User: {CALLER} is not authorized to perform: {action}"
                return 403, {"__type": "AccessDeniedException", "message": message}

        proxy = Proxy(url, refuse)
        try:
            yield environment | {"AWS_ENDPOINT_URL": proxy.url, "AWS_MAX_ATTEMPTS": "2"}, asked, denied
        finally:
            proxy.stop()

    return enforced


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_policy_passes_cfn_lints_checks_of_its_grammar_actions_and_resources_and_is_within_iams_limit(path, tmp_path):
    document = json.loads(path.read_text())
    template = tmp_path / "template.json"
    template.write_text(json.dumps({"Resources": {"Policy": {
        "Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": document}}}}))
    lint = [Path(sys.executable).parent / "cfn-lint", "--include-checks", "I", "--", template]
    ended = subprocess.run(lint, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "")
    # The limit of a managed policy, which counts no whitespace.
    assert len(json.dumps(document, separators=(",", ":"))) <= 6144
    assert "*" not in actions(document) and not [action for action in actions(document) if "*" in action]


def test_there_is_a_policy_for_each_purpose():
    assert [path.stem for path in FILES] == ["deploy", "operate", "read"]


def operate(environment, deployed):
    """The documented commands of an operator. Returns those that failed."""
    event = json.loads((PROJECT / "events/fargate-task-running.json").read_text())
    event |= {"time": f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"}
    boto3.client("sqs").send_message(QueueUrl=deployed["DeadLetterQueueUrl"], MessageBody=json.dumps(event))
    # MiniStack evaluates no metric filters.
    boto3.client("cloudwatch").put_metric_data(Namespace=f"ecs-state-recorder/{STACK}", MetricData=[
        {"MetricName": "Invocations", "Value": 1, "Dimensions": [{"Name": "outcome", "Value": "duplicate"}]}])
    ended = {"dry run": ops("redrive.py", STACK, "--dry-run", **environment)}
    ended["redrive"] = ops("redrive.py", STACK, **environment)
    ended["invoke-remote"] = ops("invoke.py", STACK, "events/fargate-task-running.json", **environment)
    ended["smoke"] = ops("smoke.py", STACK, "--patience", "4", **environment)
    ended["reconcile"] = ops("reconcile.py", STACK, "fleet", **environment)
    return {name: (code, lines, errors) for name, (code, lines, errors) in ended.items() if code}


# A replay is only cancelled by Ctrl-C, and a queue only looked up in another account.
BESIDE = {"events:CancelReplay", "sqs:GetQueueUrl"}


def test_an_operator_can_redrive_invoke_check_and_reconcile_and_can_do_no_more(deployed, enforce):
    with enforce(policy("operate")) as (environment, asked, denied):
        assert operate(environment, deployed) == {}
    assert denied == set()
    # Nothing is allowed that no command asks for.
    assert asked - {"sts:GetCallerIdentity"} == actions(policy("operate")) - BESIDE


@pytest.mark.parametrize("action", ["lambda:InvokeFunction", "sqs:DeleteMessage", "dynamodb:GetItem", "events:StartReplay"])
def test_without_one_of_its_actions_a_command_fails(deployed, enforce, action):
    document = policy("operate")
    for statement in document["Statement"]:
        statement["Action"] = [each for each in as_list(statement["Action"]) if each != action]
    with enforce(document) as (environment, asked, denied):
        assert operate(environment, deployed) != {}
    assert denied == {action}
    boto3.client("sqs").purge_queue(QueueUrl=deployed["DeadLetterQueueUrl"])


def test_no_resources_but_the_stacks_own_are_reached(enforce):
    """Another stack's name is another set of resources."""
    with enforce(policy("operate")) as (environment, asked, denied):
        code, lines, [error] = ops("redrive.py", "other", **environment)
    assert code == 1 and "not authorized to perform: cloudformation:DescribeStacks" in error


def test_a_reader_can_read_rows_log_and_metrics_and_change_nothing(deployed, enforce):
    tasks, log = deployed["TaskTableName"], deployed["RecorderLogGroupName"]
    with enforce(policy("read")) as (environment, asked, denied):
        client = lambda service: boto3.client(service, endpoint_url=environment["AWS_ENDPOINT_URL"])
        client("cloudformation").describe_stacks(StackName=STACK)
        client("dynamodb").scan(TableName=tasks)
        client("dynamodb").get_item(TableName=tasks, Key={"taskArn": {"S": "arn"}})
        client("logs").filter_log_events(logGroupName=log)
        client("cloudwatch").describe_alarms()
        assert denied == set()
        for change in (
            lambda: client("dynamodb").put_item(TableName=tasks, Item={"taskArn": {"S": "arn"}}),
            lambda: client("dynamodb").delete_item(TableName=tasks, Key={"taskArn": {"S": "arn"}}),
            lambda: client("lambda").invoke(FunctionName=deployed["RecorderName"]),
            lambda: client("sqs").receive_message(QueueUrl=deployed["DeadLetterQueueUrl"]),
        ):
            with pytest.raises(client("dynamodb").exceptions.ClientError, match="not authorized"):
                change()
    writes = ("Put", "Delete", "Update", "Create", "Invoke", "Receive", "Send", "Tag", "Set")
    assert not [action for action in actions(policy("read")) if action.split(":")[1].startswith(writes)]


# Actions that the handlers need only for what the template does not use.
UNUSED_SERVICES = ("ec2", "elasticfilesystem", "s3files", "firehose", "kinesis", "kms")
UNUSED = {
    # Code signing, layers, versions, runtime management and capacity providers of functions.
    "lambda:AssociateRuntimeAlias", "lambda:DeleteFunctionCodeSigningConfig", "lambda:GetCodeSigningConfig",
    "lambda:GetLayerVersion", "lambda:PassCapacityProvider", "lambda:PublishVersion",
    "lambda:PutFunctionCodeSigningConfig", "lambda:PutFunctionRecursionConfig", "lambda:PutFunctionScalingConfig",
    "lambda:PutRuntimeManagementConfig",
    # Deliveries, indexes, protection and policies of log groups.
    "logs:AssociateKmsKey", "logs:CreateLogDelivery", "logs:CreateLogStream", "logs:DeleteDataProtectionPolicy",
    "logs:DeleteIndexPolicy", "logs:DeleteResourcePolicy", "logs:DescribeLogStreams", "logs:DisassociateKmsKey",
    "logs:PutBearerTokenAuthentication", "logs:PutDataProtectionPolicy", "logs:PutIndexPolicy", "logs:PutLogEvents",
    "logs:PutLogGroupDeletionProtection", "logs:PutResourcePolicy", "s3:REST.PUT.OBJECT",
    # Managed policies of roles.
    "iam:AttachRolePolicy", "iam:DetachRolePolicy", "iam:CreateServiceLinkedRole",
    # Replicas, imports, insights, streaming and policies of tables.
    "dynamodb:AssociateTableReplica", "dynamodb:BatchWriteItem", "dynamodb:CreateTableReplica", "dynamodb:DeleteItem",
    "dynamodb:DeleteResourcePolicy", "dynamodb:DescribeImport", "dynamodb:DisableKinesisStreamingDestination",
    "dynamodb:EnableKinesisStreamingDestination", "dynamodb:GetItem", "dynamodb:ImportTable", "dynamodb:PutItem",
    "dynamodb:PutResourcePolicy", "dynamodb:Query", "dynamodb:Scan", "dynamodb:UpdateContributorInsights",
    "dynamodb:UpdateItem", "dynamodb:UpdateKinesisStreamingDestination", "s3:GetObjectMetadata",
}
# What the commands, or SAM's bucket, need besides: SAM creates it in moto, too, but as CloudFormation.
SAMS = {
    "s3:CreateBucket", "s3:GetBucketLocation", "s3:GetBucketPolicy", "s3:GetBucketTagging", "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging", "s3:PutBucketVersioning", "s3:PutEncryptionConfiguration",
    "s3:PutObject", "s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "cloudformation:DeleteChangeSet",
    "cloudformation:GetTemplateSummary", "lambda:GetFunctionConfiguration", "lambda:ListTags",
}
# Actions for stack states that these two commands do not reach.
STATES = {"cloudformation:GetTemplate", "cloudformation:ListChangeSets"}


def of_handlers():
    found = set()
    kinds = {resource["Type"] for resource in yaml_parse(TEMPLATE)["Resources"].values()}
    # What SAM makes of the first.
    for kind in kinds - {"AWS::Serverless::Function"} | {"AWS::Lambda::Function", "AWS::Lambda::EventInvokeConfig"}:
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
        for name, handler in schema["handlers"].items():
            found |= set(handler.get("permissions", [])) if name != "list" else set()
    return {action for action in found if action.split(":")[0] not in UNUSED_SERVICES} - UNUSED


def test_a_deployer_may_do_what_cloudformations_handlers_of_the_templates_resources_do_and_no_more():
    granted, needed = actions(policy("deploy")), of_handlers()
    assert needed - granted == set()
    commands = {action for action in granted if action.startswith("cloudformation:")}
    assert granted - needed - SAMS - commands == set()
    # Only the functions and the schedules get a role of the stack.
    [passing] = [each for each in policy("deploy")["Statement"] if "iam:PassRole" in as_list(each["Action"])]
    assert passing["Condition"] == {
        "StringEquals": {"iam:PassedToService": ["lambda.amazonaws.com", "scheduler.amazonaws.com"]}}


def test_make_deploy_and_make_delete_work_with_the_policy(make, enforce):
    # An AWS of its own, since the policy is for this name of a stack only.
    with started() as own, enforce(policy("deploy"), own.url) as (environment, asked, denied):
        for target in ("deploy", "delete"):
            code, output, errors = make(target, AWS_ENDPOINT_URL=environment["AWS_ENDPOINT_URL"])
            assert (code, denied) == (0, set()), output + errors
    cloudformation = {action for action in actions(policy("deploy")) if action.startswith("cloudformation:")}
    assert {action for action in asked if action.startswith("cloudformation:")} <= cloudformation
    assert cloudformation - asked <= STATES | SAMS, cloudformation - asked
