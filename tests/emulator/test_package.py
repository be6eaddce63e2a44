"""What `make package` writes, and a deployment from it without Rust."""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import boto3
import pytest
from samcli.yamlhelper import yaml_dump, yaml_parse

import deployment

from .conftest import PROJECT, started, used

sys.path.insert(0, str(PROJECT / "ops"))
import check_package  # noqa: E402
import package as packages  # noqa: E402

FILES = ["LICENSES.txt", "SHA256SUMS", "ecs-state", "reconciler.zip", "recorder.zip", "template.yaml"]
STAND_INS = {name: f"the built {name}".encode() for name in ("ecs-state-recorder", "ecs-state-reconciler", "ecs-state")}


@pytest.fixture
def package(tmp_path):
    """A package: what `make package` built, in CI, or one around files that stand in for the binaries."""
    if built := os.environ.get("PACKAGE"):
        return Path(shutil.copytree(built, tmp_path / Path(built).name))
    packages.assemble(tmp_path / "arm64", "arm64", STAND_INS)
    return tmp_path / "arm64"


def documented(command):
    """The words that follow a command in docs/deploy.md."""
    page = (PROJECT / "docs/deploy.md").read_text().replace("\\\n", " ")
    [found] = re.findall(rf"(?m)^\$ {command} (.*)$", page)
    return [*command.split()[1:], *found.split()]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_package_has_both_functions_the_command_line_the_template_the_licenses_and_their_checksums(package):
    files = contents(package)
    assert sorted(files) == FILES
    sums = [line.split() for line in files.pop("SHA256SUMS").decode().splitlines()]
    assert sums == [[hashlib.sha256(files[name]).hexdigest(), name] for name in sorted(files)]
    for name in ("recorder", "reconciler"):
        with zipfile.ZipFile(package / f"{name}.zip") as archive:
            [bootstrap] = archive.infolist()
            found = (bootstrap.filename, bootstrap.external_attr >> 16, bootstrap.compress_type)
            assert found == ("bootstrap", 0o100755, zipfile.ZIP_DEFLATED)
    assert os.access(package / "ecs-state", os.X_OK)


def test_the_same_binaries_give_the_same_bytes(tmp_path):
    for folder in ("one", "two"):
        packages.assemble(tmp_path / folder, "arm64", STAND_INS)
        # A zip has times of two seconds' precision.
        os.utime(tmp_path / folder, (0, 0))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    with zipfile.ZipFile(tmp_path / "one/recorder.zip") as archive:
        assert archive.read("bootstrap") == STAND_INS["ecs-state-recorder"]
        assert archive.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_its_template_is_the_projects_with_the_built_functions_for_one_architecture(architecture):
    text = (PROJECT / "template.yaml").read_text()
    packaged, expected = yaml_parse(packages.template(text, architecture)), yaml_parse(text)
    for function in ("Recorder", "Reconciler"):
        del expected["Resources"][function]["Metadata"]
        expected["Resources"][function]["Properties"]["CodeUri"] = f"{function.lower()}.zip"
    expected["Parameters"]["Architecture"] |= {"Default": architecture, "AllowedValues": [architecture]}
    assert packaged == expected


def test_exactly_what_is_linked_is_listed_with_its_license_and_a_license_that_is_not_allowed_is_refused(monkeypatch):
    text = packages.licenses("x86_64")
    listed = set(re.findall(r"(?m)^([\w-]+) [\w.+-]+: ", text))
    assert {"aws-sdk-dynamodb", "clap", "lambda_runtime", "ring", "tokio"} <= listed and len(listed) > 100
    # Of the tests and the benchmark; of build scripts and procedural macros.
    assert not listed & {"aws-lc-sys", "axum", "dynoxide-rs", "ecs-state-recorder", "cc", "serde_derive"}
    assert "Permission to use, copy, modify, and/or distribute this software" in text

    monkeypatch.setattr(packages, "ALLOWED", packages.ALLOWED - {"ISC"})
    with pytest.raises(SystemExit, match=r"error: the license of .*ring \(Apache-2.0 AND ISC\).* is not in the list"):
        packages.licenses("x86_64")


@pytest.mark.parametrize("expression, allowed", [
    ("MIT", True), ("MIT/Apache-2.0", True), ("GPL-3.0-only", False), ("GPL-3.0-only OR MIT", True),
    ("Apache-2.0 AND GPL-3.0-only", False), ("(MIT OR GPL-3.0-only) AND ISC", True), ("none", False),
    ("Apache-2.0 WITH LLVM-exception", False), ("Apache-2.0 WITH LLVM-exception OR MIT", True),
])
def test_a_license_is_allowed_if_one_alternative_is(expression, allowed):
    assert packages.is_allowed(expression) == allowed


