"""Finds, protects and deletes the deployed stack in any state, and turns errors of AWS into one line.

Run without arguments, it checks the credentials; `stack.py delete NAME`, `protect NAME` and `next-step NAME` work
on a stack."""

import sys
import time
from contextlib import contextmanager

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

# The beginning of template.yaml's Description, which CloudFormation keeps in every state, with or without outputs.
OURS = "ecs-state-recorder:"
POLL_SECONDS = 5
# The exit code of a program that Ctrl-C ended.
INTERRUPTED = 130
# The tables' keys, by the parameters and outputs with the tables' names.
KEYS = {"TaskTableName": "taskArn", "ContainerInstanceTableName": "containerInstanceArn"}


@contextmanager
def one_line_errors():
    """Exits with one line after an error of AWS or the network, and without a traceback after Ctrl-C."""
    try:
        yield
    except NoRegionError:
        sys.exit("error: no AWS region is set: export AWS_DEFAULT_REGION, or AWS_PROFILE with a region")
    except NoCredentialsError:
        sys.exit("error: no AWS credentials were found: sign in (aws login, aws sso login), or export AWS_PROFILE")
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"error: AWS: {error}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def interrupted(consequence):
    print(f"interrupted: {consequence}", file=sys.stderr)
    sys.exit(INTERRUPTED)


@contextmanager
def unless_denied(what):
    """Skips a check that whoever deploys may not make."""
    try:
        yield
    except ClientError as error:
        if not error_code(error).startswith("AccessDenied"):
            raise
        print(f"warning: {what} was not checked: {error}", file=sys.stderr)


def error_code(error):
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__


def region():
    return boto3.session.Session().region_name


def find(name):
    """The stack as CloudFormation describes it, or None. Exits if it belongs to another project."""
    try:
        [stack] = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        return None
    if not is_ours(stack):
        sys.exit(f"error: the stack {name} ({stack['StackStatus']}) was not created from this project's template.yaml")
    return stack


def is_ours(stack):
    if stack["StackStatus"] != "REVIEW_IN_PROGRESS":
        return stack.get("Description", "").startswith(OURS)
    # Nothing has been created yet: only the change sets have a template.
    client, name = boto3.client("cloudformation"), stack["StackName"]
    change_sets = [each["ChangeSetName"] for each in client.list_change_sets(StackName=name)["Summaries"]]
    templates = [client.get_template(StackName=name, ChangeSetName=each)["TemplateBody"] for each in change_sets]
    return all(OURS in str(template) for template in templates)


def existing(name):
    stack = find(name)
    if stack is None:
        sys.exit(
            f"error: there is no stack {name} in {region()}: "
            "create it with `make deploy`, or name another one with STACK=…"
        )
    return stack


def outputs(name):
    """The stack's outputs and parameters, by name."""
    stack = existing(name)
    found = {parameter["ParameterKey"]: parameter["ParameterValue"] for parameter in stack.get("Parameters", [])}
    # An output takes precedence: it has the actual name.
    found |= {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    if "RecorderName" not in found:
        sys.exit(f"error: the stack {name} is {stack['StackStatus']} and has no output RecorderName: run `make deploy`")
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
    """The stack's latest events, newest first."""
    return boto3.client("cloudformation").describe_stack_events(StackName=stack["StackId"])["StackEvents"]


def failures(stack):
    """What failed in the stack's last operation and why, one line each."""
    found = []
    for event in events(stack):
        is_stack = event["PhysicalResourceId"] == event["StackId"]
        reason = event.get("ResourceStatusReason", "")
        # When one resource fails, CloudFormation cancels the others. Those are not the cause.
        if event["ResourceStatus"].endswith("_FAILED") and not is_stack and "cancelled" not in reason:
            found.append(f"{event['LogicalResourceId']} is {event['ResourceStatus']}: {reason}")
        if is_stack and reason == "User Initiated":
            break
    return found[::-1]


def delete(stack):
    """Deletes the stack, whatever its state, and waits until it is gone.

    Does not use `sam delete`, which fails on a stack without a template and does not name the resource that failed."""
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
                    # From the event: right after the request, the status may still be from an earlier failure.
                    failed |= event["PhysicalResourceId"] == event["StackId"] and "FAILED" in event["ResourceStatus"]
                seen.add(event["EventId"])
            if now["StackStatus"] == "DELETE_COMPLETE":
                break
            time.sleep(0 if failed else POLL_SECONDS)
    except KeyboardInterrupt:
        interrupted(f"CloudFormation continues to delete the stack {name}")
    if failed:
        reasons = "".join(f"  {failure}\n" for failure in failures(stack))
        sys.exit(f"error: the stack {name} could not be deleted:\n{reasons}Fix the cause, then run `make delete` again")
    print(f"stack {name}: deleted" + (f"; the tables {' and '.join(kept)} are kept" if kept else ""))


def protect(stack):
    """Enables deletion protection for the stack's tables after it has been deployed.

    If template.yaml enabled it, the rollback of a failed creation could not delete the tables and would end as
    ROLLBACK_FAILED. CloudFormation does not report it as drift, since it compares only properties in the template."""
    dynamodb = boto3.client("dynamodb")
    for table in tables(stack):
        if not dynamodb.describe_table(TableName=table)["Table"].get("DeletionProtectionEnabled"):
            dynamodb.get_waiter("table_exists").wait(TableName=table)
            dynamodb.update_table(TableName=table, DeletionProtectionEnabled=True)
            print(f"table {table}: protected from deletion")


def next_step(stack):
    """After a creation, shows how to record what is already running. The schedule would do it, too."""
    if stack["StackStatus"] == "CREATE_COMPLETE":
        print(f"To record what is already running: make reconcile SCOPE=fleet STACK={stack['StackName']}")


if __name__ == "__main__":
    with one_line_errors():
        boto3.client("sts").get_caller_identity()
        if sys.argv[1:]:
            command, name = sys.argv[1:]
            {"delete": delete, "protect": protect, "next-step": next_step}[command](existing(name))
