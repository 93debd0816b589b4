"""Policies as marginal costs: what the k-th further unit of a seller costs in a scope.

The cost is a strictly growing function of the unit's place in the order in which the sequential rule, run alone over the scope's
sellers from the state before the batch, hands out units. So the cheapest way to hand out any number of units is the rule's own.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reallot.solver.assignment.contacts import ContactOrder, contact_order
from reallot.solver.assignment.laid_out import LaidOutOrder
from reallot.solver.assignment.problem import Holdings, Ints, Policy, Scope
from reallot.solver.assignment.shares import shares_order

LARGEST_POSITION = 2**36
"""Positions up to here can be added up over any network that fits into memory."""


@dataclass(frozen=True)
class RoundRobinOrder:
    """Position of the k-th unit of the i-th seller: `base[i] + k·step[i]`.

    A higher priority always comes first, so its whole sequence lies before that of the next priority.
    """

    base: Ints
    step: Ints

    def costs(self, seller: Ints, unit: Ints) -> Ints:
        """Return the positions of units: `seller` are places in the scope, `unit` counts from 0; both of one shape."""
        return self.base[seller] + unit * self.step[seller]


@dataclass(frozen=True)
class LoadBalancingOrder:
    """A seller with free capacity f takes units at the levels f, f - 1, …, each level lying `depth` below the highest of all.

    At a level stand, priority by priority, first those who began there, by turn, then those who came down, in their order there.

    Attributes:
        depth: Depth at which each seller begins: int64, shape (m,).
        group: Rank of the seller's priority, 0 = highest: int64, shape (m,).
        place: Place among those of the priority who begin at the same depth: int64, shape (m,).
        began: For each priority, the depths at which its sellers begin, ascending.
    """

    depth: Ints
    group: Ints
    place: Ints
    began: tuple[Ints, ...]

    def costs(self, seller: Ints, unit: Ints) -> Ints:
        """Return the positions of units: `seller` are places in the scope, `unit` counts from 0; both of one shape."""
        own, depth = self.group[seller], self.depth[seller]
        at = depth + unit
        position: Ints = at * len(self.depth) + self.place[seller]
        for group, began in enumerate(self.began):
            same = np.flatnonzero(own == group)
            # Those of the priority who began between the seller's own beginning and here came down less far.
            position[same] += np.searchsorted(began, at[same], side="right") - np.searchsorted(began, depth[same], side="right")
            lower = np.flatnonzero(own > group)
            position[lower] += np.searchsorted(began, at[lower], side="right")
        return position


@dataclass(frozen=True)
class ValueOrder:
    """Whoever has been given least is served first: units are values here, not records."""

    held: Ints

    def costs(self, seller: Ints, unit: Ints) -> Ints:
        """Return what each of some sellers would hold after so much more: int64, of one shape."""
        return self.held[seller] + unit


Order = RoundRobinOrder | LoadBalancingOrder | LaidOutOrder | ContactOrder | ValueOrder


def order_of(scope: Scope, units: int) -> Order:
    """Make a scope ready for handing out up to `units` units."""
    if scope.policy is Policy.WEIGHTED_SHARES:
        return shares_order(scope, units)
    if scope.policy is Policy.EARLIEST_FIRST_CONTACT:
        return contact_order(scope, units)
    if isinstance(scope.standing, Holdings):
        return ValueOrder(scope.standing.held)
    ranked = np.lexsort((scope.seller, scope.turn, -scope.priority))
    priorities = np.unique(-scope.priority)
    group = np.searchsorted(priorities, -scope.priority)
    if scope.policy is Policy.ROUND_ROBIN:
        return _round_robin(group, ranked, units)
    depth = _depths(scope.free, units)
    began = tuple(np.sort(depth[group == index]) for index in range(len(priorities)))
    width = int(depth.max(initial=0)) + 1
    return LoadBalancingOrder(depth, group, _places(ranked, group * width + depth), began)


def _depths(free: Ints, units: int) -> Ints:
    """Return how far below the highest each seller stands.

    Where these numbers are so large that sums of positions might overflow, stretches that `units` cannot bridge are shortened to
    what they cannot quite bridge: all units keep their order, only the distances shrink.
    """
    depth: Ints = free.max(initial=0) - free if len(free) else free
    levels, level = np.unique(depth, return_inverse=True)
    if not len(levels) or (int(levels[-1]) + units) * len(free) < LARGEST_POSITION:
        return depth
    shortened = np.concatenate([[0], np.cumsum(np.minimum(np.diff(levels), units))])
    return shortened[level].astype(np.int64)


def _round_robin(group: npt.NDArray[np.int64], ranked: Ints, units: int) -> RoundRobinOrder:
    sizes = np.bincount(group, minlength=1).astype(np.int64)
    offsets = (np.cumsum(sizes) - sizes) * (units + 1)
    return RoundRobinOrder(offsets[group] + _places(ranked, group), sizes[group])


def _places(ranked: Ints, bucket: Ints) -> Ints:
    """Return the place of each item among those of its bucket, in the order of `ranked`."""
    order = ranked[np.argsort(bucket[ranked], kind="stable")]
    begins = np.flatnonzero(np.concatenate([[True], bucket[order][1:] != bucket[order][:-1]])) if len(order) else order
    lengths = np.diff(np.concatenate([begins, [len(order)]]))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - np.repeat(begins, lengths)
    return place
