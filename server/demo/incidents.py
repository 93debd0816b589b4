"""Replays an audit log of incidents: every line is a version of a record, and triggers watch fourteen of its fields.

Every column is text; "?" stands for an unknown value and is sent as null.
"""

import csv
import gzip
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reallot.clients import Record
from reallot.clients.bundle import parse_bundle
from reallot.server.demo.stage import Stage, StoryFailed
from reallot.v1 import record_service_pb2, run_pb2

START = datetime(2016, 2, 29, tzinfo=UTC)
WATCHED = (
    *("incident_state", "active", "assignment_group", "assigned_to", "priority", "impact", "urgency", "category", "subcategory"),
    *("location", "made_sla", "contact_type", "reopen_count", "reassignment_count"),
)
RESEGMENTING = frozenset({"priority", "category", "assignment_group"})
"""Fields whose changes are counted by record, too."""
BATCH = 500


def configuration(columns: list[str]) -> dict[str, Any]:
    """Return a record type with every column as text, and a trigger for every watched one."""
    fields = [{"field_id": column, "type": "FIELD_TYPE_TEXT"} for column in columns]
    triggers = [{"trigger_id": name, "record_type": "incident", "fields": [name]} for name in WATCHED]
    return {"record_types": [{"record_type": "incident", "fields": fields}], "triggers": triggers}


def read_versions(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the lines of the log in order."""
    for file in sorted(folder.glob("*.csv.gz")):
        with gzip.open(file, "rt", newline="", encoding="utf-8") as stream:
            yield from csv.DictReader(stream)


def replay(stage: Stage, folder: Path, most_days: int | None = None) -> None:
    """Send every version as an upsert, and count what the server's triggers answer.

    Raises:
        StoryFailed: only some days are asked for; the log is replayed whole.
    """
    if most_days is not None:
        raise StoryFailed("the incidents are replayed whole, not by days")
    versions = list(read_versions(folder))
    resources, _ = parse_bundle(configuration(list(versions[0])))
    stage.client.config.apply(resources, actor="demo")
    creates, updates, nothing = 0, 0, 0
    fired: Counter[str] = Counter()
    touched: set[str] = set()
    for start in range(0, len(versions), BATCH):
        results = stage.client.records.upsert(_record(version) for version in versions[start : start + BATCH])
        for result in results:
            creates += result.created
            updates += not result.created
            fired.update(result.fired)
            nothing += not result.created and not result.fired
            if RESEGMENTING.intersection(result.fired):
                touched.add(result.record_id)
    stage.settle()
    looks = _looks(stage)
    told = {
        "creates": creates,
        "updates": updates,
        "fired": {name: fired[name] for name in WATCHED},
        "records_fired": len(touched),
        "nothing_fired": nothing,
        "rechecks": looks - creates,
    }
    stage.tell(told)
    stage.say(f"{creates:,} records created, {updates:,} updates; {len(touched):,} records fired one of {', '.join(sorted(RESEGMENTING))}.")
    stage.say(f"{looks - creates:,} rechecks came of that: what fires again while a record waits to be looked at leads to one.")
    stage.say(f"{nothing:,} updates changed no watched field and fired nothing.")
    stage.table(("trigger", "fired"), [(name, fired[name]) for name in WATCHED], ("fired",))


def _looks(stage: Stage) -> int:
    """Return how often the server has looked at a record: at each once when it came, and again after what has fired since."""
    calls, found = stage.client.inner.stubs.records, 0
    for run in stage.client.runs.list(kinds=[run_pb2.RUN_KIND_INTAKE]):
        request = record_service_pb2.ListDecisionsRequest(run_id=run.run_id, page_size=1_000)
        found += sum(1 for _ in stage.client.iterate(stage.client.inner.pages(calls.ListDecisions, request, "decisions")))
    return found


def _record(version: dict[str, str]) -> Record:
    return Record(version["number"], "incident", {name: None if text == "?" else text for name, text in version.items()})
