"""make redrive: what it sends, what it leaves, and that nothing is lost, whatever the size and however it ends."""

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from datetime import datetime, timedelta, timezone
from io import BytesIO
from threading import Lock
from uuid import uuid4

import boto3
import pytest
from moto.sqs.models import Message, Queue, SQSBackend, sqs_backends

from .aws import ACCOUNT, PROJECT, REGION
from .ops import command, ops

TASK = "arn:aws:ecs:eu-west-1:123456789012:task/demo/{}"
RETRIED = "StoreUnavailable, RetriesExhausted"
ALWAYS_REFUSED = "always refused; fix the sender, then delete it or send it with FORCE=1"
TOO_OLD = "older than 30 days, so it could recreate an expired row; send it with FORCE=1"
# The number of messages in the two load tests. They require only half of the intended rate, since other programs may be
# running.
MESSAGES = int(os.environ.get("REDRIVE_MESSAGES", 2000))


class Front:
    """A layer in front of moto, where every call to SQS and Lambda can be delayed, refused and recorded. Invoke is handled
    here."""

    def __init__(self, aws):
        server = aws.server._server
        self.moto, server.app = server.app, self
        # moto's queues lose a deletion if another thread deletes at the same time.
        self.lock = Lock()
        self.seconds, self.calls, self.payloads = 0, Counter(), []
        # The response to send instead, as status and JSON, depending on the operation and its input.
        self.answer = lambda operation, given: None

    def __call__(self, environ, start_response):
        service, _, operation = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")
        if environ["PATH_INFO"].endswith("/invocations"):
            operation = "Invoke"
        elif service != "AmazonSQS":
            return self.moto(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        time.sleep(self.seconds)
        given = json.loads(body)
        answer = self.answer(operation, given)
        self.calls[operation] += 1
        if operation == "Invoke" and answer is None:
            self.payloads.append(body.decode())
            answer = 202, None
        if answer:
            status, body = answer
            start_response(f"{status} ", [("content-type", "application/json")])
            return [json.dumps(body).encode() if body else b""]
        wait = given.get("WaitTimeSeconds", 0)
        if wait:
            # moto would wait while holding the lock.
            body = json.dumps(given | {"WaitTimeSeconds": 0}).encode()
        started, found = self.call(environ, body)
        if wait and b'"Messages"' not in found:
            time.sleep(wait)
            started, found = self.call(environ, body)
        start_response(*started)
        return [found]

    def call(self, environ, body):
        environ = environ | {"wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        with self.lock:
            started = []
            return started, b"".join(self.moto(environ, lambda *given: started.extend(given)))


@pytest.fixture
def front(aws, monkeypatch):
    # moto scans the whole queue for every message, several times in some calls. This avoids it without changing
    # results.
    now = lambda: time.time() * 1000
    visible = lambda queue, at: [message for message in queue._messages if message.visible_at < at]
    monkeypatch.setattr(Queue, "messages", property(lambda queue: visible(queue, now())))
    monkeypatch.setattr(SQSBackend, "is_message_valid_based_on_retention_period", lambda *_: True)
    holders, receive, change = {}, Message.mark_received, SQSBackend.change_message_visibility

    def mark_received(message, visibility_timeout):
        receive(message, visibility_timeout)
        holders[message.receipt_handle] = message

    def change_message_visibility(backend, queue_name, receipt_handle, visibility_timeout):
        queue = backend.get_queue(queue_name)
        messages, queue._messages = queue._messages, [holders[receipt_handle]]
        try:
            change(backend, queue_name, receipt_handle, visibility_timeout)
        finally:
            queue._messages = messages

    monkeypatch.setattr(Message, "mark_received", mark_received)
    monkeypatch.setattr(SQSBackend, "change_message_visibility", change_message_visibility)
    return Front(aws)


@pytest.fixture
def queues(stack):
    return stack.outputs["DeadLetterQueueUrl"], stack.outputs["FailureQueueUrl"]


def ago(**time):
    return (datetime.now(timezone.utc) - timedelta(**time)).strftime("%Y-%m-%dT%H:%M:%SZ")


def event(number, time=None, **detail):
    arn = TASK.format(number)
    return json.dumps({
        "version": "0", "id": f"event-{number}", "detail-type": "ECS Task State Change", "source": "aws.ecs",
        "time": time or ago(hours=1), "resources": [arn],
        "detail": {"taskArn": arn, "version": 1, "lastStatus": "RUNNING", **detail},
    })


def on_failure(payload, error_type="StoreUnavailable"):
    """Lambda's on-failure record of an event, as documented in the Lambda guide."""
    return (
        '{"version":"1.0","timestamp":"2026-03-02T09:17:40.012Z","requestContext":{"requestId":"e4b46cbf-b738-xmpl-'
        '8880-a18cdf61200e","functionArn":"arn:aws:lambda:eu-west-1:123456789012:function:recorder:$LATEST","condition":'
        '"RetriesExhausted","approximateInvokeCount":3},"requestPayload": ' + payload + ' ,"responseContext":{'
        '"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},"responsePayload":{"errorType":'
        + json.dumps(error_type) + ',"errorMessage":"requestPayload hunter2"}}'
    )


def send(url, *bodies, **attributes):
    attributes = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    sqs = boto3.client("sqs")
    for at in range(0, len(bodies), 10):
        sqs.send_message_batch(QueueUrl=url, Entries=[
            {"Id": str(number), "MessageBody": body, "MessageAttributes": attributes}
            for number, body in enumerate(bodies[at : at + 10])
        ])


def put(url, bodies):
    """Puts many messages directly into moto, whose SendMessage counts the whole queue each time."""
    for body in bodies:
        messages_of(url).append(Message(str(uuid4()), body))
        messages_of(url)[-1].mark_sent()


def waiting(url):
    """How many messages are visible to the next redrive, and how many are in flight."""
    attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = boto3.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=attributes)["Attributes"]
    return int(found[attributes[0]]), int(found[attributes[1]])


def messages_of(url):
    """moto's message objects."""
    return sqs_backends[ACCOUNT][REGION].queues[url.rpartition("/")[2]]._messages


def tasks(front):
    """What was sent to the recorder."""
    return sorted(json.loads(payload)["detail"]["taskArn"] for payload in front.payloads)


def test_both_kinds_of_message_are_sent_and_both_queues_emptied(aws, front, queues):
    dead_letters, failures = queues
    digits = "0.1000000000000000055511151231257827"
    send(dead_letters, event(1), ERROR_CODE="NO_PERMISSIONS", ERROR_MESSAGE="hunter2")
    send(failures, on_failure(event(2).replace('"RUNNING"', f'"RUNNING", "half": {digits}')), on_failure(event(3)))

    assert ops("redrive.py", "recorder", **aws.environment()) == (
        0,
        [
            "dead-letter queue: 1 sent: NO_PERMISSIONS",
            "dead-letter queue: 1 sent, 0 left",
            f"failure queue: 2 sent: {RETRIED}",
            "failure queue: 2 sent, 0 left",
        ],
        [],
    )
    assert tasks(front) == [TASK.format(number) for number in (1, 2, 3)]
    assert sum(f'"half": {digits}' in payload for payload in front.payloads) == 1
    assert waiting(dead_letters) == waiting(failures) == (0, 0)


def test_an_event_refused_by_lambda_is_not_lost_and_is_sent_by_the_next_redrive(aws, front, queues):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(1, 6)))
    # Two are accepted, then one is refused on each of the SDK's attempts.
    refused = 429, {"__type": "TooManyRequestsException", "message": "refused"}
    answers = [None, None, refused, refused]
    front.answer = lambda operation, given: answers.pop(0) if operation == "Invoke" and answers else None

    code, lines, errors = ops("redrive.py", "recorder", AWS_MAX_ATTEMPTS="2", **aws.environment())
    assert code == 1
    assert lines[:-1] == ["dead-letter queue: 0 sent, 0 left", f"failure queue: 2 sent: {RETRIED}"]
    assert lines[-1].startswith("failure queue: 2 sent; stopped: An error occurred (TooManyRequestsException)")
    assert errors == ["failure queue: everything not sent is still in the queue: fix the cause, then run this again"]
    assert waiting(failures) == (3, 0)

    assert answers == []
    code, lines, errors = ops("redrive.py", "recorder", **aws.environment())
    assert (code, lines[-1], errors) == (0, "failure queue: 3 sent, 0 left", [])
    assert tasks(front) == [TASK.format(number) for number in range(1, 6)]
    assert waiting(failures) == (0, 0)


