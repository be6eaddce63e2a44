"""The hub and the spokes of an organization, in two accounts and two regions.

moto itself matches the events with the patterns of both rules, carries them from the spoke's bus to the hub's in the
other account and region, and archives them there. It evaluates no policies, has no Lambda targets and no dead-letter
queues, and drops most of the envelope. So this file evaluates the policies, sends what moto matched to the built
recorder, and puts what EventBridge could not deliver into the queue."""

import json
import re
import subprocess
from datetime import datetime, timezone

import boto3
import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.exceptions import JsonRESTError
from moto.ecs.models import Task
from moto.events.models import Rule, events_backends
from moto.iam.models import iam_backends
from moto.sqs.models import sqs_backends
from moto.sqs.responses import SQSResponse
from samcli.yamlhelper import yaml_parse

from .aws import ACCOUNT, PROJECT, REGION, account
from .function import Function, reconciler
from .iam import allows, as_list
from .ops import TASKS, ops, rows

assert ACCOUNT == DEFAULT_ACCOUNT_ID
ORGANIZATION = "o-a1b2c3d4e5"
OTHER = ("111122223333", "us-east-1")
OUTSIDER = ("999900001111", "us-east-1")
QUEUE = "ecs-state-recorder-spoke"
DETAIL_TYPES = ["ECS Task State Change", "ECS Container Instance State Change"]
EVENTS = sorted((PROJECT / "events").glob("*.json"))
REFUSED = sorted((PROJECT / "events/refused").glob("*.json"))
PAGE = (PROJECT / "docs/organization.md").read_text()


def may_put(rule, target, event):
    """Whether the rule's role may put the event on the bus: its own policy must allow it, and the bus's policy."""
    [own] = iam_backends[rule.account_id]["aws"].get_role(target["RoleArn"].split("/")[-1]).policies.values()
    _, _, _, region, owner, bus = target["Arn"].split(":")
    with account(owner, region):
        described = boto3.client("events").describe_event_bus(Name=bus.split("/")[1])
    context = {
        "aws:PrincipalOrgID": "o-zzzzzzzzzz" if rule.account_id == OUTSIDER[0] else ORGANIZATION,
        "events:source": [event["source"]], "events:detail-type": [event["detail-type"]],
    }
    asked = (target["RoleArn"], "events:PutEvents", target["Arn"])
    return allows(own, *asked, **context) and allows(json.loads(described["Policy"]), *asked, **context)


@pytest.fixture
def hub(aws):
    return aws.create("hub", "organization/hub.yaml", OrganizationId=ORGANIZATION, SpokesReconcile="true")


@pytest.fixture
def stack(aws, hub):
    """The recorder's stack on the hub's bus, as the page deploys it."""
    [words] = [line.split("'")[1].split() for line in PAGE.splitlines() if line.startswith("$ make deploy PARAM")]
    return aws.deploy("recorder", **dict(word.split("=") for word in words))


@pytest.fixture
def spoke(aws, hub, stack):
    """Deploys a spoke in an account and region."""

    def deploy(place, **parameters):
        with account(*place):
            return aws.create("spoke", "organization/spoke.yaml", HubBusArn=hub.outputs["EventBusArn"], **parameters)

    return deploy


