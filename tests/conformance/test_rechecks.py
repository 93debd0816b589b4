"""When records are to be looked at again, and what runs would do to them."""

from reallot.storage import Database
from reallot.storage.previews import Preview
from reallot.storage.rechecks import Recheck
from support.rows import a_record, create


def note(db: Database, ws: str, *found: Recheck) -> bool:
    return bool(db.write(ws, lambda tx: tx.rechecks.note(ws, found)))


def due(db: Database, ws: str) -> int | None:
    return dict(db.read(lambda tx: tx.rechecks.next_due())).get(ws)


def test_what_was_found_about_an_earlier_version_is_not_kept(db: Database, ws: str) -> None:
    create(db, ws, a_record("a"))
    assert not note(db, ws, Recheck("a", 9, 50), Recheck("gone", 1, 50))
    assert due(db, ws) is None
    assert note(db, ws, Recheck("a", 1, 50))
    assert note(db, ws, Recheck("a", 1, 40))
    assert due(db, ws) == 40
    assert not note(db, ws, Recheck("a", 1, None))
    assert due(db, ws) is None


def test_what_is_due_is_taken_once_the_earliest_first_and_only_of_active_records(db: Database, ws: str) -> None:
    create(db, ws, a_record("a"), a_record("b"), a_record("c", active=False), a_record("d"))
    note(db, ws, *(Recheck(name, 1, instant) for name, instant in (("a", 30), ("b", 10), ("c", 20), ("d", 99))))
    assert db.write(ws, lambda tx: tx.rechecks.take(ws, 30, 2)) == (2, ["b"])
    assert db.write(ws, lambda tx: tx.rechecks.take(ws, 30, 2)) == (1, ["a"])
    assert db.write(ws, lambda tx: tx.rechecks.take(ws, 30, 2)) == (0, [])
    assert due(db, ws) == 99


def test_previews_are_kept_by_run(db: Database, ws: str) -> None:
    rows = [Preview("b", 2, "{}", '{"active":true}', 1, 1), Preview("a", 1, "{}", "{}", 0, 0)]
    db.write(ws, lambda tx: (tx.previews.add(ws, "one", rows), tx.previews.add(ws, "two", rows[:1])))
    assert db.read(lambda tx: tx.previews.page(ws, "one", "", 9)) == [rows[1], rows[0]]
    assert db.read(lambda tx: tx.previews.page(ws, "one", "a", 9)) == [rows[0]]
    assert db.read(lambda tx: tx.previews.of(ws, "one", ["b", "z"])) == {"b": (2, '{"active":true}')}
    assert db.read(lambda tx: (tx.previews.touched(ws, "one"), sorted(tx.previews.record_ids(ws, "one")))) == (1, ["a", "b"])
    db.write(ws, lambda tx: tx.previews.clear(ws, "one"))
    assert db.read(lambda tx: (tx.previews.page(ws, "one", "", 9), len(tx.previews.page(ws, "two", "", 9)))) == ([], 1)
