"""The path of an event, whole: from a bus through the deployed functions to the row, the index and ecs-state."""

import json
import random
import subprocess
from datetime import datetime, timezone

import boto3
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as prometheus_families

from deploy.ops import ops

from .conftest import ECS_STATE, PROJECT, STACK, until

TASKS = "ECSTaskState"
KINDS = {
    "ECS Task State Change": (TASKS, "taskArn"),
    "ECS Container Instance State Change": ("ECSCtrInstanceState", "containerInstanceArn"),
}
EVENTS = sorted((PROJECT / "events").glob("*.json"))
REFUSED = sorted((PROJECT / "events/refused").glob("*.json"))


def row(arn):
    return boto3.client("dynamodb").get_item(
        TableName=TASKS, Key={"taskArn": {"S": arn}}, ConsistentRead=True
    ).get("Item")


def invoke(outputs, event):
    return json.load(boto3.client("lambda").invoke(
        FunctionName=outputs["RecorderName"], Payload=json.dumps(event))["Payload"])


def outcomes(outputs, text):
    """What the recorder's lines with a text say."""
    pages = boto3.client("logs").get_paginator("filter_log_events").paginate(
        logGroupName=outputs["RecorderLogGroupName"], filterPattern=f'"{text}"')
    lines = [json.loads(event["message"]) for page in pages for event in page["events"]]
    lines = [line for line in lines if line["message"] == "invocation"]
    # What the template's metric filters read.
    assert all(type(line["lag_ms"]) is int and line["lag_ms"] >= 0 and "replay_name" not in line for line in lines)
    return [line["outcome"] for line in lines]


def ecs_state(environment, *arguments):
    ended = subprocess.run([ECS_STATE, *arguments], env=environment, capture_output=True, text=True, timeout=60)
    assert (ended.stderr, ended.returncode) == ("", 0)
    return ended.stdout


def tasks(environment, *question):
    return {task["taskArn"]: task for task in map(json.loads, ecs_state(environment, *question, "--json").splitlines())}


def test_changes_on_a_bus_shuffled_and_twice_end_as_the_newest_rows_in_the_index_and_in_ecs_state(
    deployed, fleet, environment
):
    running = [fleet.start("web") for _ in range(3)]
    started = [fleet.start("api") for _ in range(3)]
    histories = [[task, *fleet.stop(task, "Scaling activity initiated by (deployment ecs-svc/1)")] for task in started]
    changes = [*running, *(change for history in histories for change in history)] * 2
    random.shuffle(changes)
    fleet.put(*changes)
    newest = {task["taskArn"]: task for task in [*running, *(history[-1] for history in histories)]}
    versions = {arn: {"N": str(task["version"])} for arn, task in newest.items()}
    stored = lambda: {arn: (row(arn) or {}).get("version") for arn in newest}
    until(lambda: stored() == versions, "each row is its task's newest state")
    for arn, task in newest.items():
        found = row(arn)
        assert (found["lastStatus"], found["group"]) == ({"S": task["lastStatus"]}, {"S": task["group"]})
        assert ("expires_at" in found) == (task["lastStatus"] == "STOPPED")

    # Whatever is still on its way changes nothing.
    sample = json.loads((PROJECT / "events/fargate-task-running.json").read_text())
    answers = [invoke(deployed, sample | {"detail": change})["outcome"] for history in histories for change in history]
    assert answers == ["stale", "stale", "duplicate"] * len(histories) and stored() == versions

    cluster = next(iter(newest.values()))["clusterArn"]
    indexed = boto3.client("dynamodb").query(
        TableName=TASKS, IndexName="by_cluster", KeyConditionExpression="index_cluster = :cluster",
        ExpressionAttributeValues={":cluster": {"S": cluster}},
    )["Items"]
    assert newest.keys() <= {item["taskArn"]["S"] for item in indexed}
    assert {task["taskArn"] for task in running} <= tasks(environment, "tasks", "--service", "web").keys()
    stopped = tasks(environment, "stopped", "--service", "api")
    assert {stopped[task["taskArn"]]["diagnosis"]["code"] for task in started} == {"ScaledIn"}

    # The two formats, by their reference parser: node_exporter reads Prometheus's own.
    metrics = ecs_state(environment, "metrics", "--cluster", cluster)
    for parse in openmetrics_families, prometheus_families:
        families = {family.name: family for family in parse(metrics)}
        assert {family.type for family in families.values()} == {"gauge"}
        [active] = [
            sample.value for sample in families["ecs_tasks"].samples
            if sample.labels["group"] == "service:web" and sample.labels["status"] == "running"
        ]
        assert active == len(tasks(environment, "tasks", "--cluster", cluster, "--service", "web"))


