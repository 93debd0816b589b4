"""The database: snapshots for readers, one writer in this process, and word of every commit."""

import logging
import os
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from reallot.storage import lock_file, schema, wakeups
from reallot.storage.contract import Signal
from reallot.storage.dialect import is_sqlite, make_engine, normal_url, sqlite_path, was_disconnected
from reallot.storage.errors import StorageUnavailable
from reallot.storage.leases import Lease, application_name
from reallot.storage.sqlite_file import guarded
from reallot.storage.tables import meta
from reallot.storage.transaction import ReadTransaction, WriteTransaction
from reallot.storage.writer import Writer

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Database:
    """An open database. Thread-safe; functions handed in run in storage's threads and must not keep the transaction.

    Attributes:
        url: URL with the driver that is used.
        replica_id: Name of this server among those that share the database.
        database_id: Name of the database's content, which cursors are bound to.
    """

    def __init__(
        self,
        url: str,
        *,
        clock_us: Callable[[], int],
        read_only: bool = False,
        readers: int = 4,
        most_queued: int = 0,
        makes_workspaces: bool = True,
    ) -> None:
        """Open the database at `url`; a reader opens no writer and takes no lock.

        Args:
            url: The database.
            clock_us: The present instant.
            read_only: Nothing is written by it.
            readers: Connections to read with.
            most_queued: Most callers' writes that wait; 0 = no bound.
            makes_workspaces: The first write to a workspace makes it.

        Raises:
            SchemaMismatch: the schema is not that of this program.
            DatabaseLocked: another process writes to this SQLite file.
            StorageUnavailable: there is no database that can be used.
            ValueError: the URL names another engine.
        """
        self.url = normal_url(url)
        self.replica_id = uuid.uuid4().hex
        self.is_shared = not is_sqlite(self.url)
        self._lock_file = None if read_only or self.is_shared else lock_file.hold(sqlite_path(self.url))
        try:
            schema.check(self.url)
            self._readers = guarded(make_engine(self.url, writes=False, pool_size=readers, name=self._name), self.url)
            self.database_id = self._database_id()
        except Exception:
            self._unlock()
            raise
        self._read_pool = ThreadPoolExecutor(max_workers=readers, thread_name_prefix="reallot-read")
        self._listeners: list[Callable[[frozenset[Signal]], None]] = []
        self._closed = False
        self._writer: Writer | None = None
        if not read_only:
            engine = guarded(make_engine(self.url, writes=True, pool_size=1, name=self._name), self.url)
            self._writer = Writer(engine, clock_us, self.announce, self._tell_others, most_queued, makes_workspaces=makes_workspaces)

    def read(self, function: Callable[[ReadTransaction], T]) -> T:
        """Run `function` on one consistent snapshot, in this thread, and return its result.

        It is run again if the connection turns out to be gone, so it must have no effect but its result.
        """
        if self._closed:
            raise StorageUnavailable("the database is closed")
        try:
            try:
                return self._read(function)
            except DBAPIError as error:
                if not was_disconnected(error):
                    raise
                return self._read(function)
        except DBAPIError as error:
            raise StorageUnavailable(str(error.orig)) from error

    def _read(self, function: Callable[[ReadTransaction], T]) -> T:
        with self._readers.connect() as connection, connection.begin():
            return function(ReadTransaction(connection))

    def submit_read(self, function: Callable[[ReadTransaction], T]) -> Future[T]:
        """Run `function` on a snapshot in a reader thread."""
        if self._closed:
            raise StorageUnavailable("the database is closed")
        return self._read_pool.submit(self.read, function)

    def write(self, workspace: str, function: Callable[[WriteTransaction], T], lease: Lease | None = None) -> T:
        """Run `function` as one unit of work on a workspace and return its result once it is durable."""
        return self.submit_write(workspace, function, lease).result()

    def submit_write(self, workspace: str, function: Callable[[WriteTransaction], T], lease: Lease | None = None) -> Future[T]:
        """Queue `function` as one unit of work; the future is done once it is durable or undone.

        Args:
            workspace: The workspace that it writes to, and no other.
            function: Writes; it may be run more than once, of which the last counts.
            lease: If it is lost, nothing is written and the future raises LeaseLost.

        Raises:
            StorageBusy: too many writes wait already, and this one has no lease.
            StorageUnavailable: the database was closed.
        """
        if self._writer is None:
            raise TypeError("this database is open for reading only")
        return self._writer.submit(workspace, function, lease)

    @property
    def waiting_writes(self) -> int:
        """Number of units of work that wait for the writer, with those that were given up meanwhile."""
        return self._writer.waiting if self._writer is not None else 0

    @property
    def write_failures(self) -> int:
        """How often the database has refused a write so far, for a reason of its own."""
        return self._writer.failures if self._writer is not None else 0

    def on_commit(self, listener: Callable[[frozenset[Signal]], None]) -> None:
        """Have `listener` called after every commit that has something to tell, in a thread of storage.

        What a listener raises is logged and goes no further: the commit holds.
        """
        self._listeners.append(listener)

    def announce(self, signals: frozenset[Signal]) -> None:
        """Tell the listeners, of a commit here or of another server's."""
        for listener in self._listeners:
            try:
                listener(signals)
            except Exception:
                _log.exception("a listener to commits failed")

    def close(self) -> None:
        """Finish what is queued and close; closing again does nothing. Later calls raise StorageUnavailable."""
        if self._closed:
            return
        self._closed = True
        if self._writer is not None:
            self._writer.close()
        self._read_pool.shutdown()
        self._readers.dispose()
        self._unlock()

    @property
    def _name(self) -> str:
        return application_name(self.replica_id)

    def _tell_others(self, connection: Connection, signals: frozenset[Signal]) -> None:
        if self.is_shared:
            wakeups.notify(connection, self.replica_id, signals)

    def _database_id(self) -> str:
        with self._readers.connect() as connection:
            return str(connection.execute(select(meta.c.value).where(meta.c.name == "database_id")).scalar_one())

    def _unlock(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None
