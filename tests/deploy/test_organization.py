"""The hub and the spokes of an organization, in two accounts and two regions.

Nothing here runs several accounts with their policies. So this file carries each event: from the rule of a spoke, whose
pattern moto's own class matches, by the policies of its role and of the hub's bus, to the rule of the recorder and to the
archive. tests/emulator/test_redrive.py empties the queues of spokes."""

import json
import re
import subprocess

import pytest
from moto.events.models import EventPattern
from samcli.yamlhelper import yaml_parse

from .cloudformation import ACCOUNT, PROJECT, REGION, Stack
from .iam import allows, as_list
from .ops import TASKS

ORGANIZATION = "o-a1b2c3d4e5"
OTHER = ("111122223333", "us-east-1")
OUTSIDER = ("999900001111", "us-east-1")
QUEUE = "ecs-state-recorder-spoke"
DETAIL_TYPES = ["ECS Task State Change", "ECS Container Instance State Change"]
EVENTS = sorted((PROJECT / "events").glob("*.json"))
REFUSED = sorted((PROJECT / "events/refused").glob("*.json"))
PAGE = (PROJECT / "docs/organization.md").read_text()


@pytest.fixture
def hub():
    return Stack("hub", "organization/hub.yaml", OrganizationId=ORGANIZATION, SpokesReconcile="true")


def recorder_parameters():
    """The recorder's stack on the hub's bus, as the page deploys it."""
    [words] = [line.split("'")[1].split() for line in PAGE.splitlines() if line.startswith("$ make deploy PARAM")]
    return dict(word.split("=") for word in words)


@pytest.fixture
def stack():
    return Stack("recorder", **recorder_parameters())


@pytest.fixture
def spoke(hub):
    """A spoke in an account and region."""

    def spoke(place, **parameters):
        return Stack("spoke", "organization/spoke.yaml", place, HubBusArn=hub.outputs["EventBusArn"], **parameters)

    return spoke


def matches(properties, event):
    return EventPattern.load(json.dumps(properties["EventPattern"])).matches_event(event)


def may_put(spoke, target, hub, event):
    """Whether the rule's role may put the event on the bus: its own policy must allow it, and the bus's policy."""
    [own] = spoke.properties["SendRole"]["Policies"]
    context = {
        "aws:PrincipalOrgID": "o-zzzzzzzzzz" if spoke.account == OUTSIDER[0] else ORGANIZATION,
        "events:source": [event["source"]], "events:detail-type": [event["detail-type"]],
    }
    asked = (target["RoleArn"], "events:PutEvents", target["Arn"])
    return allows(own["PolicyDocument"], *asked, **context) and allows(bus_policy(hub), *asked, **context)


def bus_policy(hub):
    return {"Statement": [hub.properties["BusPolicy"]["Statement"]]}


class Delivered(list):
    """What the recorder gets, in the order of delivery."""

    def __init__(self):
        self.archived = []


@pytest.fixture
def delivered():
    return Delivered()


@pytest.fixture
def happens(hub, stack, spoke, delivered):
    """An event of ECS in an account and region with a spoke."""

    def happens(text, place):
        event, sender = json.loads(text), spoke(place)
        rule = sender.properties["StateChanges"]
        [target] = rule["Targets"]
        assert target["Arn"] == hub.outputs["EventBusArn"]
        if not matches(rule, event):
            return
        if not may_put(sender, target, hub, event):
            assert target["DeadLetterConfig"]["Arn"] == sender.attribute("DeadLetterQueue.Arn")
            return
        if matches(stack.properties["Archive"], event):
            delivered.archived.append(event["detail"])
        if matches(stack.properties["RecorderStateChanges"], event):
            assert stack.properties["RecorderStateChangesPermission"]["SourceArn"] == stack.outputs["RuleArn"]
            delivered.append(event["detail"])

    return happens


def sample(path, place):
    """A sample event, as of an account and region."""
    return path.read_text().replace(ACCOUNT, place[0]).replace(REGION, place[1])


def test_an_event_in_an_account_outside_the_organization_does_not_reach_the_recorder(happens, delivered):
    happens(sample(PROJECT / "events/fargate-task-stopped.json", OUTSIDER), OUTSIDER)
    assert delivered == delivered.archived == []


@pytest.mark.parametrize("place", [OTHER, (ACCOUNT, REGION)], ids=["another account and region", "the hub's own"])
def test_an_event_in_a_spokes_account_reaches_the_hubs_recorder_and_archive(happens, delivered, place):
    text = sample(PROJECT / "events/fargate-task-stopped.json", place)
    happens(text, place)
    assert delivered == delivered.archived == [json.loads(text)["detail"]]


