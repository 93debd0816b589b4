"""Runs, the decision log, and answers kept for repeated requests."""

from dataclasses import replace

import pytest

from reallot.storage import Database
from reallot.storage.entities import Decision, Run, StoredAnswer
from reallot.storage.errors import AlreadyExists, NotFound
from support.rows import a_record, a_run, change, create


def add(db: Database, ws: str, *runs: Run) -> list[bool]:
    return [db.write(ws, lambda tx, r=run: tx.runs.create(ws, r)) for run in runs]


def test_a_run_is_read_as_it_was_stored(db: Database, ws: str) -> None:
    run = a_run(
        stage="SOLVE",
        schedule_id="nightly",
        firing_us=3,
        limit=9,
        seed=4,
        time_limit_us=8,
        start_us=5,
        end_us=6,
        counts={"assigned": 2},
        failure="none",
        body={"levels": [1]},
        version=3,
    )
    add(db, ws, run)
    assert db.read(lambda tx: tx.runs.get(ws, "run-1")) == run


def test_a_run_that_does_not_exist_is_named(db: Database, ws: str) -> None:
    with pytest.raises(NotFound, match="run 'nowhere'"):
        db.read(lambda tx: tx.runs.get(ws, "nowhere"))


def test_a_firing_has_one_run(db: Database, ws: str) -> None:
    fired = a_run(schedule_id="nightly", firing_us=3)
    assert add(db, ws, fired, replace(fired, run_id="run-2"), replace(fired, run_id="run-3", firing_us=4)) == [True, False, True]
    assert [r.run_id for r in db.read(lambda tx: tx.runs.page(ws, schedule_id="nightly"))] == ["run-3", "run-1"]


def test_runs_without_schedule_are_as_many_as_wanted(db: Database, ws: str) -> None:
    assert add(db, ws, a_run("a"), a_run("b")) == [True, True]


def test_a_run_id_is_not_given_twice(db: Database, ws: str) -> None:
    add(db, ws, a_run())
    with pytest.raises(AlreadyExists, match="run-1"):
        add(db, ws, a_run(schedule_id="nightly", firing_us=3))


def test_pages_go_from_new_to_old(db: Database, ws: str) -> None:
    add(db, ws, a_run("a", create_us=1), a_run("b", create_us=2), a_run("c", create_us=2), a_run("d", create_us=3, kind="INTAKE"))
    first = db.read(lambda tx: tx.runs.page(ws, kinds=["MANUAL"], limit=1))
    rest = db.read(lambda tx: tx.runs.page(ws, kinds=["MANUAL"], before=(first[0].create_us, first[0].run_id)))
    assert [r.run_id for r in [*first, *rest]] == ["c", "b", "a"]


def test_runs_are_unfinished_until_they_end(db: Database, ws: str) -> None:
    states = ("SUCCEEDED", "RUNNING", "FAILED", "PENDING", "CANCELLED")
    add(db, ws, *(a_run(state.lower(), state=state, create_us=9 - n) for n, state in enumerate(states)))
    assert [r.run_id for r in db.read(lambda tx: tx.runs.unfinished(ws))] == ["pending", "running"]


def test_an_update_does_not_undo_a_wish_to_cancel(db: Database, ws: str) -> None:
    add(db, ws, a_run())
    db.write(ws, lambda tx: tx.runs.request_cancel(ws, "run-1"))
    db.write(ws, lambda tx: tx.runs.update(ws, a_run(state="RUNNING", start_us=7)))
    run = db.read(lambda tx: tx.runs.get(ws, "run-1"))
    assert (run.state, run.start_us, run.cancel_requested) == ("RUNNING", 7, True)


def test_only_a_run_that_exists_is_changed(db: Database, ws: str) -> None:
    with pytest.raises(NotFound):
        db.write(ws, lambda tx: tx.runs.update(ws, a_run()))
    with pytest.raises(NotFound):
        db.write(ws, lambda tx: tx.runs.request_cancel(ws, "run-1"))


def test_decisions_are_read_by_record_from_new_to_old(db: Database, ws: str) -> None:
    create(db, ws, a_record("r1"), a_record("r2"))
    for n in range(3):
        line = Decision("r1", n, {"kind": "RUN"}, "ASSIGNED", "why", {"o": 1}, {"o": 2}, "rule", "run-1", [{"seller": "ann"}])
        change(db, ws, priority=n, parts={"decision": line})
        change(db, ws, "r2", priority=n, parts={"decision": replace(line, record_id="r2")})
    first = db.read(lambda tx: tx.decisions.of_record(ws, "r1", None, 2))
    rest = db.read(lambda tx: tx.decisions.of_record(ws, "r1", first[-1].decision_id, 9))
    assert [d.time_us for d in [*first, *rest]] == [2, 1, 0]
    # The first line is of the second version: the record had been created before.
    assert replace(rest[0], decision_id=0) == replace(line, time_us=0, version=2)


