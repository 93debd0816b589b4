"""The few places where engines differ: this module is the seam.

Adding an engine means adding its branch here and its row in the conformance suite.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Engine, Select, Table, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

BLOCK = 100
"""Rows whose values stand in one statement on SQLite: more bring nothing, and a statement has at most 32,766 values."""
COPY_FROM = 50
"""From so many rows on COPY is quicker than single statements on PostgreSQL."""
POSTGRESQL_TIMEOUTS = {
    # Whoever holds a workspace for longer than this is gone or stuck; the unit of work is refused and may be repeated.
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
    "statement_timeout": "300s",
    "timezone": "UTC",
}
_JOINS = ("enable_hashjoin", "enable_mergejoin", "enable_material")
POSTGRESQL_BY_KEY = "SELECT " + ", ".join(f"set_config('{name}', 'off', true)" for name in _JOINS)
"""Has rows looked up by key from now on, one by one, in this transaction of PostgreSQL. Where statistics are missing, or the table is not
a hundred times as long as what is named, it would rather read the whole table for every piece of a run."""
_AS_USUAL = "SELECT set_config(name, reset_val, true) FROM pg_settings WHERE name IN ({})".format(", ".join(f"'{name}'" for name in _JOINS))  # nosec B608 # names of our own
NOTHING: Mapping[str, Any] = MappingProxyType({})
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
        hide_parameters=True,
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
        # What is written must not get into logs by way of errors.
        hide_parameters=True,
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
    """Insert rows or overwrite those with the same key; all have the same columns.

    Columns in `add` are added up, those in `keep` stay as stored, and in `latest` the larger value stays.
    """
    if rows:
        into, conflict = _upsert_clauses(connection, table, list(rows[0]), add, keep, latest)
        marks = ", ".join([_mark(connection)] * len(rows[0]))
        connection.exec_driver_sql(f"{into} VALUES ({marks}) {conflict}", [tuple(row.values()) for row in rows])


def upsert_rows(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    *,
    add: Sequence[str] = (),
    latest: Sequence[str] = (),
) -> None:
    """Do the same with many rows, given as tuples in the order of `columns`, of which no two have the same key."""
    if not rows:
        return
    into, conflict = _upsert_clauses(connection, table, columns, add, (), latest)
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"{into} SELECT * FROM unnest({_arrays(connection, table, columns)}) {conflict}", _columns(rows))  # nosec B608 # names of our own
        return
    left, _ = _in_blocks(connection, f"{into} VALUES {{}} {conflict}", rows)
    if left:
        connection.exec_driver_sql(f"{into} VALUES ({', '.join('?' * len(columns))}) {conflict}", list(left))


def _upsert_clauses(
    connection: Connection, table: Table, columns: Sequence[str], add: Sequence[str], keep: Sequence[str], latest: Sequence[str]
) -> tuple[str, str]:
    """Return what stands before the values and after them."""
    target = connection.dialect.identifier_preparer.format_table(table)
    key = [column.name for column in table.primary_key]
    larger = "max" if connection.dialect.name == "sqlite" else "greatest"
    changes = []
    for name, quoted in zip(columns, _quoted(connection, columns), strict=True):
        stored, fresh = f"{target}.{quoted}", f"excluded.{quoted}"
        if name in add:
            changes.append(f"{quoted} = {stored} + {fresh}")
        elif name in latest:
            changes.append(f"{quoted} = {larger}({stored}, {fresh})")
        elif name not in key and name not in keep:
            changes.append(f"{quoted} = {fresh}")
    action = f"UPDATE SET {', '.join(changes)}" if changes else "NOTHING"  # nosec B608 # names of our own
    into = f"INSERT INTO {target} ({', '.join(_quoted(connection, columns))})"
    return into, f"ON CONFLICT ({', '.join(_quoted(connection, key))}) DO {action}"


class Savepoint:
    """A point in a transaction to which it can go back, at a fifth of the cost of SQLAlchemy's. They may be nested, by other names."""

    def __init__(self, connection: Connection, name: str) -> None:
        """Set it."""
        self._connection = connection
        self._name = name
        connection.exec_driver_sql(f"SAVEPOINT {name}")

    def keep(self) -> None:
        """Forget the point, and keep what came after it."""
        self._connection.exec_driver_sql(f"RELEASE SAVEPOINT {self._name}")

    def go_back(self) -> None:
        """Undo what came after it."""
        self._connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {self._name}")
        self.keep()


def fetched(connection: Connection, statement: Select[Any], given: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """Return the rows as the driver gives them: quicker for many, and the same for texts and whole numbers, not for flags.

    `given` are the parameters of a statement that has some.
    """
    with connection.execute(statement, given) as result:
        if result.cursor is None:
            raise AssertionError("a statement that selects has a cursor")
        return list(result.cursor.fetchall())


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], same: Mapping[str, Any] = NOTHING
) -> None:
    """Insert many new rows, given as tuples in the order of `columns`.

    The columns in `same` have one value in all of them, those that are not named their defaults.
    """
    if not rows:
        return
    target, names = connection.dialect.identifier_preparer.format_table(table), _quoted(connection, (*same, *columns))
    into, shared = f"INSERT INTO {target} ({', '.join(names)})", tuple(same.values())
    if connection.dialect.name == "postgresql" and len(rows) >= COPY_FROM:
        _copy(connection, f"{target} ({', '.join(names)})", rows, shared)
        return
    chosen = ", ".join(["?"] * len(same) + [f"column{number}" for number in range(1, len(columns) + 1)])
    several = f"{into} SELECT {chosen} FROM (VALUES {{}})" if same else f"{into} VALUES {{}}"  # nosec B608 # names of our own
    left, _ = _in_blocks(connection, several, rows, shared)
    if left:
        connection.exec_driver_sql(f"{into} VALUES ({', '.join([_mark(connection)] * len(names))})", [(*shared, *row) for row in left])


