"""make replay: what it replays and when, what it refuses, and that the runbooks' look-back finds every lost event.

MiniStack's archive has no events of earlier hours, so a proxy notes each interval that is replayed, and answers for it."""

import re
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import boto3
import pytest

from deploy.ops import ops, start
from deploy.test_template import OPERATIONS, section, table

from .conftest import PROJECT, STACK, until
from .proxy import Proxy, older_archive

sys.path.insert(0, str(PROJECT / "ops"))
import replay as program  # noqa: E402


def text(at):
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def ago(**time):
    return text(NOW - timedelta(**time))


@pytest.fixture(autouse=True)
def now():
    global NOW
    NOW = datetime.now(timezone.utc).replace(microsecond=0)


class Archive:
    """An archive, and EventBridge's answers about it."""

    def __init__(self):
        self.days, self.events = 30, 0
        # The calls of StartReplay and CancelReplay; and each replay's state, the last one of the others, too.
        self.started, self.cancelled, self.states = [], [], ["COMPLETED"]
        # How many replays were started before each look at the metric.
        self.asked = []

    def answer(self, call):
        if call.operation == "StartReplay":
            self.started.append(call.given)
            return 200, {"ReplayArn": "arn", "State": "STARTING"}
        if call.operation == "DescribeReplay":
            last = {"EventLastReplayedTime": NOW.timestamp()} if self.events else {}
            return 200, {"State": self.states[min(len(self.started), len(self.states)) - 1], **last}
        if call.operation == "GetMetricStatistics":
            self.asked.append(len(self.started))
        if call.operation == "CancelReplay":
            self.cancelled.append(call.given["ReplayName"])
            return 200, {"ReplayArn": "arn", "State": "CANCELLING"}
        return older_archive(call, self.days, EventCount=self.events)

    def intervals(self):
        times = [(each["EventStartTime"], each["EventEndTime"]) for each in self.started]
        return [tuple(text(datetime.fromtimestamp(at, timezone.utc)) for at in interval) for interval in times]

    def replayed(self, at):
        return any(start <= text(at) < end for start, end in self.intervals())


@pytest.fixture
def archive(ministack, deployed, environment):
    archive = Archive()
    with Proxy(ministack.url, archive.answer) as proxy:
        environment |= {"AWS_ENDPOINT_URL_EVENTBRIDGE": proxy.url, "AWS_ENDPOINT_URL_CLOUDWATCH": proxy.url}
        yield archive


def replay(environment, start, end, *more):
    return ops("replay.py", STACK, "--from", start, "--to", end, *more, **environment)


@pytest.mark.parametrize("row, lost", [
    # EventBridge gives up after 24 hours; Lambda, which gets it then, 6 hours later.
    ("EventBridgeLostEvents", timedelta(hours=24)), ("LambdaLostEvents", timedelta(hours=30)),
])
def test_the_runbooks_look_back_finds_events_that_were_given_up_on_after_all_retries(environment, archive, row, lost):
    alarm = NOW - timedelta(hours=2)
    event = alarm - lost + timedelta(seconds=1)
    [hours] = re.findall(rf"`{row}`: (\d+) hours", section(OPERATIONS, "### Lost events"))
    assert replay(environment, text(alarm), text(alarm + timedelta(minutes=10)))[0] == 0
    # The time of the alarm has none of them.
    assert not archive.replayed(event)
    assert replay(environment, text(alarm - timedelta(hours=int(hours))), text(alarm + timedelta(minutes=10)))[0] == 0
    assert archive.replayed(event)


def test_it_replays_an_hour_after_the_other_and_says_first_how_much(environment, deployed, archive):
    code, lines, errors = replay(environment, ago(hours=4), ago(minutes=90))
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
    assert archive.intervals() == [
        (ago(hours=4), ago(hours=3)), (ago(hours=3), ago(hours=2)), (ago(hours=2), ago(minutes=90))]
    # Only to the recorder's rule, and under a new name each time.
    assert all(each["Destination"]["FilterArns"] == [deployed["RuleArn"]] for each in archive.started)
    assert replay(environment, ago(hours=4), ago(minutes=90))[0] == 0
    assert len({each["ReplayName"] for each in archive.started}) == 6


def test_a_dry_run_counts_and_replays_nothing(environment, archive):
    archive.events = 14_000
    code, lines, errors = replay(environment, ago(days=7), ago(days=6), "--dry-run")
    assert (code, errors, archive.started) == (0, [], [])
    assert lines == [
        f"{ago(days=7)} to {ago(days=6)}: 24 slices of an hour, one after the other",
        # A fourteenth, since the archive keeps 14 days.
        "about 1,000 events, if the archive's hours are alike; its count can be a day old",
        "about $0.00 at the list prices of us-east-1",
    ]


def test_the_price_is_the_pages():
    prices = [line.split("|") for line in table(OPERATIONS, "## Replay")]
    [total] = [float(row[-2].strip("* $")) for row in prices if "total" in row[1]]
    items = [float(row[-2].strip(" $")) for row in prices if "total" not in row[1]]
    [dollars] = re.findall(r"^DOLLARS = ([0-9.]+)$", (PROJECT / "ops/replay.py").read_text(), re.MULTILINE)
    assert float(dollars) == total == pytest.approx(sum(items), abs=0.005)


def later(line):
    """The first time in a line, which moves on with the clock."""
    return re.sub(r"\d{4}-\S+Z (or later|at the latest)", r"… \1", line)