def test_decisions_of_a_run_are_read_in_order(db: Database, ws: str) -> None:
    for n in range(4):
        create(db, ws, a_record(f"r{n}"), decision=Decision(f"r{n}", n, None, "ASSIGNED", "", run_id=f"run-{n % 2}"))
    first = db.read(lambda tx: tx.decisions.of_run(ws, "run-1", 0, 1))
    rest = db.read(lambda tx: tx.decisions.of_run(ws, "run-1", first[-1].decision_id, 9))
    assert [d.record_id for d in [*first, *rest]] == ["r1", "r3"]


def test_an_answer_is_found_by_its_request(db: Database, ws: str) -> None:
    answer = StoredAnswer("req", "UpsertRecords", "abc", b"\x00\xff", 9)
    db.write(ws, lambda tx: tx.requests.keep(ws, [answer]))
    assert db.read(lambda tx: tx.requests.find(ws, ["req", "other"])) == {"req": answer}
    assert db.read(lambda tx: tx.requests.find(ws + "-b", ["req"])) == {}


def test_a_request_is_answered_once(db: Database, ws: str) -> None:
    db.write(ws, lambda tx: tx.requests.keep(ws, [StoredAnswer("req", "A", "abc", b"1", 9)]))
    with pytest.raises(AlreadyExists, match="req"):
        db.write(ws, lambda tx: tx.requests.keep(ws, [StoredAnswer("req", "A", "abc", b"2", 9)]))
    assert db.read(lambda tx: tx.requests.find(ws, ["req"])["req"]) == StoredAnswer("req", "A", "abc", b"1", 9)


def answered(db: Database, ws: str, *times_us: int) -> None:
    db.write(ws, lambda tx: tx.requests.keep(ws, [StoredAnswer(f"req{n}", "A", "abc", b"", n) for n in times_us]))


def answers(db: Database, ws: str) -> list[int]:
    return sorted(a.time_us for a in db.read(lambda tx: tx.requests.find(ws, [f"req{n}" for n in range(10)])).values())


def test_old_answers_are_forgotten_a_few_at_a_time(db: Database, ws: str) -> None:
    answered(db, ws, 4, 3, 2, 1)
    answered(db, ws + "-b", 1)
    assert db.read(lambda tx: {ws, ws + "-b"} <= set(tx.requests.workspaces(4)))
    assert [db.write(ws, lambda tx: tx.requests.forget(ws, 4, 2)) for _ in range(3)] == [2, 1, 0]
    assert (answers(db, ws), answers(db, ws + "-b")) == ([4], [1])
    assert db.read(lambda tx: ws not in tx.requests.workspaces(4))


def test_of_some_answers_the_old_ones_are_forgotten(db: Database, ws: str) -> None:
    answered(db, ws, 4, 3, 2)
    db.write(ws, lambda tx: tx.requests.forget_these(ws, ["req4", "req3"], 4))
    assert answers(db, ws) == [2, 4]


def test_the_oldest_decisions_are_forgotten_first(db: Database, ws: str) -> None:
    for age in (3, 1, 2, 4):
        create(db, ws, a_record(f"r{age}"), decision=Decision(f"r{age}", age, None, "ASSIGNED", ""))
    create(db, ws + "-b", a_record("r1"), decision=Decision("r1", 1, None, "ASSIGNED", ""))
    assert db.read(lambda tx: (tx.decisions.oldest_us(ws), tx.decisions.oldest_us(ws + "-c"))) == (1, None)
    kept = []
    for _ in range(3):
        forgotten = db.write(ws, lambda tx: tx.decisions.forget(ws, 4, 2))
        kept.append((forgotten, [n for n in range(1, 5) if db.read(lambda tx, n=n: tx.decisions.of_record(ws, f"r{n}", None, 9))]))
    assert kept == [(2, [3, 4]), (1, [4]), (0, [4])]
    assert db.read(lambda tx: tx.decisions.oldest_us(ws + "-b")) == 1


def test_what_failed_leaves_no_answer_behind(db: Database, ws: str) -> None:
    def answer_and_fail(tx: object) -> None:
        tx.requests.keep(ws, [StoredAnswer("req", "A", "abc", b"", 9)])  # type: ignore[attr-defined]
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        db.write(ws, answer_and_fail)
    assert db.read(lambda tx: tx.requests.find(ws, ["req"])) == {}
