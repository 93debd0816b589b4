"""What a run would do, kept until it is applied or dropped, within one transaction."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select

from reallot.storage.among import among
from reallot.storage.dialect import delete_rows, fetched, insert_rows, update_rows
from reallot.storage.moves import Move
from reallot.storage.tables import previews, runs

_KEY = ("workspace", "run_id", "record_id")


class Preview(NamedTuple):
    """What would become of one record.

    Attributes:
        record_id: The record.
        version: Version at which it was seen.
        before: How it stands, as the JSON that events show.
        after: How it would stand.
        effort: What it weighs on its owner, 0 = there is none.
        touches: Its owner or segment would change, or it would be offered: 1, else 0.
        dropped: Why it was not done when the run was applied; "" = it was not decided yet.
    """

    record_id: str
    version: int
    before: str
    after: str
    effort: int
    touches: int
    dropped: str = ""


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
        """Return version and state after of those of the records that a run is still to do something to, by id."""
        c = previews.c
        open_ = (c.workspace == workspace, c.run_id == run_id, c.dropped == "")
        wanted = select(c.record_id, c.version, c.after).where(*open_, among(c.record_id, record_ids))
        return {record_id: (version, after) for record_id, version, after in fetched(self._connection, wanted)}

    def record_ids(self, workspace: str, run_id: str) -> list[str]:
        """Return the records that a run is still to do something to."""
        c = previews.c
        wanted = select(c.record_id).where(c.workspace == workspace, c.run_id == run_id, c.dropped == "")
        return list(self._connection.execute(wanted).scalars())

    def drop(self, workspace: str, run_id: str, reasons: Mapping[str, str]) -> None:
        """Note why what a run was to do to records is not done, by record."""
        rows = [(reason, workspace, run_id, record_id) for record_id, reason in sorted(reasons.items())]
        update_rows(self._connection, previews, _KEY, ("dropped",), rows)

    def forget_made(self, workspace: str, run_id: str, record_ids: Sequence[str]) -> None:
        """Forget what a run was to do to records, as it is done."""
        delete_rows(self._connection, previews, _KEY, [(workspace, run_id, record_id) for record_id in record_ids])

    def dropped(self, workspace: str, run_id: str) -> int:
        """Return how many moves of a run were dropped."""
        c = previews.c
        wanted = select(func.count()).select_from(previews).where(c.workspace == workspace, c.run_id == run_id, c.dropped != "")
        return int(self._connection.execute(wanted).scalar_one())

    def forget(self, workspace: str, before_us: int) -> None:
        """Remove what is kept of runs that ended before an instant."""
        c, r = previews.c, runs.c
        old = select(r.run_id).where(r.workspace == workspace, r.end_us < before_us)
        self._connection.execute(delete(previews).where(c.workspace == workspace, c.run_id.in_(old.scalar_subquery())))

    def touched(self, workspace: str, run_id: str) -> int:
        """Return how many records would change their owner or segment."""
        c = previews.c
        wanted = select(func.count()).select_from(previews).where(c.workspace == workspace, c.run_id == run_id, c.touches == 1)
        return int(self._connection.execute(wanted).scalar_one())

    def clear(self, workspace: str, run_id: str) -> None:
        """Forget what a run would do."""
        self._connection.execute(delete(previews).where(previews.c.workspace == workspace, previews.c.run_id == run_id))
