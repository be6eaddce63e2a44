"""From a change on a bus to an announcement on another: recorder, table, stream, notifier, rules, queues."""

import json
import random
import re
import sys
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
NOT_STARTED = "TaskFailedToStart"
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
KILLED = "container \"web\" was killed for exceeding the task's 512 MiB of memory"


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


def stop(group, ago=5, cluster="demo", exit_code=1, reason=None, code="EssentialContainerExited",
         text="Essential container in task exited", **more):
    """A task that stopped some seconds ago, as an event has it."""
    arn = f"arn:aws:ecs:eu-west-1:123456789012:task/{cluster}/{uuid4().hex}"
    at = lambda seconds: (datetime.now(timezone.utc) - timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
    task = {name: value for name, value in SAMPLE.items() if not name.endswith("At")}
    return task | ({} if code == NOT_STARTED else {"startedAt": at(ago + 20)}) | {
        "taskArn": arn, "clusterArn": arn.replace(":task/", ":cluster/").rpartition("/")[0], "group": group,
        "containers": [SAMPLE["containers"][0] | {"taskArn": arn, "exitCode": exit_code, "reason": reason}],
        "stopCode": code, "stoppedReason": text, "stoppedAt": at(ago).replace("+00:00", "Z"),
    } | more


def lines(deployed, log="NotifierLogGroupName"):
    pages = boto3.client("logs").get_paginator("filter_log_events").paginate(logGroupName=deployed[log])
    return [event["message"] for page in pages for event in page["events"]]


def outcomes(deployed):
    """What the notifier's log says of each task."""
    stops = [json.loads(line) for line in lines(deployed) if '"message":"stop"' in line]
    return {stop["arn"]: stop["outcome"] for stop in stops}


def put(fleet, everything, changes, announced):
    """Records changes, and waits until these stops are announced, and the others are not: the stream is in order."""
    last = stop(f"service:last-{uuid4().hex}")
    fleet.put(*changes, last)
    arns = {each["taskArn"] for each in [*announced, last]}
    until(lambda: arns <= everything.details().keys(), "the announcements")


def test_a_failure_is_announced_once_with_its_diagnosis_and_no_secret_is_anywhere(deployed, fleet, everything, channel):
    overrides = {"containerOverrides": [{
        "name": "web", "command": ["login", SECRET], "environment": [{"name": "TOKEN", "value": SECRET}]}]}
    killed = stop("service:secret", exit_code=137, reason=OUT_OF_MEMORY, overrides=overrides)
    by_hand = stop("service:secret", code="UserInitiated", text=f"rotating {SECRET}", exit_code=143, overrides=overrides)
    running = {name: value for name, value in killed.items() if not name.startswith("stop")} | {
        "lastStatus": "RUNNING", "desiredStatus": "RUNNING", "version": 3}
    changes = [running, running | {"desiredStatus": "STOPPED", "version": 5}, killed, by_hand] * 2
    random.shuffle(changes)
    put(fleet, everything, changes, [killed, by_hand])
    own = [event["detail"] for event in everything.all() if event["detail"]["group"] == "service:secret"]
    assert sorted(detail["taskArn"] for detail in own) == sorted([killed["taskArn"], by_hand["taskArn"]])
    found = everything.details()[killed["taskArn"]]
    expected = {
        "code": "OutOfMemory", "kind": "failed", "actor": "application", "notify": True, "count": 1, "cluster": "demo",
        "group": "service:secret", "container": "web", "exitCode": 137, "taskVersion": 6, "summary": KILLED,
        "stoppedAt": killed["stoppedAt"], "previousStoppedAt": None, "isCrashLoop": False,
    }
    assert found | expected == found
    assert everything.details()[by_hand["taskArn"]].items() >= {"code": "StoppedByUser", "notify": False}.items()
    until(lambda: found["chat"] in channel.all(), "the message in the channel")
    assert [message for message in channel.all() if killed["taskArn"] in str(message)] == [found["chat"]]
    shown = [*everything.all(), *channel.all(), *lines(deployed), *lines(deployed, "RecorderLogGroupName")]
    assert len(shown) > 5 and SECRET not in str(shown)


def test_the_sample_and_every_event_meet_the_schema(fleet, everything):
    schema = json.loads((PROJECT / "docs/task-stopped.schema.json").read_text())
    long = "<é\x1b" * 700
    huge = stop(long, startedBy=long, taskDefinitionArn=long)
    huge["containers"][0]["name"] = long
    unknown = stop(None, startedBy=None, taskDefinitionArn=None, text=None, code=NOT_STARTED, exit_code=None)
    put(fleet, everything, [huge, unknown], [huge, unknown])
    sample = json.loads((PROJECT / "events/notifications/task-stopped.json").read_text())["detail"]
    for detail in [sample, *everything.details().values()]:
        jsonschema.validate(detail, schema, format_checker=jsonschema.FormatChecker(["date-time"]))


def test_of_the_200_announcements_of_a_crash_loop_at_most_six_reach_the_channel(fleet, everything, channel):
    loop = [stop("service:loop", ago=15 * left + 1) for left in range(200, 0, -1)]
    put(fleet, everything, loop, loop)
    own = [event["detail"] for event in everything.all() if event["detail"]["group"] == "service:loop"]
    assert {detail["taskArn"] for detail in own} == {each["taskArn"] for each in loop} and len(own) == 200
    own.sort(key=lambda detail: detail["stoppedAt"])
    notifying = [detail["chat"] for detail in own if detail["notify"]]
    assert 1 <= len(notifying) <= 6 and own[0]["notify"] and own[-1]["isCrashLoop"]
    thread = f"{loop[0]['clusterArn']}/service:loop"
    in_channel = lambda: [each for each in channel.all() if each["metadata"]["threadId"] == thread]
    until(lambda: len(in_channel()) >= len(notifying), "the messages in the channel")
    assert sorted(in_channel(), key=str) == sorted(notifying, key=str)


def test_a_first_fleet_run_over_stopped_tasks_and_old_stops_announce_nothing(deployed, fleet, everything, environment):
    unseen = [fleet.stop(fleet.start("unseen"), "Task failed container health checks")[-1] for _ in range(5)]
    code, output, errors = ops("reconcile.py", STACK, "fleet", **environment)
    assert (code, output[-1], errors) == (0, "complete    true", [])
    old = [stop("service:old", ago=7200 + 60 * left) for left in range(50)]
    # Their events come later, and change nothing.
    put(fleet, everything, [*old, *unseen], [])
    wanted = {each["taskArn"]: "unseen" for each in unseen} | {each["taskArn"]: "old" for each in old}
    until(lambda: {arn: outcomes(deployed).get(arn) for arn in wanted} == wanted, "the notifier has counted them")
    assert wanted.keys() & everything.details().keys() == set()


def test_each_rule_of_the_page_gets_what_it_says_and_nothing_else(fleet, everything):
    # Who wants to know, and the detail of the pattern.
    rules = dict(re.findall(r"(?m)^\| (.+?) \| `(\{.*\})` \|$", NOTIFICATIONS))
    assert len(rules) == 10
    queues = [Inbox.of_rule(f"rule-{number}", json.loads(detail)) for number, detail in enumerate(rules.values())]
    [path] = set(re.findall(r"InputPath=(\$\.detail\.summary)'", NOTIFICATIONS))
    mail = Inbox.of_rule("mail", {"group": ["service:memory"]}, InputPath=path)
    # All in one window of six hours.
    now = datetime.now(timezone.utc)
    shift = 60 if now.hour % 6 == now.minute == 0 else 0
    not_started = lambda text: stop(f"service:{text.split()[0]}", code=NOT_STARTED, exit_code=None, text=text)
    # Each with a service of its own, so that it is the first of its kind.
    stops = {
        "memory": stop("service:memory", exit_code=137, reason=OUT_OF_MEMORY),
        "production": stop("service:shop", cluster="production"),
        "payments": stop("service:payments-api"),
        "denied": not_started("ResourceInitializationError: unable to pull secrets or registry auth: unable to retrieve "
                              "secret from asm: AccessDeniedException: not authorized"),
        "image": not_started("CannotPullContainerError: failed to resolve reference: example.com/web:9: not found"),
        "capacity": not_started("Capacity is unavailable at this time. Please try again later."),
        "spot": stop("service:spot", code="SpotInterruption", text="Your Spot Task was interrupted.", exit_code=143),
        "deployment": stop("service:deployed", code="ServiceSchedulerInitiated", exit_code=143,
                           text="Scaling activity initiated by (deployment ecs-svc/1)"),
        "job finished": stop("family:report", exit_code=0),
        **{f"job {number}": stop("family:report", ago=shift + 3 - number) for number in (1, 2)},
        **{f"loop {number}": stop("service:crashing", ago=shift + 10 - number) for number in (1, 2, 3)},
    }
    # Of what the loop and the job repeat, the first and the third notify.
    application = {"memory", "production", "payments", "job 1", "loop 1", "loop 3"}
    wanted = [
        {"memory"}, application, {"capacity"}, {"denied"}, {"denied", "image"}, {"production"}, {"payments"}, {"loop 3"},
        {"job 1", "job 2"}, stops.keys() - {"deployment", "job finished"},
    ]
    put(fleet, everything, stops.values(), stops.values())
    names = {each["taskArn"]: name for name, each in stops.items()}
    found = [{names[arn] for arn in queue.details() if arn in names} for queue in queues]
    assert dict(zip(rules, found)) == dict(zip(rules, wanted, strict=True))
    assert mail.all() == [KILLED]


@pytest.fixture
def line(deployed):
    """The line `notifier` of make smoke."""
    def line():
        checks = smoke.Smoke(STACK, ops_stack.outputs(STACK), patience=20)
        try:
            checks.invocation()
            return checks.notifier()
        finally:
            checks.clean_up()
    return line


def test_smoke_is_green_once_the_notifier_has_counted_a_stop_of_long_ago(line):
    assert line() == "counted the fictional task's stop as old"


@pytest.mark.parametrize("change, says", [
    ({"Enabled": False}, "run `aws lambda update-event-source-mapping --uuid "),
    ({"FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["REMOVE"]}'}]}}, "must have the template's FilterCriteria"),
], ids=["disabled", "filter"])
def test_smoke_is_red_if_the_mapping_is_not_the_templates(deployed, line, change, says):
    client = boto3.client("lambda")
    [mapping] = client.list_event_source_mappings(FunctionName=deployed["NotifierName"])["EventSourceMappings"]
    client.update_event_source_mapping(UUID=mapping["UUID"], **change)
    try:
        with pytest.raises(smoke.Broken, match=says):
            line()
    finally:
        client.update_event_source_mapping(
            UUID=mapping["UUID"], Enabled=True, FilterCriteria=mapping["FilterCriteria"])


def test_smoke_is_red_if_nobody_may_publish_or_the_notifier_does_not_answer(line, monkeypatch):
    sns, topic = boto3.client("sns"), ops_stack.outputs(STACK)["NotificationTopicArn"]
    policy = sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
    nobody = policy.replace("events.amazonaws.com", "s3.amazonaws.com")
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=nobody)
    try:
        with pytest.raises(smoke.Broken, match=f"EventBridge may not publish to {topic}"):
            line()
    finally:
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    monkeypatch.setattr(smoke, "SAMPLE", PROJECT / "events/fargate-task-running.json")
    with pytest.raises(smoke.Broken, match="counted no stop of the fictional task within 20 s"):
        line()


def test_what_the_emulator_ignores_is_in_the_template():
    template = deployment.template(TEMPLATE, lacks={})
    for path in deployment.IGNORED:
        deployment.change(template, path.split("."), None)
