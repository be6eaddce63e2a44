"""What template.yaml makes, whole."""

import json

import boto3
import pytest
from moto.events.models import EventPattern

from .aws import ACCOUNT, PROJECT, REGION

TASKS, CONTAINER_INSTANCES = "ECSTaskState", "ECSCtrInstanceState"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:on-call"
EVENTS = sorted((PROJECT / "events").glob("*.json"))
REFUSED = sorted((PROJECT / "events/refused").glob("*.json"))


def queue_attributes(url):
    return boto3.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]


def role_statements(stack):
    """All that the function's role may do."""
    role = stack.properties["RecorderRole"]
    assert set(role) == {"AssumeRolePolicyDocument", "Policies"}
    [policy] = role["Policies"]
    # In a list, moto leaves a null where the template has AWS::NoValue.
    return [statement for statement in policy["PolicyDocument"]["Statement"] if statement is not None]


def test_every_resource_is_created(stack):
    assert stack.status == "CREATE_COMPLETE"
    assert set(stack.names) == set(stack.cloudformation["Resources"])
    assert set(stack.outputs) == set(stack.template["Outputs"])


def test_the_function_is_small_logs_json_and_knows_its_tables(stack):
    function = stack.properties["Recorder"]
    assert function == {
        "Architectures": ["arm64"],
        "Code": {"S3Bucket": "code", "S3Key": "function.zip"},
        "Description": "Records ECS state changes in DynamoDB, one conditional write an event",
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


def test_what_lambda_gives_up_on_is_kept(stack):
    assert stack.properties["RecorderEventInvokeConfig"] == {
        "FunctionName": stack.names["Recorder"],
        "Qualifier": "$LATEST",
        "MaximumRetryAttempts": 2,
        "MaximumEventAgeInSeconds": 6 * 60 * 60,
        "DestinationConfig": {"OnFailure": {"Destination": queue_arn(stack, "FailureQueue")}},
    }


def queue_arn(stack, queue):
    return queue_attributes(stack.names[queue])["QueueArn"]


@pytest.mark.parametrize("table, key", [(TASKS, "taskArn"), (CONTAINER_INSTANCES, "containerInstanceArn")])
def test_the_tables_have_the_names_and_keys_that_the_code_uses_and_are_kept(stack, table, key):
    client = boto3.client("dynamodb")
    made = client.describe_table(TableName=table)["Table"]
    wanted = {
        "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"}],
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        # `make deploy` turns it on: test_deploy.py.
        "DeletionProtectionEnabled": False,
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    }
    assert {name: made[name] for name in wanted} == wanted
    ttl = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    backups = client.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    resource = stack.template["Resources"]["TaskTable" if table == TASKS else "ContainerInstanceTable"]
    assert resource["Properties"]["SSESpecification"] == {"SSEEnabled": True}
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")


def takes(pattern, event):
    """The verdict of moto's EventBridge, by what it delivers with: its TestEventPattern is empty."""
    return EventPattern.load(json.dumps(pattern)).matches_event(event)


def test_the_rule_takes_what_ecs_sends_of_tasks_and_container_instances_and_nothing_else(stack):
    pattern = stack.properties["RecorderStateChanges"]["EventPattern"]
    assert pattern == {
        "source": ["aws.ecs"],
        "detail-type": ["ECS Task State Change", "ECS Container Instance State Change"],
    }
    taken = [path.name for path in [*EVENTS, *REFUSED] if takes(pattern, json.loads(path.read_text()))]
    # By its envelope, the last one is a task's state change. The function refuses it loudly; a rule would drop it.
    assert taken == [path.name for path in EVENTS] + ["missing-version.json"]
    assert len(EVENTS) >= 9 and len(REFUSED) >= 3


def test_the_rule_hands_over_for_a_day_and_then_keeps_the_event(stack):
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{stack.names['Recorder']}"
    assert stack.properties["RecorderStateChanges"] == {
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
    archive = boto3.client("events").describe_archive(ArchiveName=stack.outputs["ArchiveArn"].split("/")[1])
    assert archive["EventSourceArn"] == f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"
    assert archive["RetentionDays"] == 14
    # moto adds what EventBridge adds, too: it doesn't archive replays again.
    pattern = json.loads(archive["EventPattern"])
    pattern.pop("replay-name", None)
    assert pattern == stack.properties["RecorderStateChanges"]["EventPattern"]


def test_the_functions_role_may_write_rows_its_log_and_its_failures_and_nothing_more(stack):
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
            "Sid": "KeepWhatFailed",
            "Effect": "Allow",
            "Action": "sqs:SendMessage",
            "Resource": queue_arn(stack, "FailureQueue"),
        },
    ]
    assert role_statements(stack) == expected
    assert stack.properties["RecorderRole"]["AssumeRolePolicyDocument"]["Statement"] == [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]


