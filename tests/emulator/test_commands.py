"""Commands that operate on the stack: invoke-remote, and what all of them report if something is missing."""

import json

import boto3

from deploy.ops import ops

from .conftest import PROJECT, STACK
from .test_chain import TASKS, row


def test_invoke_remote_shows_the_answer_and_the_row(deployed, environment):
    sample = json.loads((PROJECT / "events/fargate-task-running.json").read_text())
    # Other tests have sent it, too.
    boto3.client("dynamodb").delete_item(TableName=TASKS, Key={"taskArn": {"S": sample["detail"]["taskArn"]}})
    code, lines, errors = ops("invoke.py", STACK, "events/fargate-task-running.json", **environment)
    answer = {"outcome": "stored", "table": TASKS, "arn": sample["detail"]["taskArn"], "version": 3}
    end = lines.index("}") + 1
    assert (code, errors, json.loads("".join(lines[:end]))) == (0, [], answer)
    # One line for each attribute, without DynamoDB's types.
    shown = dict(line.split(": ", 1) for line in lines[end:])
    assert shown.keys() == row(sample["detail"]["taskArn"]).keys()
    assert (shown["lastStatus"], shown["version"]) == ("RUNNING", "3")
    assert [container["name"] for container in json.loads(shown["containers"])] == [
        container["name"] for container in sample["detail"]["containers"]]

    code, lines, errors = ops("invoke.py", STACK, "events/refused/wrong-source.json", **environment)
    assert (code, errors, json.loads("".join(lines))["errorType"]) == (1, [], "UnsupportedSource")
    assert ops("invoke.py", STACK, "events/none.json", **environment) == (
        1, [], ["error: EVENT must be a file such as events/fargate-task-running.json, found 'events/none.json'"],
    )


def test_whatever_is_missing_is_reported_in_one_line(environment):
    for program in (
        ["redrive.py", "other"], ["invoke.py", "other", "events/fargate-task-running.json"], ["stack.py", "delete", "other"],
        ["reconcile.py", "other", "fleet"], ["smoke.py", "other"],
    ):
        assert ops(*program, **environment) == (
            1, [],
            ["error: there is no stack other in eu-west-1: create it with `make deploy`, or name another one with STACK=…"],
        )
    without = {name: value for name, value in environment.items() if "KEY" not in name}
    assert ops("stack.py", **without) == (
        1, [], ["error: no AWS credentials were found: sign in (aws login, aws sso login), or export AWS_PROFILE"],
    )
    without = {name: value for name, value in environment.items() if "REGION" not in name}
    assert ops("redrive.py", STACK, **without) == (
        1, [], ["error: no AWS region is set: export AWS_DEFAULT_REGION, or AWS_PROFILE with a region"],
    )
    unreachable = {**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    code, lines, [error] = ops("stack.py", **unreachable)
    assert (code, lines) == (1, []) and error.startswith("error: AWS: Could not connect")
