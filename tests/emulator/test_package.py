"""What `make package` writes, and a deployment from it without Rust."""

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import boto3
import pytest
from samcli.yamlhelper import yaml_dump, yaml_parse

import deployment
from deploy.ops import start

from .conftest import PROJECT, used
from .proxy import Proxy

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
def run(account, tmp_path):
    """Runs a program on a machine with neither Rust nor a compiler."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "cat", "env", "git", "head", "make", "python3", "sed", "test", "touch", "uname"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    environment = account | {"PATH": str(tools)}
    assert not any(shutil.which(name, path=str(tools)) for name in ("cargo", "rustc", "cc", "zig"))

    def run(program, *words, folder=PROJECT):
        # What make finds is only what is in this PATH.
        command = [shutil.which(program) or f"{Path(sys.executable).parent}/{program}", *words]
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
        return ended.returncode, ended.stdout, ended.stderr

    return run


def change_template(package, change):
    """Replaces the package's template, and its checksum."""
    template, sums = package / "template.yaml", package / "SHA256SUMS"
    before = hashlib.sha256(template.read_bytes()).hexdigest()
    template.write_text(change(template.read_text()))
    sums.write_text(sums.read_text().replace(before, hashlib.sha256(template.read_bytes()).hexdigest()))


def for_the_emulator(text, lacks=deployment.LACKS):
    adapted = yaml_dump(deployment.template(text, lacks, code=None))
    # The Makefile reads the package's only architecture.
    return re.sub(r"AllowedValues:\n +- (\w+)\n(?! +-)", r"AllowedValues: [\1]\n", adapted)


@pytest.fixture
def deployable(package):
    """A package that the emulator can deploy."""
    change_template(package, for_the_emulator)
    return package


def stacks():
    return [stack["StackName"] for stack in boto3.client("cloudformation").describe_stacks()["Stacks"]]


def expect_deployed(name, package):
    [stack] = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    for name, zipped in (("RecorderName", "recorder.zip"), ("ReconcilerName", "reconciler.zip")):
        function = boto3.client("lambda").get_function(FunctionName=outputs[name])
        assert function["Configuration"]["Architectures"] == [package.name]
        digest = base64.b64encode(hashlib.sha256((package / zipped).read_bytes()).digest()).decode()
        assert function["Configuration"]["CodeSha256"] == digest


def test_one_command_deploys_a_package_without_rust_and_again_changes_nothing(run, deployable):
    deploy = ["make", "deploy", f"PACKAGE={deployable}", "STACK=packaged"]
    code, output, errors = run(*deploy)
    assert code == 0, output + errors
    assert "Successfully created/updated stack - packaged in eu-west-1" in output
    expect_deployed("packaged", deployable)
    code, output, errors = run(*deploy)
    assert code == 0 and f"stack packaged: already as in {deployable}\n" in output, output + errors


def test_a_package_deploys_and_operates_itself_where_nothing_else_is(run, deployable):
    # The tools that the first use would install.
    (deployable / ".tools").symlink_to(PROJECT / ".tools")
    code, output, errors = run("make", "deploy", "STACK=packaged", folder=deployable)
    assert code == 0, output + errors
    expect_deployed("packaged", deployable)
    code, output, errors = run("make", "redrive", "STACK=packaged", "DRY_RUN=1", folder=deployable)
    assert code == 0, output + errors


def test_a_failed_creation_says_what_failed(run, package):
    change_template(package, lambda text: for_the_emulator(text, deployment.LACKS | deployment.BROKEN))
    code, output, errors = run("make", "deploy", f"PACKAGE={package}", "STACK=packaged")
    assert code == 2 and (
        "error: the stack packaged could not be created (ROLLBACK_COMPLETE):\n  ThrottlesAlarm is CREATE_FAILED: "
    ) in errors, output + errors


@pytest.fixture
def interrupted(ministack, account, deployable):
    """Interrupts a deployment whose change set is being created. Returns how it ends, and the change sets left."""

    def interrupted(name, answer=lambda call: None):
        created, released = threading.Event(), threading.Event()

        def hold(call):
            if call.operation == "DescribeChangeSet":
                created.set()
                released.wait(60)
            return answer(call)

        with Proxy(ministack.url, hold) as proxy:
            program = start("deploy.py", name, "Architecture=arm64", deployable,
                            **account | {"AWS_ENDPOINT_URL_CLOUDFORMATION": proxy.url})
            assert created.wait(60)
            program.send_signal(signal.SIGINT)
            released.set()
            _, errors = program.communicate(timeout=60)
        left = boto3.client("cloudformation").list_change_sets(StackName=name)["Summaries"] if name in stacks() else []
        return program.returncode, errors, [each["ChangeSetName"] for each in left]

    return interrupted


