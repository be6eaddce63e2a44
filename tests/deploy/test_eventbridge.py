"""docs/testing.md, Test it with EventBridge: the target's transformer, with moto's own."""

import json
import re

from moto.events.models import EventTemplateParser

from .aws import PROJECT
from .ops import rows

PAGE = (PROJECT / "docs/testing.md").read_text()


def test_the_documented_transformer_turns_an_event_of_ones_own_into_one_that_the_recorder_stores(function):
    given = json.loads(re.search(r"```json\n(.*?)```", PAGE.split("## Test it with EventBridge")[1], re.DOTALL)[1])
    assert set(given) == {"InputPathsMap", "InputTemplate"}
    sent = json.loads((PROJECT / "events/fargate-task-running.json").read_text()) | {"source": "my.test"}
    assert function.invoke(json.dumps(sent).encode())["errorType"] == "UnsupportedSource"
    event = EventTemplateParser.parse(
        input_template=given["InputTemplate"], input_paths_map=given["InputPathsMap"],
        event=sent | {"ingestion-time": sent["time"]},
    )
    assert event == sent | {"source": "aws.ecs"}
    assert function.invoke(json.dumps(event).encode())["outcome"] == "stored"
    [row] = rows().values()
    assert row["event_id"] == {"S": sent["id"]}
