"""Earliest first contact: a unit costs the working minute at which the seller gets to it, after all that the seller has to do before.

Among units of one minute, those of a higher priority come first, then those of sellers who were given none yet, by their last turn, then
the others in the order in which they were served. The cost of a unit is its minute times the number of sellers plus its place there.
"""

import heapq
from dataclasses import dataclass

import numpy as np

from reallot.solver.assignment.laid_out import LARGEST_COST, SPARE
from reallot.solver.assignment.problem import Contacts, Ints, Scope

MINUTE_US = 60_000_000
FARTHEST_US = 2**61
AHEAD = 8
"""Units of each seller whose minutes are worked out at first."""


@dataclass(frozen=True)
class ContactOrder:
    """Costs of units: those laid out as they are, those beyond by minute alone, in a fixed order among equals.

    Attributes:
        contacts: How the sellers stand.
        start: First unit of each seller in `place`: int64, shape (m + 1,).
        place: Place of each unit laid out among those of its minute: int64.
        rank: Place of the seller's units beyond: int64, shape (m,).
    """

    contacts: Contacts
    start: Ints
    place: Ints
    rank: Ints

    def costs(self, seller: Ints, unit: Ints) -> Ints:
        """Return costs of units: `seller` are places in the scope, `unit` counts from 0; both of one shape."""
        place = self.rank[seller]
        within = np.flatnonzero(unit < self.start[seller + 1] - self.start[seller])
        place[within] = self.place[self.start[seller[within]] + unit[within]]
        cost: Ints = np.minimum(minutes(self.contacts, seller, unit) * len(self.rank) + place, LARGEST_COST)
        return cost


def minutes(contacts: Contacts, seller: Ints, unit: Ints) -> Ints:
    """Return in how many minutes each seller gets to a further unit, at most as many as can be added up: int64, all of one shape."""
    # So far away nobody gets anyway.
    handled = np.minimum(contacts.owned[seller] + unit, FARTHEST_US // contacts.handling_us) * contacts.handling_us
    most = LARGEST_COST // max(len(contacts.owned), 1)
    return np.minimum(contacts.timetables.instant(seller, handled) // MINUTE_US, most)


def contact_order(scope: Scope, units: int) -> ContactOrder:
    """Lay out the order for up to `units` units from the state before the batch."""
    contacts = scope.standing
    if not isinstance(contacts, Contacts):
        raise ValueError("a scope of first contacts says what its sellers have to do before")
    count = len(scope.seller)
    ranked = np.lexsort((scope.seller, scope.turn, -scope.priority))
    rank = np.empty(count, dtype=np.int64)
    rank[ranked] = np.arange(count)
    priority, places = scope.priority.tolist(), [list[int]() for _ in range(count)]
    ahead = _Ahead(contacts)
    heap = [(ahead.minute(seller, 0), -priority[seller], 0, turn, seller) for seller, turn in enumerate(rank.tolist())]
    heapq.heapify(heap)
    number, lacking, most, now, at_minute = 0, count if units else 0, 4 * (units + count) + SPARE, -1, 0
    while lacking and number < most:
        minute, *_, seller = heapq.heappop(heap)
        now, at_minute = minute, at_minute + 1 if minute == now else 0
        places[seller].append(at_minute)
        lacking -= len(places[seller]) == units
        following = ahead.minute(seller, len(places[seller]))
        if following == minute:
            # It is so far away that minutes are not told apart any more.
            break
        heapq.heappush(heap, (following, -priority[seller], 1, number, seller))
        number += 1
    start = np.concatenate([[0], np.cumsum([len(own) for own in places])]).astype(np.int64)
    return ContactOrder(contacts, start, np.array([place for own in places for place in own], dtype=np.int64), rank)


class _Ahead:
    """Minutes of the next units of each seller, worked out for all sellers at once, and further ahead for those who need it."""

    def __init__(self, contacts: Contacts) -> None:
        self._contacts = contacts
        count = len(contacts.owned)
        seller, unit = np.repeat(np.arange(count), AHEAD), np.tile(np.arange(AHEAD), count)
        self._minutes: list[list[int]] = minutes(contacts, seller, unit).reshape(count, AHEAD).tolist()

    def minute(self, seller: int, unit: int) -> int:
        """Return in how many minutes the seller gets to a further unit."""
        known = self._minutes[seller]
        if unit >= len(known):
            more = np.arange(len(known), 2 * len(known))
            known += minutes(self._contacts, np.full(len(more), seller), more).tolist()
        return known[unit]
