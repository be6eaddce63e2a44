"""make redrive: what it sends, what it leaves, and that nothing is lost, whatever the size and however it ends.

test_stack.py redrives an event to the real recorder."""

import json
import re
import signal
import time
from collections import Counter
from itertools import count
from threading import Barrier

import boto3
import pytest

import deployment
from deploy.cloudformation import Stack
from deploy.ops import ops, start

from .conftest import ACCOUNTS, SECONDS, until, used
from .proxy import Proxy, ago

TASK = "arn:aws:ecs:eu-west-1:123456789012:task/demo/{}"
RETRIED = "StoreUnavailable, RetriesExhausted"
ALWAYS_REFUSED = "always refused; fix the sender, then delete it or send it with FORCE=1"
TOO_OLD = "older than 30 days, so it could recreate an expired row; send it with FORCE=1"
WORKERS = 32
QUEUE = {"Type": "AWS::SQS::Queue"}
# What a redrive looks at.
TEMPLATE = {
    "Description": "ecs-state-recorder: queues",
    "Parameters": {"Architecture": {"Type": "String"}, "RetentionDays": {"Type": "Number"}},
    "Resources": {"DeadLetterQueue": QUEUE, "FailureQueue": QUEUE},
    "Outputs": {
        "RecorderName": {"Value": "recorder"}, "DeadLetterQueueUrl": {"Value": {"Ref": "DeadLetterQueue"}},
        "FailureQueueUrl": {"Value": {"Ref": "FailureQueue"}},
    },
}


class Front:
    """In front of MiniStack: it can delay, change and refuse every call to SQS and Lambda, and it keeps all events."""

    def __init__(self):
        self.seconds, self.calls, self.payloads = 0, Counter(), []
        # The response to send instead, as status and JSON, depending on the operation and its input.
        self.answer = lambda operation, given: None

    def __call__(self, call):
        time.sleep(self.seconds)
        answer = self.answer(call.operation, call.given)
        self.calls[call.operation] += 1
        if call.operation == "Invoke" and answer is None:
            self.payloads.append(call.body.decode())
            return 202, None
        call.body = json.dumps(call.given).encode()
        del call.headers["Content-Length"]
        return answer


@pytest.fixture
def front(ministack, account):
    front = Front()
    with Proxy(ministack.url, front) as proxy:
        front.environment = account | {"AWS_ENDPOINT_URL_SQS": proxy.url, "AWS_ENDPOINT_URL_LAMBDA": proxy.url}
        yield front


def create(retention_days=30):
    """The URLs of the queues of a new stack."""
    status, outputs = deployment.create("recorder", TEMPLATE, RetentionDays=retention_days)
    assert status == "CREATE_COMPLETE"
    return outputs["DeadLetterQueueUrl"], outputs["FailureQueueUrl"]


@pytest.fixture
def queues(account):
    return create()


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


def waiting(url):
    """How many messages are visible to the next redrive, and how many are in flight."""
    attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = boto3.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=attributes)["Attributes"]
    return int(found[attributes[0]]), int(found[attributes[1]])


def tasks(front):
    """What was sent to the recorder."""
    return sorted(json.loads(payload)["detail"]["taskArn"] for payload in front.payloads)


def test_both_kinds_of_message_are_sent_and_both_queues_emptied(front, queues):
    dead_letters, failures = queues
    digits = "0.1000000000000000055511151231257827"
    send(dead_letters, event(1), ERROR_CODE="NO_PERMISSIONS", ERROR_MESSAGE="hunter2")
    send(failures, on_failure(event(2).replace('"RUNNING"', f'"RUNNING", "half": {digits}')), on_failure(event(3)))

    assert ops("redrive.py", "recorder", **front.environment) == (
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


def test_an_event_refused_by_lambda_is_not_lost_and_is_sent_by_the_next_redrive(front, queues):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(1, 6)))
    # Two are accepted, then one is refused on each of the SDK's attempts.
    refused = 429, {"__type": "TooManyRequestsException", "message": "refused"}
    answers = [None, None, refused, refused]
    front.answer = lambda operation, given: answers.pop(0) if operation == "Invoke" and answers else None

    code, lines, errors = ops("redrive.py", "recorder", AWS_MAX_ATTEMPTS="2", **front.environment)
    assert code == 1
    assert lines[:-1] == ["dead-letter queue: 0 sent, 0 left", f"failure queue: 2 sent: {RETRIED}"]
    assert lines[-1].startswith("failure queue: 2 sent; stopped: An error occurred (TooManyRequestsException)")
    assert errors == ["failure queue: everything not sent is still in the queue: fix the cause, then run this again"]
    assert waiting(failures) == (3, 0)

    assert answers == []
    code, lines, errors = ops("redrive.py", "recorder", **front.environment)
    assert (code, lines[-1], errors) == (0, "failure queue: 3 sent, 0 left", [])
    assert tasks(front) == [TASK.format(number) for number in range(1, 6)]
    assert waiting(failures) == (0, 0)