def test_every_state_change_reaches_the_recorder_and_nothing_else_does(happens, delivered):
    for path in [*EVENTS, *REFUSED]:
        happens(sample(path, OTHER), OTHER)
    assert len(EVENTS) >= 9 and len(REFUSED) >= 3
    # By its envelope, the last one is a task state change.
    expected = [*EVENTS, PROJECT / "events/refused/missing-version.json"]
    assert delivered == [json.loads(sample(path, OTHER))["detail"] for path in expected]


def test_the_patterns_of_the_spoke_the_recorder_and_its_archive_and_the_hubs_policy_are_the_same(spoke, stack, hub):
    pattern = {"source": ["aws.ecs"], "detail-type": DETAIL_TYPES}
    rule = spoke(OTHER).properties["StateChanges"]
    assert rule["EventPattern"] == stack.properties["RecorderStateChanges"]["EventPattern"] == pattern
    assert stack.properties["Archive"]["EventPattern"] == pattern
    assert stack.properties["Archive"]["SourceArn"] == hub.outputs["EventBusArn"]
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
    policy = bus_policy(hub)
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
    alarms = {name: alarm for name, alarm in deployed.properties.items() if "AlarmDescription" in alarm}
    queue = deployed.properties["DeadLetterQueue"]
    rule = deployed.outputs["RuleArn"].split("/")[1]
    assert {name: (alarm["Namespace"], alarm["MetricName"], alarm["Dimensions"], alarm["ComparisonOperator"],
                   alarm["Threshold"]) for name, alarm in alarms.items()} == {
        "DeadLetterQueueAlarm": (
            "AWS/SQS", "ApproximateNumberOfMessagesVisible", [{"Name": "QueueName", "Value": QUEUE}],
            "GreaterThanThreshold", 0),
        "FailedInvocationsAlarm": (
            "AWS/Events", "FailedInvocations", [{"Name": "RuleName", "Value": rule}], "GreaterThanThreshold", 0),
        "LostEventsAlarm": (
            "AWS/Events", "InvocationsFailedToBeSentToDlq", [{"Name": "RuleName", "Value": rule}],
            "GreaterThanThreshold", 0),
    }
    for alarm in alarms.values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]
        assert 100 < len(alarm["AlarmDescription"]) <= 1024
        assert alarm["AlarmDescription"].endswith("Runbook: docs/organization.md#operate")
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 60 * 60 and queue["SqsManagedSseEnabled"] is True
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


def test_only_the_hubs_account_may_empty_a_spokes_queue_and_nobody_else_may_fill_it(spoke):
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
def deployed_reconciler(hub):
    return Stack("spoke-reconciler", "organization/reconciler.yaml", OTHER, **documented("reconciler") | {
        "CodeBucketPrefix": "code", "TableRoleArn": hub.outputs["TableRoleArn"],
    })


def test_a_spokes_reconciler_is_given_the_hubs_role_and_tables_and_its_own_account(hub, deployed_reconciler):
    # tests/emulator/test_organization.py runs it with them.
    variables = deployed_reconciler.properties["Reconciler"]["Environment"]["Variables"]
    wanted = {
        "TABLE_ROLE_ARN": hub.outputs["TableRoleArn"], "TABLE_REGION": REGION, "ACCOUNT_ID": OTHER[0],
        "TASK_TABLE_NAME": TASKS, "CONTAINER_INSTANCE_TABLE_NAME": "ECSCtrInstanceState",
        # The page's recorder redacts, and so must whatever else writes to its tables.
        "REDACT_ENVIRONMENT": "true",
    }
    assert {name: variables[name] for name in wanted} == wanted


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


def test_without_an_organization_only_the_account_itself_may_assume_the_role():
    hub = Stack("hub", "organization/hub.yaml", SpokesReconcile="true")
    assert "BusPolicy" not in hub.names
    [trust] = hub.properties["TableRole"]["AssumeRolePolicyDocument"]["Statement"]
    for owner, tag in ((ACCOUNT, ACCOUNT), (ACCOUNT, OTHER[0]), (OTHER[0], OTHER[0]), (OTHER[0], ACCOUNT)):
        caller = f"arn:aws:iam::{owner}:role/ecs-state-reconciler-{OTHER[1]}"
        context = {"aws:PrincipalArn": caller, "aws:PrincipalAccount": owner, "aws:RequestTag/account": tag}
        asked = {"Statement": [trust | {"Resource": "*"}]}, caller, "sts:AssumeRole", "*"
        assert allows(*asked, **context) == (owner == tag == ACCOUNT)


def test_without_reconcilers_in_the_spokes_there_is_no_role():
    assert "TableRole" not in Stack("hub", "organization/hub.yaml", OrganizationId=ORGANIZATION).names


def test_a_spokes_reconciler_is_the_stacks_except_for_the_tables_and_the_daily_run(deployed_reconciler):
    stack = Stack("recorder", RedactEnvironment="true")

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
            for statement in policy["Statement"] for action in as_list(statement["Action"])
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
