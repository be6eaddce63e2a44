"""What `make deploy` compares with AWS's quotas and with the tables, before it builds."""

import json
import re
import sys

import boto3
import pytest
from moto.dynamodb.models import DynamoDBBackend
from moto.servicequotas.models import ServiceQuotasBackend

from emulator.proxy import Proxy

from .aws import ACCOUNT, ENVIRONMENT, PROJECT, REGION, Stack
from .test_deploy import CONTAINER_INSTANCES, TASKS, create_table, preflight

sys.path.insert(0, str(PROJECT / "ops"))
from preflight import POLICY_REST  # noqa: E402


def arns(count, name="a-cluster-name"):
    return ",".join(f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{name}-{number:02}" for number in range(count))


# The figures of docs/scale.md.
@pytest.mark.parametrize("name, most", [("a" * 5, 35), ("a" * 12, 31), ("a" * 22, 27), ("a" * 37, 22)])
def test_more_clusters_than_the_rules_pattern_holds_are_refused(aws, name, most):
    assert preflight(aws, f"ClusterArns={arns(most, name)}") == (0, [], [])
    code, output, [error] = preflight(aws, f"ClusterArns={arns(most + 1, name)}")
    assert (code, output) == (1, [])
    assert re.match(rf"error: ClusterArns has too many clusters: with {most + 1}, the rule's pattern has 2\d{{3}} characters, "
                    "of 2048 that EventBridge accepts in eu-west-1. Request a higher quota", error)


def test_with_a_higher_quota_the_reconcilers_policy_is_the_limit(aws, monkeypatch):
    quota = {"QuotaName": "Event pattern size", "Value": 4096.0}
    monkeypatch.setattr(ServiceQuotasBackend, "get_service_quota", lambda *_, **__: quota)
    assert preflight(aws, f"ClusterArns={arns(41, 'a' * 12)}") == (0, [], [])
    code, output, [error] = preflight(aws, f"ClusterArns={arns(42, 'a' * 12)}")
    assert (code, output) == (1, [])
    assert "with 42, the reconciler's policy has up to 10286 characters, of 10240 that IAM accepts" in error


def test_the_rest_of_the_reconcilers_policy_is_as_long_as_preflight_assumes():
    # The longest that it can be.
    more = {
        "TaskTableName": "t" * 255, "ContainerInstanceTableName": "c" * 255, "Tracing": "Active",
        "KmsKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/mrk-{'0' * 32}",
    }
    [policy] = Stack("recorder", ClusterArns=arns(3), **more).properties["ReconcilerRole"]["Policies"]
    policy = json.dumps(policy["PolicyDocument"], separators=(",", ":"))
    assert policy.count(":cluster/") == 3 * 3
    # CloudFormation's names for the log group are longer, by the stack's name of up to 128 characters.
    rest = len(policy) - 3 * (len(arns(3).replace(",", "")) + 3 * 3) + 150
    assert 0.9 * POLICY_REST < rest < POLICY_REST


@pytest.fixture
def free(aws, monkeypatch):
    """The account's concurrent executions without a reservation, which moto does not have. It can be set."""
    limits = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}
    denied = 403, {"__type": "AccessDeniedException", "message": "not authorized"}
    answer = lambda call: (200, {"AccountLimit": limits}) if limits["ConcurrentExecutions"] else denied
    with Proxy(aws.url, answer) as lambda_:
        monkeypatch.setitem(ENVIRONMENT, "AWS_ENDPOINT_URL_LAMBDA", lambda_.url)
        yield limits


def test_a_reservation_must_leave_a_hundred_executions_unreserved(aws, free):
    assert preflight(aws, "ReservedConcurrency=900") == (0, [], [])
    free["UnreservedConcurrentExecutions"] = 120
    assert preflight(aws, "ReservedConcurrency=20") == (0, [], [])
    assert preflight(aws, "ReservedConcurrency=21") == (1, [], [
        "error: ReservedConcurrency=21 is too much: of the account's 1000 concurrent executions in eu-west-1, 120 are free, "
        "and 100 of them must stay unreserved. Choose less, or request a higher quota (Lambda, Concurrent executions)",
    ])
    # Neither of them reserves any.
    for parameters in ("ReservedConcurrency=0", "ReservedConcurrency=-1"):
        assert preflight(aws, parameters) == (0, [], [])
    # What the stack has reserved is free to itself.
    aws.deploy("recorder", ReservedConcurrency=50)
    assert preflight(aws, "ReservedConcurrency=70") == (0, [], [])
    assert preflight(aws, "ReservedConcurrency=71")[0] == 1


def test_a_quota_that_may_not_be_read_does_not_block_a_deployment(aws, free):
    free["ConcurrentExecutions"] = 0
    code, output, [warning] = preflight(aws, "ReservedConcurrency=5000")
    assert (code, output) == (0, [])
    assert warning.startswith("warning: ReservedConcurrency was not checked: An error occurred (AccessDeniedException)")


