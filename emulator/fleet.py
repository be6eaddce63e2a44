"""Tasks in the emulator's ECS. It emits no events, and EventBridge refuses those of a source that begins with aws.: so
each change is put on a bus of its own, whose rule gives it ECS's source again before the recorder sees it."""

import json
import re
from pathlib import Path

import boto3

BUS, CLUSTER = "ecs-state-changes", "demo"
PAGE = Path(__file__).parents[1] / "docs/testing.md"


def transformer():
    """The one that docs/testing.md shows."""
    return json.loads(re.search(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)[1])


class Fleet:
    def __init__(self, recorder):
        self.ecs, self.events = boto3.client("ecs"), boto3.client("events")
        self.ecs.create_cluster(clusterName=CLUSTER)
        self.ecs.register_task_definition(
            family="web", requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512",
            containerDefinitions=[{"name": "web", "image": "example.com/web:1", "essential": True}],
        )
        self.events.create_event_bus(Name=BUS)
        rule = self.events.put_rule(Name=BUS, EventBusName=BUS, EventPattern='{"source": ["my.test"]}')["RuleArn"]
        function = boto3.client("lambda").get_function_configuration(FunctionName=recorder)["FunctionArn"]
        boto3.client("lambda").add_permission(
            FunctionName=recorder, StatementId=BUS, Action="lambda:InvokeFunction", Principal="events.amazonaws.com",
            SourceArn=rule,
        )
        self.events.put_targets(Rule=BUS, EventBusName=BUS, Targets=[
            {"Id": "recorder", "Arn": function, "InputTransformer": transformer()},
        ])

    def start(self, service):
        """The new task, as ECS describes it."""
        [task] = self.ecs.run_task(
            cluster=CLUSTER, taskDefinition="web", launchType="FARGATE", group=f"service:{service}",
            startedBy=f"ecs-svc/{service}",
        )["tasks"]
        return detail(task)

    def stop(self, task, reason):
        """The task's two changes: that it is to stop, and that it has stopped."""
        stopped = detail(self.ecs.stop_task(cluster=CLUSTER, task=task["taskArn"], reason=reason)["task"])
        stopping = task | {"desiredStatus": "STOPPED", "version": task["version"] + 1, "stoppedReason": reason}
        return stopping, stopped

    def put(self, *details):
        """Puts each change on the bus."""
        for at in range(0, len(details), 10):
            answer = self.events.put_events(Entries=[{
                "EventBusName": BUS, "Source": "my.test", "DetailType": "ECS Task State Change",
                "Resources": [each["taskArn"]], "Detail": json.dumps(each),
            } for each in details[at : at + 10]])
            if answer["FailedEntryCount"]:
                raise RuntimeError(f"EventBridge refused an event: {answer['Entries']}")


def detail(task):
    """What an event has of a task: times as text, and no field that is empty."""
    text = lambda time: time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    task = json.loads(json.dumps(task, default=text))
    del task["tags"]
    return {name: value for name, value in task.items() if value != ""}
