"""The writer: one thread that carries out units of work, many in one commit.

It takes what has queued up, runs each unit in a savepoint of one transaction, draws the event numbers last, commits once, and only
then answers. A unit that raises is undone alone. What is answered is durable.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from reallot.storage.contract import Signal
from reallot.storage.dialect import Savepoint, has_given_up, is_safe_to_repeat, was_disconnected
from reallot.storage.errors import LeaseLost, StorageBusy, StorageError, StorageUnavailable, WorkspaceDeleted, WorkspaceMissing
from reallot.storage.joint import can_join, carry_out
from reallot.storage.leases import Lease, Standing, lock_for_writing
from reallot.storage.transaction import WriteTransaction

T = TypeVar("T")
_log = logging.getLogger(__name__)
GROUP = 64
"""Most units of work in one commit."""
LINGER_S = 0.006
"""How long a group waits for more while writes come side by side. A commit costs much the same for one as for many, and callers who
were answered together ask again one by one: the first of them would have a commit of its own. A lone caller never waits."""
ENOUGH = 16
"""A group of so many does not wait for more."""
ATTEMPTS = 3
"""How often a group is tried that the engine undoes for reasons of its own."""
SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.1, 30.0
"""When whoever finds the queue full is told to come again: after as long as the last unit has waited, within these bounds."""
Announce = Callable[[frozenset[Signal]], None]
Outcome = tuple[Any, Exception | None]
NOTHING_AGAINST = Standing()


@dataclass(slots=True)
class Unit:
    """A unit of work that waits for the writer. `lease` must still hold when it is committed, if it is given."""

    workspace: str
    function: Callable[[WriteTransaction], Any]
    future: Future[Any]
    lease: Lease | None = None
    queued_s: float = field(default_factory=time.monotonic)


class Writer:
    """The one who writes to a database, in this process. Thread-safe.

    Attributes:
        failures: How often the database has refused a unit or a commit, for a reason of its own.
    """

    def __init__(
        self,
        engine: Engine,
        clock_us: Callable[[], int],
        announce: Announce,
        tell_others: Callable[[Connection, frozenset[Signal]], None],
        most_queued: int = 0,
        *,
        makes_workspaces: bool = True,
    ) -> None:
        """Start the thread.

        Args:
            engine: Engine of one connection, whose transactions are those of a writer.
            clock_us: The present instant.
            announce: Called after every commit that has something to tell, in the writer's thread.
            tell_others: Called for the same just before the commit, to tell other servers by the database.
            most_queued: Units without a lease are refused while so many wait; 0 = never.
            makes_workspaces: A unit for a workspace that nobody has made makes it; else it is refused.
        """
        self._engine = engine
        self._clock_us = clock_us
        self._announce = announce
        self._tell_others = tell_others
        self._queue: queue.SimpleQueue[Unit | None] = queue.SimpleQueue()
        self._most_queued = most_queued
        self._makes_workspaces = makes_workspaces
        self._standing: set[str] = set()
        self._waited_s = 0.0
        self.failures = 0
        # Held while something is queued, so that nothing is queued behind the end.
        self._gate = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="reallot-write", daemon=True)
        self._thread.start()

    def submit(self, workspace: str, function: Callable[[WriteTransaction], T], lease: Lease | None = None) -> Future[T]:
        """Queue a unit of work; the future is done once it is durable or undone.

        Raises:
            StorageBusy: too many units wait already; work under a lease, the server's own, is never refused.
            StorageUnavailable: the writer was closed.
        """
        future: Future[T] = Future()
        with self._gate:
            if self._closed:
                raise StorageUnavailable("the database is closed")
            if lease is None and self._most_queued and (waiting := self.waiting) >= self._most_queued:
                raise StorageBusy(waiting, min(max(self._waited_s, SHORTEST_WAIT_S), LONGEST_WAIT_S))
            self._queue.put(Unit(workspace, function, future, lease))
        return future

    @property
    def waiting(self) -> int:
        """Number of units that wait, with those that were given up meanwhile."""
        return self._queue.qsize()

    def close(self) -> None:
        """Finish what is queued and end."""
        with self._gate:
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        self._engine.dispose()

    def _loop(self) -> None:
        running, expected = True, 1
        while running:
            group, running = self._gathered(expected)
            expected = min(2 * len(group), ENOUGH) if len(group) > 1 else 1
            if group:
                self._commit(group)

    def _gathered(self, expected: int) -> tuple[list[Unit], bool]:
        """Return the units that wait, at least one unless all are given up, and whether there will be more.

        As long as there are fewer than `expected`, it lingers for them.
        """
        group: list[Unit] = []
        item = self._queue.get()
        until_s = time.monotonic() + LINGER_S
        while item is not None:
            self._waited_s = time.monotonic() - item.queued_s
            if item.future.set_running_or_notify_cancel():
                group.append(item)
            if len(group) >= GROUP:
                break
            try:
                left_s = until_s - time.monotonic() if len(group) < expected else 0.0
                item = self._queue.get(timeout=left_s) if left_s > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
        return group, item is not None

    def _commit(self, group: list[Unit]) -> None:
        try:
            outcomes, signals = self._attempt(group)
        except Exception as error:
            failure = error if isinstance(error, StorageError) else StorageUnavailable(str(getattr(error, "orig", error)))
            failure.__cause__ = error
            self.failures += 1
            for unit in group:
                unit.future.set_exception(failure)
            return
        # Listeners first, so that whoever is answered finds the server already awake to what it did.
        if signals:
            self._announce(signals)
        for unit, (result, caught) in zip(group, outcomes, strict=True):
            if caught is not None:
                self.failures += isinstance(caught, StorageUnavailable)
                unit.future.set_exception(caught)
            else:
                unit.future.set_result(result)

    def _attempt(self, group: list[Unit]) -> tuple[list[Outcome], frozenset[Signal]]:
        """Commit a group; again, if the engine has undone it for reasons of its own or the connection was gone before it began."""
        for _ in range(ATTEMPTS - 1):
            begun = False
            try:
                with self._engine.connect() as connection, connection.begin():
                    against = self._begin(connection, group)
                    begun = True
                    return self._carry_out(connection, group, against)
            except DBAPIError as error:
                if not (is_safe_to_repeat(error) or (was_disconnected(error) and not begun)):
                    raise
                _log.warning("a commit is tried again: %s", error.orig)
        with self._engine.connect() as connection, connection.begin():
            return self._carry_out(connection, group, self._begin(connection, group))

    def _begin(self, connection: Connection, group: list[Unit]) -> Standing:
        """Return what stands against a group's units.

        On SQLite nobody else writes: a workspace that was found standing stays so until a unit on workspaces themselves, which go by
        no name, is carried out; it is not asked for again till then.
        """
        names = {unit.workspace for unit in group}
        is_alone = connection.dialect.name == "sqlite"
        if is_alone and "" not in names and names <= self._standing:
            return NOTHING_AGAINST
        found = lock_for_writing(connection, names, {unit.lease for unit in group if unit.lease is not None}, makes=self._makes_workspaces)
        # Whether this group is undone or not: what it does to workspaces is asked for by the next.
        self._standing = set() if "" in names else (self._standing | names) - {*found.deleted, *found.missing}
        return found

    def _carry_out(self, connection: Connection, group: list[Unit], against: Standing) -> tuple[list[Outcome], frozenset[Signal]]:
        outcomes: list[Outcome] = []
        done: list[WriteTransaction] = []
        for units in _joined(group):
            fault = self._fault(against, units[0])
            if fault is not None:
                outcomes.extend((None, fault(unit.workspace)) for unit in units)
                continue
            for found, transaction in self._tried(connection, units):
                outcomes.extend(found)
                if found[0][1] is None:
                    done.append(transaction)
        signals = {signal for transaction in done for signal in transaction.signals}
        for transaction in done:
            signals.update(Signal(workspace, "events") for workspace in transaction.buffer.flush(connection))
            signals.update(Signal(workspace, "quiet") for workspace in transaction.buffer.held)
        told = frozenset(signals)
        if told:
            self._tell_others(connection, told)
        return outcomes, told

    def _fault(self, against: Standing, unit: Unit) -> Callable[[str], StorageError] | None:
        """Return why a unit is not carried out, but for the name of its workspace; None if it is."""
        if unit.lease in against.lost:
            return LeaseLost
        if unit.workspace in against.deleted:
            return WorkspaceDeleted
        return WorkspaceMissing if unit.workspace in against.missing and not self._makes_workspaces else None

    def _tried(self, connection: Connection, units: list[Unit]) -> list[tuple[list[Outcome], WriteTransaction]]:
        found, transaction = self._in_savepoint(connection, units)
        if len(units) == 1 or found[0][1] is None:
            return [(found, transaction)]
        # One of them is at fault, and it is not known which: nobody suffers for another's mistake.
        return [self._in_savepoint(connection, [unit]) for unit in units]

    def _in_savepoint(self, connection: Connection, units: list[Unit]) -> tuple[list[Outcome], WriteTransaction]:
        """Carry out units as one; return their results, or for each why all of it was undone.

        Raises:
            DBAPIError: the engine has given up the whole transaction, not only these.
        """
        transaction = WriteTransaction(connection, self._clock_us())
        savepoint = Savepoint(connection, "unit")
        try:
            results = carry_out([unit.function for unit in units], transaction)
        except Exception as error:
            if was_disconnected(error) or is_safe_to_repeat(error) or has_given_up(connection):
                raise
            savepoint.go_back()
            return [(None, _unavailable(error) if isinstance(error, OperationalError) else error) for _ in units], transaction
        savepoint.keep()
        return [(result, None) for result in results], transaction


def _joined(group: list[Unit]) -> list[list[Unit]]:
    """Cut a group into runs of units that become one; most stand alone."""
    runs: list[list[Unit]] = []
    for unit in group:
        if runs and runs[-1][0].workspace == unit.workspace and not unit.lease and can_join([u.function for u in runs[-1]], unit.function):
            runs[-1].append(unit)
        else:
            runs.append([unit])
    return runs


def _unavailable(error: DBAPIError) -> StorageUnavailable:
    failure = StorageUnavailable(str(error.orig))
    failure.__cause__ = error
    return failure
