"""Which server works a workspace: leases with fencing numbers, and the locks that a write begins with.

A workspace's road and schedules are worked by one server at a time. The number of a lease grows with every change of hands, and
every commit of the work checks it; so a holder that was stopped and wakes late commits nothing. On SQLite the lock file beside the
database leaves only one server, which holds everything.

Servers on PostgreSQL tell the database every second that they live, by its own clock. One that has not for `EXPIRES_US` is taken for
dead: first all its connections are ended by the name that they carry, wherever they stand (no timeout frees one stopped inside COPY),
then its leases are free.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, select, text

from reallot.storage.among import among_given
from reallot.storage.dialect import upsert
from reallot.storage.tables import leases, replicas, workspaces

BEAT_S = 1.0
"""How often a server tells that it lives."""
EXPIRES_US = 3_000_000
"""A server that was silent for this long is taken for dead."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work a workspace. `fence` is None where nobody else can have it."""

    workspace: str
    fence: int | None = None


class Leases(Protocol):
    """The leases of this server."""

    def of(self, workspace: str) -> Lease | None:
        """Return the lease of a workspace; None if another server has it, or nobody yet."""
        ...


class SoleServer:
    """The leases of a server that has its database for itself."""

    def of(self, workspace: str) -> Lease | None:
        """Return a lease: everything is held."""
        return Lease(workspace)


def application_name(replica_id: str) -> str:
    """Return the name that a server's connections carry."""
    return f"reallot {replica_id}"


def holder_of(connection: Connection, workspace: str) -> str:
    """Return the address of the server that holds the lease of a workspace, as it has told it; "" = nobody does."""
    statement = (
        select(replicas.c.address)
        .select_from(leases.join(replicas, leases.c.holder == replicas.c.replica_id))
        .where(leases.c.workspace == workspace)
    )
    return connection.execute(statement).scalar() or ""


_STANDING = select(workspaces.c.workspace, workspaces.c.deleted_us).where(among_given(workspaces.c.workspace, "names"))
_LOCKED = _STANDING.order_by(workspaces.c.workspace).with_for_update()


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands against writes: leases that are lost, workspaces that are deleted, and those that nobody has made yet."""

    lost: Collection[Lease] = frozenset()
    deleted: Collection[str] = frozenset()
    missing: Collection[str] = frozenset()


def lock_for_writing(connection: Connection, names: Collection[str], held: Collection[Lease], *, makes: bool = True) -> Standing:
    """Begin a write: on PostgreSQL take the locks of these workspaces, leases first, and make those that are missing if `makes`.

    Locks are taken in one order by all: leases by workspace, then workspaces by name; everything else of a workspace is only
    touched by who holds its row. The name "" is no workspace and has no row. SQLite has locked the whole file already.
    """
    named = sorted(name for name in names if name)
    if connection.dialect.name != "postgresql":
        return _standing(named, connection.execute(_STANDING, {"names": named}))
    fenced = {lease.workspace: lease for lease in held if lease.fence is not None}
    lost: set[Lease] = set()
    if fenced:
        c = leases.c
        statement = select(c.workspace, c.fence).where(c.workspace.in_(fenced)).order_by(c.workspace).with_for_update(read=True)
        stored = {row[0]: row[1] for row in connection.execute(statement)}
        lost = {lease for lease in held if lease.fence is not None and stored.get(lease.workspace) != lease.fence}
    return _standing(named, _lock_workspaces(connection, named, makes), lost)


def _lock_workspaces(connection: Connection, names: list[str], makes: bool) -> Iterable[Any]:
    given = {"names": names}
    found = connection.execute(_LOCKED, given).all()
    missing = set(names) - {row.workspace for row in found}
    if missing and makes:
        upsert(connection, workspaces, [{"workspace": name} for name in sorted(missing)])
        found = connection.execute(_LOCKED, given).all()
    return found


def _standing(names: list[str], rows: Iterable[Any], lost: Collection[Lease] = frozenset()) -> Standing:
    found = {row.workspace: row.deleted_us for row in rows}
    deleted = {name for name, deleted_us in found.items() if deleted_us is not None}
    return Standing(lost, deleted, {name for name in names if name not in found})


class LeaseTable:
    """What a server on PostgreSQL says and asks about leases, within one transaction."""

    def __init__(self, connection: Connection, replica_id: str) -> None:
        self._connection = connection
        self._me = replica_id

    def tell_alive(self, address: str) -> None:
        """Note that this server lives."""
        self._execute(
            """INSERT INTO replicas (replica_id, address, renewed_us) VALUES (:me, :address, :now_us)
            ON CONFLICT (replica_id) DO UPDATE SET renewed_us = excluded.renewed_us, address = excluded.address""",
            address=address,
        )

    def bury_the_dead(self) -> list[str]:
        """End all connections of servers that are silent, free their leases, and return their ids."""
        rows = self._execute(
            """DELETE FROM replicas WHERE replica_id IN (
                SELECT replica_id FROM replicas WHERE replica_id <> :me AND renewed_us < :now_us - :expires FOR UPDATE SKIP LOCKED
            ) RETURNING replica_id""",
            expires=EXPIRES_US,
        )
        dead = sorted(row[0] for row in rows)
        if dead:
            names = [application_name(replica_id) for replica_id in dead]
            # A copy of a database may stand beside it, and name servers that live.
            self._execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = ANY(:names) AND datname = current_database()""",
                names=names,
            )
            self._execute("UPDATE leases SET holder = '' WHERE holder = ANY(:dead)", dead=dead)
        return dead

    def take_share(self) -> None:
        """Take free leases, up to this server's share of the workspaces."""
        self._execute(
            """INSERT INTO leases (workspace, holder, fence)
            SELECT workspace, '', 0 FROM workspaces w WHERE NOT EXISTS (SELECT 1 FROM leases l WHERE l.workspace = w.workspace)
            ON CONFLICT DO NOTHING"""
        )
        self._execute(
            """UPDATE leases SET holder = :me, fence = fence + 1 WHERE workspace IN (
                SELECT workspace FROM leases
                WHERE NOT EXISTS (SELECT 1 FROM replicas WHERE replica_id = leases.holder)
                ORDER BY workspace
                LIMIT GREATEST(0, (
                    SELECT ceil(count(*)::numeric / (SELECT count(*) FROM replicas)) FROM leases
                ) - (SELECT count(*) FROM leases WHERE holder = :me))
                FOR UPDATE SKIP LOCKED
            )"""
        )

    def held(self) -> Mapping[str, Lease]:
        """Return this server's leases by workspace."""
        rows = self._execute("SELECT workspace, fence FROM leases WHERE holder = :me")
        return {workspace: Lease(workspace, fence) for workspace, fence in rows}

    def leave(self) -> None:
        """Give all leases back, and be no server any more."""
        self._execute("UPDATE leases SET holder = '' WHERE holder = :me")
        self._execute("DELETE FROM replicas WHERE replica_id = :me")

    def _execute(self, statement: str, **values: object) -> list[tuple[str, int]]:
        result = self._connection.execute(text(statement.replace(":now_us", _NOW_US)), {"me": self._me, **values})
        return [tuple(row) for row in result] if result.returns_rows else []


# The clock of the database, in place of ":now_us".
_NOW_US = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
