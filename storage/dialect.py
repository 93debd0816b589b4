"""The few places where engines differ: this module is the seam.

Adding an engine means adding its branch here and its row in the conformance suite.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.pool import QueuePool

CHUNK = 10_000
"""Most values in one IN list: below the parameter limits of every engine."""


def chunks(values: Sequence[Any], size: int = CHUNK) -> list[Sequence[Any]]:
    """Cut `values` into pieces that fit into one statement."""
    return [values[i : i + size] for i in range(0, len(values), size)]


def is_sqlite(url: str) -> bool:
    """Tell whether the URL names a SQLite database."""
    return make_url(url).get_backend_name() == "sqlite"


def sqlite_path(url: str) -> str:
    """Return the file of a SQLite URL; in-memory databases have none and are refused by raising ValueError."""
    path = make_url(url).database
    if not path or path == ":memory:":
        raise ValueError(f"{url!r}: a SQLite database must be a file")
    return path


def make_engine(url: str, *, writes: bool, pool_size: int = 4) -> Engine:
    """Return an engine whose transactions begin as its use needs: writers lock at once, readers keep one snapshot."""
    if not is_sqlite(url):
        return create_engine(url, pool_size=pool_size, isolation_level="READ COMMITTED" if writes else "REPEATABLE READ")
    engine = create_engine(
        url,
        connect_args={"timeout": 30, "check_same_thread": False},
        poolclass=QueuePool,
        pool_size=pool_size,
        # One connection writes; kept open, it keeps its cache, and no commit pays for the checkpoint of a last close.
        max_overflow=0 if writes else 16,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON", "cache_size=-64000"):
            connection.execute(f"PRAGMA {pragma}")
        if not writes:
            # Only the writer numbers events and keeps loads right: nothing may be written past it.
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that reads and then writes fails when another wrote in between.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    add: Sequence[str] = (),
    keep: Sequence[str] = (),
) -> None:
    """Insert rows or overwrite those with the same key; columns in `add` are added up, those in `keep` stay as stored."""
    if not rows:
        return
    module: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = module.insert(table)
    key = [column.name for column in table.primary_key]
    changes = {
        name: table.c[name] + statement.excluded[name] if name in add else statement.excluded[name]
        for name in rows[0]
        if name not in key and name not in keep
    }
    if changes:
        statement = statement.on_conflict_do_update(index_elements=key, set_=changes)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=key)
    connection.execute(statement, list(rows))