def test_a_dry_run_lists_each_event_with_its_reason_and_sends_and_deletes_nothing(aws, front, queues):
    dead_letters, failures = queues
    send(dead_letters, event(1), ERROR_CODE="NO_PERMISSIONS")
    send(dead_letters, event(2))
    send(failures, on_failure(event(3)), on_failure(event(4), "InvalidEvent"), on_failure(event(5, ago(days=31))))
    assert ops("redrive.py", "recorder", "--dry-run", **aws.environment()) == (
        1,
        [
            f"dead-letter queue: to send: event event-1 of {TASK.format(1)}: NO_PERMISSIONS",
            f"dead-letter queue: to send: event event-2 of {TASK.format(2)}: no reason given",
            "dead-letter queue: 1 to send: NO_PERMISSIONS",
            "dead-letter queue: 1 to send: no reason given",
            "dead-letter queue: 2 to send, 0 left",
            f"failure queue: left: event event-4 of {TASK.format(4)}: InvalidEvent, RetriesExhausted: {ALWAYS_REFUSED}",
            f"failure queue: left: event event-5 of {TASK.format(5)}: {RETRIED}: {TOO_OLD}",
            f"failure queue: to send: event event-3 of {TASK.format(3)}: {RETRIED}",
            f"failure queue: 1 left: InvalidEvent, RetriesExhausted: {ALWAYS_REFUSED}",
            f"failure queue: 1 left: {RETRIED}: {TOO_OLD}",
            f"failure queue: 1 to send: {RETRIED}",
            "failure queue: 1 to send, 2 left",
        ],
        [],
    )
    assert (waiting(dead_letters), waiting(failures)) == ((2, 0), (3, 0))
    assert front.payloads == [] and front.calls["DeleteMessageBatch"] == 0


