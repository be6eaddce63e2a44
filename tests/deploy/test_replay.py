"""make replay: what it replays and when, what it refuses, and that the runbooks' look-back finds every lost event."""

import json
import re
import signal
import subprocess
import time
from datetime import datetime, timedelta, timezone

import boto3
import pytest
from moto.events.models import Replay, ReplayState, events_backends

from .aws import ACCOUNT, PROJECT, REGION
from .ops import command, ops, rows
from .test_redrive import TASK, event
from .test_smoke import deployed  # noqa: F401, a fixture
from .test_template import OPERATIONS, section, table

NOW = None


@pytest.fixture(autouse=True)
def now():
    global NOW
    NOW = datetime.now(timezone.utc).replace(microsecond=0)


def text(at):
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def ago(**time):
    return text(NOW - timedelta(**time))


@pytest.fixture
def archive(stack, deployed, monkeypatch):  # noqa: F811
    """The archive, a month old. moto replays all of it; EventBridge selects by the events' own time."""
    [archive] = events_backends[ACCOUNT][REGION].archives.values()
    archive.creation_time = (NOW - timedelta(days=30)).timestamp()
    replay_events = Replay.replay_events

    def of_its_time(replay, archive):
        given = (replay.event_start_time, replay.event_end_time)
        start, end = (text(datetime.fromtimestamp(at, timezone.utc)) for at in given)
        events, archive.events = archive.events, [each for each in archive.events if start <= each["time"] < end]
        try:
            replay_events(replay, archive)
        finally:
            archive.events = events

    monkeypatch.setattr(Replay, "replay_events", of_its_time)
    return archive


def replays():
    return list(events_backends[ACCOUNT][REGION].replays.values())


def replay(aws, start, end, *more):
    return ops("replay.py", "recorder", "--from", start, "--to", end, *more, **aws.environment())


def recorded():
    return {arn.rsplit("/", 1)[1] for arn in rows()}


@pytest.mark.parametrize("row, lost", [
    # EventBridge gives up after 24 hours; Lambda, which gets it then, 6 hours later.
    ("EventBridgeLostEvents", timedelta(hours=24)), ("LambdaLostEvents", timedelta(hours=30)),
])
def test_the_runbooks_look_back_finds_events_that_were_given_up_on_after_all_retries(aws, stack, archive, row, lost):
    alarm = NOW - timedelta(hours=2)
    archive.events.append(json.loads(event("lost", time=text(alarm - lost + timedelta(seconds=1)))))
    [hours] = re.findall(rf"`{row}`: (\d+) hours", section(OPERATIONS, "### Lost events"))
    assert replay(aws, text(alarm), text(alarm + timedelta(minutes=10)))[0] == 0
    # The time of the alarm has none of them.
    assert recorded() == set()
    assert replay(aws, text(alarm - timedelta(hours=int(hours))), text(alarm + timedelta(minutes=10)))[0] == 0
    assert recorded() == {"lost"}


def test_it_replays_an_hour_after_the_other_and_says_first_how_much(aws, stack, archive):
    archive.events += [json.loads(event(hours, time=ago(hours=hours))) for hours in range(1, 13)]
    code, lines, errors = replay(aws, ago(hours=4), ago(minutes=90))
    assert (code, errors) == (0, [])
    assert lines[:3] == [
        f"{ago(hours=4)} to {ago(minutes=90)}: 3 slices of an hour, one after the other",
        "about 0 events, if the archive's hours are alike; its count can be a day old",
        "about $0.00 at the list prices of us-east-1",
    ]
    assert [re.sub("the last at .*", "…", line) for line in lines[3:]] == [
        f"1 of 3: {ago(hours=4)} to {ago(hours=3)} replayed; at this pace, …",
        f"2 of 3: {ago(hours=3)} to {ago(hours=2)} replayed; at this pace, …",
        f"3 of 3: {ago(hours=2)} to {ago(minutes=90)} replayed; at this pace, …",
        "replayed; events are in the tables once the recorder has caught up",
    ]
    assert recorded() == {"4", "3", "2"}
    # Only to the recorder's rule, and under a new name each time.
    assert all(each.destination["FilterArns"] == [stack.outputs["RuleArn"]] for each in replays())
    assert replay(aws, ago(hours=4), ago(minutes=90))[0] == 0
    assert len(replays()) == 6


def test_a_dry_run_counts_and_replays_nothing(aws, stack, archive):
    archive.events += [json.loads(event(1))] * 14_000
    code, lines, errors = replay(aws, ago(days=7), ago(days=6), "--dry-run")
    assert (code, errors, replays()) == (0, [], [])
    assert lines == [
        f"{ago(days=7)} to {ago(days=6)}: 24 slices of an hour, one after the other",
        # A fourteenth, since the archive keeps 14 days.
        "about 1,000 events, if the archive's hours are alike; its count can be a day old",
        "about $0.00 at the list prices of us-east-1",
    ]


def test_the_price_is_the_pages(stack):
    prices = [line.split("|") for line in table(OPERATIONS, "## Replay")]
    [total] = [float(row[-2].strip("* $")) for row in prices if "total" in row[1]]
    items = [float(row[-2].strip(" $")) for row in prices if "total" not in row[1]]
    [dollars] = re.findall(r"^DOLLARS = ([0-9.]+)$", (PROJECT / "ops/replay.py").read_text(), re.MULTILINE)
    assert float(dollars) == total == pytest.approx(sum(items), abs=0.005)


def later(line):
    """The first time in a line, which moves on with the clock."""
    return re.sub(r"\d{4}-\S+Z (or later|at the latest)", r"… \1", line)


