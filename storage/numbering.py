"""Counters of a workspace, and the log of events whose numbers are drawn last of all.

A transaction draws its block of event numbers as its last lock, just before it commits. So the order of numbers is the order of
commits, and whoever has read number n has seen every smaller one.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from reallot.storage.dialect import upsert
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


class EventBuffer:
    """Events and notices of one unit of work, in order, until they get their numbers. Not thread-safe."""

    def __init__(self) -> None:
        self._items: dict[str, list[EventDraft | NoticeDraft]] = {}

    def add(self, workspace: str, items: Sequence[EventDraft | NoticeDraft]) -> None:
        """Append items; they are numbered in this order."""
        if items:
            self._items.setdefault(workspace, []).extend(items)

    def flush(self, connection: Connection) -> list[str]:
        """Number and store everything, and return the workspaces concerned. Must be the last statement before the commit."""
        concerned = sorted(self._items)
        for workspace in concerned:
            items = self._items[workspace]
            first = draw(connection, workspace, "event_number", len(items))
            _store(connection, workspace, first, items)
        self._items.clear()
        return concerned


def _store(connection: Connection, workspace: str, first: int, items: Sequence[EventDraft | NoticeDraft]) -> None:
    event_rows: list[dict[str, Any]] = []
    notice_rows: list[dict[str, Any]] = []
    for number, item in enumerate(items, first):
        place = {"workspace": workspace, "number": number, "kind": item.kind, "time_us": item.time_us}
        if isinstance(item, NoticeDraft):
            notice_rows.append(place | {"seller_id": item.seller_id, "body": dump(item.body)})
            continue
        event_rows.append(
            place
            | {
                "record_id": item.record_id,
                "record_type": item.record_type,
                "before": dump(item.before),
                "after": dump(item.after),
                "changed_fields": dump(list(item.changed_fields)),
                "cause": dump(item.cause),
                "run_id": item.run_id,
                "sentence": dump(item.sentence),
            }
        )
        notice_rows.extend(place | {"seller_id": seller, "body": None} for seller in dict.fromkeys(item.notify))
    if event_rows:
        connection.execute(insert(events), event_rows)
    if notice_rows:
        connection.execute(insert(notices), notice_rows)
