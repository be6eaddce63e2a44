"""Resends the events in both queues to the recorder: EventBridge couldn't deliver them, or Lambda gave up on them. It
also empties the queues of an organization's spokes. Safe at any time: an older state never replaces a newer one.

Written in Python: in Rust, it would add three more AWS SDKs to every build."""

import argparse
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from threading import Event, Lock

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

import stack

# Each worker receives ten messages at a time, sends their events one by one, and deletes the messages.
WORKERS = 32
# How long received messages stay hidden, even if the redrive is killed. SQS allows about 120,000 messages in flight per
# queue: at 70 per second, a dry run reaches that before the first one becomes visible again.
VISIBILITY_MINUTES = 30
# At two write units each, half of a new table's capacity: the other half is for the events that arrive meanwhile.
EVENTS_PER_SECOND = 1000
# The permanent error types: the same event always fails with them.
ALWAYS_REFUSED = {"UnsupportedSource", "UnsupportedDetailType", "InvalidEvent"}
# As in organization/spoke.yaml.
SPOKE_QUEUE = "ecs-state-recorder-spoke"


def members(text):
    """The members of a JSON object, each as its original text: parsing and serializing would change a number of 38
    digits."""
    scan = json.JSONDecoder().raw_decode
    after_space = lambda at: re.compile(r"\s*").match(text, at).end()
    at = after_space(text.index("{") + 1)
    while text[at] != "}":
        name, at = scan(text, at)
        value = after_space(after_space(at) + 1)
        _, at = scan(text, value)
        yield name, text[value:at]
        at = after_space(at)
        if text[at] == ",":
            at = after_space(at + 1)


def member(record, *path):
    for name in path:
        record = record.get(name) if isinstance(record, dict) else None
    return record


def error_name(value):
    """The value, if it looks like an error name. Any other text is not shown, since it could be a secret."""
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.:]{1,64}", value) else None


class Message:
    """A message's event, and why it is in the queue. EventBridge sends the plain event, Lambda an on-failure record
    that contains it."""

    def __init__(self, message):
        self.id = message["MessageId"]
        self.sent_at = int(message["Attributes"]["SentTimestamp"]) / 1000
        self.event, self.payload, names = None, None, [None]
        body = message["Body"]
        try:
            record = json.loads(body)
        except (ValueError, RecursionError):
            record = None
        if member(record, "requestContext") is not None:
            names = [member(record, "responsePayload", "errorType"), member(record, "requestContext", "condition")]
            if isinstance(member(record, "requestPayload"), dict):
                self.event, self.payload = record["requestPayload"], dict(members(body))["requestPayload"]
        elif member(record, "detail-type") is not None:
            names = [member(message, "MessageAttributes", "ERROR_CODE", "StringValue")]
            self.event, self.payload = record, body
        names = [error_name(name) for name in names]
        self.always_refused = names[0] in ALWAYS_REFUSED
        self.why = ", ".join(filter(None, names)) or "no reason given"

    def __str__(self):
        """Identifies the event without anything from its detail, which can contain secrets."""
        if self.event is None:
            return f"message {self.id}"
        resources = self.event.get("resources")
        resources = ", ".join(map(str, resources)) if isinstance(resources, list) else ""
        text = f"event {self.event.get('id')} of {resources or 'no resource'}"
        return text if text.isprintable() else ascii(text)

    def is_of(self, spoke):
        """Whether all that the event is about is in the spoke's account and region."""
        arns = [member(self.event, "detail", name) for name in ("taskArn", "containerInstanceArn", "clusterArn")]
        arns = [arn for arn in arns if arn is not None]
        found = {"/".join(reversed(arn.split(":")[3:5])) if isinstance(arn, str) else None for arn in arns}
        return found == {spoke}

    def older_than(self, days):
        """True also if the age is unknown."""
        try:
            at = datetime.fromisoformat(self.event["time"].replace("Z", "+00:00"))
            return datetime.now(timezone.utc) - at > timedelta(days=days)
        except (KeyError, AttributeError, ValueError, TypeError):
            return True


