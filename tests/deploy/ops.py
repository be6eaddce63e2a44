"""Runs the programs in ops/ as make does."""

import subprocess
import sys

from .cloudformation import PROJECT

TASKS = "ECSTaskState"


def command(program, *arguments):
    return [sys.executable, "-B", PROJECT / "ops" / program, *arguments]


def start(program, *arguments, **environment):
    """Starts a program whose output and errors the test reads."""
    return subprocess.Popen(command(program, *arguments), env=environment, cwd=PROJECT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ops(program, *arguments, seconds=60, **environment):
    """Runs a program. Returns its exit code, and the lines of its output and of its errors."""
    ended = subprocess.run(
        command(program, *arguments), env=environment, capture_output=True, text=True, timeout=seconds, cwd=PROJECT
    )
    return ended.returncode, ended.stdout.splitlines(), ended.stderr.splitlines()