def test_a_dry_run_lists_each_event_with_its_reason_and_sends_and_deletes_nothing(front, queues):
    dead_letters, failures = queues
    send(dead_letters, event(1), ERROR_CODE="NO_PERMISSIONS")
    send(dead_letters, event(2))
    send(failures, on_failure(event(3)), on_failure(event(4), "InvalidEvent"), on_failure(event(5, ago(days=31))))
    assert ops("redrive.py", "recorder", "--dry-run", **front.environment) == (
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


def test_events_that_are_always_refused_are_left_unless_forced(front, queues):
    _, failures = queues
    refused = ["UnsupportedSource", "UnsupportedDetailType", "InvalidEvent"]
    records = [on_failure(event(number), kind) for number, kind in enumerate(refused)]
    send(failures, *records, on_failure(event(3), "StoreRejected"))
    code, lines, errors = ops("redrive.py", "recorder", **front.environment)
    assert (code, lines[1:], errors) == (
        1,
        [f"failure queue: 1 left: {kind}, RetriesExhausted: {ALWAYS_REFUSED}" for kind in sorted(refused)]
        + ["failure queue: 1 sent: StoreRejected, RetriesExhausted", "failure queue: 1 sent, 3 left"],
        [],
    )
    assert [json.loads(payload)["id"] for payload in front.payloads] == ["event-3"]
    assert waiting(failures) == (3, 0)

    code, lines, errors = ops("redrive.py", "recorder", "--force", **front.environment)
    assert (code, lines[-1], errors) == (0, "failure queue: 3 sent, 0 left", [])
    assert sorted(json.loads(payload)["id"] for payload in front.payloads) == [f"event-{number}" for number in range(4)]
    assert waiting(failures) == (0, 0)


@pytest.mark.parametrize(("days", "sent"), [(30, [1]), (0, [0, 1, 2, 3]), (60, [0, 1])])
def test_events_older_than_the_retention_are_left_unless_forced(front, days, sent):
    dead_letters, _ = create(days)
    times = [ago(days=30, minutes=1), ago(days=29, hours=23), ago(days=90), "yesterday"]
    send(dead_letters, *(event(number, time) for number, time in enumerate(times)), ERROR_CODE="NO_PERMISSIONS")
    code, lines, errors = ops("redrive.py", "recorder", **front.environment)
    ids = lambda: sorted(json.loads(payload)["id"] for payload in front.payloads)
    assert (code, errors, ids()) == (0 if len(sent) == 4 else 1, [], [f"event-{number}" for number in sent])
    assert lines[-2] == f"dead-letter queue: {len(sent)} sent, {4 - len(sent)} left"
    if len(sent) < 4:
        why = f"NO_PERMISSIONS: older than {days} days, so it could recreate an expired row; send it with FORCE=1"
        assert lines[0] == f"dead-letter queue: {4 - len(sent)} left: {why}"
    assert waiting(dead_letters) == (4 - len(sent), 0)

    code, lines, errors = ops("redrive.py", "recorder", "--force", **front.environment)
    assert (code, errors, ids()) == (0, [], [f"event-{number}" for number in range(4)])
    assert waiting(dead_letters) == (0, 0)


def test_messages_without_an_event_are_left_and_no_possible_secret_is_shown(front, queues):
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
        code, lines, errors = ops("redrive.py", "recorder", *arguments, **front.environment)
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


def test_messages_that_arrive_during_a_redrive_are_left_for_the_next_one(front, queues):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(30)))
    started, arrived = [], []

    def never_empty(operation, given):
        if given.get("QueueUrl") == failures and operation == "GetQueueAttributes":
            started.append(time.time())
        elif given.get("QueueUrl") == failures and operation == "ReceiveMessage":
            # What is sent within a second of the start is not left: SQS tells its time in seconds.
            until(lambda: time.time() > started[0] + 2, "the third second")
            send(failures, on_failure(event(99)))
            arrived.append(given)

    front.answer = never_empty
    code, lines, errors = ops("redrive.py", "recorder", **front.environment)
    assert (code, lines[2:], errors) == (
        0, [f"failure queue: 30 sent: {RETRIED}", "failure queue: 30 sent, 0 left"], []
    )
    assert re.fullmatch(f"failure queue: [0-9]+ arrived during this run: {RETRIED}", lines[1])
    assert len(front.payloads) == 30 and waiting(failures) == (len(arrived), 0)


