"""Figures over records and their logs, within one transaction."""

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, case, func, or_, select, union_all

from reallot.storage.among import among
from reallot.storage.dialect import delete_rows, insert_rows
from reallot.storage.documents import load
from reallot.storage.steps import COMPLETED
from reallot.storage.tables import decisions, events, loads, records, steps

_PLACE = ("workspace", "seller_id", "record_type", "segment_id")


class FirstOwner(NamedTuple):
    """How long a record of a segment took until somebody owned it, from when it was stored first."""

    segment_id: str
    wait_us: int


class FirstContact(NamedTuple):
    """How long a record of a segment took from when it was stored first until its first step of certain kinds was completed."""

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


class SegmentMove(NamedTuple):
    """A record that left a segment for another, "" = none; `fields` are those whose change led to it."""

    record_id: str
    time_us: int
    old: str
    new: str
    fields: tuple[str, ...]


class WrongLoad(NamedTuple):
    """A load that is not the sum over the records that the seller owns or has an offer of: effort and number as kept, and counted anew."""

    seller_id: str
    record_type: str
    segment_id: str
    kept: int
    counted: int
    kept_records: int
    counted_records: int


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

    def first_contacts(self, workspace: str, kinds: Collection[str], from_us: int, to_us: int) -> list[FirstContact]:
        """Return the records of which the first step of these kinds was completed within [from, to), by their present segment."""
        r, s = records.c, steps.c
        first = func.min(s.end_us)
        statement = (
            select(r.segment_id, first - r.create_us)
            .select_from(records.join(steps, (r.workspace == s.workspace) & (r.record_id == s.record_id)))
            # A record that was deleted and came again under its id begins anew.
            .where(r.workspace == workspace, s.state == COMPLETED, among(s.kind, kinds), s.end_us >= r.create_us)
            .group_by(r.record_id, r.segment_id, r.create_us)
            .having(first >= from_us, first < to_us)
        )
        return [FirstContact(*row) for row in self._connection.execute(statement)]

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

    def moves(self, workspace: str, from_us: int, to_us: int) -> list[SegmentMove]:
        """Return the moves within [from, to) of records that moved more than once, by record, in order. What is undone is none."""
        c = events.c
        within = (c.workspace == workspace, c.kind == "RESEGMENTED", c.time_us >= from_us, c.time_us < to_us)
        often = select(c.record_id).where(*within).group_by(c.record_id).having(func.count() > 1)
        statement = select(c.record_id, c.time_us, c.before, c.after, c.cause).where(*within, c.record_id.in_(often.scalar_subquery()))
        found = []
        for record_id, time_us, before, after, cause in self._connection.execute(statement.order_by(c.record_id, c.number)):
            why = load(cause) or {}
            if why.get("kind") != "UNDO":
                places = load(before).get("segment_id", ""), (load(after) or {}).get("segment_id", "")
                found.append(SegmentMove(record_id, time_us, *places, tuple(why.get("fields", ()))))
        return found

    def with_wrong_loads(self) -> list[str]:
        """Return the workspaces in which a load differs from a recount; all of them are recounted at once."""
        k, counted = loads.c, _recount().subquery()
        kept = select(*(k[name] for name in _PLACE), (-k.effort).label("effort"), (-k.records).label("records"))
        both = union_all(select(*counted.c), kept).subquery()
        differs = or_(func.sum(both.c.effort) != 0, func.sum(both.c.records) != 0)
        different = select(both.c.workspace).group_by(*(both.c[name] for name in _PLACE)).having(differs).subquery()
        return list(self._connection.execute(select(different.c.workspace).distinct().order_by(different.c.workspace)).scalars())

    def wrong_loads(self, workspace: str) -> list[WrongLoad]:
        """Return the loads that differ from a recount, by place; they are kept in step by every commit, so there should be none."""
        k = loads.c
        stored = select(*(k[name] for name in _PLACE), k.effort, k.records).where(k.workspace == workspace)
        counted, kept = (
            {(row[1], row[2], row[3]): (int(row[4]), int(row[5])) for row in self._connection.execute(statement)}
            for statement in (_recount().where(records.c.workspace == workspace), stored)
        )
        found = []
        for at in sorted(counted.keys() | kept.keys()):
            (was, was_records), (is_, is_records) = kept.get(at, (0, 0)), counted.get(at, (0, 0))
            if (was, was_records) != (is_, is_records):
                found.append(WrongLoad(*at, was, is_, was_records, is_records))
        return found

    def correct_loads(self, workspace: str) -> list[WrongLoad]:
        """Put right the loads that differ from a recount, and return them as they were; for a write transaction."""
        found = self.wrong_loads(workspace)
        delete_rows(self._connection, loads, _PLACE, [(workspace, *wrong[:3]) for wrong in found])
        right = [(workspace, *wrong[:3], wrong.counted, wrong.counted_records) for wrong in found if wrong.counted_records]
        insert_rows(self._connection, loads, (*_PLACE, "effort", "records"), right)
        return found


def _recount() -> Select[Any]:
    """Return what sellers carry by place, counted over the records: the columns of `_PLACE`, effort and records."""
    r = records.c
    owns = r.owner_kind == "SELLER"
    place = (r.workspace, case((owns, r.owner_id), else_=r.offered_to).label("seller_id"), r.record_type, r.segment_id)
    sums = (func.sum(r.effort).label("effort"), func.count().label("records"))
    return select(*place, *sums).where(r.active, or_(owns, r.offered_to != "")).group_by(*place)