@pytest.fixture
def delivered(monkeypatch, stack, function):
    """The function's answers, in the order of delivery."""
    answers, send = [], Rule.send_to_targets

    def send_to_targets(rule, event, **more):
        if not rule.event_pattern.matches_event(event):
            return
        [target] = rule.targets
        # moto's time is a number.
        whole = json.dumps(event | {"time": f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"})
        if ":lambda:" in target["Arn"]:
            assert stack.properties["RecorderStateChangesPermission"]["SourceArn"] == rule.arn
            answers.append(function.invoke(whole.encode()))
        elif ":event-bus/" in target["Arn"] and not may_put(rule, target, event):
            *_, region, owner, name = target["DeadLetterConfig"]["Arn"].split(":")
            with account(owner, region):
                sqs = boto3.client("sqs")
                policy = sqs.get_queue_attributes(
                    QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"], AttributeNames=["Policy", "QueueArn"]
                )["Attributes"]
                assert allows(
                    json.loads(policy["Policy"]), "events.amazonaws.com", "sqs:SendMessage", policy["QueueArn"],
                    **{"aws:SourceArn": rule.arn, "aws:SourceAccount": rule.account_id, "aws:SecureTransport": "true"},
                )
                sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"], MessageBody=whole,
                                 MessageAttributes={"ERROR_CODE": {"DataType": "String",
                                                                   "StringValue": "NO_PERMISSIONS"}})
        else:
            send(rule, event, **more)

    monkeypatch.setattr(Rule, "send_to_targets", send_to_targets)
    return answers


def sample(path, place):
    """A sample event, as of an account and region."""
    return path.read_text().replace(ACCOUNT, place[0]).replace(REGION, place[1])


def happens(text, place):
    """An event of ECS in an account and region. moto lets PutEvents use ECS's source; EventBridge does not."""
    event = json.loads(text)
    entry = {"Source": event["source"], "DetailType": event["detail-type"], "Detail": json.dumps(event["detail"])}
    with account(*place):
        boto3.client("events").put_events(Entries=[entry])


def archived():
    [archive] = events_backends[ACCOUNT][REGION].archives.values()
    return [event["detail"] for event in archive.events]


@pytest.mark.parametrize("place", [OTHER, (ACCOUNT, REGION)], ids=["another account and region", "the hub's own"])
def test_an_event_in_a_spokes_account_ends_in_the_hubs_table_and_archive(spoke, delivered, function, place):
    spoke(place)
    text = sample(PROJECT / "events/fargate-task-stopped.json", place)
    happens(text, place)
    assert [answer["outcome"] for answer in delivered] == ["stored"]
    assert archived() == [json.loads(text)["detail"]]
    [forwarded] = rows().values()

    # The same row as without the detour, except for the envelope.
    boto3.client("dynamodb").delete_item(TableName=TASKS, Key={"taskArn": forwarded["taskArn"]})
    function.invoke(text.encode())
    [direct] = rows().values()
    envelope = {"event_id", "event_time", "expires_at"}
    assert set(forwarded) == set(direct)
    assert {name: forwarded[name] for name in set(forwarded) - envelope} == {
        name: direct[name] for name in set(direct) - envelope
    }


def test_every_state_change_reaches_the_recorder_and_nothing_else_does(spoke, delivered):
    spoke(OTHER)
    for path in [*EVENTS, *REFUSED]:
        happens(sample(path, OTHER), OTHER)
    assert len(EVENTS) >= 9 and len(REFUSED) >= 3
    assert {answer["outcome"] for answer in delivered[: len(EVENTS)]} == {"stored", "stale"}
    # By its envelope, the last one is a task state change.
    assert [answer["errorType"] for answer in delivered[len(EVENTS):]] == ["InvalidEvent"]


def test_the_patterns_of_the_spoke_the_recorder_and_its_archive_and_the_hubs_policy_are_the_same(spoke, stack, hub):
    pattern = {"source": ["aws.ecs"], "detail-type": DETAIL_TYPES}
    with account(*OTHER):
        rule = spoke(OTHER).properties["StateChanges"]
    assert rule["EventPattern"] == stack.properties["RecorderStateChanges"]["EventPattern"] == pattern
    assert stack.properties["Archive"]["EventPattern"] == pattern
    [archive] = events_backends[ACCOUNT][REGION].archives.values()
    assert archive.source_arn == hub.outputs["EventBusArn"]
    condition = hub.properties["BusPolicy"]["Statement"]["Condition"]["ForAllValues:StringEquals"]
    assert condition == {"events:source": pattern["source"], "events:detail-type": pattern["detail-type"]}
    # One hop: from the default bus to the hub's, where the target is the function.
    assert rule.get("EventBusName", "default") == "default"
    assert [target["Arn"] for target in rule["Targets"]] == [hub.outputs["EventBusArn"]]
    assert stack.properties["RecorderStateChanges"]["EventBusName"] == hub.outputs["EventBusName"]


@pytest.mark.parametrize("allowed, changed", [
    (True, {}),
    (True, {"events:detail-type": DETAIL_TYPES}),
    (False, {"aws:PrincipalOrgID": "o-zzzzzzzzzz"}),
    (False, {"aws:PrincipalOrgID": []}),
    (False, {"events:source": ["my.app"]}),
    (False, {"events:source": ["aws.ecs", "my.app"]}),
    (False, {"events:detail-type": ["ECS Service Action"]}),
])
def test_the_hubs_policy_allows_state_changes_of_the_organization_and_nothing_else(hub, allowed, changed):
    policy = json.loads(boto3.client("events").describe_event_bus(Name=hub.outputs["EventBusName"])["Policy"])
    context = {
        "aws:PrincipalOrgID": ORGANIZATION, "events:source": ["aws.ecs"], "events:detail-type": DETAIL_TYPES[:1],
    }
    role, bus = f"arn:aws:iam::{OTHER[0]}:role/any", hub.outputs["EventBusArn"]
    assert allows(policy, role, "events:PutEvents", bus, **context | changed) == allowed
    assert not allows(policy, role, "events:PutRule", bus, **context)


def test_the_log_of_the_bus_has_no_content_of_events_and_only_log_delivery_may_write_it(hub):
    assert hub.properties["Bus"]["LogConfig"] == {"Level": "ERROR", "IncludeDetail": "NONE"}
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{hub.outputs['LogGroupName']}"
    assert hub.properties["LogSource"] == {
        "Name": "ecs-state-changes-errors", "ResourceArn": hub.outputs["EventBusArn"], "LogType": "ERROR_LOGS",
    }
    assert hub.properties["LogDestination"]["DestinationResourceArn"] == group
    assert hub.properties["LogDelivery"]["DeliverySourceName"] == hub.properties["LogSource"]["Name"]
    policy = json.loads(hub.properties["LogsPolicy"]["PolicyDocument"])
    asked = ("delivery.logs.amazonaws.com", "logs:PutLogEvents", f"{group}:log-stream:*")
    ours = {"aws:SourceAccount": ACCOUNT, "aws:SourceArn": f"arn:aws:logs:{REGION}:{ACCOUNT}:delivery-source:any"}
    assert allows(policy, *asked, **ours)
    assert not allows(policy, *asked, **ours | {"aws:SourceAccount": OTHER[0]})
    assert not allows(policy, "lambda.amazonaws.com", *asked[1:], **ours)


def test_a_spoke_keeps_what_it_cannot_deliver_and_reports_it(spoke):
    topic = f"arn:aws:sns:{OTHER[1]}:{ACCOUNT}:on-call"
    deployed = spoke(OTHER, AlarmTopic=f"{ACCOUNT}:on-call")
    with account(*OTHER):
        alarms = boto3.client("cloudwatch").describe_alarms()["MetricAlarms"]
        queue = boto3.client("sqs").get_queue_attributes(
            QueueUrl=deployed.outputs["DeadLetterQueueUrl"], AttributeNames=["All"])["Attributes"]
    rule = deployed.outputs["RuleArn"].split("/")[1]
    names = {physical: logical for logical, physical in deployed.names.items()}
    assert {names[alarm["AlarmName"]]: (alarm["Namespace"], alarm["MetricName"], alarm["Dimensions"],
                                        alarm["ComparisonOperator"], alarm["Threshold"]) for alarm in alarms} == {
        "DeadLetterQueueAlarm": (
            "AWS/SQS", "ApproximateNumberOfMessagesVisible", [{"Name": "QueueName", "Value": QUEUE}],
            "GreaterThanThreshold", 0),
        "FailedInvocationsAlarm": (
            "AWS/Events", "FailedInvocations", [{"Name": "RuleName", "Value": rule}], "GreaterThanThreshold", 0),
        "LostEventsAlarm": (
            "AWS/Events", "InvocationsFailedToBeSentToDlq", [{"Name": "RuleName", "Value": rule}],
            "GreaterThanThreshold", 0),
    }
    for alarm in alarms:
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]
        assert 100 < len(alarm["AlarmDescription"]) <= 1024
        assert alarm["AlarmDescription"].endswith("Runbook: docs/organization.md#operate")
    assert queue["MessageRetentionPeriod"] == str(14 * 24 * 60 * 60) and queue["SqsManagedSseEnabled"] == "true"
    # The queue takes messages before there is a rule.
    assert yaml_parse((PROJECT / "organization/spoke.yaml").read_text())["Resources"]["StateChanges"]["DependsOn"] == (
        "DeadLetterQueuePolicy"
    )
    trust = deployed.properties["SendRole"]["AssumeRolePolicyDocument"]
    assert trust["Statement"] == [{
        "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sts:AssumeRole",
        "Condition": {
            "ArnLike": {"aws:SourceArn": f"arn:aws:events:{OTHER[1]}:{OTHER[0]}:rule/*"},
            "StringEquals": {"aws:SourceAccount": OTHER[0]},
        },
    }]


