"""The stack's life: a creation that fails and is tried again, an update from 0.1.0, a deletion."""

import json
import subprocess
from datetime import datetime, timezone

import boto3
import pytest

import deployment
from deploy.ops import ops

from .conftest import PROJECT, TEMPLATE, names, until

# The last commit with the template of 0.1.0.
V0_1_0 = "dfe2637"


def tables(stack):
    """The stack's tables, with what shows whether they are the same as before."""
    client = boto3.client("dynamodb")
    found = [name for name in client.list_tables()["TableNames"] if name in names(stack).values()]
    return {name: client.describe_table(TableName=name)["Table"] for name in found}


def parameters(stack):
    return " ".join(f"{name}={value}" for name, value in names(stack).items())


def invoke(outputs, path):
    answer = boto3.client("lambda").invoke(
        FunctionName=outputs["RecorderName"], Payload=(PROJECT / path).read_text())
    return json.load(answer["Payload"])


def test_a_creation_that_fails_leaves_no_table_and_the_next_one_succeeds(environment, make):
    stack = "second"
    # The alarm needs the functions, which need the tables.
    broken = deployment.template(TEMPLATE, deployment.LACKS | deployment.BROKEN)
    status, _ = deployment.create(stack, broken, **names(stack))
    assert (status, tables(stack)) == ("ROLLBACK_COMPLETE", {})
    assert ops("redrive.py", stack, **environment) == (
        1, [], [f"error: the stack {stack} is ROLLBACK_COMPLETE and has no output RecorderName: run `make deploy`"])

    code, output, errors = make("deploy", f"STACK={stack}", PARAMETERS=parameters(stack))
    assert code == 0, output + errors
    first, second, third, *_ = output.splitlines()
    assert first.startswith(f"stack {stack}: its earlier creation failed: ThrottlesAlarm is CREATE_FAILED: ")
    assert (second, third) == (f"stack {stack} (ROLLBACK_COMPLETE): deleting it …", f"  {stack}: DELETE_COMPLETE")
    protected = [f"table {name}: protected from deletion\n" for name in sorted(names(stack).values())]
    said = f"To record what is already running: make reconcile SCOPE=fleet STACK={stack}\n"
    assert output.endswith("".join(protected) + said)
    assert {name: table["DeletionProtectionEnabled"] for name, table in tables(stack).items()} == dict.fromkeys(
        names(stack).values(), True)
    # If they are already protected, nothing is done or printed.
    assert ops("stack.py", "protect", stack, **environment) == (0, [], [])


