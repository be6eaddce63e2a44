"""The check of a KMS key's policy, tested with the policy in docs/deploy.md."""

import json
import re

import boto3
import pytest

from emulator.proxy import Proxy

from .aws import ACCOUNT, PROJECT, REGION
from .ops import ops

EVERYBODY = {
    "events.amazonaws.com (without a condition, for the dead-letter queue": "kms:Decrypt, kms:GenerateDataKey",
    "events.amazonaws.com (for the archive": (
        "kms:Decrypt, kms:GenerateDataKey, kms:DescribeKey, kms:ReEncryptFrom, kms:ReEncryptTo"
    ),
    f"logs.{REGION}.amazonaws.com (for the log": (
        "kms:Decrypt, kms:GenerateDataKey, kms:DescribeKey, kms:ReEncryptFrom, kms:ReEncryptTo, kms:Encrypt"
    ),
    f"the account {ACCOUNT} (for the functions' roles, by their IAM policies": (
        "kms:Decrypt, kms:GenerateDataKey, kms:DescribeKey, kms:ReEncryptFrom, kms:ReEncryptTo, kms:Encrypt"
    ),
}


def statements():
    """The statements in docs/deploy.md, by Sid."""
    text = (PROJECT / "docs/deploy.md").read_text().split("### Encrypt with your own key\n")[1]
    policy = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])
    return {statement["Sid"]: statement for statement in policy}


@pytest.fixture
def check(aws):
    """Runs the check, as `make deploy` does, on a new key with these statements: exit code, output, errors, ARN."""

    def check(*statements, region=REGION, arn=None, **environment):
        policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        arn = arn or boto3.client("kms", region_name=region).create_key(Policy=policy)["KeyMetadata"]["Arn"]
        return *ops("key_policy.py", arn, **aws.environment(**environment)), arn

    return check


def must_also_allow(arn, *who):
    found = "; ".join(f"{name}: {EVERYBODY[name]})" for name in EVERYBODY if name.startswith(who))
    return [f"error: the policy of the key {arn} must also allow {found}. "
            "Add the statements of docs/deploy.md, Encrypt with your own key"]


def test_the_documented_policy_allows_every_principal(check):
    assert check(*statements().values())[:3] == (0, [], [])


@pytest.mark.parametrize("sid, who", [
    ("TheAccountsIamPolicies", "the account"),
    ("DeadLetterQueueAndArchive", "events"),
    ("Log", "logs"),
])
def test_without_one_of_its_statements_the_check_names_the_missing_principal(check, sid, who):
    code, output, errors, arn = check(*(statement for name, statement in statements().items() if name != sid))
    assert (code, output, errors) == (1, [], must_also_allow(arn, who))


def test_a_key_that_nobody_may_use_is_reported_in_one_line(check):
    denied = {"Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*"}
    code, output, errors, arn = check(denied)
    assert (code, output, errors) == (1, [], must_also_allow(arn, *EVERYBODY))


def test_a_condition_that_eventbridge_cannot_meet_does_not_count_for_the_dead_letter_queue(check):
    policy = statements()
    policy["DeadLetterQueueAndArchive"]["Condition"] = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    code, output, errors, arn = check(*policy.values())
    assert (code, output, errors) == (1, [], must_also_allow(arn, "events.amazonaws.com (without a condition"))


def test_lists_wildcards_and_account_numbers_are_understood(check):
    assert check(
        {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": ["kms:*"], "Resource": "*"},
        {
            "Effect": "Allow",
            "Principal": {"Service": ["events.amazonaws.com", f"logs.{REGION}.amazonaws.com"]},
            "Action": ["kms:Describe*", "KMS:Decrypt", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
            "Resource": "*",
        },
    )[:3] == (0, [], [])
    assert check({"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"})[0] == 1


def test_a_key_that_the_stack_cannot_use_is_reported_in_one_line(check):
    code, output, errors, arn = check(region="eu-central-1")
    wrong = f"KmsKeyArn must be a key in the stack's region, {REGION}, found {arn}"
    assert (code, output, errors) == (1, [], [f"error: {wrong}"])
    alias = f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/mine"
    assert check(arn=alias)[:3] == (
        1, [], [f"error: KmsKeyArn must be the ARN of a KMS key (not of an alias), found {alias}"])
    code, output, [error], _ = check(arn=f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0b5e4a3c-1111-2222-3333-444455556666")
    assert (code, output) == (1, []) and re.fullmatch(r"error: AWS: .*NotFoundException.*", error)


def test_without_permission_to_read_the_policy_there_is_only_a_warning(aws, check):
    denied = 400, {"__type": "AccessDeniedException", "message": "not authorized to perform kms:GetKeyPolicy"}
    with Proxy(aws.url, lambda call: denied) as kms:
        code, output, [error], arn = check(*statements().values(), AWS_ENDPOINT_URL_KMS=kms.url)
    assert (code, output) == (0, [])
    assert re.fullmatch(f"warning: the policy of the key {arn} was not checked: .*AccessDeniedException.*", error)
