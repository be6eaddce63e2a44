"""Tests a package that `make package` wrote: its files, and the functions.

On x86_64, the functions of an arm64 package run under qemu-user (Debian: apt install qemu-user libc6-arm64-cross)."""

import argparse
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

from samcli.yamlhelper import yaml_parse

from preflight import expect_no, package

LIBRARIES = Path("/usr/aarch64-linux-gnu")
TESTS = "recorder:: bad_input:: process:: notifier:: storms::recorders storms::reconcilers storms::notifiers"


def emulator(architecture):
    """The command in front of a function of another architecture: empty if none is needed, None if there is none."""
    if (architecture, platform.machine()) != ("arm64", "x86_64"):
        return ""
    qemu = shutil.which("qemu-aarch64")
    return f"{qemu} -L {LIBRARIES}" if qemu and LIBRARIES.is_dir() else None


def unpack(zipped, folder, emulator):
    """Returns the path of a program that runs the function."""
    with ZipFile(zipped) as archive:
        bootstrap = Path(archive.extract("bootstrap", folder))
    bootstrap.chmod(0o755)
    if not emulator:
        return bootstrap
    wrapper = folder / "emulated"
    wrapper.write_text(f'#!/bin/sh\nexec {emulator} {bootstrap} "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def run(*command, **environment):
    if code := subprocess.run(command, env=os.environ | environment).returncode:
        sys.exit(code)


def main(folder):
    expect_no(package(folder))
    pytest = [sys.executable, "-B", "-m", "pytest", "--quiet", "-p", "no:cacheprovider", "--numprocesses", "4"]
    run(*pytest, "tests/emulator/test_package.py", PACKAGE=str(folder.resolve()))
    template = yaml_parse((folder / "template.yaml").read_text())
    emulated = emulator(template["Parameters"]["Architecture"]["Default"])
    if emulated is None:
        print("SKIPPED: the functions were not run, since there is no emulator for arm64 (Debian: apt install "
              "qemu-user libc6-arm64-cross)", file=sys.stderr)
        return
    with TemporaryDirectory() as unpacked:
        functions = {
            variable: str(unpack(folder / f"{name}.zip", Path(unpacked) / name, emulated))
            for variable, name in (
                ("RECORDER_BINARY", "recorder"), ("RECONCILER_BINARY", "reconciler"), ("NOTIFIER_BINARY", "notifier"))
        }
        run("make", "--no-print-directory", "test-functions", f"TESTS={TESTS}", **functions)
        # Of the tests in the emulator, those of a function's build.
        run(*pytest, "tests/emulator/test_chain.py", "tests/emulator/test_commands.py", **functions)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path, help="such as target/package/arm64")
    main(arguments.parse_args().folder)
