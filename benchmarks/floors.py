"""The floor of a write: the bare driver writes what the program wrote, and nothing else.

What was written is read back afterwards: the rows that differ between a copy of the database from before and the database. The bare
statements then make one of the other, in transactions of the same size, with every row ready in memory. Rows that were written more
than once in between count once, so the floor is lower than what any program of this design could reach.
"""

import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Table, create_engine, select
from sqlalchemy.engine import make_url

from reallot.storage.dialect import POSTGRESQL_BY_KEY, is_sqlite, sqlite_path
from reallot.storage.tables import metadata

PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON", "cache_size=-64000")
"""Those of the storage package."""
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Written:
    """What was written to one table.

    Attributes:
        table: Its name.
        columns: All of its columns.
        inserted: Whole rows.
        key: Columns of its primary key.
        changed: Columns in which any row changed.
        updated: Values of `changed`, then of `key`.
        deleted: Values of `key`.
    """

    table: str
    columns: tuple[str, ...]
    inserted: list[Row]
    key: tuple[str, ...]
    changed: tuple[str, ...]
    updated: list[Row]
    deleted: list[Row]

    @property
    def rows(self) -> int:
        """Number of rows written."""
        return len(self.inserted) + len(self.updated) + len(self.deleted)

    def part(self, number: int, of: int) -> "Written":
        """Return one of as many equal parts, from 0."""
        inserted, updated, deleted = (
            rows[len(rows) * number // of : len(rows) * (number + 1) // of] for rows in (self.inserted, self.updated, self.deleted)
        )
        return Written(self.table, self.columns, inserted, self.key, self.changed, updated, deleted)


def written_between(before: str, after: str, only: Callable[[Table], bool] = lambda _: True) -> list[Written]:
    """Return what makes of the database at one URL that at another, table by table; untouched ones are left out."""
    found = [_difference(table, _stored(before, table), _stored(after, table)) for table in metadata.sorted_tables if only(table)]
    return [written for written in found if written.rows]


def _stored(url: str, table: Table) -> dict[Row, Row]:
    engine = create_engine(url)
    key = [list(table.c).index(column) for column in table.primary_key]
    try:
        with engine.connect() as connection:
            rows = connection.execute(select(table).order_by(*table.primary_key))
            return {tuple(row[place] for place in key): tuple(row) for row in rows}
    finally:
        engine.dispose()


def _difference(table: Table, before: dict[Row, Row], after: dict[Row, Row]) -> Written:
    columns = tuple(column.name for column in table.c)
    key = tuple(column.name for column in table.primary_key)
    both = [(place, row) for place, row in after.items() if place in before and before[place] != row]
    changed = sorted({index for place, row in both for index in range(len(columns)) if before[place][index] != row[index]})
    return Written(
        table.name,
        columns,
        [row for place, row in after.items() if place not in before],
        key,
        tuple(columns[index] for index in changed),
        [(*(row[index] for index in changed), *place) for place, row in both],
        [place for place in before if place not in after],
    )


def bare_seconds(url: str, written: Sequence[Written], rows_at_once: int) -> float:
    """Write all of it with the bare driver, about `rows_at_once` rows of the longest table in a transaction; return the seconds."""
    count = max(math.ceil(max(len(w.inserted) + len(w.updated) for w in written) / rows_at_once), 1)
    parts = [[w.part(number, count) for w in written] for number in range(count)]
    return _sqlite_seconds(sqlite_path(url), parts) if is_sqlite(url) else _postgresql_seconds(url, parts)


def _sqlite_seconds(path: str, parts: Sequence[Sequence[Written]]) -> float:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        started = time.perf_counter()
        for part in parts:
            connection.execute("BEGIN IMMEDIATE")
            for statement, rows in _statements(part, "?"):
                connection.executemany(statement, rows)
            connection.execute("COMMIT")
        return time.perf_counter() - started


def _statements(part: Sequence[Written], mark: str) -> Iterator[tuple[str, list[Row]]]:
    for w in part:
        target, place = _quoted(w.table), " AND ".join(f"{_quoted(name)} = {mark}" for name in w.key)
        if w.updated:
            changes = ", ".join(f"{_quoted(name)} = {mark}" for name in w.changed)
            yield f"UPDATE {target} SET {changes} WHERE {place}", w.updated
        if w.deleted:
            yield f"DELETE FROM {target} WHERE {place}", w.deleted
        if w.inserted:
            names, marks = ", ".join(map(_quoted, w.columns)), ", ".join([mark] * len(w.columns))
            yield f"INSERT INTO {target} ({names}) VALUES ({marks})", w.inserted


def _postgresql_seconds(url: str, parts: Sequence[Sequence[Written]]) -> float:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        started = time.perf_counter()
        for part in parts:
            with connection.transaction(), connection.cursor() as cursor:
                _execute(cursor, POSTGRESQL_BY_KEY)
                for w in part:
                    _write_postgresql(cursor, w)
        return time.perf_counter() - started


def _write_postgresql(cursor: psycopg.Cursor[Any], w: Written) -> None:
    target, place = _quoted(w.table), " AND ".join(f"t.{_quoted(name)} = s.{_quoted(name)}" for name in w.key)
    if w.updated:
        staged = ", ".join(map(_quoted, (*w.changed, *w.key)))
        changes = ", ".join(f"{_quoted(name)} = s.{_quoted(name)}" for name in w.changed)
        _execute(cursor, f"CREATE TEMP TABLE staged ON COMMIT DROP AS SELECT {staged} FROM {target} WITH NO DATA")
        _copy(cursor, "staged", w.updated)
        _execute(cursor, f"UPDATE {target} t SET {changes} FROM staged s WHERE {place}")
        _execute(cursor, "DROP TABLE staged")
    if w.deleted:
        statement = f"DELETE FROM {target} WHERE " + " AND ".join(f"{_quoted(name)} = %s" for name in w.key)
        cursor.executemany(statement.encode(), w.deleted)
    if w.inserted:
        _copy(cursor, f"{target} ({', '.join(map(_quoted, w.columns))})", w.inserted)


def _execute(cursor: psycopg.Cursor[Any], statement: str) -> None:
    cursor.execute(statement.encode())


def _copy(cursor: psycopg.Cursor[Any], target: str, rows: Sequence[Row]) -> None:
    with cursor.copy(f"COPY {target} FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)


def _quoted(name: str) -> str:
    return f'"{name}"'
