"""Counters of a workspace, and the log of events whose numbers are drawn last of all.

A transaction draws its block of event numbers as its last lock, just before it commits. So the order of numbers is the order of
commits, and whoever has read number n has seen every smaller one.
"""

from collections.abc import Sequence, Set
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, update

from reallot.storage.dialect import insert_rows, upsert
from reallot.storage.documents import dump
from reallot.storage.entities import EventDraft, NoticeDraft
from reallot.storage.tables import events, notices, workspaces


def draw(connection: Connection, workspace: str, counter: str, count: int) -> int:
    """Advance a counter of the workspace by `count` and return the first of the numbers drawn, from 1."""
    column = workspaces.c[counter]
    statement = update(workspaces).where(workspaces.c.workspace == workspace).values({counter: column + count}).returning(column)
    last = connection.execute(statement).scalar()
    if last is None:
        upsert(connection, workspaces, [{"workspace": workspace}])
        last = connection.execute(statement).scalar_one()
    return int(last) - count + 1


def current(connection: Connection, workspace: str, counter: str) -> int:
    """Return the last number drawn; 0 for a workspace that nobody has written to."""
    found = connection.execute(select(workspaces.c[counter]).where(workspaces.c.workspace == workspace)).scalar()
    return int(found or 0)


NOW = -1
"""Stands for the instant of the commit."""


class EventText(NamedTuple):
    """An event without its number; documents as texts. `time_us` may be NOW."""

    time_us: int
    kind: str
    record_id: str
    record_type: str
    before: str
    after: str
    changed_fields: str
    cause: str
    run_id: str
    sentence: str
    notify: tuple[str, ...]


def event_text(draft: EventDraft) -> EventText:
    """Return a draft with its documents as texts."""
    return EventText(
        draft.time_us,
        draft.kind,
        draft.record_id,
        draft.record_type,
        dump(draft.before),
        dump(draft.after),
        dump(list(draft.changed_fields)),
        dump(draft.cause),
        draft.run_id,
        dump(draft.sentence),
        tuple(dict.fromkeys(draft.notify)),
    )


_Told = tuple[tuple[Any, ...], Sequence[str]]
"""An event's values from its instant on, and who is notified."""
_EVENT = ("workspace", "number", *EventText._fields[:-1])
_NOTICE = ("workspace", "seller_id", "number", "kind", "time_us", "body")


class EventBuffer:
    """Events and notices of one unit of work, in order, until they get their numbers. Not thread-safe."""

    def __init__(self) -> None:
        self._items: dict[str, list[NoticeDraft | _Told]] = {}

    def add(self, workspace: str, items: Sequence[EventDraft | NoticeDraft]) -> None:
        """Append items; they are numbered in this order."""
        if items:
            made = [item if isinstance(item, NoticeDraft) else _told(event_text(item)) for item in items]
            self._items.setdefault(workspace, []).extend(made)

    def add_texts(self, workspace: str, time_us: int, texts: Sequence[EventText], untold: Set[str] = frozenset()) -> None:
        """Append events that are written up already, in a commit at `time_us`; the sellers `untold` are not notified of them."""
        if texts:
            self._items.setdefault(workspace, []).extend(_told(told, time_us, untold) for told in texts)

    def add_rows(self, workspace: str, rows: Sequence[tuple[Any, ...]], notified: Sequence[str | None]) -> None:
        """Append events as the values of EventText but `notify`, with the seller who hears of each, None = nobody."""
        told: Sequence[Sequence[str]] = [(seller,) if seller else () for seller in notified] if any(notified) else [()] * len(rows)
        if rows:
            self._items.setdefault(workspace, []).extend(zip(rows, told, strict=True))

    def flush(self, connection: Connection) -> list[str]:
        """Number and store everything, and return the workspaces concerned. Must be the last statement before the commit."""
        concerned = sorted(self._items)
        for workspace in concerned:
            items = self._items[workspace]
            first = draw(connection, workspace, "event_number", len(items))
            _store(connection, workspace, first, items)
        self._items.clear()
        return concerned


def _told(text: EventText, now_us: int = NOW, untold: Set[str] = frozenset()) -> _Told:
    notified = tuple(seller for seller in text.notify if seller not in untold) if untold else text.notify
    return (now_us if text.time_us == NOW else text.time_us, *text[1:-1]), notified


def _store(connection: Connection, workspace: str, first: int, items: Sequence[NoticeDraft | _Told]) -> None:
    event_rows: list[tuple[Any, ...]] = []
    notice_rows: list[tuple[Any, ...]] = []
    for number, item in enumerate(items, first):
        if isinstance(item, NoticeDraft):
            notice_rows.append((workspace, item.seller_id, number, item.kind, item.time_us, dump(item.body)))
            continue
        values, notified = item
        event_rows.append((workspace, number, *values))
        notice_rows.extend((workspace, seller, number, values[1], values[0], None) for seller in notified)
    insert_rows(connection, events, _EVENT, event_rows)
    insert_rows(connection, notices, _NOTICE, notice_rows)
