"""MiniStack, with the functions as they were built: one for all tests of a process."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT / "emulator"))
import deployment  # noqa: E402
from fleet import Fleet  # noqa: E402
from server import MiniStack  # noqa: E402


# What `cargo build` has built, unless the environment says otherwise.
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target")) / "debug"
RECORDER = os.environ.get("RECORDER_BINARY", BUILT / "ecs-state-recorder")
RECONCILER = os.environ.get("RECONCILER_BINARY", BUILT / "ecs-state-reconciler")
NOTIFIER = os.environ.get("NOTIFIER_BINARY", BUILT / "ecs-state-notifier")
ECS_STATE = os.environ.get("ECS_STATE_BINARY", BUILT / "ecs-state")
TEMPLATE = (PROJECT / "template.yaml").read_text()
# The name in ops/policies.
STACK = "ecs-state-recorder"
# Longer than anything here takes.
SECONDS = 100


def until(look, what):
    """What `look` finds, as soon as it finds something."""
    deadline = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}"
        time.sleep(0.2)
    return found


@contextmanager
def started():
    """An AWS with the built functions, ready to be deployed."""
    ministack = MiniStack()
    try:
        with used(ministack):
            deployment.upload(RECORDER, RECONCILER, NOTIFIER)
        yield ministack
    finally:
        ministack.stop()


@contextmanager
def used(ministack):
    """Makes boto3's clients those of the emulator; other tests of this process have another AWS."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ministack.environment.items():
            patch.setenv(name, value)
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        yield


@pytest.fixture(scope="session")
def ministack():
    with started() as ministack:
        yield ministack


@pytest.fixture(scope="session")
def deployed(ministack):
    """The outputs of the stack, which the tests share."""
    with used(ministack):
        topic, stops = (boto3.client("sns").create_topic(Name=name)["TopicArn"] for name in ("on-call", "stops"))
        status, outputs = deployment.create(
            STACK, deployment.template(TEMPLATE), AlarmTopicArn=topic, Notify="true", NotificationTopicArn=stops)
    assert status == "CREATE_COMPLETE"
    return outputs


@pytest.fixture(scope="session")
def fleet(ministack, deployed):
    with used(ministack):
        return Fleet(deployed["RecorderName"])


@pytest.fixture(autouse=True)
def environment(ministack):
    """The environment of a command that uses this AWS."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with used(ministack):
        yield {"PATH": path, "HOME": os.environ["HOME"], **ministack.environment}


@pytest.fixture
def make(environment, tmp_path):
    """Runs make with the real SAM CLI, as after `make build`."""
    built = tmp_path / "target/sam/build"
    built.mkdir(parents=True)
    # YAML, too.
    (built / "template.yaml").write_text(json.dumps(deployment.template(TEMPLATE)))
    more = {"CARGO_TARGET_DIR": str(tmp_path / "target"), "SAM_CLI_POLL_DELAY": "1"}

    def run(*words, **environs):
        architecture = f"ARCHITECTURE={deployment.ARCHITECTURE}"
        command = ["make", "--no-print-directory", "--old-file=build", architecture, *words]
        ended = subprocess.run(
            command, cwd=PROJECT, env=environment | more | environs, capture_output=True, text=True, timeout=120)
        return ended.returncode, ended.stdout, ended.stderr

    return run
