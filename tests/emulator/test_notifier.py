"""From a change on a bus to an announcement on another: recorder, table, stream, notifier, rules, queues."""

import json
import random
import re
import sys
from collections import Counter
from datetime import datetime, timedelta, timezone
from uuid import uuid4

import boto3
import jsonschema
import pytest

from deploy.ops import ops

from .conftest import NOTIFICATIONS, PROJECT, STACK, TEMPLATE, deployment, until, used

from inbox import Inbox  # isort: skip, conftest makes it importable

sys.path.insert(0, str(PROJECT / "ops"))
import smoke  # noqa: E402
import stack as ops_stack  # noqa: E402

SAMPLE = json.loads((PROJECT / "events/fargate-task-stopped.json").read_text())["detail"]
SECRET = "hunter2-7f3a"
EXITED, NOT_STARTED = "EssentialContainerExited", "TaskFailedToStart"


@pytest.fixture(scope="module")
def everything(ministack, deployed):
    with used(ministack.environment):
        return Inbox.of_rule("everything")


@pytest.fixture(scope="module")
def channel(ministack, deployed):
    """What Amazon Q would get from the topic."""
    with used(ministack.environment):
        inbox, topic = Inbox("channel"), ops_stack.outputs(STACK)["NotificationTopicArn"]
        boto3.client("sns").subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=inbox.arn, Attributes={"RawMessageDelivery": "true"})
        return inbox


def stop(group, ago=timedelta(seconds=5), cluster="demo", exit_code=1, reason="", code=EXITED, text="", **more):
    """A task that has stopped, as an event has it."""
    arn = f"arn:aws:ecs:eu-west-1:123456789012:task/{cluster}/{uuid4().hex}"
    at = datetime.now(timezone.utc) - ago
    as_text = lambda time: time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    started = {} if code == NOT_STARTED else {"startedAt": as_text(at - timedelta(seconds=20))}
    kept = {name: value for name, value in SAMPLE.items() if not name.endswith("At")}
    container = SAMPLE["containers"][0] | {"taskArn": arn} | ({"reason": reason} if reason else {})
    container = {name: value for name, value in container.items() if name != "exitCode"} | (
        {} if exit_code is None else {"exitCode": exit_code})
    return kept | started | {
        "taskArn": arn, "clusterArn": arn.replace(":task/", ":cluster/").rpartition("/")[0], "group": group,
        "containers": [container], "stopCode": code, "stoppedAt": as_text(at),
        "stoppedReason": text or "Essential container in task exited",
    } | more


def lines(deployed, log="NotifierLogGroupName"):
    pages = boto3.client("logs").get_paginator("filter_log_events").paginate(logGroupName=deployed[log])
    return [event["message"] for page in pages for event in page["events"]]


def outcomes(deployed):
    """What the notifier's log says of each task."""
    stops = [json.loads(line) for line in lines(deployed) if '"message":"stop"' in line]
    return {stop["arn"]: stop["outcome"] for stop in stops}


def flush(fleet, everything):
    """Waits until whatever was recorded before has been announced, or not: the stream is in order."""
    last = stop(f"service:last-{uuid4().hex}")
    fleet.put(last)
    until(lambda: last["taskArn"] in everything.details(), "the announcement of the last stop")


