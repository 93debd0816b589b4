"""The few places where engines differ: this module is the seam.

Adding an engine means adding its branch here and its row in the conformance suite.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, func
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

COPY_FROM = 50
"""From so many rows on COPY is quicker than single statements on PostgreSQL."""
POSTGRESQL_TIMEOUTS = {
    # Whoever holds a workspace for longer than this is gone or stuck; the unit of work is refused and may be repeated.
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
    "statement_timeout": "300s",
    "timezone": "UTC",
}
_SAFE_TO_REPEAT = frozenset({"40001", "40P01"})
"""Serialisation failure and deadlock: the engine has undone everything."""


def is_sqlite(url: str) -> bool:
    """Tell whether the URL names a SQLite database."""
    return make_url(url).get_backend_name() == "sqlite"


def sqlite_path(url: str) -> str:
    """Return the file of a SQLite URL; in-memory databases have none and are refused by raising ValueError."""
    path = make_url(url).database
    if not path or path == ":memory:":
        raise ValueError(f"{url!r}: a SQLite database must be a file")
    return path


def normal_url(url: str) -> str:
    """Return a URL with the driver that this program uses: `postgres://` and `postgresql://` mean psycopg.

    Raises:
        ValueError: the engine is neither SQLite nor PostgreSQL.
    """
    if url.startswith("postgres://"):
        url = "postgresql" + url.removeprefix("postgres")
    parsed = make_url(url)
    match parsed.get_backend_name():
        case "sqlite":
            return url
        case "postgresql":
            return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    raise ValueError(f"{parsed.render_as_string()!r}: the database must be SQLite or PostgreSQL")


def make_engine(url: str, *, writes: bool, pool_size: int = 4, name: str = "reallot") -> Engine:
    """Return an engine whose transactions begin as its use needs: writers lock at once, readers keep one snapshot.

    `name` is what PostgreSQL shows as the connections' application.
    """
    return _sqlite_engine(url, writes, pool_size) if is_sqlite(url) else _postgresql_engine(url, writes, pool_size, name)


def _postgresql_engine(url: str, writes: bool, pool_size: int, name: str) -> Engine:
    return create_engine(
        normal_url(url),
        connect_args={
            "application_name": name,
            "connect_timeout": 5,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
            "options": " ".join(f"-c {key}={value}" for key, value in POSTGRESQL_TIMEOUTS.items()),
        },
        pool_size=pool_size,
        max_overflow=0 if writes else 16,
        isolation_level="READ COMMITTED" if writes else "REPEATABLE READ",
        execution_options={} if writes else {"postgresql_readonly": True},
    )


def _sqlite_engine(url: str, writes: bool, pool_size: int) -> Engine:
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


def was_disconnected(error: BaseException) -> bool:
    """Tell whether an error says that the connection is gone; the next one is fresh."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def is_safe_to_repeat(error: BaseException) -> bool:
    """Tell whether an error says that the engine undid a transaction that may well succeed when it is tried again."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _SAFE_TO_REPEAT


def has_given_up(connection: Connection) -> bool:
    """Tell whether the engine has undone the whole transaction by itself, as SQLite does when its disk is full."""
    driver: Any = connection.connection.driver_connection
    return connection.dialect.name == "sqlite" and not driver.in_transaction


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    add: Sequence[str] = (),
    keep: Sequence[str] = (),
    latest: Sequence[str] = (),
) -> None:
    """Insert rows or overwrite those with the same key.

    Columns in `add` are added up, those in `keep` stay as stored, and in `latest` the larger value stays.
    """
    if not rows:
        return
    module: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = module.insert(table)
    key = [column.name for column in table.primary_key]
    larger = func.max if connection.dialect.name == "sqlite" else func.greatest
    changes: dict[str, Any] = {name: statement.excluded[name] for name in rows[0] if name not in key and name not in keep}
    changes.update({name: table.c[name] + changes[name] for name in add})
    changes.update({name: larger(table.c[name], changes[name]) for name in latest})
    if changes:
        statement = statement.on_conflict_do_update(index_elements=key, set_=changes)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=key)
    connection.execute(statement, list(rows))


def insert_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert many new rows, given as tuples in the order of `columns`; the other columns get their defaults."""
    if not rows:
        return
    quoted = _quoted(connection, columns)
    target = connection.dialect.identifier_preparer.format_table(table)
    if connection.dialect.name == "postgresql" and len(rows) >= COPY_FROM:
        _copy(connection, f"{target} ({', '.join(quoted)})", rows)
        return
    marks = ", ".join([_mark(connection)] * len(columns))
    connection.exec_driver_sql(f"INSERT INTO {target} ({', '.join(quoted)}) VALUES ({marks})", list(rows))


def update_rows(connection: Connection, table: Table, key: Sequence[str], columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Set `columns` of many rows, given as tuples of these and then of the values of `key`, each of which names one row."""
    if not rows:
        return
    target = connection.dialect.identifier_preparer.format_table(table)
    fresh, place = _quoted(connection, columns), _quoted(connection, key)
    if connection.dialect.name == "postgresql" and len(rows) >= COPY_FROM:
        staged = f"staged_{table.name}"
        every = ", ".join((*fresh, *place))
        connection.exec_driver_sql(f"CREATE TEMP TABLE {staged} ON COMMIT DROP AS SELECT {every} FROM {target} WITH NO DATA")
        _copy(connection, staged, rows)
        changes = ", ".join(f"{name} = s.{name}" for name in fresh)
        same = " AND ".join(f"t.{name} = s.{name}" for name in place)
        connection.exec_driver_sql(f"UPDATE {target} t SET {changes} FROM {staged} s WHERE {same}")
        connection.exec_driver_sql(f"DROP TABLE {staged}")
        return
    mark = _mark(connection)
    changes = ", ".join(f"{name} = {mark}" for name in fresh)
    same = " AND ".join(f"{name} = {mark}" for name in place)
    connection.exec_driver_sql(f"UPDATE {target} SET {changes} WHERE {same}", list(rows))


def delete_rows(connection: Connection, table: Table, key: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Delete the rows in which the columns of `key` have the values of one of the tuples."""
    if not rows:
        return
    target, place = connection.dialect.identifier_preparer.format_table(table), _quoted(connection, key)
    if connection.dialect.name == "postgresql":
        kinds = [table.c[name].type.compile(connection.dialect).split(" COLLATE")[0] for name in key]
        arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
        same = " AND ".join(f"t.{name} = gone.{name}" for name in place)
        statement = f"DELETE FROM {target} t USING unnest({arrays}) AS gone ({', '.join(place)}) WHERE {same}"
        connection.exec_driver_sql(statement, tuple(list(column) for column in zip(*rows, strict=True)))
        return
    same = " AND ".join(f"{name} = ?" for name in place)
    connection.exec_driver_sql(f"DELETE FROM {target} WHERE {same}", list(rows))


def _quoted(connection: Connection, names: Sequence[str]) -> list[str]:
    return [connection.dialect.identifier_preparer.quote(name) for name in names]


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.name == "sqlite" else "%s"


def _copy(connection: Connection, target: str, rows: Sequence[tuple[Any, ...]]) -> None:
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
