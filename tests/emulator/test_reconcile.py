"""make reconcile, with a proxy in front of Lambda whose answers the test decides. test_stack.py runs the reconciler."""

import signal
import subprocess
import sys
import threading
from urllib.parse import unquote

import boto3
import pytest

import deployment
from deploy.ops import ops, start

from .conftest import PROJECT, STACK, TEMPLATE
from .proxy import Proxy

ANSWER = {
    "scope": "fleet", "clusters": 50, "listed": 11000, "stored": 11000, "unchanged": 0, "stale": 0, "marked": 0,
    "cleared": 0, "indexed": 0, "unchecked": 0, "drift": 0, "calls": 351, "failures": 0, "scanned": False,
    "complete": True,
}
SHOWN = [
    "scope      fleet",
    "clusters      50",
    "listed     11000",
    "stored     11000",
    "unchanged      0",
    "stale          0",
    "marked         0",
    "cleared        0",
    "indexed        0",
    "unchecked      0",
    "drift          0",
    "calls        351",
    "failures       0",
    "scanned    false",
    "complete    true",
]
# A test that waits longer has failed.
SECONDS = 60


class Lambda:
    """The same answer to every Invoke, once it is released."""

    def __init__(self):
        self.answered = 200, ANSWER
        self.requests, self.asked, self.released = [], threading.Event(), threading.Event()
        self.released.set()

    def fail(self, body, status=200, **headers):
        self.answered = status, body, headers or {"x-amz-function-error": "Unhandled"}

    def answer(self, call):
        if call.operation != "Invoke":
            return None
        self.requests.append((unquote(call.path), call.headers.get("x-amz-invocation-type"), call.given))
        self.asked.set()
        self.released.wait(SECONDS)
        return self.answered


@pytest.fixture
def fake(ministack, deployed, environment):
    fake = Lambda()
    with Proxy(ministack.url, fake.answer) as proxy:
        environment |= {"AWS_ENDPOINT_URL_LAMBDA": proxy.url}
        yield fake
        fake.released.set()


def reconcile(environment, scope="fleet"):
    return ops("reconcile.py", STACK, scope, **environment)


@pytest.mark.parametrize("scope", ["fleet", "table"])
def test_the_deployed_reconciler_is_run_once_and_its_answer_is_shown_in_columns(deployed, fake, environment, scope):
    fake.answered = 200, ANSWER | {"scope": scope}
    assert reconcile(environment, scope) == (0, [f"scope      {scope}", *SHOWN[1:]], [])
    path = f"/2015-03-31/functions/{deployed['ReconcilerName']}/invocations"
    [(called, kind, sent)] = fake.requests
    assert (called, kind, sent) == (path, None, {"scope": scope})


def test_a_run_that_stopped_early_is_a_success_and_says_so(fake, environment):
    fake.answered = 200, ANSWER | {"complete": False}
    assert reconcile(environment) == (0, [*SHOWN[:-1], "complete   false",
        "The run stopped before Lambda's deadline: the next run, by schedule or by hand, covers the rest."], [])


@pytest.mark.parametrize("body, message", [
    ({"errorType": "Incomplete", "errorMessage": "1 of 50 clusters failed: demo: AccessDeniedException"},
     "Incomplete: 1 of 50 clusters failed: demo: AccessDeniedException"),
    # Lambda's own.
    ({"errorMessage": "2026-11-22T00:00:00Z 1b2c Task timed out after 900.00 seconds"},
     "Unhandled: 2026-11-22T00:00:00Z 1b2c Task timed out after 900.00 seconds"),
    ({"errorType": "Runtime.ExitError"}, "Runtime.ExitError: no message"),
])
def test_a_failed_run_exits_with_its_error_and_names_the_log(deployed, fake, environment, body, message):
    fake.fail(body)
    log = f"See the log group {deployed['ReconcilerLogGroupName']}"
    assert reconcile(environment) == (1, [], [f"error: {message}", log])


