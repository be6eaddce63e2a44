"""The commands around the stack: redrive, invoke-remote, and what they say where something is missing."""

import json
import subprocess
import sys

import boto3
import pytest

from .aws import PROJECT

TASKS = "ECSTaskState"
TASK = "arn:aws:ecs:eu-west-1:123456789012:task/demo/{}"


def ops(program, *arguments, **environment):
    """Runs a program of ops, as make does: its exit code, its lines, its errors."""
    command = [sys.executable, "-B", PROJECT / "ops" / program, *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, cwd=PROJECT)
    return ended.returncode, ended.stdout.splitlines(), ended.stderr.splitlines()


def event(number, version=1, **detail):
    arn = TASK.format(number)
    return {
        "version": "0", "id": f"event-{number}", "detail-type": "ECS Task State Change", "source": "aws.ecs",
        "time": "2026-03-02T09:14:28Z", "resources": [arn],
        "detail": {"taskArn": arn, "version": version, "lastStatus": "RUNNING", **detail},
    }


def on_failure(payload):
    """The record that Lambda puts around an event it gave up on, as the Lambda guide shows it."""
    return (
        '{"version":"1.0","timestamp":"2026-03-02T09:17:40.012Z","requestContext":{"requestId":"e4b46cbf-b738-xmpl-8880-'
        'a18cdf61200e","functionArn":"arn:aws:lambda:eu-west-1:123456789012:function:recorder:$LATEST","condition":'
        '"RetriesExhausted","approximateInvokeCount":3},"requestPayload": ' + payload + ' ,"responseContext":{"statusCode"'
        ':200,"executedVersion":"$LATEST","functionError":"Unhandled"},"responsePayload":{"errorType":"StoreUnavailable",'
        '"errorMessage":"requestPayload"}}'
    )


def send(url, *bodies):
    for body in bodies:
        boto3.client("sqs").send_message(QueueUrl=url, MessageBody=body)


def waiting(url):
    attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = boto3.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=attributes)["Attributes"]
    return int(found[attributes[0]]), int(found[attributes[1]])


def rows():
    return {row["taskArn"]["S"]: row for row in boto3.client("dynamodb").scan(TableName=TASKS)["Items"]}


@pytest.fixture
def environment(aws, function):
    """For a command that is to find this AWS, and the built function as its Lambda."""
    return aws.environment(AWS_ENDPOINT_URL_LAMBDA=function.url)


def test_redrive_sends_both_kinds_of_record_and_empties_both_queues(stack, function, environment):
    dead_letters, failures = stack.outputs["DeadLetterQueueUrl"], stack.outputs["FailureQueueUrl"]
    digits = "0.1000000000000000055511151231257827"
    precise = json.dumps(event(2)).replace('"RUNNING"', f'"RUNNING", "half": {digits}')
    send(dead_letters, json.dumps(event(1)))
    send(failures, on_failure(precise), on_failure(json.dumps(event(3))))

    assert ops("redrive.py", "recorder", **environment) == (
        0,
        [
            f"dead-letter queue: sent event event-1 of {TASK.format(1)}",
            "dead-letter queue: 1 sent, 0 left",
            f"failure queue: sent event event-2 of {TASK.format(2)}",
            f"failure queue: sent event event-3 of {TASK.format(3)}",
            "failure queue: 2 sent, 0 left",
        ],
        [],
    )
    assert [function.answers.get(timeout=30)["outcome"] for _ in range(3)] == ["stored"] * 3
    assert set(rows()) == {TASK.format(number) for number in (1, 2, 3)}
    assert rows()[TASK.format(2)]["half"] == {"N": digits}
    assert waiting(dead_letters) == waiting(failures) == (0, 0)


def test_a_redrive_that_lambda_refuses_in_the_middle_loses_nothing_and_the_next_one_ends_it(stack, function, environment):
    failures = stack.outputs["FailureQueueUrl"]
    send(failures, *(on_failure(json.dumps(event(number))) for number in range(1, 6)))
    # Accepted, accepted, then refused as often as the SDK tries.
    function.refusals = [0, 0, 429, 429]

    code, lines, errors = ops("redrive.py", "recorder", AWS_MAX_ATTEMPTS="2", **environment)
    assert code == 1
    assert lines[:-1] == [
        "dead-letter queue: 0 sent, 0 left",
        f"failure queue: sent event event-1 of {TASK.format(1)}",
        f"failure queue: sent event event-2 of {TASK.format(2)}",
    ]
    assert lines[-1].startswith("failure queue: 2 sent; stopped: An error occurred (TooManyRequestsException)")
    assert errors == ["failure queue: what isn't sent is still in the queue: mend that, then run this again"]
    assert waiting(failures) == (3, 0)

    assert function.refusals == []
    code, lines, errors = ops("redrive.py", "recorder", **environment)
    assert (code, lines[-1], errors) == (0, "failure queue: 3 sent, 0 left", [])
    assert [function.answers.get(timeout=30)["outcome"] for _ in range(5)] == ["stored"] * 5
    assert set(rows()) == {TASK.format(number) for number in range(1, 6)}
    assert waiting(failures) == (0, 0)


