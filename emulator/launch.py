"""MiniStack's process. It ends, with the functions that it runs, when the program that started it ends in any way.

One of its faults is corrected: a stack that a change set creates, as `sam deploy` does it, has no description, by which
this project's commands know their stack."""

import os
import signal
import sys
import threading

from ministack.app import main
from ministack.services.cloudformation import changesets

execute = changesets._track_change_set_execution


def execute_with_description(change_set, stack, deploy):
    stack["Description"] = change_set["_template"].get("Description", "")
    return execute(change_set, stack, deploy)


def end_with_the_starter():
    # Nothing is ever written to it.
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)


changesets._track_change_set_execution = execute_with_description
threading.Thread(target=end_with_the_starter, daemon=True).start()
main()
