"""MiniStack, with the functions as they were built: one for all tests of a process."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from uuid import uuid4

import boto3
import pytest

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT / "emulator"))
import deployment  # noqa: E402
from fleet import Fleet  # noqa: E402
from server import MiniStack  # noqa: E402

# A shell that starts the tests in the background makes them ignore Ctrl-C, and with them every program they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What `cargo build` has built, unless the environment says otherwise.
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target")) / "debug"
RECORDER = os.environ.get("RECORDER_BINARY", BUILT / "ecs-state-recorder")
RECONCILER = os.environ.get("RECONCILER_BINARY", BUILT / "ecs-state-reconciler")
NOTIFIER = os.environ.get("NOTIFIER_BINARY", BUILT / "ecs-state-notifier")
ECS_STATE = os.environ.get("ECS_STATE_BINARY", BUILT / "ecs-state")
TEMPLATE = (PROJECT / "template.yaml").read_text()
NOTIFICATIONS = (PROJECT / "docs/notifications.md").read_text()
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
def used(environment):
    """Makes boto3's clients those of the emulator; other tests of this process have another AWS."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        yield


@pytest.fixture(scope="session")
def ministack():
    """An AWS with the built functions in a bucket, ready to be deployed."""
    ministack = MiniStack()
    try:
        with used(ministack.environment):
            deployment.upload(RECORDER, RECONCILER, NOTIFIER)
        yield ministack
    finally:
        ministack.stop()


@pytest.fixture(scope="session")
def deployed(ministack):
    """The outputs of the stack, which the tests share."""
    with used(ministack.environment):
        topic, stops = (boto3.client("sns").create_topic(Name=name)["TopicArn"] for name in ("on-call", "stops"))
        # The policy that the page shows.
        [policy] = re.findall(r"--attribute-value '(\{.*?\n *\})'", NOTIFICATIONS, re.DOTALL)
        policy = policy.replace("arn:aws:sns:eu-west-1:123456789012:ecs-stops", stops)
        boto3.client("sns").set_topic_attributes(TopicArn=stops, AttributeName="Policy", AttributeValue=policy)
        status, outputs = deployment.create(
            STACK, deployment.template(TEMPLATE), AlarmTopicArn=topic, Notify="true", NotificationTopicArn=stops)
    assert status == "CREATE_COMPLETE"
    return outputs


@pytest.fixture(scope="session")
def fleet(ministack, deployed):
    with used(ministack.environment):
        return Fleet(deployed["RecorderName"])


@pytest.fixture(autouse=True)
def environment(ministack):
    """The environment of a command that uses this AWS."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with used(ministack.environment):
        yield {"PATH": path, "HOME": os.environ["HOME"], **ministack.environment}


# MiniStack takes an access key of twelve digits for an account.
ACCOUNTS = count(200_000_000_001)


@pytest.fixture
def account(environment):
    """Another account, which is empty, instead of the one with the stack that the tests share."""
    environment |= {"AWS_ACCESS_KEY_ID": str(next(ACCOUNTS))}
    with used(environment):
        yield environment


def names(stack):
    """Parameters for tables that no other stack has."""
    return {"TaskTableName": f"{stack}Tasks", "ContainerInstanceTableName": f"{stack}Instances"}


@pytest.fixture
def deploy(environment):
    """Deploys a stack of the test's own with parameters. Returns its name and its outputs."""

    def deploy(**parameters):
        name = f"own-{uuid4().hex[:8]}"
        status, outputs = deployment.create(name, deployment.template(TEMPLATE), **names(name) | parameters)
        assert status == "CREATE_COMPLETE"
        return {"Name": name, **outputs}

    return deploy


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
