"""What the log of events says, held to what is stored."""

import json
from typing import Any

from reallot.server.convert.records import state_text
from reallot.storage.entities import Record
from support.office import Office

SHOWN = ("owner", "segment_id", "enrollment")


def rebuilt_from_the_log(office: Office, records: list[Record]) -> None:
    """Whoever knows nothing but the log knows all owners, segments and enrollments, those that ended included."""
    known: dict[str, dict[str, Any]] = {}
    passages: dict[str, set[str]] = {}
    for event in office.events():
        if event.kind == "DELETED":
            known.pop(event.record_id)
            continue
        known[event.record_id] = {name: (event.after or {}).get(name) for name in SHOWN}
        enrollment_id = (known[event.record_id]["enrollment"] or {}).get("enrollment_id", "")
        passages.setdefault(event.record_id, set()).update([enrollment_id] if enrollment_id else [])
    assert known == {r.record_id: {name: json.loads(state_text(r)).get(name) for name in SHOWN} for r in records}
    assert passages == {record_id: {e.enrollment_id for e in office.enrollments(record_id)} for record_id in passages}


def enrolled_once(office: Office, records: list[Record]) -> None:
    for record in records:
        open_ones = [e.enrollment_id for e in office.enrollments(record.record_id) if e.state == "ACTIVE"]
        assert open_ones == ([record.enrollment_id] if record.enrollment_id else [])
