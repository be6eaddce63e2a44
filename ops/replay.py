"""Replays archived events to the recorder: those whose own time is at or after FROM and before TO, hour by hour. Safe at
any time: an older state never replaces a newer one."""

import argparse
import sys
import time
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from math import ceil
from uuid import uuid4

import boto3
from botocore.exceptions import ClientError

import stack
from reconcile import progress

# One replay each, so that the recorder can catch up in between, and that an interrupted one loses little.
SLICE = timedelta(hours=1)
# AWS: an event takes up to ten minutes to reach the archive.
ARCHIVE_DELAY = timedelta(minutes=10)
# How long events may wait in Lambda's queue before the next slice.
BACKLOG_SECONDS = 60
# CloudWatch has a metric within minutes. Without one for longer, the recorder gets no events.
NO_DATA_SECONDS = 600
# For a million events: docs/operations.md, Replay.
DOLLARS = 2.97
POLL_SECONDS = 5


def text(at):
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def parsed(name, given):
    try:
        at = datetime.fromisoformat(given.replace("Z", "+00:00"))
    except ValueError:
        at = None
    if not at or not at.tzinfo:
        sys.exit(f"error: {name} must be a time with its zone, such as 2026-03-01T00:00:00Z, found {given!r}")
    return at.astimezone(timezone.utc)


def described_rule(outputs):
    """The rule as EventBridge describes it, and how to enable it."""
    *_, bus, name = ["default", *outputs["RuleArn"].split("rule/")[1].split("/")]
    rule = boto3.client("events").describe_rule(Name=name, EventBusName=bus)
    return rule | {"EventBusName": bus}, f"`aws events enable-rule --name {name} --event-bus-name {bus}`"


def replay(outputs, name, start, end, seconds=float("inf")):
    """Replays an interval, and returns the replay as EventBridge describes it, or None if it takes longer. Ctrl-C
    cancels it."""
    events, ends = boto3.client("events"), time.monotonic() + seconds
    try:
        events.start_replay(
            ReplayName=name, EventSourceArn=outputs["ArchiveArn"], EventStartTime=start, EventEndTime=end,
            Destination={"Arn": outputs["EventBusArn"], "FilterArns": [outputs["RuleArn"]]},
        )
        with progress(f"replaying {text(start)} to {text(end)}"):
            while (found := events.describe_replay(ReplayName=name))["State"] not in ("COMPLETED", "CANCELLED", "FAILED"):
                if time.monotonic() > ends:
                    return None
                time.sleep(POLL_SECONDS)
        return found
    except KeyboardInterrupt:
        # It may not have begun.
        with suppress(ClientError):
            events.cancel_replay(ReplayName=name)
        raise


def backlog(outputs, replayed_since):
    """How many seconds events have lately waited in Lambda's queue, on average: the maximum would also rise if a single
    event fails and is retried. None if events were replayed, and CloudWatch has no data since then."""
    now = datetime.now(timezone.utc)
    points = boto3.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda", MetricName="AsyncEventAge", Statistics=["Average"], Period=60,
        Dimensions=[{"Name": "FunctionName", "Value": outputs["RecorderName"]}],
        StartTime=replayed_since or now - timedelta(minutes=5), EndTime=now + timedelta(minutes=1),
    )["Datapoints"]
    if not points:
        return None if replayed_since else 0
    return max(points, key=lambda point: point["Timestamp"])["Average"] / 1000


def catch_up(outputs, replayed_since):
    """Waits until events wait for less than a minute in Lambda's queue."""
    ends = time.monotonic() + NO_DATA_SECONDS
    with progress("waiting until the recorder has caught up"):
        while (seconds := backlog(outputs, replayed_since)) is None or seconds > BACKLOG_SECONDS:
            if seconds is None and time.monotonic() > ends:
                sys.exit(f"error: {outputs['RecorderName']} got none of the last slice's events within "
                         f"{NO_DATA_SECONDS // 60} minutes (Lambda's metric AsyncEventAge has no data): find out why with "
                         "`make smoke REPLAY=0`, and look at the alarm Throttles")
            time.sleep(POLL_SECONDS)


