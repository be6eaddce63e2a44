"""The commands of the AWS CLI that the pages show for tables, in an account of its own. It is not installed here, but it
has the SDK's operations and options."""

import json
import re
import shlex

import boto3
import pytest

import deployment
from deploy.cloudformation import Stack
from deploy.test_template import DEPLOY, INDEX, OPERATIONS, section

from .conftest import TEMPLATE

TASKS = "ECSTaskState"


@pytest.fixture
def stack(account):
    """The outputs of a stack with default parameters."""
    status, outputs = deployment.create("recorder", deployment.template(TEMPLATE))
    assert status == "CREATE_COMPLETE"
    return outputs


def commands(page, heading, blocks=1):
    """The commands in the first blocks under a heading, each split into words."""
    text = "".join(re.findall(r"```console\n(.*?)```", section(page, heading), re.DOTALL)[:blocks])
    return [shlex.split(command) for command in re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.MULTILINE)[1:]]


def run(aws_cli, service, *words):
    assert aws_cli == "aws"
    client = boto3.client(service)
    waits = words[0] == "wait"
    operation, *words = words[1:] if waits else words
    options = {}
    for word in words:
        if word.startswith("--"):
            # As in the AWS CLI, --no-… means false, and an option without a value means true.
            name = re.sub("^no-", "", word[2:])
            options[name] = not word.startswith("--no-")
        elif word.startswith("["):
            options[name] = json.loads(word)
        elif "=" in word:
            value = {key: {"true": True, "false": False}.get(value, value)
                     for key, value in (pair.split("=") for pair in word.split(","))}
            # The second of several makes a list.
            options[name] = [options[name], value] if isinstance(options[name], dict) else value
        else:
            options[name] = word
    parameters = {"".join(part.capitalize() for part in name.split("-")): value for name, value in options.items()}
    operation = operation.replace("-", "_")
    call = client.get_waiter(operation).wait if waits else getattr(client, operation)
    call(**parameters)


def test_the_documented_command_adds_the_index_of_the_template_to_an_existing_table(account):
    dynamodb = boto3.client("dynamodb")
    dynamodb.create_table(
        TableName=TASKS, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "taskArn", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "taskArn", "AttributeType": "S"}],
    )
    update, reconcile = commands(DEPLOY, "## Add the index to an existing table")
    run(*update)
    found = dynamodb.describe_table(TableName=TASKS)["Table"]["GlobalSecondaryIndexes"]
    assert [{name: index[name] for name in INDEX} for index in found] == [INDEX]
    assert reconcile == ["make", "reconcile", "SCOPE=table", "SCAN=1"]


def test_the_documented_commands_to_restore_a_table_replace_it_by_one_like_the_templates(stack):
    client = boto3.client("dynamodb")
    # MiniStack's CloudFormation leaves both out.
    template = Stack("recorder").properties["TaskTable"]
    for name, change in (("TimeToLiveSpecification", client.update_time_to_live),
                         ("PointInTimeRecoverySpecification", client.update_continuous_backups)):
        change(TableName=TASKS, **{name: template[name]})
    client.put_item(TableName=TASKS, Item={"taskArn": {"S": "arn"}, "version": {"N": "1"}})

    def settings():
        described = client.describe_table(TableName=TASKS)["Table"]
        wanted = ("KeySchema", "AttributeDefinitions", "StreamSpecification", "TableArn")
        return (
            {name: described[name] for name in wanted},
            [index["IndexName"] for index in described.get("GlobalSecondaryIndexes", [])],
            client.describe_time_to_live(TableName=TASKS)["TimeToLiveDescription"],
            client.describe_continuous_backups(TableName=TASKS)["ContinuousBackupsDescription"][
                "PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"],
            client.scan(TableName=TASKS)["Items"],
        )

    before, rule = settings(), stack["RuleArn"].split("/")[-1]
    client.update_table(TableName=TASKS, DeletionProtectionEnabled=True)
    states = []
    for words in commands(OPERATIONS, "## Restore a table", blocks=2):
        backups = client.list_backups()["BackupSummaries"]
        last = {"events": rule, "dynamodb": backups[-1]["BackupArn"] if backups else "no backup"}
        run(*(last[words[1]] if word == "…" else word for word in words))
        states.append(boto3.client("events").describe_rule(Name=rule)["State"])
    assert settings() == before and client.describe_table(TableName=TASKS)["Table"]["DeletionProtectionEnabled"]
    # From before the deletion until the table is whole again.
    assert [state for state, before in zip(states, ["", *states]) if state != before] == ["ENABLED", "DISABLED", "ENABLED"]
    assert states[-2:] == ["DISABLED", "ENABLED"]