def test_a_message_that_sqs_delivers_twice_is_sent_once(front, queues):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(40)))
    receives = []

    def again(operation, given):
        if operation == "ReceiveMessage" and given["QueueUrl"] == failures:
            receives.append(time.time())
            # These messages become visible again during the run, as can happen with SQS.
            if len(receives) in (1, 3):
                given["VisibilityTimeout"] = 1
            elif len(receives) > 4:
                until(lambda: time.time() > receives[2] + 2, "the third second")
        elif operation == "DeleteMessageBatch":
            until(lambda: time.time() > receives[2] + 3, "the fourth second")

    front.answer = again
    code, lines, errors = ops("redrive.py", "recorder", "--dry-run", **front.environment)
    assert (code, lines[-1], errors) == (0, "failure queue: 40 to send, 0 left", [])
    assert waiting(failures) == (40, 0)
    receives.clear()
    code, lines, errors = ops("redrive.py", "recorder", **front.environment)
    assert (code, lines[-1], errors) == (0, "failure queue: 40 sent, 0 left", [])
    assert len(front.payloads) == len(set(front.payloads)) == 40
    assert waiting(failures) == (0, 0)


def test_a_sent_message_that_cannot_be_deleted_is_retried_then_reported(front, queues):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(25)))
    failed = []

    def refuse(first):
        def answer(operation, given):
            if operation == "DeleteMessageBatch" and len(failed) < first:
                entry, *others = given["Entries"]
                failed.append(entry["Id"])
                sqs = boto3.client("sqs")
                for other in others:
                    sqs.delete_message(QueueUrl=failures, ReceiptHandle=other["ReceiptHandle"])
                return 200, {
                    "Successful": [{"Id": other["Id"]} for other in others],
                    "Failed": [{"Id": entry["Id"], "SenderFault": False, "Code": "InternalError"}],
                }
        return answer

    # Each of the three batches fails partially, and once more at the end.
    front.answer = refuse(4)
    code, lines, errors = ops("redrive.py", "recorder", **front.environment)
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
    code, lines, errors = ops("redrive.py", "recorder", **front.environment)
    assert (code, lines[-1], errors) == (0, "failure queue: 1 sent, 0 left", [])
    assert waiting(failures) == (0, 0)


def test_without_permission_to_delete_messages_it_stops(front, queues):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(500)))
    denied = 403, {"__type": "AccessDenied", "message": "not authorized"}
    front.answer = lambda operation, given: denied if operation == "DeleteMessageBatch" else None
    code, lines, errors = ops("redrive.py", "recorder", **front.environment)
    sent = len(front.payloads)
    assert (code, len(errors)) == (1, 1) and sent <= 320
    assert lines[-2:] == [
        f"failure queue: {sent} of the sent messages could not be deleted (AccessDenied): the next redrive sends them "
        "again, which does not change any row",
        f"failure queue: {sent} sent; stopped: An error occurred (AccessDenied) when calling the DeleteMessageBatch "
        "operation: not authorized",
    ]
    assert waiting(failures) == (500, 0)


def test_messages_that_cannot_be_released_are_reported_and_stop_nothing(front, queues):
    dead_letters, failures = queues
    send(dead_letters, *(event(number) for number in range(3)))
    send(failures, *(on_failure(event(number)) for number in range(15)))

    def refuse(operation, given):
        if operation == "ChangeMessageVisibilityBatch" and given["QueueUrl"] == dead_letters:
            # The whole call fails, as if a message were 12 hours old.
            return 400, {"__type": "InvalidParameterValue", "message": "beyond the limit [43200 seconds]"}
        if operation == "ChangeMessageVisibilityBatch":
            # Each entry fails, as in SQS.
            return 200, {"Successful": [], "Failed": [
                {"Id": entry["Id"], "SenderFault": True, "Code": "InvalidParameterValue"} for entry in given["Entries"]
            ]}

    front.answer = refuse
    code, lines, errors = ops("redrive.py", "recorder", "--dry-run", **front.environment)
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
    code, lines, errors = ops("redrive.py", "recorder", **front.environment)
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


