"""Offers of records to sellers, and sellers who let them run out, within one transaction."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, select

from reallot.storage.among import among, named, these
from reallot.storage.dialect import delete_rows, fetched, update_rows, upsert_rows
from reallot.storage.entities import Offer, OfferTerms, Unanswered
from reallot.storage.tables import offers, unanswered

OPEN = "OPEN"
_KEY = ("workspace", "record_id", "seller_id")
_OFFER = ("record_id", "seller_id", "rule_id", "state", "start_us", "remind_us", "end_us", "ends_as", "status_before")
_ENDED = select(offers.c.record_id, offers.c.seller_id, offers.c.end_us).where(named(offers, "record_id"), offers.c.state != OPEN)


class OfferStep(NamedTuple):
    """What becomes of a record's offers: the one to `ends` ends ("" = none), remembered `as_state` ("" = not), and another begins."""

    ends: str = ""
    as_state: str = ""
    starts: OfferTerms | None = None


class OfferRepository:
    """Offers of all workspaces. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def step(self, workspace: str, steps: Sequence[tuple[str, OfferStep]], now_us: int) -> None:
        """Carry out what becomes of the offers of records."""
        if not steps:
            return
        forgotten = [(workspace, record_id, s.ends) for record_id, s in steps if s.ends and not s.as_state]
        delete_rows(self._connection, offers, _KEY, forgotten)
        kept = [(s.as_state, None, None, now_us, workspace, record_id, s.ends) for record_id, s in steps if s.ends and s.as_state]
        update_rows(self._connection, offers, _KEY, ("state", "remind_us", "next_us", "end_us"), kept)
        begun = [(record_id, s.starts) for record_id, s in steps if s.starts is not None]
        self.forget_records(workspace, [record_id for record_id, terms in begun if terms.anew])
        self._put(
            workspace,
            [
                Offer(record_id, t.seller_id, t.rule_id, OPEN, now_us, t.remind_us, t.end_us, t.ends_as, t.status_before)
                for record_id, t in begun
            ],
        )

    def _put(self, workspace: str, rows: Iterable[Offer]) -> None:
        stored = [(workspace, *(getattr(row, name) for name in _OFFER), _next_us(row)) for row in rows]
        upsert_rows(self._connection, offers, ("workspace", *_OFFER, "next_us"), stored)

    def forget_records(self, workspace: str, record_ids: Collection[str]) -> None:
        """Forget all offers of records."""
        if record_ids:
            c = offers.c
            self._connection.execute(delete(offers).where(c.workspace == workspace, among(c.record_id, record_ids)))

    def begun(self, workspace: str, record_ids: Collection[str]) -> dict[tuple[str, str], Offer]:
        """Return the open offers of records by record and seller."""
        c = offers.c
        statement = select(*(c[name] for name in _OFFER)).where(c.workspace == workspace, among(c.record_id, record_ids), c.state == OPEN)
        return {(row[0], row[1]): Offer(*row) for row in fetched(self._connection, statement)}

    def ended(self, workspace: str, record_ids: Collection[str]) -> list[tuple[str, str, int]]:
        """Return record, seller and end of the offers of records that have ended, by both."""
        return sorted((r, s, e) for r, s, e in fetched(self._connection, _ENDED, these(workspace, record_ids)))

    def open(
        self,
        workspace: str,
        *,
        record_id: str = "",
        seller_ids: Collection[str] | None = None,
        after: str = "",
        limit: int | None = None,
    ) -> list[Offer]:
        """Return open offers of records after one, by record; of one record, or to some sellers. A record has one at most."""
        c = offers.c
        wanted = select(*(c[name] for name in _OFFER)).where(c.workspace == workspace, c.state == OPEN)
        if record_id:
            wanted = wanted.where(c.record_id == record_id)
        if seller_ids is not None:
            wanted = wanted.where(among(c.seller_id, seller_ids))
        wanted = wanted.where(c.record_id > after).order_by(c.record_id).limit(limit)
        return [Offer(*row) for row in fetched(self._connection, wanted)]

    def next_due(self) -> list[tuple[str, int]]:
        """Return the workspaces with open offers and when something is due in each, the earliest first."""
        c = offers.c
        earliest = func.min(c.next_us)
        rows = self._connection.execute(
            select(c.workspace, earliest).where(c.next_us.is_not(None)).group_by(c.workspace).order_by(earliest, c.workspace)
        )
        return [(workspace, due_us) for workspace, due_us in rows]

    def due(self, workspace: str, now_us: int, most: int) -> list[Offer]:
        """Return up to `most` offers of which an end or a reminder is due, the earliest first."""
        c = offers.c
        wanted = select(*(c[name] for name in _OFFER)).where(c.workspace == workspace, c.next_us <= now_us)
        return [Offer(*row) for row in fetched(self._connection, wanted.order_by(c.next_us, c.record_id).limit(most))]

    def reschedule(self, workspace: str, rows: Sequence[Offer]) -> None:
        """Keep when open offers end and their sellers are reminded."""
        self._put(workspace, rows)

    def outdated(self, workspace: str, before_us: int) -> bool:
        """Tell whether offers that ended before an instant are still remembered."""
        c = offers.c
        return self._connection.execute(select(c.record_id).where(*self._old(workspace, before_us)).limit(1)).first() is not None

    def forget(self, workspace: str, before_us: int) -> None:
        """Forget offers that ended before an instant."""
        self._connection.execute(delete(offers).where(*self._old(workspace, before_us)))

    @staticmethod
    def _old(workspace: str, before_us: int) -> tuple[Any, ...]:
        c = offers.c
        return c.workspace == workspace, c.state != OPEN, c.end_us < before_us

    def unanswered(self, workspace: str, seller_ids: Collection[str] | None = None) -> dict[str, Unanswered]:
        """Return sellers who let offers run out, by id; None = of all sellers."""
        c = unanswered.c
        wanted = select(c.seller_id, c.offers, c.since_us).where(c.workspace == workspace).order_by(c.seller_id)
        if seller_ids is not None:
            wanted = wanted.where(among(c.seller_id, seller_ids))
        return {row[0]: Unanswered(*row) for row in fetched(self._connection, wanted)}

    def note_unanswered(self, workspace: str, rows: Sequence[Unanswered]) -> None:
        """Keep how sellers let offers run out."""
        upsert_rows(self._connection, unanswered, ("workspace", "seller_id", "offers", "since_us"), [(workspace, *_plain(r)) for r in rows])

    def note_answered(self, workspace: str, seller_ids: Collection[str]) -> list[str]:
        """Note that sellers are there: no offer is unanswered; return those who were out of the pool, by id."""
        back = [s for s, row in self.unanswered(workspace, seller_ids).items() if row.since_us is not None]
        c = unanswered.c
        self._connection.execute(delete(unanswered).where(c.workspace == workspace, among(c.seller_id, seller_ids)))
        return back


def _next_us(offer: Offer) -> int | None:
    return None if offer.state != OPEN else min(filter(None, (offer.remind_us, offer.end_us)))


def _plain(row: Unanswered) -> tuple[Any, ...]:
    return row.seller_id, row.offers, row.since_us
