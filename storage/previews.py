"""What a run would do, kept until it is applied or dropped, within one transaction."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select

from reallot.storage.among import among
from reallot.storage.dialect import fetched, insert_rows
from reallot.storage.moves import Move
from reallot.storage.tables import previews


class Preview(NamedTuple):
    """What would become of one record.

    Attributes:
        record_id: The record.
        version: Version at which it was seen.
        before: How it stands, as the JSON that events show.
        after: How it would stand.
        effort: What it weighs on its owner, 0 = there is none.
        touches: Its owner or segment would change, or it would be offered: 1, else 0.
    """

    record_id: str
    version: int
    before: str
    after: str
    effort: int
    touches: int


def preview_of(move: Move) -> Preview:
    """Return what a planned move would do."""
    pattern = move.pattern
    if pattern.decision is None or pattern.version is None:
        raise ValueError(f"the move of {move.record_id!r} is not planned by a run")
    weight = pattern.weight_after or pattern.weight
    touches = {"assigned", "offered", "released", "resegmented"}.intersection(pattern.counted)
    before, after = str(pattern.decision.before), str(pattern.decision.after)
    return Preview(move.record_id, pattern.version, before, after, weight.effort if weight else 0, int(bool(touches)))


def outcome_of(move: Move) -> tuple[int, str]:
    """Return the version at which a planned move saw its record, and how that would stand."""
    found = preview_of(move)
    return found.version, found.after


class PreviewRepository:
    """Previews of all workspaces. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, workspace: str, run_id: str, found: Sequence[Preview]) -> None:
        """Keep what a run would do to records about which it has said nothing yet."""
        insert_rows(self._connection, previews, Preview._fields, found, {"workspace": workspace, "run_id": run_id})

    def page(self, workspace: str, run_id: str, after_id: str, limit: int) -> list[Preview]:
        """Return up to `limit` lines of a run after a record, by record."""
        c = previews.c
        wanted = select(*(c[name] for name in Preview._fields)).where(c.workspace == workspace, c.run_id == run_id, c.record_id > after_id)
        return [Preview(*row) for row in fetched(self._connection, wanted.order_by(c.record_id).limit(limit))]

    def of(self, workspace: str, run_id: str, record_ids: Sequence[str]) -> dict[str, tuple[int, str]]:
        """Return version and state after of those of the records that a run would do something to, by id."""
        c = previews.c
        wanted = select(c.record_id, c.version, c.after).where(c.workspace == workspace, c.run_id == run_id, among(c.record_id, record_ids))
        return {record_id: (version, after) for record_id, version, after in fetched(self._connection, wanted)}

    def record_ids(self, workspace: str, run_id: str) -> list[str]:
        """Return the records that a run would do something to."""
        c = previews.c
        return list(self._connection.execute(select(c.record_id).where(c.workspace == workspace, c.run_id == run_id)).scalars())

    def touched(self, workspace: str, run_id: str) -> int:
        """Return how many records would change their owner or segment."""
        c = previews.c
        wanted = select(func.count()).select_from(previews).where(c.workspace == workspace, c.run_id == run_id, c.touches == 1)
        return int(self._connection.execute(wanted).scalar_one())

    def clear(self, workspace: str, run_id: str) -> None:
        """Forget what a run would do."""
        self._connection.execute(delete(previews).where(previews.c.workspace == workspace, previews.c.run_id == run_id))