# Redriving the spokes' queues.


@pytest.fixture
def across_accounts(monkeypatch):
    """SQS as AWS has it: the owner's account is part of a queue's URL, and its policy decides about other accounts."""

    def backend(response):
        parameters = json.loads(response.body or "{}")
        owner = parameters.get("QueueOwnerAWSAccountId") or parameters.get("QueueUrl", "").split("/")[-2:][0]
        name = parameters.get("QueueName") or parameters.get("QueueUrl", "").split("/")[-1]
        if not owner or owner == response.current_account:
            return sqs_backends[response.current_account][response.region]
        queue = sqs_backends[owner][response.region].queues.get(name)
        action = response.headers["X-Amz-Target"].split(".")[1].removesuffix("Batch")
        asked = (f"arn:aws:iam::{response.current_account}:root", f"sqs:{action}")
        if queue is None or not allows(json.loads(queue.policy), *asked, queue.queue_arn, **{
            "aws:SecureTransport": "true"
        }):
            raise JsonRESTError("AccessDenied", "Access to the resource is denied.")
        return sqs_backends[owner][response.region]

    monkeypatch.setattr(SQSResponse, "sqs_backend", property(backend))


def waiting(place):
    return len(sqs_backends[place[0]][place[1]].queues[QUEUE].messages)


