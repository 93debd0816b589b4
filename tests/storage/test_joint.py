"""Units of work that wait together are carried out as one, as long as this cannot be told from one after the other."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from reallot.storage import Database, WriteTransaction
from reallot.storage.entities import Record, Transition
from reallot.storage.joint import Joint


class Creating:
    """Creates records, and notes which were created in one go."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, tx: WriteTransaction, names: Sequence[str]) -> list[str]:
        self.calls.append(list(names))
        tx.commit_records("w", [Transition(None, Record(name, "lead")) for name in names])
        if "bad" in names:
            raise RuntimeError("bad is refused")
        return [f"made {name}" for name in names]


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    made = Database(url, clock_us=lambda: 1)
    yield made
    made.close()


@contextmanager
def busy_writer(db: Database) -> Iterator[None]:
    """Hold the writer at a unit of work, so that what is submitted meanwhile waits together."""
    begun, go_on = threading.Event(), threading.Event()

    def hold(tx: WriteTransaction) -> None:
        begun.set()
        go_on.wait()

    held = db.submit_write("w", hold)
    begun.wait()
    try:
        yield
    finally:
        go_on.set()
        held.result()


def submitted(db: Database, work: Creating, *names: str, workspace: str = "w") -> list[Future[str]]:
    return [db.submit_write(workspace, Joint(work, name, frozenset({name}))) for name in names]


def stored(db: Database, *names: str) -> set[str]:
    return set(db.read(lambda tx: tx.records.get("w", names)))


def test_waiting_units_become_one_and_each_gets_its_own_answer(db: Database) -> None:
    work = Creating()
    with busy_writer(db):
        futures = submitted(db, work, "a", "b", "c")
    assert [future.result() for future in futures] == ["made a", "made b", "made c"]
    assert work.calls == [["a", "b", "c"]]
    assert stored(db, "a", "b", "c") == {"a", "b", "c"}


def test_units_about_the_same_thing_stay_apart_and_in_their_order(db: Database) -> None:
    work = Creating()
    with busy_writer(db):
        futures = [
            db.submit_write("w", Joint(work, name, frozenset({about}))) for name, about in [("a", "x"), ("b", "y"), ("c", "x"), ("d", "y")]
        ]
    assert [future.result() for future in futures] == ["made a", "made b", "made c", "made d"]
    assert work.calls == [["a", "b"], ["c", "d"]]


def test_another_kind_of_work_in_between_keeps_its_place(db: Database) -> None:
    work, other = Creating(), Creating()
    seen: list[set[str]] = []
    with busy_writer(db):
        submitted(db, work, "a", "b")
        between = db.submit_write("w", lambda tx: seen.append(set(tx.records.get("w", ["a", "b", "c", "d"]))))
        submitted(db, work, "c")
        (last,) = submitted(db, other, "d")
    between.result()
    last.result()
    assert seen == [{"a", "b"}]
    assert (work.calls, other.calls) == ([["a", "b"], ["c"]], [["d"]])


def test_units_of_another_workspace_are_not_joined(db: Database) -> None:
    work = Creating()
    with busy_writer(db):
        futures = submitted(db, work, "a") + submitted(db, work, "b", workspace="v")
    assert [future.result() for future in futures] == ["made a", "made b"]
    assert work.calls == [["a"], ["b"]]


def test_a_faulty_one_is_undone_alone(db: Database) -> None:
    work = Creating()
    with busy_writer(db):
        good, bad, last = submitted(db, work, "a", "bad", "c")
    assert (good.result(), last.result()) == ("made a", "made c")
    with pytest.raises(RuntimeError, match="bad is refused"):
        bad.result()
    assert stored(db, "a", "bad", "c") == {"a", "c"}
    assert work.calls == [["a", "bad", "c"], ["a"], ["bad"], ["c"]]


def test_one_whose_caller_is_gone_is_left_out(db: Database) -> None:
    work = Creating()
    with busy_writer(db):
        first, gone, last = submitted(db, work, "a", "b", "c")
        assert gone.cancel()
    assert (first.result(), last.result()) == ("made a", "made c")
    assert stored(db, "a", "b", "c") == {"a", "c"}
