"""Figures over records and their logs, within one transaction."""

from typing import NamedTuple

from sqlalchemy import Connection, func, select

from reallot.storage.tables import decisions, loads, records


class FirstOwner(NamedTuple):
    """How long a record of a segment took until somebody owned it, from when it was stored first."""

    segment_id: str
    wait_us: int


class Waiting(NamedTuple):
    """How many active records without an owner stand in a segment with a status."""

    segment_id: str
    status: str
    records: int


class Unowned(NamedTuple):
    """How many active records without an owner have a status, and since when the first of them has waited."""

    status: str
    records: int
    since_us: int


class WrongLoad(NamedTuple):
    """A load that is not the sum over the records that the seller owns: effort as kept, and as counted anew."""

    seller_id: str
    record_type: str
    segment_id: str
    kept: int
    counted: int


class ReportRepository:
    """Reads figures. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def first_owners(self, workspace: str, from_us: int, to_us: int) -> list[FirstOwner]:
        """Return the records that were assigned for the first time within [from, to), by their present segment.

        What the log no longer keeps is not counted.
        """
        r, d = records.c, decisions.c
        first = func.min(d.time_us)
        statement = (
            select(r.segment_id, first - r.create_us)
            .select_from(records.join(decisions, (r.workspace == d.workspace) & (r.record_id == d.record_id)))
            .where(r.workspace == workspace, d.status.in_(("ASSIGNED", "ASSIGNED_MANUALLY")))
            .group_by(r.record_id, r.segment_id, r.create_us)
            .having(first >= from_us, first < to_us)
        )
        # A clock that was put back makes no time negative.
        return [FirstOwner(segment, max(0, wait)) for segment, wait in self._connection.execute(statement)]

    def waiting(self, workspace: str, from_us: int, to_us: int) -> list[Waiting]:
        """Return the records without an owner whose waiting began within [from, to), by segment and status."""
        c = records.c
        since = func.coalesce(c.waiting_since_us, c.create_us)
        statement = (
            select(c.segment_id, c.assignment, func.count())
            .where(c.workspace == workspace, c.active, c.owner_kind == "", since >= from_us, since < to_us)
            .group_by(c.segment_id, c.assignment)
            .order_by(c.segment_id, c.assignment)
        )
        return [Waiting(*row) for row in self._connection.execute(statement)]

    def unowned(self, workspace: str) -> list[Unowned]:
        """Return the active records without an owner, by status."""
        c = records.c
        statement = (
            select(c.assignment, func.count(), func.min(func.coalesce(c.waiting_since_us, c.create_us)))
            .where(c.workspace == workspace, c.active, c.owner_kind == "")
            .group_by(c.assignment)
            .order_by(c.assignment)
        )
        return [Unowned(*row) for row in self._connection.execute(statement)]

    def wrong_loads(self, workspace: str) -> list[WrongLoad]:
        """Return the loads that differ from a recount, by place; they are kept in step by every commit, so there should be none."""
        r, k = records.c, loads.c
        place = (r.owner_id, r.record_type, r.segment_id)
        owned = (r.workspace == workspace, r.active, r.owner_kind == "SELLER")
        recount = select(*place, func.sum(r.effort)).where(*owned).group_by(*place)
        stored = select(k.seller_id, k.record_type, k.segment_id, k.effort).where(k.workspace == workspace)
        counted, kept = (
            {(row[0], row[1], row[2]): int(row[3]) for row in self._connection.execute(statement)} for statement in (recount, stored)
        )
        both = sorted(counted.keys() | kept.keys())
        return [WrongLoad(*at, kept.get(at, 0), counted.get(at, 0)) for at in both if kept.get(at, 0) != counted.get(at, 0)]