def test_a_redrive_sends_what_waits_in_a_spokes_queue_to_the_recorder(
    spoke, delivered, function, environment, across_accounts
):
    # An account outside the organization, whose spoke the hub's policy refuses.
    spoke(OUTSIDER)
    happens(sample(PROJECT / "events/fargate-task-running.json", OUTSIDER), OUTSIDER)
    assert (delivered, rows(), waiting(OUTSIDER)) == ([], {}, 1)
    spokes = "/".join(OUTSIDER)
    code, lines, errors = ops("redrive.py", "recorder", "--spokes", spokes, "--dry-run", **environment)
    assert (code, errors) == (0, []) and lines[-1] == f"spoke {spokes}: 1 to send, 0 left"
    code, lines, errors = ops("redrive.py", "recorder", "--spokes", spokes, **environment)
    assert (code, lines, errors) == (0, [
        "dead-letter queue: 0 sent, 0 left", "failure queue: 0 sent, 0 left",
        f"spoke {spokes}: 1 sent: NO_PERMISSIONS", f"spoke {spokes}: 1 sent, 0 left",
    ], [])
    assert function.answers.get(timeout=30)["outcome"] == "stored"
    [row] = rows().values()
    assert row["version"] == {"N": "3"} and waiting(OUTSIDER) == 0