def test_an_event_that_lambda_can_never_accept_is_left_and_does_not_stop_the_others(front, queues):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(5)))
    refusals = [
        (413, {"Type": "User", "message": "hunter2", "__type": "RequestTooLargeException"}),
        (400, {"Type": "User", "message": "hunter2", "__type": "InvalidRequestContentException"}),
    ]
    front.answer = lambda operation, given: refusals.pop() if operation == "Invoke" and refusals else None
    code, lines, errors = ops("redrive.py", "recorder", **front.environment)
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


def test_messages_that_were_not_seen_are_reported(front, queues):
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
    code, lines, errors = ops("redrive.py", "recorder", "--dry-run", **front.environment)
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
def test_an_interrupted_redrive_releases_its_messages_and_reports_its_progress(front, queues, number, arguments):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(500)))
    front.seconds = 0.05
    process = start("redrive.py", "recorder", *arguments, **front.environment)
    until(lambda: (len(front.payloads) if not arguments else waiting(failures)[1]) >= 50, "fifty messages")
    # Each worker is in a call for long enough to be interrupted in it.
    front.seconds = 1
    before = len(front.payloads)
    process.send_signal(number)
    output, errors = process.communicate(timeout=SECONDS)
    sent = len(front.payloads)
    assert process.returncode == 128 + number
    assert output.splitlines()[-1] == f"failure queue: {sent} sent; stopped: {signal.strsignal(number)}"
    assert errors == "failure queue: everything not sent is still in the queue: run this again\n"
    # Each worker finishes the call that it is in, not its ten messages.
    assert 50 <= sent < before + 160 if not arguments else sent == 0
    assert waiting(failures) == (500 - sent, 0)
    assert len(set(front.payloads)) == sent


def test_all_workers_together_send_no_more_than_the_pace_allows(front, queues):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(60)))
    at = {}

    def note(operation, given):
        # The first call to receive, before the first turn, and the last event.
        if operation != "ReceiveMessage" or operation not in at:
            at[operation] = time.monotonic()

    front.answer = note
    code, lines, errors = ops("redrive.py", "recorder", "--per-second", "20", **front.environment)
    assert (code, lines[-1], errors) == (0, "failure queue: 60 sent, 0 left", [])
    # The last turn is 59 after the first.
    assert at["Invoke"] - at["ReceiveMessage"] > 59 / 20


def test_an_interrupted_redrive_does_not_wait_for_its_next_turn(front, queues):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(500)))
    process = start("redrive.py", "recorder", "--per-second", "1", **front.environment)
    until(lambda: len(front.payloads) >= 2, "two events")
    process.send_signal(signal.SIGINT)
    # 32 workers wait for turns that are a second apart.
    output, _ = process.communicate(timeout=25)
    sent = len(front.payloads)
    assert (process.returncode, sent < 20) == (130, True)
    assert output.splitlines()[-1] == f"failure queue: {sent} sent; stopped: Interrupt"
    assert waiting(failures) == (500 - sent, 0)


def test_a_pace_that_never_sends_is_refused(environment):
    assert ops("redrive.py", "recorder", "--per-second", "0", **environment) == (
        1, [], ["error: PER_SECOND must be at least 1, found 0"]
    )


def test_a_closed_output_pipe_leaves_no_message_in_flight(front, queues):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(2000)))
    process = start("redrive.py", "recorder", "--dry-run", **front.environment)
    process.stdout.readline()
    process.stdout.close()
    assert (process.stderr.read(), process.wait(timeout=SECONDS), waiting(failures)) == ("", 1, (2000, 0))


def test_a_large_dry_run_counts_each_message_once_and_leaves_the_queue_unchanged(front, queues):
    _, failures = queues
    send(failures, *(on_failure(event(number)) for number in range(2000)))
    code, lines, _ = ops("redrive.py", "recorder", "--dry-run", **front.environment)
    assert (code, lines[-1]) == (0, "failure queue: 2000 to send, 0 left")
    assert {line.split()[5] for line in lines if " event " in line} == {f"event-{number}" for number in range(2000)}
    assert waiting(failures) == (2000, 0) and front.payloads == []


