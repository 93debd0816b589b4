"""A record's passage through sequences: one at a time, and none is forgotten."""

from typing import Any

import pytest

from reallot.storage import Database
from reallot.storage.entities import Enrollment, EnrollmentChange, Record
from support.rows import a_record, change, create, remove, stored

START = EnrollmentChange(start_sequence_id="welcome", start_sequence_version=3)
SWITCH = EnrollmentChange("RESEGMENTED", "upsell", 1)


def passages(db: Database, ws: str, **wanted: Any) -> list[Enrollment]:
    return db.read(lambda tx: tx.enrollments.page(ws, **wanted))


def states(db: Database, ws: str) -> list[tuple[str, str, str]]:
    return sorted((e.sequence_id, e.state, e.end_reason) for e in passages(db, ws))


def columns(record: Record) -> tuple[bool, str, int, int]:
    return bool(record.enrollment_id), record.sequence_id, record.sequence_version, record.step


def test_a_start_enrols_at_step_one(db: Database, ws: str) -> None:
    create(db, ws, a_record(), enrollment=START)
    record = stored(db, ws)
    assert columns(record) == (True, "welcome", 3, 1)
    assert passages(db, ws) == [Enrollment(record.enrollment_id, "r1", "welcome", 3, 1, "ACTIVE", 1_000)]


def test_a_step_moves_the_record_and_its_passage(db: Database, ws: str) -> None:
    create(db, ws, a_record(), enrollment=START)
    change(db, ws, parts={"enrollment": EnrollmentChange(move_to_step=4)})
    assert (columns(stored(db, ws)), passages(db, ws)[0].step) == ((True, "welcome", 3, 4), 4)


@pytest.mark.parametrize(("reason", "state"), [("COMPLETED", "COMPLETED"), ("RELEASED", "ENDED")])
def test_an_end_keeps_the_passage_with_its_reason(db: Database, ws: str, reason: str, state: str) -> None:
    create(db, ws, a_record(), enrollment=START)
    change(db, ws, parts={"enrollment": EnrollmentChange(reason)})
    ended = passages(db, ws)[0]
    assert columns(stored(db, ws)) == (False, "", 0, 0)
    assert (ended.state, ended.end_reason, ended.start_us, ended.end_us) == (state, reason, 1_000, 1_000)


def test_a_switch_ends_one_and_starts_the_other(db: Database, ws: str) -> None:
    create(db, ws, a_record(), enrollment=START)
    change(db, ws, parts={"enrollment": SWITCH})
    assert states(db, ws) == [("upsell", "ACTIVE", ""), ("welcome", "ENDED", "RESEGMENTED")]
    assert columns(stored(db, ws)) == (True, "upsell", 1, 1)


def test_a_record_is_in_one_sequence_at_a_time(db: Database, ws: str) -> None:
    create(db, ws, a_record(), enrollment=START)
    with pytest.raises(ValueError, match="end the open"):
        change(db, ws, parts={"enrollment": EnrollmentChange(start_sequence_id="upsell")})
    assert states(db, ws) == [("welcome", "ACTIVE", "")]


@pytest.mark.parametrize("wrong", [EnrollmentChange("RELEASED"), EnrollmentChange(move_to_step=2)])
def test_what_is_not_open_cannot_end_or_move(db: Database, ws: str, wrong: EnrollmentChange) -> None:
    create(db, ws, a_record())
    with pytest.raises(ValueError, match="no open"):
        change(db, ws, parts={"enrollment": wrong})


def test_the_enrollments_columns_are_storages_own(db: Database, ws: str) -> None:
    create(db, ws, a_record(), enrollment=START)
    before = stored(db, ws)
    change(db, ws, enrollment_id="", sequence_id="other", sequence_version=9, step=9)
    assert stored(db, ws).enrollment_id == before.enrollment_id
    assert columns(stored(db, ws)) == (True, "welcome", 3, 1)


def test_a_deleted_record_leaves_its_sequence(db: Database, ws: str) -> None:
    create(db, ws, a_record("a"), enrollment=START)
    create(db, ws, a_record("b"), enrollment=START)
    remove(db, ws, "a")
    remove(db, ws, "b", enrollment=EnrollmentChange("RECORD_DELETED"))
    assert states(db, ws) == [("welcome", "ENDED", "RECORD_DELETED")] * 2


def test_a_record_that_comes_back_begins_a_passage_of_its_own(db: Database, ws: str) -> None:
    for _ in range(3):
        create(db, ws, a_record(), enrollment=START)
        remove(db, ws)
    assert [e.state for e in passages(db, ws)] == ["ENDED"] * 3


def test_passages_are_found_by_record_sequence_and_state(db: Database, ws: str) -> None:
    create(db, ws, a_record("a"), a_record("b"), enrollment=START)
    change(db, ws, "a", parts={"enrollment": SWITCH})
    assert [e.sequence_id for e in passages(db, ws, record_id="b")] == ["welcome"]
    assert {e.record_id for e in passages(db, ws, sequence_id="welcome")} == {"a", "b"}
    assert [e.record_id for e in passages(db, ws, sequence_id="welcome", state="ENDED")] == ["a"]


def test_pages_go_from_new_to_old(db: Database, ws: str) -> None:
    create(db, ws, *(a_record(f"r{n}") for n in range(4)), enrollment=START)
    first = passages(db, ws, limit=3)
    rest = passages(db, ws, before=(first[-1].start_us, first[-1].enrollment_id))
    assert [e.record_id for e in [*first, *rest]] == ["r3", "r2", "r1", "r0"]
