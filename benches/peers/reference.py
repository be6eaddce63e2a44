"""The function that Amazon's ECS guide documents, as a peer for the benchmark.

Step for step what the guide's Python 2.7 does, in the Python of today; but the region comes from the environment, and
numbers are read as Decimal, since boto3 takes no float and each measurement has to end in a write. The event is printed,
as there.
"""

import json
from decimal import Decimal

import boto3


def handler(event, context):
    print(json.dumps(event))
    event = json.loads(json.dumps(event), parse_float=Decimal)
    if event["source"] != "aws.ecs":
        raise ValueError("Function only supports input from events with a source type of: aws.ecs")

    if event["detail-type"] == "ECS Task State Change":
        table_name, key = "ECSTaskState", "taskArn"
    elif event["detail-type"] == "ECS Container Instance State Change":
        table_name, key = "ECSCtrInstanceState", "containerInstanceArn"
    else:
        raise ValueError("detail-type for event is not a supported type. Exiting without saving event.")

    record = {"cw_version": event["version"], **event["detail"]}
    if "status" in event:
        record["current_status"] = event["status"]

    table = boto3.resource("dynamodb").Table(table_name)
    saved = table.get_item(Key={key: record[key]})
    if "Item" not in saved or saved["Item"]["version"] < record["version"]:
        table.put_item(Item=record)
        return {"outcome": "stored"}
    return {"outcome": "ignored"}