def test_events_that_are_always_refused_are_left_unless_forced(aws, front, queues):
    _, failures = queues
    refused = ["UnsupportedSource", "UnsupportedDetailType", "InvalidEvent"]
    records = [on_failure(event(number), kind) for number, kind in enumerate(refused)]
    send(failures, *records, on_failure(event(3), "StoreRejected"))
    code, lines, errors = ops("redrive.py", "recorder", **aws.environment())
    assert (code, lines[1:], errors) == (
        1,
        [f"failure queue: 1 left: {kind}, RetriesExhausted: {ALWAYS_REFUSED}" for kind in sorted(refused)]
        + ["failure queue: 1 sent: StoreRejected, RetriesExhausted", "failure queue: 1 sent, 3 left"],
        [],
    )
    assert [json.loads(payload)["id"] for payload in front.payloads] == ["event-3"]
    assert waiting(failures) == (3, 0)

    code, lines, errors = ops("redrive.py", "recorder", "--force", **aws.environment())
    assert (code, lines[-1], errors) == (0, "failure queue: 3 sent, 0 left", [])
    assert sorted(json.loads(payload)["id"] for payload in front.payloads) == [f"event-{number}" for number in range(4)]
    assert waiting(failures) == (0, 0)


@pytest.mark.parametrize(("days", "sent"), [(30, [1]), (0, [0, 1, 2, 3]), (60, [0, 1])])
def test_events_older_than_the_retention_are_left_unless_forced(aws, front, days, sent):
    outputs = aws.deploy("recorder", RetentionDays=days).outputs
    dead_letters = outputs["DeadLetterQueueUrl"]
    times = [ago(days=30, minutes=1), ago(days=29, hours=23), ago(days=90), "yesterday"]
    send(dead_letters, *(event(number, time) for number, time in enumerate(times)), ERROR_CODE="NO_PERMISSIONS")
    code, lines, errors = ops("redrive.py", "recorder", **aws.environment())
    ids = lambda: sorted(json.loads(payload)["id"] for payload in front.payloads)
    assert (code, errors, ids()) == (0 if len(sent) == 4 else 1, [], [f"event-{number}" for number in sent])
    assert lines[-2] == f"dead-letter queue: {len(sent)} sent, {4 - len(sent)} left"
    if len(sent) < 4:
        why = f"NO_PERMISSIONS: older than {days} days, so it could recreate an expired row; send it with FORCE=1"
        assert lines[0] == f"dead-letter queue: {4 - len(sent)} left: {why}"
    assert waiting(dead_letters) == (4 - len(sent), 0)

    code, lines, errors = ops("redrive.py", "recorder", "--force", **aws.environment())
    assert (code, errors, ids()) == (0, [], [f"event-{number}" for number in range(4)])
    assert waiting(dead_letters) == (0, 0)