def test_a_failure_is_announced_once_with_its_diagnosis_and_no_secret_is_anywhere(deployed, fleet, everything, channel):
    overrides = {"containerOverrides": [{
        "name": "web", "command": ["login", SECRET], "environment": [{"name": "TOKEN", "value": SECRET}]}]}
    killed = stop("service:secret", exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage",
                  overrides=overrides)
    by_hand = stop("service:secret", code="UserInitiated", text=f"rotating {SECRET}", exit_code=143, overrides=overrides)
    running = {name: value for name, value in killed.items() if not name.startswith("stop")} | {
        "lastStatus": "RUNNING", "desiredStatus": "RUNNING", "version": 3}
    changes = [running, running | {"desiredStatus": "STOPPED", "version": 5}, killed, by_hand] * 2
    random.shuffle(changes)
    fleet.put(*changes)
    until(lambda: {killed["taskArn"], by_hand["taskArn"]} <= everything.details().keys(), "both announcements")
    flush(fleet, everything)
    own = [event for event in everything.all() if event["detail"]["group"] == "service:secret"]
    assert Counter(event["detail"]["taskArn"] for event in own) == {killed["taskArn"]: 1, by_hand["taskArn"]: 1}
    found = everything.details()[killed["taskArn"]]
    assert {name: found[name] for name in (
        "code", "kind", "actor", "notify", "count", "cluster", "group", "container", "exitCode", "summary", "taskVersion",
        "stoppedAt", "previousStoppedAt", "isCrashLoop",
    )} == {
        "code": "OutOfMemory", "kind": "failed", "actor": "application", "notify": True, "count": 1, "cluster": "demo",
        "group": "service:secret", "container": "web", "exitCode": 137, "taskVersion": 6,
        "summary": "container \"web\" was killed for exceeding the task's 512 MiB of memory",
        "stoppedAt": killed["stoppedAt"], "previousStoppedAt": None, "isCrashLoop": False,
    }
    assert (everything.details()[by_hand["taskArn"]]["code"], everything.details()[by_hand["taskArn"]]["notify"]) == (
        "StoppedByUser", False)
    until(lambda: found["chat"] in channel.all(), "the message in the channel")
    assert [message for message in channel.all() if killed["taskArn"] in str(message)] == [found["chat"]]
    shown = [*everything.all(), *channel.all(), *lines(deployed), *lines(deployed, "RecorderLogGroupName")]
    assert len(shown) > 5 and SECRET not in str(shown)
    schema = json.loads((PROJECT / "docs/task-stopped.schema.json").read_text())
    for detail in everything.details().values():
        jsonschema.validate(detail, schema)


def test_a_crash_loop_of_200_stops_gives_200_announcements_of_which_at_most_six_reach_people(
    deployed, fleet, everything, channel
):
    loop = [stop("service:loop", ago=timedelta(seconds=15 * left + 1)) for left in range(200, 0, -1)]
    fleet.put(*loop)
    arns = {each["taskArn"] for each in loop}
    until(lambda: arns <= everything.details().keys(), "200 announcements")
    flush(fleet, everything)
    own = [event["detail"] for event in everything.all() if event["detail"]["group"] == "service:loop"]
    assert len(own) == 200
    told = [detail for detail in own if detail["notify"]]
    assert 1 <= len(told) <= 6 and min(own, key=lambda detail: detail["stoppedAt"]) in told
    assert max(own, key=lambda detail: detail["stoppedAt"])["isCrashLoop"]
    until(lambda: all(detail["chat"] in channel.all() for detail in told), "the messages in the channel")
    messages = [each for each in channel.all() if each["metadata"]["relatedResources"][0] in arns]
    assert len(messages) == len(told) and {each["metadata"]["threadId"] for each in messages} == {
        f"{loop[0]['clusterArn']}/service:loop"}


def test_a_first_fleet_run_over_stopped_tasks_and_old_stops_announce_nothing(deployed, fleet, everything, environment):
    unseen = [fleet.stop(fleet.start("unseen"), "Task failed container health checks")[-1] for _ in range(5)]
    code, output, errors = ops("reconcile.py", STACK, "fleet", **environment)
    assert (code, output[-1], errors) == (0, "complete    true", [])
    old = [stop("service:old", ago=timedelta(hours=2, minutes=left)) for left in range(50)]
    # Their events come later, and change nothing.
    fleet.put(*old, *unseen)
    flush(fleet, everything)
    wanted = {each["taskArn"]: "unseen" for each in unseen} | {each["taskArn"]: "old" for each in old}
    until(lambda: {arn: outcomes(deployed).get(arn) for arn in wanted} == wanted, "the notifier has counted them")
    assert wanted.keys() & everything.details().keys() == set()


def rules():
    """The rules of the page: who wants to know, and the detail of the pattern."""
    return dict(re.findall(r"(?m)^\| (.+?) \| `(\{.*\})` \|$", NOTIFICATIONS))


