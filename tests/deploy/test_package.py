"""What `make package` writes, and a deployment from it without Rust."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import boto3
import pytest
from moto.cloudformation.models import CloudFormationBackend
from moto.cloudwatch.models import CloudWatchBackend
from samcli.yamlhelper import yaml_parse

from .aws import PROJECT

sys.path.insert(0, str(PROJECT / "ops"))
import check_package  # noqa: E402
import package as packages  # noqa: E402

BUILT = {
    "LICENSES.txt", "SHA256SUMS", "ecs-state", "notifier.zip", "reconciler.zip", "recorder.zip", "sbom.cdx.json",
    "template.yaml",
}
STAND_INS = {f"ecs-state-{name}": f"the built {name}".encode() for name in packages.FUNCTIONS} | {
    "ecs-state": b"the built command line"}


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
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_package_has_what_deploys_and_operates_the_stack_and_checksums_of_all_of_it(package):
    files = contents(package)
    tracked = ["git", "ls-files", "--", *packages.OPERATION]
    operation = subprocess.run(tracked, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {"Makefile", "docs/operations.md", "ops/redrive.py", "ops/policies/operate.json", "organization/hub.yaml"} <= {
        *operation}
    assert set(files) == BUILT | set(operation)
    sums = [line.split() for line in files.pop("SHA256SUMS").decode().splitlines()]
    assert sums == [[hashlib.sha256(files[name]).hexdigest(), name] for name in sorted(files)]
    for name in packages.FUNCTIONS:
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
    for function in ("Recorder", "Reconciler", "Notifier"):
        del expected["Resources"][function]["Metadata"]
        expected["Resources"][function]["Properties"]["CodeUri"] = f"{function.lower()}.zip"
    expected["Parameters"]["Architecture"] |= {"Default": architecture, "AllowedValues": [architecture]}
    assert packaged == expected


def test_exactly_what_is_linked_is_listed_with_its_license(package):
    text = (package / "LICENSES.txt").read_text()
    listed = set(re.findall(r"(?m)^([\w-]+) [\w.+-]+: ", text))
    assert {"aws-sdk-dynamodb", "clap", "lambda_runtime", "ring", "tokio"} <= listed and len(listed) > 100
    # Of the tests and the benchmark; of build scripts and procedural macros.
    assert not listed & {"aws-lc-sys", "axum", "dynoxide-rs", "ecs-state-recorder", "cc", "serde_derive"}
    assert "Permission to use, copy, modify, and/or distribute this software" in text

    bill = json.loads((package / "sbom.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert {component["name"] for component in bill["components"]} <= listed and len(bill["components"]) > 100
    locked = (PROJECT / "Cargo.lock").read_text()
    for component in bill["components"]:
        assert component["purl"] == f"pkg:cargo/{component['name']}@{component['version']}"
        assert f'name = "{component["name"]}"\nversion = "{component["version"]}"\n' in locked
        assert re.fullmatch(r"[\w.() +-]+", component["licenses"][0]["expression"])


BUILDERS = {"cargo_lambda.py", "check_package.py"}


def test_what_deploys_and_operates_needs_only_what_a_deployment_installs():
    programs = [path for path in (PROJECT / "ops").glob("*.py") if path.name not in BUILDERS]
    known = sys.stdlib_module_names | {path.stem for path in programs} | {"boto3", "botocore", "yaml"}
    for path in programs:
        imports = re.findall(r"(?m)^\s*(?:import|from) (\w+)", path.read_text())
        assert set(imports) <= known, path


@pytest.fixture
def run(aws, tmp_path):
    """Runs a program on a machine with neither Rust nor a compiler."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "cat", "env", "git", "head", "make", "python3", "sed", "test", "touch", "uname"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    environment = aws.sams_environment(tmp_path, PATH=str(tools))
    assert not any(shutil.which(name, path=str(tools)) for name in ("cargo", "rustc", "cc", "zig"))

    def run(program, *words, folder=PROJECT):
        # What make finds is only what is in this PATH.
        command = [shutil.which(program) or f"{Path(sys.executable).parent}/{program}", *words]
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
        return ended.returncode, ended.stdout, ended.stderr

    return run


def expect_deployed(name, package):
    [stack] = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    for name, zipped in (("RecorderName", "recorder.zip"), ("ReconcilerName", "reconciler.zip")):
        function = boto3.client("lambda").get_function(FunctionName=outputs[name])
        assert function["Configuration"]["Architectures"] == [package.name]
        digest = base64.b64encode(hashlib.sha256((package / zipped).read_bytes()).digest()).decode()
        assert function["Configuration"]["CodeSha256"] == digest


def test_one_command_deploys_a_package_without_rust(run, package):
    code, output, errors = run("make", "deploy", f"PACKAGE={package}", "STACK=packaged")
    assert code == 0, output + errors
    assert "Successfully created/updated stack - packaged in eu-west-1" in output
    expect_deployed("packaged", package)