def test_a_redrive_leaves_what_is_not_about_the_spokes_own_account_and_region(
    spoke, delivered, function, environment, across_accounts
):
    spoke(OUTSIDER)
    running = PROJECT / "events/fargate-task-running.json"
    own = json.loads(sample(running, OUTSIDER))
    arn = own["detail"]["taskArn"]
    forged = [
        json.loads(sample(running, (ACCOUNT, REGION))),
        json.loads(sample(running, (OUTSIDER[0], REGION))),
        own | {"detail": own["detail"] | {"clusterArn": f"arn:aws:ecs:{OUTSIDER[1]}:{ACCOUNT}:cluster/demo"}},
        own | {"detail": own["detail"] | {"taskArn": [arn]}},
        own | {"detail": {}},
    ]
    for event in forged:
        happens(json.dumps(event), OUTSIDER)
    spokes = "/".join(OUTSIDER)
    code, lines, _ = ops("redrive.py", "recorder", "--force", "--spokes", spokes, **environment)
    assert (code, lines[-1]) == (1, f"spoke {spokes}: 0 sent, 5 left")
    assert any("5 left: NO_PERMISSIONS: not about the spoke's own account and region" in line for line in lines), lines
    assert (delivered, rows()) == ([], {})


def test_a_spoke_that_cannot_be_redriven_is_named_and_the_others_are_redriven(
    aws, spoke, delivered, function, environment, across_accounts
):
    spoke(OUTSIDER)
    happens(sample(PROJECT / "events/fargate-task-running.json", OUTSIDER), OUTSIDER)
    spokes = f"444455556666/us-east-1 {'/'.join(OUTSIDER)}"
    code, lines, errors = ops("redrive.py", "recorder", "--spokes", spokes, **environment)
    assert (code, lines[-1]) == (1, f"spoke {'/'.join(OUTSIDER)}: 1 sent, 0 left")
    assert errors == [
        f"error: the queue {QUEUE} of the spoke 444455556666/us-east-1 can't be used (AccessDenied): its stack must "
        "name a bus of your account, and your own policies must allow the queue, too (docs/organization.md)"]
    assert function.answers.get(timeout=30)["outcome"] == "stored"
    assert ops("redrive.py", "recorder", "--spokes", "111122223333", **environment) == (1, [], [
        "error: SPOKES must be like 111122223333/eu-west-1, separated by spaces, found '111122223333'"])


def test_only_the_hubs_account_may_empty_a_spokes_queue_and_nobody_else_may_fill_it(spoke):
    with account(*OTHER):
        deployed = spoke(OTHER)
    policy = deployed.properties["DeadLetterQueuePolicy"]["PolicyDocument"]
    queue = f"arn:aws:sqs:{OTHER[1]}:{OTHER[0]}:{QUEUE}"
    hub, other = f"arn:aws:iam::{ACCOUNT}:root", f"arn:aws:iam::{OUTSIDER[0]}:root"
    tls = {"aws:SecureTransport": "true"}
    for action in ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes", "GetQueueUrl"):
        assert allows(policy, hub, f"sqs:{action}", queue, **tls)
        assert not allows(policy, hub, f"sqs:{action}", queue, **{"aws:SecureTransport": "false"})
        assert not allows(policy, other, f"sqs:{action}", queue, **tls)
    for action in ("SendMessage", "PurgeQueue", "SetQueueAttributes"):
        assert not allows(policy, hub, f"sqs:{action}", queue, **tls)
    rule = {"aws:SourceArn": deployed.outputs["RuleArn"], "aws:SourceAccount": OTHER[0]}
    sends = ("events.amazonaws.com", "sqs:SendMessage", queue)
    assert allows(policy, *sends, **tls | rule)
    assert not allows(policy, *sends, **tls | rule | {"aws:SourceAccount": OUTSIDER[0]})
    assert not allows(policy, *sends, **tls | rule | {"aws:SourceArn": f"arn:aws:events:us-east-1:{OUTSIDER[0]}:rule/x"})


# Reconciling the spokes.


