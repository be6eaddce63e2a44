"""The rules of tests/recorder.rs with MiniStack's DynamoDB instead of the embedded one."""

import os
import subprocess

from .conftest import PROJECT, MiniStack

# The rules that do not hold there, and why.
LACKING = {
    "an_item_that_dynamodb_refuses_is_store_rejected_and_nothing_is_stored":
    "MiniStack refuses what is too large, too deep or too precise, but accepts a nested attribute with an empty name",
}


def test_the_recorders_rules_hold_on_the_emulators_dynamodb_except_for_those_that_are_listed():
    # An AWS of its own, where each rule replaces the tables, and where calls need no signature.
    ministack = MiniStack(AUTH="false")
    try:
        tests = " ".join(["recorder::", "--test-threads=1", *(f"--skip recorder::{name}" for name in LACKING)])
        ended = subprocess.run(
            ["make", "--no-print-directory", "test-functions", f"TESTS={tests}"], cwd=PROJECT, capture_output=True,
            env=os.environ | {"DYNAMODB_ENDPOINT": ministack.url}, text=True, timeout=500)
    finally:
        ministack.stop()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "test recorder::a_row_with_a_lower_version_is_overwritten ... ok" in ended.stdout
