"""This server among others on one PostgreSQL: one thread that tells that it lives, keeps its leases, and hears of others' commits."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from reallot.storage import wakeups
from reallot.storage.contract import Signal
from reallot.storage.database import Database
from reallot.storage.dialect import make_engine
from reallot.storage.leases import BEAT_S, EXPIRES_US, Lease, LeaseTable, application_name

_log = logging.getLogger(__name__)
LEASES = "leases"
"""Topic of the signal that leases have become free."""


class Replica:
    """This server's membership. Thread-safe; `close` gives the leases back, so that others take over at once."""

    def __init__(self, database: Database, address: str, on_change: Callable[[], None]) -> None:
        """Join, and return when the leases that are free are held.

        Args:
            database: The open database, on PostgreSQL; its listeners hear of others' commits.
            address: Where this server is reached, for those who look at the table.
            on_change: Called in this thread whenever the set of leases has changed.

        Raises:
            DBAPIError: the database cannot be reached.
        """
        self._database = database
        self._address = address
        self._on_change = on_change
        self._held: Mapping[str, Lease] = {}
        self._beaten_at = 0.0
        self._stop = threading.Event()
        self._engine: Engine = make_engine(database.url, writes=True, pool_size=1, name=application_name(database.replica_id))
        with self._engine.connect() as connection:
            self._beat(connection)
        self._thread = threading.Thread(target=self._loop, name="reallot-replica", daemon=True)
        self._thread.start()

    def of(self, workspace: str) -> Lease | None:
        """Return the lease of a workspace; None if another server has it, nobody yet, or this one was silent for too long."""
        if time.monotonic() - self._beaten_at > EXPIRES_US / 1e6:
            return None
        return self._held.get(workspace)

    def close(self) -> None:
        """Leave: give the leases back and tell the others."""
        self._stop.set()
        self._thread.join()
        try:
            with self._engine.connect() as connection, connection.begin():
                LeaseTable(connection, self._database.replica_id).leave()
                wakeups.notify(connection, self._database.replica_id, [Signal("", LEASES)])
        except DBAPIError:
            # Others find out by its silence.
            _log.exception("the leases could not be given back")
        self._engine.dispose()

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                with self._engine.connect() as connection:
                    self._listen(connection)
            except Exception as error:
                _log.warning("the connection to the other servers failed: %s", getattr(error, "orig", error))
                self._stop.wait(BEAT_S)

    def _listen(self, connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        with connection.begin():
            connection.exec_driver_sql(f"LISTEN {wakeups.CHANNEL}")
        while not self._stop.is_set():
            self._beat(connection)
            driver.autocommit = True
            until = time.monotonic() + BEAT_S
            while not self._stop.is_set() and (left := until - time.monotonic()) > 0:
                if self._heard([notice.payload for notice in driver.notifies(timeout=min(left, 0.2), stop_after=1)]):
                    break
            driver.autocommit = False

    def _heard(self, payloads: list[str]) -> bool:
        """Pass on what others committed; return whether leases may be there to take."""
        signals = frozenset(signal for payload in payloads for signal in wakeups.signals_in(payload, self._database.replica_id))
        if signals:
            self._database.announce(signals)
        return any(signal.topic == LEASES for signal in signals)

    def _beat(self, connection: Connection) -> None:
        started = time.monotonic()
        with connection.begin():
            table = LeaseTable(connection, self._database.replica_id)
            table.tell_alive(self._address)
            dead = table.bury_the_dead()
            table.take_share()
            held = table.held()
        if dead:
            _log.warning("servers were silent for too long and their connections were ended: %s", ", ".join(dead))
        self._beaten_at = started
        changed, self._held = held != self._held, held
        if changed:
            self._on_change()