def test_messages_without_an_event_are_left_and_no_possible_secret_is_shown(aws, front, queues):
    dead_letters, failures = queues
    without_payload = '{"version": "1.0", "requestContext": {"condition": "RetriesExhausted"}}'
    deep = '{"requestContext": ' + "[" * 100_000 + "]" * 100_000 + "}"
    send(failures, "hunter2", '["hunter2"]', '{"secret": "hunter2"}', without_payload, on_failure('"hunter2"'), deep)
    secret = {"overrides": {"containerOverrides": [{"environment": [{"name": "PASSWORD", "value": "hunter2"}]}]}}
    send(failures, on_failure(event(1, **secret)))
    send(failures, on_failure(event(2), "It's hunter2"), on_failure(event(3), ["hunter2"]))
    send(failures, on_failure(event(4).replace("event-4", "hidden\\u001b[2J")))
    send(dead_letters, event(5, **secret), ERROR_CODE="it's hunter2", ERROR_MESSAGE="hunter2")
    for arguments in (["--dry-run"], []):
        code, lines, errors = ops("redrive.py", "recorder", *arguments, **aws.environment())
        assert (code, errors) == (1, [])
        label = "to send" if arguments else "sent"
        assert lines[-4:] == [
            "failure queue: 6 left: it contains no event: inspect it by hand",
            f"failure queue: 2 {label}: RetriesExhausted",
            f"failure queue: 2 {label}: {RETRIED}",
            f"failure queue: 4 {label}, 6 left",
        ]
        assert f"dead-letter queue: 1 {label}: no reason given" in lines
        assert "hunter2" not in "".join(lines) and all(line.isprintable() for line in lines)
    assert waiting(failures) == (6, 0)


def test_messages_that_arrive_during_a_redrive_are_left_for_the_next_one(aws, front, queues, monkeypatch):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(30)))
    backend = sqs_backends[ACCOUNT][REGION]

    def never_empty(operation, given):
        if operation == "ReceiveMessage" and given["QueueUrl"] == failures:
            backend.send_message(failures.rpartition("/")[2], on_failure(event(99)))

    def an_hour_later(message, **delay):
        mark_sent(message, **delay)
        message.sent_timestamp += 3_600_000

    mark_sent = Message.mark_sent
    monkeypatch.setattr(Message, "mark_sent", an_hour_later)
    front.answer = never_empty
    code, lines, errors = ops("redrive.py", "recorder", **aws.environment())
    assert (code, lines[2:], errors) == (
        0, [f"failure queue: 30 sent: {RETRIED}", "failure queue: 30 sent, 0 left"], []
    )
    assert re.fullmatch(f"failure queue: [0-9]+ arrived during this run: {RETRIED}", lines[1])
    assert len(front.payloads) == 30 and waiting(failures) == (len(messages_of(failures)), 0)