def documented(name):
    """The parameters of the page's StackSet."""
    [given] = re.findall(rf"create-stack-set --stack-set-name ecs-state-recorder-{name} .*?\n\$", PAGE, re.DOTALL)
    return dict(re.findall(r"ParameterKey=(\w+),ParameterValue=(\S+)", given))


@pytest.fixture
def deployed_reconciler(aws, hub):
    with account(*OTHER):
        boto3.client("s3").create_bucket(Bucket=f"code-{OTHER[1]}")
        boto3.client("s3").put_object(Bucket=f"code-{OTHER[1]}", Key="0.2.0/reconciler.zip", Body=b"the built function")
        return aws.create("spoke-reconciler", "organization/reconciler.yaml", **documented("reconciler") | {
            "CodeBucketPrefix": "code", "TableRoleArn": hub.outputs["TableRoleArn"],
        })


def test_a_spokes_reconciler_writes_into_the_hubs_table_by_the_role(aws, stack, deployed_reconciler, monkeypatch):
    # moto's tasks have none.
    monkeypatch.setattr(Task, "version", 3, raising=False)
    variables = deployed_reconciler.properties["Reconciler"]["Environment"]["Variables"]
    with account(*OTHER):
        ecs, ec2 = boto3.client("ecs"), boto3.client("ec2")
        ecs.create_cluster(clusterName="demo")
        ecs.register_task_definition(
            family="web", networkMode="awsvpc", containerDefinitions=[{"name": "web", "image": "web", "memory": 128}])
        [subnet, *_] = ec2.describe_subnets()["Subnets"]
        [group, *_] = ec2.describe_security_groups()["SecurityGroups"]
        [task] = ecs.run_task(
            cluster="demo", taskDefinition="web", launchType="FARGATE", networkConfiguration={"awsvpcConfiguration": {
                "subnets": [subnet["SubnetId"]], "securityGroups": [group["GroupId"]]}},
            overrides={"containerOverrides": [{"name": "web", "environment": [{"name": "TOKEN", "value": "hunter2"}]}]},
        )["tasks"]
        keys = boto3.DEFAULT_SESSION.get_credentials()
        variables |= {
            "AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            "AWS_SESSION_TOKEN": keys.token, "AWS_REGION": OTHER[1], "AWS_DEFAULT_REGION": OTHER[1],
        }
    variables = {name: str(value) for name, value in variables.items()}
    function = Function({"AWS_ENDPOINT_URL": aws.url, **variables}, reconciler())
    try:
        answer = function.invoke(b'{"scope": "fleet"}')
    finally:
        function.stop()
    assert (answer["listed"], answer["stored"], answer["failures"]) == (1, 1, 0), answer
    [(arn, row)] = rows().items()
    assert arn == task["taskArn"] and arn.startswith(f"arn:aws:ecs:{OTHER[1]}:{OTHER[0]}:task/demo/")
    assert (row["version"], row["clusterArn"]) == ({"N": "3"}, {"S": task["clusterArn"]})
    assert row["reconciled_at"]["S"] > "2026" and row["index_cluster"] == row["clusterArn"]
    # The page's recorder redacts, and so must whatever else writes to its tables.
    assert "TOKEN" in str(row) and "hunter2" not in str(row)
    assert stack.properties["Recorder"]["Environment"]["Variables"]["REDACT_ENVIRONMENT"] == "true"


def test_whatever_the_page_deploys_redacts_and_expires_as_the_recorder_does(stack):
    template = yaml_parse((PROJECT / "organization/reconciler.yaml").read_text())["Parameters"]
    recorder = stack.properties["Recorder"]["Environment"]["Variables"]
    for name, variable in (("RedactEnvironment", "REDACT_ENVIRONMENT"), ("RetentionDays", "RETENTION_DAYS")):
        assert documented("reconciler")[name] == str(recorder[variable]) and "Default" not in template[name]


