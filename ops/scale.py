"""Prints the tables of docs/scale.md, computed from the figures below: change one, run this, and put its output into
the page."""

from math import ceil

# ---- Assumptions: yours may differ ----

EVENTS_A_TASK, EVENTS_A_START = 10, 4  # of a Fargate task: in its whole life, and up to RUNNING
LIFETIME_HOURS = 1
BUSY = 10  # how much more than the average the busiest second brings
TASKS_A_CLUSTER, INSTANCES_A_CLUSTER = 200, 20
EVENT_KB, ROW_KB, LOG_KB = 2.2, 2, 1  # as in events/; a row is rounded up to the next KB; the log with Lambda's own lines
# An entry of the index, below 1 KB, is written at a task's first event, and deleted and written at its stop.
INDEX_UNITS_A_TASK, INDEX_UNITS_A_START, INDEX_KB = 3, 1, 0.5
WARM_MS = 10  # Lambda's time for a warm event
DAYS, RETENTION_DAYS, ARCHIVE_DAYS = 30, 30, 14
CALLS_A_SECOND, MINUTES, RECONCILER_GB = 5, 15, 0.25
PAUSE = 0.5  # mean seconds before the second and the third request of a write that is throttled: src/state/timeouts.rs
REDRIVE = 1_000  # events a second: ops/redrive.py
BURST = 60  # seconds

# ---- Limits of AWS, in units or calls a second ----

NEW_TABLE_UNITS = 4_000  # of a new on-demand table or index
PARTITION_UNITS = 1_000
CONCURRENCY = 1_000  # an account's default
# EventBridge's default of events that all rules together send to their targets.
INVOCATIONS = {
    18_750: "us-east-1, us-west-2, eu-west-1",
    4_500: "us-east-2, eu-central-1, eu-south-2",
    2_250: "us-west-1, eu-west-2, ap-northeast-1, ap-southeast-1, ap-southeast-2",
    1_100: "ca-central-1, eu-north-1, eu-west-3, ap-east-1, ap-northeast-2, ap-south-1, sa-east-1",
    750: "all others",
}
RETRY_WAITS = (60, 120)  # seconds that Lambda waits before its second and its third attempt

# ---- List prices of us-east-1, in dollars; the same as in docs/operations.md, Cost ----

REQUESTS, GB_SECOND = 0.20 / 1e6, 0.0000133334
WRITE_UNIT, READ_UNIT = 0.625 / 1e6, 0.125 / 1e6
LOG_GB, ARCHIVE_GB, ARCHIVE_GB_MONTH, TABLE_GB_MONTH, BACKUP_GB_MONTH = 0.50, 0.10, 0.023, 0.25, 0.20
FORWARDED = 1.00 / 1e6  # from a spoke to the hub
WARM_WRITE_UNIT = 0.00065  # once, when WarmWriteUnits raises a table or index by one

DAILY = (100, 10_000, 1_000_000)
STARTS = (1_000, 100_000)
# Multiples of a new table's capacity, and whether the recorder's concurrency is limited.
OVERLOADS = ((3, False), (5, False), (10, False), (5, True))
GB = 1e6  # in KB


def fleet_calls(running, stopped):
    """Requests to ECS of a fleet run: pages of 100 that are listed and described, for each cluster."""
    clusters = max(1, ceil(running / TASKS_A_CLUSTER))
    pages = lambda tasks: ceil(tasks / clusters / 100)
    instances = ceil(min(INSTANCES_A_CLUSTER, running / 10) / 100)
    a_cluster = max(1, pages(running)) + pages(running) + max(1, pages(stopped)) + pages(stopped) + 1 + instances
    return ceil(clusters / 100) + clusters * a_cluster


