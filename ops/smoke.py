"""Checks a deployed stack, link by link: one line for each, with what to do if it is broken.

Read-only, except for three invocations with a fictional task, whose row it removes, and a replay of events that the
tables already have."""

import argparse
import base64
import hashlib
import json
import re
import sys
import time
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from uuid import uuid4

import boto3
import yaml
from botocore.exceptions import BotoCoreError, ClientError

import stack
from key_policy import allowing, as_list
from preflight import Loader
from reconcile import progress
from replay import ARCHIVE_DELAY, described_rule, replay

PROJECT = Path(__file__).parents[1]
SAMPLE = PROJECT / "events/fargate-task-stopped.json"
DETAIL_TYPES = ("ECS Task State Change", "ECS Container Instance State Change")
# Of the fictional task. No real cluster should have this name.
CLUSTER = "ecs-state-recorder-smoke"
REPLAYED, REPLAY_MINUTES = timedelta(hours=1), 15
POLL_SECONDS = 2


class Broken(Exception):
    """What is wrong with a link, and what to do."""


class NotThere(Exception):
    """Why there is nothing to check."""


def allows(policy, service, action, source):
    """Whether a resource's policy lets a service act for a source, such as a rule. Only conditions on the source are
    evaluated."""
    for statement in allowing(json.loads(policy), action):
        principal, condition = statement.get("Principal", {}), statement.get("Condition", {})
        sources = [
            pattern
            for operator in ("ArnLike", "ArnEquals", "StringEquals", "StringLike")
            for key, patterns in condition.get(operator, {}).items()
            if key.lower() == "aws:sourcearn"
            for pattern in as_list(patterns)
        ]
        if (
            service in as_list(principal.get("Service", []) if isinstance(principal, dict) else principal)
            and (not sources or any(fnmatchcase(source, each) for each in sources))
        ):
            return True
    return False


def poll(look, seconds, what):
    """Looks until something is found, or the time is up."""
    ends = time.monotonic() + seconds
    with progress(what):
        while not (found := look()) and time.monotonic() < ends:
            time.sleep(POLL_SECONDS)
    return found


