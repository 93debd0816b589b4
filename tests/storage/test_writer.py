"""The writer: units of work share a commit, fail alone, and a reader never sees a number before all smaller ones."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from reallot.storage import Database, ReadTransaction, WriteTransaction
from reallot.storage.contract import Signal
from reallot.storage.entities import EventDraft, Record, Transition

WRITERS, WRITES = 6, 60


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    made = Database(url, clock_us=lambda: 1)
    yield made
    made.close()


def event(name: str) -> EventDraft:
    return EventDraft("CREATED", name, "lead", 1)


def create(tx: WriteTransaction, name: str) -> None:
    tx.commit_records("w", [Transition(None, Record(name, "lead"), event=event(name))])


def numbers(tx: ReadTransaction) -> list[int]:
    return [e.number for e in tx.events.after("w", 0, 100_000)]


def test_a_failing_unit_of_work_is_undone_alone(db: Database) -> None:
    def fails(tx: WriteTransaction) -> None:
        create(tx, "bad")
        raise RuntimeError("no")

    futures = [db.submit_write("w", lambda tx, n=n: create(tx, f"good-{n}")) for n in range(3)]
    failed = db.submit_write("w", fails)
    futures += [db.submit_write("w", lambda tx, n=n: create(tx, f"more-{n}")) for n in range(3)]
    with pytest.raises(RuntimeError, match="no"):
        failed.result()
    for future in futures:
        future.result()
    assert db.read(lambda tx: len(tx.records.get("w", ["bad", "good-0", "more-2"]))) == 2
    assert db.read(numbers) == [1, 2, 3, 4, 5, 6]


def test_commits_are_announced_once_they_are_visible(db: Database) -> None:
    heard: list[tuple[frozenset[Signal], int]] = []
    db.on_commit(lambda signals: heard.append((signals, db.read(lambda tx: tx.events.last("w")))))
    db.write("w", lambda tx: create(tx, "a"))
    assert heard == [(frozenset({Signal("w", "events")}), 1)]


def test_numbers_are_commit_order_for_whoever_reads_along(db: Database) -> None:
    seen: list[int] = []
    done = threading.Event()

    def tail() -> None:
        while not done.is_set() or len(seen) < WRITERS * WRITES:
            fresh = db.read(lambda tx: [e.number for e in tx.events.after("w", seen[-1] if seen else 0, 1_000)])
            seen.extend(fresh)

    def write(part: int) -> None:
        for n in range(WRITES):
            db.write("w", lambda tx, n=n: create(tx, f"{part}-{n}"))

    reader = threading.Thread(target=tail)
    writers = [threading.Thread(target=write, args=(part,)) for part in range(WRITERS)]
    reader.start()
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert seen == list(range(1, WRITERS * WRITES + 1))


PROGRAM = """
import sys
from reallot.storage import Database
from reallot.storage.entities import EventDraft, Record, Transition
db = Database(sys.argv[1], clock_us=lambda: 1)
n = 0
while True:
    names = [f"{n}-{i}" for i in range(5)]
    made = [Transition(None, Record(x, "lead"), event=EventDraft("CREATED", x, "lead", 1)) for x in names]
    db.write("w", lambda tx: tx.commit_records("w", made))
    print(n, flush=True)
    n += 1
"""


@pytest.mark.parametrize("answers", [1, 7, 25])
def test_a_killed_writer_leaves_all_or_nothing_of_each_unit(url: str, answers: int) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(answers):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().splitlines()
    answered = answers + len(rest)
    db = Database(url, clock_us=lambda: 1)
    found = db.read(numbers)
    db.close()
    assert len(found) % 5 == 0
    assert answered * 5 <= len(found) <= (answered + 1) * 5
    assert found == list(range(1, len(found) + 1))
