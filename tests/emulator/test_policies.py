"""ops/policies: enough for the documented commands, and no more.

MiniStack's own enforcement asks some services for other actions and resources than AWS, so each call of the program under
test is evaluated here, in a proxy. What CloudFormation calls on a deployer's behalf is not seen there: for that,
CloudFormation's own schemas list the actions of each resource's handlers."""

import ast
import json
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import boto3
import pytest
from botocore import xform_name
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from samcli.yamlhelper import yaml_parse

from deploy.iam import allows, as_list
from deploy.ops import ops

from .conftest import PROJECT, STACK, TEMPLATE
from .proxy import Proxy, ago, older_archive

ACCOUNT, REGION = "123456789012", "eu-west-1"
FILES = sorted((PROJECT / "ops/policies").glob("*.json"))
CALLER = f"arn:aws:iam::{ACCOUNT}:user/tester"
# Services in signatures, and operations, that have another name in policies. Batches need the action of single calls.
SERVICES = {"monitoring": "cloudwatch"}
ACTIONS = {"lambda:Invoke": "lambda:InvokeFunction", "s3:HeadBucket": "s3:ListBucket"}


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
    if action == "lambda:ListEventSourceMappings":
        return ["*"]
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
    def enforced(document):
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
            return older_archive(call)

        with Proxy(ministack.url, refuse) as proxy:
            yield environment | {"AWS_ENDPOINT_URL": proxy.url, "AWS_MAX_ATTEMPTS": "2"}, asked, denied

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
    assert [path.stem for path in FILES] == [
        "deploy", "hub", "key", "operate", "read", "restore", "stacksets"]


COMMANDS_OF_AN_OPERATOR = {
    "dry run": ["redrive.py", STACK, "--dry-run"],
    "redrive": ["redrive.py", STACK],
    "invoke-remote": ["invoke.py", STACK, "events/fargate-task-running.json"],
    "smoke": ["smoke.py", STACK, "--patience", "4"],
    "replay": ["replay.py", STACK, "--from", ago(hours=2), "--to", ago(hours=1)],
    "reconcile": ["reconcile.py", STACK, "fleet"],
}


def operate(environment, deployed, *only):
    """The documented commands of an operator, or some of them. Returns those that failed."""
    event = json.loads((PROJECT / "events/fargate-task-running.json").read_text())
    event |= {"time": ago()}
    boto3.client("sqs").send_message(QueueUrl=deployed["DeadLetterQueueUrl"], MessageBody=json.dumps(event))
    # MiniStack evaluates no metric filters.
    boto3.client("cloudwatch").put_metric_data(Namespace=f"ecs-state-recorder/{STACK}", MetricData=[
        {"MetricName": "Invocations", "Value": 1, "Dimensions": [{"Name": "outcome", "Value": "duplicate"}]}])
    ended = {name: ops(*COMMANDS_OF_AN_OPERATOR[name], **environment) for name in only or COMMANDS_OF_AN_OPERATOR}
    return {name: (code, lines, errors) for name, (code, lines, errors) in ended.items() if code}


# A replay is only cancelled by Ctrl-C, and a queue only looked up in another account. The log's queries are the
# dashboard's.
BESIDE = {"events:CancelReplay", "sqs:GetQueueUrl", "logs:StartQuery", "logs:GetQueryResults"}


def test_an_operator_can_redrive_invoke_check_and_reconcile_and_can_do_no_more(deployed, enforce):
    with enforce(policy("operate")) as (environment, asked, denied):
        assert operate(environment, deployed) == {}
    assert denied == set()
    # Nothing is allowed that no command asks for.
    printed = {action for action, _, source in printed_commands() if source in OPERATES | {"docs/deploy.md"}}
    asked -= {"sts:GetCallerIdentity"}
    assert asked <= actions(policy("operate")) <= asked | printed | BESIDE


@pytest.mark.parametrize("action, command", [
    ("lambda:InvokeFunction", "invoke-remote"), ("sqs:DeleteMessage", "redrive"), ("dynamodb:GetItem", "invoke-remote"),
    ("events:StartReplay", "replay"),
])
def test_without_one_of_its_actions_a_command_fails(deployed, enforce, action, command):
    document = policy("operate")
    for statement in document["Statement"]:
        statement["Action"] = [each for each in as_list(statement["Action"]) if each != action]
    with enforce(document) as (environment, asked, denied):
        assert list(operate(environment, deployed, command)) == [command]
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
    # For `ecs-state logs`.
    stream = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/ecs/web:log-stream:web/web/1"
    assert allows(policy("read"), CALLER, "ecs:DescribeTaskDefinition", "*")
    assert allows(policy("read"), CALLER, "logs:GetLogEvents", stream)
    assert not allows(policy("read"), CALLER, "logs:GetLogEvents", stream.replace("/ecs/", "/aws/lambda/"))
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
# What the commands need besides, and SAM's own bucket, for `sam deploy` with a package.
SAMS = {
    "s3:CreateBucket", "s3:GetBucketLocation", "s3:GetBucketPolicy", "s3:GetBucketTagging", "s3:PutBucketPolicy",
    "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging", "s3:PutBucketVersioning", "s3:PutEncryptionConfiguration",
    "s3:PutObject", "s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "cloudformation:DeleteChangeSet",
    "cloudformation:GetTemplateSummary", "lambda:GetFunctionConfiguration", "lambda:ListTags",
}
# What `make deploy` compares some parameters with.
QUOTAS = {"dynamodb:DescribeLimits", "events:DescribeEventBus", "lambda:GetAccountSettings", "servicequotas:GetServiceQuota"}
# Actions for stack states that these two commands do not reach.
STATES = {
    "cloudformation:ContinueUpdateRollback", "cloudformation:GetTemplate", "cloudformation:ListChangeSets",
    "cloudformation:RollbackStack",
}


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
    assert granted - needed - SAMS - QUOTAS - commands == set()
    # Only the functions and the schedules get a role of the stack.
    [passing] = [each for each in policy("deploy")["Statement"] if "iam:PassRole" in as_list(each["Action"])]
    assert passing["Condition"] == {
        "StringEquals": {"iam:PassedToService": ["lambda.amazonaws.com", "scheduler.amazonaws.com"]}}


