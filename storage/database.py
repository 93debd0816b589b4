"""The database: snapshots for readers, one writer with group commit, and word of every commit.

Writers hand a function to one thread. It takes what has queued up, runs each function in a savepoint of one transaction, draws
the event numbers last, commits once, and only then answers. A function that raises is undone alone. What is answered is durable.
"""

import fcntl
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError

from reallot.storage import schema
from reallot.storage.contract import Signal
from reallot.storage.dialect import is_sqlite, make_engine, sqlite_path
from reallot.storage.errors import DatabaseLocked, StorageError, StorageUnavailable
from reallot.storage.numbering import EventBuffer
from reallot.storage.tables import meta
from reallot.storage.transaction import ReadTransaction, WriteTransaction

T = TypeVar("T")
GROUP = 64
"""Most units of work in one commit."""


@dataclass(slots=True)
class _Work:
    function: Callable[[WriteTransaction], Any]
    future: Future[Any]


class Database:
    """An open database. Thread-safe; functions handed in run in storage's threads and must not keep the transaction."""

    def __init__(self, url: str, *, clock_us: Callable[[], int], read_only: bool = False, readers: int = 4) -> None:
        """Open the database at `url`; a reader opens no writer and takes no lock.

        Raises:
            SchemaMismatch: the schema is not that of this program.
            DatabaseLocked: another process writes to this SQLite file.
        """
        self.url = url
        self._clock_us = clock_us
        self._lock_file = None if read_only or not is_sqlite(url) else _lock(sqlite_path(url))
        try:
            schema.check(url)
            self._readers = make_engine(url, writes=False, pool_size=readers)
            self.database_id = self._database_id()
        except Exception:
            self._unlock()
            raise
        self._read_pool = ThreadPoolExecutor(max_workers=readers, thread_name_prefix="reallot-read")
        self._listeners: list[Callable[[frozenset[Signal]], None]] = []
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        if not read_only:
            self._writers = make_engine(url, writes=True, pool_size=1)
            self._writer = threading.Thread(target=self._write_loop, name="reallot-write", daemon=True)
            self._writer.start()

    def read(self, function: Callable[[ReadTransaction], T]) -> T:
        """Run `function` on one consistent snapshot, in this thread, and return its result."""
        try:
            with self._readers.connect() as connection, connection.begin():
                return function(ReadTransaction(connection))
        except DBAPIError as error:
            raise StorageUnavailable(str(error.orig)) from error

    def submit_read(self, function: Callable[[ReadTransaction], T]) -> Future[T]:
        """Run `function` on a snapshot in a reader thread."""
        return self._read_pool.submit(self.read, function)

    def write(self, function: Callable[[WriteTransaction], T]) -> T:
        """Run `function` as one unit of work and return its result once it is durable."""
        return self.submit_write(function).result()

    def submit_write(self, function: Callable[[WriteTransaction], T]) -> Future[T]:
        """Queue `function` as one unit of work; the future is done once it is durable or undone."""
        if self._writer is None:
            raise TypeError("this database is open for reading only")
        future: Future[T] = Future()
        self._queue.put(_Work(function, future))
        return future

    def on_commit(self, listener: Callable[[frozenset[Signal]], None]) -> None:
        """Have `listener` called after every commit that has something to tell, in the writer thread."""
        self._listeners.append(listener)

    def close(self) -> None:
        """Finish what is queued and close. Later calls fail."""
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join()
            self._writers.dispose()
        self._read_pool.shutdown()
        self._readers.dispose()
        self._unlock()

    def _database_id(self) -> str:
        with self._readers.connect() as connection:
            return str(connection.execute(select(meta.c.value).where(meta.c.name == "database_id")).scalar_one())

    def _unlock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _write_loop(self) -> None:
        engine = self._writers
        running = True
        while running:
            group: list[_Work] = []
            item = self._queue.get()
            while item is not None:
                if item.future.set_running_or_notify_cancel():
                    group.append(item)
                if len(group) >= GROUP or self._queue.empty():
                    break
                item = self._queue.get()
            running = item is not None
            if group:
                self._commit_group(engine, group)

    def _commit_group(self, engine: Engine, group: list[_Work]) -> None:
        results: list[tuple[_Work, Any, Exception | None]] = []
        signals: set[Signal] = set()
        try:
            with engine.connect() as connection, connection.begin():
                buffers: list[EventBuffer] = []
                for work in group:
                    transaction = WriteTransaction(connection, self._clock_us())
                    try:
                        with connection.begin_nested():
                            results.append((work, work.function(transaction), None))
                    except DBAPIError:
                        raise
                    except Exception as error:
                        results.append((work, None, error))
                    else:
                        buffers.append(transaction.buffer)
                        signals |= transaction.signals
                for buffer in buffers:
                    buffer.flush(connection)
        except Exception as error:
            failure = error if isinstance(error, StorageError) else StorageUnavailable(str(getattr(error, "orig", error)))
            failure.__cause__ = error
            for work in group:
                work.future.set_exception(failure)
            return
        # Listeners first, so that whoever is answered finds the server already awake to what it did.
        if signals:
            for listener in self._listeners:
                listener(frozenset(signals))
        for work, result, caught in results:
            if caught is not None:
                work.future.set_exception(caught)
            else:
                work.future.set_result(result)


def _lock(path: str) -> int:
    """Hold the lock file beside a SQLite database; it is free again when the process ends, however it ends."""
    lock_path = f"{path}.lock"
    descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode().strip()
        os.close(descriptor)
        raise DatabaseLocked(
            f"{path} is in use by another server (process {holder or 'unknown'}): SQLite serves one server a file"
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