def update_rows(
    connection: Connection,
    table: Table,
    key: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    same: Mapping[str, Any] = NOTHING,
    within: Mapping[str, Any] = NOTHING,
) -> int:
    """Set `columns` of many rows, given as tuples of these and then of the values of `key`, each of which names one row at most.

    The columns in `same` are set to one value in all of them; the rows are among those in which the columns in `within` have these values.
    Returns how many rows there were.
    """
    updated = 0
    target = connection.dialect.identifier_preparer.format_table(table)
    mark, shared = _mark(connection), (*same.values(), *within.values())
    fresh, place = _quoted(connection, columns), _quoted(connection, key)
    alike = [f"{name} = {mark}" for name in _quoted(connection, list(same))]
    among = [f"{name} = {mark}" for name in _quoted(connection, list(within))]
    # So SQLite calls the columns of listed values.
    changes = ", ".join([*alike, *(f"{name} = s.column{number}" for number, name in enumerate(fresh, 1))])
    which = " AND ".join(
        [*(f"t.{name} = s.column{number}" for number, name in enumerate(place, len(fresh) + 1)), *(f"t.{a}" for a in among)]
    )
    if connection.dialect.name == "sqlite":
        several = f"UPDATE {target} AS t SET {changes} FROM (VALUES {{}}) AS s WHERE {which}"  # nosec B608 # names of our own
        left, updated = _in_blocks(connection, several, rows, tuple(same.values()), tuple(within.values()))
    elif len(rows) >= COPY_FROM:
        _stage(connection, target, (*fresh, *place), rows)
        connection.exec_driver_sql(POSTGRESQL_BY_KEY)
        left, updated = (), connection.exec_driver_sql(f"UPDATE {target} t SET {changes} FROM staged s WHERE {which}", shared).rowcount  # nosec B608 # names of our own
        connection.exec_driver_sql(_AS_USUAL)
        connection.exec_driver_sql("DROP TABLE staged")
    else:
        left = rows
    if left:
        changes = ", ".join([*(f"{name} = {mark}" for name in fresh), *alike])
        which = " AND ".join([*among, *(f"{name} = {mark}" for name in place)])
        cut, statement = len(columns), f"UPDATE {target} SET {changes} WHERE {which}"  # nosec B608 # names of our own
        updated += connection.exec_driver_sql(statement, [(*row[:cut], *shared, *row[cut:]) for row in left]).rowcount
    return updated


def _stage(connection: Connection, target: str, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Copy rows to a table of this transaction, whose columns have the types of those named, and the names column1, column2 …"""
    columns = ", ".join(f"{name} AS column{number}" for number, name in enumerate(names, 1))
    connection.exec_driver_sql(f"CREATE TEMP TABLE staged ON COMMIT DROP AS SELECT {columns} FROM {target} WITH NO DATA")  # nosec B608 # names of our own
    _copy(connection, "staged", rows)


def delete_rows(connection: Connection, table: Table, key: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Delete the rows in which the columns of `key` have the values of one of the tuples."""
    if not rows:
        return
    target, place = connection.dialect.identifier_preparer.format_table(table), _quoted(connection, key)
    if connection.dialect.name == "postgresql":
        same = " AND ".join(f"t.{name} = gone.{name}" for name in place)
        gone = f"unnest({_arrays(connection, table, key)}) AS gone ({', '.join(place)})"
        connection.exec_driver_sql(f"DELETE FROM {target} t USING {gone} WHERE {same}", _columns(rows))  # nosec B608 # names of our own
        return
    same = " AND ".join(f"{name} = ?" for name in place)
    connection.exec_driver_sql(f"DELETE FROM {target} WHERE {same}", list(rows))  # nosec B608 # names of our own


def _in_blocks(
    connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]], first: tuple[Any, ...] = (), last: tuple[Any, ...] = ()
) -> tuple[Sequence[tuple[Any, ...]], int]:
    """Carry out a statement with the values of many rows at once in its braces, on SQLite.

    Returns the rows that fill no block, and how many rows of the table the others have changed.

    `first` and `last` are the values for the marks before and after the braces. The driver lets other threads run at every
    statement, and waits for them to let it go on: a hundred times less so.
    """
    if connection.dialect.name != "sqlite" or len(rows) < BLOCK:
        return rows, 0
    text, changed = statement.format(", ".join([f"({', '.join('?' * len(rows[0]))})"] * BLOCK)), 0
    whole = len(rows) - len(rows) % BLOCK
    for start in range(0, whole, BLOCK):
        changed += connection.exec_driver_sql(text, (*first, *chain.from_iterable(rows[start : start + BLOCK]), *last)).rowcount
    return rows[whole:], changed


def _quoted(connection: Connection, names: Sequence[str]) -> list[str]:
    return [connection.dialect.identifier_preparer.quote(name) for name in names]


def _arrays(connection: Connection, table: Table, names: Sequence[str]) -> str:
    """Return the marks of one array for each column, on PostgreSQL."""
    kinds = [table.c[name].type.compile(connection.dialect).split(" COLLATE")[0] for name in names]
    return ", ".join(f"%s::{kind}[]" for kind in kinds)


def _columns(rows: Sequence[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True))


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.name == "sqlite" else "%s"


def _copy(connection: Connection, target: str, rows: Sequence[tuple[Any, ...]], first: tuple[Any, ...] = ()) -> None:
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN") as copy:
        for row in rows:
            copy.write_row((*first, *row))