class Load:
    """What a number of tasks a day needs, and costs in a month."""

    def __init__(self, tasks):
        self.tasks, self.events = tasks, tasks * EVENTS_A_TASK
        self.a_second = self.events / 86_400
        self.busy = self.a_second * BUSY
        self.running = tasks * LIFETIME_HOURS / 24
        self.calls = fleet_calls(self.running, tasks / 24)
        self.rows = tasks * RETENTION_DAYS
        month, run_seconds = self.events * DAYS, self.calls / CALLS_A_SECOND
        runs = DAYS * 24 * 60 / MINUTES
        # A table run scans every seventh day, and reads running tasks by the index on the others.
        scans = DAYS / 7
        read_units = runs * (self.running + tasks / 24) * ROW_KB / 4 + scans * self.rows * ROW_KB / 4 / 2
        read_units += (DAYS - scans) * self.running * (ROW_KB / 4 + INDEX_KB / 4 / 2)
        self.costs = {
            "recorder": month * (REQUESTS + WARM_MS / 1000 * 0.125 * GB_SECOND),
            "writes to the table": month * ROW_KB * WRITE_UNIT,
            "writes to the index": tasks * DAYS * INDEX_UNITS_A_TASK * WRITE_UNIT,
            "rows, index and backup":
                self.rows / GB * ((ROW_KB + INDEX_KB) * TABLE_GB_MONTH + ROW_KB * BACKUP_GB_MONTH),
            "log": month * LOG_KB / GB * LOG_GB,
            "archive": month * EVENT_KB / GB * (ARCHIVE_GB + ARCHIVE_GB_MONTH * ARCHIVE_DAYS / DAYS),
            "reconciler": runs * (REQUESTS + run_seconds * RECONCILER_GB * GB_SECOND) + read_units * READ_UNIT,
        }


class Overload:
    """A burst of a multiple of a new table's capacity.

    A throttled request uses no capacity: the table stores what it can, however many requests arrive."""

    def __init__(self, times, held_back):
        self.times, self.held_back = times, held_back
        capacity = NEW_TABLE_UNITS / ROW_KB
        self.rate = times * capacity
        # The share of an event's requests that is throttled: an attempt has up to three, and fails if all are.
        if held_back:
            # The instances are too few to exceed the table's capacity: the rest waits in Lambda's queue.
            throttled, self.left = 0, [1, 0, 0, 0]
            self.lambdas = times * BURST
        else:
            # What the first attempts leave comes back as the next burst, as long as the first.
            throttled, self.left = (1 - 1 / times) ** (1 / 3), [max(0, 1 - attempts / times) for attempts in range(4)]
            retries, failed = (sum(left > 0 for left in some) for some in (self.left[1:3], self.left[1:]))
            self.lambdas = BURST + sum(RETRY_WAITS[:retries]) + failed * (WARM_MS / 1000 + 2 * PAUSE)
        attempts = capacity / (1 - throttled**3)
        self.requests = attempts * (1 + throttled + throttled**2)
        self.instances = attempts * (WARM_MS / 1000 + PAUSE * (throttled + throttled**2))
        self.redrive = self.left[3] * self.rate * BURST / REDRIVE


def number(value):
    """Three digits are enough to plan with."""
    if value and abs(value) < 100:
        return f"{value:.2g}"
    return f"{round(value):,}"


def money(value):
    return f"${value:,.2f}"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def needs():
    loads = [Load(tasks) for tasks in DAILY]
    row = lambda name, value: [name, *(value(load) for load in loads)]
    return table(["", *(f"{tasks:,} tasks a day" for tasks in DAILY)], [
        row("events a day", lambda load: number(load.events)),
        row("events a second, on average", lambda load: number(load.a_second)),
        row("events in the busiest second", lambda load: number(load.busy)),
        row("instances of the recorder then", lambda load: f"{max(1, ceil(load.busy * WARM_MS / 1000))}"),
        row("write units of the table then", lambda load: number(load.busy * ROW_KB)),
        row("write units of the index then", lambda load: number(
            load.tasks * INDEX_UNITS_A_TASK / 86_400 * BUSY)),
        row("requests of a fleet run to ECS", lambda load: number(load.calls)),
        row("seconds of a fleet run", lambda load: number(load.calls / CALLS_A_SECOND)),
        row("rows", lambda load: number(load.rows)),
        row("GB of rows", lambda load: number(load.rows * ROW_KB / GB)),
        row("GB of log a day", lambda load: number(load.events * LOG_KB / GB)),
        row("GB of archive", lambda load: number(load.events * ARCHIVE_DAYS * EVENT_KB / GB)),
    ])


