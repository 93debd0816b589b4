"""Which records refer to which, and rounds in which they hear of a change."""

from dataclasses import replace
from typing import Any

from reallot.storage import Database
from reallot.storage.entities import Transition
from reallot.storage.references import Fanout
from support.rows import a_record, create


def referrers(db: Database, ws: str, target: str, after_id: str = "", most: int = 9) -> tuple[int, str | None, list[tuple[str, Any]]]:
    seen, go_on, found = db.read(lambda tx: tx.references.referrers(ws, target, after_id, most))
    return seen, go_on, [(r.record_id, r.roles) for r in found]


def ask(db: Database, ws: str, *fields: str, target: str = "x", now_us: int = 1) -> None:
    wanted = [Fanout(target, "account", now_us, {"fields": sorted(fields), "quiet": False})]
    db.write(ws, lambda tx: tx.references.ask(ws, wanted))


def go_on(db: Database, ws: str, after_id: str | None) -> None:
    db.write(ws, lambda tx: tx.references.go_on(ws, tx.references.oldest(ws, 1)[0], after_id))


def waiting(db: Database, ws: str) -> list[tuple[str, list[str], list[str] | None, str]]:
    found = db.read(lambda tx: tx.references.oldest(ws, 9))
    return [(f.target_id, f.cause["fields"], f.next_cause and f.next_cause["fields"], f.after_id) for f in found]


def test_references_follow_what_records_say(db: Database, ws: str) -> None:
    a, b = replace(a_record("a"), related={"account": "x", "payer": "x"}), replace(a_record("b"), related={"account": "x"})
    create(db, ws, a, b, replace(a_record("c", active=False), related={"account": "x"}))
    assert referrers(db, ws, "x") == (3, None, [("a", ("account", "payer")), ("b", ("account",))])
    assert referrers(db, ws, "x", most=1) == (1, "a", [("a", ("account", "payer"))])
    assert referrers(db, ws, "x", "a", most=2) == (2, "c", [("b", ("account",))])
    stored = db.read(lambda tx: tx.records.get(ws, ["a", "b"]))
    moved = replace(stored["a"], related={"account": "y", "payer": "x"})
    db.write(ws, lambda tx: tx.commit_records(ws, [Transition(stored["a"], moved), Transition(stored["b"], None)]))
    assert referrers(db, ws, "x") == (2, None, [("a", ("payer",))])
    assert referrers(db, ws, "y") == (1, None, [("a", ("account",))])
    assert db.read(lambda tx: tx.references.referred(ws, ["x", "y", "z", "a"])) == {"x", "y"}


def test_a_round_goes_on_through_changes_which_take_one_more(db: Database, ws: str) -> None:
    ask(db, ws, "size")
    ask(db, ws, "kind", now_us=5)
    assert waiting(db, ws) == [("x", ["kind", "size"], None, "")]
    go_on(db, ws, "m")
    ask(db, ws, "name")
    ask(db, ws, "kind")
    assert waiting(db, ws) == [("x", ["kind", "size"], ["kind", "name"], "m")]
    assert ws in db.read(lambda tx: tx.references.workspaces())
    go_on(db, ws, None)
    assert waiting(db, ws) == [("x", ["kind", "name"], None, "")]
    go_on(db, ws, None)
    assert waiting(db, ws) == []
    assert ws not in db.read(lambda tx: tx.references.workspaces())


def test_the_oldest_change_is_passed_on_first(db: Database, ws: str) -> None:
    ask(db, ws, "size", target="a", now_us=3)
    ask(db, ws, "size", target="b", now_us=2)
    assert [name for name, *_ in waiting(db, ws)] == ["b", "a"]