def test_a_dry_run_sends_and_deletes_nothing(stack, function, environment):
    dead_letters, failures = stack.outputs["DeadLetterQueueUrl"], stack.outputs["FailureQueueUrl"]
    send(dead_letters, json.dumps(event(1)))
    send(failures, *(on_failure(json.dumps(event(number))) for number in range(2, 14)))
    code, lines, errors = ops("redrive.py", "recorder", "--dry-run", **environment)
    assert (code, errors) == (0, [])
    assert lines[:2] == [
        f"dead-letter queue: would send event event-1 of {TASK.format(1)}", "dead-letter queue: 1 to send, 0 left",
    ]
    assert lines[-1] == "failure queue: 12 to send, 0 left"
    assert (waiting(dead_letters), waiting(failures)) == ((1, 0), (12, 0))
    assert rows() == {} and function.answers.empty()


def test_what_is_no_event_stays_in_the_queue_and_is_named_without_its_content(stack, function, environment):
    failures = stack.outputs["FailureQueueUrl"]
    without_payload = '{"version": "1.0", "requestContext": {"condition": "RetriesExhausted"}}'
    send(failures, "hunter2", '["hunter2"]', '{"secret": "hunter2"}', without_payload, on_failure(json.dumps(event(1))))
    code, lines, errors = ops("redrive.py", "recorder", **environment)
    assert (code, errors) == (1, [])
    assert [line.partition(" message ")[0] for line in lines[1:-2]] == ["failure queue: left"] * 4
    assert all(line.endswith(": it holds no event; look at it by hand") for line in lines[1:-2])
    assert lines[-1] == "failure queue: 1 sent, 4 left"
    assert "hunter2" not in "".join(lines)
    assert waiting(failures) == (4, 0)


def test_invoke_remote_shows_the_answer_and_the_row(stack, environment):
    code, lines, errors = ops("invoke.py", "recorder", "events/fargate-task-running.json", **environment)
    sample = json.loads((PROJECT / "events/fargate-task-running.json").read_text())
    answer = {"outcome": "stored", "table": TASKS, "arn": sample["detail"]["taskArn"], "version": 3}
    end = lines.index("}") + 1
    assert (code, errors, json.loads("".join(lines[:end]))) == (0, [], answer)
    assert json.loads("".join(lines[end:])) == rows()[sample["detail"]["taskArn"]]

    code, lines, errors = ops("invoke.py", "recorder", "events/refused/wrong-source.json", **environment)
    assert (code, errors, json.loads("".join(lines))["errorType"]) == (1, [], "UnsupportedSource")
    assert ops("invoke.py", "recorder", "events/none.json", **environment) == (
        1, [], ["error: there is no file events/none.json"],
    )


def test_what_is_missing_is_said_in_one_line(aws):
    environment = aws.environment()
    for program in (["redrive.py", "other"], ["invoke.py", "other", "events/fargate-task-running.json"], ["stack.py", "delete", "other"]):
        assert ops(*program, **environment) == (
            1, [], ["error: there is no stack other in eu-west-1: `make deploy` makes it, STACK=… names another one"],
        )
    without = {name: value for name, value in environment.items() if "KEY" not in name}
    assert ops("stack.py", **without) == (
        1, [], ["error: no AWS credentials are found: sign in (aws login, aws sso login), or export AWS_PROFILE"],
    )
    without = {name: value for name, value in environment.items() if "REGION" not in name}
    assert ops("redrive.py", "recorder", **without) == (
        1, [], ["error: no AWS region is set: export AWS_DEFAULT_REGION, or AWS_PROFILE with a region"],
    )
    unreachable = {**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    code, lines, [error] = ops("stack.py", **unreachable)
    assert (code, lines) == (1, []) and error.startswith("error: AWS: Could not connect")