def test_write_units_that_dynamodb_refuses_are_refused_before_the_build(aws):
    # moto's quota.
    assert preflight(aws, "WarmWriteUnits=10000") == (0, [], [])
    assert preflight(aws, "WarmWriteUnits=10001") == (1, [], [
        "error: WarmWriteUnits must be at most 10000, the account's quota for a table, found 10001",
    ])
    aws.deploy("recorder", Architecture="arm64")
    client = boto3.client("dynamodb")
    client.update_table(TableName=TASKS, WarmThroughput={"WriteUnitsPerSecond": 9000, "ReadUnitsPerSecond": 12000})
    assert preflight(aws, "WarmWriteUnits=8999") == (1, [], [
        f"error: WarmWriteUnits must be at least 9000, which {TASKS} has by now and DynamoDB never lowers, or 0, found 8999",
    ])
    assert preflight(aws, "WarmWriteUnits=9000") == (0, [], [])
    assert preflight(aws, "WarmWriteUnits=9000 ArchiveDays=3") == (1, [], [
        "error: WarmWriteUnits must be changed alone, found ArchiveDays, too: if that fails, the rollback must lower "
        "WarmWriteUnits, which DynamoDB refuses",
    ])


def test_an_index_can_be_warmer_than_its_table(aws, monkeypatch):
    aws.deploy("recorder", Architecture="arm64")
    described = DynamoDBBackend.describe_table

    def with_warm_index(self, name):
        table = described(self, name)
        for index in table["Table"].get("GlobalSecondaryIndexes", []):
            index["WarmThroughput"] = {"WriteUnitsPerSecond": 9500}
        return table

    monkeypatch.setattr(DynamoDBBackend, "describe_table", with_warm_index)
    code, _, [error] = preflight(aws, "WarmWriteUnits=8000")
    assert code == 1 and f"must be at least 9500, which {TASKS} has by now" in error


def test_an_unchanged_value_that_the_table_has_outgrown_is_kept(aws):
    aws.deploy("recorder", Architecture="arm64", WarmWriteUnits=5000)
    warm = {"WriteUnitsPerSecond": 9000, "ReadUnitsPerSecond": 12000}
    boto3.client("dynamodb").update_table(TableName=TASKS, WarmThroughput=warm)
    assert preflight(aws, "ArchiveDays=3") == (0, [], [])


def test_a_provisioned_table_is_a_warning(aws):
    create_table(CONTAINER_INSTANCES, "containerInstanceArn")
    boto3.client("dynamodb").create_table(
        TableName=TASKS, AttributeDefinitions=[{"AttributeName": "taskArn", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "taskArn", "KeyType": "HASH"}],
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 5},
    )
    assert preflight(aws, "CreateTables=false") == (0, [], [
        f"warning: the table {TASKS} accepts 5 write units a second, about 2.5 rows. Make it an on-demand table: aws dynamodb "
        f"update-table --table-name {TASKS} --billing-mode PAY_PER_REQUEST",
    ])


def test_parameters_can_have_quotes_and_spaces(aws):
    assert preflight(aws, "TaskTableName='' ContainerInstanceTableName=\"\" ClusterArns='" + arns(2).replace(",", ", ") + "'") == (
        0, [], [],
    )


def test_a_notifier_needs_a_bus_that_exists(aws):
    assert preflight(aws, "Notify=true NotificationBusName=stops") == (1, [], [
        f"error: NotificationBusName must be an event bus of this account in {REGION}, and there is no stops"])
    boto3.client("events").create_event_bus(Name="stops")
    assert preflight(aws, "Notify=true NotificationBusName=stops") == (0, [], [])


def test_a_notifier_needs_the_tables_current_stream(aws):
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:stops"
    assert preflight(aws, f"Notify=true TableStreams=false NotificationTopicArn={topic}") == (1, [], [
        f"error: NotificationTopicArn must be a topic in the stack's region, {REGION}, found {topic}",
        "error: Notify=true needs TableStreams=true, or TaskStreamArn"])
    create_table(CONTAINER_INSTANCES, "containerInstanceArn")
    create_table(TASKS, "taskArn")
    existing = "CreateTables=false Notify=true"
    assert preflight(aws, existing) == (1, [], [
        "error: Notify=true with CreateTables=false needs TaskStreamArn, the stream of the table for tasks"])
    old = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{TASKS}/stream/2026-03-01T00:00:00.000"
    wrong = f"error: TaskStreamArn must be the stream of the table {TASKS}, {{}}, found {old}"
    assert preflight(aws, f"{existing} TaskStreamArn={old}") == (1, [], [wrong.format("which has none")])

    def stream(images):
        client = boto3.client("dynamodb")
        client.delete_table(TableName=TASKS)
        create_table(TASKS, "taskArn", StreamSpecification={"StreamEnabled": True, "StreamViewType": images})
        return client.describe_table(TableName=TASKS)["Table"]["LatestStreamArn"]

    current = stream("NEW_IMAGE")
    assert preflight(aws, f"{existing} TaskStreamArn={old}") == (1, [], [wrong.format(current)])
    assert preflight(aws, f"{existing} TaskStreamArn={current}") == (1, [], [
        "error: TaskStreamArn must be a stream with NEW_AND_OLD_IMAGES, found NEW_IMAGE"])
    current = stream("NEW_AND_OLD_IMAGES")
    assert preflight(aws, f"{existing} TaskStreamArn={current}") == (0, [], [])
    named_by_cloudformation = "TaskTableName='' ContainerInstanceTableName=''"
    assert preflight(aws, f"Notify=true TaskStreamArn={current} {named_by_cloudformation}") == (0, [], [])
