"""Reports what would make a deployment fail, before a build of several minutes: the stack's state, its parameters, its
key's policy, the tables and their stream, AWS's quotas, and a changed package.

A stack whose creation failed and was rolled back is deleted, so that it can be created again."""

import argparse
import hashlib
import json
import re
import shlex
import sys
from pathlib import Path

import boto3
import yaml

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
# These stacks are created anew, without the parameters of an earlier deployment.
NEVER_CREATED = ("REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE")
# The default of EventBridge's quota "Event pattern size", which can be raised, and its code in Service Quotas.
PATTERN_CHARACTERS, PATTERN_QUOTA = 2_048, "L-664C5505"
# IAM's limit for a role's inline policies, which can't be raised; and what the reconciler's has at most, beside clusters.
POLICY_CHARACTERS, POLICY_REST = 10_240, 2_600
# What Lambda keeps for functions without a reservation.
UNRESERVED = 100


class Loader(yaml.SafeLoader):
    """Reads a template. CloudFormation's short forms, such as !Ref, are None."""


Loader.add_multi_constructor("!", lambda *_: None)


def state(found):
    """What is wrong with the stack's state."""
    name, status = found["StackName"], found["StackStatus"]
    advice = ADVICE.get(status, WAIT if status.endswith("_IN_PROGRESS") and status not in NEVER_CREATED else None)
    if advice:
        reasons = "".join(f"\n  {failure}" for failure in stack.failures(found))
        yield f"the stack {name} is {status}: {advice.format(name)}{reasons}"


def words(variable, text):
    try:
        return shlex.split(text)
    except ValueError as error:
        sys.exit(f"error: {variable} must be words of a shell ({error}), found {text}")


def read(overrides):
    """PARAMETERS, by name."""
    given = words("PARAMETERS", overrides)
    if wrong := [word for word in given if "=" not in word]:
        sys.exit(f"error: PARAMETERS must have the form 'Name=value …', found {wrong[0]}")
    return dict(word.split("=", 1) for word in given)


def options(given):
    """SAM_OPTIONS, which `sam deploy` has, too."""
    # The other programs would use another account or region.
    if any(option.startswith(("--profile", "--region")) for option in given.split()):
        sys.exit("error: SAM_OPTIONS must not contain --profile or --region: "
                 "export AWS_PROFILE or AWS_DEFAULT_REGION instead")
    parser = argparse.ArgumentParser(prog="SAM_OPTIONS", add_help=False)
    for option in ("--s3-bucket", "--s3-prefix", "--role-arn"):
        parser.add_argument(option)
    parser.add_argument("--tags", nargs="+", default=[], metavar="NAME=VALUE")
    return parser.parse_args(words("SAM_OPTIONS", given))


def earlier_parameters(found):
    """Those of the stack's last deployment."""
    if not found or found["StackStatus"] in NEVER_CREATED:
        return {}
    return {each["ParameterKey"]: each["ParameterValue"] for each in found.get("Parameters", [])}


def parameters(template, given, earlier):
    """The parameter values that the deployment will use."""
    values = {name: str(parameter["Default"]) for name, parameter in template["Parameters"].items()}
    return values | {name: value for name, value in earlier.items() if name in values} | given


def unknown(template, given):
    """Parameters that the template does not have."""
    for name in given:
        if name not in template["Parameters"]:
            yield f"template.yaml has no parameter {name}"


def malformed(template, values):
    """Values that do not have the template's pattern. Other checks rely on that."""
    for name, parameter in template["Parameters"].items():
        pattern = parameter.get("AllowedPattern", r"-?\d+" if parameter["Type"] == "Number" else ".*")
        items = values[name].split(",") if parameter["Type"] == "CommaDelimitedList" else [values[name]]
        if not all(re.fullmatch(pattern, item.strip()) for item in items):
            yield f"{name} {parameter.get('ConstraintDescription', 'must be an integer')}, found {values[name]}"


def alarm_topic(values):
    here = stack.region()
    for name in ("AlarmTopicArn", "TicketTopicArn", "NotificationTopicArn"):
        if values[name] and values[name].split(":")[3] != here:
            yield f"{name} must be a topic in the stack's region, {here}, found {values[name]}"


def clusters(template, values):
    """More clusters than fit where each is named: in the rule's pattern, and three times in the reconciler's policy."""
    arns = [arn.strip() for arn in values["ClusterArns"].split(",") if arn.strip()]
    if not arns:
        return
    advice = (
        "leave it empty to record all clusters, or record some of them with another stack on the same tables "
        "(docs/scale.md, Many clusters)"
    )
    pattern = template["Resources"]["RecorderStateChanges"]["Properties"]["EventPattern"]
    size, quota = len(json.dumps(pattern | {"detail": {"clusterArn": arns}}, separators=(",", ":"))), PATTERN_CHARACTERS
    if size > quota:
        quotas = boto3.client("service-quotas")
        with stack.unless_denied("whether the quota for event patterns has been raised"):
            try:
                quota = int(quotas.get_service_quota(ServiceCode="events", QuotaCode=PATTERN_QUOTA)["Quota"]["Value"])
            except quotas.exceptions.NoSuchResourceException:
                pass
    if size > quota:
        yield (
            f"ClusterArns has too many clusters: with {len(arns)}, the rule's pattern has {size} characters, of {quota} "
            f"that EventBridge accepts in {stack.region()}. Request a higher quota (Event pattern size), {advice}"
        )
    if (size := POLICY_REST + 3 * len("".join(arns)) + 9 * len(arns)) > POLICY_CHARACTERS:
        yield (
            f"ClusterArns has too many clusters: with {len(arns)}, the reconciler's policy has up to {size} characters, of "
            f"{POLICY_CHARACTERS} that IAM accepts: {advice}"
        )


