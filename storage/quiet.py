"""Notices that are held back until their sellers work, within one transaction.

When somebody works is not known here: the server notes the stretch of working time that is, or comes next. A notice outside of it waits
for it; where nothing is noted, or that is over, it is due at once, and the server notes the stretch and decides.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, select, update

from reallot.storage.among import among, among_given
from reallot.storage.dialect import delete_rows, fetched, insert_rows, upsert, upsert_rows
from reallot.storage.documents import load
from reallot.storage.entities import NoticeDraft
from reallot.storage.tables import held_notices, working_stretches

AT_ONCE = 0
"""Instant at which something is due that the server has to decide about."""
_SWITCH = ""
"""Stands for a seller in the row that says that a workspace holds notices back."""
_HELD = ("seller_id", "number", "kind", "body", "due_us")
_w, _h = working_stretches.c, held_notices.c
_STRETCHES = select(_w.seller_id, _w.from_us, _w.until_us).where(_w.workspace == bindparam("workspace"), among_given(_w.seller_id, "names"))
_WAITING = select(_h.seller_id).where(_h.workspace == bindparam("workspace"), among_given(_h.seller_id, "names")).distinct()


class Stretch(NamedTuple):
    """When a seller works: from, and until before."""

    from_us: int
    until_us: int


class Held(NamedTuple):
    """A notice that waits; `number` is that of its event, or the one that it had drawn."""

    seller_id: str
    number: int
    kind: str
    body: str | None


class NoticeRow(NamedTuple):
    """A notice as it is stored. `of_event` is its event if it was held back."""

    seller_id: str
    number: int
    kind: str
    time_us: int
    body: str | None
    of_event: int | None = None


def held_back(connection: Connection, workspace: str, rows: Sequence[NoticeRow]) -> tuple[Sequence[NoticeRow], int]:
    """Put aside those of the notices whose sellers do not work at their instant; return the others, and how many were put aside."""
    names = sorted({row.seller_id for row in rows})
    found: dict[str, Stretch] = {
        seller: Stretch(*times) for seller, *times in fetched(connection, _STRETCHES, {"workspace": workspace, "names": [_SWITCH, *names]})
    }
    if _SWITCH not in found:
        return rows, 0
    # What comes while others wait goes behind them.
    waiting = {row[0] for row in fetched(connection, _WAITING, {"workspace": workspace, "names": names})}
    due = [AT_ONCE if row.seller_id in waiting else _due_us(found.get(row.seller_id), row.time_us) for row in rows]
    held = [(*row[:3], row.body, us) for row, us in zip(rows, due, strict=True) if us is not None]
    insert_rows(connection, held_notices, _HELD, held, {"workspace": workspace})
    return [row for row, us in zip(rows, due, strict=True) if us is None], len(held)


def _due_us(stretch: Stretch | None, time_us: int) -> int | None:
    """Return when a notice is due; None if it need not wait."""
    if stretch is None or time_us >= stretch.until_us:
        return AT_ONCE
    return stretch.from_us if time_us < stretch.from_us else None


class QuietRepository:
    """Notices held back in all workspaces. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def switch(self, workspace: str, *, on: bool) -> None:
        """Have notices held back from now on, or not; what is held then is due at once."""
        if on:
            row = {"workspace": workspace, "seller_id": _SWITCH, "from_us": 0, "until_us": 0}
            upsert(self._connection, working_stretches, [row])
            return
        self._connection.execute(delete(working_stretches).where(_w.workspace == workspace))
        self._connection.execute(update(held_notices).where(_h.workspace == workspace).values(due_us=AT_ONCE))

    def forget(self, workspace: str, seller_ids: Collection[str]) -> None:
        """Forget when sellers work, whose working time has changed; what is held for them is due at once."""
        self._connection.execute(delete(working_stretches).where(_w.workspace == workspace, among(_w.seller_id, seller_ids)))
        theirs = (_h.workspace == workspace) & among(_h.seller_id, seller_ids)
        self._connection.execute(update(held_notices).where(theirs).values(due_us=AT_ONCE))

    def note(self, workspace: str, stretches: Mapping[str, Stretch]) -> None:
        """Keep when sellers work; what is held for those who do not yet work is due then."""
        rows = [(workspace, seller, *stretch) for seller, stretch in sorted(stretches.items())]
        upsert_rows(self._connection, working_stretches, ("workspace", "seller_id", "from_us", "until_us"), rows)
        for seller, stretch in sorted(stretches.items()):
            theirs = (_h.workspace == workspace) & (_h.seller_id == seller)
            self._connection.execute(update(held_notices).where(theirs).values(due_us=stretch.from_us))

    def next_due(self) -> list[tuple[str, int]]:
        """Return the workspaces in which notices wait and when the first of each is due, the earliest first."""
        earliest = func.min(_h.due_us)
        rows = self._connection.execute(select(_h.workspace, earliest).group_by(_h.workspace).order_by(earliest, _h.workspace))
        return [(workspace, due_us) for workspace, due_us in rows]

    def due(self, workspace: str, now_us: int, most: int) -> list[Held]:
        """Return up to `most` notices that are due, in order."""
        wanted = select(_h.seller_id, _h.number, _h.kind, _h.body).where(_h.workspace == workspace, _h.due_us <= now_us)
        return [Held(*row) for row in fetched(self._connection, wanted.order_by(_h.number, _h.seller_id).limit(most))]

    def release(self, workspace: str, held: Sequence[Held], now_us: int) -> list[NoticeDraft]:
        """Remove notices that were held, and return them as they are to be told."""
        delete_rows(
            self._connection,
            held_notices,
            ("workspace", "seller_id", "number"),
            [(workspace, notice.seller_id, notice.number) for notice in held],
        )
        return [
            NoticeDraft(notice.seller_id, notice.kind, now_us, load(notice.body), None, has_waited=True)
            if notice.body is not None
            else NoticeDraft(notice.seller_id, notice.kind, now_us, None, notice.number, has_waited=True)
            for notice in held
        ]