def test_each_sample_event_ends_in_the_table_of_its_kind(deployed):
    for path in EVENTS:
        # Other tests look for the samples' own ARNs.
        event = json.loads(path.read_text().replace("/demo/", "/samples/"))
        table, key = KINDS[event["detail-type"]]
        answer = invoke(deployed, event)
        assert (answer["table"], answer["arn"]) == (table, event["detail"][key])
        assert answer["outcome"] in ("stored", "stale", "duplicate")
        found = boto3.client("dynamodb").get_item(TableName=table, Key={key: {"S": event["detail"][key]}})["Item"]
        assert int(found["version"]["N"]) >= event["detail"]["version"]


def test_the_deployed_rule_matches_every_state_change_and_nothing_else(deployed):
    events = boto3.client("events")
    pattern = events.describe_rule(Name=deployed["RuleArn"].split("/")[-1])["EventPattern"]
    matches = lambda path: events.test_event_pattern(EventPattern=pattern, Event=path.read_text())["Result"]
    assert len(EVENTS) >= 9 and len(REFUSED) >= 3
    assert [path.name for path in EVENTS if not matches(path)] == []
    # What the recorder refuses because of its detail is a state change by its envelope.
    assert [path.name for path in REFUSED if matches(path)] == ["missing-version.json"]


def test_an_event_that_fails_three_times_waits_in_the_failure_queue_until_a_redrive_stores_it(deployed, environment):
    event = json.loads((PROJECT / "events/fargate-task-failed-to-start.json").read_text())
    event["time"] = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    arn = event["detail"]["taskArn"]
    iam, role = boto3.client("iam"), role_of(deployed["RecorderName"])
    policy = iam.get_role_policy(RoleName=role, PolicyName="record")["PolicyDocument"]
    without = {**policy, "Statement": [each for each in policy["Statement"] if each["Sid"] != "WriteRows"]}
    put = lambda document: iam.put_role_policy(RoleName=role, PolicyName="record", PolicyDocument=json.dumps(document))

    put(without)
    try:
        boto3.client("lambda").invoke(
            FunctionName=deployed["RecorderName"], InvocationType="Event", Payload=json.dumps(event))
        code, output, errors = until(
            lambda: waits(ops("redrive.py", STACK, "--dry-run", **environment)), "the event is in the failure queue")
    finally:
        put(policy)
    assert (code, errors) == (0, [])
    assert output[-2:] == ["failure queue: 1 to send: StoreRejected, RetriesExhausted", "failure queue: 1 to send, 0 left"]

    code, output, errors = ops("redrive.py", STACK, **environment)
    assert (code, output[-1], errors) == (0, "failure queue: 1 sent, 0 left", [])
    assert until(lambda: row(arn), "the row")["event_id"] == {"S": event["id"]}
    assert not waits(ops("redrive.py", STACK, "--dry-run", **environment))
    # Only now: MiniStack may hold back a line until the next invocation.
    until(lambda: outcomes(deployed, arn) == ["StoreRejected"] * 3 + ["stored"], "three attempts and the redrive's")


def role_of(function):
    return boto3.client("lambda").get_function_configuration(FunctionName=function)["Role"].split("/")[-1]


def waits(redrive):
    return redrive if "failure queue: 0 to send, 0 left" not in redrive[1] else None


def test_a_schedule_brings_what_no_event_told_and_marks_what_ecs_does_not_have(deployed, fleet):
    untold = fleet.start("worker")
    # Of March, and no task of this ECS.
    sample = (PROJECT / "events/fargate-task-running.json").read_text()
    lost = json.loads(sample)["detail"]
    invoke(deployed, json.loads(sample))
    assert "missing_since" not in row(lost["taskArn"])
    scheduler = boto3.client("scheduler")
    names = [schedule["Name"] for schedule in scheduler.list_schedules()["Schedules"]]
    schedules = [scheduler.get_schedule(Name=name) for name in names if name.startswith(f"{STACK}-")]
    assert {schedule["ScheduleExpression"] for schedule in schedules} == {"rate(15 minutes)", "rate(24 hours)"}
    for schedule in schedules:
        kept = ("Name", "GroupName", "FlexibleTimeWindow", "Target")
        scheduler.update_schedule(ScheduleExpression="rate(1 minute)", **{name: schedule[name] for name in kept})

    found = until(lambda: row(untold["taskArn"]), "the fleet run's row")
    assert (found["version"], found["group"]) == ({"N": str(untold["version"])}, {"S": "service:worker"})
    assert "reconciled_at" in found and "event_id" not in found
    until(lambda: "missing_since" in row(lost["taskArn"]), "the table run's mark")
    assert row(lost["taskArn"])["version"] == {"N": str(lost["version"])}
    assert "missing_since" not in row(untold["taskArn"])