def test_a_request_that_fails_is_not_repeated_since_that_would_be_a_second_run(fake, environment):
    fake.fail({"message": "Rate exceeded"}, 429, **{"x-amzn-errortype": "TooManyRequestsException"})
    code, lines, [error] = reconcile(environment)
    assert (code, lines) == (1, []) and error.startswith("error: AWS: ") and "Rate exceeded" in error
    assert len(fake.requests) == 1


def test_a_long_run_says_that_it_is_still_running(fake, environment):
    fake.released.clear()
    every_50_ms = "import reconcile; reconcile.PROGRESS_SECONDS = 0.05; reconcile.main('ecs-state-recorder', 'fleet')"
    running = subprocess.Popen(
        [sys.executable, "-B", "-c", every_50_ms], env=environment | {"PYTHONPATH": str(PROJECT / "ops")},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    said = [running.stderr.readline() for _ in range(2)]
    fake.released.set()
    output, rest = running.communicate(timeout=SECONDS)
    assert (running.returncode, output.splitlines()) == (0, SHOWN)
    assert {line.rstrip() for line in said + rest.splitlines()} == {"fleet run: still running … 0 s"}


def test_a_long_run_is_reported_every_30_seconds_and_waited_for_until_lambda_gives_up(deployed):
    sys.path.insert(0, str(PROJECT / "ops"))
    try:
        import reconcile
    finally:
        sys.path.pop(0)
    function = boto3.client("lambda").get_function_configuration(FunctionName=deployed["ReconcilerName"])
    timeout = function["Timeout"]
    assert reconcile.PROGRESS_SECONDS == 30
    assert timeout < reconcile.WAIT.read_timeout < timeout + 60


def test_ctrl_c_ends_the_command_and_says_that_the_run_continues(deployed, fake, environment):
    fake.released.clear()
    running = start("reconcile.py", STACK, "fleet", **environment)
    assert fake.asked.wait(SECONDS)
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate(timeout=SECONDS)
    log = deployed["ReconcilerLogGroupName"]
    said = f"interrupted: the run continues in Lambda, and its result will be in the log group {log}\n"
    assert (running.returncode, output, errors) == (130, "", said)
    assert len(fake.requests) == 1


@pytest.mark.parametrize("scope", ["", "fleets", "Fleet"])
def test_make_refuses_any_other_scope_before_it_calls_anything(fake, environment, scope):
    make = ["make", "--no-print-directory", "reconcile", f"SCOPE={scope}"]
    ended = subprocess.run(make, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[0] == (
        f"error: SCOPE must be fleet or table, found {scope!r}: make reconcile SCOPE=fleet"
    )
    assert fake.requests == []


def test_make_asks_for_a_scan_of_the_table_and_only_in_a_table_run(fake, environment):
    make = ["make", "--no-print-directory", "reconcile", "SCAN=1"]
    table, fleet = (
        subprocess.run([*make, f"SCOPE={scope}"], cwd=PROJECT, env=environment, capture_output=True, text=True,
                       timeout=SECONDS) for scope in ("table", "fleet")
    )
    assert (table.returncode, table.stderr) == (0, "")
    assert fleet.returncode == 2 and fleet.stderr.splitlines()[0] == (
        "error: SCAN=1 is only for table runs: make reconcile SCOPE=table SCAN=1"
    )
    assert [sent for _, _, sent in fake.requests] == [{"scope": "table", "scan": True}]


def test_make_runs_the_reconciler_of_the_stack(fake, environment):
    make = ["make", "--no-print-directory", "reconcile", "SCOPE=fleet"]
    ended = subprocess.run(make, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert (ended.returncode, ended.stdout.splitlines(), ended.stderr) == (0, SHOWN, "")


def test_a_stack_of_an_earlier_version_is_reported_as_such(account):
    lacks = deployment.LACKS | {"Outputs.ReconcilerName": None}
    deployment.create(STACK, deployment.template(TEMPLATE, lacks))
    assert reconcile(account) == (1, [], [
        f"error: the stack {STACK} is of an earlier version, without a reconciler: run `make deploy`",
    ])
