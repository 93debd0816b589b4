"""Backups: of one moment while others write, checked, whole or not there; restored ones never pass for what they were."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from reallot.storage import Database, RecordFilter, backup
from reallot.storage.backup import back_up, restore
from reallot.storage.entities import Owner, OwnerKind, Transition
from reallot.storage.errors import DatabaseDamaged, DatabaseLocked, SchemaMismatch, StorageUnavailable
from support.rows import a_record, an_event


def clock() -> int:
    return 1


def write(db: Database, *names: str) -> None:
    made = [Transition(None, a_record(name, owner=Owner(OwnerKind.SELLER, "ann")), event=an_event(name)) for name in names]
    db.write("w", lambda tx: tx.commit_records("w", made))


def names_in(url: str) -> list[str]:
    db = Database(url, clock_us=clock)
    found = [r.record_id for r in db.read(lambda tx: tx.records.page("w", RecordFilter(), limit=100_000))]
    db.close()
    return found


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    made = Database(url, clock_us=clock)
    write(made, "a", "b")
    yield made
    made.close()


@pytest.fixture
def saved(url: str, db: Database, tmp_path: Path) -> Path:
    """A backup with the records a and b."""
    back_up(url, tmp_path / "saved.sqlite")
    return tmp_path / "saved.sqlite"


def spoil(path: Path, *statements: str) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def test_a_backup_is_a_database_of_one_moment_while_a_server_writes(url: str, db: Database, tmp_path: Path) -> None:
    shown: list[tuple[int, int]] = []
    writing, stop = threading.Event(), threading.Event()

    def go_on_writing() -> None:
        number = 0
        while not stop.is_set():
            write(db, *(f"r{number:05d}-{i}" for i in range(10)))
            number += 1
            writing.set()

    thread = threading.Thread(target=go_on_writing)
    thread.start()
    assert writing.wait(30)
    facts = back_up(url, tmp_path / "saved.sqlite", on_progress=lambda done, total: shown.append((done, total)))
    stop.set()
    thread.join()
    found = names_in(f"sqlite:///{tmp_path / 'saved.sqlite'}")
    assert len(found) == facts.records == facts.events
    assert facts.records % 10 == 2
    assert set(found) <= {r.record_id for r in db.read(lambda tx: tx.records.page("w", RecordFilter(), limit=100_000))}
    assert facts.database_id == db.database_id
    assert shown[-1][0] == shown[-1][1] > 0


def test_commits_between_two_steps_do_not_make_a_backup_begin_anew(
    url: str, db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "PAGES", 1)
    steps: list[int] = []

    def step(done: int, _total: int) -> None:
        steps.append(done)
        if len(steps) <= 50:
            write(db, f"between-{len(steps)}")

    facts = back_up(url, tmp_path / "saved.sqlite", on_progress=step)
    assert facts.records == 2
    assert steps == sorted(set(steps))


def test_a_file_that_is_there_is_only_replaced_when_wanted(url: str, db: Database, saved: Path) -> None:
    before = saved.read_bytes()
    write(db, "c")
    with pytest.raises(FileExistsError, match="--force"):
        back_up(url, saved)
    assert saved.read_bytes() == before
    assert back_up(url, saved, force=True).records == 3
    assert sorted(path.name for path in saved.parent.iterdir()) == [
        "live.sqlite",
        "live.sqlite-shm",
        "live.sqlite-wal",
        "live.sqlite.lock",
        "saved.sqlite",
    ]


def test_a_backup_that_cannot_be_written_leaves_nothing(url: str, db: Database, tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable):
        back_up(url, tmp_path / "nowhere" / "saved.sqlite")
    with pytest.raises(StorageUnavailable):
        back_up(f"sqlite:///{tmp_path / 'none.sqlite'}", tmp_path / "saved.sqlite")
    with pytest.raises(ValueError, match="PostgreSQL"):
        back_up("postgresql://localhost/x", tmp_path / "saved.sqlite")
    assert not (tmp_path / "saved.sqlite").exists()
    assert not (tmp_path / "none.sqlite").exists()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE loads SET effort = effort + 1", "load is not the sum"),
        ("DELETE FROM loads", "no seller's load counts"),
        ("UPDATE records SET effort = 5 WHERE record_id = 'a'", "load is not the sum"),
        ("UPDATE workspaces SET event_number = 1", "number that was not given out"),
        ("DELETE FROM alembic_version", "no sound database"),
        ("DROP TABLE workspaces", "no sound database"),
    ],
)
def test_what_does_not_add_up_is_neither_saved_nor_restored(url: str, db: Database, saved: Path, statement: str, said: str) -> None:
    spoil(saved, statement)
    with pytest.raises(DatabaseDamaged, match=said):
        back_up(f"sqlite:///{saved}", saved.with_name("again.sqlite"))
    assert not saved.with_name("again.sqlite").exists()
    db.close()
    with pytest.raises(DatabaseDamaged, match=said):
        restore(url, saved, force=True)
    assert names_in(url) == ["a", "b"]


def test_a_torn_file_is_not_restored(url: str, db: Database, saved: Path) -> None:
    db.close()
    whole = saved.read_bytes()
    for torn in (whole[: len(whole) // 2], whole[:8192] + os.urandom(8192) + whole[16384:], b"no database at all" * 1_000):
        saved.write_bytes(torn)
        with pytest.raises(DatabaseDamaged):
            restore(url, saved, force=True)
    assert names_in(url) == ["a", "b"]


def test_a_restored_database_holds_what_was_saved_under_a_name_of_its_own(url: str, db: Database, saved: Path) -> None:
    write(db, "c")
    former = db.database_id
    db.close()
    with pytest.raises(FileExistsError, match="--force"):
        restore(url, saved)
    facts = restore(url, saved, force=True)
    assert names_in(url) == ["a", "b"]
    again = Database(url, clock_us=clock)
    assert again.database_id == facts.database_id != former
    write(again, "d")
    again.close()
    # The backup can be restored again, and every restored database is another.
    assert restore(url, saved, force=True).database_id not in (former, facts.database_id)


def test_a_database_that_is_gone_is_restored_without_force(url: str, db: Database, saved: Path) -> None:
    db.close()
    Path(url.removeprefix("sqlite:///")).unlink()
    restore(url, saved)
    assert names_in(url) == ["a", "b"]


def test_what_a_server_has_is_not_replaced(url: str, db: Database, saved: Path) -> None:
    write(db, "c")
    with pytest.raises(DatabaseLocked, match=str(os.getpid())):
        restore(url, saved, force=True)
    assert len(db.read(lambda tx: tx.records.page("w", RecordFilter()))) == 3


def test_a_backup_of_a_newer_program_is_refused(url: str, db: Database, saved: Path) -> None:
    db.close()
    spoil(saved, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaMismatch, match="newer reallot"):
        restore(url, saved, force=True)
    assert names_in(url) == ["a", "b"]


DIES_WITH_A_LOG = """
import os, sys
from reallot.storage import Database
from reallot.storage.entities import Record, Transition
db = Database(sys.argv[1], clock_us=lambda: 1)
db.write("w", lambda tx: tx.commit_records("w", [Transition(None, Record(f"late-{n}", "lead")) for n in range(500)]))
os._exit(0)
"""


@pytest.mark.parametrize("damaged", [False, True], ids=["whole", "damaged"])
def test_the_log_of_a_killed_server_is_not_read_as_that_of_the_restored_file(url: str, db: Database, saved: Path, damaged: bool) -> None:
    db.close()
    subprocess.run([sys.executable, "-c", DIES_WITH_A_LOG, url], check=True, timeout=60)
    path = Path(url.removeprefix("sqlite:///"))
    assert path.with_name(path.name + "-wal").stat().st_size > 0
    if damaged:
        path.write_bytes(b"overwritten by something else " * 5_000)
    restore(url, saved, force=True)
    assert names_in(url) == ["a", "b"]
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