def test_a_message_that_sqs_delivers_twice_is_sent_once(aws, front, queues):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(40)))
    receives = []

    def again(operation, given):
        if operation == "ReceiveMessage" and given["QueueUrl"] == failures:
            receives.append(given)
            # Messages in flight become visible again, as can happen with SQS.
            if len(receives) in (3, 5):
                for message in list(messages_of(failures)):
                    message.visible_at = 0

    front.answer = again
    code, lines, errors = ops("redrive.py", "recorder", "--dry-run", **aws.environment())
    assert (code, lines[-1], errors) == (0, "failure queue: 40 to send, 0 left", [])
    assert waiting(failures) == (40, 0)
    receives.clear()
    code, lines, errors = ops("redrive.py", "recorder", **aws.environment())
    assert (code, lines[-1], errors) == (0, "failure queue: 40 sent, 0 left", [])
    assert len(front.payloads) == len(set(front.payloads)) == 40
    assert waiting(failures) == (0, 0)


def test_a_sent_message_that_cannot_be_deleted_is_retried_then_reported(aws, front, queues):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(25)))
    failed = []

    def refuse(first):
        def answer(operation, given):
            if operation == "DeleteMessageBatch" and len(failed) < first:
                entry, *others = given["Entries"]
                failed.append(entry["Id"])
                sqs = boto3.client("sqs", endpoint_url=aws.url)
                for other in others:
                    sqs.delete_message(QueueUrl=failures, ReceiptHandle=other["ReceiptHandle"])
                return 200, {
                    "Successful": [{"Id": other["Id"]} for other in others],
                    "Failed": [{"Id": entry["Id"], "SenderFault": False, "Code": "InternalError"}],
                }
        return answer

    # Each of the three batches fails partially, and once more at the end.
    front.answer = refuse(4)
    code, lines, errors = ops("redrive.py", "recorder", **aws.environment())
    assert (code, errors) == (1, [])
    assert lines[-2:] == [
        "failure queue: 1 of the sent messages could not be deleted (InternalError): the next redrive sends them again, "
        "which does not change any row",
        "failure queue: 25 sent, 0 left",
    ]
    assert len(front.payloads) == 25 and waiting(failures) == (1, 0)

    # Only the first fails, and not at the end.
    failed.clear()
    front.answer = refuse(1)
    code, lines, errors = ops("redrive.py", "recorder", **aws.environment())
    assert (code, lines[-1], errors) == (0, "failure queue: 1 sent, 0 left", [])
    assert waiting(failures) == (0, 0)


def test_without_permission_to_delete_messages_it_stops(aws, front, queues):
    _, failures = queues
    put(failures, (on_failure(event(number)) for number in range(500)))
    denied = 403, {"__type": "AccessDenied", "message": "not authorized"}
    front.answer = lambda operation, given: denied if operation == "DeleteMessageBatch" else None
    code, lines, errors = ops("redrive.py", "recorder", **aws.environment())
    sent = len(front.payloads)
    assert (code, len(errors)) == (1, 1) and sent <= 320
    assert lines[-2:] == [
        f"failure queue: {sent} of the sent messages could not be deleted (AccessDenied): the next redrive sends them "
        "again, which does not change any row",
        f"failure queue: {sent} sent; stopped: An error occurred (AccessDenied) when calling the DeleteMessageBatch "
        "operation: not authorized",
    ]
    assert waiting(failures) == (500, 0)


