"""The event log and the sellers' notices, within one transaction."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, delete, func, or_, select, update

from reallot.storage.among import among
from reallot.storage.documents import load
from reallot.storage.entities import Event, EventDraft, LogPage, Notice, NoticeDraft
from reallot.storage.numbering import EventBuffer, current
from reallot.storage.tables import events, held_notices, notices, workspaces


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
        """Return the smallest number that is still kept; one more than the last if everything was removed."""
        found = self._connection.execute(select(workspaces.c.retained_from).where(workspaces.c.workspace == workspace)).scalar()
        return int(found or 1)

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

    def page(self, workspace: str, after: int, limit: int, only_for: Collection[str] | None = None) -> LogPage:
        """Return the next `limit` numbers of the log; with `only_for`, only the notices of these sellers, and the events in them."""
        ends = select(workspaces.c.event_number, workspaces.c.retained_from).where(workspaces.c.workspace == workspace)
        last, retained_from = self._connection.execute(ends).first() or (0, 1)
        up_to = min(last, after + limit)
        if up_to == after:
            return LogPage(after, retained_from, [], [])
        c = notices.c
        statement = select(notices).where(c.workspace == workspace, c.number > after, c.number <= up_to).order_by(c.number, c.seller_id)
        rows = self._connection.execute(statement).all()
        if only_for is None:
            told = {event.number: event for event in self.after(workspace, after, up_to - after)}
        else:
            rows = [row for row in rows if row.seller_id in only_for]
            told = self._events_of(workspace, rows)
        # Those that were held back tell of events from before.
        earlier = self._events_of(workspace, [row for row in rows if row.of_event is not None]) if only_for is None else {}
        events_here = [event for event in told.values() if event.number > after]
        return LogPage(up_to, retained_from, events_here, [_to_notice(row, {**earlier, **told}) for row in rows])

    def _with_events(self, workspace: str, rows: Sequence[Any]) -> list[Notice]:
        told = self._events_of(workspace, rows)
        return [_to_notice(row, told) for row in rows]

    def _events_of(self, workspace: str, rows: Sequence[Any]) -> dict[int, Event]:
        """Return the events that stand in some rows of notices, by number."""
        numbers = {_event_number(row) for row in rows if row.body is None}
        if not numbers:
            return {}
        statement = select(events).where(events.c.workspace == workspace, among(events.c.number, numbers)).order_by(events.c.number)
        return {row.number: _to_event(row) for row in self._connection.execute(statement)}

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

    def outdated(self, workspace: str, before_us: int, most: int) -> int:
        """Return the number up to which all that is kept is older than `before_us`, over at most so many numbers; 0 if nothing is."""
        first = self.first_retained(workspace)
        up_to = min(self.last(workspace), first + most - 1)
        for c in (events.c, notices.c):
            young = select(func.min(c.number)).where(c.workspace == workspace, c.number >= first, c.number <= up_to, c.time_us >= before_us)
            found = self._connection.execute(young).scalar()
            up_to = up_to if found is None else min(up_to, int(found) - 1)
        return up_to if up_to >= first else 0

    def forget(self, workspace: str, up_to: int) -> int:
        """Remove events and notices up to a number, and note that they are gone; return how many events were removed."""
        gone = or_(notices.c.number <= up_to, notices.c.of_event <= up_to)
        self._connection.execute(delete(notices).where(notices.c.workspace == workspace, gone))
        self._connection.execute(delete(held_notices).where(held_notices.c.workspace == workspace, held_notices.c.number <= up_to))
        result = self._connection.execute(delete(events).where(events.c.workspace == workspace, events.c.number <= up_to))
        later = and_(workspaces.c.workspace == workspace, workspaces.c.retained_from <= up_to)
        self._connection.execute(update(workspaces).where(later).values(retained_from=up_to + 1))
        return int(result.rowcount)


def _event_number(row: Any) -> int:
    return int(row.number if row.of_event is None else row.of_event)


def _to_notice(row: Any, told: Mapping[int, Event]) -> Notice:
    is_event = row.body is None
    event, body = told.get(_event_number(row)) if is_event else None, None if is_event else load(row.body)
    return Notice(row.seller_id, row.number, row.kind, row.time_us, event, body, row.acknowledged_us)


def _to_event(row: Any) -> Event:
    values = row._mapping
    documents = {name: load(values[name]) for name in ("before", "after", "cause", "sentence")}
    plain = {name: values[name] for name in ("kind", "record_id", "record_type", "time_us", "run_id")}
    return Event(values["number"], EventDraft(changed_fields=tuple(load(values["changed_fields"])), **plain, **documents))
