"""Whatever the documentation names exists, and every interface is documented."""

import re
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

import pytest
from samcli.yamlhelper import yaml_parse

from .markdown import PROJECT, Page, files_of

FILES = files_of(PROJECT)
PAGES = {path: Page((PROJECT / path).read_text()) for path in FILES if path.endswith(".md")}
MAKEFILE = (PROJECT / "Makefile").read_text()
TEMPLATE = yaml_parse((PROJECT / "template.yaml").read_text())
RECORDER, RECONCILER, ATTRIBUTES = "src/recorder.rs", "src/reconciler.rs", "src/attributes.rs"
NOTIFIER = "src/notifier.rs"

# Set by Lambda, for its own client.
LAMBDAS_VARIABLES = {"AWS_LAMBDA_RUNTIME_API"}
# ECS's own, and not added to the row.
DETAILS_ATTRIBUTES = {"version"}
# Of every line of the log, not only the invocation's.
EVERY_LINES_FIELDS = {"timestamp", "level", "message", "span.requestId"}

# Their names in the table of permissions.
ROLES = {
    "RecorderRole": "the recorder's role", "ReconcilerRole": "the reconciler's role",
    "ScheduleRole": "the schedules' role", "NotifierRole": "the notifier's role, only with Notify=true",
}


def expect_no(problems):
    assert not problems, "\n" + "\n".join(problems)


def code(path):
    """Rust, without its comments."""
    return re.sub(r"(?m)^\s*//.*", "", (PROJECT / path).read_text())


def found_in(path, pattern):
    found = re.search(pattern, code(path), re.DOTALL)
    assert found, f"{path} has nothing like {pattern}: this check must learn where it is now"
    return found[1]


def rows(first, *others):
    """The rows of all pages' tables that have these columns, the first one first."""
    found = []
    for page in PAGES.values():
        for header, *body in page.tables:
            columns = [cell.text.lower() for cell in header]
            if columns[0] == first and set(others) <= set(columns):
                found += [dict(zip(columns, row)) for row in body]
    assert found, f"no page has a table with the columns {', '.join((first, *others))}"
    return found


def names(first):
    """The code in the first column of these tables."""
    listed = [name for row in rows(first) for name in row[first].code]
    assert len(listed) == len(set(listed)), f"a {first} is listed twice: {listed}"
    return set(listed)


def differences(documented, where, there):
    return [f"no page lists `{name}`, which is in {where}" for name in sorted(there - documented)] + [
        f"a page lists `{name}`, which is not in {where}" for name in sorted(documented - there)
    ]


def test_every_parameter_is_listed_with_its_default():
    documented = {row["parameter"].text: row["default"].text for row in rows("parameter", "default")}
    defaults = {name: str(parameter["Default"]) for name, parameter in TEMPLATE["Parameters"].items()}
    expect_no(
        differences(set(documented), "template.yaml", set(defaults))
        + [f"the default of `{name}` is {documented[name]!r} in the docs, and {default!r} in template.yaml"
           for name, default in defaults.items() if documented.get(name, default) != default]
    )


def test_every_environment_variable_is_listed():
    files = [path for path in FILES if fnmatchcase(path, "src/*.rs")]
    read = {name for path in files for name in re.findall(r'(?<!env!\()"([A-Z]+(?:_[A-Z]+)+)"', code(path))}
    expect_no(differences(names("variable"), "src/", read - LAMBDAS_VARIABLES))


def test_every_error_is_listed():
    found = [found_in(path, r"fn error_type\((.*?)\n    }\n") for path in (RECORDER, RECONCILER)]
    types = {name for text in found for name in re.findall(r'=> "(\w+)"', text)}
    types |= {found_in(NOTIFIER, r'error_type: "(\w+)"')}
    expect_no(differences(names("errortype"), "src/", types))


@pytest.mark.parametrize(("source", "message", "header"), [
    (RECORDER, "invocation", "field"), (RECONCILER, "run", "field of a run"),
    (NOTIFIER, "stop", "field of a stop"),
])
def test_every_field_of_the_log_is_listed(source, message, header):
    fields = found_in(source, rf'\binfo!\((.*?),\s*"{message}"\s*\)')
    while (shorter := re.sub(r"\([^()]*\)|\{[^{}]*\}", "", fields)) != fields:
        fields = shorter
    fields = {field.split("=")[0].strip(" \n%?") for field in fields.split(",")}
    expect_no(differences(names(header) - EVERY_LINES_FIELDS, source, fields))


def test_every_alarm_is_listed():
    kind = "AWS::CloudWatch::Alarm"
    alarms = {name.removesuffix("Alarm") for name, it in TEMPLATE["Resources"].items() if it["Type"] == kind}
    expect_no(differences(names("alarm"), "template.yaml", alarms))


def test_every_field_of_a_run_is_listed_and_nothing_reads_another():
    documented, resources = names("field of a run"), TEMPLATE["Resources"]
    shown = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"][1]["LastRuns"]["Fn::Sub"]
    shown = {name.strip() for name in re.search(r"fields @timestamp, (.*?) \|", shown)[1].split(",")}
    filters = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::Logs::MetricFilter"]
    read = {name for each in filters if each["LogGroupName"] == {"Ref": "ReconcilerLogs"}
            for name in re.findall(r"\$\.(\w+)", str(each))} - EVERY_LINES_FIELDS
    assert read
    expect_no(differences(documented, "the dashboard", shown)
              + [f"no page lists `{name}`, which a metric filter reads" for name in sorted(read - documented)])


