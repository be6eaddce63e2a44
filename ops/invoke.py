"""Sends an event to the deployed recorder, and shows its answer and the resulting row."""

import json
import sys
from pathlib import Path

import boto3
from boto3.dynamodb.types import TypeDeserializer

import stack

if __name__ == "__main__":
    name, file = sys.argv[1:]
    if not Path(file).is_file():
        sys.exit(f"error: EVENT must be a file such as events/fargate-task-running.json, found {file!r}")
    with stack.one_line_errors():
        outputs = stack.outputs(name)
        answer = boto3.client("lambda").invoke(FunctionName=outputs["RecorderName"], Payload=Path(file).read_bytes())
        body = json.load(answer["Payload"])
        print(json.dumps(body, indent=2))
        if "FunctionError" in answer:
            sys.exit(1)
        [key] = [key for table, key in stack.KEYS.items() if outputs[table] == body["table"]]
        row = boto3.client("dynamodb").get_item(
            TableName=body["table"], Key={key: {"S": body["arn"]}}, ConsistentRead=True
        )
        if "Item" not in row:
            sys.exit(f"error: the table {body['table']} has no row {body['arn']} any more: it has expired or was deleted")
        plain = TypeDeserializer().deserialize({"M": row["Item"]})
        for attribute, value in sorted(plain.items()):
            # Numbers are decimals, which JSON does not have.
            number = lambda value: int(value) if value == int(value) else float(value)
            print(f"{attribute}: {value if isinstance(value, str) else json.dumps(value, default=number)}")
