"""Marks of records that wait for the road, and requests to try the waiting ones again."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, select

from reallot.storage.among import named, these
from reallot.storage.dialect import delete_rows, insert_rows, upsert
from reallot.storage.documents import dump, load
from reallot.storage.entities import Json, Pending, PendingMark
from reallot.storage.numbering import current, draw
from reallot.storage.tables import pending, rerun_requests

MOST_SELLERS = 1_000
"""With more sellers than this a rerun is for everybody's sake: to tell their records from others would save nothing."""


def merge_causes(earlier: Json, later: Json) -> Json:
    """Return one cause for two: lists are united, the earlier kind and values stay, quiet only if both are."""
    merged = dict(later) | dict(earlier)
    for key in ("triggers", "fields"):
        both = [*(earlier.get(key) or ()), *(later.get(key) or ())]
        if both:
            merged[key] = sorted(set(both))
    if was := {**(later.get("was") or {}), **(earlier.get("was") or {})}:
        merged["was"] = was
    for key, unite in (("quiet", all), ("resegment", any)):
        if key in earlier or key in later:
            merged[key] = unite((earlier.get(key, False), later.get(key, False)))
    return merged


def _united(earlier: PendingMark, later: PendingMark) -> PendingMark:
    since_us = min(earlier.since_us, later.since_us)
    return PendingMark(earlier.record_id, since_us, merge_causes(earlier.cause, later.cause))


_MARKED = select(pending).where(named(pending, "record_id"))


class PendingRepository:
    """Pending marks, within one transaction. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def oldest(self, workspace: str, limit: int) -> list[Pending]:
        """Return up to `limit` marks, the oldest first."""
        statement = select(pending).where(pending.c.workspace == workspace).order_by(pending.c.number).limit(limit)
        return [_to_pending(row) for row in self._connection.execute(statement)]

    def count(self, workspace: str) -> int:
        """Return how many records wait."""
        return int(self._connection.execute(select(func.count()).select_from(pending).where(pending.c.workspace == workspace)).scalar_one())

    def last_number(self, workspace: str) -> int:
        """Return the number of the latest mark; 0 = there never was one."""
        return current(self._connection, workspace, "pending_number")

    def workspaces(self) -> list[str]:
        """Return the workspaces in which records wait."""
        return sorted(self._connection.execute(select(pending.c.workspace).distinct()).scalars())

    def mark(self, workspace: str, marks: Sequence[PendingMark]) -> None:
        """Add marks; a record that has one keeps its place and the earliest instant, with a fresh generation and the causes merged."""
        united: dict[str, PendingMark] = {}
        for mark in marks:
            earlier = united.get(mark.record_id)
            united[mark.record_id] = mark if earlier is None else _united(earlier, mark)
        if not united:
            return
        rows = self._connection.execute(_MARKED, these(workspace, united))
        stored = {row.record_id: row for row in rows}
        first = draw(self._connection, workspace, "pending_number", len(united))
        fresh = [self._row(workspace, mark, number, stored.get(mark.record_id)) for number, mark in enumerate(united.values(), first)]
        upsert(self._connection, pending, fresh)

    @staticmethod
    def _row(workspace: str, mark: PendingMark, number: int, stored: Any) -> dict[str, Any]:
        if stored is not None:
            mark = _united(PendingMark(stored.record_id, stored.since_us, load(stored.cause)), mark)
        return {
            "workspace": workspace,
            "record_id": mark.record_id,
            "number": stored.number if stored else number,
            "since_us": mark.since_us,
            # Drawn from the workspace's counter, so that no later mark has the generation of one that was cleared.
            "generation": number,
            "cause": dump(mark.cause),
        }

    def add_new(self, workspace: str, record_ids: Sequence[str], since_us: int, cause: Json) -> None:
        """Mark records that have no mark, all for one cause."""
        if not record_ids:
            return
        first = draw(self._connection, workspace, "pending_number", len(record_ids))
        rows = [(record_id, number, number) for number, record_id in enumerate(record_ids, first)]
        same = {"workspace": workspace, "since_us": since_us, "cause": str(dump(cause))}
        insert_rows(self._connection, pending, ("record_id", "number", "generation"), rows, same)

    def clear(self, workspace: str, seen: Sequence[tuple[str, int]]) -> None:
        """Remove marks whose generation is still the one seen."""
        rows = [(workspace, record_id, generation) for record_id, generation in seen]
        delete_rows(self._connection, pending, ("workspace", "record_id", "generation"), rows)


class RerunRepository:
    """Requests to try the waiting records again, one row for a workspace and cause. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def request(self, workspace: str, cause: str, since_us: int, sellers: Collection[str] | None = None) -> None:
        """Ask for a rerun; a request that waits already stays and counts on.

        `sellers` are those who may take something that they could not before, None = everybody, as are very many.
        """
        statement = select(rerun_requests.c.sellers).where(rerun_requests.c.workspace == workspace, rerun_requests.c.cause == cause)
        stored = self._connection.execute(statement).scalar()
        both = united_sellers([sellers, *([load(stored)] if stored is not None else [])])
        row = {"workspace": workspace, "cause": cause, "since_us": since_us, "generation": 1, "sellers": dump(both)}
        upsert(self._connection, rerun_requests, [row], add=("generation",), keep=("since_us",))

    def waiting(self, workspace: str) -> dict[str, int]:
        """Return the generation of every request, by cause."""
        rows = self._connection.execute(
            select(rerun_requests.c.cause, rerun_requests.c.generation).where(rerun_requests.c.workspace == workspace)
        )
        return {row[0]: row[1] for row in sorted(rows)}

    def workspaces(self) -> list[str]:
        """Return the workspaces with requests."""
        return sorted(self._connection.execute(select(rerun_requests.c.workspace).distinct()).scalars())

    def take(self, workspace: str) -> dict[str, list[str] | None]:
        """Remove all requests; return for whose sake they were made, by cause, None = for everybody's."""
        c = rerun_requests.c
        rows = self._connection.execute(select(c.cause, c.sellers).where(c.workspace == workspace).order_by(c.cause)).all()
        if rows:
            self._connection.execute(delete(rerun_requests).where(c.workspace == workspace))
        return {cause: load(sellers) for cause, sellers in rows}


def united_sellers(several: Iterable[Collection[str] | None]) -> list[str] | None:
    """Return the sellers of several requests together, in order; None = everybody."""
    found: set[str] = set()
    for sellers in several:
        if sellers is None:
            return None
        found.update(sellers)
    return sorted(found) if len(found) <= MOST_SELLERS else None


def _to_pending(row: Any) -> Pending:
    return Pending(row.record_id, row.number, row.since_us, row.generation, load(row.cause))
