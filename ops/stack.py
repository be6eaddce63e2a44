"""The deployed stack, in whatever state it is, and one clear line for whatever is missing.

Run by itself, it checks the credentials; `stack.py delete NAME` and `stack.py protect NAME` work on a stack."""

import sys
import time
from contextlib import contextmanager

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

# How template.yaml's Description begins. CloudFormation keeps it in every state, with or without outputs.
OURS = "ecs-state-recorder:"
POLL_SECONDS = 5


@contextmanager
def one_clear_line():
    """Ends the program with one line on what AWS, or the way to it, didn't allow."""
    try:
        yield
    except NoRegionError:
        sys.exit("error: no AWS region is set: export AWS_DEFAULT_REGION, or AWS_PROFILE with a region")
    except NoCredentialsError:
        sys.exit("error: no AWS credentials are found: sign in (aws login, aws sso login), or export AWS_PROFILE")
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"error: AWS: {error}")


def region():
    return boto3.session.Session().region_name


def find(name):
    """The stack as CloudFormation describes it, or None. Ends the program where it is another project's."""
    try:
        [stack] = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        return None
    if not is_ours(stack):
        sys.exit(f"error: the stack {name} ({stack['StackStatus']}) is not one of this project's template.yaml")
    return stack


def is_ours(stack):
    if stack["StackStatus"] != "REVIEW_IN_PROGRESS":
        return stack.get("Description", "").startswith(OURS)
    # Nothing is created yet, and only its change sets have a template.
    client, name = boto3.client("cloudformation"), stack["StackName"]
    change_sets = [each["ChangeSetName"] for each in client.list_change_sets(StackName=name)["Summaries"]]
    templates = [client.get_template(StackName=name, ChangeSetName=each)["TemplateBody"] for each in change_sets]
    return all(OURS in str(template) for template in templates)


def existing(name):
    stack = find(name)
    if stack is None:
        sys.exit(f"error: there is no stack {name} in {region()}: `make deploy` makes it, STACK=… names another one")
    return stack


def outputs(name):
    """What the stack made, by the names of template.yaml's Outputs, and its parameters."""
    stack = existing(name)
    found = {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in stack.get("Parameters", [])}
    # An output wins: it is the name that the stack gave.
    found |= {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    if "FunctionName" not in found:
        sys.exit(f"error: the stack {name} is {stack['StackStatus']} and has no function: run `make deploy`")
    return found


def tables(stack):
    """The names of the tables that belong to the stack."""
    if stack["StackStatus"] == "REVIEW_IN_PROGRESS":
        return []
    resources = boto3.client("cloudformation").describe_stack_resources(StackName=stack["StackId"])["StackResources"]
    return [
        resource["PhysicalResourceId"]
        for resource in resources
        if resource.get("ResourceType") == "AWS::DynamoDB::Table"
        and resource.get("PhysicalResourceId")
        and resource["ResourceStatus"] not in ("CREATE_FAILED", "DELETE_COMPLETE")
    ]


def events(stack):
    """The stack's latest events, the newest first."""
    return boto3.client("cloudformation").describe_stack_events(StackName=stack["StackId"])["StackEvents"]


def failures(stack):
    """What failed in the stack's last operation, and why: a line each."""
    found = []
    for event in events(stack):
        is_stack = event["PhysicalResourceId"] == event["StackId"]
        reason = event.get("ResourceStatusReason", "")
        # The others' creations are cancelled when one fails: that says nothing.
        if event["ResourceStatus"].endswith("_FAILED") and not is_stack and "cancelled" not in reason:
            found.append(f"{event['LogicalResourceId']} is {event['ResourceStatus']}: {reason}")
        if is_stack and reason == "User Initiated":
            break
    return found[::-1]


def delete(stack):
    """Deletes the stack, whatever its state, and waits for the end.

    Not by `sam delete`: it fails on a stack without a template, and doesn't say which resource can't be deleted."""
    client, name = boto3.client("cloudformation"), stack["StackName"]
    kept, seen = tables(stack), {event["EventId"] for event in events(stack)}
    print(f"stack {name} ({stack['StackStatus']}): deleting it …", flush=True)
    client.delete_stack(StackName=stack["StackId"])
    failed = False
    try:
        while not failed:
            [now] = client.describe_stacks(StackName=stack["StackId"])["Stacks"]
            for event in reversed(events(stack)):
                if event["EventId"] not in seen and event["ResourceStatus"] in ("DELETE_COMPLETE", "DELETE_FAILED"):
                    print(f"  {event['LogicalResourceId']}: {event['ResourceStatus']}", flush=True)
                    # By its event: right after the request, the status can still be that of an earlier failure.
                    failed |= event["PhysicalResourceId"] == event["StackId"] and "FAILED" in event["ResourceStatus"]
                seen.add(event["EventId"])
            if now["StackStatus"] == "DELETE_COMPLETE":
                break
            time.sleep(0 if failed else POLL_SECONDS)
    except KeyboardInterrupt:
        sys.exit(f"interrupted: CloudFormation goes on deleting the stack {name}")
    if failed:
        reasons = "".join(f"  {failure}\n" for failure in failures(stack))
        sys.exit(f"error: the stack {name} could not be deleted:\n{reasons}Fix that, then run `make delete` again")
    print(f"stack {name}: deleted" + (f"; the tables {' and '.join(kept)} stay" if kept else ""))


def protect(stack):
    """Turns on the deletion protection of the stack's tables, once it has been deployed.

    In template.yaml it would be on from the start, so that the rollback of a failed creation could not delete the
    tables either, and would end as ROLLBACK_FAILED. CloudFormation doesn't report it as drift: it compares only
    properties that the template has."""
    dynamodb = boto3.client("dynamodb")
    for table in tables(stack):
        if not dynamodb.describe_table(TableName=table)["Table"].get("DeletionProtectionEnabled"):
            dynamodb.get_waiter("table_exists").wait(TableName=table)
            dynamodb.update_table(TableName=table, DeletionProtectionEnabled=True)
            print(f"table {table}: protected from deletion")


if __name__ == "__main__":
    with one_clear_line():
        boto3.client("sts").get_caller_identity()
        if sys.argv[1:]:
            command, name = sys.argv[1:]
            {"delete": delete, "protect": protect}[command](existing(name))
