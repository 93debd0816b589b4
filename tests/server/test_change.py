"""What a row changes and fires, held against a plain model of the contract's words."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reallot.server.convert.upserts import UpsertReader
from reallot.server.road.change import Change, change_of
from reallot.server.workspace_config import WorkspaceConfig, messages_of
from reallot.storage.entities import Owner, OwnerKind, Record
from reallot.v1 import record_service_pb2
from support.api import a_row, sales

NOW_US = 1_772_438_400_000_000
CONFIG = WorkspaceConfig("default", 1, messages_of(sales())).compiled()
ANN = Owner(OwnerKind.SELLER, "ann")
IMPLIED = {"revenue"}
"""What the conditions of the active segments of leads read."""
RULE_FIELDS = {"big": {"country"}, "rest": {"note"}, "": set()}
"""What the rules of each segment read."""

plain = st.fixed_dictionaries(
    {},
    optional={
        "country": st.sampled_from([None, "DE", "FR"]),
        "revenue": st.sampled_from([None, 0.0, 5.0, 2e6]),
        "hot": st.sampled_from([None, True, False]),
        "note": st.sampled_from([None, "", "call"]),
    },
)
attributes = st.fixed_dictionaries({}, optional={"active": st.booleans(), "priority": st.integers(0, 100), "effort": st.integers(0, 3)})
masks = (
    st.none()
    | st.just(["*"])
    | st.lists(st.sampled_from(["fields", "fields.note", "fields.hot", "active", "priority", "effort"]), unique=True)
)
rows = st.lists(st.tuples(plain, attributes, masks), min_size=1, max_size=6)
DEFAULTS: dict[str, Any] = {"active": True, "priority": 50, "effort": 1}


def read(fields: dict[str, Any], parts: dict[str, Any], mask: list[str] | None, *, exists: bool) -> Any:
    reader = UpsertReader(CONFIG, {"r1": Record("r1", "lead")} if exists else {}, [])
    row: record_service_pb2.RecordUpsert = a_row("r1", fields, mask=mask, **parts)
    found = reader.read(row, "records[0]")
    assert reader.violations == []
    return found


def expected(before: dict[str, Any], fields: dict[str, Any], parts: dict[str, Any], mask: list[str] | None) -> dict[str, Any]:
    """Return the model's record: null fields are absent."""
    after = dict(before)
    if mask is None:
        after.update(fields | parts)
    elif mask == ["*"]:
        after = DEFAULTS | fields | parts
    else:
        for name in mask:
            if name == "fields":
                after.update(fields)
            elif name.startswith("fields."):
                after[name.removeprefix("fields.")] = fields.get(name.removeprefix("fields."))
            else:
                after[name] = parts.get(name, DEFAULTS[name])
    return {name: plain for name, plain in after.items() if plain is not None}


def shown(record: Record) -> dict[str, Any]:
    return {**record.fields, "active": record.active, "priority": record.priority, "effort": record.effort}


@given(rows)
def test_rows_write_what_their_masks_say_and_name_what_changed(written: list[tuple[Any, Any, Any]]) -> None:
    record, model = None, dict(DEFAULTS)
    for fields, parts, mask in written:
        before = model
        model = expected(before, fields, parts, mask)
        change = change_of(record, read(fields, parts, mask, exists=record is not None), CONFIG, now_us=NOW_US, quiet=False)
        assert shown(change.after) == model
        if record is not None:
            assert set(change.changed) == {n for n in {*before, *model} if before.get(n) != model.get(n)}
        record = change.after


@given(plain, plain, st.booleans(), st.booleans(), st.booleans(), st.sampled_from(["", "big", "rest"]))
def test_a_change_fires_and_marks_as_the_contract_says(
    old: dict[str, Any], new: dict[str, Any], was_active: bool, is_active: bool, owned: bool, segment: str
) -> None:
    first: Change = change_of(None, read(old, {"active": was_active}, None, exists=False), CONFIG, now_us=NOW_US, quiet=False)
    before = replace(first.after, owner=ANN if owned else None, segment_id=segment)
    change = change_of(before, read(new, {"active": is_active}, None, exists=True), CONFIG, now_us=NOW_US, quiet=False)
    changed = {name for name, item in new.items() if old.get(name) != item}
    hotter = ["hotter"] if "hot" in changed and new["hot"] is True else []
    assert change.fired == (*hotter, *(f"implied:{name}" for name in sorted(changed & IMPLIED)))
    relevant = bool(change.fired) or not was_active or (not owned and bool(changed & RULE_FIELDS[segment]))
    assert (change.mark is not None) == (is_active and relevant)
    if change.mark is not None:
        assert change.mark.cause["resegment"] == (bool(change.fired) or not was_active)


@given(plain, st.booleans(), st.booleans())
def test_a_new_active_record_is_always_marked(fields: dict[str, Any], active: bool, quiet: bool) -> None:
    change = change_of(None, read(fields, {"active": active}, None, exists=False), CONFIG, now_us=NOW_US, quiet=quiet)
    assert (change.mark is not None) == active
    assert change.fired == ()
    assert change.mark is None or change.mark.cause["quiet"] == quiet


@given(plain, plain, st.booleans())
def test_a_quiet_change_marks_quietly_and_only_to_segment(old: dict[str, Any], new: dict[str, Any], was_active: bool) -> None:
    before = change_of(None, read(old, {"active": was_active}, None, exists=False), CONFIG, now_us=NOW_US, quiet=True).after
    before = replace(before, segment_id="rest")
    change = change_of(before, read(new, {"active": True}, None, exists=True), CONFIG, now_us=NOW_US, quiet=True)
    assert (change.mark is not None) == (bool(change.fired) or not was_active)
    assert change.mark is None or (change.mark.cause["quiet"] and change.mark.cause["resegment"])


@given(plain, plain)
def test_the_record_before_is_not_touched(old: dict[str, Any], new: dict[str, Any]) -> None:
    before = change_of(None, read(old, {}, None, exists=False), CONFIG, now_us=NOW_US, quiet=False).after
    kept = dict(before.fields)
    change_of(before, read(new, {}, ["fields"], exists=True), CONFIG, now_us=NOW_US, quiet=False)
    assert before.fields == kept
