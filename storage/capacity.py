"""Load and capacity: what an owner carries, moved by comparing a record before and after, and the check of binding claims.

The load of a seller is the sum of the efforts of the active records the seller owns or has an offer of, kept by record type and
segment. A claim is checked against the load as it stands in the transaction, so no interleaving of writers takes a seller above a
maximum.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from reallot.storage.among import named, these
from reallot.storage.dialect import delete_rows, fetched, upsert_rows
from reallot.storage.entities import Gain, Limits, Outcome, OwnerKind, Record, Standing, Window, open_offer
from reallot.storage.tables import loads
from reallot.storage.windows import WindowRepository

_LOAD = ("workspace", "seller_id", "record_type", "segment_id", "effort", "records")
Place = tuple[str, str, str]
"""Seller, record type, segment."""


class Weight(NamedTuple):
    """Where a record weighs, and how much."""

    place: Place
    effort: int


Shift = tuple[Weight | None, Weight | None, Limits | None]
"""Where a record weighs before and after, None = on nobody, and the maxima that its new owner is held to, None = to none."""


def weight_of(record: Record | Standing | None) -> Weight | None:
    """Return where a record weighs and how much; None if it weighs on nobody."""
    if record is None or not record.active:
        return None
    owned = record.owner is not None and record.owner.kind is OwnerKind.SELLER
    seller = record.owner.id if record.owner is not None and owned else open_offer(record)
    return Weight((seller, record.record_type, record.segment_id), record.effort) if seller else None


def gains(before: Weight | None, after: Weight | None) -> bool:
    """Tell whether a record comes to a seller who did not have it."""
    return after is not None and (before is None or before.place[0] != after.place[0])


class LoadAccount:
    """The loads of some sellers, and their recent gains, within one transaction, with the changes made so far. Not thread-safe."""

    def __init__(self, stored: dict[Place, int], gained: Sequence[Gain] = (), now_us: int = 0) -> None:
        self._effort: defaultdict[str, dict[tuple[str, str], int]] = defaultdict(dict)
        for (seller, record_type, segment), effort in stored.items():
            self._effort[seller][record_type, segment] = effort
        self._changes: defaultdict[Place, list[int]] = defaultdict(lambda: [0, 0])
        self._now_us = now_us
        self._gained: defaultdict[str, list[Gain]] = defaultdict(list)
        for gain in gained:
            self._gained[gain.seller_id].append(gain)
        self._fresh: defaultdict[str, dict[tuple[str, str], int]] = defaultdict(dict)
        self._in_window: dict[tuple[str, Window], int] = {}

    def move(self, before: Weight | None, after: Weight | None, times: int = 1) -> None:
        """Take the weight of so many records from where it was and put it where it is; less than 0 times takes that back."""
        if before is not None:
            self._add(before.place, -before.effort * times, -times)
        if after is not None:
            self._add(after.place, after.effort * times, times)
        if after is not None and gains(before, after):
            fresh, there = self._fresh[after.place[0]], after.place[1:]
            fresh[there] = fresh.get(there, 0) + after.effort * times

    def _add(self, place: Place, effort: int, records: int) -> None:
        held, there = self._effort[place[0]], place[1:]
        held[there] = held.get(there, 0) + effort
        change = self._changes[place]
        change[0] += effort
        change[1] += records

    def fits(self, after: Weight, limits: Limits) -> bool:
        """Tell whether the seller at whom `after` weighs, which has been moved in already, is within the limits."""
        seller, record_type, segment = after.place
        held = self._effort[seller]
        if limits.total is not None and sum(e for (t, _), e in held.items() if t in limits.counted_types) > limits.total:
            return False
        of_type = limits.by_record_type.get(record_type)
        if of_type is not None and sum(e for (t, _), e in held.items() if t == record_type) > of_type:
            return False
        of_segment = limits.by_segment.get(segment)
        return of_segment is None or sum(e for (_, s), e in held.items() if s == segment) <= of_segment

    def fits_windows(self, after: Weight, windows: Sequence[Window]) -> bool:
        """Tell whether what the seller at whom `after` weighs has been given lately is within the windows."""
        return all(self._used(after.place[0], w) <= w.count for w in windows if w.covers(*after.place[1:]))

    def _used(self, seller: str, window: Window) -> int:
        if (seller, window) not in self._in_window:
            since_us = self._now_us - window.duration_us
            recent = (g for g in self._gained[seller] if g.time_us > since_us and window.covers(g.record_type, g.segment_id))
            self._in_window[seller, window] = sum(gain.effort for gain in recent)
        fresh = sum(effort for there, effort in self._fresh[seller].items() if window.covers(*there))
        return self._in_window[seller, window] + fresh

    def changes(self) -> list[tuple[Place, int, int]]:
        """Return place, effort and number of records of every change that is not nil, in a fixed order."""
        return [(place, change[0], change[1]) for place, change in sorted(self._changes.items()) if any(change)]


_LOADS = select(loads.c.seller_id, loads.c.record_type, loads.c.segment_id, loads.c.effort).where(named(loads, "seller_id"))


def open_account(
    connection: Connection,
    workspace: str,
    sellers: Collection[str],
    windows: Mapping[str, tuple[Window, ...]] | None = None,
    now_us: int = 0,
) -> LoadAccount:
    """Read the loads of `sellers`, and what lies in the windows of some of them."""
    if not sellers:
        return LoadAccount({})
    stored = {(row[0], row[1], row[2]): row[3] for row in fetched(connection, _LOADS, these(workspace, sellers))}
    return LoadAccount(stored, WindowRepository(connection).gains(workspace, windows or {}, now_us), now_us)


def settle(account: LoadAccount, shifts: Sequence[Shift]) -> list[Outcome]:
    """Decide which shifts hold, moving the load of those that do.

    Mostly all do. If not, they are tried in order, those that burden an owner without a claim after the others. One that does not fit
    is tried again, as long as some get through; then all that are left at once, so that full owners can swap records.
    """
    outcomes = [Outcome.COMMITTED] * len(shifts)
    alike: dict[tuple[Weight | None, Weight | None, int], list[Shift]] = {}
    for shift in shifts:
        alike.setdefault((shift[0], shift[1], id(shift[2])), []).append(shift)
    if settle_together(account, [(*same[0], len(same)) for same in alike.values()]):
        return outcomes
    waiting = _one_by_one(account, shifts, sorted(range(len(shifts)), key=lambda i: _burdens_unasked(shifts[i])))
    while waiting:
        lost = _all_at_once(account, shifts, waiting)
        if len(lost) == len(waiting):
            break
        waiting = _one_by_one(account, shifts, lost)
    for index in waiting:
        outcomes[index] = Outcome.CAPACITY_LOST
    return outcomes


def settle_together(account: LoadAccount, shifts: Sequence[tuple[Weight | None, Weight | None, Limits | None, int]]) -> bool:
    """Move all shifts, each as often as it says, if every one fits when all have been moved; else none. Return whether they were."""
    for before, after, _, times in shifts:
        account.move(before, after, times)
    if all(_fits(account, shift[:3]) for shift in shifts):
        return True
    for before, after, _, times in shifts:
        account.move(before, after, -times)
    return False


def _burdens_unasked(shift: Shift) -> bool:
    before, after, limits = shift
    return limits is None and after is not None and after != before


def _seller(weight: Weight | None) -> str | None:
    return weight.place[0] if weight is not None else None


def _one_by_one(account: LoadAccount, shifts: Sequence[Shift], order: Sequence[int]) -> list[int]:
    """Move each of `order` that fits; return those that do not, however often the others make room.

    Only a seller who gave something away can take what did not fit, so nobody else is asked again.
    """
    waiting: dict[str | None, list[int]] = {}
    relieved: dict[str | None, None] = {}
    for index in order:
        if _try(account, shifts[index]):
            relieved[_seller(shifts[index][0])] = None
        else:
            waiting.setdefault(_seller(shifts[index][1]), []).append(index)
    while relieved:
        asked, relieved = relieved, {}
        for seller in asked:
            left = []
            for index in waiting.pop(seller, []):
                if _try(account, shifts[index]):
                    relieved[_seller(shifts[index][0])] = None
                else:
                    left.append(index)
            if left:
                waiting[seller] = left
    return sorted(index for left in waiting.values() for index in left)


def _all_at_once(account: LoadAccount, shifts: Sequence[Shift], waiting: Sequence[int]) -> list[int]:
    """Move all of `waiting`, then take back, from the last, what its owner has no room for; return what was taken back.

    What is taken back burdens the owner from before, whose other gains are looked at again.
    """
    gains: dict[str | None, list[int]] = {}
    for index in waiting:
        account.move(shifts[index][0], shifts[index][1])
        gains.setdefault(_seller(shifts[index][1]), []).append(index)
    lost: list[int] = []
    burdened: dict[str | None, None] = dict.fromkeys(gains)
    while burdened:
        asked, burdened = burdened, {}
        for seller in asked:
            kept = []
            for index in reversed(gains.get(seller, [])):
                if _fits(account, shifts[index]):
                    kept.append(index)
                else:
                    account.move(shifts[index][0], shifts[index][1], -1)
                    lost.append(index)
                    burdened[_seller(shifts[index][0])] = None
            gains[seller] = kept[::-1]
    return sorted(lost)


def _fits(account: LoadAccount, shift: Shift) -> bool:
    before, after, limits = shift
    if limits is None or after is None:
        return True
    # Who keeps a record is given nothing.
    return account.fits(after, limits) and (not gains(before, after) or account.fits_windows(after, limits.windows))


def _try(account: LoadAccount, shift: Shift) -> bool:
    before, after, _ = shift
    account.move(before, after)
    if _fits(account, shift):
        return True
    account.move(before, after, -1)
    return False


def store(connection: Connection, workspace: str, account: LoadAccount) -> None:
    """Write the changes of an account, and forget places that carry nothing any more."""
    changes = account.changes()
    upsert_rows(connection, loads, _LOAD, [(workspace, *place, effort, records) for place, effort, records in changes], add=_LOAD[-2:])
    emptied = [(workspace, *place, 0) for place, _, records in changes if records < 0]
    delete_rows(connection, loads, ("workspace", "seller_id", "record_type", "segment_id", "records"), emptied)
