"""docs/scale.md is what its program prints, at the prices of docs/operations.md."""

import re
import subprocess
import sys

from .markdown import PROJECT, Page

PAGE = (PROJECT / "docs/scale.md").read_text()
PROGRAM = (PROJECT / "ops/scale.py").read_text()


def stated(path, pattern):
    """What a file says, as the match of a pattern with one group."""
    return re.search(pattern, (PROJECT / path).read_text())[1]


def test_the_tables_are_the_programs_output():
    printed = subprocess.run(
        [sys.executable, "-B", PROJECT / "ops/scale.py"], capture_output=True, text=True, check=True
    ).stdout.strip()
    tables = re.findall(r"(?m)(?:^\|.*\n)+", PAGE)
    assert "\n\n".join(table.strip() for table in tables) == printed


def test_the_prices_are_the_same_as_on_the_page_on_operation():
    prices = {
        "Lambda, requests": "REQUESTS, GB_SECOND = {} / 1e6",
        "Lambda, arm64, 128 MB, at 10 ms each": "REQUESTS, GB_SECOND = 0.20 / 1e6, {}",
        "DynamoDB, writes of 1 to 2 KB, as most rows of events/ are": "WRITE_UNIT, READ_UNIT = {} / 1e6",
        "DynamoDB, BatchGetItem of every row in ECS, half a read unit each": "READ_UNIT = 0.625 / 1e6, {} / 1e6",
        "log, about 1 KB an invocation, including Lambda’s own lines": "BACKUP_GB_MONTH = {}",
        "archive, events of 2.2 KB": "BACKUP_GB_MONTH = 0.50, {}",
    }
    page = Page((PROJECT / "docs/operations.md").read_text())
    stated = {row[0].text.replace("'", "’"): row for table in page.tables for row in table}
    for item, line in prices.items():
        [price] = [cell.text for cell in stated[item] if " a " in cell.text and cell.text.startswith("$")]
        assert line.format(re.match(r"\$([\d.]+) a ", price)[1]) in PROGRAM, item


def test_what_the_text_says_of_the_assumptions_is_what_the_program_assumes():
    values = {}
    exec(PROGRAM.split("DAILY =")[0].split("import ceil")[1], values)
    assert {name: values[name] for name in (
        "EVENTS_A_TASK", "EVENTS_A_START", "LIFETIME_HOURS", "BUSY", "ROW_KB", "RETENTION_DAYS", "TASKS_A_CLUSTER",
        "INSTANCES_A_CLUSTER", "NEW_TABLE_UNITS", "PARTITION_UNITS", "CALLS_A_SECOND", "WARM_MS",
    )} == {
        "EVENTS_A_TASK": 10, "EVENTS_A_START": 4, "LIFETIME_HOURS": 1, "BUSY": 10, "ROW_KB": 2, "RETENTION_DAYS": 30,
        "TASKS_A_CLUSTER": 200, "INSTANCES_A_CLUSTER": 20, "NEW_TABLE_UNITS": 4000, "PARTITION_UNITS": 1000,
        "CALLS_A_SECOND": 5, "WARM_MS": 10,
    }
    # One write unit of the index at a start, in one partition.
    starts = values["PARTITION_UNITS"] * 60 // values["INDEX_UNITS_A_START"]
    assert f"starts more than {starts:,} tasks a minute" in " ".join(PAGE.split())


def test_what_the_program_says_of_retries_and_redrives_is_what_they_are():
    values = {}
    exec(PROGRAM.split("DAILY =")[0].split("import ceil")[1], values)
    backoff = int(stated("src/state/timeouts.rs", r"MAX_BACKOFF: Duration = Duration::from_secs\((\d+)\)"))
    assert values["PAUSE"] == backoff / 2
    assert int(stated("src/state/timeouts.rs", r"ATTEMPTS: u32 = (\d+)")) == 3
    redrive = int(stated("ops/redrive.py", r"EVENTS_PER_SECOND = (\d+)"))
    assert values["REDRIVE"] == redrive == values["NEW_TABLE_UNITS"] / values["ROW_KB"] / 2
    in_words = f"at most {redrive:,} events a second, {redrive * values['ROW_KB']:,} write units: half"
    assert in_words in " ".join((PROJECT / "docs/operations.md").read_text().split())
    units = values["ROW_KB"] * 1000 // values["WARM_MS"]
    new = values["NEW_TABLE_UNITS"] // units
    in_words = f"to 1 for each {units} write units a second that the table takes: {new} for a new one"
    assert in_words in " ".join(PAGE.split())
    # The storm plays Lambda, the redrive and the table with the same figures.
    storm = "tests/storms/overload.rs"
    assert float(stated(storm, r"REDRIVE: f64 = ([\d.]+) \* SCALE")) == redrive
    assert float(stated(storm, r"SCALE: f64 = CAPACITY / ([\d.]+)")) == values["NEW_TABLE_UNITS"]
    assert float(stated(storm, r"ROW: f64 = ([\d.]+)")) == values["ROW_KB"]
    assert stated(storm, r"set_retry_waits\((.*?)\)") == "[MINUTE, 2 * MINUTE]" and values["RETRY_WAITS"] == (60, 120)
    attempts = stated("template.yaml", r"MaximumRetryAttempts: (\d+)\n        MaximumEventAgeInSeconds: 21600")
    assert int(attempts) == len(values["RETRY_WAITS"])