def test_ctrl_c_leaves_neither_a_change_set_nor_an_empty_stack(run, deployable, interrupted):
    assert interrupted("packaged") == (130, "interrupted: nothing was deployed\n", [])
    assert stacks() == []
    assert run("make", "deploy", f"PACKAGE={deployable}", "STACK=packaged")[0] == 0
    [executed] = boto3.client("cloudformation").list_change_sets(StackName="packaged")["Summaries"]
    assert interrupted("packaged") == (130, "interrupted: nothing was deployed\n", [executed["ChangeSetName"]])
    expect_deployed("packaged", deployable)


def test_after_ctrl_c_a_change_set_that_cannot_be_deleted_is_named(run, deployable, interrupted):
    refused = 400, {"__type": "InvalidChangeSetStatus", "message": "cannot be deleted in status CREATE_IN_PROGRESS"}
    refuse = lambda call: refused if call.operation == "DeleteChangeSet" else None
    left = "interrupted: nothing was deployed, but a change set of the stack {} may be left: run `{}`\n"
    code, errors, [_] = interrupted("first", refuse)
    assert (code, errors) == (130, left.format("first", "make delete STACK=first"))
    assert run("make", "delete", "STACK=first")[0] == 0 and stacks() == []
    assert run("make", "deploy", f"PACKAGE={deployable}", "STACK=second")[0] == 0
    code, errors, names = interrupted("second", refuse)
    delete = "aws cloudformation delete-change-set --stack-name second --change-set-name "
    assert code == 130 and errors in [left.format("second", delete + name) for name in names]


def test_a_bucket_that_another_account_has_is_reported(run, account, deployable):
    number = account["AWS_ACCESS_KEY_ID"]
    with used(account | {"AWS_ACCESS_KEY_ID": "111122223333"}):
        boto3.client("s3").create_bucket(
            Bucket=f"ecs-state-recorder-{number}-eu-west-1", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    code, _, errors = run("make", "deploy", f"PACKAGE={deployable}", "STACK=packaged")
    assert (code, errors.splitlines()[0], stacks()) == (
        2, f"error: the bucket ecs-state-recorder-{number}-eu-west-1 belongs to another account, or you may not use it: get "
        "the permissions of ops/policies/deploy.json, or name another bucket: SAM_OPTIONS='--s3-bucket …'", [])


def test_options_name_the_bucket_the_tags_and_the_role(run, deployable):
    boto3.client("s3").create_bucket(Bucket="packages", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    options = "--s3-bucket packages --s3-prefix recorder --tags team=platform 'cost center=4 2'"
    code, output, errors = run("make", "deploy", f"PACKAGE={deployable}", "STACK=packaged", f"SAM_OPTIONS={options}")
    assert code == 0, output + errors
    [stack] = boto3.client("cloudformation").describe_stacks(StackName="packaged")["Stacks"]
    assert {tag["Key"]: tag["Value"] for tag in stack["Tags"]} == {"team": "platform", "cost center": "4 2"}
    assert [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]] == ["packages"]
    objects = boto3.client("s3").list_objects_v2(Bucket="packages")["Contents"]
    # Three functions and the template.
    assert len(objects) == 4 and all(each["Key"].startswith("recorder/") for each in objects)


def test_the_sam_cli_alone_deploys_a_package_from_its_folder(run, deployable):
    # The folder is outside the repository, and nothing in it is.
    assert not deployable.is_relative_to(PROJECT)
    code, output, errors = run("sam", *documented("sam deploy"), folder=deployable)
    assert code == 0, output + errors
    expect_deployed("ecs-state-recorder", deployable)


def test_a_changed_package_or_another_folder_is_not_deployed(run, package, tmp_path):
    (package / "recorder.zip").write_bytes(b"something else")
    code, _, errors = run("make", "deploy", f"PACKAGE={package}", "STACK=packaged")
    assert code == 2 and (
        f"error: {package}/recorder.zip is not as `make package` wrote it: fetch the package again\n" in errors
    )
    code, _, errors = run("make", "deploy", f"PACKAGE={tmp_path}", "STACK=packaged")
    assert code == 2 and f"error: there is no file {tmp_path}/SHA256SUMS: PACKAGE must be a folder of" in errors
    assert stacks() == []


def test_a_package_for_another_architecture_is_tested_with_an_emulator(tmp_path):
    packages.assemble(tmp_path / "arm64", "arm64", STAND_INS | {"ecs-state-recorder": b"echo recorded $1"})
    # For a script, a shell is what qemu is for a binary.
    program = check_package.unpack(tmp_path / "arm64/recorder.zip", tmp_path / "recorder", "/bin/sh")
    assert subprocess.run([program, "an event"], capture_output=True, text=True).stdout == "recorded an event\n"


def test_parameters_are_those_of_the_packages_own_template(run, package):
    change_template(package, lambda text: text.replace("SilenceAlarmHours", "QuietHours"))
    code, _, errors = run("make", "deploy", f"PACKAGE={package}", "STACK=packaged", "PARAMETERS=SilenceAlarmHours=1")
    assert code == 2 and "error: template.yaml has no parameter SilenceAlarmHours" in errors
    assert stacks() == []