@pytest.fixture(scope="module")
def own():
    """An AWS of the tests' own: one of them uses the default name of a stack."""
    with started() as own:
        yield own


@pytest.fixture
def run(own, tmp_path):
    """Runs a program on a machine with neither Rust nor a compiler."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "cat", "env", "git", "head", "make", "python3", "sed", "test", "touch", "uname"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    environment = {"HOME": os.environ["HOME"], **own.environment, "PATH": str(tools)}
    assert not any(shutil.which(name, path=str(tools)) for name in ("cargo", "rustc", "cc", "zig"))

    def run(program, *words, folder=PROJECT):
        # What make finds is only what is in this PATH.
        command = [shutil.which(program) or f"{Path(sys.executable).parent}/{program}", *words]
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
        return ended.returncode, ended.stdout, ended.stderr

    with used(own):
        yield run


def stacks():
    return [stack["StackName"] for stack in boto3.client("cloudformation").describe_stacks()["Stacks"]]


def change_template(package, change):
    """Replaces the package's template, and its checksum."""
    template, sums = package / "template.yaml", package / "SHA256SUMS"
    before = hashlib.sha256(template.read_bytes()).hexdigest()
    template.write_text(change(template.read_text()))
    sums.write_text(sums.read_text().replace(before, hashlib.sha256(template.read_bytes()).hexdigest()))


def without_what_the_emulator_lacks(text):
    return yaml_dump(deployment.template(text, code=None))


def expect_deployed(name, package):
    [stack] = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    for name, zipped in (("RecorderName", "recorder.zip"), ("ReconcilerName", "reconciler.zip")):
        function = boto3.client("lambda").get_function(FunctionName=outputs[name])
        assert function["Configuration"]["Architectures"] == [package.name]
        digest = base64.b64encode(hashlib.sha256((package / zipped).read_bytes()).digest()).decode()
        assert function["Configuration"]["CodeSha256"] == digest


def test_one_command_deploys_a_package_without_rust(run, package):
    change_template(package, without_what_the_emulator_lacks)
    names = 'PARAMETERS=TaskTableName="" ContainerInstanceTableName=""'
    code, output, errors = run("make", "deploy", f"PACKAGE={package}", "STACK=packaged", names)
    assert code == 0, output + errors
    assert "Successfully created/updated stack - packaged in eu-west-1" in output
    expect_deployed("packaged", package)


def test_the_sam_cli_alone_deploys_a_package_from_its_folder(run, package):
    # The folder is outside the repository, and nothing in it is.
    assert not package.is_relative_to(PROJECT)
    change_template(package, without_what_the_emulator_lacks)
    code, output, errors = run("sam", *documented("sam deploy"), folder=package)
    assert code == 0, output + errors
    expect_deployed("ecs-state-recorder", package)


def test_a_changed_package_or_another_folder_is_not_deployed(run, package, tmp_path):
    (package / "recorder.zip").write_bytes(b"something else")
    code, _, errors = run("make", "deploy", f"PACKAGE={package}", "STACK=changed")
    assert code == 2 and (
        f"error: {package}/recorder.zip is not as `make package` wrote it: fetch the package again\n" in errors
    )
    code, _, errors = run("make", "deploy", f"PACKAGE={tmp_path}", "STACK=changed")
    assert code == 2 and f"error: there is no file {tmp_path}/SHA256SUMS: PACKAGE must be a folder of" in errors
    assert "changed" not in stacks()


def test_a_package_for_another_architecture_is_tested_with_an_emulator(tmp_path):
    packages.assemble(tmp_path / "arm64", "arm64", STAND_INS | {"ecs-state-recorder": b"echo recorded $1"})
    # For a script, a shell is what qemu is for a binary.
    program = check_package.unpack(tmp_path / "arm64/recorder.zip", tmp_path / "recorder", "/bin/sh")
    assert subprocess.run([program, "an event"], capture_output=True, text=True).stdout == "recorded an event\n"


def test_parameters_are_those_of_the_packages_own_template(run, package):
    change_template(package, lambda text: text.replace("SilenceAlarmHours", "QuietHours"))
    code, _, errors = run("make", "deploy", f"PACKAGE={package}", "STACK=changed", "PARAMETERS=SilenceAlarmHours=1")
    assert code == 2 and "error: template.yaml has no parameter SilenceAlarmHours" in errors
    assert "changed" not in stacks()
