"""Reports what would make a deployment fail, before a build of several minutes: the stack's state, its parameters, its
key's policy, the tables, and a changed package.

A stack whose creation failed and was rolled back is deleted, so that it can be created again."""

import argparse
import hashlib
import sys
from pathlib import Path

import boto3
import click
from samcli.cli.types import CfnParameterOverridesType
from samcli.yamlhelper import yaml_parse

import key_policy
import stack

WAIT = "wait until that is finished, then deploy again"
DELETE = "it can't be updated: run `make delete`, then deploy again"
# The states in which CloudFormation accepts no deployment.
ADVICE = {
    "CREATE_FAILED": DELETE,
    "ROLLBACK_FAILED": DELETE,
    "DELETE_FAILED": DELETE,
    "UPDATE_FAILED": "run `aws cloudformation rollback-stack --stack-name {}`, then deploy again",
    "UPDATE_ROLLBACK_FAILED": "fix what stopped the rollback, run "
    "`aws cloudformation continue-update-rollback --stack-name {}`, then deploy again",
}
# SAM creates these stacks anew, without the parameters of an earlier deployment.
NEVER_CREATED = ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE")


def state(found):
    """What is wrong with the stack's state."""
    name, status = found["StackName"], found["StackStatus"]
    advice = ADVICE.get(status, WAIT if status.endswith("_IN_PROGRESS") and status not in NEVER_CREATED else None)
    if advice:
        reasons = "".join(f"\n  {failure}" for failure in stack.failures(found))
        yield f"the stack {name} is {status}: {advice.format(name)}{reasons}"


def parameters(template, given, found):
    """The parameter values that the deployment will use."""
    values = {name: str(parameter["Default"]) for name, parameter in template["Parameters"].items()}
    if found and found["StackStatus"] not in NEVER_CREATED:
        earlier = {each["ParameterKey"]: each["ParameterValue"] for each in found.get("Parameters", [])}
        values |= {name: value for name, value in earlier.items() if name in values}
    return values | given


def unknown(template, given):
    """Parameters that the template does not have, which SAM would ignore silently."""
    for name in given:
        if name not in template["Parameters"]:
            yield f"template.yaml has no parameter {name}"


def alarm_topic(values):
    here = stack.region()
    for name in ("AlarmTopicArn", "TicketTopicArn"):
        if values[name].count(":") == 5 and values[name].split(":")[3] != here:
            yield f"{name} must be a topic in the stack's region, {here}, found {values[name]}"


def owned(found):
    return stack.tables(found) if found and found["StackStatus"] not in NEVER_CREATED else []


def tables(values, owned):
    names = {values[parameter]: (parameter, key) for parameter, key in stack.KEYS.items()}
    found = {name: table for name in names if name and (table := describe(name))}
    fit = {name for name, table in found.items() if has_key(table, names[name][1])}
    if values["CreateTables"] == "false":
        for name, (parameter, key) in names.items():
            if not name:
                yield f"CreateTables=false needs {parameter}, the name of an existing table"
            elif name not in found:
                yield f"CreateTables=false, but there is no table {name} in {stack.region()}: check {parameter}"
            elif name not in fit:
                yield f"the table {name} can't be used: its key must be {key}, a string, without a sort key"
        return
    conflicting = [name for name in names if name in found and name not in owned]
    if conflicting:
        several = len(conflicting) > 1
        others = " ".join(f"{names[name][0]}=…" for name in conflicting)
        options = [f"choose {'other names' if several else 'another name'} with {others}"]
        if len(fit) == len(stack.KEYS):
            options.insert(0, "use both with CreateTables=false")
        yield (
            f"{' and '.join(conflicting)} can't be created in {stack.region()}: "
            f"{'tables with these names already exist' if several else 'a table with this name already exists'} "
            "outside the stack. "
            f"In PARAMETERS, {', or '.join(options)}"
        )


def describe(name):
    dynamodb = boto3.client("dynamodb")
    try:
        return dynamodb.describe_table(TableName=name)["Table"]
    except dynamodb.exceptions.ResourceNotFoundException:
        return None


def has_key(table, key):
    return (
        table["KeySchema"] == [{"AttributeName": key, "KeyType": "HASH"}]
        and {"AttributeName": key, "AttributeType": "S"} in table["AttributeDefinitions"]
    )


def package(folder):
    """What is wrong with a folder that `make package` wrote."""
    sums = folder / "SHA256SUMS"
    if not sums.is_file():
        yield f"there is no file {sums}: PACKAGE must be a folder of `make package`, such as target/package/arm64"
        return
    for line in sums.read_text().splitlines():
        digest, name = line.split()
        file = folder / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            yield f"{file} is not as `make package` wrote it: fetch the package again"


def expect_no(problems):
    if problems := [*problems]:
        sys.exit("\n".join(f"error: {problem}" for problem in problems))


def check(name, overrides, folder):
    try:
        given = CfnParameterOverridesType().convert((overrides,), None, None)
    except click.BadParameter as error:
        sys.exit(f"error: PARAMETERS: {error.message}")
    template = yaml_parse((folder / "template.yaml").read_text())
    found = stack.find(name)
    problems = [*state(found)] if found else []
    if not problems:
        values = parameters(template, given, found)
        key = values["KmsKeyArn"]
        problems = [*unknown(template, given), *alarm_topic(values), *(key_policy.problems(key) if key else [])]
        problems += tables(values, owned(found))
    expect_no(problems)
    if found and found["StackStatus"] == "ROLLBACK_COMPLETE":
        for failure in stack.failures(found):
            print(f"stack {name}: its earlier creation failed: {failure}")
        stack.delete(found)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("stack")
    arguments.add_argument("parameters", help="the template's parameters, such as 'ArchiveDays=0 Tracing=Active'")
    arguments.add_argument("--package", help="a folder that `make package` wrote, to deploy instead of this one")
    arguments.add_argument("--sam-options", default="", help="what `sam deploy` will get besides")
    arguments = arguments.parse_args()
    # The other programs would use another account or region.
    if any(option.startswith(("--profile", "--region")) for option in arguments.sam_options.split()):
        sys.exit("error: SAM_OPTIONS must not contain --profile or --region: "
                 "export AWS_PROFILE or AWS_DEFAULT_REGION instead")
    if arguments.package:
        expect_no(package(Path(arguments.package)))
    with stack.one_line_errors():
        check(arguments.stack, arguments.parameters, Path(arguments.package or "."))