def test_an_interval_that_would_miss_events_is_refused(environment, archive):
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
        code, lines, [found] = replay(environment, start, end)
        assert (code, lines, later(found), archive.started) == (1, [], f"error: {error}", [])
        # The time that it names is accepted.
        if "or later" in found:
            [first] = re.findall(r"must be (\S+) or later", found)
            assert replay(environment, first, end, "--dry-run")[0] == 0


def test_a_stack_that_cannot_be_replayed_is_refused(environment, deployed, archive):
    rule = deployed["RuleArn"].split("/")[-1]
    boto3.client("events").disable_rule(Name=rule)
    try:
        assert replay(environment, ago(hours=3), ago(hours=2)) == (1, [], [
            f"error: {rule} is DISABLED, so replayed events would reach nobody: run `aws events enable-rule --name {rule} "
            "--event-bus-name default` first"])
    finally:
        boto3.client("events").enable_rule(Name=rule)
    archive.days = 0
    [error] = replay(environment, ago(hours=3), ago(minutes=30))[2]
    assert re.fullmatch(rf"error: FROM must be \S+ or later, found {ago(hours=3)}: the archive began then", error)


@pytest.mark.parametrize("without, parameters, error", [
    ((), {"RetentionDays": "3"}, r"FROM must be \S+ or later, found \S+: older events could recreate rows that have expired "
     r"\(RetentionDays=3\)"),
    (("ArchiveArn",), {}, r"the stack has no archive \(ArchiveDays=0\), so there is nothing to replay; `make reconcile "
     "SCOPE=fleet` updates the rows of what ECS still has"),
])
def test_events_that_could_recreate_expired_rows_are_not_replayed_and_without_an_archive_nothing_is(
    environment, deployed, archive, monkeypatch, without, parameters, error
):
    monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", environment["AWS_ENDPOINT_URL_EVENTBRIDGE"])
    outputs = {name: value for name, value in (deployed | parameters).items() if name not in without}
    with pytest.raises(SystemExit, match=f"^error: {error}$"):
        program.check(outputs, NOW - timedelta(days=4), NOW - timedelta(hours=3))


def events_wait(deployed, seconds, at):
    boto3.client("cloudwatch").put_metric_data(Namespace="AWS/Lambda", MetricData=[{
        "MetricName": "AsyncEventAge", "Value": seconds * 1000, "Timestamp": at,
        "Dimensions": [{"Name": "FunctionName", "Value": deployed["RecorderName"]}]}])


def test_it_waits_while_events_wait_longer_than_a_minute(environment, deployed, archive):
    now = datetime.now(timezone.utc)
    events_wait(deployed, 61, now - timedelta(minutes=3))
    program = start("replay.py", STACK, "--from", ago(hours=3), "--to", ago(hours=2), **environment)
    for line in program.stdout:
        if "$" in line:
            break
    asked = len(archive.started)
    events_wait(deployed, 59, now - timedelta(minutes=1))
    output, errors = program.communicate(timeout=60)
    assert (asked, len(archive.started), program.returncode, errors) == (0, 1, 0, "")


def test_after_a_slice_with_events_it_waits_for_the_metric(environment, deployed, archive):
    archive.events = 1
    # Before the first slice, no data means that there is nothing to wait for.
    program = start("replay.py", STACK, "--from", ago(hours=3), "--to", ago(hours=1), **environment)
    until(lambda: archive.asked.count(1) > 1, "a second look after the first slice")
    events_wait(deployed, 1, datetime.now(timezone.utc))
    _, errors = program.communicate(timeout=60)
    assert (len(archive.started), program.returncode, errors) == (2, 0, "")


def test_without_the_metric_it_stops_after_ten_minutes(deployed, archive, monkeypatch):
    assert program.NO_DATA_SECONDS == 600
    monkeypatch.setattr(program, "NO_DATA_SECONDS", 0)
    monkeypatch.setattr(program, "POLL_SECONDS", 0)
    with pytest.raises(SystemExit, match=f"^error: {deployed['RecorderName']} got none of the last slice's events within"):
        program.catch_up(deployed, datetime.now(timezone.utc) + timedelta(minutes=1))


def test_ctrl_c_cancels_the_running_slice_and_says_how_to_go_on(environment, archive):
    archive.states = ["COMPLETED", "RUNNING"]
    program = start("replay.py", STACK, "--from", ago(hours=4), "--to", ago(hours=1), **environment)
    until(lambda: len(archive.started) == 2, "the second replay")
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 130 and errors.splitlines() == [
        "interrupted: the running slice, if any, is being cancelled",
        f"to replay the rest: make replay FROM={ago(hours=3)} TO={ago(hours=1)}",
    ]
    assert archive.cancelled == [archive.started[1]["ReplayName"]]


def test_a_slice_that_fails_stops_it_and_says_how_to_go_on(environment, archive):
    archive.states = ["FAILED"]
    code, _, [rest, error] = replay(environment, ago(hours=4), ago(hours=2))
    assert code == 1 and rest == f"to replay the rest: make replay FROM={ago(hours=4)} TO={ago(hours=2)}"
    assert re.fullmatch(r"error: the replay replay-\S+-1 is FAILED: no reason given", error)


def test_make_passes_the_interval_on():
    shown = subprocess.run(["make", "--dry-run", "replay", "FROM=a", "TO=b", "DRY_RUN=1"], cwd=PROJECT,
                           capture_output=True, text=True).stdout
    assert "replay.py 'ecs-state-recorder' --from 'a' --to 'b' --dry-run" in shown
