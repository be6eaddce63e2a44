"""make emulator: the whole system on this machine, until Ctrl-C.

    main.py FOLDER    the folder of the built programs"""

import os
import random
import shlex
import signal
import sys
import time
from collections import deque
from contextlib import contextmanager
from pathlib import Path

from server import MiniStack

STACK = "ecs-state-recorder"
# Exports for another terminal.
ENVIRONMENT = Path("target/emulator/env")
SERVICES = ["web", "api", "worker"]
TASKS, CHANGE_SECONDS = 8, 3
REASONS = [
    "Scaling activity initiated by (deployment ecs-svc/4093171225387263520)",
    "Task failed container health checks",
    "Task stopped by user",
]


@contextmanager
def step(what):
    print(f"{what} …", end=" ", flush=True)
    began = time.monotonic()
    yield
    print(f"{time.monotonic() - began:.1f} s", flush=True)


def serve(programs):
    with step("starting MiniStack"):
        ministack = MiniStack()
    try:
        os.environ.update(ministack.environment)
        # It takes a second, and boto3 its settings from the environment.
        import deployment
        from fleet import Fleet
        from inbox import Inbox

        with step("uploading the functions"):
            deployment.upload(*(programs / f"ecs-state-{name}" for name in ("recorder", "reconciler", "notifier")))
        with step(f"creating the stack {STACK} from template.yaml"):
            template = deployment.template((deployment.PROJECT / "template.yaml").read_text())
            status, outputs = deployment.create(STACK, template, Notify="true")
            if status != "CREATE_COMPLETE":
                sys.exit(f"error: the stack is {status}: see {ministack.log}")
        fleet, inbox = Fleet(outputs["RecorderName"]), Inbox.of_rule("announcements")
        ENVIRONMENT.parent.mkdir(parents=True, exist_ok=True)
        path = f"PATH={shlex.quote(str(programs))}:$PATH"
        exports = [f"{name}={shlex.quote(value)}" for name, value in ministack.environment.items()]
        ENVIRONMENT.write_text("".join(f"export {each}\n" for each in [path, *exports]))
        print(f"""
A task starts or stops every {CHANGE_SECONDS} s. In another terminal:

  source {ENVIRONMENT}
  ecs-state tasks
  ecs-state watch
  make reconcile SCOPE=fleet
  make redrive DRY_RUN=1
  make smoke      # two minutes: MiniStack counts no log lines, so the line `metric` waits, and is red

Below, each stop is shown as it is announced; "!" marks those that notify. Ctrl-C stops everything.
""", flush=True)
        tasks = deque()
        while True:
            if len(tasks) < TASKS:
                tasks.append(fleet.start(random.choice(SERVICES)))
                fleet.put(tasks[-1])
            else:
                for _ in range(random.randint(1, TASKS)):
                    fleet.put(*fleet.stop(tasks.popleft(), random.choice(REASONS)))
            for detail in (event["detail"] for event in inbox.new()):
                mark = "!" if detail["notify"] else " "
                print(f"{mark} {detail['group'] or '–':<16} {detail['code']:<18} {detail['summary']}", flush=True)
            time.sleep(CHANGE_SECONDS)
    finally:
        ENVIRONMENT.unlink(missing_ok=True)
        ministack.stop()


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupted(number, _):
    # A second one must not interrupt what the first one ends.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


if __name__ == "__main__":
    for number in SIGNALS:
        signal.signal(number, interrupted)
    serve(Path(sys.argv[1]).resolve())