class Stop(Event):
    """Set by the first Ctrl-C or SIGTERM: the workers stop, and received messages are released. A second one exits at
    once."""

    signal = None

    def __init__(self):
        super().__init__()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.interrupt)

    def interrupt(self, number, _):
        self.signal = number
        self.set()
        signal.signal(number, signal.SIG_DFL)


class Pace:
    """Limits the events that all workers together send per second."""

    def __init__(self, per_second, stop):
        self.interval, self.next, self.lock, self.stop = 1 / per_second, 0, Lock(), stop

    def my_turn(self):
        """Waits. False if the redrive was stopped meanwhile."""
        with self.lock:
            turn = self.next = max(self.next + self.interval, time.monotonic())
        return not self.stop.wait(turn - time.monotonic())


class Redrive:
    """The redrive of one queue."""

    def __init__(self, clients, name, url, spoke, function, retention_days, dry_run, force, pace, stop):
        self.sqs, self.lambda_ = clients
        # The spoke is an account and a region, or None.
        self.name, self.url, self.spoke, self.function = name, url, spoke, function
        self.retention_days, self.dry_run, self.force, self.pace = retention_days, dry_run, force, pace
        self.stop, self.error = stop, None
        # Guards everything below, which all workers modify.
        self.lock = Lock()
        # The latest receipt handle of each message that is held, by message id. SQS may ignore an older one.
        self.handles = {}
        # The ids of the messages whose events Lambda has accepted.
        self.accepted = set()
        self.outcomes, self.groups, self.lines = Counter(), Counter(), []

    def run(self):
        """Empties the queue. True if nothing is left of what was in it at the start."""
        counts = self.sqs.get_queue_attributes(
            QueueUrl=self.url, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        )
        # By SQS's clock, rounded up to the next second.
        self.start = parsedate_to_datetime(counts["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp() + 1
        visible = int(counts["Attributes"]["ApproximateNumberOfMessages"])
        in_flight = int(counts["Attributes"]["ApproximateNumberOfMessagesNotVisible"])
        with ThreadPoolExecutor(WORKERS) as pool:
            began = time.monotonic()
            show_until_done(
                [pool.submit(self.work) for _ in range(WORKERS)],
                lambda _: f"{self.name}: {(seen := self.outcomes.total())} of about {visible} seen, "
                f"{seen / (time.monotonic() - began):.0f} per second",
            )
            undeleted = self.accepted & self.handles.keys()
            undeleted = self.at_end(pool, "deleting", self.sqs.delete_message_batch, undeleted)
            # Including messages that were sent but can't be deleted: the alarm and the next redrive must see them.
            held = undeleted.keys() | self.handles.keys() - self.accepted
            unreleased = self.at_end(
                pool, "releasing", self.sqs.change_message_visibility_batch, held, VisibilityTimeout=0
            )
        self.report(visible, in_flight, undeleted, unreleased)
        seen, left = self.outcomes["sent"] + self.outcomes["left"], self.outcomes["left"]
        return left == 0 and seen >= visible and not in_flight and not undeleted

    def work(self):
        # Batches without an unseen message from before the start mean that the end is near, so a redrive ends even if
        # new messages keep arriving or old ones return. A single such batch may be due to duplicate delivery by SQS.
        idle = 0
        try:
            while idle < 3 and not self.stop.is_set() and (messages := self.receive()):
                unseen = [Message(message) for message in messages if self.hold(message)]
                idle = 0 if any(message.sent_at <= self.start for message in unseen) else idle + 1
                try:
                    for message in unseen:
                        if not self.stop.is_set():
                            self.decide(message)
                finally:
                    self.delete([message["MessageId"] for message in messages if message["MessageId"] in self.accepted])
        except Exception as error:
            self.error = self.error or error
            self.stop.set()

    def receive(self):
        # Any wait time makes SQS query all of its servers, so an empty response means that the queue is empty.
        try:
            found = self.sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=10,
                VisibilityTimeout=VISIBILITY_MINUTES * 60,
                WaitTimeSeconds=1,
                MessageSystemAttributeNames=["SentTimestamp"],
                MessageAttributeNames=["ERROR_CODE"],
            )
        except self.sqs.exceptions.OverLimit:
            # The limit of messages in flight is reached; the queue's count says how many more there are.
            return []
        return found.get("Messages", [])

    def hold(self, message):
        """Remembers the message's receipt handle. True if the message has not been seen before."""
        with self.lock:
            unseen = message["MessageId"] not in self.handles and message["MessageId"] not in self.accepted
            self.handles[message["MessageId"]] = message["ReceiptHandle"]
            return unseen

    def decide(self, message):
        outcome, why = "sent", message.why
        if message.event is None:
            outcome, why = "left", "it contains no event: inspect it by hand"
        elif self.spoke and not message.is_of(self.spoke):
            # Whoever may send to the spoke's queue could otherwise change the rows of any account.
            outcome, why = "left", f"{why}: not about the spoke's own account and region; inspect it by hand"
        elif message.sent_at > self.start:
            outcome = "arrived during this run"
        elif message.always_refused and not self.force:
            outcome, why = "left", f"{why}: always refused; fix the sender, then delete it or send it with FORCE=1"
        elif self.retention_days and message.older_than(self.retention_days) and not self.force:
            outcome = "left"
            why += f": older than {self.retention_days} days, so it could recreate an expired row; send it with FORCE=1"
        elif not self.dry_run:
            if not self.pace.my_turn():
                return
            try:
                answer = self.lambda_.invoke(
                    FunctionName=self.function, InvocationType="Event", Payload=message.payload
                )
                # The payload is empty, but must be read to free the connection.
                answer["Payload"].read()
            except (
                self.lambda_.exceptions.InvalidRequestContentException,
                self.lambda_.exceptions.RequestTooLargeException,
            ) as error:
                # Only the code, since the message can quote the event.
                outcome, why = "left", f"{why}: refused by Lambda ({stack.error_code(error)}); inspect it by hand"
        with self.lock:
            self.outcomes[outcome] += 1
            label = "to send" if self.dry_run and outcome == "sent" else outcome
            self.groups[label, why] += 1
            if self.dry_run:
                self.lines.append(f"{label}: {message}: {why}")
            elif outcome == "sent":
                self.accepted.add(message.id)

    def delete(self, ids):
        """Deletes messages. Those that can't be deleted stay held, and are retried once at the end."""
        failed = self.batch(self.sqs.delete_message_batch, ids)
        with self.lock:
            for id in set(ids) - failed.keys():
                self.handles.pop(id, None)

    def batch(self, call, ids, **more):
        """Calls SQS for a batch of messages. Returns the error codes of the failed ones, by id."""
        with self.lock:
            # Another worker may just have deleted what SQS delivered twice.
            entries = [{"Id": id, "ReceiptHandle": self.handles[id], **more} for id in ids if id in self.handles]
        if not entries:
            return {}
        return {failed["Id"]: failed["Code"] for failed in call(QueueUrl=self.url, Entries=entries).get("Failed", [])}

    def at_end(self, pool, doing, call, ids, **more):
        """The same for any number of messages. A failed call does not stop the others."""

        def ten(ids):
            try:
                return self.batch(call, ids, **more)
            except (BotoCoreError, ClientError) as error:
                return dict.fromkeys(ids, stack.error_code(error))

        ids = list(ids)
        tens = [pool.submit(ten, ids[at : at + 10]) for at in range(0, len(ids), 10)]
        show_until_done(tens, lambda done: f"{self.name}: {doing} {min(done * 10, len(ids))} of {len(ids)}")
        return {id: code for ten in tens for id, code in ten.result().items()}

    def report(self, visible, in_flight, undeleted, unreleased):
        say = lambda text: print(f"{self.name}: {text}")
        for line in sorted(self.lines):
            say(line)
        for (label, why), count in sorted(self.groups.items()):
            say(f"{count} {label}: {why}")
        if undeleted:
            say(f"{len(undeleted)} of the sent messages could not be deleted ({codes(undeleted)}): "
                "the next redrive sends them again, which does not change any row")
        if unreleased:
            say(f"{len(unreleased)} could not be released ({codes(unreleased)}): "
                f"they return to the queue within {VISIBILITY_MINUTES} minutes")
        sent, left = self.outcomes["sent"], self.outcomes["left"]
        if self.stop.is_set():
            cause = signal.strsignal(self.stop.signal) if self.stop.signal else self.error
            say(f"{0 if self.dry_run else sent} sent; stopped: {cause}")
            hint = "run this again" if self.stop.signal else "fix the cause, then run this again"
            print(f"{self.name}: everything not sent is still in the queue: {hint}", file=sys.stderr)
            if self.error and not isinstance(self.error, (BotoCoreError, ClientError)):
                raise self.error
            sys.exit(128 + self.stop.signal if self.stop.signal else 1)
        if sent + left < visible:
            say(
                f"the queue reported about {visible} messages, {sent + left} were seen: "
                "run this again in a minute to be sure"
            )
        if in_flight:
            say(f"about {in_flight} more were in flight, held by another redrive or by one that was killed: "
                f"they return to the queue within {VISIBILITY_MINUTES} minutes")
        say(f"{sent} {'to send' if self.dry_run else 'sent'}, {left} left")


def spoke_queues(spokes, config):
    """The queues of spokes, each an account and a region, and one line for each queue that can't be used."""
    queues, unusable = [], []
    for spoke in spokes.split():
        if not re.fullmatch(r"\d{12}/[a-z]{2}(-[a-z]+)+-\d", spoke):
            sys.exit(f"error: SPOKES must be like 111122223333/eu-west-1, separated by spaces, found {spoke!r}")
        account, region = spoke.split("/")
        sqs = boto3.client("sqs", region_name=region, config=config)
        try:
            url = sqs.get_queue_url(QueueName=SPOKE_QUEUE, QueueOwnerAWSAccountId=account)["QueueUrl"]
            queues.append((sqs, f"spoke {spoke}", url, spoke))
        except (BotoCoreError, ClientError) as error:
            unusable.append(f"error: the queue {SPOKE_QUEUE} of the spoke {spoke} can't be used "
                            f"({stack.error_code(error)}): its stack must name a bus of your account, and your own "
                            "policies must allow the queue, too (docs/organization.md)")
    return queues, unusable


def codes(failed):
    return ", ".join(sorted(set(failed.values())))


def show_until_done(futures, text):
    """Shows progress on stderr: on a terminal, one line that is updated; elsewhere, a new line every ten seconds."""
    terminal = sys.stderr.isatty()
    while not_done := wait(futures, 0.5 if terminal else 10).not_done:
        line = text(len(futures) - len(not_done))
        print(f"\r{line}\x1b[K" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)
    if terminal:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("stack")
    arguments.add_argument("--dry-run", action="store_true", help="only list the events (DRY_RUN=1)")
    arguments.add_argument("--force", action="store_true",
                           help="also send events that are always refused or too old (FORCE=1)")
    arguments.add_argument("--per-second", type=int, default=EVENTS_PER_SECOND,
                           help="send at most this many events per second (PER_SECOND=…, by default %(default)s)")
    arguments.add_argument("--spokes", default="", help="also redrive the queues of these spokes: SPOKES="
                           "'111122223333/eu-west-1 444455556666/us-east-1'")
    arguments = arguments.parse_args()
    if arguments.per_second < 1:
        sys.exit(f"error: PER_SECOND must be at least 1, found {arguments.per_second}")
    stop = Stop()
    try:
        with stack.one_line_errors():
            outputs = stack.outputs(arguments.stack)
            function, retention_days = outputs["RecorderName"], int(outputs["RetentionDays"])
            config = Config(max_pool_connections=WORKERS)
            sqs, lambda_ = boto3.client("sqs", config=config), boto3.client("lambda", config=config)
            spokes, unusable = spoke_queues(arguments.spokes, config)
            queues = [
                (sqs, "dead-letter queue", outputs["DeadLetterQueueUrl"], None),
                (sqs, "failure queue", outputs["FailureQueueUrl"], None), *spokes,
            ]
            for line in unusable:
                print(line, file=sys.stderr)
            limits = retention_days, arguments.dry_run, arguments.force, Pace(arguments.per_second, stop)
            emptied = [Redrive((sqs, lambda_), name, url, spoke, function, *limits, stop).run()
                       for sqs, name, url, spoke in queues]
        sys.stdout.flush()
    except BrokenPipeError:
        # As in `make redrive DRY_RUN=1 | head`. Without this, Python would report the broken pipe again on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0 if all(emptied) and not unusable else 1)