class Smoke:
    def __init__(self, name, outputs, patience, package=None):
        self.name, self.outputs, self.patience, self.package = name, outputs, patience, package
        _, self.partition, _, self.region, self.account, _ = outputs["RuleArn"].split(":")
        self.task = f"arn:{self.partition}:ecs:{self.region}:{self.account}:task/{CLUSTER}/{uuid4().hex}"
        self.notifies = outputs.get("Notify") == "true"
        self.began = datetime.now(timezone.utc)
        # What the checks so far have found.
        self.events, self.outcome, self.stored, self.archived = [], None, False, False

    def client(self, service):
        return boto3.client(service)

    # ---- What is deployed ----

    def version(self):
        """The functions have this folder's version, and are those of the package, if one is given."""
        version = re.search(r"^  Version: (.+)$", (PROJECT / "template.yaml").read_text(), re.MULTILINE)[1]
        for output in ("RecorderName", "ReconcilerName", *(["NotifierName"] if self.notifies else [])):
            function = self.outputs.get(output)
            if not function:
                raise Broken(f"the stack has no output {output}, so an earlier version deployed it: run `make deploy`")
            configuration = self.client("lambda").get_function_configuration(FunctionName=function)
            found = configuration.get("Description", "")
            if found.split()[-1:] != [version]:
                raise Broken(f"{function} must have this folder's version {version}, found {found!r}: run `make deploy`")
            if self.package:
                zipped = self.package / f"{output.removesuffix('Name').lower()}.zip"
                digest = base64.b64encode(hashlib.sha256(zipped.read_bytes()).digest()).decode()
                if configuration["CodeSha256"] != digest:
                    raise Broken(f"{function} is not {zipped}: run `make deploy PACKAGE={self.package}`")
        return version + (f", the functions as in {self.package}" if self.package else "")

    def tables(self):
        for output, key in stack.KEYS.items():
            table = self.outputs[output]
            try:
                found = self.client("dynamodb").describe_table(TableName=table)["Table"]
            except self.client("dynamodb").exceptions.ResourceNotFoundException:
                raise Broken(f"there is no table {table}: restore it (docs/operations.md, Restore a table), or, if it "
                             "held nothing, delete the stack and deploy it again") from None
            if found["KeySchema"] != [{"AttributeName": key, "KeyType": "HASH"}]:
                raise Broken(f"the key of the table {table} must be {key} alone: name the right table in {output}")
        return " and ".join(self.outputs[output] for output in stack.KEYS)

    # ---- From ECS to the recorder ----

    @cached_property
    def described_rule(self):
        return described_rule(self.outputs)

    def rule(self):
        rule, enable = self.described_rule
        bus = rule["EventBusName"]
        if rule["State"] != "ENABLED":
            raise Broken(f"{rule['Name']} is {rule['State']}, so nothing arrives: run {enable}, then `make replay` the "
                         "time since it was disabled (docs/operations.md, Drift)")
        targets = self.client("events").list_targets_by_rule(Rule=rule["Name"], EventBusName=bus)["Targets"]
        ours = [target for target in targets if target["Arn"].split(":")[-1] == self.outputs["RecorderName"]]
        if not ours:
            raise Broken(f"{rule['Name']} has no target {self.outputs['RecorderName']}: run `make deploy`")
        if "DeadLetterConfig" not in ours[0]:
            raise Broken(f"the target of {rule['Name']} has no dead-letter queue, so events can be lost: run `make deploy`")
        return f"enabled on the bus {bus}"

    def pattern(self):
        """EventBridge's own matcher, with every sample event."""
        pattern = self.described_rule[0]["EventPattern"]
        clusters = [arn for arn in self.outputs.get("ClusterArns", "").split(",") if arn]
        wrong = []
        paths = sorted((PROJECT / "events").rglob("*.json"))
        for path in paths:
            event = json.loads(path.read_text())
            ours = event["source"] == "aws.ecs" and event["detail-type"] in DETAIL_TYPES
            if clusters:
                event["detail"]["clusterArn"] = clusters[0]
            answer = self.client("events").test_event_pattern(EventPattern=pattern, Event=json.dumps(event))
            if answer["Result"] != ours:
                wrong.append(f"{path.relative_to(PROJECT)} {'does not match' if ours else 'matches'}")
        if wrong:
            raise Broken(f"the rule's pattern is not the template's ({', '.join(wrong)}): run `make deploy`, which resets "
                         "it only if the template has changed; otherwise correct it by hand")
        return f"right for all {len(paths)} sample events"

    def permission(self):
        function = self.outputs["RecorderName"]
        try:
            policy = self.client("lambda").get_policy(FunctionName=function)["Policy"]
        except self.client("lambda").exceptions.ResourceNotFoundException:
            policy = "{}"
        if not allows(policy, "events.amazonaws.com", "lambda:InvokeFunction", self.outputs["RuleArn"]):
            raise Broken(f"EventBridge may not invoke {function}, so all events go to the dead-letter queue: run `aws "
                         f"lambda add-permission --function-name {function} --statement-id rule --action "
                         f"lambda:InvokeFunction --principal events.amazonaws.com --source-arn "
                         f"{self.outputs['RuleArn']}`, then `make redrive`")
        return "the rule may invoke the recorder"

    # ---- From the recorder to the row ----

    def event(self, version):
        event = json.loads(SAMPLE.read_text())
        event |= {
            "id": str(uuid4()), "account": self.account, "region": self.region, "resources": [self.task],
            # Now, so that the lag metric sees no old event.
            "time": f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
        }
        cluster = self.task.replace(":task/", ":cluster/").rpartition("/")[0]
        event["detail"] |= {"taskArn": self.task, "clusterArn": cluster, "version": version}
        return event

    def invoke(self, version):
        event = self.event(version)
        self.events.append(event["id"])
        answer = self.client("lambda").invoke(FunctionName=self.outputs["RecorderName"], Payload=json.dumps(event))
        body = json.load(answer["Payload"])
        outcome = body.get("outcome") or body.get("errorType", "")
        # Lambda's own errors, such as Sandbox.Timedout, have no line of the recorder.
        self.outcome = outcome if outcome.isalpha() else None
        if "FunctionError" in answer:
            raise Broken(f"the recorder fails: {body.get('errorType', answer['FunctionError'])}: "
                         f"{body.get('errorMessage', 'no message')} (docs/reference.md, Errors)")
        return body

    def row(self):
        return self.client("dynamodb").get_item(
            TableName=self.outputs["TaskTableName"], Key={"taskArn": {"S": self.task}}, ConsistentRead=True
        ).get("Item", {})

    def expect(self, version, outcome, stored):
        answer = self.invoke(version)
        if answer["outcome"] != outcome or answer["arn"] != self.task:
            raise Broken(f"the answer to version {version} must be {outcome}, found {answer['outcome']}: does another "
                         "function write to this table?")
        found = self.row().get("version", {}).get("N")
        if found != str(stored):
            raise Broken(f"after version {version}, the row must have version {stored}, found {found or 'no row'}: does "
                         f"the recorder write to {self.outputs['TaskTableName']}?")

    def invocation(self):
        self.expect(2, "stored", 2)
        self.stored = True
        return f"stored, and the row is in {self.outputs['TaskTableName']}"

    def order(self):
        if not self.stored:
            raise NotThere("no row was stored")
        self.expect(1, "stale", 2)
        self.expect(2, "duplicate", 2)
        return "an older state is stale, the same one a duplicate, and the row is as it was"

    def clean_up(self):
        dynamodb = self.client("dynamodb")
        if self.events:
            with suppress(dynamodb.exceptions.ResourceNotFoundException):
                dynamodb.delete_item(TableName=self.outputs["TaskTableName"], Key={"taskArn": {"S": self.task}})

    # ---- Observability ----

    def lines(self, text, log="RecorderLogGroupName"):
        """A function's log lines since the start with this text."""
        pages = self.client("logs").get_paginator("filter_log_events").paginate(
            logGroupName=self.outputs[log], filterPattern=f'"{text}"',
            startTime=int((self.began - timedelta(minutes=1)).timestamp() * 1000),
        )
        return [event["message"] for page in pages for event in page["events"]]

    def log(self):
        group = self.outputs["RecorderLogGroupName"]
        found = self.client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
        if group not in [each["logGroupName"] for each in found]:
            raise Broken(f"there is no log group {group}, so there are no metrics and most alarms are blind: create one "
                         "with this name, and with the metric filters of the template")
        if not self.outcome:
            raise NotThere("the recorder gave no answer of its own")
        if not poll(lambda: self.lines(self.events[0]), self.patience, "waiting for the log line"):
            raise Broken(f"no line of the invocation arrived in {group} within {self.patience} s: may the recorder's "
                         "role write it (logs:CreateLogStream, logs:PutLogEvents)?")
        return f"the invocation's line is in {group}"

    def metric(self):
        if not self.outcome:
            raise NotThere("the recorder gave no answer of its own")

        def counted():
            points = self.client("cloudwatch").get_metric_statistics(
                Namespace=f"ecs-state-recorder/{self.name}", MetricName="Invocations",
                Dimensions=[{"Name": "outcome", "Value": self.outcome}], Statistics=["Sum"], Period=60,
                StartTime=self.began - timedelta(minutes=1), EndTime=datetime.now(timezone.utc) + timedelta(minutes=1),
            )["Datapoints"]
            return sum(point["Sum"] for point in points)

        if not poll(counted, self.patience, "waiting for the metric"):
            raise Broken(f"the metric Invocations did not count {self.outcome} within {self.patience} s: compare the "
                         "log group's metric filters with the template")
        return "the log's line is counted"

    # ---- From the row to the announcement ----

    def notifier(self):
        """The fictional task stopped long ago, so the notifier counts it and announces nothing."""
        if not self.notifies:
            raise NotThere("Notify is false")
        self.expect_mapping()
        if topic := self.outputs.get("NotificationTopicArn"):
            policy = self.topic_policy(topic, "NotificationTopicArn", "announcements may reach nobody")
            if not allows(policy, "events.amazonaws.com", "sns:Publish", self.outputs["NotificationRuleArn"]):
                raise Broken(f"EventBridge may not publish to {topic}, so announcements reach nobody: allow "
                             "events.amazonaws.com to sns:Publish in its policy (docs/notifications.md)")
        if not self.stored:
            raise NotThere("no row was stored")
        found = poll(lambda: self.lines(self.task, "NotifierLogGroupName"), self.patience, "waiting for the notifier")
        if not found:
            raise Broken(f"the notifier counted no stop of the fictional task within {self.patience} s: look for errors in "
                         f"{self.outputs['NotifierLogGroupName']}, and compare its role with the template")
        outcome = json.loads(found[0]).get("outcome")
        if outcome != "old":
            raise Broken(f"the notifier must count the fictional task's stop as old, found {outcome}")
        return "counted the fictional task's stop as old"

    def expect_mapping(self):
        function, table = self.outputs["NotifierName"], self.outputs["TaskTableName"]
        stream = self.client("dynamodb").describe_table(TableName=table)["Table"].get("LatestStreamArn")
        if not stream:
            raise Broken(f"the table {table} has no stream, so nothing is announced: switch it on (docs/operations.md, "
                         "Restore a table), then repeat this")
        mappings = self.client("lambda").list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
        ours = [each for each in mappings if each["EventSourceArn"] == stream]
        if not ours:
            raise Broken(f"{function} does not read the stream of {table}, so nothing is announced: run `make deploy "
                         f"PARAMETERS='TaskStreamArn={stream}'`")
        if ours[0]["State"] in ("Disabled", "Disabling"):
            raise Broken(f"the mapping of {function} is {ours[0]['State']}, so nothing is announced: run `aws lambda "
                         f"update-event-source-mapping --uuid {ours[0]['UUID']} --enabled`")
        template = yaml.load((PROJECT / "template.yaml").read_text(), Loader)
        for name in ("FilterCriteria", "FunctionResponseTypes"):
            if ours[0].get(name) != template["Resources"]["NotifierStream"]["Properties"][name]:
                raise Broken(f"the mapping of {function} must have the template's {name}, found {ours[0].get(name)}: "
                             "correct it by hand, since `make deploy` resets it only if the template has changed")

    # ---- What keeps lost events ----

    def queues(self):
        waiting = []
        for name, output in (("dead-letter queue", "DeadLetterQueueUrl"), ("failure queue", "FailureQueueUrl")):
            attributes = self.client("sqs").get_queue_attributes(
                QueueUrl=self.outputs[output], AttributeNames=["Policy", "QueueArn", "ApproximateNumberOfMessages"]
            )["Attributes"]
            if output == "DeadLetterQueueUrl" and not allows(
                attributes.get("Policy", "{}"), "events.amazonaws.com", "sqs:SendMessage", self.outputs["RuleArn"]
            ):
                raise Broken("the dead-letter queue's policy does not let EventBridge send, so events that can't be "
                             "delivered are lost: set the policy of the template's DeadLetterQueuePolicy again")
            if output == "FailureQueueUrl":
                self.expect_destination(attributes["QueueArn"])
            if int(attributes["ApproximateNumberOfMessages"]):
                waiting.append(f"{attributes['ApproximateNumberOfMessages']} wait in the {name}")
        return "both accept events" + (f"; {', '.join(waiting)}: see `make redrive DRY_RUN=1`" if waiting else "")

    def expect_destination(self, queue):
        function, lambda_ = self.outputs["RecorderName"], self.client("lambda")
        try:
            found = lambda_.get_function_event_invoke_config(FunctionName=function, Qualifier="$LATEST")
        except lambda_.exceptions.ResourceNotFoundException:
            found = {}
        if found.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination") != queue:
            raise Broken(f"events that {function} fails on do not go to the failure queue, so they are lost: run "
                         "`aws lambda put-function-event-invoke-config` with the settings of the template's EventInvokeConfig")

    def alarm_topic(self):
        topics = {topic: name for name in ("TicketTopicArn", "AlarmTopicArn") if (topic := self.outputs.get(name))}
        for topic, name in topics.items():
            self.topic_policy(topic, name, "alarms may notify nobody")
        if not self.outputs.get("AlarmTopicArn"):
            raise NotThere(f"AlarmTopicArn is empty, so {'pages' if topics else 'alarms'} notify nobody")
        return " and ".join(topics)

    def topic_policy(self, topic, parameter, consequence):
        try:
            return self.client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]
        except ClientError as error:
            owner = topic.split(":")[4]
            whose = "" if owner == self.account else f" of another account, {owner},"
            raise Broken(f"the topic {topic}{whose} can't be read ({stack.error_code(error)}), so {consequence}: deploy "
                         f"with the {parameter} of a topic in the stack's account and region") from None

    def archive(self):
        if not int(self.outputs["ArchiveDays"]):
            raise NotThere("ArchiveDays is 0")
        name = self.outputs["ArchiveArn"].split("/")[1]
        events = self.client("events")
        try:
            found = events.describe_archive(ArchiveName=name)
        except events.exceptions.ResourceNotFoundException:
            raise Broken(f"there is no archive {name}: run `make deploy PARAMETERS='ArchiveDays=0'`, then deploy with "
                         "ArchiveDays as before") from None
        if found["State"] not in ("ENABLED", "UPDATING"):
            raise Broken(f"the archive {name} is {found['State']} ({found.get('StateReason', 'no reason given')}), so no "
                         "event is kept: see docs/deploy.md, Encrypt with your own key")
        if found["EventSourceArn"] != self.outputs["EventBusArn"]:
            raise Broken(f"the archive {name} must be of the stack's bus, found {found['EventSourceArn']}")
        self.archived = True
        return f"keeps {found.get('RetentionDays')} days"

    def replay(self):
        """A replay exercises the whole path. Its events are duplicates by nature."""
        if not self.archived:
            raise NotThere("there is no archive")
        name, end = f"smoke-{self.began:%Y%m%dT%H%M%S}-{uuid4().hex[:8]}", self.began - ARCHIVE_DELAY
        found = replay(self.outputs, name, end - REPLAYED, end, REPLAY_MINUTES * 60)
        if not found:
            return f"{name} is still running after {REPLAY_MINUTES} minutes: see `aws events describe-replay`"
        if found["State"] != "COMPLETED":
            raise Broken(f"{name} is {found['State']}: {found.get('StateReason', 'no reason given')}")
        if not found.get("EventLastReplayedTime"):
            return "completed, without events: that hour had none"
        lines = poll(lambda: self.lines(name), self.patience, "waiting for the replayed events")
        if not lines:
            raise Broken(f"{name} is complete, but none of its events reached the recorder: look at the lines above, then "
                         "at the dead-letter queue")
        outcomes = {json.loads(line).get("outcome") for line in lines} - {None}
        if not outcomes <= {"stored", "stale", "duplicate"}:
            raise Broken(f"the recorder refused events of {name}: {', '.join(sorted(outcomes))} (docs/reference.md, "
                         "Errors)")
        return f"{len(lines)} events went from the archive through the rule to the recorder"


