"""Runs the deployed reconciler once, and shows the result."""

import json
import sys
import threading
import time
from contextlib import contextmanager

import boto3
from botocore.config import Config

import stack

SCOPES = ("fleet", "table")
PROGRESS_SECONDS = 30
# Longer than the function's timeout of 900 s, so that Lambda's own error arrives. A repeated request would be a second
# run. Without keepalive, a NAT gateway drops a connection that is silent for 350 s.
WAIT = Config(read_timeout=930, tcp_keepalive=True, retries={"total_max_attempts": 1})


@contextmanager
def progress(what):
    """Says every 30 s that it is still running."""
    started, done = time.monotonic(), threading.Event()

    def report():
        while not done.wait(PROGRESS_SECONDS):
            print(f"{what}: still running … {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        yield
    finally:
        done.set()
        reporter.join()


def run(name, request):
    """The run's answer. Exits if the run failed."""
    outputs = stack.outputs(name)
    if "ReconcilerName" not in outputs:
        sys.exit(f"error: the stack {name} is of an earlier version, without a reconciler: run `make deploy`")
    log = f"the log group {outputs['ReconcilerLogGroupName']}"
    function = outputs["ReconcilerName"]
    try:
        with progress(f"{request['scope']} run"):
            answer = boto3.client("lambda", config=WAIT).invoke(FunctionName=function, Payload=json.dumps(request))
    except KeyboardInterrupt:
        stack.interrupted(f"the run continues in Lambda, and its result will be in {log}")
    body = json.load(answer["Payload"])
    if "FunctionError" in answer:
        # Lambda's own errors, such as a timeout, may have no type.
        kind = body.get("errorType", answer["FunctionError"])
        sys.exit(f"error: {kind}: {body.get('errorMessage', 'no message')}\nSee {log}")
    return body


def show(answer):
    """The fields in the order of the answer, numbers aligned to the right."""
    values = {name: value if isinstance(value, str) else json.dumps(value) for name, value in answer.items()}
    names, width = max(map(len, values)), max(map(len, values.values()))
    for name, value in values.items():
        print(f"{name:{names}}  {value:>{width}}")


def main(name, scope, *options):
    if scope not in SCOPES:
        sys.exit(f"error: SCOPE must be fleet or table, found {scope!r}: make reconcile SCOPE=fleet")
    if options and scope != "table":
        sys.exit("error: SCAN=1 is only for table runs: make reconcile SCOPE=table SCAN=1")
    with stack.one_line_errors():
        answer = run(name, {"scope": scope} | ({"scan": True} if "--scan" in options else {}))
    show(answer)
    if answer["complete"] is False:
        print("The run stopped before Lambda's deadline: the next run, by schedule or by hand, covers the rest.")


if __name__ == "__main__":
    main(*sys.argv[1:])
