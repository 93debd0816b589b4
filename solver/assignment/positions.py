"""Policies as marginal costs: what the k-th further unit of a seller costs in a scope.

The cost is a strictly growing function of the unit's place in the order in which the sequential rule, run alone over the scope's
sellers from the state before the batch, hands out units. So the cheapest way to hand out any number of units is the rule's own.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reallot.solver.assignment.problem import Ints, Policy, Scope


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
        began: Sellers of each priority who begin at a depth or above: int64, shape (priorities, depths).
    """

    depth: Ints
    group: Ints
    place: Ints
    began: Ints

    def costs(self, seller: Ints, unit: Ints) -> Ints:
        """Return the positions of units: `seller` are places in the scope, `unit` counts from 0; both of one shape."""
        group, at = self.group[seller], self.depth[seller] + unit
        last = np.minimum(at, self.began.shape[1] - 1)
        above = np.cumsum(self.began, axis=0) - self.began
        came_first = self.began[group, last] - self.began[group, self.depth[seller]]
        position: Ints = at * len(self.depth) + above[group, last] + self.place[seller] + came_first
        return position


Order = RoundRobinOrder | LoadBalancingOrder


def order_of(scope: Scope, units: int) -> Order:
    """Make a scope ready for handing out up to `units` units."""
    ranked = np.lexsort((scope.seller, scope.turn, -scope.priority))
    priorities = np.unique(-scope.priority)
    group = np.searchsorted(priorities, -scope.priority)
    if scope.policy is Policy.ROUND_ROBIN:
        return _round_robin(group, ranked, units)
    depth = int(scope.free.max(initial=0)) - scope.free
    counts = np.zeros((max(len(priorities), 1), int(depth.max(initial=0)) + 1), dtype=np.int64)
    np.add.at(counts, (group, depth), 1)
    return LoadBalancingOrder(depth, group, _places(ranked, group * counts.shape[1] + depth), np.cumsum(counts, axis=1))


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
