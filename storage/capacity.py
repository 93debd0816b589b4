"""Load and capacity: what an owner carries, moved by comparing a record before and after, and the check of binding claims.

The load of a seller is the sum of the efforts of the active records the seller owns, kept by record type and segment. A claim is
checked against the load as it stands in the transaction, so no interleaving of writers takes a seller above a maximum.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, bindparam, select

from reallot.storage.dialect import chunks, upsert
from reallot.storage.entities import Limits, Outcome, OwnerKind, Record, Transition
from reallot.storage.tables import loads

Place = tuple[str, str, str]
"""Seller, record type, segment."""


def place_of(record: Record | None) -> tuple[Place, int] | None:
    """Return where a record weighs and how much; None if it weighs on nobody."""
    if record is None or not record.active or record.owner is None or record.owner.kind is not OwnerKind.SELLER:
        return None
    return (record.owner.id, record.record_type, record.segment_id), record.effort


class LoadAccount:
    """The loads of some sellers within one transaction, with the changes made so far. Not thread-safe."""

    def __init__(self, stored: dict[Place, int]) -> None:
        self._effort: defaultdict[str, dict[tuple[str, str], int]] = defaultdict(dict)
        for (seller, record_type, segment), effort in stored.items():
            self._effort[seller][record_type, segment] = effort
        self._changes: defaultdict[Place, list[int]] = defaultdict(lambda: [0, 0])

    def move(self, before: Record | None, after: Record | None) -> None:
        """Take the weight from where it was and put it where it is."""
        for record, sign in ((before, -1), (after, 1)):
            if (found := place_of(record)) is not None:
                place, effort = found
                held = self._effort[place[0]]
                held[place[1:]] = held.get(place[1:], 0) + sign * effort
                change = self._changes[place]
                change[0] += sign * effort
                change[1] += sign

    def fits(self, after: Record, limits: Limits) -> bool:
        """Tell whether the owner of `after`, whose weight has been moved in already, is within the limits."""
        found = place_of(after)
        if found is None:
            return True
        (seller, record_type, segment), _ = found
        held = self._effort[seller]
        if limits.total is not None and sum(e for (t, _), e in held.items() if t in limits.counted_types) > limits.total:
            return False
        of_type = limits.by_record_type.get(record_type)
        if of_type is not None and sum(e for (t, _), e in held.items() if t == record_type) > of_type:
            return False
        of_segment = limits.by_segment.get(segment)
        return of_segment is None or sum(e for (_, s), e in held.items() if s == segment) <= of_segment

    def changes(self) -> list[tuple[Place, int, int]]:
        """Return place, effort and number of records of every change that is not nil, in a fixed order."""
        return [(place, change[0], change[1]) for place, change in sorted(self._changes.items()) if any(change)]


def open_account(connection: Connection, workspace: str, sellers: Iterable[str]) -> LoadAccount:
    """Read the loads of `sellers`."""
    stored: dict[Place, int] = {}
    for part in chunks(sorted(set(sellers))):
        rows = connection.execute(
            select(loads.c.seller_id, loads.c.record_type, loads.c.segment_id, loads.c.effort).where(
                loads.c.workspace == workspace, loads.c.seller_id.in_(part)
            )
        )
        stored.update({(row[0], row[1], row[2]): row[3] for row in rows})
    return LoadAccount(stored)


def settle(account: LoadAccount, transitions: Sequence[Transition]) -> list[Outcome]:
    """Decide which transitions hold, moving the load of those that do.

    They are tried in order, those that burden an owner without a claim after the others. One that does not fit is tried again, as
    long as some get through; then all that are left at once, so that full owners can swap records.
    """
    outcomes = [Outcome.COMMITTED] * len(transitions)
    waiting = _one_by_one(account, transitions, sorted(range(len(transitions)), key=lambda i: _burdens_unasked(transitions[i])))
    while waiting:
        lost = _all_at_once(account, transitions, waiting)
        if len(lost) == len(waiting):
            break
        waiting = _one_by_one(account, transitions, lost)
    for index in waiting:
        outcomes[index] = Outcome.CAPACITY_LOST
    return outcomes


def _burdens_unasked(transition: Transition) -> bool:
    after = place_of(transition.after)
    return transition.claim is None and after is not None and after != place_of(transition.before)


def _seller(record: Record | None) -> str | None:
    found = place_of(record)
    return found[0][0] if found is not None else None


def _one_by_one(account: LoadAccount, transitions: Sequence[Transition], order: Sequence[int]) -> list[int]:
    """Move each of `order` that fits; return those that do not, however often the others make room.

    Only a seller who gave something away can take what did not fit, so nobody else is asked again.
    """
    waiting: dict[str | None, list[int]] = {}
    relieved: dict[str | None, None] = {}
    for index in order:
        if _try(account, transitions[index]):
            relieved[_seller(transitions[index].before)] = None
        else:
            waiting.setdefault(_seller(transitions[index].after), []).append(index)
    while relieved:
        asked, relieved = relieved, {}
        for seller in asked:
            left = []
            for index in waiting.pop(seller, []):
                if _try(account, transitions[index]):
                    relieved[_seller(transitions[index].before)] = None
                else:
                    left.append(index)
            if left:
                waiting[seller] = left
    return sorted(index for left in waiting.values() for index in left)


def _all_at_once(account: LoadAccount, transitions: Sequence[Transition], waiting: Sequence[int]) -> list[int]:
    """Move all of `waiting`, then take back, from the last, what its owner has no room for; return what was taken back.

    What is taken back burdens the owner from before, whose other gains are looked at again.
    """
    gains: dict[str | None, list[int]] = {}
    for index in waiting:
        account.move(transitions[index].before, transitions[index].after)
        gains.setdefault(_seller(transitions[index].after), []).append(index)
    lost: list[int] = []
    burdened: dict[str | None, None] = dict.fromkeys(gains)
    while burdened:
        asked, burdened = burdened, {}
        for seller in asked:
            kept = []
            for index in reversed(gains.get(seller, [])):
                if _fits(account, transitions[index]):
                    kept.append(index)
                else:
                    account.move(transitions[index].after, transitions[index].before)
                    lost.append(index)
                    burdened[_seller(transitions[index].before)] = None
            gains[seller] = kept[::-1]
    return sorted(lost)


def _fits(account: LoadAccount, transition: Transition) -> bool:
    after, claim = transition.after, transition.claim
    return claim is None or after is None or account.fits(after, claim.limits)


def _try(account: LoadAccount, transition: Transition) -> bool:
    account.move(transition.before, transition.after)
    if _fits(account, transition):
        return True
    account.move(transition.after, transition.before)
    return False


def store(connection: Connection, workspace: str, account: LoadAccount) -> None:
    """Write the changes of an account, and forget places that carry nothing any more."""
    changes = account.changes()
    rows = [
        {
            "workspace": workspace,
            "seller_id": p[0],
            "record_type": p[1],
            "segment_id": p[2],
            "effort": effort,
            "records": records,
        }
        for p, effort, records in changes
    ]
    upsert(connection, loads, rows, add=("effort", "records"))
    emptied = [{"seller": place[0], "type": place[1], "segment": place[2]} for place, _, records in changes if records < 0]
    if emptied:
        c = loads.c
        at = (c.seller_id == bindparam("seller"), c.record_type == bindparam("type"), c.segment_id == bindparam("segment"))
        connection.execute(loads.delete().where(c.workspace == workspace, *at, c.records == 0), emptied)