def test_from_deploy_to_delete(environment, make):
    stack = "journey"
    missing = (
        f"error: there is no stack {stack} in eu-west-1: create it with `make deploy`, or name another one with STACK=…\n"
    )
    for target in ("delete", "redrive"):
        code, output, errors = make(target, f"STACK={stack}")
        assert (code, output) == (2, "") and errors.startswith(missing), errors

    boto3.client("s3").create_bucket(Bucket="mine", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    options = "--s3-bucket mine --s3-prefix recorder --tags team=platform 'cost center=4 2'"
    code, output, errors = make(
        "deploy", f"STACK={stack}", f"SAM_OPTIONS={options}", PARAMETERS='ArchiveDays=0 TaskTableName="" '
        'ContainerInstanceTableName=""')
    assert code == 0 and f"Successfully created/updated stack - {stack} in eu-west-1" in output, output + errors
    [found] = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    assert {tag["Key"]: tag["Value"] for tag in found["Tags"]} == {"team": "platform", "cost center": "4 2"}
    # The template; the functions are where they were.
    [uploaded] = boto3.client("s3").list_objects_v2(Bucket="mine")["Contents"]
    assert uploaded["Key"].startswith("recorder/")
    outputs = {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}
    assert "ArchiveArn" not in outputs and outputs["TaskTableName"].startswith(f"{stack}-TaskTable-")

    code, output, errors = make("invoke-remote", f"STACK={stack}", "EVENT=events/fargate-task-running.json")
    assert (code, errors) == (0, "") and '"outcome": "stored"' in output
    # An event older than the retention would not be sent.
    dead_letter = json.loads((PROJECT / "events/fargate-task-stopped.json").read_text())
    dead_letter |= {"time": f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"}
    boto3.client("sqs").send_message(QueueUrl=outputs["DeadLetterQueueUrl"], MessageBody=json.dumps(dead_letter))
    code, output, errors = make("redrive", f"STACK={stack}", "DRY_RUN=1")
    assert (code, errors) == (0, "") and "dead-letter queue: 1 to send, 0 left" in output
    code, output, errors = make("redrive", f"STACK={stack}")
    assert (code, errors) == (0, "") and "dead-letter queue: 1 sent, 0 left" in output
    rows = lambda: boto3.client("dynamodb").scan(TableName=outputs["TaskTableName"])["Items"]
    until(lambda: [row["event_id"]["S"] for row in rows()] == [dead_letter["id"]], "the redriven event's row")

    code, output, errors = make("delete", f"STACK={stack}")
    kept = {outputs["TaskTableName"], outputs["ContainerInstanceTableName"]}
    assert code == 0 and f"stack {stack}: deleted; the tables " in output and all(name in output for name in kept), errors
    assert kept <= set(boto3.client("dynamodb").list_tables()["TableNames"]) and len(rows()) == 1
    functions = [each["FunctionName"] for each in boto3.client("lambda").list_functions()["Functions"]]
    assert [name for name in functions if name.startswith(f"{stack}-")] == []
    code, output, errors = make("delete", f"STACK={stack}")
    assert code == 2 and errors.startswith(missing), errors


def test_an_update_from_0_1_0_keeps_the_rows_and_adds_the_index_and_the_reconciler(environment):
    shown = subprocess.run(["git", "show", f"{V0_1_0}:template.yaml"], cwd=PROJECT, capture_output=True, text=True)
    if shown.returncode:
        pytest.skip("this clone has no history")
    stack = "older"
    # It had neither a reconciler, a notifier nor a rule of its own, and one more alarm with metric math.
    since = ("Reconciler", "RecorderStateChanges", "Notifier")
    lacks = {path: value for path, value in deployment.LACKS.items() if not any(name in path for name in since)}
    lacks |= {"Resources.LostEventsAlarm": None}
    status, outputs = deployment.create(stack, deployment.template(shown.stdout, lacks), **names(stack))
    assert status == "CREATE_COMPLETE"
    before = tables(stack)
    outputs["RecorderName"] = outputs["FunctionName"]
    assert invoke(outputs, "events/fargate-task-running.json")["outcome"] == "stored"

    status, outputs = deployment.update(stack, deployment.template(TEMPLATE), **names(stack))
    assert status == "UPDATE_COMPLETE"
    after = tables(stack)
    assert {name: table["TableId"] for name, table in after.items()} == {
        name: table["TableId"] for name, table in before.items()}
    [index] = after[names(stack)["TaskTableName"]]["GlobalSecondaryIndexes"]
    assert index["IndexName"] == "by_cluster"
    # The row of 0.1.0 is older than the stop; the reconciler runs.
    assert invoke(outputs, "events/fargate-task-provisioning.json")["outcome"] == "stale"
    assert invoke(outputs, "events/fargate-task-stopped.json")["outcome"] == "stored"
    code, output, errors = ops("reconcile.py", stack, "fleet", **environment)
    assert (code, output[-1], errors) == (0, "complete    true", [])


def review(stack, template):
    """Creates a change set and does not execute it: the stack has a name and nothing else."""
    boto3.client("cloudformation").create_change_set(
        StackName=stack, ChangeSetName="first", ChangeSetType="CREATE", TemplateBody=json.dumps(template))
    boto3.client("cloudformation").get_waiter("change_set_create_complete").wait(
        StackName=stack, ChangeSetName="first", WaiterConfig={"Delay": 1})


QUEUE = {"Queue": {"Type": "AWS::SQS::Queue"}}


def test_a_stack_in_review_does_not_block_a_deployment_and_can_be_deleted(environment):
    review("review", {"Description": "ecs-state-recorder: all of it", "Resources": QUEUE})
    assert ops("preflight.py", "review", parameters("review"), **environment) == (0, [], [])
    assert ops("stack.py", "protect", "review", **environment) == (0, [], [])
    assert ops("stack.py", "delete", "review", **environment) == (0, [
        "stack review (REVIEW_IN_PROGRESS): deleting it …", "  review: DELETE_COMPLETE", "stack review: deleted",
    ], [])


def test_another_projects_stack_in_review_is_refused(environment):
    review("others", {"Description": "Another project's", "Resources": QUEUE})
    refusal = ["error: the stack others (REVIEW_IN_PROGRESS) was not created from this project's template.yaml"]
    assert ops("stack.py", "delete", "others", **environment) == (1, [], refusal)
    assert ops("stack.py", "protect", "others", **environment) == (1, [], refusal)
    assert ops("preflight.py", "others", parameters("others"), **environment) == (1, [], refusal)


def test_a_failed_deletion_says_what_failed_and_why_and_can_be_repeated(environment):
    stack, ec2 = "kept", boto3.client("ec2")
    # MiniStack deletes whatever the template has. A network with a subnet of somebody else's stays, as in AWS.
    template = deployment.template(TEMPLATE)
    template["Resources"]["Network"] = {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}}
    template["Outputs"]["Network"] = {"Value": {"Ref": "Network"}}
    status, outputs = deployment.create(stack, template, **names(stack))
    assert status == "CREATE_COMPLETE"
    subnet = ec2.create_subnet(VpcId=outputs["Network"], CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    for state in ("CREATE_COMPLETE", "DELETE_FAILED"):
        code, lines, errors = ops("stack.py", "delete", stack, **environment)
        assert (code, lines[0]) == (1, f"stack {stack} ({state}): deleting it …")
        assert lines[-1] == f"  {stack}: DELETE_FAILED"
        first, failure, *_, last = errors
        assert (first, last) == (
            f"error: the stack {stack} could not be deleted:", "Fix the cause, then run `make delete` again")
        assert failure.startswith("  Network is DELETE_FAILED: ")
    code, lines, errors = ops("preflight.py", stack, parameters(stack), **environment)
    assert (code, errors[:2]) == (1, [
        f"error: the stack {stack} is DELETE_FAILED: it can't be updated: run `make delete`, then deploy again", failure])
    ec2.delete_subnet(SubnetId=subnet)
    code, lines, errors = ops("stack.py", "delete", stack, **environment)
    assert (code, errors) == (0, []) and set(tables(stack)) == set(names(stack).values())
