"""Records: what is read is what was written, filters take what they say, and nobody overwrites what they have not read."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reallot.storage import Database, RecordFilter, RecordPart
from reallot.storage.entities import Owner, OwnerKind, PendingMark, Record, Transition
from reallot.storage.errors import VersionConflict
from support.cases import cases
from support.rows import a_record, all_records, change, commit, create, remove, stored

WHOLE = Record(
    "r1",
    "deal",
    fields={"name": "Łódź", "amount": 1.5, "n": 2**53, "vip": False, "tags": ["a", "b"]},
    related={"account": "acme"},
    owner=Owner(OwnerKind.TEAM, "north"),
    priority=90,
    value_units=-3,
    effort=2,
    created_us=77,
    created_by="ann",
    group_key="g",
    segment_id="dach",
    previous_segment_id="rest",
    previous_owner=Owner(OwnerKind.QUEUE, "inbox"),
    segmentation="SEGMENTED",
    assignment="ASSIGNED",
    connection="CONNECTED",
    reason="because",
    rule_id="rule",
    run_id="run",
    attempts=3,
    last_attempt_us=5,
    next_try_us=6,
    overdue_us=7,
)


def test_a_record_is_read_as_it_was_written(db: Database, ws: str) -> None:
    create(db, ws, WHOLE)
    assert stored(db, ws) == replace(WHOLE, version=1, create_us=1_000, update_us=1_000)


def test_versions_and_times_are_storages_own(db: Database, ws: str) -> None:
    create(db, ws, a_record(version=40, create_us=1, update_us=2))
    change(db, ws, version=99, create_us=3, update_us=4)
    record = stored(db, ws)
    assert (record.version, record.create_us, record.update_us) == (2, 1_000, 1_000)


def test_only_records_that_exist_are_returned(db: Database, ws: str) -> None:
    create(db, ws, a_record("a"), a_record("b"))
    assert set(db.read(lambda tx: tx.records.get(ws, ["b", "z"]))) == {"b"}
    assert db.read(lambda tx: tx.records.get(ws + "-b", ["b"])) == {}


def test_a_stale_change_is_refused_whole(db: Database, ws: str) -> None:
    create(db, ws, a_record("a"), a_record("b"))
    a, b = stored(db, ws, "a"), stored(db, ws, "b")
    change(db, ws, "b", priority=1)
    with pytest.raises(VersionConflict, match=r"\bb\b"):
        commit(db, ws, Transition(a, replace(a, priority=2)), Transition(b, replace(b, priority=2)))
    assert [r.priority for r in all_records(db, ws)] == [50, 1]


@pytest.mark.parametrize("stale", ["create", "change", "delete"])
def test_what_happened_meanwhile_is_noticed(db: Database, ws: str, stale: str) -> None:
    create(db, ws, a_record("kept"), a_record("gone"))
    kept, gone = stored(db, ws, "kept"), stored(db, ws, "gone")
    remove(db, ws, "gone")
    late = {"create": Transition(None, kept), "change": Transition(gone, gone), "delete": Transition(gone, None)}
    with pytest.raises(VersionConflict):
        commit(db, ws, late[stale])


def test_a_record_stands_once_in_a_commit(db: Database, ws: str) -> None:
    with pytest.raises(ValueError, match="only one transition"):
        create(db, ws, a_record(), a_record())
    assert all_records(db, ws) == []


def test_a_transition_from_nothing_to_nothing_is_refused(db: Database, ws: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        commit(db, ws, Transition(None, None))


def test_a_transition_is_of_one_record(db: Database, ws: str) -> None:
    create(db, ws, a_record("a"))
    with pytest.raises(ValueError, match="another record"):
        commit(db, ws, Transition(stored(db, ws, "a"), a_record("b")))


def test_a_record_that_comes_back_is_not_taken_for_the_old_one(db: Database, ws: str) -> None:
    create(db, ws, a_record())
    old = stored(db, ws)
    remove(db, ws)
    create(db, ws, a_record(priority=7))
    with pytest.raises(VersionConflict):
        commit(db, ws, Transition(old, replace(old, priority=1)))
    assert stored(db, ws).priority == 7


def test_a_record_waits_while_it_is_active_and_without_owner(db: Database, ws: str) -> None:
    create(db, ws, a_record("open"), a_record("owned", seller="ann"), a_record("closed", active=False))
    assert [r.waiting_since_us for r in all_records(db, ws)] == [None, 1_000, None]
    change(db, ws, "open", owner=Owner(OwnerKind.QUEUE, "inbox"))
    change(db, ws, "owned", owner=None)
    assert [r.waiting_since_us for r in all_records(db, ws)] == [None, None, 1_000]


def test_waiting_goes_on_through_other_changes(db: Database, ws: str) -> None:
    create(db, ws, a_record(waiting_since_us=40))
    change(db, ws, priority=1)
    assert stored(db, ws).waiting_since_us == 40


def test_pages_follow_each_other_by_id(db: Database, ws: str) -> None:
    create(db, ws, *(a_record(f"r{n}", segment_id="x" if n % 2 else "y") for n in range(7)))
    wanted = RecordFilter(segment_ids=["x"])
    first = db.read(lambda tx: tx.records.page(ws, wanted, limit=2))
    rest = db.read(lambda tx: tx.records.page(ws, wanted, first[-1].record_id))
    assert [r.record_id for r in [*first, *rest]] == ["r1", "r3", "r5"]


def test_a_snapshot_has_records_and_marks_in_columns(db: Database, ws: str) -> None:
    create(db, ws, a_record("b", seller="ann", segment_id="x", priority=9, effort=4, group_key="g", created_us=3))
    create(db, ws, a_record("a"), mark=PendingMark("a", 10, {"kind": "CREATED"}))
    snapshot = db.read(lambda tx: tx.records.snapshot(ws, RecordFilter()))
    assert (snapshot.record_id, snapshot.owner_kind, snapshot.owner_id) == (["a", "b"], ["", "SELLER"], ["", "ann"])
    assert (snapshot.priority, snapshot.effort, snapshot.created_us) == ([50, 9], [1, 4], [0, 3])
    assert (snapshot.segment_id, snapshot.group_key, snapshot.version) == (["", "x"], ["", "g"], [1, 1])
    assert [json.loads(text) for text in snapshot.fields] == [{"country": "DE"}] * 2
    assert snapshot.pending_generation[0] > snapshot.pending_generation[1] == 0
    assert snapshot.pending_cause == [{"kind": "CREATED"}, None]


def test_an_empty_snapshot_has_all_columns(db: Database, ws: str) -> None:
    snapshot = db.read(lambda tx: tx.records.snapshot(ws, RecordFilter()))
    assert (len(snapshot), snapshot.fields, snapshot.pending_cause) == (0, [], [])


def test_more_records_than_fit_into_one_statement_can_be_named(db: Database, ws: str) -> None:
    ids = [f"{n:05}" for n in range(40_000)]
    create(db, ws, *(a_record(i) for i in ids[::1000]))
    named = RecordFilter(record_ids=ids)
    assert db.read(lambda tx: tx.records.snapshot(ws, named)).record_id == ids[::1000]
    assert list(db.read(lambda tx: tx.records.get(ws, ids))) == ids[::1000]
    assert db.read(lambda tx: tx.records.count(ws, named)) == 40
    assert [r.record_id for r in db.read(lambda tx: tx.records.page(ws, named, "10000", 3))] == ["11000", "12000", "13000"]


def test_a_value_that_is_no_number_is_refused(db: Database, ws: str) -> None:
    with pytest.raises(ValueError, match="JSON"):
        create(db, ws, a_record(fields={"amount": float("nan")}))


owners = st.sampled_from([None, Owner(OwnerKind.SELLER, "ann"), Owner(OwnerKind.TEAM, "ann"), Owner(OwnerKind.SELLER, "ben")])
some_records = st.lists(
    st.builds(
        a_record,
        record_type=st.sampled_from(["lead", "deal"]),
        segment_id=st.sampled_from(["", "x", "y"]),
        assignment=st.sampled_from(["", "ASSIGNED", "NO_CAPACITY"]),
        rule_id=st.sampled_from(["", "one"]),
        run_id=st.sampled_from(["", "run-1"]),
        owner=owners,
        active=st.booleans(),
        waiting_since_us=st.sampled_from([None, 10, 20, 30]),
    ),
    max_size=8,
)


def some(*values: str) -> st.SearchStrategy[list[str] | None]:
    return st.none() | st.lists(st.sampled_from(values), max_size=2)


filters = st.builds(
    RecordFilter,
    record_ids=some("r0", "r1", "r2"),
    record_types=some("lead", "deal"),
    segment_ids=some("", "x", "y"),
    statuses=some("", "ASSIGNED", "NO_CAPACITY"),
    rule_ids=some("", "one"),
    owner=owners,
    owned=st.none() | st.booleans(),
    owned_by_seller=st.none() | st.booleans(),
    active=st.none() | st.booleans(),
    waiting_before_us=st.sampled_from([None, 20, 30]),
    not_run_id=st.sampled_from([None, "", "run-1"]),
)


def takes(wanted: RecordFilter, record: Record) -> bool:
    by_seller = record.owner is not None and record.owner.kind is OwnerKind.SELLER
    lists = (
        (wanted.record_ids, record.record_id),
        (wanted.record_types, record.record_type),
        (wanted.segment_ids, record.segment_id),
        (wanted.statuses, record.assignment),
        (wanted.rule_ids, record.rule_id),
    )
    waits = record.waiting_since_us is not None and record.waiting_since_us < (wanted.waiting_before_us or 0)
    return (
        all(allowed is None or value in allowed for allowed, value in lists)
        and wanted.owner in (None, record.owner)
        and wanted.owned in (None, record.owner is not None)
        and wanted.owned_by_seller in (None, by_seller)
        and wanted.active in (None, record.active)
        and (wanted.waiting_before_us is None or waits)
        and (wanted.not_run_id is None or record.run_id != wanted.not_run_id)
    )


@settings(deadline=None, max_examples=cases(60))
@given(some_records, st.lists(filters, min_size=1, max_size=4))
def test_a_filter_takes_what_it_says(db: Database, fresh_ws: Callable[[], str], rows: list[Record], wanted: list[RecordFilter]) -> None:
    ws = fresh_ws()
    create(db, ws, *(replace(record, record_id=f"r{n}") for n, record in enumerate(rows)))
    everything = all_records(db, ws)
    for each in wanted:
        expected = [record for record in everything if takes(each, record)]
        assert db.read(lambda tx, f=each: tx.records.page(ws, f)) == expected
        assert db.read(lambda tx, f=each: tx.records.count(ws, f)) == len(expected)
        assert db.read(lambda tx, f=each: tx.records.snapshot(ws, f)).record_id == [r.record_id for r in expected]


def test_parts_take_records_of_a_segment_that_name_certain_texts(db: Database, ws: str) -> None:
    said: dict[str, dict[str, object]] = {
        "plain": {"region": "Łódź", "kind": "x"},
        "quoted": {"region": 'a "b" \\ \n', "kind": "y"},
        "number": {"region": 5},
        "nothing": {},
        "null": {"region": None},
        "nul": {"other": "\0"},
        "elsewhere": {"name": '"region":"Łódź"', "kind": "Łódź"},
    }
    create(db, ws, *(a_record(name, fields=fields, segment_id="s") for name, fields in said.items()))
    create(db, ws, a_record("other-segment", fields=said["plain"], segment_id="t"), a_record("deal", record_type="deal", segment_id="s"))

    def found(*parts: RecordPart) -> set[str]:
        return {record.record_id for record in db.read(lambda tx: tx.records.page(ws, RecordFilter(parts=parts), limit=100))}

    def texts(**values: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return tuple(values.items())

    # What PostgreSQL cannot read is left to those who can: it may be meant.
    assert found(RecordPart("lead", "s", (texts(region=("Łódź", "Bonn", "\0")),))) == {"plain", "nul"}
    assert found(RecordPart("lead", "s", (texts(region=(said["quoted"]["region"],)),))) == {"quoted", "nul"}
    assert found(RecordPart("lead", "s", (texts(region=("Łódź",), kind=("y", "Łódź")),))) == {"plain", "quoted", "elsewhere", "nul"}
    assert found(RecordPart("lead", "s", (texts(region=("Łódź",)), texts(kind=("y",))))) == {"nul"}
    assert found(RecordPart("lead", "s", (texts(region=()),))) == {"nul"}
    assert found(RecordPart("lead", "t"), RecordPart("deal", "s")) == {"other-segment", "deal"}
    assert found() == set()
