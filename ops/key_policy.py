"""Checks before a deployment that the policy of its KMS key lets in everybody who has to use the key: what EventBridge
may not encrypt for the dead-letter queue is lost. Conditions are not evaluated, nor are denials."""

import json
import re
import sys
from fnmatch import fnmatchcase

import boto3
from botocore.exceptions import ClientError

import stack

# By the documentation of EventBridge, CloudWatch Logs and DynamoDB.
READ_AND_WRITE = ["kms:Decrypt", "kms:GenerateDataKey"]
ALL = [*READ_AND_WRITE, "kms:DescribeKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"]


def missing(policy, region, account):
    """Whom the policy doesn't let in, and what for."""
    events, logs, iam = "events.amazonaws.com", f"logs.{region}.amazonaws.com", f"the account {account}"

    def may(principal, action, conditions):
        return any(
            statement["Effect"] == "Allow"
            and principal in principals(statement.get("Principal", {}), account)
            and any(fnmatchcase(action.lower(), pattern.lower()) for pattern in listed(statement.get("Action", [])))
            and (conditions or "Condition" not in statement)
            for statement in listed(policy.get("Statement", []))
        )

    found = []
    for principal, what, actions, conditions in [
        # EventBridge sends none of the keys that a condition could ask for, such as aws:SourceAccount.
        (events, "without a condition, for the dead-letter queue", READ_AND_WRITE, False),
        (events, "for the archive", ALL, True),
        (logs, "for the log", [*ALL, "kms:Encrypt"], True),
        (iam, "for the function's role, by its IAM policy", [*ALL, "kms:Encrypt"], True),
    ]:
        refused = [action for action in actions if not may(principal, action, conditions)]
        if refused:
            found.append(f"{principal} ({what}: {', '.join(refused)})")
    return found


def principals(principal, account):
    """Those of a statement, as missing() names them."""
    if principal == "*":
        principal = {"AWS": "*"}
    for name in listed(principal.get("Service", [])):
        # In China, a regional service's name ends with .cn.
        yield name.removesuffix(".cn")
    for name in listed(principal.get("AWS", [])):
        if name in ("*", account) or name.endswith(f":iam::{account}:root"):
            yield f"the account {account}"


def listed(value):
    return value if isinstance(value, list) else [value]


def problems(arn):
    """Why the key can't serve a stack here."""
    parts = re.fullmatch(r"arn:[a-z-]+:kms:([a-z0-9-]+):(\d{12}):key/[A-Za-z0-9-]+", arn)
    if not parts:
        yield f"KmsKeyArn must be the ARN of a KMS key (not of an alias), found {arn}"
        return
    (region, account), kms = parts.groups(), boto3.client("kms")
    here = kms.meta.region_name
    if region != here:
        yield f"the key {arn} is in {region}, but the stack is in {here}: choose a key of {here}"
        return
    try:
        policy = kms.get_key_policy(KeyId=arn, PolicyName="default")["Policy"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        # Who deploys need not be who may read the policies of keys.
        print(f"warning: the policy of the key {arn} is not checked: {error}", file=sys.stderr)
        return
    if found := missing(json.loads(policy), region, account):
        yield (
            f"the policy of the key {arn} doesn't let in {'; '.join(found)}. "
            "Add the statements of docs/deploy.md, Encrypt with your own key"
        )


if __name__ == "__main__":
    with stack.one_clear_line():
        for problem in problems(sys.argv[1]):
            sys.exit(f"error: {problem}")