def test_messages_that_cannot_be_released_are_reported_and_stop_nothing(aws, front, queues):
    dead_letters, failures = queues
    send(dead_letters, *(event(number) for number in range(3)))
    send(failures, *(on_failure(event(number)) for number in range(15)))

    def refuse(operation, given):
        if operation == "ChangeMessageVisibilityBatch" and given["QueueUrl"] == dead_letters:
            # The whole call fails, as in moto if a message is 12 hours old.
            return 400, {"__type": "InvalidParameterValue", "message": "beyond the limit [43200 seconds]"}
        if operation == "ChangeMessageVisibilityBatch":
            # Each entry fails, as in SQS.
            return 200, {"Successful": [], "Failed": [
                {"Id": entry["Id"], "SenderFault": True, "Code": "InvalidParameterValue"} for entry in given["Entries"]
            ]}

    front.answer = refuse
    code, lines, errors = ops("redrive.py", "recorder", "--dry-run", **aws.environment())
    assert (code, errors) == (0, [])
    until = "could not be released (InvalidParameterValue): they return to the queue within 30 minutes"
    assert [line for line in lines if ": to send: " not in line] == [
        "dead-letter queue: 3 to send: no reason given",
        f"dead-letter queue: 3 {until}",
        "dead-letter queue: 3 to send, 0 left",
        f"failure queue: 15 to send: {RETRIED}",
        f"failure queue: 15 {until}",
        "failure queue: 15 to send, 0 left",
    ]

    # The next redrive sees and reports the messages in flight.
    code, lines, errors = ops("redrive.py", "recorder", **aws.environment())
    held = (
        "more were in flight, held by another redrive or by one that was killed: they return to the queue within 30 minutes"
    )
    assert (code, lines, errors) == (
        1,
        [
            f"dead-letter queue: about 3 {held}", "dead-letter queue: 0 sent, 0 left",
            f"failure queue: about 15 {held}", "failure queue: 0 sent, 0 left",
        ],
        [],
    )


def test_an_event_that_lambda_can_never_accept_is_left_and_does_not_stop_the_others(aws, front, queues):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(5)))
    refusals = [
        (413, {"Type": "User", "message": "hunter2", "__type": "RequestTooLargeException"}),
        (400, {"Type": "User", "message": "hunter2", "__type": "InvalidRequestContentException"}),
    ]
    front.answer = lambda operation, given: refusals.pop() if operation == "Invoke" and refusals else None
    code, lines, errors = ops("redrive.py", "recorder", **aws.environment())
    assert (code, lines[1:], errors) == (
        1,
        [
            f"failure queue: 1 left: {RETRIED}: refused by Lambda (InvalidRequestContentException); inspect it by hand",
            f"failure queue: 1 left: {RETRIED}: refused by Lambda (RequestTooLargeException); inspect it by hand",
            f"failure queue: 3 sent: {RETRIED}",
            "failure queue: 3 sent, 2 left",
        ],
        [],
    )
    assert waiting(failures) == (2, 0)


def test_messages_that_were_not_seen_are_reported(aws, front, queues):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(30)))
    receives = []

    def at_the_limit(operation, given):
        """Responds like SQS when 120,000 messages of a queue are in flight."""
        if operation == "ReceiveMessage" and given["QueueUrl"] == failures:
            receives.append(given)
            if len(receives) > 2:
                return 403, {"__type": "OverLimit", "message": "too many"}

    front.answer = at_the_limit
    code, lines, errors = ops("redrive.py", "recorder", "--dry-run", **aws.environment())
    assert (code, lines[-2:], errors) == (
        1,
        [
            "failure queue: the queue reported about 30 messages, 20 were seen: run this again in a minute to be sure",
            "failure queue: 20 to send, 0 left",
        ],
        [],
    )
    assert waiting(failures) == (30, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("arguments", [[], ["--dry-run"]])
def test_an_interrupted_redrive_releases_its_messages_and_reports_its_progress(aws, front, queues, number, arguments):
    _, failures = queues
    put(failures, (on_failure(event(number)) for number in range(500)))
    front.seconds = 0.05
    process = subprocess.Popen(
        command("redrive.py", "recorder", *arguments), env=aws.environment(), cwd=PROJECT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 30
    held = lambda: len(front.payloads) if not arguments else waiting(failures)[1]
    while held() < 50:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    before = len(front.payloads)
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    sent = len(front.payloads)
    assert process.returncode == 128 + number
    assert output.splitlines()[-1] == f"failure queue: {sent} sent; stopped: {signal.strsignal(number)}"
    assert errors == "failure queue: everything not sent is still in the queue: run this again\n"
    # Each worker finishes the call that it is in, not its ten messages.
    assert 50 <= sent < before + 160 if not arguments else sent == 0
    assert waiting(failures) == (500 - sent, 0)
    assert len(set(front.payloads)) == sent


def test_all_workers_together_send_no_more_than_the_pace_allows(aws, front, queues):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(60)))
    sent_at = []

    def note(operation, given):
        if operation == "Invoke":
            sent_at.append(time.monotonic())

    front.answer = note
    code, lines, errors = ops("redrive.py", "recorder", "--per-second", "20", **aws.environment())
    assert (code, lines[-1], errors) == (0, "failure queue: 60 sent, 0 left", [])
    # The last turn is 59 after the first. An event may take longer than others to arrive.
    assert sent_at[-1] - sent_at[0] > 59 / 20 * 0.9


