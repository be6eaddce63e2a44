"""Runs the programs in ops/ as make does, and reads the resulting rows."""

import subprocess
import sys

import boto3

from .aws import PROJECT

TASKS = "ECSTaskState"


def command(program, *arguments):
    return [sys.executable, "-B", PROJECT / "ops" / program, *arguments]


def ops(program, *arguments, seconds=60, **environment):
    """Runs a program. Returns its exit code, and the lines of its output and of its errors."""
    ended = subprocess.run(
        command(program, *arguments), env=environment, capture_output=True, text=True, timeout=seconds, cwd=PROJECT
    )
    return ended.returncode, ended.stdout.splitlines(), ended.stderr.splitlines()


def rows():
    return {row["taskArn"]["S"]: row for row in boto3.client("dynamodb").scan(TableName=TASKS)["Items"]}
