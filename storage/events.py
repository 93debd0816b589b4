"""The event log and the sellers' notices, within one transaction."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, delete, func, or_, select, update

from reallot.storage.among import among
from reallot.storage.documents import load
from reallot.storage.entities import Event, EventDraft, Notice, NoticeDraft
from reallot.storage.numbering import EventBuffer, current
from reallot.storage.tables import events, notices


class EventRepository:
    """Events and notices of all workspaces. Not thread-safe."""

    def __init__(self, connection: Connection, buffer: EventBuffer | None) -> None:
        self._connection = connection
        self._buffer = buffer

    def append(self, workspace: str, drafts: Sequence[EventDraft | NoticeDraft]) -> None:
        """Add events or notices; they get their numbers just before the transaction commits. Only in a write transaction."""
        if self._buffer is None:
            raise TypeError("a read transaction cannot append events")
        self._buffer.add(workspace, drafts)

    def last(self, workspace: str) -> int:
        """Return the number of the last committed event or notice; 0 = none yet."""
        return current(self._connection, workspace, "event_number")

    def first_retained(self, workspace: str) -> int:
        """Return the smallest number that is still kept; one more than the last if none is."""
        kept = [
            self._connection.execute(select(func.min(table.c.number)).where(table.c.workspace == workspace)).scalar()
            for table in (events, notices)
        ]
        numbers = [int(number) for number in kept if number is not None]
        return min(numbers) if numbers else self.last(workspace) + 1

    def after(self, workspace: str, number: int, limit: int) -> list[Event]:
        """Return up to `limit` events with greater numbers, in order."""
        statement = select(events).where(events.c.workspace == workspace, events.c.number > number)
        return [_to_event(row) for row in self._connection.execute(statement.order_by(events.c.number).limit(limit))]

    def notices_after(self, workspace: str, seller_id: str, number: int, limit: int, *, unread_only: bool = False) -> list[Notice]:
        """Return up to `limit` notices of a seller with greater numbers, in order."""
        c = notices.c
        statement = select(notices).where(c.workspace == workspace, c.seller_id == seller_id, c.number > number)
        if unread_only:
            statement = statement.where(c.acknowledged_us.is_(None))
        rows = self._connection.execute(statement.order_by(c.number).limit(limit)).all()
        return self._with_events(workspace, rows)

    def notices_between(self, workspace: str, after: int, upto: int) -> list[Notice]:
        """Return the notices of all sellers with numbers in (after, upto], in order."""
        c = notices.c
        statement = select(notices).where(c.workspace == workspace, c.number > after, c.number <= upto)
        return self._with_events(workspace, self._connection.execute(statement.order_by(c.number, c.seller_id)).all())

    def _with_events(self, workspace: str, rows: Sequence[Any]) -> list[Notice]:
        numbers = {row.number for row in rows if row.body is None}
        found = self._connection.execute(select(events).where(events.c.workspace == workspace, among(events.c.number, numbers)))
        told = {row.number: _to_event(row) for row in found}
        return [
            Notice(
                row.seller_id,
                row.number,
                row.kind,
                row.time_us,
                told.get(row.number) if row.body is None else None,
                load(row.body) if row.body is not None else None,
                row.acknowledged_us,
            )
            for row in rows
        ]

    def unread(self, workspace: str, seller_id: str) -> int:
        """Return how many notices of a seller are not acknowledged."""
        c = notices.c
        statement = select(func.count()).select_from(notices)
        statement = statement.where(c.workspace == workspace, c.seller_id == seller_id, c.acknowledged_us.is_(None))
        return int(self._connection.execute(statement).scalar_one())

    def acknowledge(self, workspace: str, seller_id: str, numbers: Sequence[int], up_to: int, time_us: int) -> int:
        """Mark notices as seen: the given ones and all up to `up_to`; return how many were not before."""
        c = notices.c
        unseen = and_(c.workspace == workspace, c.seller_id == seller_id, c.acknowledged_us.is_(None))
        statement = update(notices).where(unseen, or_(c.number <= up_to, among(c.number, numbers))).values(acknowledged_us=time_us)
        return self._connection.execute(statement).rowcount

    def forget(self, workspace: str, up_to: int) -> int:
        """Remove events and notices up to a number; return how many events were removed."""
        self._connection.execute(delete(notices).where(notices.c.workspace == workspace, notices.c.number <= up_to))
        result = self._connection.execute(delete(events).where(events.c.workspace == workspace, events.c.number <= up_to))
        return int(result.rowcount)


def _to_event(row: Any) -> Event:
    values = row._mapping
    documents = {name: load(values[name]) for name in ("before", "after", "cause", "sentence")}
    plain = {name: values[name] for name in ("kind", "record_id", "record_type", "time_us", "run_id")}
    return Event(values["number"], EventDraft(changed_fields=tuple(load(values["changed_fields"])), **plain, **documents))
