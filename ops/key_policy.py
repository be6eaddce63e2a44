"""Checks before a deployment that the policy of its KMS key allows every principal that must use the key: events that
EventBridge can't encrypt for the dead-letter queue are lost. Conditions and Deny statements are not evaluated."""

import json
import re
import sys
from fnmatch import fnmatchcase

import boto3

import stack

# According to the documentation of EventBridge, CloudWatch Logs and DynamoDB.
READ_AND_WRITE = ["kms:Decrypt", "kms:GenerateDataKey"]
ALL = [*READ_AND_WRITE, "kms:DescribeKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"]


def missing(policy, region, account):
    """The principals that the policy does not allow, with purpose and actions."""
    events, logs, iam = "events.amazonaws.com", f"logs.{region}.amazonaws.com", f"the account {account}"

    def may(principal, action, conditions):
        return any(
            principal in principals(statement.get("Principal", {}), account)
            and (conditions or "Condition" not in statement)
            for statement in allowing(policy, action)
        )

    found = []
    for principal, what, actions, conditions in [
        # EventBridge sends no context keys, such as aws:SourceAccount, so no condition can match.
        (events, "without a condition, for the dead-letter queue", READ_AND_WRITE, False),
        (events, "for the archive", ALL, True),
        (logs, "for the log", [*ALL, "kms:Encrypt"], True),
        (iam, "for the functions' roles, by their IAM policies", [*ALL, "kms:Encrypt"], True),
    ]:
        refused = [action for action in actions if not may(principal, action, conditions)]
        if refused:
            found.append(f"{principal} ({what}: {', '.join(refused)})")
    return found


def principals(principal, account):
    """The principals of a statement, under the names that missing() uses."""
    if principal == "*":
        principal = {"AWS": "*"}
    for name in as_list(principal.get("Service", [])):
        # In China, the name of a regional service principal ends in .cn.
        yield name.removesuffix(".cn")
    for name in as_list(principal.get("AWS", [])):
        if name in ("*", account) or name.endswith(f":iam::{account}:root"):
            yield f"the account {account}"


def as_list(value):
    return value if isinstance(value, list) else [value]


def allowing(policy, action):
    """The statements of a policy that allow an action. Denials are not evaluated."""
    for statement in as_list(policy.get("Statement", [])):
        patterns = as_list(statement.get("Action", []))
        if statement["Effect"] == "Allow" and any(fnmatchcase(action.lower(), each.lower()) for each in patterns):
            yield statement


def problems(arn):
    """Why the key can't be used by a stack in this region."""
    parts = re.fullmatch(r"arn:[a-z-]+:kms:([a-z0-9-]+):(\d{12}):key/[A-Za-z0-9-]+", arn)
    if not parts:
        yield f"KmsKeyArn must be the ARN of a KMS key (not of an alias), found {arn}"
        return
    (region, account), kms = parts.groups(), boto3.client("kms")
    here = kms.meta.region_name
    if region != here:
        yield f"KmsKeyArn must be a key in the stack's region, {here}, found {arn}"
        return
    with stack.unless_denied(f"the policy of the key {arn}"):
        policy = kms.get_key_policy(KeyId=arn, PolicyName="default")["Policy"]
        if found := missing(json.loads(policy), region, account):
            yield (
                f"the policy of the key {arn} must also allow {'; '.join(found)}. "
                "Add the statements of docs/deploy.md, Encrypt with your own key"
            )


if __name__ == "__main__":
    with stack.one_line_errors():
        for problem in problems(sys.argv[1]):
            sys.exit(f"error: {problem}")