def check(outputs, start, end):
    """Exits if the interval can't be replayed. Returns about how many events it has, by the archive's own count."""
    now = datetime.now(timezone.utc)
    if start >= end:
        sys.exit(f"error: FROM must be before TO, found {text(start)} and {text(end)}")
    if end > now - ARCHIVE_DELAY:
        sys.exit(f"error: TO must be at least ten minutes ago, since events take that long to reach the archive: "
                 f"{text(now - ARCHIVE_DELAY)} at the latest, found {text(end)}")
    if "ArchiveArn" not in outputs:
        sys.exit("error: the stack has no archive (ArchiveDays=0), so there is nothing to replay; "
                 "`make reconcile SCOPE=fleet` updates the rows of what ECS still has")
    archive = boto3.client("events").describe_archive(ArchiveName=outputs["ArchiveArn"].split("/")[1])
    began, days = archive["CreationTime"].astimezone(timezone.utc), int(outputs["RetentionDays"])
    limits = [(began, "the archive began then")]
    if archive.get("RetentionDays"):
        limits.append((now - timedelta(days=archive["RetentionDays"]), f"the archive keeps {archive['RetentionDays']} days"))
    first = max(limits)[0]
    if days:
        limits.append((now - timedelta(days=days),
                       f"older events could recreate rows that have expired (RetentionDays={days})"))
    earliest, why = max(limits)
    if start < earliest:
        # All limits but the first move on while you read this.
        earliest += timedelta(seconds=1) if earliest == began else ARCHIVE_DELAY
        sys.exit(f"error: FROM must be {text(earliest)} or later, found {text(start)}: {why}")
    rule, enable = described_rule(outputs)
    if rule["State"] != "ENABLED":
        sys.exit(f"error: {rule['Name']} is {rule['State']}, so replayed events would reach nobody: run {enable} first")
    return round(archive["EventCount"] * (end - start) / (now - first))


def run(outputs, start, end):
    """Replays all slices. Whatever stops it, the last line says how to go on."""
    began, name = datetime.now(timezone.utc), f"replay-{datetime.now(timezone.utc):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}"
    at, slices, replayed_since = start, ceil((end - start) / SLICE), None
    try:
        for number in range(1, slices + 1):
            catch_up(outputs, replayed_since)
            until, started = min(at + SLICE, end), datetime.now(timezone.utc)
            found = replay(outputs, f"{name}-{number}", at, until)
            if found["State"] != "COMPLETED":
                sys.exit(f"error: the replay {name}-{number} is {found['State']}: "
                         f"{found.get('StateReason', 'no reason given')}")
            # An hour without events leaves nothing to catch up with.
            replayed_since = started if "EventLastReplayedTime" in found else None
            done = began + (datetime.now(timezone.utc) - began) / number * slices
            print(f"{number} of {slices}: {text(at)} to {text(until)} replayed; at this pace, the last at {text(done)}",
                  flush=True)
            at = until
    except KeyboardInterrupt:
        stack.interrupted("the running slice, if any, is being cancelled")
    finally:
        if at < end:
            print(f"to replay the rest: make replay FROM={text(at)} TO={text(end)}", file=sys.stderr)
    print("replayed; events are in the tables once the recorder has caught up")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("stack")
    arguments.add_argument("--from", dest="start", default="", help="the first event's own time: FROM=2026-03-01T00:00:00Z")
    arguments.add_argument("--to", dest="end", default="", help="the time at which to stop: TO=2026-03-02T06:00:00Z")
    arguments.add_argument("--dry-run", action="store_true", help="only show what would be replayed (DRY_RUN=1)")
    arguments = arguments.parse_args()
    start, end = parsed("FROM", arguments.start), parsed("TO", arguments.end)
    with stack.one_line_errors():
        outputs = stack.outputs(arguments.stack)
        events = check(outputs, start, end)
        print(f"{text(start)} to {text(end)}: {ceil((end - start) / SLICE)} slices of an hour, one after the other")
        print(f"about {events:,} events, if the archive's hours are alike; its count can be a day old")
        print(f"about ${events * DOLLARS / 1e6:,.2f} at the list prices of us-east-1", flush=True)
        if not arguments.dry_run:
            run(outputs, start, end)