def test_each_rule_of_the_page_gets_what_it_says_and_nothing_else(deployed, fleet, everything):
    assert len(rules()) == 10
    numbered = enumerate(rules().items())
    queues = {who: Inbox.of_rule(f"rule-{number}", json.loads(detail)) for number, (who, detail) in numbered}
    # All in one window of six hours.
    now = datetime.now(timezone.utc)
    shift = 60 if now.hour % 6 == now.minute == 0 else 0
    seconds = lambda count: timedelta(seconds=count + shift)
    [path] = set(re.findall(r"InputPath=(\$\.detail\.summary)'", NOTIFICATIONS))
    mail = Inbox.of_rule("mail", {"group": ["service:memory"]}, InputPath=path)
    # Each with a service of its own, so that it is the first of its kind.
    stops = {
        "memory": stop("service:memory", exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage"),
        "production": stop("service:shop", cluster="production"),
        "payments": stop("service:payments-api"),
        "denied": stop("service:denied", code=NOT_STARTED, exit_code=None, text=(
            "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
            "unable to retrieve secret from asm: AccessDeniedException: not authorized")),
        "image": stop("service:image", code=NOT_STARTED, exit_code=None, text=(
            "CannotPullContainerError: failed to resolve reference: example.com/web:9: not found")),
        "capacity": stop("service:capacity", code=NOT_STARTED, exit_code=None, text=(
            "Capacity is unavailable at this time. Please try again later or in a different availability zone")),
        "spot": stop("service:spot", code="SpotInterruption", text="Your Spot Task was interrupted.", exit_code=143),
        "deployment": stop("service:deployed", code="ServiceSchedulerInitiated", exit_code=143,
                           text="Scaling activity initiated by (deployment ecs-svc/1)"),
        "job finished": stop("family:report", exit_code=0),
        "job 1": stop("family:report", ago=seconds(2)), "job 2": stop("family:report", ago=seconds(1)),
        **{f"loop {number}": stop("service:crashing", ago=seconds(10 - number)) for number in (1, 2, 3)},
    }
    # Of what the loop and the job repeat, the first and the third notify.
    application = {"memory", "production", "payments", "job 1", "loop 1", "loop 3"}
    wanted = dict(zip(rules(), [
        {"memory"}, application, {"capacity"}, {"denied"}, {"denied", "image"}, {"production"}, {"payments"}, {"loop 3"},
        {"job 1", "job 2"}, stops.keys() - {"deployment", "job finished"},
    ], strict=True))
    fleet.put(*stops.values())
    until(lambda: {each["taskArn"] for each in stops.values()} <= everything.details().keys(), "all announcements")
    flush(fleet, everything)
    names = {each["taskArn"]: name for name, each in stops.items()}
    found = {who: {names[arn] for arn in queue.details() if arn in names} for who, queue in queues.items()}
    assert found == wanted
    assert mail.all() == ["container \"web\" was killed for exceeding the task's 512 MiB of memory"]


# The line `notifier` of make smoke.


def smoke_line():
    checks = smoke.Smoke(STACK, ops_stack.outputs(STACK), patience=20)
    try:
        checks.invocation()
        return checks.notifier()
    finally:
        checks.clean_up()


def test_smoke_is_green_once_the_notifier_has_counted_a_stop_of_long_ago(deployed):
    assert smoke_line() == "counted the fictional task's stop as old"


@pytest.mark.parametrize("change, says", [
    ({"Enabled": False}, "run `aws lambda update-event-source-mapping --uuid "),
    ({"FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["REMOVE"]}'}]}}, "must have the template's FilterCriteria"),
], ids=["disabled", "filter"])
def test_smoke_is_red_if_the_mapping_is_not_the_templates(deployed, change, says):
    client = boto3.client("lambda")
    [mapping] = client.list_event_source_mappings(FunctionName=deployed["NotifierName"])["EventSourceMappings"]
    client.update_event_source_mapping(UUID=mapping["UUID"], **change)
    try:
        with pytest.raises(smoke.Broken, match=says):
            smoke_line()
    finally:
        client.update_event_source_mapping(
            UUID=mapping["UUID"], Enabled=True, FilterCriteria=mapping["FilterCriteria"])


def test_smoke_is_red_if_nobody_may_publish_or_the_notifier_does_not_answer(deployed, monkeypatch):
    sns, topic = boto3.client("sns"), ops_stack.outputs(STACK)["NotificationTopicArn"]
    policy = sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
    nobody = policy.replace("events.amazonaws.com", "s3.amazonaws.com")
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=nobody)
    try:
        with pytest.raises(smoke.Broken, match=f"EventBridge may not publish to {topic}"):
            smoke_line()
    finally:
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    monkeypatch.setattr(smoke, "SAMPLE", PROJECT / "events/fargate-task-running.json")
    with pytest.raises(smoke.Broken, match="counted no stop of the fictional task within 20 s"):
        smoke_line()


def test_what_the_emulator_ignores_is_in_the_template():
    template = deployment.template(TEMPLATE, lacks={})
    for path in deployment.IGNORED:
        deployment.change(template, path.split("."), None)
