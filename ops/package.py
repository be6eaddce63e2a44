"""Builds what can be deployed and operated without Rust: for each architecture, a folder with the functions, the
template that points at them, the command line, the programs of `make`, the pages, what is in the binaries, and
checksums."""

import argparse
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

PROJECT = Path(__file__).parents[1]
FUNCTIONS = ("recorder", "reconciler", "notifier")
COMMAND = "ecs-state"
# The binaries of each package.
BINARIES = {"ecs-state-recorder": [f"ecs-state-{name}" for name in FUNCTIONS], "ecs-state": [COMMAND]}
TARGETS = {"arm64": "aarch64-unknown-linux-gnu", "x86_64": "x86_64-unknown-linux-gnu"}
# What operating the stack needs: the package is a copy of the project without its sources.
OPERATION = ["CHANGELOG.md", "LICENSE", "Makefile", "README.md", "SECURITY.md", "docs", "events", "ops", "organization"]


def output(*command):
    return subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True).stdout


def can_build(architecture):
    """Whether Rust's standard library for it is installed."""
    return Path(output("rustc", "--print", "target-libdir", "--target", TARGETS[architecture]).strip()).is_dir()


def build(architecture):
    """Returns the binaries."""
    # Linked by zig, as SAM does it: they run with the old C library of Amazon Linux, and with any later one.
    command = ["cargo", "lambda", "build", "--locked", "--release", "--target", TARGETS[architecture]]
    binaries = {}
    # One by one, so that the functions have no features that the command line enables in shared dependencies.
    for package, names in BINARIES.items():
        options = [f"--package={package}", *(f"--bin={name}" for name in names)]
        subprocess.run([*command, *options], cwd=PROJECT, check=True)
        target = json.loads(output("cargo", "metadata", "--no-deps", "--format-version=1"))["target_directory"]
        # The next architecture's build overwrites them.
        binaries |= {name: (Path(target) / "lambda" / name / "bootstrap").read_bytes() for name in names}
    return binaries


def zipped(binary):
    """The code of a function, the same for the same binary."""
    bootstrap, written = zipfile.ZipInfo("bootstrap"), io.BytesIO()
    bootstrap.external_attr = 0o100755 << 16
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr(bootstrap, binary, zipfile.ZIP_DEFLATED, compresslevel=9)
    return written.getvalue()


def assemble(folder, architecture, binaries):
    """Writes a folder from the binaries, the same for the same binaries."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FUNCTIONS:
        (folder / f"{name}.zip").write_bytes(zipped(binaries[f"ecs-state-{name}"]))
    (folder / COMMAND).write_bytes(binaries[COMMAND])
    (folder / COMMAND).chmod(0o755)
    (folder / "template.yaml").write_text(template((PROJECT / "template.yaml").read_text(), architecture))
    packages = linked(architecture)
    (folder / "LICENSES.txt").write_text(licenses(packages))
    (folder / "sbom.cdx.json").write_text(json.dumps(bill_of_materials(packages), indent=1) + "\n")
    for name in OPERATION:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copy(PROJECT / name, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(sums))


def template(text, architecture):
    """The template with the built functions in place of their sources, for this architecture only."""
    function = r"""    Metadata:
      BuildMethod: rust-cargolambda
      BuildProperties:
        Binary: ecs-state-(\w+)
(    Properties:
(?:      .*\n)*?      CodeUri: )\.\n"""
    text, functions = re.subn(function, r"\2\1.zip\n", text)
    parameter = r"(?<=\n    Default: )arm64\n    AllowedValues: \[arm64, x86_64\]\n"
    text, parameters = re.subn(parameter, f"{architecture}\n    AllowedValues: [{architecture}]\n", text)
    assert (functions, parameters) == (len(FUNCTIONS), 1), "template.yaml is not as package.py expects it"
    return text


def linked(architecture):
    """The packages that are linked into the binaries, except for this project's own."""
    # Of these binaries alone: in `cargo metadata`, a dependency has the features of the whole workspace.
    tree = output("cargo", "tree", "--locked", *(f"--package={package}" for package in BINARIES), "--prefix=none",
                  f"--target={TARGETS[architecture]}", "--edges=normal,no-proc-macro", "--format={p}")
    # Such as "ring v0.17.14".
    found = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    metadata = json.loads(output("cargo", "metadata", "--locked", "--format-version=1",
                                 f"--filter-platform={TARGETS[architecture]}"))
    packages = {(package["name"], f"v{package['version']}"): package for package in metadata["packages"]}
    # The project's own come from no registry.
    return [packages[key] for key in sorted(found) if packages[key]["source"]]


def bill_of_materials(packages):
    """What is linked into the binaries, as CycloneDX has it. Without a time or a serial number: the same for the same."""
    project = json.loads(output("cargo", "metadata", "--locked", "--no-deps", "--format-version=1"))["packages"]
    [version] = [each["version"] for each in project if each["name"] == "ecs-state-recorder"]
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": {"type": "application", "name": "ecs-state-recorder", "version": version}},
        "components": [
            {
                "type": "library", "name": package["name"], "version": package["version"],
                "purl": f"pkg:cargo/{package['name']}@{package['version']}",
                # Cargo's old form of OR is a slash.
                "licenses": [{"expression": package["license"].replace("/", " OR ")}],
            }
            for package in packages
        ],
    }


def licenses(packages):
    texts = {}
    for package in packages:
        title = f"{package['name']} {package['version']}: {package['license']}"
        folder = Path(package["manifest_path"]).parent
        names = re.compile(r"(?i)(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)")
        files = sorted(path for path in folder.rglob("*") if path.is_file() and names.match(path.name))
        for file in files:
            texts.setdefault(file.read_text(errors="replace").strip(), []).append(title)
        if not files:
            missing = f"The package contains no text of its license. Its source: {package['repository']}"
            texts.setdefault(missing, []).append(title)
    parts = [
        f"ecs-state-recorder\n\n{(PROJECT / 'LICENSE').read_text().strip()}",
        "It contains the Rust standard library (MIT OR Apache-2.0, https://github.com/rust-lang/rust/blob/main/COPYRIGHT),\n"
        "and the following packages.",
        *("\n".join(titles) + f"\n\n{text}" for text, titles in texts.items()),
    ]
    return f"\n\n{'-' * 80}\n\n".join(parts) + "\n"


def main(folder, architectures):
    built = [architecture for architecture in architectures if can_build(architecture)]
    for architecture in built:
        assemble(folder / architecture, architecture, build(architecture))
        print(f"\n{folder / architecture}")
        for path in sorted((folder / architecture).iterdir()):
            print(f"{path.stat().st_size:>12,} bytes  {path.name}")
    for architecture in [architecture for architecture in architectures if architecture not in built]:
        print(f"\n{architecture}: not built. Add its standard library: rustup target add {TARGETS[architecture]}")
    if not built:
        sys.exit(1)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("architectures", nargs="+", choices=TARGETS)
    arguments = arguments.parse_args()
    main(arguments.folder, arguments.architectures)
