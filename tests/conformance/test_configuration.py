"""Configuration with its history, and schedules."""

import pytest

from reallot.storage import Database
from reallot.storage.entities import ConfigRow, ScheduleState
from reallot.storage.errors import NotFound
from support.rows import a_resource


def put(db: Database, ws: str, *rows: ConfigRow, deletes: tuple[tuple[str, str], ...] = (), time_us: int = 10) -> int:
    return db.write(ws, lambda tx: tx.config.apply(ws, rows, deletes, actor="eve", time_us=time_us))


def test_a_workspace_that_nobody_wrote_to_is_empty(db: Database, ws: str) -> None:
    assert db.read(lambda tx: (tx.config.version(ws), tx.config.resources(ws))) == (0, [])


def test_every_change_makes_a_new_version(db: Database, ws: str) -> None:
    assert [put(db, ws, a_resource(name=str(n))) for n in range(3)] == [1, 2, 3]
    assert db.read(lambda tx: tx.config.version(ws)) == 3


def test_a_resource_is_read_as_it_was_put(db: Database, ws: str) -> None:
    put(db, ws, a_resource(condition='record.country == "Österreich"'), time_us=10)
    put(db, ws, a_resource(condition="true"), time_us=20)
    assert db.read(lambda tx: tx.config.resources(ws)) == [ConfigRow("segment", "dach", {"condition": "true"}, 2, 10, 20)]


def test_resources_come_by_kind_and_id(db: Database, ws: str) -> None:
    put(db, ws, a_resource("segment", "b"), a_resource("rule", "z"), a_resource("segment", "a"))
    assert [(r.kind, r.id) for r in db.read(lambda tx: tx.config.resources(ws))] == [
        ("rule", "z"),
        ("segment", "a"),
        ("segment", "b"),
    ]
    assert [r.id for r in db.read(lambda tx: tx.config.resources(ws, "segment"))] == ["a", "b"]


def test_a_deleted_resource_is_gone_and_begins_anew(db: Database, ws: str) -> None:
    put(db, ws, a_resource(n=1))
    put(db, ws, deletes=(("segment", "dach"),))
    assert db.read(lambda tx: tx.config.resources(ws)) == []
    put(db, ws, a_resource(n=2), time_us=30)
    assert [(r.version, r.create_us) for r in db.read(lambda tx: tx.config.resources(ws))] == [(1, 30)]


def test_what_does_not_exist_cannot_be_deleted(db: Database, ws: str) -> None:
    with pytest.raises(NotFound, match="segment 'nowhere'"):
        put(db, ws, a_resource(), deletes=(("segment", "nowhere"),))
    assert db.read(lambda tx: (tx.config.version(ws), tx.config.changes(ws, None, None, None, 9))) == (0, [])


def test_the_history_tells_who_changed_what_and_when(db: Database, ws: str) -> None:
    put(db, ws, a_resource(n=1), time_us=10)
    put(db, ws, a_resource(n=2), time_us=20)
    put(db, ws, deletes=(("segment", "dach"),), time_us=30)
    lines = db.read(lambda tx: tx.config.changes(ws, "segment", "dach", None, 9))
    assert [(c.time_us, c.before, c.after) for c in lines] == [(30, {"n": 2}, None), (20, {"n": 1}, {"n": 2}), (10, None, {"n": 1})]
    assert {c.actor for c in lines} == {"eve"}


def test_the_history_pages_backwards(db: Database, ws: str) -> None:
    for n in range(5):
        put(db, ws, a_resource(resource_id=f"s{n}"))
    first = db.read(lambda tx: tx.config.changes(ws, None, None, None, 2))
    rest = db.read(lambda tx: tx.config.changes(ws, None, None, first[-1].change_id, 9))
    assert [c.id for c in [*first, *rest]] == ["s4", "s3", "s2", "s1", "s0"]


def test_workspaces_do_not_see_each_other(db: Database, ws: str) -> None:
    put(db, ws, a_resource(n=1))
    put(db, ws + "-b", a_resource(n=2))
    assert [r.body for r in db.read(lambda tx: tx.config.resources(ws))] == [{"n": 1}]
    assert {ws, ws + "-b"} <= set(db.read(lambda tx: tx.config.workspaces()))


def test_a_schedule_is_kept_replaced_and_forgotten(db: Database, ws: str) -> None:
    db.write(ws, lambda tx: tx.schedules.put(ws, ScheduleState("nightly", 50)))
    db.write(ws, lambda tx: tx.schedules.put(ws, ScheduleState("nightly", 90, 50)))
    assert db.read(lambda tx: tx.schedules.all(ws)) == {"nightly": ScheduleState("nightly", 90, 50)}
    db.write(ws, lambda tx: tx.schedules.delete(ws, "nightly"))
    assert db.read(lambda tx: tx.schedules.all(ws)) == {}


def test_what_fires_next_comes_first_and_what_never_fires_not_at_all(db: Database, ws: str) -> None:
    for name, next_us in (("late", 90), ("never", None), ("soon", 50)):
        db.write(ws, lambda tx, n=name, at=next_us: tx.schedules.put(ws, ScheduleState(n, at)))
    due = db.read(lambda tx: tx.schedules.next_due())
    assert [state.schedule_id for workspace, state in due if workspace == ws] == ["soon", "late"]