def test_only_a_reconciler_of_the_organization_may_assume_the_role_and_only_for_its_own_rows(hub, deployed_reconciler):
    role = hub.properties["TableRole"]
    own = deployed_reconciler.properties["ReconcilerRole"]
    caller = f"arn:aws:iam::{OTHER[0]}:role/{own['RoleName']}"
    context = {"aws:PrincipalOrgID": ORGANIZATION, "aws:PrincipalArn": caller, "aws:PrincipalAccount": OTHER[0],
               "aws:RequestTag/account": OTHER[0]}
    for action in ("sts:AssumeRole", "sts:TagSession"):
        asked = (caller, action, hub.outputs["TableRoleArn"])
        # A trust policy has no resource: it is about its role.
        [trust] = role["AssumeRolePolicyDocument"]["Statement"]
        trust = {"Statement": [trust | {"Resource": "*"}]}
        assert allows(trust, *asked, **context) and allows(own["Policies"][0]["PolicyDocument"], *asked)
        for other in (
            {"aws:PrincipalOrgID": "o-zzzzzzzzzz"}, {"aws:PrincipalOrgID": []}, {"aws:RequestTag/account": []},
            {"aws:RequestTag/account": ACCOUNT}, {"aws:PrincipalArn": f"arn:aws:iam::{OTHER[0]}:role/admin"},
        ):
            assert not allows(trust, *asked, **context | other), other

    [policy] = [policy["PolicyDocument"] for policy in role["Policies"]]
    # moto leaves null where a condition omits an element.
    policy = {"Statement": [statement for statement in policy["Statement"] if statement]}
    session = {"aws:PrincipalTag/account": OTHER[0]}
    for table in (TASKS, "ECSCtrInstanceState"):
        arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}"
        ours, theirs = (f"arn:aws:ecs:us-east-1:{owner}:task/demo/1" for owner in (OTHER[0], ACCOUNT))
        for action in ("BatchGetItem", "PutItem", "UpdateItem"):
            asked = ("", f"dynamodb:{action}", arn)
            assert allows(policy, *asked, **session, **{"dynamodb:LeadingKeys": [ours]})
            # A key of its own that begins like another account's ARN is not its own.
            for foreign in (theirs, f"{theirs}:{OTHER[0]}:task/demo/1", f"arn:aws:ecs:{theirs}:{OTHER[0]}:x"):
                assert not allows(policy, *asked, **session, **{"dynamodb:LeadingKeys": [ours, foreign]}), foreign
            assert not allows(policy, *asked, **session) and not allows(policy, *asked, **{"dynamodb:LeadingKeys": [ours]})
        for action in ("Scan", "DeleteItem", "Query"):
            assert not allows(policy, "", f"dynamodb:{action}", arn, **session)


def test_without_an_organization_only_the_account_itself_may_assume_the_role(aws):
    hub = aws.create("hub", "organization/hub.yaml", SpokesReconcile="true")
    assert "BusPolicy" not in hub.names
    [trust] = hub.properties["TableRole"]["AssumeRolePolicyDocument"]["Statement"]
    for owner, tag in ((ACCOUNT, ACCOUNT), (ACCOUNT, OTHER[0]), (OTHER[0], OTHER[0]), (OTHER[0], ACCOUNT)):
        caller = f"arn:aws:iam::{owner}:role/ecs-state-reconciler-{OTHER[1]}"
        context = {"aws:PrincipalArn": caller, "aws:PrincipalAccount": owner, "aws:RequestTag/account": tag}
        asked = {"Statement": [trust | {"Resource": "*"}]}, caller, "sts:AssumeRole", "*"
        assert allows(*asked, **context) == (owner == tag == ACCOUNT)


def test_without_reconcilers_in_the_spokes_there_is_no_role(aws):
    assert "TableRole" not in aws.create("hub", "organization/hub.yaml", OrganizationId=ORGANIZATION).names


