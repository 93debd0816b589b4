"""The database: snapshots for readers, one writer with group commit, and word of every commit.

Writers hand a function to one thread. It takes what has queued up, runs each function in a savepoint of one transaction, draws
the event numbers last, commits once, and only then answers. A function that raises is undone alone. What is answered is durable.
"""

import logging
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError, OperationalError

from reallot.storage import lock_file, schema
from reallot.storage.contract import Signal
from reallot.storage.dialect import is_sqlite, make_engine, sqlite_path
from reallot.storage.errors import StorageError, StorageUnavailable
from reallot.storage.numbering import EventBuffer
from reallot.storage.tables import meta
from reallot.storage.transaction import ReadTransaction, WriteTransaction

T = TypeVar("T")
_log = logging.getLogger(__name__)
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
            StorageUnavailable: there is no database that can be used.
        """
        self.url = url
        self._clock_us = clock_us
        self._lock_file = None if read_only or not is_sqlite(url) else lock_file.hold(sqlite_path(url))
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
        # Held while something is queued, so that nothing is queued behind the end.
        self._gate = threading.Lock()
        self._closed = False
        self._writer: threading.Thread | None = None
        if not read_only:
            self._writers = make_engine(url, writes=True, pool_size=1)
            self._writer = threading.Thread(target=self._write_loop, name="reallot-write", daemon=True)
            self._writer.start()

    def read(self, function: Callable[[ReadTransaction], T]) -> T:
        """Run `function` on one consistent snapshot, in this thread, and return its result."""
        if self._closed:
            raise _is_closed()
        try:
            with self._readers.connect() as connection, connection.begin():
                return function(ReadTransaction(connection))
        except DBAPIError as error:
            raise StorageUnavailable(str(error.orig)) from error

    def submit_read(self, function: Callable[[ReadTransaction], T]) -> Future[T]:
        """Run `function` on a snapshot in a reader thread."""
        if self._closed:
            raise _is_closed()
        return self._read_pool.submit(self.read, function)

    def write(self, function: Callable[[WriteTransaction], T]) -> T:
        """Run `function` as one unit of work and return its result once it is durable."""
        return self.submit_write(function).result()

    def submit_write(self, function: Callable[[WriteTransaction], T]) -> Future[T]:
        """Queue `function` as one unit of work; the future is done once it is durable or undone."""
        if self._writer is None:
            raise TypeError("this database is open for reading only")
        future: Future[T] = Future()
        with self._gate:
            if self._closed:
                raise _is_closed()
            self._queue.put(_Work(function, future))
        return future

    def on_commit(self, listener: Callable[[frozenset[Signal]], None]) -> None:
        """Have `listener` called after every commit that has something to tell, in the writer thread.

        What a listener raises is logged and goes no further: the commit holds.
        """
        self._listeners.append(listener)

    def close(self) -> None:
        """Finish what is queued and close; closing again does nothing. Later calls raise StorageUnavailable."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        if self._writer is not None:
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
                    result, caught = _carry_out(connection, work, transaction)
                    results.append((work, result, caught))
                    if caught is None:
                        buffers.append(transaction.buffer)
                        signals |= transaction.signals
                for buffer in buffers:
                    signals.update(Signal(workspace, "events") for workspace in buffer.flush(connection))
        except Exception as error:
            failure = error if isinstance(error, StorageError) else StorageUnavailable(str(getattr(error, "orig", error)))
            failure.__cause__ = error
            for work in group:
                work.future.set_exception(failure)
            return
        # Listeners first, so that whoever is answered finds the server already awake to what it did.
        if signals:
            self._announce(frozenset(signals))
        for work, result, caught in results:
            if caught is not None:
                work.future.set_exception(caught)
            else:
                work.future.set_result(result)

    def _announce(self, signals: frozenset[Signal]) -> None:
        for listener in self._listeners:
            try:
                listener(signals)
            except Exception:
                _log.exception("a listener to commits failed")


def _carry_out(connection: Connection, work: _Work, transaction: WriteTransaction) -> tuple[Any, Exception | None]:
    """Run one unit of work in a savepoint; return its result, or why it was undone.

    Raises:
        DBAPIError: the engine has given up the whole transaction, not only this unit.
    """
    savepoint = connection.begin_nested()
    try:
        result = work.function(transaction)
    except Exception as error:
        savepoint.rollback()
        return None, _unavailable(error) if isinstance(error, OperationalError) else error
    savepoint.commit()
    return result, None


def _unavailable(error: DBAPIError) -> StorageUnavailable:
    failure = StorageUnavailable(str(error.orig))
    failure.__cause__ = error
    return failure


def _is_closed() -> StorageUnavailable:
    return StorageUnavailable("the database is closed")
