"""Workspaces as a whole: made, named, given out, removed, within one transaction.

A workspace comes into being with the first write to it, or is made before. One that is removed leaves a row without content behind: it
takes no writes until it is made again, and the numbers of its log go on, so that no cursor from before is ever taken for one of the new.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, or_, select, text, update
from sqlalchemy.exc import DataError, IntegrityError

from reallot.storage.dialect import upsert
from reallot.storage.entities import Json
from reallot.storage.errors import AlreadyExists, NotFound, WorkspaceDeleted
from reallot.storage.rows import from_json, to_json
from reallot.storage.tables import audit, config, erasures, leases, metadata, workspaces

_KEPT = frozenset({workspaces.name, audit.name, leases.name, erasures.name})
"""What of a removed workspace stays: that it was, what was done in it without what that was about, and who works it. What is being
removed is no content either."""
CONTENT: tuple[Table, ...] = tuple(
    sorted((t for t in metadata.sorted_tables if "workspace" in t.c and t.name not in _KEPT), key=lambda t: t.name)
)
"""The tables of what is in workspaces, in the order in which they are emptied."""
_RESTORED = {table.name: table for table in (*CONTENT, audit)}
_COUNTERS = ("event_number", "turn_number", "pending_number", "config_version")
_BLANK = {"before": "", "after": "", "remark": "", "on_behalf_of": ""}


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace.

    Attributes:
        workspace: Its id.
        display_name: Its name for people; "" = the id.
        last_event: Number of the last event or notice.
        deleted_us: When it was removed; None = it is there.
    """

    workspace: str
    display_name: str
    last_event: int
    deleted_us: int | None