def test_a_spokes_reconciler_is_the_stacks_except_for_the_tables_and_the_daily_run(aws, deployed_reconciler):
    stack = aws.deploy("recorder", RedactEnvironment="true")

    def of(stack, logical):
        text = json.dumps(stack.properties[logical])
        for name in ("ReconcilerRole", "ReconcilerLogs", "ScheduleRole", "Reconciler"):
            text = text.replace(stack.names[name], f"<{name}>")
        # The places' accounts, regions and stacks.
        for real, general in ((OTHER[0], ACCOUNT), (OTHER[1], REGION), ("spoke-reconciler", "recorder")):
            text = text.replace(real, general)
        # SAM adds what is empty.
        return {name: value for name, value in json.loads(text).items() if value != {}}

    theirs, ours = of(stack, "Reconciler"), of(deployed_reconciler, "Reconciler")
    for one_only in (theirs, ours):
        for name in ("Code", "Description", "FunctionName", "Tags", "TracingConfig"):
            one_only.pop(name, None)
    own = {"TABLE_ROLE_ARN", "TABLE_REGION", "ACCOUNT_ID"}
    variables = ours["Environment"]["Variables"]
    assert own < set(variables)
    ours["Environment"]["Variables"] = {name: variables[name] for name in set(variables) - own} | {"CLUSTER_ARNS": ""}
    assert ours == theirs
    for logical in ("ReconcilerLogs", "ReconcilerEventInvokeConfig", "CompleteFleetRunMetric", "DriftMetric",
                    "ScheduleRole", "FleetSchedule"):
        assert of(deployed_reconciler, logical) == of(stack, logical)
    for logical in ("ReconcileAlarm", "DriftAlarm"):
        alarm, theirs = of(deployed_reconciler, logical), of(stack, logical)
        text = alarm.pop("AlarmDescription")
        assert 100 < len(text) <= 1024 and text.endswith("Runbook: docs/organization.md#operate")
        assert alarm.pop("AlarmActions") == alarm.pop("OKActions") == [f"arn:aws:sns:{REGION}:{ACCOUNT}:on-call"]
        assert alarm | {"AlarmDescription": theirs["AlarmDescription"]} == theirs


def test_a_spokes_reconcilers_policy_is_the_stacks_except_for_the_tables(stack, deployed_reconciler):
    def asks(stack, place):
        [policy] = [policy["PolicyDocument"] for policy in stack.properties["ReconcilerRole"]["Policies"]]
        return {
            (action, resource.replace(place[0], ACCOUNT).replace(place[1], REGION).replace(stack.names["ReconcilerLogs"], "log"))
            for statement in policy["Statement"] if statement for action in as_list(statement["Action"])
            for resource in as_list(statement["Resource"])
            if action.split(":")[0] in ("ecs", "logs") and fits(action, resource)
        }

    def fits(action, resource):
        """One statement has all resources of its actions."""
        kind = {"DescribeClusters": "cluster", "ListContainerInstances": "cluster", "DescribeTasks": "task",
                "DescribeContainerInstances": "container-instance"}.get(action.split(":")[1])
        return kind is None or f":{kind}/" in resource

    assert asks(deployed_reconciler, OTHER) == asks(stack, (ACCOUNT, REGION))


# The templates and the page.


def test_the_templates_are_plain_cloudformation_as_stacksets_require():
    for name in ("hub", "spoke", "reconciler"):
        text = (PROJECT / f"organization/{name}.yaml").read_text()
        template = yaml_parse(text)
        assert "Transform" not in template and "Fn::Transform" not in text and "AWS::Serverless" not in text
        # `make delete` deletes only the recorder's stacks.
        assert not template["Description"].startswith("ecs-state-recorder:")
        for parameter in template["Parameters"].values():
            assert parameter["Description"].endswith(".")


def test_make_passes_the_spokes_on():
    shown = subprocess.run(["make", "--dry-run", "redrive", "SPOKES=1/a 2/b"], cwd=PROJECT, capture_output=True, text=True)
    shown = " ".join(shown.stdout.replace("\\\n", " ").split())
    assert "redrive.py 'ecs-state-recorder' --spokes '1/a 2/b'" in shown