def costs():
    loads = [Load(tasks) for tasks in DAILY]
    rows = [[name, *(money(load.costs[name]) for load in loads)] for name in loads[0].costs]
    totals = [sum(load.costs.values()) for load in loads]
    months = [tasks * DAYS for tasks in DAILY]
    return table(["a month", *(f"{tasks:,} tasks a day" for tasks in DAILY)], [
        *rows,
        ["**total**", *(f"**{money(total)}**" for total in totals)],
        ["a thousand tasks", *(f"${total / tasks * 1000:.3f}" for total, tasks in zip(totals, months))],
        ["a second, in millionths of a dollar", *(number(total / DAYS / 86_400 * 1e6) for total in totals)],
        ["more, if forwarded to a hub", *(money(load.events * DAYS * FORWARDED) for load in loads)],
    ])


def bursts():
    rates = [starts * EVENTS_A_START / 60 for starts in STARTS]
    row = lambda name, value: [name, *(value(rate) for rate in rates)]
    enough = lambda units, limit: f"{number(units)}" + ("" if units <= limit else f", {units / limit:.1f} times")
    return table(["", *(f"{starts:,} task starts a minute" for starts in STARTS)], [
        row("events a second", number),
        row(f"instances of the recorder, of {CONCURRENCY:,}", lambda rate: f"{max(1, ceil(rate * WARM_MS / 1000))}"),
        row(f"write units of the table, of {NEW_TABLE_UNITS:,} at first",
            lambda rate: enough(rate * ROW_KB, NEW_TABLE_UNITS)),
        row(f"write units of the index, of {NEW_TABLE_UNITS:,} at first",
            lambda rate: enough(index(rate), NEW_TABLE_UNITS)),
        row(f"write units of the index if all are in one cluster, of {PARTITION_UNITS:,}",
            lambda rate: enough(index(rate), PARTITION_UNITS)),
        row("`WarmWriteUnits`", lambda rate: "0" if rate * ROW_KB <= NEW_TABLE_UNITS else f"{warm(rate)}"),
        row("which costs, once, for both tables and the index", lambda rate: money(
            0 if rate * ROW_KB <= NEW_TABLE_UNITS else 3 * (warm(rate) - NEW_TABLE_UNITS) * WARM_WRITE_UNIT)),
    ])


def regions():
    return table(["regions", "events a second", "task starts a minute"], [
        [names, f"{limit:,}", f"{limit * 60 / EVENTS_A_START:,.0f}"] for limit, names in INVOCATIONS.items()
    ])


def overloads():
    cases = [Overload(*case) for case in OVERLOADS]
    row = lambda name, value: [name, *(value(case) for case in cases)]
    share = lambda value: f"{value * 100:.3g} %"
    stored = lambda attempt: lambda case: share(case.left[attempt - 1] - case.left[attempt])
    seconds = lambda value: f"{value:,.0f}"
    head = lambda case: f"{case.times} times" + (f", {case.instances:.0f} instances" if case.held_back else "")
    return table(["a minute of", *map(head, cases)], [
        row("events a second", lambda case: number(case.rate)),
        row("requests to DynamoDB a second", lambda case: number(case.requests)),
        row("instances of the recorder", lambda case: number(case.instances)),
        row("stored at the first attempt", stored(1)),
        row("stored at the second", stored(2)),
        row("stored at the third", stored(3)),
        row("in the failure queue", lambda case: share(case.left[3])),
        row("seconds until Lambda is done", lambda case: seconds(case.lambdas)),
        row("seconds of a redrive", lambda case: seconds(case.redrive)),
        row("seconds until all is stored", lambda case: seconds(case.lambdas + case.redrive)),
    ])


def index(rate):
    return rate / EVENTS_A_START * INDEX_UNITS_A_START


def warm(rate):
    """The table's need, rounded up."""
    return ceil(rate * ROW_KB / 1000) * 1000


if __name__ == "__main__":
    print("\n\n".join([needs(), costs(), bursts(), regions(), overloads()]))
