"""Marks of records that wait for the road, and requests for reruns."""

from typing import Any

import pytest

from reallot.storage import Database, RecordFilter
from reallot.storage.entities import Pending, PendingMark
from support.rows import a_record, change, create, remove

CREATED = {"kind": "CREATED"}


def mark(db: Database, ws: str, *record_ids: str, since_us: int = 10, cause: Any = CREATED) -> None:
    db.write(ws, lambda tx: tx.pending.mark(ws, [PendingMark(i, since_us, cause) for i in record_ids]))


def waiting(db: Database, ws: str, limit: int = 99) -> list[Pending]:
    return db.read(lambda tx: tx.pending.oldest(ws, limit))


def clear(db: Database, ws: str, *seen: Pending) -> None:
    db.write(ws, lambda tx: tx.pending.clear(ws, [(p.record_id, p.generation) for p in seen]))


def test_the_oldest_marks_come_first(db: Database, ws: str) -> None:
    mark(db, ws, "c", "a")
    mark(db, ws, "b")
    assert [p.record_id for p in waiting(db, ws)] == ["c", "a", "b"]
    assert [p.record_id for p in waiting(db, ws, 2)] == ["c", "a"]
    assert db.read(lambda tx: (tx.pending.count(ws), tx.records.pending_ids(ws, ["a", "z"]))) == (3, {"a"})


def test_a_record_that_waits_keeps_its_place(db: Database, ws: str) -> None:
    mark(db, ws, "a", "b")
    before = waiting(db, ws)[0]
    mark(db, ws, "a", since_us=99)
    after = waiting(db, ws)[0]
    assert (after.record_id, after.number, after.since_us) == ("a", before.number, 10)
    assert after.generation > before.generation


def test_the_earliest_instant_stays_even_if_it_comes_last(db: Database, ws: str) -> None:
    mark(db, ws, "a", since_us=50)
    mark(db, ws, "a", since_us=20)
    assert waiting(db, ws)[0].since_us == 20


@pytest.mark.parametrize("together", [False, True])
def test_causes_are_merged(db: Database, ws: str, together: bool) -> None:
    causes = [{"kind": "CREATED", "quiet": True}, {"kind": "UPDATED", "triggers": ["t2"]}, {"kind": "UPDATED", "triggers": ["t1", "t2"]}]
    marks = [PendingMark("a", 10, cause) for cause in causes]
    for part in [marks] if together else [[m] for m in marks]:
        db.write(ws, lambda tx, p=part: tx.pending.mark(ws, p))
    assert [p.cause for p in waiting(db, ws)] == [{"kind": "CREATED", "triggers": ["t1", "t2"], "quiet": False}]


def test_what_was_seen_is_cleared(db: Database, ws: str) -> None:
    mark(db, ws, "a", "b", "c")
    clear(db, ws, *waiting(db, ws, 2))
    assert [p.record_id for p in waiting(db, ws)] == ["c"]


def test_a_mark_made_after_the_look_stays(db: Database, ws: str) -> None:
    mark(db, ws, "a")
    seen = waiting(db, ws)
    mark(db, ws, "a")
    clear(db, ws, *seen)
    assert [p.record_id for p in waiting(db, ws)] == ["a"]


def test_a_mark_made_after_another_cleared_the_first_stays(db: Database, ws: str) -> None:
    mark(db, ws, "a")
    seen_by_two = waiting(db, ws)
    clear(db, ws, *seen_by_two)
    mark(db, ws, "a")
    clear(db, ws, *seen_by_two)
    assert [p.record_id for p in waiting(db, ws)] == ["a"]


def test_a_transition_clears_the_mark_that_it_answers(db: Database, ws: str) -> None:
    create(db, ws, a_record(), mark=PendingMark("r1", 10, CREATED))
    seen = waiting(db, ws)[0]
    change(db, ws, assignment="NO_CAPACITY", parts={"clear_generation": seen.generation})
    assert waiting(db, ws) == []


def test_a_transition_leaves_a_mark_that_it_has_not_seen(db: Database, ws: str) -> None:
    create(db, ws, a_record(), mark=PendingMark("r1", 10, CREATED))
    seen = waiting(db, ws)[0]
    mark(db, ws, "r1")
    change(db, ws, parts={"clear_generation": seen.generation})
    assert [p.record_id for p in waiting(db, ws)] == ["r1"]


def test_a_deleted_record_does_not_wait(db: Database, ws: str) -> None:
    create(db, ws, a_record(), mark=PendingMark("r1", 10, CREATED))
    remove(db, ws, mark=PendingMark("r1", 11, CREATED))
    assert waiting(db, ws) == []


def test_records_that_a_filter_takes_are_marked_unless_they_are(db: Database, ws: str) -> None:
    create(db, ws, *(a_record(i, segment_id=s) for i, s in (("a", "x"), ("b", "y"), ("c", "x"), ("d", "x"))))
    mark(db, ws, "c", cause={"kind": "UPDATED"})
    wanted = RecordFilter(segment_ids=["x"])
    assert db.write(ws, lambda tx: tx.records.mark_where(ws, wanted, 70, {"kind": "RUN"})) == 2
    assert [(p.record_id, p.cause["kind"]) for p in waiting(db, ws)] == [("c", "UPDATED"), ("a", "RUN"), ("d", "RUN")]
    assert len({p.generation for p in waiting(db, ws)}) == 3


def test_more_records_than_fit_into_one_statement_can_be_marked(db: Database, ws: str) -> None:
    create(db, ws, a_record("00000"), a_record("39999"))
    wanted = RecordFilter(record_ids=[f"{n:05}" for n in range(40_000)])
    assert db.write(ws, lambda tx: tx.records.mark_where(ws, wanted, 70, CREATED)) == 2


def test_workspaces_with_marks_are_named(db: Database, ws: str) -> None:
    mark(db, ws, "a")
    assert ws in db.read(lambda tx: tx.pending.workspaces())
    clear(db, ws, *waiting(db, ws))
    assert ws not in db.read(lambda tx: tx.pending.workspaces())


def test_requests_for_reruns_come_together(db: Database, ws: str) -> None:
    for cause in ("CAPACITY_FREED", "SELLER_ADDED", "CAPACITY_FREED"):
        db.write(ws, lambda tx, c=cause: tx.reruns.request(ws, c, 10))
    assert ws in db.read(lambda tx: tx.reruns.workspaces())
    assert list(db.read(lambda tx: tx.reruns.waiting(ws))) == ["CAPACITY_FREED", "SELLER_ADDED"]
    assert db.write(ws, lambda tx: tx.reruns.take(ws)) == {"CAPACITY_FREED": None, "SELLER_ADDED": None}
    assert db.write(ws, lambda tx: tx.reruns.take(ws)) == {}


def test_requests_of_one_cause_are_made_for_the_sake_of_all_their_sellers(db: Database, ws: str) -> None:
    for sellers in (["ben"], ["ann", "ben"]):
        db.write(ws, lambda tx, s=sellers: tx.reruns.request(ws, "CAPACITY_FREED", 10, s))
    assert db.write(ws, lambda tx: tx.reruns.take(ws)) == {"CAPACITY_FREED": ["ann", "ben"]}
    for everybody in (None, [f"s{n}" for n in range(1_001)]):
        db.write(ws, lambda tx: tx.reruns.request(ws, "CAPACITY_FREED", 10, ["ann"]))
        db.write(ws, lambda tx, s=everybody: tx.reruns.request(ws, "CAPACITY_FREED", 10, s))
        assert db.write(ws, lambda tx: tx.reruns.take(ws)) == {"CAPACITY_FREED": None}
