"""Everything that template.yaml creates."""

import json
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.resources import files
from pathlib import Path

import pytest

from .cloudformation import ACCOUNT, PROJECT, REGION, Stack

TASKS, CONTAINER_INSTANCES = "ECSTaskState", "ECSCtrInstanceState"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:on-call"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0b5e4a3c-1111-2222-3333-444455556666"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/governance/boundary"
DAY = 24 * 60 * 60
DEPLOY = (PROJECT / "docs/deploy.md").read_text()
OPERATIONS = (PROJECT / "docs/operations.md").read_text()
# With Notify=true and a topic only.
NOTIFIER = {
    "MissedStopMetric", "MissedStopsAlarm", "NotificationRule", "NotificationsAlarm", "Notifier", "NotifierLogs",
    "NotifierRole", "NotifierStream", "StopMetric", "StreamAgeAlarm",
}


@pytest.fixture(scope="module")
def stack():
    """The stack with default parameters."""
    return Stack("recorder")


def alarms(stack):
    return {name: stack.properties[name] for name, kind in stack.types.items() if kind == "AWS::CloudWatch::Alarm"}


def role_statements(stack, role="RecorderRole"):
    """All permissions of a role."""
    role = stack.properties[role]
    assert set(role) <= {"AssumeRolePolicyDocument", "PermissionsBoundary", "Policies"}
    [policy] = role["Policies"]
    return policy["PolicyDocument"]["Statement"]


def test_every_resource_is_created(stack):
    assert set(stack.names) == set(stack.cloudformation["Resources"]) - {"SilenceAlarm"} - NOTIFIER
    assert set(stack.outputs) == set(stack.template["Outputs"]) - {
        "NotificationRuleArn", "NotifierLogGroupName", "NotifierName"}


def references(value):
    """The names that part of a template refers to, by Ref, Fn::GetAtt and Fn::Sub, in all branches of conditions."""
    if isinstance(value, list):
        return set().union(*map(references, value))
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, inner in value.items():
        if key == "Ref":
            found.add(inner)
        elif key == "Fn::GetAtt":
            found.add(inner[0] if isinstance(inner, list) else inner.split(".")[0])
        elif key == "Fn::Sub":
            text, *variables = inner if isinstance(inner, list) else [inner]
            found |= {name.split(".")[0] for name in re.findall(r"\$\{([^!}]+)\}", text)} - set(*variables)
            found |= references(variables)
        else:
            found |= references(inner)
    return found


def needed_by(stack, name):
    """Whatever CloudFormation creates before a resource."""
    needed = dependencies(stack)
    before, rest = set(), {name}
    while rest:
        found = set().union(*(needed[each] for each in rest)) - before
        before, rest = before | found, found
    return before


def dependencies(stack):
    """The resources that CloudFormation creates before each resource."""
    resources = stack.cloudformation["Resources"]
    explicit = {name: resource.get("DependsOn", []) for name, resource in resources.items()}
    return {
        name: (references(resource["Properties"]) & set(resources))
        | set([explicit[name]] if isinstance(explicit[name], str) else explicit[name])
        for name, resource in resources.items()
    }


def test_whatever_catches_the_rules_events_is_created_before_it_and_there_are_no_cycles(stack):
    needed = dependencies(stack)
    # Raises an error if there is a cycle.
    order = list(TopologicalSorter(needed).static_order())
    assert set(order) == set(stack.cloudformation["Resources"])
    assert needed_by(stack, "RecorderStateChanges") == {
        "Archive", "ContainerInstanceTable", "DeadLetterQueue", "DeadLetterQueuePolicy", "FailureQueue", "Recorder",
        "RecorderEventInvokeConfig", "RecorderLogs", "RecorderRole", "TaskTable",
    }
    assert needed["RecorderStateChangesPermission"] == {"Recorder", "RecorderStateChanges"}


@pytest.mark.parametrize("schedule", ["FleetSchedule", "TableSchedule"])
def test_a_schedule_is_created_after_all_that_its_first_run_needs_and_after_the_rule(stack, schedule):
    # A schedule by rate begins with a run, and what changes between that run and the rule would wait for the next.
    assert needed_by(stack, schedule) == needed_by(stack, "RecorderStateChanges") | {
        "Reconciler", "ReconcilerEventInvokeConfig", "ReconcilerLogs", "ReconcilerRole", "RecorderStateChanges",
        "RecorderStateChangesPermission", "ScheduleRole",
    }


def test_no_resource_depends_on_one_that_a_condition_may_omit(stack):
    # "If a resource with a condition isn't created, any resources that depend on that resource aren't created either."
    resources = stack.cloudformation["Resources"]
    for name, resource in resources.items():
        explicit = resource.get("DependsOn", [])
        for needed in [explicit] if isinstance(explicit, str) else explicit:
            assert resources[needed].get("Condition") in (None, resource.get("Condition")), f"{name} needs {needed}"
    described, function = stack.properties["RecorderStateChanges"]["Description"], stack.names["Recorder"]
    archive = stack.names["Archive"]
    assert described == f"Sends ECS state changes to {function}. The archive {archive} keeps them, too."
    without = Stack("without", ArchiveDays=0, CreateTables="false")
    assert "Archive" not in without.names
    described, function = without.properties["RecorderStateChanges"]["Description"], without.names["Recorder"]
    assert described == f"Sends ECS state changes to {function}."


def test_the_recorder_is_small_logs_json_and_knows_its_tables(stack):
    function = stack.properties["Recorder"]
    assert function == {
        "Architectures": ["arm64"],
        "Code": {"S3Bucket": "code", "S3Key": "function.zip"},
        "Description": "Records ECS state changes in DynamoDB, one conditional write per event; version 0.2.0-dev",
        "Environment": {
            "Variables": {
                "TASK_TABLE_NAME": TASKS,
                "CONTAINER_INSTANCE_TABLE_NAME": CONTAINER_INSTANCES,
                "RETENTION_DAYS": 30,
                "REDACT_ENVIRONMENT": "false",
            }
        },
        "Handler": "bootstrap",
        "LoggingConfig": {
            "LogGroup": stack.names["RecorderLogs"],
            "LogFormat": "JSON",
            "ApplicationLogLevel": "INFO",
            "SystemLogLevel": "INFO",
        },
        "MemorySize": 128,
        "Role": f"arn:aws:iam::{ACCOUNT}:role/{stack.names['RecorderRole']}",
        "Runtime": "provided.al2023",
        "Tags": [{"Key": "lambda:createdBy", "Value": "SAM"}],
        "Timeout": 15,
        "TracingConfig": {"Mode": "PassThrough"},
    }
    recorder = stack.template["Resources"]["Recorder"]["Metadata"]
    assert recorder == {"BuildMethod": "rust-cargolambda", "BuildProperties": {"Binary": "ecs-state-recorder"}}
    assert stack.properties["RecorderLogs"] == {"RetentionInDays": 30}


