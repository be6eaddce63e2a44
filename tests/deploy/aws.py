"""A local AWS on a free port: moto. It has accounts and stack states, and runs nothing."""

import json
import os
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import boto3
from moto.server import ThreadedMotoServer

from .cloudformation import ACCOUNT, PROJECT, REGION, Stack  # noqa: F401

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}
# What moto's CloudFormation creates here. Whatever else a test needs, it creates by the service's own API.
CREATED = {"AWS::DynamoDB::Table": "TableName", "AWS::SQS::Queue": "QueueName"}


class Aws:
    """An empty AWS. It serves until stopped."""

    def __init__(self):
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        self.url = "http://{}:{}".format(*self.server.get_host_and_port())
        # moto's services live in this process, so what an earlier test created would still exist.
        urlopen(Request(f"{self.url}/moto-api/reset", method="POST"))
        os.environ.update(ENVIRONMENT, AWS_ENDPOINT_URL=self.url)

    def stop(self):
        self.server.stop()

    def deploy(self, name, **parameters):
        """The stack with its parameters and outputs, and of its resources the tables and the queues."""
        stack = Stack(name, **parameters)
        resources = {
            logical: {
                "Type": kind, "DeletionPolicy": "Retain" if "Table" in kind else "Delete",
                "Properties": stack.properties[logical] | {CREATED[kind]: stack.physical(logical)},
            } for logical, kind in stack.types.items() if kind in CREATED
        }
        template = {
            "Description": stack.template["Description"], "Parameters": stack.template["Parameters"],
            "Resources": resources, "Outputs": {key: {"Value": value} for key, value in stack.outputs.items()},
        }
        boto3.client("cloudformation").create_stack(
            StackName=name, TemplateBody=json.dumps(template),
            Parameters=[{"ParameterKey": key, "ParameterValue": str(value)} for key, value in parameters.items()],
        )
        return stack

    def environment(self, **more):
        """The environment of a program that uses this AWS."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": os.environ["HOME"], **ENVIRONMENT, "AWS_ENDPOINT_URL": self.url, **more}