class WorkspaceRepository:
    """All workspaces. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, workspace: str) -> Workspace | None:
        """Return a workspace, also one that was removed; None if there never was one."""
        row = self._connection.execute(select(workspaces).where(workspaces.c.workspace == workspace)).first()
        return _to_workspace(row) if row is not None else None

    def known(self, workspace: str) -> Workspace:
        """Return a workspace, also one that was removed.

        Raises:
            NotFound: there never was one.
        """
        found = self.get(workspace)
        if found is None:
            raise NotFound("workspace", workspace)
        return found

    def present(self, workspace: str) -> Workspace:
        """Return a workspace that is there.

        Raises:
            NotFound: it is not.
        """
        found = self.get(workspace)
        if found is None or found.deleted_us is not None:
            raise NotFound("workspace", workspace)
        return found

    def page(self, after: str, limit: int) -> list[Workspace]:
        """Return up to `limit` workspaces that are there and have a greater id, by id."""
        c = workspaces.c
        statement = select(workspaces).where(c.workspace > after, c.workspace != "", c.deleted_us.is_(None))
        return [_to_workspace(row) for row in self._connection.execute(statement.order_by(c.workspace).limit(limit))]

    def create(self, workspace: str, display_name: str) -> Workspace:
        """Make a workspace.

        Raises:
            AlreadyExists: there is one.
            WorkspaceDeleted: there was one, and what was in it is not removed yet.
        """
        found = self.get(workspace)
        if found is not None and found.deleted_us is None:
            raise AlreadyExists(f"the workspace {workspace!r} exists")
        if found is not None and any(self._holds(table, workspace) for table in (*CONTENT, erasures)):
            raise WorkspaceDeleted(workspace, "is not removed to the end yet")
        upsert(self._connection, workspaces, [{"workspace": workspace}])
        return self._set(workspace, display_name=display_name, deleted_us=None)

    def rename(self, workspace: str, display_name: str) -> Workspace:
        """Call a workspace otherwise.

        Raises:
            NotFound: there is none.
        """
        self.present(workspace)
        return self._set(workspace, display_name=display_name)

    def close(self, workspace: str, now_us: int) -> None:
        """Begin to remove a workspace: from now on it takes no writes, and nobody follows it any further.

        Raises:
            NotFound: there never was one.
        """
        if self.known(workspace).deleted_us is None:
            c = workspaces.c
            end = {"event_number": c.event_number + 1, "retained_from": c.event_number + 2, "config_version": c.config_version + 1}
            self._set(workspace, deleted_us=now_us, display_name="", **end)
            # At once: a part of a configuration means something else than the whole.
            self._connection.execute(delete(config).where(config.c.workspace == workspace))

    def begin_restore(self, workspace: str, now_us: int) -> None:
        """Begin to fill a workspace without content, which takes no writes until `end_restore`.

        Raises:
            AlreadyExists: there is something in it.
        """
        if any(self._holds(table, workspace) for table in (*CONTENT, erasures)):
            raise AlreadyExists(f"the workspace {workspace!r} has content")
        upsert(self._connection, workspaces, [{"workspace": workspace}])
        self._set(workspace, deleted_us=now_us)

    def put(self, workspace: str, name: str, rows: Sequence[Mapping[str, Json]]) -> None:
        """Store rows of a table that `rows` has given out.

        Raises:
            ValueError: there is no such table, or they are no rows of it.
        """
        table = _RESTORED.get(name)
        if table is None:
            raise ValueError(f"there is no table {name!r}")
        # Numbers that the database gives are given anew, in the same order.
        given = {column.name for column in table.primary_key if column.autoincrement is True}
        made = [{**from_json(table, row), "workspace": workspace} for row in rows]
        try:
            self._connection.execute(insert(table), [{n: value for n, value in row.items() if n not in given} for row in made])
        except (IntegrityError, DataError) as error:
            raise ValueError(f"the database refuses it: {str(error.orig).splitlines()[0]}") from None

    def end_restore(self, workspace: str, own: Mapping[str, Json]) -> Workspace:
        """Let a workspace that was filled take writes; its numbers go on behind both its own and those that were given out.

        Raises:
            ValueError: `own` is no row of a workspace.
        """
        found = from_json(workspaces, own)
        if missing := [name for name in (*_COUNTERS, "display_name", "retained_from") if name not in found]:
            raise ValueError(f"the column {missing[0]!r} is missing")
        stored = self._connection.execute(select(workspaces).where(workspaces.c.workspace == workspace)).one()._mapping
        further = {name: max(found[name], stored[name]) for name in _COUNTERS}
        return self._set(workspace, **further, display_name=found["display_name"], retained_from=found["retained_from"], deleted_us=None)

    def empty_some(self, table: Table, workspace: str, most: int) -> int:
        """Remove up to so many rows of a table; return how many there were."""
        place = "rowid" if self._connection.dialect.name == "sqlite" else "ctid"
        rows = f'SELECT {place} FROM "{table.name}" WHERE workspace = :workspace LIMIT :most'  # noqa: S608  # nosec B608 # names of our own
        many = f"IN ({rows})" if place == "rowid" else f"= ANY(ARRAY({rows}))"
        statement = text(f'DELETE FROM "{table.name}" WHERE {place} {many}')  # noqa: S608  # nosec B608 # names of our own
        return int(self._connection.execute(statement, {"workspace": workspace, "most": most}).rowcount)

    def blank_some(self, workspace: str, now_us: int, most: int) -> int:
        """Take out of up to so many lines of the audit log what they were about; return how many."""
        a = audit.c
        filled = or_(*(a[name] != "" for name in _BLANK))
        numbers = select(a.number).where(a.workspace == workspace, filled).order_by(a.number).limit(most)
        found = list(self._connection.execute(numbers).scalars())
        for number in found:
            self._connection.execute(update(audit).where(a.number == number).values(**_BLANK, redacted_us=now_us))
        return len(found)

    def counts(self, workspace: str) -> dict[str, int]:
        """Return how many rows stand in each table of the content; tables without any are left out."""
        found = {}
        for table in CONTENT:
            statement = select(func.count()).select_from(table).where(table.c.workspace == workspace)
            if count := int(self._connection.execute(statement).scalar_one()):
                found[table.name] = count
        return found

    def rows(self, workspace: str, size: int) -> Iterator[tuple[str, Sequence[dict[str, Json]]]]:
        """Yield everything that stands in a workspace, its own row first: name of the table, and up to `size` rows of it at once."""
        for table in (workspaces, *CONTENT, audit):
            statement = select(table).where(table.c.workspace == workspace).order_by(*table.primary_key)
            with self._connection.execution_options(yield_per=size).execute(statement) as result:
                for rows in result.partitions():
                    yield table.name, [to_json(table, dict(row._mapping)) for row in rows]

    def _holds(self, table: Table, workspace: str) -> bool:
        return self._connection.execute(select(table.c.workspace).where(table.c.workspace == workspace).limit(1)).first() is not None

    def _set(self, workspace: str, **values: Any) -> Workspace:
        self._connection.execute(update(workspaces).where(workspaces.c.workspace == workspace).values(values))
        return self.known(workspace)


def _to_workspace(row: Any) -> Workspace:
    return Workspace(row.workspace, row.display_name, row.event_number, row.deleted_us)
