"""When records are to be segmented again because an answer changes with the clock, within one transaction."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from reallot.storage.among import among
from reallot.storage.dialect import delete_rows, fetched, upsert_rows
from reallot.storage.moves import stored_versions
from reallot.storage.tables import rechecks, records

_KEY = ("workspace", "record_id")


class Recheck(NamedTuple):
    """What was found about a record at a version: when an answer about it can change next; None = never by the clock alone."""

    record_id: str
    version: int
    due_us: int | None


class RecheckRepository:
    """Rechecks of all workspaces. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def note(self, workspace: str, found: Sequence[Recheck]) -> bool:
        """Keep what was found about records that are still at that version; return whether any is to be rechecked.

        About a record that has changed since, the pass that its change leads to finds out anew.
        """
        stored = stored_versions(self._connection, workspace, [recheck.record_id for recheck in found])
        fresh = [recheck for recheck in found if stored.get(recheck.record_id) == recheck.version]
        due = [(workspace, recheck.record_id, recheck.due_us) for recheck in fresh if recheck.due_us is not None]
        upsert_rows(self._connection, rechecks, (*_KEY, "due_us"), due)
        delete_rows(self._connection, rechecks, _KEY, [(workspace, recheck.record_id) for recheck in fresh if recheck.due_us is None])
        return bool(due)

    def bring_forward(self, workspace: str, due: Mapping[str, int]) -> None:
        """Have records looked at again at these instants, or sooner where that is noted already."""
        c = rechecks.c
        noted = select(c.record_id, c.due_us).where(c.workspace == workspace, among(c.record_id, list(due)))
        stored: dict[str, int] = dict(fetched(self._connection, noted))
        rows = [(workspace, record_id, min(due_us, stored.get(record_id, due_us))) for record_id, due_us in sorted(due.items())]
        upsert_rows(self._connection, rechecks, (*_KEY, "due_us"), rows)

    def due_of(self, workspace: str, record_ids: Sequence[str]) -> dict[str, int]:
        """Return when those of the records that are to be looked at again are due."""
        c = rechecks.c
        return dict(
            fetched(self._connection, select(c.record_id, c.due_us).where(c.workspace == workspace, among(c.record_id, record_ids)))
        )

    def next_due(self) -> list[tuple[str, int]]:
        """Return the workspaces with rechecks and when the first of each is due, the earliest first."""
        c = rechecks.c
        earliest = func.min(c.due_us)
        rows = self._connection.execute(select(c.workspace, earliest).group_by(c.workspace).order_by(earliest, c.workspace))
        return [(workspace, due_us) for workspace, due_us in rows]

    def take(self, workspace: str, now_us: int, most: int) -> tuple[int, list[str]]:
        """Remove up to `most` rechecks that are due, the earliest first; return how many, and their records that are active."""
        c = rechecks.c
        due = select(c.record_id).where(c.workspace == workspace, c.due_us <= now_us).order_by(c.due_us, c.record_id).limit(most)
        ids = [row[0] for row in fetched(self._connection, due)]
        delete_rows(self._connection, rechecks, _KEY, [(workspace, record_id) for record_id in ids])
        r = records.c
        active = select(r.record_id).where(r.workspace == workspace, r.active, among(r.record_id, ids)).order_by(r.record_id)
        return len(ids), list(self._connection.execute(active).scalars())