def test_an_interval_that_would_miss_events_is_refused(aws, stack, archive):
    a_time = "must be a time with its zone, such as 2026-03-01T00:00:00Z, found"
    for start, end, error in [
        (ago(hours=3), ago(minutes=5), "TO must be at least ten minutes ago, since events take that long to reach the "
         f"archive: … at the latest, found {ago(minutes=5)}"),
        (ago(hours=3), ago(hours=3), f"FROM must be before TO, found {ago(hours=3)} and {ago(hours=3)}"),
        (ago(days=15), ago(hours=3), f"FROM must be … or later, found {ago(days=15)}: the archive keeps 14 days"),
        ("yesterday", ago(hours=3), f"FROM {a_time} 'yesterday'"),
        (ago(hours=3), "2026-03-01T00:00", f"TO {a_time} '2026-03-01T00:00'"),
        ("", "", f"FROM {a_time} ''"),
    ]:
        code, lines, [found] = replay(aws, start, end)
        assert (code, lines, later(found), replays()) == (1, [], f"error: {error}", [])
        # The time that it names is accepted.
        if "or later" in found:
            [first] = re.findall(r"must be (\S+) or later", found)
            assert replay(aws, first, end, "--dry-run")[0] == 0


def test_a_stack_that_cannot_be_replayed_is_refused(aws, stack, archive):
    rule = stack.names["RecorderStateChanges"]
    boto3.client("events").disable_rule(Name=rule)
    assert replay(aws, ago(hours=3), ago(hours=2)) == (1, [], [
        f"error: {rule} is DISABLED, so replayed events would reach nobody: run `aws events enable-rule --name {rule} "
        "--event-bus-name default` first"])
    archive.creation_time = (NOW - timedelta(hours=1)).timestamp()
    assert replay(aws, ago(hours=3), ago(minutes=30))[2] == [
        f"error: FROM must be {ago(seconds=3599)} or later, found {ago(hours=3)}: the archive began then"]


def test_events_that_could_recreate_expired_rows_are_not_replayed_and_without_an_archive_nothing_is(aws, stack, archive):
    update = lambda **parameters: boto3.client("cloudformation").update_stack(
        StackName="recorder", UsePreviousTemplate=True,
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()])
    update(RetentionDays="3")
    [error] = replay(aws, ago(days=4), ago(hours=3))[2]
    assert later(error) == (f"error: FROM must be … or later, found {ago(days=4)}: older events could recreate rows that "
                            "have expired (RetentionDays=3)")
    update(ArchiveDays="0")
    assert replay(aws, ago(days=1), ago(hours=3)) == (1, [], [
        "error: the stack has no archive (ArchiveDays=0), so there is nothing to replay; `make reconcile SCOPE=fleet` "
        "updates the rows of what ECS still has"])


def events_wait(stack, seconds, at):
    boto3.client("cloudwatch").put_metric_data(Namespace="AWS/Lambda", MetricData=[{
        "MetricName": "AsyncEventAge", "Value": seconds * 1000, "Timestamp": at,
        "Dimensions": [{"Name": "FunctionName", "Value": stack.outputs["RecorderName"]}]}])


def started(aws, start, end):
    return subprocess.Popen(command("replay.py", "recorder", "--from", start, "--to", end), env=aws.environment(),
                            cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_it_waits_while_events_wait_longer_than_a_minute(aws, stack, archive):
    now = datetime.now(timezone.utc)
    events_wait(stack, 61, now - timedelta(minutes=3))
    program = started(aws, ago(hours=3), ago(hours=2))
    for line in program.stdout:
        if "$" in line:
            break
    asked = len(replays())
    events_wait(stack, 59, now - timedelta(minutes=1))
    output, errors = program.communicate(timeout=60)
    assert (asked, len(replays()), program.returncode, errors) == (0, 1, 0, "")


def test_ctrl_c_cancels_the_running_slice_and_says_how_to_go_on(aws, stack, archive, monkeypatch):
    # The second one never gets further than its start.
    whole = Replay.replay_events
    monkeypatch.setattr(Replay, "replay_events", lambda replay, archive: len(replays()) < 2 and whole(replay, archive))
    program = started(aws, ago(hours=4), ago(hours=1))
    deadline = time.monotonic() + 60
    while len(replays()) < 2:
        assert time.monotonic() < deadline and program.poll() is None, "there is no second replay"
        time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 1 and errors.splitlines() == [
        f"to replay the rest: make replay FROM={ago(hours=3)} TO={ago(hours=1)}",
        "interrupted: the running slice is cancelled",
    ]
    assert [each.state for each in replays()] == [ReplayState.COMPLETED, ReplayState.CANCELLED]


def test_a_slice_that_fails_stops_it_and_says_how_to_go_on(aws, stack, archive, monkeypatch):
    monkeypatch.setattr(Replay, "replay_events", lambda replay, archive: setattr(replay, "state", ReplayState.FAILED))
    code, _, [rest, error] = replay(aws, ago(hours=4), ago(hours=2))
    assert code == 1 and rest == f"to replay the rest: make replay FROM={ago(hours=4)} TO={ago(hours=2)}"
    assert re.fullmatch(r"error: the replay replay-\S+-1 is FAILED: no reason given", error)


def test_make_passes_the_interval_on():
    shown = subprocess.run(["make", "--dry-run", "replay", "FROM=a", "TO=b", "DRY_RUN=1"], cwd=PROJECT,
                           capture_output=True, text=True).stdout
    assert "replay.py 'ecs-state-recorder' --from 'a' --to 'b' --dry-run" in shown