def test_the_templates_and_the_functions_descriptions_name_the_version_of_the_code(stack):
    version = re.search(r'^version = "(.+)"', (PROJECT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    for function in ("Recorder", "Reconciler", "Notifier"):
        described = stack.template["Resources"][function]["Properties"]["Description"]
        assert described.endswith(f"; version {version}")
    assert stack.template["Metadata"]["Version"] == version
    assert f"; version {version}\n" in (PROJECT / "organization/reconciler.yaml").read_text()


def test_what_lambda_gives_up_on_is_kept(stack):
    assert stack.properties["RecorderEventInvokeConfig"] == {
        "FunctionName": stack.names["Recorder"],
        "Qualifier": "$LATEST",
        "MaximumRetryAttempts": 2,
        "MaximumEventAgeInSeconds": 6 * 60 * 60,
        "DestinationConfig": {"OnFailure": {"Destination": queue_arn(stack, "FailureQueue")}},
    }


def queue_arn(stack, queue):
    return stack.attribute(f"{queue}.Arn")


def test_the_reconciler_logs_json_knows_its_tables_and_clusters_and_has_all_of_lambdas_time(stack):
    assert stack.properties["Reconciler"] == {
        **stack.properties["Recorder"],
        "Description": "Compares the tables with the ECS API, and writes what is missing or older; version 0.2.0-dev",
        "Environment": {
            "Variables": {
                "TASK_TABLE_NAME": TASKS,
                "CONTAINER_INSTANCE_TABLE_NAME": CONTAINER_INSTANCES,
                "RETENTION_DAYS": 30,
                "REDACT_ENVIRONMENT": "false",
                "CLUSTER_ARNS": "",
                "ECS_CALLS_PER_SECOND": 5,
            }
        },
        "LoggingConfig": {
            **stack.properties["Recorder"]["LoggingConfig"], "LogGroup": stack.names["ReconcilerLogs"],
        },
        "MemorySize": 256,
        "Role": f"arn:aws:iam::{ACCOUNT}:role/{stack.names['ReconcilerRole']}",
        "Timeout": 900,
    }
    reconciler = stack.template["Resources"]["Reconciler"]["Metadata"]
    assert reconciler == {"BuildMethod": "rust-cargolambda", "BuildProperties": {"Binary": "ecs-state-reconciler"}}
    assert stack.properties["ReconcilerLogs"] == {"RetentionInDays": 30}


def test_nothing_retries_a_run_and_nothing_keeps_it_since_the_next_one_does_the_same(stack):
    assert stack.properties["ReconcilerEventInvokeConfig"] == {
        "FunctionName": stack.names["Reconciler"],
        "Qualifier": "$LATEST",
        "MaximumRetryAttempts": 0,
        # A run that waits for capacity is dropped before the next one is due.
        "MaximumEventAgeInSeconds": 5 * 60,
        "DestinationConfig": {},
    }


@pytest.mark.parametrize("name, rate, scope", [
    ("FleetSchedule", "rate(15 minutes)", "fleet"), ("TableSchedule", "rate(24 hours)", "table"),
])
def test_each_scope_has_a_schedule_that_invokes_the_reconciler_without_retries(stack, name, rate, scope):
    found = {key: value for key, value in stack.properties[name].items() if key != "Description"}
    # Without a group or a state, it is enabled and in the group default, of which the role's condition is.
    assert found == {
        "ScheduleExpression": rate,
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {
            "Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{stack.names['Reconciler']}",
            "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/{stack.names['ScheduleRole']}",
            "Input": json.dumps({"scope": scope}),
            "RetryPolicy": {"MaximumRetryAttempts": 0},
        },
    }
    assert stack.types[name] == "AWS::Scheduler::Schedule"


def test_the_schedules_role_may_only_invoke_the_reconciler_and_only_the_accounts_schedules_may_use_it(stack):
    assert role_statements(stack, "ScheduleRole") == [{
        "Sid": "RunTheReconciler",
        "Effect": "Allow",
        "Action": "lambda:InvokeFunction",
        "Resource": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{stack.names['Reconciler']}",
    }]
    assert stack.properties["ScheduleRole"]["AssumeRolePolicyDocument"]["Statement"] == [{
        "Effect": "Allow",
        "Principal": {"Service": "scheduler.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {
            "ArnEquals": {"aws:SourceArn": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/default"},
            "StringEquals": {"aws:SourceAccount": ACCOUNT},
        },
    }]


INDEX = {
    "IndexName": "by_cluster",
    "KeySchema": [
        {"AttributeName": "index_cluster", "KeyType": "HASH"},
        {"AttributeName": "index_state", "KeyType": "RANGE"},
    ],
    "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["group", "startedBy", "taskDefinitionArn"]},
}


def assert_has_keys_and_indexes(table, attributes, indexes):
    assert table["AttributeDefinitions"] == [{"AttributeName": name, "AttributeType": "S"} for name in attributes]
    assert table.get("GlobalSecondaryIndexes", []) == indexes


def test_the_task_table_has_the_index_unless_it_is_switched_off(stack):
    tables = stack.properties
    assert_has_keys_and_indexes(tables["TaskTable"], ["taskArn", "index_cluster", "index_state"], [INDEX])
    assert_has_keys_and_indexes(tables["ContainerInstanceTable"], ["containerInstanceArn"], [])
    # DynamoDB refuses an attribute definition that no key uses.
    plain = Stack("plain", TaskIndex="false")
    assert_has_keys_and_indexes(plain.properties["TaskTable"], ["taskArn"], [])


@pytest.mark.parametrize("resource, name, key", [
    ("TaskTable", TASKS, "taskArn"), ("ContainerInstanceTable", CONTAINER_INSTANCES, "containerInstanceArn"),
])
def test_the_tables_have_the_names_and_keys_that_the_code_uses_and_are_kept(stack, resource, name, key):
    # `make deploy` protects them from deletion.
    more = ("AttributeDefinitions", "GlobalSecondaryIndexes")
    assert {key: value for key, value in stack.properties[resource].items() if key not in more} == {
        "TableName": name,
        "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
        "StreamSpecification": {"StreamViewType": "NEW_AND_OLD_IMAGES"},
        "TimeToLiveSpecification": {"AttributeName": "expires_at", "Enabled": True},
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        "SSESpecification": {"SSEEnabled": True, "SSEType": "KMS"},
    }
    policies = [stack.template["Resources"][resource][each] for each in ("DeletionPolicy", "UpdateReplacePolicy")]
    assert policies == ["RetainExceptOnCreate", "Retain"]


def test_the_rule_matches_state_changes_of_tasks_and_container_instances_and_nothing_else(stack):
    # tests/emulator/test_chain.py matches all sample events with it.
    assert stack.properties["RecorderStateChanges"]["EventPattern"] == {
        "source": ["aws.ecs"],
        "detail-type": ["ECS Task State Change", "ECS Container Instance State Change"],
    }


def test_the_rule_retries_for_a_day_and_then_keeps_the_event(stack):
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{stack.names['Recorder']}"
    assert stack.properties["RecorderStateChanges"] == {
        "Description": stack.properties["RecorderStateChanges"]["Description"],
        "EventBusName": "default",
        "EventPattern": stack.properties["Archive"]["EventPattern"],
        "Targets": [
            {
                "Arn": function,
                "Id": "RecorderStateChangesLambdaTarget",
                "DeadLetterConfig": {"Arn": queue_arn(stack, "DeadLetterQueue")},
                "RetryPolicy": {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185},
            }
        ],
    }
    assert stack.properties["RecorderStateChangesPermission"] == {
        "Action": "lambda:InvokeFunction",
        "FunctionName": stack.names["Recorder"],
        "Principal": "events.amazonaws.com",
        "SourceArn": stack.outputs["RuleArn"],
    }


def test_the_archive_keeps_the_same_events(stack):
    archive = stack.properties["Archive"]
    assert archive == {
        "Description": archive["Description"],
        "SourceArn": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default",
        "EventPattern": stack.properties["RecorderStateChanges"]["EventPattern"],
        "RetentionDays": 14,
    }


def test_the_recorders_role_may_only_write_rows_its_log_and_its_failures(stack):
    tables = [f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}" for table in (TASKS, CONTAINER_INSTANCES)]
    log = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{stack.names['RecorderLogs']}:*"
    expected = [
        {"Sid": "WriteRows", "Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": tables},
        {
            "Sid": "WriteItsLog",
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": log,
        },
        {
            "Sid": "KeepFailedEvents",
            "Effect": "Allow",
            "Action": "sqs:SendMessage",
            "Resource": queue_arn(stack, "FailureQueue"),
        },
    ]
    assert role_statements(stack) == expected
    assert stack.properties["RecorderRole"]["AssumeRolePolicyDocument"]["Statement"] == [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]


STREAM = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{TASKS}/stream/2026-03-01T00:00:00.000"
NOTIFIED = {"Notify": "true", "NotificationTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:stops"}


def test_the_notifier_reads_the_stream_of_the_tasks_from_its_beginning_and_only_what_has_stopped():
    stack = Stack("recorder", **NOTIFIED)
    assert NOTIFIER <= set(stack.names)
    assert stack.properties["NotifierStream"] == {
        "FunctionName": stack.names["Notifier"],
        "EventSourceArn": stack.outputs["TaskStreamArn"], "StartingPosition": "TRIM_HORIZON",
        "BatchSize": 100, "MaximumBatchingWindowInSeconds": 5,
        "FunctionResponseTypes": ["ReportBatchItemFailures"], "BisectBatchOnFunctionError": True,
        "FilterCriteria": {"Filters": [
            {"Pattern": json.dumps({"dynamodb": {"NewImage": {"lastStatus": {"S": ["STOPPED", "DELETED"]}}}})}]},
    }
    recorder = stack.properties["Recorder"]
    assert stack.properties["Notifier"] == {
        **recorder,
        "Description": "Announces stops of ECS tasks on an event bus, with the reason; version 0.2.0-dev",
        "Environment": {"Variables": recorder["Environment"]["Variables"] | {"NOTIFICATION_BUS_NAME": "default"}},
        "LoggingConfig": {**recorder["LoggingConfig"], "LogGroup": stack.names["NotifierLogs"]},
        "Role": f"arn:aws:iam::{ACCOUNT}:role/{stack.names['NotifierRole']}",
        "Timeout": 60,
    }
    metadata = stack.template["Resources"]["Notifier"]["Metadata"]
    assert metadata == {"BuildMethod": "rust-cargolambda", "BuildProperties": {"Binary": "ecs-state-notifier"}}
    assert (stack.outputs["NotifierName"], stack.outputs["NotifierLogGroupName"]) == (
        stack.names["Notifier"], stack.names["NotifierLogs"])
    existing = Stack("recorder", CreateTables="false", TaskStreamArn=STREAM, **NOTIFIED)
    assert "TaskStreamArn" not in existing.outputs
    assert existing.properties["NotifierStream"]["EventSourceArn"] == STREAM == (
        role_statements(existing, "NotifierRole")[0]["Resource"])


def test_the_notifiers_role_may_only_read_the_stream_and_earlier_stops_announce_and_write_its_log():
    stack = Stack("recorder", NotificationBusName="stops", KmsKeyArn=KEY, Tracing="Active", **NOTIFIED)
    table = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{TASKS}"
    *statements, key = role_statements(stack, "NotifierRole")
    assert [(each["Sid"], each["Action"], each["Resource"]) for each in statements] == [
        ("ReadTheStream", ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"],
         stack.outputs["TaskStreamArn"]),
        ("FindTheStream", "dynamodb:ListStreams", "*"),
        ("ReadEarlierStops", ["dynamodb:BatchGetItem", "dynamodb:Query"], [table, f"{table}/index/by_cluster"]),
        ("Announce", "events:PutEvents", f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/stops"),
        ("WriteItsLog", ["logs:CreateLogStream", "logs:PutLogEvents"],
         f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{stack.names['NotifierLogs']}:*"),
        ("Trace", ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "*"),
    ]
    assert key == {
        "Sid": "UseTheKey", "Effect": "Allow", "Action": ["kms:Decrypt", "kms:DescribeKey"], "Resource": KEY,
        "Condition": {"StringEquals": {"kms:ViaService": f"dynamodb.{REGION}.amazonaws.com"}},
    }
    assert stack.properties["NotifierLogs"] == {"KmsKeyId": KEY, "RetentionInDays": 30}
    assert stack.properties["NotifierRole"]["AssumeRolePolicyDocument"] == (
        stack.properties["RecorderRole"]["AssumeRolePolicyDocument"])


def test_the_topic_gets_the_ready_message_of_what_somebody_should_act_on_and_no_dead_letter_reaches_a_redrive():
    stack = Stack("recorder", **NOTIFIED)
    rule = stack.properties["NotificationRule"]
    pattern = {"source": ["ecs-state-recorder"], "detail-type": ["ECS Task Stopped"], "detail": {"notify": [True]}}
    assert (rule["EventBusName"], rule["EventPattern"]) == ("default", pattern)
    assert rule["Targets"] == [{
        "Id": "NotificationTopic", "Arn": NOTIFIED["NotificationTopicArn"], "InputPath": "$.detail.chat",
        "RetryPolicy": {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 185},
    }]
    without = Stack("without", Notify="true", TaskTableName="", ContainerInstanceTableName="")
    assert NOTIFIER - set(without.names) == {"NotificationRule", "NotificationsAlarm"}


@pytest.mark.parametrize("given, broken", [
    ({}, []),
    ({"Notify": "true"}, []),
    ({"CreateTables": "false"}, []),
    ({"Notify": "true", "CreateTables": "false"},
     ["Notify=true with CreateTables=false needs TaskStreamArn, the stream of the table for tasks"]),
    ({"Notify": "true", "TableStreams": "false"}, ["Notify=true needs TableStreams=true, or TaskStreamArn"]),
    ({"Notify": "true", "CreateTables": "false", "TableStreams": "false", "TaskStreamArn": STREAM}, []),
])
def test_a_notifier_without_a_stream_is_refused(given, broken):
    stack = Stack("recorder")
    # Without a stream, the rest of the template makes no sense.
    stack.parameters |= given
    assert stack.refusals() == broken
    if stream := given.get("TaskStreamArn"):
        assert re.fullmatch(stack.template["Parameters"]["TaskStreamArn"]["AllowedPattern"], stream)


def test_the_notifiers_log_line_becomes_metrics_by_code_only():
    filters = metric_filters(Stack("recorder", **NOTIFIED), "NotifierLogs")
    assert {name: (pattern, metric.get("Dimensions")) for name, (pattern, metric) in filters.items()} == {
        "Stops": ('{ $.message = "stop" && $.outcome = "announced" }', [{"Key": "code", "Value": "$.code"}]),
        "MissedStops": (
            '{ $.message = "stop" && ($.outcome = "late" || $.outcome = "unreadable" || $.outcome = "rejected") }', None),
    }
    assert {metric["MetricNamespace"] for _, metric in filters.values()} == {"ecs-state-recorder/recorder"}


CLUSTERS = [f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{name}" for name in ("demo", "demo-2")]
ECS = f"arn:aws:ecs:{REGION}:{ACCOUNT}"


@pytest.mark.parametrize("clusters", [[], CLUSTERS])
def test_the_reconcilers_role_may_only_read_ecs_read_and_write_rows_and_write_its_log(clusters):
    stack = Stack("recorder", ClusterArns=",".join(clusters))
    only = {"Condition": {"ArnEquals": {"ecs:cluster": clusters}}} if clusters else {}
    assert role_statements(stack, "ReconcilerRole") == [
        {"Sid": "FindClusters", "Effect": "Allow", "Action": "ecs:ListClusters", "Resource": "*"},
        {
            "Sid": "ReadClusters",
            "Effect": "Allow",
            "Action": ["ecs:DescribeClusters", "ecs:ListContainerInstances"],
            "Resource": clusters or f"{ECS}:cluster/*",
        },
        {"Sid": "FindTasks", "Effect": "Allow", "Action": "ecs:ListTasks", "Resource": "*", **only},
        {
            "Sid": "ReadTasksAndContainerInstances",
            "Effect": "Allow",
            "Action": ["ecs:DescribeContainerInstances", "ecs:DescribeTasks"],
            "Resource": [f"{ECS}:container-instance/*", f"{ECS}:task/*"],
            **only,
        },
        {
            "Sid": "ReadAndWriteRows",
            "Effect": "Allow",
            "Action": ["dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:Scan", "dynamodb:UpdateItem"],
            "Resource": [f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}" for table in (TASKS, CONTAINER_INSTANCES)],
        },
        {
            "Sid": "ReadTheIndex",
            "Effect": "Allow",
            "Action": ["dynamodb:Query", "dynamodb:Scan"],
            "Resource": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{TASKS}/index/by_cluster",
        },
        {
            "Sid": "WriteItsLog",
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{stack.names['ReconcilerLogs']}:*",
        },
    ]
    assert stack.properties["ReconcilerRole"]["AssumeRolePolicyDocument"]["Statement"] == [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]


# Actions for which ECS's documentation allows no resource: ListClusters has none, and ListTasks is authorized on *
# (github.com/cdklabs/construct-hub/pull/1207).
ON_EVERYTHING = {"ecs:ListClusters", "ecs:ListTasks"}


def test_each_action_of_ecs_is_limited_to_resources_of_a_type_that_it_supports(stack):
    ecs = json.loads((files("cfnlint.data.AdditionalSpecs") / "Policies.json").read_text())["ecs"]
    types = {name.lower(): action.get("Resources", []) for name, action in ecs["Actions"].items()}
    found = {}
    for statement in role_statements(stack, "ReconcilerRole"):
        actions, resources = ([each] if isinstance(each, str) else each
                              for each in (statement["Action"], statement["Resource"]))
        for action in actions:
            if action.startswith("ecs:"):
                found[action] = {arn.removeprefix(f"{ECS}:").removesuffix("/*") for arn in resources}
    assert {action for action, kinds in found.items() if kinds == {"*"}} == ON_EVERYTHING
    assert len(found) == 6
    for action in set(found) - ON_EVERYTHING:
        assert set(types[action.removeprefix("ecs:").lower()]) <= found[action], action


def test_with_tracing_the_functions_roles_may_also_write_traces():
    stack = Stack("traced", Tracing="Active")
    assert stack.properties["Recorder"]["TracingConfig"] == {"Mode": "Active"}
    assert stack.properties["Reconciler"]["TracingConfig"] == {"Mode": "Active"}
    trace = {
        "Sid": "Trace",
        "Effect": "Allow",
        "Action": ["xray:PutTraceSegments", "xray:PutTelemetryRecords"],
        "Resource": "*",
    }
    without = Stack("untraced", CreateTables="false")
    for role in ("RecorderRole", "ReconcilerRole"):
        sids = [statement["Sid"] for statement in role_statements(without, role)]
        assert [statement["Sid"] for statement in role_statements(stack, role)] == [*sids, "Trace"]
        assert role_statements(stack, role)[-1] == trace


def test_the_queues_are_encrypted_keep_messages_for_14_days_and_accept_only_permitted_senders_over_tls(stack):
    def tls_only(arn):
        return {
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sqs:*",
            "Resource": arn,
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }

    dead_letters = queue_arn(stack, "DeadLetterQueue")
    from_the_rule = {
        "Sid": "FromTheAccountsRules",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": dead_letters,
        "Condition": {
            "ArnLike": {"aws:SourceArn": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/*"},
            "StringEquals": {"aws:SourceAccount": ACCOUNT},
        },
    }
    for queue, expected in [
        ("FailureQueue", [tls_only(queue_arn(stack, "FailureQueue"))]),
        ("DeadLetterQueue", [tls_only(dead_letters), from_the_rule]),
    ]:
        assert stack.properties[queue] == {"SqsManagedSseEnabled": True, "MessageRetentionPeriod": 14 * DAY}
        policy = stack.properties[f"{queue}Policy"]
        assert (policy["Queues"], policy["PolicyDocument"]["Statement"]) == ([stack.names[queue]], expected)


SIGNS = {"GreaterThanThreshold": ">", "LessThanThreshold": "<"}


def test_each_alarm_watches_an_existing_metric_says_what_to_do_and_notifies_the_topic():
    stack = Stack("recorder", AlarmTopicArn=TOPIC, TicketTopicArn=f"{TOPIC}-tickets", SilenceAlarmHours=6, **NOTIFIED)
    names = {physical: logical for logical, physical in stack.names.items()}

    def watched(metric):
        dimensions = tuple(names.get(dimension["Value"], dimension["Value"]) for dimension in metric.get("Dimensions", []))
        return (metric["Namespace"], metric["MetricName"], *dimensions)

    found = {}
    for name, alarm in alarms(stack).items():
        metrics = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", []) if "MetricStat" in query]
        metrics = metrics or [alarm]
        found[name] = (
            *(watched(metric) for metric in metrics),
            alarm.get("Statistic") or alarm.get("ExtendedStatistic") or "Sum",
            f"{SIGNS[alarm['ComparisonOperator']]} {alarm['Threshold']:g}",
            f"{alarm.get('DatapointsToAlarm', alarm['EvaluationPeriods'])} of {alarm['EvaluationPeriods']}"
            f" x {alarm.get('Period', 300)} s",
            alarm["TreatMissingData"],
        )
        [row] = [row for row in table(OPERATIONS, "## Alarms") if row.startswith(f"| {name[:-5]} |")]
        _, _, _, notifies, runbook, _ = (cell.strip() for cell in row.split("|"))
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"page": TOPIC, "ticket": f"{TOPIC}-tickets"}[notifies]]
        # Its description and the page lead to the same runbook.
        [anchor] = re.findall(r"#[a-z-]+", runbook)
        assert alarm["AlarmDescription"].endswith(f" Runbook: docs/operations.md{anchor}")
        assert f"\n### {anchor[1:].replace('-', ' ').capitalize()}\n" in OPERATIONS
        assert 100 < len(alarm["AlarmDescription"]) <= 1024
        assert "FILL" not in str(alarm) or alarm["DatapointsToAlarm"] < alarm["EvaluationPeriods"]
    queue = {queue: stack.attribute(f"{queue}.QueueName") for queue in ("FailureQueue", "DeadLetterQueue")}
    rule = stack.outputs["RuleArn"].split("/")[1]
    good, bad = "notBreaching", "breaching"
    waits, age = "ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"
    assert found == {
        "FailureQueueAlarm": (
            ("AWS/SQS", waits, queue["FailureQueue"]), "Maximum", "> 0", "1 of 1 x 300 s", good),
        "FailureQueueAgeAlarm": (
            ("AWS/SQS", age, queue["FailureQueue"]), "Maximum", f"> {10 * DAY}", "1 of 1 x 300 s", good),
        "DeadLetterQueueAlarm": (
            ("AWS/SQS", waits, queue["DeadLetterQueue"]), "Maximum", "> 0", "1 of 1 x 300 s", good),
        "DeadLetterQueueAgeAlarm": (
            ("AWS/SQS", age, queue["DeadLetterQueue"]), "Maximum", f"> {10 * DAY}", "1 of 1 x 300 s", good),
        "LambdaLostEventsAlarm": (
            ("AWS/Lambda", "DestinationDeliveryFailures", "Recorder"), "Sum", "> 0", "1 of 3 x 300 s", good),
        "EventBridgeLostEventsAlarm": (
            ("AWS/Events", "InvocationsFailedToBeSentToDlq", names.get(rule, rule)), "Sum", "> 0", "1 of 3 x 300 s",
            good),
        "ErrorsAlarm": (("AWS/Lambda", "Errors", "Recorder"), "Sum", "> 0", "3 of 3 x 300 s", good),
        "ThrottlesAlarm": (("AWS/Lambda", "Throttles", "Recorder"), "Sum", "> 0", "3 of 3 x 300 s", good),
        "DynamoDBThrottlingAlarm": (
            ("AWS/DynamoDB", "WriteThrottleEvents", "TaskTable"),
            ("AWS/DynamoDB", "WriteThrottleEvents", "TaskTable", "by_cluster"),
            ("AWS/DynamoDB", "WriteThrottleEvents", "ContainerInstanceTable"),
            "Sum", "> 0", "3 of 4 x 300 s", good),
        "LagAlarm": (("ecs-state-recorder/recorder", "Lag"), "p90", "> 60000", "3 of 3 x 300 s", good),
        "DurationAlarm": (("AWS/Lambda", "Duration", "Recorder"), "Maximum", "> 12000", "2 of 12 x 300 s", good),
        "ReconcileAlarm": (
            ("ecs-state-recorder/recorder", "CompleteFleetRuns"), "Sum", "< 1", "12 of 12 x 300 s", bad),
        "TableRunAlarm": (
            ("ecs-state-recorder/recorder", "CompleteTableRuns"), "Sum", "< 1", "50 of 50 x 3600 s", bad),
        "TableScanAlarm": (
            ("ecs-state-recorder/recorder", "IncompleteTableScans"), "Sum", "> 0", "1 of 1 x 3600 s", good),
        "DriftAlarm": (("ecs-state-recorder/recorder", "Drift"), "Sum", "> 0", "2 of 24 x 300 s", good),
        "SilenceAlarm": (("AWS/Lambda", "Invocations", "Recorder"), "Sum", "< 1", "6 of 6 x 3600 s", bad),
        "StreamAgeAlarm": (("AWS/Lambda", "IteratorAge", "Notifier"), "Maximum", "> 600000", "3 of 3 x 300 s", good),
        "MissedStopsAlarm": (("ecs-state-recorder/recorder", "MissedStops"), "Sum", "> 0", "1 of 1 x 300 s", good),
        "NotificationsAlarm": (
            ("AWS/Events", "FailedInvocations", "NotificationRule"), "Sum", "> 0", "1 of 3 x 300 s", good),
    }
    # The longest configurable silence is CloudWatch's own limit.
    assert stack.template["Parameters"]["SilenceAlarmHours"]["MaxValue"] * 3600 == 7 * DAY


def test_the_silence_alarm_is_created_only_on_request(stack):
    assert "SilenceAlarm" not in stack.names
    assert stack.template["Parameters"]["SilenceAlarmHours"]["Default"] == 0


def test_the_age_alarms_go_off_before_the_queues_delete_messages(stack):
    for queue in ("FailureQueue", "DeadLetterQueue"):
        kept = stack.properties[queue]["MessageRetentionPeriod"]
        assert 0 < stack.properties[f"{queue}AgeAlarm"]["Threshold"] <= kept - 4 * DAY


def test_without_a_topic_the_alarms_exist_and_notify_nobody(stack):
    assert len(alarms(stack)) == 15
    assert not any({"AlarmActions", "OKActions"} & set(alarm) for alarm in alarms(stack).values())


def test_tickets_reach_their_topic_without_one_for_pages_and_that_one_without_their_own():
    def topics(**topics):
        return {name: alarm.get("AlarmActions", []) for name, alarm in alarms(Stack("recorder", **topics)).items()}

    both = topics(AlarmTopicArn=TOPIC)
    assert (both["LagAlarm"], both["DurationAlarm"]) == ([TOPIC], [TOPIC])
    only = topics(TicketTopicArn=TOPIC)
    assert (only["LagAlarm"], only["DurationAlarm"]) == ([], [TOPIC])


def test_throttles_are_intended_with_a_reservation_and_the_alarm_says_so(stack):
    text = stack.properties["ThrottlesAlarm"]["AlarmDescription"]
    assert "Raise the account's limit" in text and "leave it" not in text
    reserved = Stack("reserved", ReservedConcurrency=5, CreateTables="false")
    text = reserved.properties["ThrottlesAlarm"]["AlarmDescription"]
    assert "ReservedConcurrency does so to protect the tables: leave it" in text and "Raise" not in text


def metric_filters(stack, log="RecorderLogs"):
    """The pattern and the metric of each filter of a log group, by the metric's name."""
    found = [each for name, each in stack.properties.items() if stack.types[name] == "AWS::Logs::MetricFilter"]
    found = [each for each in found if each["LogGroupName"] == stack.names[log]]
    return {each["MetricTransformations"][0]["MetricName"]: (each["FilterPattern"], *each["MetricTransformations"])
            for each in found}


def test_the_log_line_becomes_metrics(stack):
    namespace = {"MetricNamespace": "ecs-state-recorder/recorder"}
    assert metric_filters(stack) == {
        "Invocations": ('{ $.message = "invocation" }', namespace | {
            "MetricName": "Invocations", "MetricValue": "1", "Unit": "Count",
            "Dimensions": [{"Key": "outcome", "Value": "$.outcome"}],
        }),
        "Lag": ('{ $.message = "invocation" && $.lag_ms >= 0 && $.replay_name NOT EXISTS }', namespace | {
            "MetricName": "Lag", "MetricValue": "$.lag_ms", "Unit": "Milliseconds",
        }),
    }


def test_the_reconcilers_log_line_becomes_metrics(stack):
    filters = metric_filters(stack, "ReconcilerLogs")
    assert {name: (pattern, metric["MetricValue"]) for name, (pattern, metric) in filters.items()} == {
        "CompleteFleetRuns": (
            '{ $.message = "run" && $.scope = "fleet" && $.complete IS TRUE && $.failures = 0 }', "1"),
        "CompleteTableRuns": (
            '{ $.message = "run" && $.scope = "table" && $.complete IS TRUE && $.failures = 0 }', "1"),
        "IncompleteTableScans": (
            '{ $.message = "run" && $.scope = "table" && $.scanned IS TRUE && ($.complete IS FALSE || $.failures > 0) }',
            "1"),
        "Drift": ('{ $.message = "run" && $.drift >= 0 }', "$.drift"),
        "RunFailures": ('{ $.message = "run" && $.failures >= 0 }', "$.failures"),
    }
    for _, metric in filters.values():
        assert metric["MetricNamespace"] == "ecs-state-recorder/recorder"
        assert "Dimensions" not in metric and "DefaultValue" not in metric


@pytest.mark.parametrize("hours, minutes, notify", [(0, 15, "false"), (6, 0, "true")])
def test_the_dashboard_shows_every_alarm_every_outcome_both_queues_and_the_reconciler(hours, minutes, notify):
    stack = Stack("recorder", SilenceAlarmHours=hours, ReconcileMinutes=minutes, **NOTIFIED | {"Notify": notify})
    body = stack.properties["Dashboard"]["DashboardBody"]
    widgets = {widget["properties"]["title"]: widget["properties"] for widget in json.loads(body)["widgets"]}
    assert sorted(name.split(":alarm:")[1] for name in widgets["Does anything need attention?"]["alarms"]) == sorted(
        name for logical, name in stack.names.items() if stack.types[logical] == "AWS::CloudWatch::Alarm"
    )
    outcomes = {
        metric[3]
        for title in ("What was recorded?", "What was refused?")
        for metric in widgets[title]["metrics"]
        if metric[:3] == ["ecs-state-recorder/recorder", "Invocations", "outcome"]
    }
    assert outcomes == {
        "stored", "stale", "duplicate", "UnsupportedSource", "UnsupportedDetailType", "InvalidEvent",
        "StoreUnavailable", "StoreRejected",
    }
    assert {metric[3] for metric in widgets["What is waiting in the queues?"]["metrics"]} == {
        stack.names[queue].rsplit("/", 1)[1] for queue in ("FailureQueue", "DeadLetterQueue")
    }
    assert all(
        metric[3] == stack.names["Recorder"]
        for title in ("The recorder", "The recorder's duration")
        for metric in widgets[title]["metrics"]
    )
    assert {metric[3] for metric in widgets["The tables' writes"]["metrics"]} == {TASKS, CONTAINER_INSTANCES}
    index = [TASKS, "GlobalSecondaryIndexName", "by_cluster"]
    assert [metric[1:] for metric in widgets["The tables' writes"]["metrics"] if "Throttle" in metric[1]] == [
        [name, "TableName", *of] for name in ("WriteThrottleEvents", "WriteKeyRangeThroughputThrottleEvents")
        for of in ([TASKS], [CONTAINER_INSTANCES], index)
    ]
    assert {(metric[0], metric[1]) for metric in widgets["The reconciler"]["metrics"]} == {
        ("ecs-state-recorder/recorder", name) for name in metric_filters(stack, "ReconcilerLogs")
    }
    assert widgets["The reconciler's latest runs"]["query"] == (
        f"SOURCE '{stack.names['ReconcilerLogs']}' | filter message = 'run'"
        " | fields @timestamp, scope, clusters, listed, stored, unchanged, stale, marked, cleared, indexed,"
        " unchecked, drift, calls, failures, scanned, complete | sort @timestamp desc | limit 20"
    )
    assert widgets["Latest errors, timeouts and crashes"]["query"] == (
        f"SOURCE '{stack.names['RecorderLogs']}' | SOURCE '{stack.names['ReconcilerLogs']}'"
        + (f" | SOURCE '{stack.names['NotifierLogs']}'" if notify == "true" else "") + " | filter level = 'ERROR'"
        " or (type in ['platform.initReport', 'platform.report'] and record.status != 'success')"
        " | fields @timestamp, coalesce(message, concat(type, ' ', record.status)) as what, record.errorType"
        " | sort @timestamp desc | limit 20"
    )
    assert ("Why did tasks stop?" in widgets) == (notify == "true")
    # Lambda writes these records, as JSON.
    for function in ("Recorder", "Reconciler"):
        assert stack.properties[function]["LoggingConfig"]["SystemLogLevel"] == "INFO"


@pytest.mark.parametrize("region, console", [
    ("eu-west-1", "eu-west-1.console.aws.amazon.com"),
    ("cn-north-1", "cn-north-1.console.amazonaws.cn"),
    ("us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
])
def test_the_dashboards_url_is_on_the_partitions_console(region, console):
    stack = Stack("recorder", place=(ACCOUNT, region))
    assert stack.outputs["DashboardUrl"] == (
        f"https://{console}/cloudwatch/home?region={region}#dashboards/dashboard/recorder-{region}"
    )


# Parameters.


def test_every_parameter_is_described_grouped_and_checked(stack):
    parameters = stack.template["Parameters"]
    checks = {"AllowedValues", "AllowedPattern", "MinValue"}
    assert [name for name, parameter in parameters.items() if not parameter["Description"].endswith(".")] == []
    assert [name for name, parameter in parameters.items() if not checks & set(parameter)] == []
    groups = stack.template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(parameters)


@pytest.mark.parametrize("minutes, accepted", [
    ("0", True), ("5", True), ("9", True), ("10", True), ("49", True), ("50", True), ("4", False), ("51", False),
    ("00", False), ("05", False), ("15.5", False), ("-5", False), ("500", False), ("", False),
])
def test_a_fleet_run_comes_within_the_hour_in_which_ecs_shows_a_stopped_task_or_never(stack, minutes, accepted):
    parameter = stack.template["Parameters"]["ReconcileMinutes"]
    assert bool(re.fullmatch(parameter["AllowedPattern"], minutes)) == accepted
    # CloudFormation checks the patterns of strings only.
    assert parameter["Type"] == "String"
    for text in (parameter["Description"], parameter["ConstraintDescription"]):
        assert "5 to 50" in text


def test_fleet_runs_and_their_limit_follow_their_parameters():
    stack = Stack("recorder", ReconcileMinutes=50, EcsCallsPerSecond=20)
    assert stack.properties["FleetSchedule"]["ScheduleExpression"] == "rate(50 minutes)"
    assert stack.properties["TableSchedule"]["ScheduleExpression"] == "rate(24 hours)"
    assert stack.properties["Reconciler"]["Environment"]["Variables"]["ECS_CALLS_PER_SECOND"] == 20
    limits = stack.template["Parameters"]["EcsCallsPerSecond"]
    assert (limits["MinValue"], limits["MaxValue"]) == (1, 20)


def test_without_schedules_the_reconciler_can_still_be_run_and_nobody_waits_for_it():
    stack = Stack("recorder", ReconcileMinutes=0)
    assert set(stack.cloudformation["Resources"]) - set(stack.names) == {
        "FleetSchedule", "ReconcileAlarm", "ScheduleRole", "SilenceAlarm", "TableRunAlarm", "TableScanAlarm",
        "TableSchedule",
    } | NOTIFIER
    assert stack.outputs["ReconcilerName"] == stack.names["Reconciler"]


def section(page, heading):
    """The text under a heading of a page."""
    return re.split("\n##+ ", page.split(f"\n{heading}\n")[1])[0]


def table(page, heading):
    """The rows of the table under a heading."""
    return [line for line in section(page, heading).replace("`", "").splitlines() if line.startswith("|")][2:]


def test_the_texts_state_the_maximum_delivery_delay(stack):
    handed_over = stack.properties["RecorderStateChanges"]["Targets"][0]["RetryPolicy"]["MaximumEventAgeInSeconds"]
    waits = stack.properties["DeadLetterQueue"]["MessageRetentionPeriod"]
    assert waits == stack.properties["FailureQueue"]["MessageRetentionPeriod"]
    tried = stack.properties["RecorderEventInvokeConfig"]["MaximumEventAgeInSeconds"]
    latest, again = (handed_over + waits + tried + waits + tried) / DAY, (waits + tried) / DAY
    assert (latest, again) == (29.5, 14.25)
    parameters = stack.template["Parameters"]
    described = parameters["RetentionDays"]["Description"]
    for text in (described, " ".join(section(DEPLOY, "### Maximum delivery delay").split())):
        assert f"{latest:g} days" in text and f"{again:g} days" in text
    assert "Below 30" in described
    assert parameters["ArchiveDays"]["Default"] < latest <= parameters["RetentionDays"]["Default"]


def test_the_texts_say_that_redaction_covers_the_rows_only(stack):
    described = stack.template["Parameters"]["RedactEnvironment"]["Description"]
    [row] = [line for line in DEPLOY.splitlines() if line.startswith("| `RedactEnvironment` |")]
    for text in (described, row):
        assert "covers the rows only: the archive and the queues keep events whole" in text and "KmsKeyArn" in text


def test_the_texts_say_which_topic_no_alarm_reaches(stack):
    for text in (stack.template["Parameters"]["AlarmTopicArn"]["Description"], section(DEPLOY, "### Alarm topics")):
        assert "must be in the stack's region" in text and "alias/aws/sns" in text


def test_a_key_encrypts_everything_that_stores_events_and_the_role_may_use_it_through_the_services():
    stack = Stack("governed", KmsKeyArn=KEY)
    encrypted = {name: properties for name, properties in stack.properties.items() if KEY in json.dumps(properties)}
    assert set(encrypted) == {
        "Archive", "ContainerInstanceTable", "DeadLetterQueue", "FailureQueue", "ReconcilerLogs", "ReconcilerRole",
        "RecorderLogs", "RecorderRole", "TaskTable",
    }
    assert encrypted["Archive"]["KmsKeyIdentifier"] == KEY
    assert encrypted["RecorderLogs"]["KmsKeyId"] == encrypted["ReconcilerLogs"]["KmsKeyId"] == KEY
    for queue in ("DeadLetterQueue", "FailureQueue"):
        assert encrypted[queue]["KmsMasterKeyId"] == KEY
        assert "SqsManagedSseEnabled" not in encrypted[queue]
    for table in ("ContainerInstanceTable", "TaskTable"):
        assert encrypted[table]["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
    assert [statement["Sid"] for statement in role_statements(stack)] == [
        "WriteRows", "WriteItsLog", "KeepFailedEvents", "UseTheKey",
    ]
    dynamodb, sqs = f"dynamodb.{REGION}.amazonaws.com", f"sqs.{REGION}.amazonaws.com"
    for role, services in [("RecorderRole", [dynamodb, sqs]), ("ReconcilerRole", dynamodb)]:
        assert role_statements(stack, role)[-1] == {
            "Sid": "UseTheKey",
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
            "Resource": KEY,
            "Condition": {"StringEquals": {"kms:ViaService": services}},
        }


def test_without_a_key_nothing_refers_to_one(stack):
    named = '"(KmsKeyId|KmsKeyIdentifier|KmsMasterKeyId|KMSMasterKeyId|kms:)'
    assert [name for name, properties in stack.properties.items() if re.search(named, json.dumps(properties))] == []


def test_a_permissions_boundary_bounds_every_role(stack):
    bounded = Stack("bounded", PermissionsBoundaryArn=BOUNDARY, CreateTables="false")
    roles = [name for name, kind in stack.types.items() if kind == "AWS::IAM::Role"]
    assert sorted(roles) == ["ReconcilerRole", "RecorderRole", "ScheduleRole"]
    for name in roles:
        assert "PermissionsBoundary" not in stack.properties[name]
        assert bounded.properties[name]["PermissionsBoundary"] == BOUNDARY


def test_cfn_lint_finds_nothing_its_informational_rules_included():
    cfn_lint = [Path(sys.executable).parent / "cfn-lint", "--include-checks", "I", "--regions"]
    cfn_lint += [REGION, "us-east-1", "cn-north-1", "us-gov-west-1", "--", "template.yaml"]
    ended = subprocess.run(cfn_lint, cwd=PROJECT, capture_output=True, text=True, timeout=120)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("", "", 0)


def replaced_by(stack):
    """Which resources a change of each parameter replaces, according to CloudFormation's schemas."""
    resources, conditions = stack.cloudformation["Resources"], stack.cloudformation["Conditions"]
    schemas = files("cfnlint.data.schemas")
    here = json.loads((schemas / f"providers/{REGION}.json").read_text())

    def parameters(value):
        found = references(value)
        for key, inner in value.items() if isinstance(value, dict) else ():
            if key == "Fn::If":
                found |= references(conditions[inner[0]])
        return found & set(stack.template["Parameters"])

    found = {}
    for name, resource in resources.items():
        schema = json.loads((schemas / f"resources/{here[resource['Type']]}.json").read_text())
        for path in schema.get("createOnlyProperties", []) + schema.get("conditionalCreateOnlyProperties", []):
            for parameter in parameters(resource["Properties"].get(path.split("/")[2])):
                found.setdefault(parameter, set()).add(name)
    return found


def test_the_docs_say_which_parameters_replace_what(stack):
    assert replaced_by(stack) == {
        "EventBusName": {"Archive", "RecorderStateChanges"},
        "TaskTableName": {"TaskTable"},
        "ContainerInstanceTableName": {"ContainerInstanceTable"},
        "NotificationBusName": {"NotificationRule"},
        "TaskStreamArn": {"NotifierStream"},
    }
    listed = {line.split("|")[1].strip() for line in table(OPERATIONS, "## What an update replaces")}
    assert listed == set(replaced_by(stack))


@pytest.mark.parametrize("parameters, refusals", [
    ({}, 0), ({"CreateTables": "false"}, 0), ({"TaskTableName": "", "ContainerInstanceTableName": ""}, 0),
    ({"CreateTables": "false", "TaskTableName": "", "ContainerInstanceTableName": ""}, 2),
    ({"TaskTableName": "Rows", "ContainerInstanceTableName": "Rows"}, 1),
])
def test_the_templates_rules_refuse_tables_without_or_with_the_same_name(parameters, refusals):
    assert len(Stack("recorder", **parameters).refusals()) == refusals


def test_existing_tables_can_be_used():
    names = {"TaskTableName": "OldTasks", "ContainerInstanceTableName": "OldInstances"}
    stack = Stack("existing", CreateTables="false", **names)
    assert "AWS::DynamoDB::Table" not in stack.types.values()
    tables = [f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}" for table in ("OldTasks", "OldInstances")]
    for function in ("Recorder", "Reconciler"):
        variables = stack.properties[function]["Environment"]["Variables"]
        assert (variables["TASK_TABLE_NAME"], variables["CONTAINER_INSTANCE_TABLE_NAME"]) == ("OldTasks", "OldInstances")
        rows, *index = [each for each in role_statements(stack, f"{function}Role") if "dynamodb:" in str(each["Action"])]
        assert rows["Resource"] == tables
        assert [each["Resource"] for each in index] == [f"{tables[0]}/index/by_cluster"] * (function == "Reconciler")
    assert not {"TaskStreamArn", "ContainerInstanceStreamArn"} & set(stack.outputs)


def test_tables_without_a_name_are_named_by_cloudformation_and_the_functions_get_their_names():
    stack = Stack("namer", TaskTableName="", ContainerInstanceTableName="", TableStreams="false")
    for function in ("Recorder", "Reconciler"):
        variables = stack.properties[function]["Environment"]["Variables"]
        assert variables["TASK_TABLE_NAME"] == stack.names["TaskTable"] == stack.outputs["TaskTableName"] != ""
        assert variables["CONTAINER_INSTANCE_TABLE_NAME"] == stack.names["ContainerInstanceTable"]
    assert "StreamSpecification" not in stack.properties["TaskTable"]
    assert "StreamSpecification" not in stack.properties["ContainerInstanceTable"]


def test_recording_and_reconciliation_can_be_limited_to_some_clusters():
    cluster = "arn:aws:ecs:eu-west-1:123456789012:cluster/demo"
    stack = Stack("clusters", ClusterArns=f"{cluster},{cluster}-2")
    pattern = stack.properties["RecorderStateChanges"]["EventPattern"]
    assert pattern["detail"] == {"clusterArn": [cluster, f"{cluster}-2"]}
    assert stack.properties["Reconciler"]["Environment"]["Variables"]["CLUSTER_ARNS"] == f"{cluster},{cluster}-2"
    assert stack.properties["Archive"]["EventPattern"] == pattern


def test_archive_concurrency_log_and_code_follow_their_parameters():
    stack = Stack("parameters", ArchiveDays=0, ReservedConcurrency=5, LogRetentionDays=7, Architecture="x86_64",
        RetentionDays=0, RedactEnvironment="true", LagAlarmMilliseconds=5000,
    )
    assert "Archive" not in stack.names and "ArchiveArn" not in stack.outputs
    function = stack.properties["Recorder"]
    assert function["ReservedConcurrentExecutions"] == 5
    assert function["Architectures"] == ["x86_64"]
    reconciler = stack.properties["Reconciler"]
    assert "ReservedConcurrentExecutions" not in reconciler
    assert reconciler["Architectures"] == ["x86_64"]
    for variables in (function["Environment"]["Variables"], reconciler["Environment"]["Variables"]):
        assert (variables["RETENTION_DAYS"], variables["REDACT_ENVIRONMENT"]) == (0, "true")
    assert stack.properties["RecorderLogs"] == stack.properties["ReconcilerLogs"] == {"RetentionInDays": 7}
    assert stack.properties["LagAlarm"]["Threshold"] == 5000


@pytest.mark.parametrize("units, accepted", [
    ("0", True), ("4000", True), ("14000", True), ("999999", True), ("3999", False), ("1", False), ("04000", False),
    ("1000000", False), ("", False),
])
def test_a_table_cannot_be_less_warm_than_a_new_one(stack, units, accepted):
    parameter = stack.template["Parameters"]["WarmWriteUnits"]
    assert bool(re.fullmatch(parameter["AllowedPattern"], units)) == accepted


def test_tables_and_index_are_warm_on_request_only(stack):
    def warm(stack):
        tables = [stack.properties[name] for name in ("TaskTable", "ContainerInstanceTable")]
        [index] = tables[0]["GlobalSecondaryIndexes"]
        return [each.get("WarmThroughput") for each in (*tables, index)]

    assert warm(stack) == [None, None, None]
    asked = Stack("warm", WarmWriteUnits=14000, TaskTableName="", ContainerInstanceTableName="")
    assert warm(asked) == [{"WriteUnitsPerSecond": "14000"}] * 3
    without = Stack("without", WarmWriteUnits=14000, TaskIndex="false", TaskTableName="",
                         ContainerInstanceTableName="")
    assert "GlobalSecondaryIndexes" not in without.properties["TaskTable"]
