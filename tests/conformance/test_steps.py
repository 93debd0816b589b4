"""When the steps of records are to be looked at, and the versions of sequences: noted with what makes it necessary."""

from reallot.storage import Database
from reallot.storage.entities import ConfigRow, EnrollmentChange, Owner, OwnerKind
from reallot.storage.steps import StepLook, StepRow
from support.rows import a_record, an_event, change, create, remove, stored

START = EnrollmentChange(start_sequence_id="welcome", start_sequence_version=3)


def looks(db: Database, ws: str, now_us: int = 10**9) -> list[StepLook]:
    """Return what is to be looked at, and have it looked at no more."""
    found = db.read(lambda tx: tx.steps.due(ws, now_us, 99))
    db.write(ws, lambda tx: tx.steps.plan(ws, {look.record_id: None for look in found}))
    return found


def test_what_concerns_steps_has_them_looked_at(db: Database, ws: str) -> None:
    create(db, ws, a_record(seller="ann"))
    assert looks(db, ws) == []
    change(db, ws, parts={"enrollment": START})
    assert looks(db, ws) == [StepLook("r1")]
    change(db, ws, priority=1)
    assert looks(db, ws) == []
    told = {"event": an_event(notify=["ben"])}
    change(db, ws, owner=Owner(OwnerKind.SELLER, "ben"), parts=told)
    # What was told stays told until it is looked at.
    change(db, ws, parts={"looks": True})
    assert looks(db, ws) == [StepLook("r1", True)]
    change(db, ws, active=False, parts={"enrollment": EnrollmentChange("RECORD_CLOSED")})
    assert looks(db, ws) == []


def test_looks_come_at_their_time(db: Database, ws: str) -> None:
    db.write(ws, lambda tx: tx.steps.plan(ws, {"a": 300, "b": 200, "c": None}))
    assert dict(db.read(lambda tx: tx.steps.next_due()))[ws] == 200
    assert [look.record_id for look in looks(db, ws, 250)] == ["b"]
    assert [look.record_id for look in looks(db, ws, 300)] == ["a"]


def a_step(db: Database, ws: str, record_id: str, step: int = 1) -> StepRow:
    enrollment = stored(db, ws, record_id).enrollment_id
    return StepRow(enrollment, step, record_id, "welcome", 3, step, f"s{step}", "call", seller_id="ann")


def test_open_steps_end_with_the_enrollment_but_for_a_move(db: Database, ws: str) -> None:
    create(db, ws, *(a_record(name) for name in "abc"), enrollment=START)
    db.write(ws, lambda tx: tx.steps.put(ws, [a_step(db, ws, name) for name in "abc"]))
    change(db, ws, "a", parts={"enrollment": EnrollmentChange("DISCONNECTED")})
    change(db, ws, "b", parts={"enrollment": EnrollmentChange("RESEGMENTED")})
    assert sorted(db.read(lambda tx: tx.steps.open_of(ws, "abc"))) == ["b", "c"]
    remove(db, ws, "b")
    remove(db, ws, "c")
    assert db.read(lambda tx: tx.steps.open_of(ws, "abc")) == {}
    gone = db.read(lambda tx: tx.steps.counts(ws, "welcome", 0))
    assert sorted((row.state, row.end_reason) for row in gone) == [("CANCELLED", "DISCONNECTED"), ("CANCELLED", "RECORD_DELETED")]


def test_versions_of_a_sequence_go_on_after_it_was_deleted(db: Database, ws: str) -> None:
    def put(**body: int) -> None:
        db.write(ws, lambda tx: tx.config.apply(ws, [ConfigRow("sequence", "s", body, 0, 0, 0)], [], actor="", time_us=1))

    put(n=1)
    put(n=2)
    db.write(ws, lambda tx: tx.config.apply(ws, [], [("sequence", "s")], actor="", time_us=1))
    put(n=3)
    assert [db.read(lambda tx, v=v: tx.steps.version(ws, "s", v)) for v in (1, 2, 3, 4)] == [{"n": 1}, {"n": 2}, {"n": 3}, None]
    assert db.read(lambda tx: tx.config.resources(ws, "sequence"))[0].version == 3
