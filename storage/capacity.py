"""Load and capacity: what an owner carries, moved by comparing a record before and after, and the check of binding claims.

The load of a seller is the sum of the efforts of the active records the seller owns, kept by record type and segment. A claim is
checked against the load as it stands in the transaction, so no interleaving of writers takes a seller above a maximum.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select

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
    waiting = sorted(range(len(transitions)), key=lambda index: _burdens_unasked(transitions[index]))
    while waiting:
        lost = [index for index in waiting if not _try(account, transitions[index])]
        if len(lost) == len(waiting):
            break
        waiting = lost
    for index in _not_swapped(account, transitions, waiting):
        outcomes[index] = Outcome.CAPACITY_LOST
    return outcomes


def _burdens_unasked(transition: Transition) -> bool:
    after = place_of(transition.after)
    return transition.claim is None and after is not None and after != place_of(transition.before)


def _not_swapped(account: LoadAccount, transitions: Sequence[Transition], waiting: Sequence[int]) -> list[int]:
    """Move all of `waiting` at once, and take back the last that does not fit until the others do; return those taken back."""
    for index in waiting:
        account.move(transitions[index].before, transitions[index].after)
    held, lost = list(waiting), []
    while (over := next((i for i in reversed(held) if not _fits(account, transitions[i])), None)) is not None:
        account.move(transitions[over].after, transitions[over].before)
        held.remove(over)
        lost.append(over)
    return lost


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
    if any(records < 0 for _, _, records in changes):
        connection.execute(loads.delete().where(loads.c.workspace == workspace, loads.c.records == 0))
