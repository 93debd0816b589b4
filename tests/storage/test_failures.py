"""What goes wrong in one unit of work, in a listener or around the file stays there."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import IntegrityError

from reallot.storage import Database, RecordFilter, WriteTransaction, migrate
from reallot.storage.entities import PendingMark
from reallot.storage.errors import DatabaseLocked, StorageUnavailable
from reallot.storage.tables import metadata
from support.rows import a_record, an_event, create


def clock() -> int:
    return 1


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    made = Database(url, clock_us=clock)
    yield made
    made.close()


def events(db: Database) -> int:
    return db.read(lambda tx: len(tx.events.after("w", 0, 99)))


def tells(name: str) -> Callable[[WriteTransaction], None]:
    return lambda tx: tx.events.append("w", [an_event(name)])


class Gate:
    """Holds the writer until a group has queued up behind it."""

    def __init__(self, db: Database) -> None:
        self._open = threading.Event()
        entered = threading.Event()
        self._held = db.submit_write("w", lambda tx: (entered.set(), self._open.wait(30)))
        assert entered.wait(30)

    def release(self) -> None:
        self._open.set()
        self._held.result(30)


def test_what_the_engine_refuses_fails_alone(db: Database) -> None:
    gate = Gate(db)
    good = [db.submit_write("w", tells(name)) for name in "ab"]
    bad = db.submit_write("w", lambda tx: (tells("no")(tx), tx.pending.add_new("w", ["twice", "twice"], 1, {})))
    good.append(db.submit_write("w", tells("c")))
    gate.release()
    with pytest.raises(IntegrityError):
        bad.result(30)
    assert [future.result(30) for future in good] == [None] * 3
    assert (events(db), db.read(lambda tx: tx.pending.count("w"))) == (3, 0)


def test_where_there_is_no_room_the_whole_commit_is_undone_and_says_why(db: Database) -> None:
    def too_much(tx: WriteTransaction) -> None:
        (pages,) = tx.connection.exec_driver_sql("PRAGMA page_count").one()
        tx.connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 20}")
        try:
            # Few enough for single statements: when one of these finds no room, the engine gives up the whole transaction.
            for n in range(50):
                tells(f"much-{n}-{'x' * 40_000}")(tx)
            tx.buffer.flush(tx.connection)
        finally:
            tx.connection.exec_driver_sql("PRAGMA max_page_count=1000000000")

    gate = Gate(db)
    group = [db.submit_write("w", unit) for unit in (tells("a"), too_much, tells("b"))]
    gate.release()
    for future in group:
        with pytest.raises(StorageUnavailable, match="full"):
            future.result(30)
    assert (events(db), db.write_failures) == (0, 1)
    db.write("w", tells("c"))
    assert events(db) == 1


def test_a_removed_file_is_neither_written_to_nor_made_anew(url: str, db: Database) -> None:
    db.write("w", tells("a"))
    Path(url.removeprefix("sqlite:///")).unlink()
    for call in (lambda: db.write("w", tells("b")), lambda: events(db)):
        with pytest.raises(StorageUnavailable, match="cannot be used"):
            call()
    assert not Path(url.removeprefix("sqlite:///")).exists()
    assert db.write_failures == 1


def test_a_unit_that_was_cancelled_in_time_is_not_done(db: Database) -> None:
    gate = Gate(db)
    unwanted, wanted = db.submit_write("w", tells("a")), db.submit_write("w", tells("b"))
    assert unwanted.cancel()
    gate.release()
    wanted.result(30)
    assert events(db) == 1


def test_a_listener_that_fails_holds_up_nobody(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[object] = []

    def fails(_signals: object) -> None:
        raise RuntimeError("the loop is closed")

    db.on_commit(fails)
    db.on_commit(heard.append)
    for name in "ab":
        db.submit_write("w", lambda tx, n=name: (tells(n)(tx), tx.signal("w", "events"))).result(30)
    assert (events(db), len(heard)) == (2, 2)
    assert "the loop is closed" in caplog.text


def test_whatever_tells_events_is_announced(db: Database) -> None:
    heard: list[tuple[str, str]] = []
    db.on_commit(lambda signals: heard.extend(signals))
    db.write("w", tells("a"))
    assert heard == [("w", "events")]


def test_what_is_queued_is_finished_and_later_calls_are_refused(url: str) -> None:
    db = Database(url, clock_us=clock)
    gate = Gate(db)
    queued = [db.submit_write("w", tells(str(n))) for n in range(200)]
    closing = threading.Thread(target=db.close)
    closing.start()
    gate.release()
    closing.join()
    assert [future.result(0) for future in queued] == [None] * 200
    for call in (partial(db.submit_write, "w"), partial(db.write, "w"), db.submit_read, db.read):
        with pytest.raises(StorageUnavailable, match="closed"):
            call(lambda tx: None)  # type: ignore[operator]
    db.close()


def test_a_reader_cannot_write_past_the_writer(db: Database) -> None:
    with pytest.raises(StorageUnavailable, match="readonly"):
        db.read(lambda tx: tx.pending.mark("w", [PendingMark("r1", 1, {})]))
    assert db.read(lambda tx: tx.pending.count("w")) == 0


def test_a_read_is_one_snapshot(db: Database) -> None:
    create(db, "w", a_record("a"))

    def look_twice(tx: object) -> tuple[int, int]:
        first = tx.records.count("w", RecordFilter())  # type: ignore[attr-defined]
        create(db, "w", a_record("b"))
        return first, tx.records.count("w", RecordFilter())  # type: ignore[attr-defined]

    assert db.read(look_twice) == (1, 1)
    assert db.read(lambda tx: tx.records.count("w", RecordFilter())) == 2


DIES_IN_A_GROUP = """
import os, signal, sys, threading
from reallot.storage import Database
from reallot.storage.entities import EventDraft, Record, Transition
db = Database(sys.argv[1], clock_us=lambda: 1)
entered, gate = threading.Event(), threading.Event()
def create(name):
    return lambda tx: tx.commit_records("w", [Transition(None, Record(name, "lead"), event=EventDraft("CREATED", name, "lead", 1))])
