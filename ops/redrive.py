"""Sends the events of both queues to the function again: what EventBridge couldn't hand over, and what Lambda gave up
on. Safe at any time: an old state never replaces a newer one.

In Python, since boto3 comes with the SAM CLI: in Rust it would bring three more AWS SDKs into every build."""

import argparse
import json
import re
import sys
from contextlib import suppress
from email.utils import parsedate_to_datetime

import boto3
from botocore.exceptions import BotoCoreError, ClientError

import stack

# Long enough to send ten events, and so short that what an interrupted run held is soon there again.
VISIBILITY_SECONDS = 120


def members(text):
    """The members of a JSON object, each as the text that stands there: parsed and written again, a number of 38 digits
    would not be the same."""
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


def event_of(body):
    """The event in a message: the plain one of EventBridge, or out of the record that Lambda puts around it. None where
    there is neither."""
    try:
        record = json.loads(body)
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    if "requestContext" in record:
        return dict(members(body)).get("requestPayload")
    return body if "detail-type" in record else None


def describe(event):
    """Which event it is, without anything out of its detail: that can be a secret."""
    event = json.loads(event)
    if not isinstance(event, dict):
        return "a payload that is no event"
    resources = event.get("resources")
    resources = ", ".join(map(str, resources)) if isinstance(resources, list) else ""
    return f"event {event.get('id')} of {resources or 'no resource'}"


class Redrive:
    def __init__(self, function, dry_run):
        self.sqs, self.lambda_ = boto3.client("sqs"), boto3.client("lambda")
        self.function, self.dry_run = function, dry_run

    def queue(self, name, url):
        """Empties one queue. True where nothing that was in it at the start is left."""
        sent, left, held, seen = 0, 0, [], set()
        start = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        # By SQS's clock, and to the end of its second.
        start = parsedate_to_datetime(start["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp() + 1
        try:
            while messages := self.receive(url):
                held += messages
                # A message that stays comes again when it has been held for long enough: then all have been seen.
                new = [message for message in messages if message["MessageId"] not in seen]
                if not new:
                    break
                seen.update(message["MessageId"] for message in new)
                for message in new:
                    event = event_of(message["Body"])
                    if event is None:
                        print(f"{name}: left message {message['MessageId']}: it holds no event; look at it by hand")
                        left += 1
                    elif int(message["Attributes"]["SentTimestamp"]) / 1000 > start:
                        print(f"{name}: left {describe(event)}: it came while this ran")
                    elif self.dry_run:
                        print(f"{name}: would send {describe(event)}")
                        sent += 1
                    else:
                        self.lambda_.invoke(FunctionName=self.function, InvocationType="Event", Payload=event)
                        self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                        held.remove(message)
                        print(f"{name}: sent {describe(event)}")
                        sent += 1
        except (BotoCoreError, ClientError) as error:
            print(f"{name}: {sent} sent; stopped: {error}")
            print(f"{name}: what isn't sent is still in the queue: mend that, then run this again", file=sys.stderr)
            return False
        finally:
            for message in held:
                # One that has been held for long enough is free already.
                with suppress(self.sqs.exceptions.MessageNotInflight, self.sqs.exceptions.ReceiptHandleIsInvalid):
                    self.sqs.change_message_visibility(
                        QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
                    )
        print(f"{name}: {sent} {'to send' if self.dry_run else 'sent'}, {left} left")
        return left == 0

    def receive(self, url):
        # Waiting at all makes SQS ask all of its servers: no message means that there is none.
        found = self.sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=VISIBILITY_SECONDS,
            WaitTimeSeconds=1,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        return found.get("Messages", [])


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("stack")
    arguments.add_argument("--dry-run", action="store_true", help="only show what would be sent")
    arguments = arguments.parse_args()
    with stack.one_clear_line():
        made = stack.outputs(arguments.stack)
        redrive = Redrive(made["FunctionName"], arguments.dry_run)
        emptied = [
            redrive.queue("dead-letter queue", made["DeadLetterQueueUrl"]),
            redrive.queue("failure queue", made["FailureQueueUrl"]),
        ]
    sys.exit(0 if all(emptied) else 1)