def test_traced_the_role_may_also_write_traces(aws):
    stack = aws.deploy("traced", Tracing="Active")
    assert stack.properties["Recorder"]["TracingConfig"] == {"Mode": "Active"}
    sids = [statement["Sid"] for statement in role_statements(stack)]
    assert sids == ["WriteRows", "WriteItsLog", "KeepWhatFailed", "Trace"]
    assert role_statements(stack)[3] == {
        "Sid": "Trace",
        "Effect": "Allow",
        "Action": ["xray:PutTraceSegments", "xray:PutTelemetryRecords"],
        "Resource": "*",
    }


def test_the_queues_are_encrypted_keep_14_days_and_take_from_whom_they_should_by_tls_only(stack):
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
        "Sid": "FromTheRule",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": dead_letters,
        "Condition": {"ArnEquals": {"aws:SourceArn": stack.outputs["RuleArn"]}},
    }
    for queue, expected in [
        ("FailureQueue", [tls_only(queue_arn(stack, "FailureQueue"))]),
        ("DeadLetterQueue", [tls_only(dead_letters), from_the_rule]),
    ]:
        attributes = queue_attributes(stack.names[queue])
        assert attributes["SqsManagedSseEnabled"] == "true"
        assert attributes["MessageRetentionPeriod"] == str(14 * 24 * 60 * 60)
        assert json.loads(attributes["Policy"])["Statement"] == expected


def test_each_alarm_watches_what_is_there_says_what_to_do_and_tells_the_topic(aws):
    stack = aws.deploy("recorder", AlarmTopicArn=TOPIC)
    names = {physical: logical for logical, physical in stack.names.items()}

    def watched(metric):
        dimensions = tuple(names.get(dimension["Value"], dimension["Value"]) for dimension in metric["Dimensions"])
        return (metric["Namespace"], metric["MetricName"], *dimensions)

    found = {}
    for alarm in boto3.client("cloudwatch").describe_alarms()["MetricAlarms"]:
        metrics = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", []) if "MetricStat" in query]
        metrics = metrics or [alarm]
        # moto's queues have their URL for a name here.
        found[names[alarm["AlarmName"]]] = (
            *(watched(metric) for metric in metrics),
            alarm.get("Statistic") or alarm.get("ExtendedStatistic") or "Sum",
            f"> {alarm['Threshold']:g}",
            f"{alarm['EvaluationPeriods']} x {alarm.get('Period', 300)} s",
        )
        assert alarm["AlarmActions"] == alarm["OKActions"] == [TOPIC]
        assert alarm["TreatMissingData"] == "notBreaching"
        assert len(alarm["AlarmDescription"]) > 100
    queue = {queue: stack.properties[f"{queue}Alarm"]["Dimensions"][0]["Value"] for queue in ("FailureQueue", "DeadLetterQueue")}
    for logical, name in queue.items():
        assert stack.names[logical].endswith(f"/{name}")
    rule = stack.outputs["RuleArn"].split("/")[1]
    assert found == {
        "FailureQueueAlarm": (
            ("AWS/SQS", "ApproximateNumberOfMessagesVisible", queue["FailureQueue"]), "Maximum", "> 0", "1 x 300 s"),
        "DeadLetterQueueAlarm": (
            ("AWS/SQS", "ApproximateNumberOfMessagesVisible", queue["DeadLetterQueue"]), "Maximum", "> 0", "1 x 300 s"),
        "LostEventsAlarm": (
            ("AWS/Lambda", "DestinationDeliveryFailures", "Recorder"),
            ("AWS/Events", "InvocationsFailedToBeSentToDlq", names.get(rule, rule)),
            "Sum", "> 0", "1 x 300 s"),
        "ErrorsAlarm": (("AWS/Lambda", "Errors", "Recorder"), "Sum", "> 0", "3 x 300 s"),
        "ThrottlesAlarm": (("AWS/Lambda", "Throttles", "Recorder"), "Sum", "> 0", "3 x 300 s"),
        "DynamoDBThrottlingAlarm": (
            ("AWS/DynamoDB", "WriteThrottleEvents", "TaskTable"),
            ("AWS/DynamoDB", "WriteThrottleEvents", "ContainerInstanceTable"),
            "Sum", "> 0", "3 x 300 s"),
        "LagAlarm": (("ecs-state-recorder/recorder", "Lag"), "p90", "> 60000", "3 x 300 s"),
        "DurationAlarm": (("AWS/Lambda", "Duration", "Recorder"), "Maximum", "> 12000", "1 x 300 s"),
    }


