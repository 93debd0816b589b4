"""Counters of a workspace, and the log of events whose numbers are drawn last of all.

A transaction draws its block of event numbers as its last lock, just before it commits. So the order of numbers is the order of
commits, and whoever has read number n has seen every smaller one.
"""

from collections.abc import Mapping, Sequence, Set
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Select, bindparam, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from reallot.storage.dialect import insert_rows, upsert
from reallot.storage.documents import dump
from reallot.storage.entities import EventDraft, NoticeDraft
from reallot.storage.quiet import NoticeRow, held_back
from reallot.storage.tables import events, notices, workspaces


def draw(connection: Connection, workspace: str, counter: str, count: int) -> int:
    """Advance a counter of the workspace by `count` and return the first of the numbers drawn, from 1."""
    statement, given = _drawing(counter), {"in_workspace": workspace, "count": count}
    last = connection.execute(statement, given).scalar()
    if last is None:
        upsert(connection, workspaces, [{"workspace": workspace}])
        last = connection.execute(statement, given).scalar_one()
    return int(last) - count + 1


# Every write draws numbers, and to build a statement costs more than to carry it out.
@cache
def _drawing(counter: str) -> ReturningUpdate[Any]:
    column = workspaces.c[counter]
    named = workspaces.c.workspace == bindparam("in_workspace")
    return update(workspaces).where(named).values({counter: column + bindparam("count", type_=BigInteger())}).returning(column)


@cache
def _looking(counter: str) -> Select[Any]:
    return select(workspaces.c[counter]).where(workspaces.c.workspace == bindparam("in_workspace"))


def current(connection: Connection, workspace: str, counter: str) -> int:
    """Return the last number drawn; 0 for a workspace that nobody has written to."""
    found = connection.execute(_looking(counter), {"in_workspace": workspace}).scalar()
    return int(found or 0)


NOW = -1
"""Stands for the instant of the commit."""


class EventText(NamedTuple):
    """An event without its number, its record and its sentence; documents as texts. `time_us` may be NOW."""

    time_us: int
    kind: str
    record_type: str
    before: str
    after: str
    changed_fields: str
    cause: str
    run_id: str
    notify: tuple[str, ...]


def event_text(draft: EventDraft) -> EventText:
    """Return a draft with its documents as texts."""
    return EventText(
        draft.time_us,
        draft.kind,
        draft.record_type,
        dump(draft.before),
        dump(draft.after),
        dump(list(draft.changed_fields)),
        dump(draft.cause),
        draft.run_id,
        tuple(dict.fromkeys(draft.notify)),
    )


_Told = tuple[tuple[Any, ...], Sequence[str]]
"""An event's values but workspace and number, and who is notified."""
EVENT_ROW = (*EventText._fields[1:-1], "sentence", "record_id")
"""Columns of an event beside workspace, number and instant."""
_TIME, _KIND = 0, 1 + EVENT_ROW.index("kind")


class EventRows(NamedTuple):
    """Events of one commit as rows.

    Attributes:
        time_us: Their instant.
        same: Values of those columns of EVENT_ROW that are the same in all of them.
        columns: The others.
        rows: Their values.
        notices: Position, seller and kind of each notice.
    """

    time_us: int
    same: Mapping[str, Any]
    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]
    notices: Sequence[tuple[int, str, str]]


_Item = NoticeDraft | EventRows | _Told


class EventBuffer:
    """Events and notices of one unit of work, in order, until they get their numbers. Not thread-safe."""

    def __init__(self) -> None:
        self._items: dict[str, list[_Item]] = {}
        self.held: set[str] = set()
        """Workspaces in which notices were held back."""

    def add(self, workspace: str, items: Sequence[EventDraft | NoticeDraft]) -> None:
        """Append items; they are numbered in this order."""
        if items:
            made = [
                item if isinstance(item, NoticeDraft) else _told(event_text(item), item.record_id, dump(item.sentence)) for item in items
            ]
            self._items.setdefault(workspace, []).extend(made)

    def add_texts(self, workspace: str, time_us: int, told: Sequence[tuple[EventText, str, str]], untold: Set[str] = frozenset()) -> None:
        """Append events that are written up already, each with its record and sentence, in a commit at `time_us`.

        The sellers `untold` are not notified of them.
        """
        if told:
            self._items.setdefault(workspace, []).extend([_told(*event, time_us, untold) for event in told])

    def add_rows(self, workspace: str, rows: EventRows) -> None:
        """Append events that are rows already."""
        if rows.rows:
            self._items.setdefault(workspace, []).append(rows)

    def flush(self, connection: Connection) -> list[str]:
        """Number and store everything, and return the workspaces concerned. Must be the last statement before the commit."""
        concerned = sorted(self._items)
        for workspace in concerned:
            items = self._items[workspace]
            count = sum(len(item.rows) if isinstance(item, EventRows) else 1 for item in items)
            first = draw(connection, workspace, "event_number", count)
            if _store(connection, workspace, first, items):
                self.held.add(workspace)
        self._items.clear()
        return concerned


def _told(text: EventText, record_id: str, sentence: str, now_us: int = NOW, untold: Set[str] = frozenset()) -> _Told:
    notified = tuple(seller for seller in text[-1] if seller not in untold) if untold and text[-1] else text[-1]
    return (now_us if text[0] == NOW else text[0], *text[1:-1], sentence, record_id), notified


def _store(connection: Connection, workspace: str, first: int, items: Sequence[_Item]) -> int:
    """Store events and notices, numbered from `first`; return how many of the notices were held back."""
    event_rows: list[tuple[Any, ...]] = []
    notice_rows: list[NoticeRow] = []
    waited: list[NoticeRow] = []
    number, within = first, {"workspace": workspace}
    for item in items:
        if isinstance(item, NoticeDraft):
            body = None if item.of_event is not None else dump(item.body)
            made = NoticeRow(item.seller_id, number, item.kind, item.time_us, body, item.of_event)
            (waited if item.has_waited else notice_rows).append(made)
        elif isinstance(item, EventRows):
            rows = [(number + at, *row) for at, row in enumerate(item.rows)]
            insert_rows(connection, events, ("number", *item.columns), rows, {**within, "time_us": item.time_us, **item.same})
            notice_rows.extend(NoticeRow(seller, number + at, kind, item.time_us, None) for at, seller, kind in item.notices)
            number += len(item.rows) - 1
        else:
            values, notified = item
            event_rows.append((number, *values))
            notice_rows.extend(NoticeRow(seller, number, values[_KIND], values[_TIME], None) for seller in notified)
        number += 1
    insert_rows(connection, events, ("number", "time_us", *EVENT_ROW), event_rows, within)
    told, held = held_back(connection, workspace, notice_rows) if notice_rows else ((), 0)
    insert_rows(connection, notices, NoticeRow._fields, [*told, *waited], within)
    return held