def test_make_deploy_and_make_delete_work_with_the_policy(account, make, enforce):
    # An account of its own, since the policy is for this name of a stack only.
    with enforce(policy("deploy")) as (environment, asked, denied):
        for target in ("deploy", "delete"):
            code, output, errors = make(target, **environment)
            assert (code, denied) == (0, set()), output + errors
    cloudformation = {action for action in actions(policy("deploy")) if action.startswith("cloudformation:")}
    assert {action for action in asked if action.startswith("cloudformation:")} <= cloudformation
    assert cloudformation - asked <= STATES | SAMS, cloudformation - asked


# What the tools and the pages print.


OPERATES = {f"ops/{name}.py" for name in ("invoke", "reconcile", "redrive", "replay", "smoke")}
# Of no single operation.
COMMANDS = {
    "cloudformation deploy": "cloudformation:ExecuteChangeSet", "cloudformation package": "s3:PutObject",
    "dynamodb execute-statement": "dynamodb:PartiQLSelect", "logs tail": "logs:FilterLogEvents", "s3 cp": "s3:PutObject",
}
# Commands without a policy here: those of cargo-lambda's deployment and of whoever owns topics and rules, what the
# README suggests instead of this project, and what an administrator of the organization does once.
OTHERS = ("docs/notifications.md", "ops/cargo_lambda.py", "README.md")
ONCE = "cloudformation:ActivateOrganizationsAccess"


def texts(path):
    """A page; or the strings of a program, without what it fills in."""
    if path.suffix != ".py":
        return [path.read_text().replace("\\\n", " ")]
    joined = lambda node: "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    nodes = list(ast.walk(ast.parse(path.read_text())))
    return [joined(node) for node in nodes if isinstance(node, ast.JoinedStr)] + [
        node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def printed_commands():
    """The action of each command of the AWS CLI, the tables that it names, and its source."""
    command = re.compile(r"(?:^\$ |`| |\()aws ([a-z0-9]+) ([a-z][a-z-]+[^`\n]*)", re.MULTILINE)
    globs = ("*.md", "*.yaml", "docs/*.md", "ops/*.py", "organization/*")
    pages = [path for glob in globs for path in PROJECT.glob(glob)]
    found = []
    for path in pages:
        for text in texts(path):
            for service, words in command.findall(text):
                # A shell in a task is no part of reading the tables.
                if service == "sso" or (service, words.split()[0]) == ("ecs", "execute-command"):
                    continue
                operation, *words = words.split()
                if operation == "wait":
                    operation = {"table": "describe-table"}[words.pop(0).split("-")[0]]
                action = COMMANDS.get(f"{service} {operation}")
                if not action:
                    model = boto3.client(service, REGION).meta.service_model
                    names = {xform_name(name, "-"): name for name in model.operation_names}
                    action = f"{service}:{names[operation]}"
                tables = [words[at + 1] for at, word in enumerate(words[:-1]) if word.endswith("table-name")]
                found.append((ACTIONS.get(action, action), [name for name in tables if name.isalpha() or "-" in name],
                              path.relative_to(PROJECT).as_posix()))
    return found


def test_every_command_that_a_tool_or_a_page_prints_is_allowed_by_a_policy():
    commands = printed_commands()
    assert {"events:EnableRule", "cloudformation:RollbackStack", "lambda:AddPermission", "dynamodb:CreateBackup",
            "lambda:PutFunctionEventInvokeConfig"} <= {action for action, _, _ in commands}
    refused = []
    for action, tables, source in commands:
        if source in OTHERS or action == ONCE:
            continue
        names = ["operate"] if source in OPERATES else [path.stem for path in FILES]
        on = [f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}" for table in tables]
        if not any(action in actions(policy(name)) and all(allows(policy(name), CALLER, action, each) for each in on)
                   for name in names):
            refused.append(f"{source}: {action} {' '.join(tables)}")
    assert refused == []


def test_a_restored_table_needs_no_other_policies():
    restored = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/ECSTaskState-restored"
    for name in ("deploy", "operate", "read"):
        assert allows(policy(name), CALLER, "dynamodb:DescribeTable", restored)


def test_with_a_key_whoever_deploys_may_let_the_services_use_it():
    document = policy("key")
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"
    for action in ("kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey", "kms:GetKeyPolicy"):
        assert allows(document, CALLER, action, key, **{"kms:GrantIsForAWSResource": "true"})
    assert not allows(document, CALLER, "kms:CreateGrant", key)