def test_an_interrupted_redrive_does_not_wait_for_its_next_turn(aws, front, queues):
    _, failures = queues
    put(failures, (on_failure(event(number)) for number in range(500)))
    process = subprocess.Popen(
        command("redrive.py", "recorder", "--per-second", "1"), env=aws.environment(), cwd=PROJECT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 30
    while len(front.payloads) < 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    # 32 workers wait for turns that are a second apart.
    output, _ = process.communicate(timeout=15)
    sent = len(front.payloads)
    assert (process.returncode, sent < 20) == (130, True)
    assert output.splitlines()[-1] == f"failure queue: {sent} sent; stopped: Interrupt"
    assert waiting(failures) == (500 - sent, 0)


def test_a_pace_that_never_sends_is_refused(aws):
    assert ops("redrive.py", "recorder", "--per-second", "0", **aws.environment()) == (
        1, [], ["error: PER_SECOND must be at least 1, found 0"]
    )


def test_a_closed_output_pipe_leaves_no_message_in_flight(aws, front, queues):
    _, failures = queues
    put(failures, (on_failure(event(number)) for number in range(2000)))
    process = subprocess.Popen(
        command("redrive.py", "recorder", "--dry-run"), env=aws.environment(), cwd=PROJECT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    process.stdout.readline()
    process.stdout.close()
    assert (process.stderr.read(), process.wait(timeout=30), waiting(failures)) == (b"", 1, (2000, 0))


def measured(capsys, aws, *arguments):
    began = time.monotonic()
    code, lines, errors = ops("redrive.py", "recorder", *arguments, seconds=3600, **aws.environment())
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"\n{lines[-1]} in {seconds:.1f} s: {MESSAGES / seconds:.0f} per second, with 50 ms added to each call")
    return code, lines, errors, MESSAGES / seconds


def test_a_large_dry_run_counts_each_message_once_and_leaves_the_queue_unchanged(capsys, aws, front, queues):
    _, failures = queues
    put(failures, (on_failure(event(number)) for number in range(MESSAGES)))
    front.seconds = 0.05
    code, lines, errors, rate = measured(capsys, aws, "--dry-run")
    assert (code, lines[-1]) == (0, f"failure queue: {MESSAGES} to send, 0 left")
    assert {line.split()[5] for line in lines if " event " in line} == {f"event-{number}" for number in range(MESSAGES)}
    assert waiting(failures) == (MESSAGES, 0) and front.payloads == []
    assert rate > 50


def test_many_messages_are_sent_quickly_and_each_only_once(capsys, aws, front, queues):
    _, failures = queues
    events = [event(number) for number in range(MESSAGES)]
    put(failures, map(on_failure, events))
    front.seconds = 0.05
    code, lines, errors, rate = measured(capsys, aws)
    assert (code, lines[-1]) == (0, f"failure queue: {MESSAGES} sent, 0 left")
    assert sorted(front.payloads) == sorted(events)
    assert waiting(failures) == (0, 0)
    assert rate > 50