# In the order of an event's path, except for the replay, which covers all of it.
CHECKS = [
    "version", "tables", "rule", "pattern", "permission", "invocation", "order", "log", "metric", "notifier", "queues",
    "alarm_topic", "archive", "replay",
]
SHOWN = {"ok": ("✓", "32"), "broken": ("✗", "31"), "not there": ("-", "2")}


def say(kind, name, text):
    mark, color = SHOWN[kind]
    line = f"{mark} {name.replace('_', ' ')}: {text}"
    print(f"\x1b[{color}m{line}\x1b[0m" if sys.stdout.isatty() else line, flush=True)


def main(name, checks, patience, package):
    with stack.one_line_errors():
        identity = boto3.client("sts").get_caller_identity()
        outputs = stack.outputs(name)
        status = stack.existing(name)["StackStatus"]
    say("ok", "credentials", f"{identity['Account']} in {stack.region()}")
    healthy = status.endswith("_COMPLETE") and "ROLLBACK" not in status
    if healthy:
        say("ok", "stack", f"{name} is {status}")
    else:
        say("broken", "stack", f"{name} is {status}: see its events in CloudFormation; `make deploy` says what to do")
    smoke, broken, interrupted = Smoke(name, outputs, patience, package), not healthy, False
    try:
        for check in checks:
            try:
                say("ok", check, getattr(smoke, check)())
            except NotThere as reason:
                say("not there", check, f"not checked: {reason}")
            except Broken as problem:
                broken = True
                say("broken", check, problem)
            except (BotoCoreError, ClientError) as error:
                broken = True
                say("broken", check, f"AWS: {error}")
    except KeyboardInterrupt:
        interrupted = True
    finally:
        with stack.one_line_errors():
            smoke.clean_up()
    if interrupted:
        stack.interrupted("the fictional task's row is removed")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("stack")
    arguments.add_argument("--no-replay", action="store_true", help="do not replay an hour of the archive")
    arguments.add_argument("--patience", type=int, default=120, help="seconds to wait for the log and the metric (120)")
    arguments.add_argument("--package", type=Path, help="the package that must be deployed")
    arguments = arguments.parse_args()
    skipped = {"replay"} if arguments.no_replay else set()
    main(arguments.stack, [check for check in CHECKS if check not in skipped], arguments.patience, arguments.package)
