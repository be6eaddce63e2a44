"""Shows which version each stack of the organization's StackSets runs. Fails if one is not as its StackSet.

Run it in the account and region of the StackSets."""

import argparse
import sys

import boto3
import yaml

import preflight
import stack

# As in docs/organization.md.
STACK_SETS = ("ecs-state-recorder-spoke", "ecs-state-recorder-reconciler")


def stacks(name, caller):
    """A line for each stack, and whether it is as the StackSet."""
    client = boto3.client("cloudformation")
    try:
        found = client.describe_stack_set(StackSetName=name, **caller)["StackSet"]
    except client.exceptions.StackSetNotFoundException:
        print(f"{name}: there is no such StackSet in {stack.region()}")
        return
    version = yaml.load(found["TemplateBody"], preflight.Loader)["Outputs"]["Version"]["Value"]
    code = [each["ParameterValue"] for each in found["Parameters"] if each["ParameterKey"] == "CodeKey"]
    pages = client.get_paginator("list_stack_instances").paginate(StackSetName=name, **caller)
    summaries = [each for page in pages for each in page["Summaries"]]
    if not summaries:
        print(f"{name}: the StackSet has no stacks")
    for each in summaries:
        where = f"{each['Account']}/{each['Region']}: {name}"
        if each["Status"] == "CURRENT":
            yield ", ".join([f"{where} {version}", *code]), True
        else:
            states = each["Status"], each["StackInstanceStatus"]["DetailedStatus"], each.get("StatusReason")
            yield f"{where} not yet {version}: {', '.join(filter(None, states))}", False


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--call-as", help="DELEGATED_ADMIN in a delegated administrator's account (CALL_AS=…)")
    arguments = arguments.parse_args()
    caller = {"CallAs": arguments.call_as} if arguments.call_as else {}
    with stack.one_line_errors():
        found = [each for name in STACK_SETS for each in sorted(stacks(name, caller))]
    for line, _ in found:
        print(line)
    sys.exit(0 if found and all(current for _, current in found) else 1)
