"""A queue for what rules and topics send."""

import json

import boto3

ANNOUNCED = {"source": ["ecs-state-recorder"], "detail-type": ["ECS Task Stopped"]}


class Inbox:
    """An empty queue that EventBridge and SNS may send to."""

    def __init__(self, name):
        self.sqs = boto3.client("sqs")
        self.url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]
        self.arn, self.received = attributes["QueueArn"], []
        services = ["events.amazonaws.com", "sns.amazonaws.com"]
        self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": json.dumps({
            "Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": {"Service": services}, "Action": "sqs:SendMessage", "Resource": self.arn}],
        })})

    @classmethod
    def of_rule(cls, name, detail=None, **target):
        """The inbox of a rule for announcements with this detail."""
        inbox, events = cls(name), boto3.client("events")
        pattern = ANNOUNCED | ({"detail": detail} if detail else {})
        events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        answer = events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": inbox.arn, **target}])
        if answer["FailedEntryCount"]:
            raise RuntimeError(f"EventBridge refused a target: {answer['FailedEntries']}")
        return inbox

    def new(self):
        """What has come since the last time."""
        before = len(self.received)
        while messages := self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                self.received.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return self.received[before:]

    def all(self):
        """What has come so far."""
        self.new()
        return self.received

    def details(self):
        """The announcements that have come so far, by task."""
        return {event["detail"]["taskArn"]: event["detail"] for event in self.all()}