def test_without_a_topic_the_alarms_are_there_and_tell_nobody(stack):
    alarms = boto3.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert len(alarms) == 8
    assert all(alarm.get("AlarmActions", []) == alarm.get("OKActions", []) == [] for alarm in alarms)


def metric_filters(stack):
    found = boto3.client("logs").describe_metric_filters(logGroupName=stack.names["RecorderLogs"])["metricFilters"]
    return {each["metricTransformations"][0]["metricName"]: each for each in found}


def test_the_log_line_becomes_metrics(stack):
    filters = metric_filters(stack)
    assert {name: (each["filterPattern"], each["metricTransformations"]) for name, each in filters.items()} == {
        "Invocations": (
            '{ $.message = "invocation" }',
            [{
                "metricNamespace": "ecs-state-recorder/recorder", "metricName": "Invocations", "metricValue": "1",
                "unit": "Count", "dimensions": {"outcome": "$.outcome"},
            }],
        ),
        "Lag": (
            '{ $.message = "invocation" && $.lag_ms >= 0 && $.replay_name NOT EXISTS }',
            [{
                "metricNamespace": "ecs-state-recorder/recorder", "metricName": "Lag", "metricValue": "$.lag_ms",
                "unit": "Milliseconds",
            }],
        ),
    }


def test_the_dashboard_shows_every_alarm_every_outcome_and_both_queues(stack):
    body = boto3.client("cloudwatch").get_dashboard(DashboardName=f"recorder-{REGION}")["DashboardBody"]
    widgets = {widget["properties"]["title"]: widget["properties"] for widget in json.loads(body)["widgets"]}
    assert sorted(name.split(":alarm:")[1] for name in widgets["Does anything need a person?"]["alarms"]) == sorted(
        name for logical, name in stack.names.items() if stack.types[logical] == "AWS::CloudWatch::Alarm"
    )
    outcomes = {
        metric[3]
        for title in ("What came in?", "What was refused?")
        for metric in widgets[title]["metrics"]
        if metric[:3] == ["ecs-state-recorder/recorder", "Invocations", "outcome"]
    }
    assert outcomes == {
        "stored", "stale", "duplicate", "UnsupportedSource", "UnsupportedDetailType", "InvalidEvent",
        "StoreUnavailable", "StoreRejected",
    }
    assert {metric[3] for metric in widgets["What waits in the queues?"]["metrics"]} == {
        stack.names[queue].rsplit("/", 1)[1] for queue in ("FailureQueue", "DeadLetterQueue")
    }
    assert all(
        metric[3] == stack.names["Recorder"]
        for title in ("The function", "Its duration")
        for metric in widgets[title]["metrics"]
    )
    assert {metric[3] for metric in widgets["The tables' writes"]["metrics"]} == {TASKS, CONTAINER_INSTANCES}
    assert f"SOURCE '{stack.names['RecorderLogs']}'" in widgets["The last errors"]["query"]


# Parameters.


def test_every_parameter_is_described_grouped_and_checked(stack):
    parameters = stack.template["Parameters"]
    checks = {"AllowedValues", "AllowedPattern", "MinValue"}
    assert [name for name, parameter in parameters.items() if not parameter["Description"].endswith(".")] == []
    assert [name for name, parameter in parameters.items() if not checks & set(parameter)] == []
    groups = stack.template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(parameters)


def test_the_readme_lists_every_parameter_with_its_default_and_every_alarm(stack):
    lines = (PROJECT / "README.md").read_text().replace("`", "").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    listed = {name: value for row in rows for name, value in zip(row[0].split(", "), row[-1].split(", "))}
    parameters = {name: str(parameter["Default"]) for name, parameter in stack.template["Parameters"].items()}
    assert {name: listed.get(name) for name in parameters} == parameters
    alarms = {name.removesuffix("Alarm") for name, kind in stack.types.items() if kind == "AWS::CloudWatch::Alarm"}
    assert alarms <= set(listed)