def test_a_package_deploys_and_operates_itself_where_nothing_else_is(run, package):
    # The tools that the first use would install.
    (package / ".tools").symlink_to(PROJECT / ".tools")
    code, output, errors = run("make", "deploy", "STACK=packaged", folder=package)
    assert code == 0, output + errors
    expect_deployed("packaged", package)
    code, output, errors = run("make", "redrive", "STACK=packaged", "DRY_RUN=1", folder=package)
    assert code == 0, output + errors


def test_a_package_that_is_deployed_already_changes_nothing(run, package, monkeypatch):
    assert run("make", "deploy", f"PACKAGE={package}", "STACK=packaged")[0] == 0
    create = CloudFormationBackend.create_change_set

    def without_changes(self, **given):
        arn, stack = create(self, **given)
        found = self.describe_change_set(arn)
        found.status, found.status_reason = "FAILED", "The submitted information didn't contain changes."
        return arn, stack

    monkeypatch.setattr(CloudFormationBackend, "create_change_set", without_changes)
    code, output, errors = run("make", "deploy", f"PACKAGE={package}", "STACK=packaged")
    assert code == 0 and f"stack packaged: already as in {package}\n" in output, output + errors


def test_a_failed_creation_says_what_failed(run, package, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no more dashboards in this account")

    monkeypatch.setattr(CloudWatchBackend, "put_dashboard", refuse)
    code, output, errors = run("make", "deploy", f"PACKAGE={package}", "STACK=packaged")
    assert code == 2 and (
        "error: the stack packaged could not be created (ROLLBACK_COMPLETE):\n"
        "  Dashboard is CREATE_FAILED: no more dashboards in this account\n"
    ) in errors, output + errors


def test_options_name_the_bucket_the_tags_and_the_role(run, package):
    boto3.client("s3").create_bucket(Bucket="mine", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    options = "--s3-bucket mine --s3-prefix recorder --tags team=platform 'cost center=4 2'"
    code, output, errors = run("make", "deploy", f"PACKAGE={package}", "STACK=packaged", f"SAM_OPTIONS={options}")
    assert code == 0, output + errors
    [stack] = boto3.client("cloudformation").describe_stacks(StackName="packaged")["Stacks"]
    assert {tag["Key"]: tag["Value"] for tag in stack["Tags"]} == {"team": "platform", "cost center": "4 2"}
    assert [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]] == ["mine"]
    objects = boto3.client("s3").list_objects_v2(Bucket="mine")["Contents"]
    # Three functions and the template.
    assert len(objects) == 4 and all(each["Key"].startswith("recorder/") for each in objects)


def test_the_sam_cli_alone_deploys_a_package_from_its_folder(run, package):
    # The folder is outside the repository, and nothing in it is.
    assert not package.is_relative_to(PROJECT)
    code, output, errors = run("sam", *documented("sam deploy"), folder=package)
    assert code == 0, output + errors
    expect_deployed("ecs-state-recorder", package)


def test_a_changed_package_or_another_folder_is_not_deployed(run, package, tmp_path):
    (package / "recorder.zip").write_bytes(b"something else")
    code, _, errors = run("make", "deploy", f"PACKAGE={package}", "STACK=packaged")
    assert code == 2 and (
        f"error: {package}/recorder.zip is not as `make package` wrote it: fetch the package again\n" in errors
    )
    code, _, errors = run("make", "deploy", f"PACKAGE={tmp_path}", "STACK=packaged")
    assert code == 2 and f"error: there is no file {tmp_path}/SHA256SUMS: PACKAGE must be a folder of" in errors
    assert boto3.client("cloudformation").describe_stacks()["Stacks"] == []


def test_a_package_for_another_architecture_is_tested_with_an_emulator(tmp_path):
    packages.assemble(tmp_path / "arm64", "arm64", STAND_INS | {"ecs-state-recorder": b"echo recorded $1"})
    # For a script, a shell is what qemu is for a binary.
    program = check_package.unpack(tmp_path / "arm64/recorder.zip", tmp_path / "recorder", "/bin/sh")
    assert subprocess.run([program, "an event"], capture_output=True, text=True).stdout == "recorded an event\n"


def test_parameters_are_those_of_the_packages_own_template(run, package):
    template, sums = package / "template.yaml", package / "SHA256SUMS"
    before = hashlib.sha256(template.read_bytes()).hexdigest()
    template.write_text(template.read_text().replace("SilenceAlarmHours", "QuietHours"))
    sums.write_text(sums.read_text().replace(before, hashlib.sha256(template.read_bytes()).hexdigest()))
    code, _, errors = run("make", "deploy", f"PACKAGE={package}", "STACK=packaged", "PARAMETERS=SilenceAlarmHours=1")
    assert code == 2 and "error: template.yaml has no parameter SilenceAlarmHours" in errors
    assert boto3.client("cloudformation").describe_stacks()["Stacks"] == []