def answered(name):
    return lambda future: print(name, flush=True)
first = db.submit_write("w", lambda tx: (create("first")(tx), entered.set(), gate.wait(30)))
first.add_done_callback(answered("first"))
assert entered.wait(30)
for n in range(9):
    db.submit_write("w", create(f"group-{n}")).add_done_callback(answered(f"group-{n}"))
    if n == 5:
        db.submit_write("w", lambda tx: os.kill(os.getpid(), signal.SIGKILL))
gate.set()
threading.Event().wait(30)
"""


def test_a_crash_inside_a_group_leaves_none_of_it_and_answers_none(url: str) -> None:
    done = subprocess.run([sys.executable, "-c", DIES_IN_A_GROUP, url], stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()) == (-signal.SIGKILL, ["first"])
    db = Database(url, clock_us=clock)
    assert [r.record_id for r in db.read(lambda tx: tx.records.page("w", RecordFilter()))] == ["first"]
    assert events(db) == 1
    db.close()


HOLDS_THE_FILE = """
import sys
from reallot.storage import Database
db = Database(sys.argv[1], clock_us=lambda: 1)
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(url: str) -> Iterator[subprocess.Popen[str]]:
    """Another server process that has the file."""
    command = [sys.executable, "-c", HOLDS_THE_FILE, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
        process.kill()


def test_a_second_server_is_told_who_has_the_file(url: str, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(DatabaseLocked, match=rf"process {holder.pid}\b"):
        Database(url, clock_us=clock)


def test_the_file_is_free_once_its_server_was_killed(url: str, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    db = Database(url, clock_us=clock)
    assert events(db) == 0
    db.close()


def test_a_served_file_is_not_migrated_under_its_server(url: str, holder: subprocess.Popen[str]) -> None:
    assert migrate(url)[0] is not None
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    engine.dispose()
    with pytest.raises(DatabaseLocked, match=str(holder.pid)):
        migrate(url)


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'half.sqlite'}"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE workspaces (other INTEGER)"))
    with pytest.raises(StorageUnavailable, match="workspaces"):
        migrate(url)
    assert inspect(engine).get_table_names() == ["workspaces"]
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE workspaces"))
    migrate(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


@pytest.mark.parametrize("call", [migrate, lambda url: Database(url, clock_us=clock)], ids=["migrate", "open"])
def test_a_place_that_is_no_database_is_named(tmp_path: Path, call: Callable[[str], object]) -> None:
    (tmp_path / "text.sqlite").write_text("not a database, but long enough to be looked at as if it were one " * 20)
    with pytest.raises(StorageUnavailable, match="not a database"):
        call(f"sqlite:///{tmp_path / 'text.sqlite'}")
    with pytest.raises(StorageUnavailable, match="nowhere"):
        call(f"sqlite:///{tmp_path / 'nowhere' / 'a.sqlite'}")


def test_a_database_in_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a file"):
        Database("sqlite://", clock_us=clock)