def concurrency(values, earlier):
    """A reservation that leaves less than Lambda demands for the other functions."""
    reserved, own = int(values["ReservedConcurrency"]), max(int(earlier.get("ReservedConcurrency", -1)), 0)
    if reserved <= 0:
        return
    with stack.unless_denied("ReservedConcurrency"):
        limits = boto3.client("lambda").get_account_settings()["AccountLimit"]
        free = limits["UnreservedConcurrentExecutions"] + own
        if reserved > free - UNRESERVED:
            yield (
                f"ReservedConcurrency={reserved} is too much: of the account's {limits['ConcurrentExecutions']} concurrent "
                f"executions in {stack.region()}, {free} are free, and {UNRESERVED} of them must stay unreserved. Choose "
                "less, or request a higher quota (Lambda, Concurrent executions)"
            )


def warm_throughput(values, given, earlier, owned):
    """A value that DynamoDB refuses, or that an update which fails elsewhere could not take back."""
    units = int(values["WarmWriteUnits"])
    if not units or values["WarmWriteUnits"] == earlier.get("WarmWriteUnits"):
        return
    with stack.unless_denied("WarmWriteUnits"):
        limit = boto3.client("dynamodb").describe_limits()["TableMaxWriteCapacityUnits"]
        if units > limit:
            yield f"WarmWriteUnits must be at most {limit}, the account's quota for a table, found {units}"
    for name in owned:
        table = describe(name)
        parts = [table, *table.get("GlobalSecondaryIndexes", [])]
        warm = max(part.get("WarmThroughput", {}).get("WriteUnitsPerSecond", 0) for part in parts)
        if units < warm:
            yield (
                f"WarmWriteUnits must be at least {warm}, which {name} has by now and DynamoDB never lowers, or 0, found "
                f"{units}"
            )
    others = [name for name, value in given.items() if name != "WarmWriteUnits" and value != earlier.get(name)]
    if owned and others:
        yield (
            f"WarmWriteUnits must be changed alone, found {', '.join(others)}, too: if that fails, the rollback must lower "
            "WarmWriteUnits, which DynamoDB refuses"
        )


def bus(values):
    """CloudFormation does not notice a bus that is missing, unless it has the rule for a topic."""
    name = values["NotificationBusName"]
    if values["Notify"] != "true" or name == "default":
        return
    events = boto3.client("events")
    try:
        events.describe_event_bus(Name=name)
    except events.exceptions.ResourceNotFoundException:
        yield f"NotificationBusName must be an event bus of this account in {stack.region()}, and there is no {name}"


def stream(values):
    """What keeps the notifier from reading the changes of the table for tasks."""
    if values["Notify"] != "true":
        return
    given = values["TaskStreamArn"]
    if not given:
        if values["CreateTables"] == "false":
            yield "Notify=true with CreateTables=false needs TaskStreamArn, the stream of the table for tasks"
        elif values["TableStreams"] == "false":
            yield "Notify=true needs TableStreams=true, or TaskStreamArn"
        return
    # Without TaskTableName, CloudFormation has chosen the name.
    name = values["TaskTableName"] or given.partition("/")[2].partition("/")[0]
    table = describe(name) or {}
    # A stream that was switched off is still described for a day.
    specified = table.get("StreamSpecification", {})
    found = table["LatestStreamArn"] if specified.get("StreamEnabled") else "which has none"
    if given != found:
        yield f"TaskStreamArn must be the stream of the table {name}, {found}, found {given}"
    elif (images := specified["StreamViewType"]) != "NEW_AND_OLD_IMAGES":
        yield f"TaskStreamArn must be a stream with NEW_AND_OLD_IMAGES, found {images}"


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
            elif units := found[name].get("ProvisionedThroughput", {}).get("WriteCapacityUnits"):
                print(
                    f"warning: the table {name} accepts {units} write units a second, about {units / 2:g} rows. Make it an "
                    f"on-demand table: aws dynamodb update-table --table-name {name} --billing-mode PAY_PER_REQUEST",
                    file=sys.stderr,
                )
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
    given = read(overrides)
    template = yaml.load((folder / "template.yaml").read_text(), Loader)
    found = stack.find(name)
    problems = [*state(found)] if found else []
    if not problems:
        earlier = earlier_parameters(found)
        values = parameters(template, given, earlier)
        expect_no(malformed(template, values))
        key, its_tables = values["KmsKeyArn"], owned(found)
        problems = [*unknown(template, given), *alarm_topic(values), *(key_policy.problems(key) if key else [])]
        problems += [*clusters(template, values), *concurrency(values, earlier)]
        problems += [*warm_throughput(values, given, earlier, its_tables), *tables(values, its_tables)]
        problems += [*bus(values), *stream(values)]
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
    arguments.add_argument("--sam-options", default="", help="SAM_OPTIONS")
    arguments = arguments.parse_args()
    options(arguments.sam_options)
    if arguments.package:
        expect_no(package(Path(arguments.package)))
    with stack.one_line_errors():
        check(arguments.stack, arguments.parameters, Path(arguments.package or "."))
