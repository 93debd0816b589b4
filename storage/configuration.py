"""Configuration with its history, and when schedules fire next, within one transaction."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from reallot.storage.among import among
from reallot.storage.audit import AuditRepository
from reallot.storage.dialect import upsert
from reallot.storage.documents import dump, load
from reallot.storage.entities import ConfigChange, ConfigRow, ScheduleState
from reallot.storage.errors import NotFound
from reallot.storage.numbering import current, draw
from reallot.storage.tables import config, config_changes, schedules, sequence_versions, workspaces


class ConfigRepository:
    """Configuration of all workspaces. Not thread-safe."""

    def __init__(self, connection: Connection, audit: AuditRepository | None = None) -> None:
        self._connection = connection
        self._audit = audit or AuditRepository(connection)

    def version(self, workspace: str) -> int:
        """Return the version of a workspace's configuration; 0 if there is none."""
        return current(self._connection, workspace, "config_version")

    def versions(self, names: Collection[str]) -> dict[str, int]:
        """Return the versions of the configurations of those of the workspaces that have been written to."""
        c = workspaces.c
        rows = self._connection.execute(select(c.workspace, c.config_version).where(among(c.workspace, sorted(names))))
        return {row.workspace: row.config_version for row in rows}

    def resources(self, workspace: str, kind: str | None = None) -> list[ConfigRow]:
        """Return resources by kind and id; None = of all kinds."""
        statement = select(config).where(config.c.workspace == workspace).order_by(config.c.kind, config.c.id)
        if kind is not None:
            statement = statement.where(config.c.kind == kind)
        return [_to_config(row) for row in self._connection.execute(statement)]

    def apply(
        self,
        workspace: str,
        puts: Sequence[ConfigRow],
        deletes: Sequence[tuple[str, str]],
        *,
        actor: str,
        time_us: int,
    ) -> int:
        """Store and remove resources, write the history, and return the configuration's new version.

        Raises:
            NotFound: a resource to be removed does not exist; nothing is changed.
        """
        stored = {(row.kind, row.id): row for row in self.resources(workspace)}
        history: list[dict[str, Any]] = []
        rows = []
        for put in puts:
            old = stored.get((put.kind, put.id))
            rows.append(_to_row(workspace, put, old, time_us, self._last_version(workspace, put)))
            history.append(_history(workspace, put.kind, put.id, time_us, actor, old, put))
        for kind, resource_id in deletes:
            if (kind, resource_id) not in stored:
                raise NotFound(kind, resource_id)
            self._connection.execute(
                delete(config).where(config.c.workspace == workspace, config.c.kind == kind, config.c.id == resource_id)
            )
            history.append(_history(workspace, kind, resource_id, time_us, actor, stored.get((kind, resource_id)), None))
        upsert(self._connection, config, rows)
        self._keep_versions(workspace, rows)
        bodies = {key: row.body for key, row in stored.items()}
        self._audit.note(workspace, [(put.kind, put.id, bodies.get((put.kind, put.id)), put.body) for put in puts])
        self._audit.note(workspace, [(kind, name, bodies[kind, name], None) for kind, name in deletes])
        if history:
            self._connection.execute(insert(config_changes), history)
        return draw(self._connection, workspace, "config_version", 1)

    def _last_version(self, workspace: str, put: ConfigRow) -> int:
        """Return the last version that a sequence ever had: one that comes back is not taken for the old one. 0 for other kinds."""
        if put.kind != "sequence":
            return 0
        c = sequence_versions.c
        statement = select(func.max(c.version)).where(c.workspace == workspace, c.sequence_id == put.id)
        return int(self._connection.execute(statement).scalar() or 0)

    def _keep_versions(self, workspace: str, rows: Sequence[dict[str, Any]]) -> None:
        kept = [row for row in rows if row["kind"] == "sequence"]
        versions = [{"workspace": workspace, "sequence_id": r["id"], "version": r["version"], "body": r["body"]} for r in kept]
        upsert(self._connection, sequence_versions, versions)

    def changes(self, workspace: str, kind: str | None, resource_id: str | None, before_id: int | None, limit: int) -> list[ConfigChange]:
        """Return up to `limit` lines of the history older than `before_id`, newest first."""
        c = config_changes.c
        statement = select(config_changes).where(c.workspace == workspace).order_by(c.change_id.desc()).limit(limit)
        if kind is not None:
            statement = statement.where(c.kind == kind)
        if resource_id is not None:
            statement = statement.where(c.id == resource_id)
        if before_id is not None:
            statement = statement.where(c.change_id < before_id)
        return [
            ConfigChange(
                row.kind,
                row.id,
                row.time_us,
                row.actor,
                load(row.before) if row.before else None,
                load(row.after) if row.after else None,
                row.change_id,
            )
            for row in self._connection.execute(statement)
        ]

    def workspaces(self) -> list[str]:
        """Return the workspaces that are there."""
        present = select(workspaces.c.workspace).where(workspaces.c.deleted_us.is_(None))
        return sorted(self._connection.execute(present).scalars())


class ScheduleRepository:
    """When schedules fire next. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, workspace: str) -> dict[str, ScheduleState]:
        """Return the states of a workspace's schedules by id."""
        rows = self._connection.execute(select(schedules).where(schedules.c.workspace == workspace))
        return {row.schedule_id: ScheduleState(row.schedule_id, row.next_us, row.last_us) for row in rows}

    def put(self, workspace: str, state: ScheduleState) -> None:
        """Store the state of a schedule."""
        row = {"workspace": workspace, "schedule_id": state.schedule_id, "next_us": state.next_us, "last_us": state.last_us}
        upsert(self._connection, schedules, [row])

    def delete(self, workspace: str, schedule_id: str) -> None:
        """Forget a schedule."""
        c = schedules.c
        self._connection.execute(delete(schedules).where(c.workspace == workspace, c.schedule_id == schedule_id))

    def next_due(self) -> list[tuple[str, ScheduleState]]:
        """Return every schedule that will fire, of all workspaces, by instant."""
        c = schedules.c
        statement = select(schedules).where(c.next_us.is_not(None)).order_by(c.next_us, c.workspace, c.schedule_id)
        return [(row.workspace, ScheduleState(row.schedule_id, row.next_us, row.last_us)) for row in self._connection.execute(statement)]


def _to_config(row: Any) -> ConfigRow:
    return ConfigRow(row.kind, row.id, load(row.body), row.version, row.create_us, row.update_us)


def _to_row(workspace: str, put: ConfigRow, old: ConfigRow | None, time_us: int, last: int) -> dict[str, Any]:
    return {
        "workspace": workspace,
        "kind": put.kind,
        "id": put.id,
        "body": dump(put.body),
        "version": max(old.version if old else 0, last) + 1,
        "create_us": old.create_us if old else time_us,
        "update_us": time_us,
    }


def _history(
    workspace: str, kind: str, resource_id: str, time_us: int, actor: str, old: ConfigRow | None, new: ConfigRow | None
) -> dict[str, Any]:
    return {
        "workspace": workspace,
        "kind": kind,
        "id": resource_id,
        "time_us": time_us,
        "actor": actor,
        "before": dump(old.body) if old else "",
        "after": dump(new.body) if new else "",
    }
