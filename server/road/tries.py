"""When the clock can change what the rules make of a record that waits: somebody works again, stands in, or has room again. Pure."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reallot.server.road.groups import GroupTargets
from reallot.server.road.plan import RuleTargets
from reallot.server.road.pool import Pool
from reallot.solver.calendars import DAY_US, UNAVAILABLE
from reallot.solver.segmentation import NEVER

Reached = tuple[tuple[RuleTargets | GroupTargets, int], ...]
"""The rules that look at a record, each with its combination of sellers."""


class NextTry(NamedTuple):
    """When a record is tried again by the clock; None = not for this.

    Attributes:
        works_us: Somebody whom it may go to works then, or stands in.
        room_us: Somebody whom it may go to may have room then.
    """

    works_us: int | None = None
    room_us: int | None = None

    @property
    def first_us(self) -> int | None:
        """The first of both."""
        return min((us for us in self if us is not None), default=None)


def next_try(reached: Reached, pool: Pool, causes: frozenset[str]) -> NextTry:
    """Return when a record that these rules leave waiting is tried again, as far as the workspace wants reruns for these causes."""
    works = room = NEVER
    for target, combination in reached:
        if isinstance(target, RuleTargets):
            if "SELLER_AVAILABLE" in causes:
                works = min(works, _works(target, combination, pool, counts_full="CAPACITY_FREED" not in causes))
            if "CAPACITY_FREED" in causes:
                room = min(room, _has_room(target, combination, pool))
    return NextTry(*(us if us != NEVER else None for us in (works, room)))


def _works(target: RuleTargets, combination: int, pool: Pool, *, counts_full: bool) -> int:
    """Return when the first of a combination is available as the rule asks, or gives way to a stand-in.

    Who has no room is tried again for that, unless nobody asks for it (`counts_full`).
    """
    seller = target.matches.sellers_of(combination)
    first = int(pool.hands_over_us[seller].min(initial=NEVER))
    if target.widest == UNAVAILABLE:
        return first
    able, there, _ = target.passing(combination)
    away = able & ~there
    if target.rule.use_capacity and not counts_full:
        away &= target.room[seller] > 0
    found = _first_working(pool, seller[away])
    return min(first, found - target.widest * DAY_US if found != NEVER else NEVER)


def _first_working(pool: Pool, seller: npt.NDArray[np.int32]) -> int:
    soon = pool.available.first_us[seller]
    known = soon[soon >= 0]
    if len(known):
        return int(known.min())
    return min((pool.works_later_us(int(place)) for place in seller), default=NEVER)


def _has_room(target: RuleTargets, combination: int, pool: Pool) -> int:
    """Return when the first of a combination who is there may have more room, what is given now included."""
    if not target.rule.use_capacity:
        return NEVER
    seller = target.matches.sellers_of(combination)
    _, there, free = target.passing(combination)
    # Who has room now had none left for this record: what was given instead leaves the windows in turn.
    return int(min(pool.frees_us[seller[there]].min(initial=NEVER), pool.full_again_us[seller[free]].min(initial=NEVER)))


def instants(tries: list[NextTry]) -> tuple[int, ...]:
    """Return the different instants at which somebody works, in order."""
    return tuple(sorted({found.works_us for found in tries if found.works_us is not None}))


def due_rows(next_try_us: list[int | None], now_us: int) -> npt.NDArray[np.bool_]:
    """Return which records are due: bool, one for each."""
    return np.array([us is not None and us <= now_us for us in next_try_us], dtype=np.bool_)