def test_tables_that_are_there_can_be_taken(aws):
    stack = aws.deploy("taker", CreateTables="false", TaskTableName="OldTasks", ContainerInstanceTableName="OldInstances")
    assert "AWS::DynamoDB::Table" not in stack.types.values()
    variables = stack.properties["Recorder"]["Environment"]["Variables"]
    assert (variables["TASK_TABLE_NAME"], variables["CONTAINER_INSTANCE_TABLE_NAME"]) == ("OldTasks", "OldInstances")
    tables = [f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}" for table in ("OldTasks", "OldInstances")]
    assert role_statements(stack)[0]["Resource"] == tables
    assert not {"TaskStreamArn", "ContainerInstanceStreamArn"} & set(stack.outputs)


def test_tables_without_a_name_are_named_by_cloudformation_and_the_function_knows(aws):
    stack = aws.deploy("namer", TaskTableName="", ContainerInstanceTableName="", TableStreams="false")
    variables = stack.properties["Recorder"]["Environment"]["Variables"]
    assert variables["TASK_TABLE_NAME"] == stack.names["TaskTable"] == stack.outputs["TaskTableName"] != ""
    assert variables["CONTAINER_INSTANCE_TABLE_NAME"] == stack.names["ContainerInstanceTable"]
    assert "StreamSpecification" not in stack.properties["TaskTable"]
    assert "StreamSpecification" not in stack.properties["ContainerInstanceTable"]


def test_only_some_clusters_can_be_recorded(aws):
    cluster = "arn:aws:ecs:eu-west-1:123456789012:cluster/demo"
    stack = aws.deploy("clusters", ClusterArns=f"{cluster},{cluster}-2")
    pattern = stack.properties["RecorderStateChanges"]["EventPattern"]
    assert pattern["detail"] == {"clusterArn": [cluster, f"{cluster}-2"]}
    assert stack.properties["Archive"]["EventPattern"] == pattern
    event = json.loads(EVENTS[0].read_text())
    assert takes(pattern, event)
    event["detail"]["clusterArn"] = f"{cluster}-3"
    assert not takes(pattern, event)


def test_archive_concurrency_log_and_code_follow_their_parameters(aws):
    stack = aws.deploy(
        "parameters", ArchiveDays=0, ReservedConcurrency=5, LogRetentionDays=7, Architecture="x86_64",
        RetentionDays=0, RedactEnvironment="true", LagAlarmMilliseconds=5000,
    )
    assert "Archive" not in stack.names and "ArchiveArn" not in stack.outputs
    function = stack.properties["Recorder"]
    assert function["ReservedConcurrentExecutions"] == 5
    assert function["Architectures"] == ["x86_64"]
    assert function["Environment"]["Variables"]["RETENTION_DAYS"] == 0
    assert function["Environment"]["Variables"]["REDACT_ENVIRONMENT"] == "true"
    assert stack.properties["RecorderLogs"] == {"RetentionInDays": 7}
    assert stack.properties["LagAlarm"]["Threshold"] == 5000


# The function in it.


def test_the_built_function_writes_rows_into_the_tables_that_the_template_made(function, stack):
    sent = {}
    for path in EVENTS:
        event = json.loads(path.read_text())
        answer = function.invoke(path.read_bytes())
        assert answer["outcome"] in ("stored", "stale"), answer
        key = "taskArn" if event["detail-type"] == "ECS Task State Change" else "containerInstanceArn"
        known = sent.get(event["detail"][key])
        if known is None or known["version"] < event["detail"]["version"]:
            sent[event["detail"][key]] = {**event["detail"], "event_id": event["id"]}
    rows = {}
    for table, key in [(TASKS, "taskArn"), (CONTAINER_INSTANCES, "containerInstanceArn")]:
        for row in boto3.resource("dynamodb").Table(table).scan()["Items"]:
            rows[row[key]] = row
    # Row by row, each attribute's value is rules.rs's: here it is the right row in the right table.
    assert {arn: (row["version"], row["event_id"]) for arn, row in rows.items()} == {
        arn: (detail["version"], detail["event_id"]) for arn, detail in sent.items()
    }
    for row in rows.values():
        assert ("expires_at" in row) == (row.get("lastStatus") == "STOPPED")


def test_the_metric_filters_read_fields_that_the_log_line_has(function, stack):
    function.invoke(EVENTS[0].read_bytes())
    function.invoke(REFUSED[0].read_bytes())
    lines = [line for line in function.log() if line.get("message") == "invocation"]
    assert [line["outcome"] for line in lines] == ["stored", "InvalidEvent"]
    assert all(isinstance(line["lag_ms"], int) and line["lag_ms"] >= 0 and "replay_name" not in line for line in lines)