def test_many_messages_are_sent_by_all_workers_at_once_and_each_only_once(front, queues):
    _, failures = queues
    events, number, all_workers = [event(number) for number in range(2000)], count(), Barrier(WORKERS)
    send(failures, *map(on_failure, events))

    def wait_for_the_others(operation, given):
        if operation == "Invoke" and next(number) < WORKERS:
            all_workers.wait(SECONDS)

    front.answer = wait_for_the_others
    code, lines, _ = ops("redrive.py", "recorder", **front.environment)
    assert (code, lines[-1]) == (0, "failure queue: 2000 sent, 0 left")
    assert sorted(front.payloads) == sorted(events) and not all_workers.broken
    assert waiting(failures) == (0, 0)


# The queues of an organization's spokes.


@pytest.fixture
def spoke(account):
    """A spoke of the account: its account and region, its queue's URL, and a task. Now, boto3 uses its account."""
    number, region = str(next(ACCOUNTS)), "us-east-1"
    bus = f"arn:aws:events:eu-west-1:{account['AWS_ACCESS_KEY_ID']}:event-bus/hub"
    properties = Stack("spoke", "organization/spoke.yaml", (number, region), HubBusArn=bus).properties
    policy = properties["DeadLetterQueuePolicy"]["PolicyDocument"]
    # MiniStack is reached by HTTP.
    policy["Statement"] = [each for each in policy["Statement"] if each["Sid"] != "TlsOnly"]
    with used(account | {"AWS_ACCESS_KEY_ID": number, "AWS_REGION": region, "AWS_DEFAULT_REGION": region}):
        url = boto3.client("sqs").create_queue(
            QueueName="ecs-state-recorder-spoke", Attributes={"Policy": json.dumps(policy)})["QueueUrl"]
        yield f"{number}/{region}", url, f"arn:aws:ecs:{region}:{number}:task/demo/1"


def test_what_waits_in_a_spokes_queue_is_sent_to_the_recorder(front, queues, spoke):
    place, url, task = spoke
    send(url, event(1, taskArn=task), ERROR_CODE="NO_PERMISSIONS")
    code, lines, errors = ops("redrive.py", "recorder", "--spokes", place, "--dry-run", **front.environment)
    assert (code, lines[-1], errors) == (0, f"spoke {place}: 1 to send, 0 left", [])
    assert ops("redrive.py", "recorder", "--spokes", place, **front.environment) == (0, [
        "dead-letter queue: 0 sent, 0 left", "failure queue: 0 sent, 0 left",
        f"spoke {place}: 1 sent: NO_PERMISSIONS", f"spoke {place}: 1 sent, 0 left",
    ], [])
    assert (tasks(front), waiting(url)) == ([task], (0, 0))


def test_what_is_not_about_the_spokes_own_account_and_region_is_left(front, queues, spoke):
    place, url, task = spoke
    cluster = TASK.format(1).replace("task/demo/1", "cluster/demo")
    send(url, event(1), event(2, taskArn=task.replace("us-east-1", "eu-west-1")),
         event(3, taskArn=task, clusterArn=cluster), event(4, taskArn=[task]), event(5, taskArn=None),
         ERROR_CODE="NO_PERMISSIONS")
    code, lines, _ = ops("redrive.py", "recorder", "--force", "--spokes", place, **front.environment)
    assert (code, lines[-2:]) == (1, [
        f"spoke {place}: 5 left: NO_PERMISSIONS: not about the spoke's own account and region; inspect it by hand",
        f"spoke {place}: 0 sent, 5 left",
    ])
    assert (front.payloads, waiting(url)) == ([], (5, 0))


def test_a_spoke_that_cannot_be_redriven_is_named_and_the_others_are_redriven(front, queues, spoke):
    place, url, task = spoke
    send(url, event(1, taskArn=task))
    boto3.client("sqs", region_name="eu-west-1").create_queue(QueueName="ecs-state-recorder-spoke")
    without_policy = place.replace("us-east-1", "eu-west-1")
    code, lines, errors = ops("redrive.py", "recorder", "--spokes", f"{without_policy} {place}", **front.environment)
    assert (code, lines[-1], len(front.payloads)) == (1, f"spoke {place}: 1 sent, 0 left", 1)
    assert errors == [
        f"error: the queue ecs-state-recorder-spoke of the spoke {without_policy} can't be used (AccessDenied): its stack "
        "must name a bus of your account, and your own policies must allow the queue, too (docs/organization.md)"]
    assert ops("redrive.py", "recorder", "--spokes", "111122223333", **front.environment) == (1, [], [
        "error: SPOKES must be like 111122223333/eu-west-1, separated by spaces, found '111122223333'"])