def granted(statements):
    """The actions that a role's statements allow under any condition of the template."""
    if isinstance(statements, list):
        return set().union(*map(granted, statements))
    if not isinstance(statements, dict):
        return set()
    actions = statements.get("Action", [])
    found = {actions} if isinstance(actions, str) else set(actions)
    return found.union(*(granted(inner) for key, inner in statements.items() if key != "Action"))


def test_every_action_that_a_role_may_call_is_listed():
    documented, who = {}, None
    for row in rows("who", "action", "resource"):
        who = row["who"].text or who
        documented.setdefault(who, set()).update(name for name in row["action"].code if ":" in name)
    roles = {name: each for name, each in TEMPLATE["Resources"].items() if each["Type"] == "AWS::IAM::Role"}
    assert set(roles) == set(ROLES)
    expect_no([problem for name, who in ROLES.items() for problem in differences(
        documented[who], f"template.yaml for {who}", granted(roles[name]["Properties"]["Policies"]))])


@pytest.mark.parametrize("fleets", [
    ["100 tasks", "1,000 tasks", "10,000 tasks"], ["1,000 stops a day", "100,000 stops a day"],
], ids=["reconciliation", "announcements"])
def test_the_costs_add_up(fleets):
    *items, total = rows("item", "price", *fleets)
    problems = []
    for fleet in fleets:
        whole = 0
        for row in items:
            price = re.match(r"\$([\d.]+) a (million|GB s|GB)$", row["price"].text)
            quantity, cost = re.fullmatch(r"(?:([\d.,]+)(?: GB s| GB)?: )?(\$[\d.]+)", row[fleet].text).groups()
            assert bool(price) == bool(quantity) and (price or row["price"].text == "free"), row
            exact = 0
            if price:
                exact = float(quantity.replace(",", "")) * float(price[1]) / (1e6 if price[2] == "million" else 1)
            whole += exact
            if cost != f"${exact:.2f}":
                problems.append(f"{fleet}: {row['item'].text} costs ${exact:.2f}, not {cost}")
        if total[fleet].text != f"${whole:.2f}":
            problems.append(f"{fleet}: the total is ${whole:.2f}, not {total[fleet].text}")
    expect_no(problems)


def test_every_attribute_of_a_row_is_listed():
    attributes = set(re.findall(r'pub const \w+: &str = "(\w+)"', code(ATTRIBUTES))) - DETAILS_ATTRIBUTES
    expect_no(differences(names("attribute"), ATTRIBUTES, attributes))


def calls_of_make(page):
    """Those in a page's code, each as its line, its target and its variables."""
    variable = r"([A-Z_]+)=('[^']*'|\"[^\"]*\"|\S*)"
    call = rf"\bmake ([a-z][\w-]*)((?:\s+{variable})*)"
    for line, text in page.inline_code + page.code_blocks:
        for target, variables, *_ in re.findall(call, text.replace("\\\n", " ")):
            yield line, target, dict(re.findall(variable, variables))


@pytest.mark.parametrize("path", PAGES)
def test_every_call_of_make_names_a_target_variables_and_parameters_that_are_there(path):
    targets = set(re.findall(r"(?m)^([a-z][a-z-]*):", MAKEFILE))
    problems = []
    for line, target, variables in calls_of_make(PAGES[path]):
        if target not in targets:
            problems.append(f"{path}:{line}: the Makefile has no target {target}")
        problems += [f"{path}:{line}: the Makefile reads no {name}"
                     for name in variables if not re.search(rf"\$\({name}\)|\$\${name}\b", MAKEFILE)]
        # "Name=value" explains the form.
        parameters = re.findall(r"(\w+)=", variables.get("PARAMETERS", "").replace("Name=value", ""))
        problems += [f"{path}:{line}: template.yaml has no parameter {name}"
                     for name in parameters if name not in TEMPLATE["Parameters"]]
    expect_no(problems)


@pytest.mark.parametrize("path", PAGES)
def test_every_file_that_is_named_is_there(path):
    """In code: whatever begins with a folder of the project, and a file's name by itself."""
    there = {*FILES, *(parent.as_posix() for file in FILES for parent in PurePosixPath(file).parents)}
    folders = "|".join(sorted(re.escape(name) for name in {file.split("/")[0] for file in FILES if "/" in file}))
    endings = {PurePosixPath(file).suffix for file in FILES} - {""}
    page = PAGES[path]
    named = [(line, name) for line, text in page.inline_code + page.code_blocks
             for name in re.findall(rf"(?<![\w./-])(?:{folders})/[\w./*-]*", text)]
    named += [(line, text) for line, text in page.inline_code
              if re.fullmatch(r"[\w./*-]*[\w*]\.\w+", text) and PurePosixPath(text).suffix in endings]
    expect_no([f"{path}:{line}: there is no {name}" for line, name in named
               if not any(fnmatchcase(f"/{file}", f"*/{name.rstrip('./')}") for file in there)])


def test_the_changelog_has_a_section_for_the_version_of_cargo_toml():
    version = re.search(r'(?m)^version = "(.*)"', (PROJECT / "Cargo.toml").read_text())[1]
    section = "Unreleased" if version.endswith("-dev") else version
    assert re.search(rf"(?m)^## \[{re.escape(section)}\]", (PROJECT / "CHANGELOG.md").read_text()), version


def test_the_readme_has_at_most_170_lines():
    lines = len((PROJECT / "README.md").read_text().splitlines())
    assert lines <= 170
