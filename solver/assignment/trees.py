"""The sellers' trees: which maxima and scopes a unit passes on its way from an option to the sink.

For each seller, the maxima and the scopes are sets of kinds of units. Where these sets nest, they form a tree that the units climb;
each different set is an arc whose bound is the smallest maximum over it, and whose unit costs are the positions of the scope over it.
Where a maximum and a scope cross, no such tree exists: the scope is then taken apart by capacity node for that seller.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reallot.solver.assignment.problem import Ints, InvalidProblem, Problem

Key = tuple[str, int, int]
"""A maximum or scope of a seller: ("cap", node, 0), ("scope", scope, -1) or ("scope", scope, capacity node) of one taken apart."""


@dataclass(frozen=True)
class Trees:
    """Arcs of all sellers' trees.

    Attributes:
        first: The arc at which each option's units begin: int64, shape (options,).
        next: The arc after each arc, -1 = the sink: int64, shape (tree arcs,).
        bound: Most units on each arc: int64.
        scope: Scope whose positions the arc's units cost, -1 = none: int32.
        seller: Seller of each arc: int64.
        exact: No scope had to be taken apart.
    """

    first: Ints
    next: Ints
    bound: Ints
    scope: npt.NDArray[np.int32]
    seller: Ints
    exact: bool


@dataclass(frozen=True)
class _Groups:
    """The different (seller, capacity node, scope) of the options, by seller; `of_option` says which is an option's."""

    seller: Ints
    cap: Ints
    scope: Ints
    reach: Ints
    """Most units that can come: the records of all options of the group."""
    of_option: Ints


def build_trees(problem: Problem) -> Trees:
    """Build the trees.

    Raises:
        InvalidProblem: a capacity node is used by two sellers.
    """
    groups = _groups(problem)
    room = _room(problem)
    single = np.bincount(groups.seller, minlength=1)[groups.seller] == 1
    alone = np.flatnonzero(single)
    # One kind of unit only: one arc is scope and maximum at once.
    around = np.append(room, np.iinfo(np.int64).max)[groups.cap[alone]]
    builder = _Builder(problem, [-1] * len(alone), np.minimum(around, groups.reach[alone]).tolist(), groups.scope[alone].tolist())
    first = np.full(len(single), -1, dtype=np.int64)
    first[alone] = np.arange(len(alone))
    several = np.flatnonzero(~single)
    owner = groups.seller[alone].tolist()
    for members in np.split(several, np.flatnonzero(np.diff(groups.seller[several])) + 1) if len(several) else []:
        kinds = list(zip(groups.cap[members].tolist(), groups.scope[members].tolist(), strict=True))
        first[members] = builder.add(kinds, groups.reach[members].tolist())
        owner += [int(groups.seller[members[0]])] * (len(builder.next) - len(owner))
    return Trees(
        first=first[groups.of_option],
        next=np.array(builder.next, dtype=np.int64),
        bound=np.array(builder.bound, dtype=np.int64),
        scope=np.array(builder.scope, dtype=np.int32),
        seller=np.array(owner, dtype=np.int64),
        exact=builder.exact,
    )


def _groups(problem: Problem) -> _Groups:
    seller, cap = problem.option_seller.astype(np.int64), problem.option_cap.astype(np.int64)
    nodes, scopes, sellers = len(problem.cap_free), len(problem.scopes) + 1, int(seller.max(initial=-1)) + 1
    owner = _owners(problem, seller, cap)
    # A node has one seller, so nodes (and for units that pass all maxima the sellers) number the pairs without gaps to speak of.
    place = np.where(cap >= 0, cap, nodes + seller)
    key = place * scopes + problem.ordered() + 1
    reached = np.bincount(key, weights=problem.class_sizes()[problem.class_of_option()], minlength=(nodes + sellers) * scopes)
    used = np.zeros(len(reached), dtype=np.bool_)
    used[key] = True
    distinct = np.flatnonzero(used)
    at = distinct // scopes
    by_seller = np.where(at < nodes, np.append(owner, -1)[np.minimum(at, nodes)], at - nodes)
    order = np.argsort(by_seller, kind="stable")
    distinct, at = distinct[order], at[order]
    number = np.full(len(reached), -1, dtype=np.int64)
    number[distinct] = np.arange(len(distinct))
    return _Groups(
        seller=by_seller[order],
        cap=np.where(at < nodes, at, -1),
        scope=distinct % scopes - 1,
        reach=reached[distinct].astype(np.int64),
        of_option=number[key],
    )


def _owners(problem: Problem, seller: Ints, cap: Ints) -> Ints:
    """Return the seller of each capacity node, -1 = none: int64, shape (c,)."""
    owner = np.full(len(problem.cap_free), -1, dtype=np.int64)
    capped = cap >= 0
    owner[cap[capped]] = seller[capped]
    if (owner[cap[capped]] != seller[capped]).any():
        raise InvalidProblem("a capacity node is used by two sellers")
    node = np.flatnonzero(owner >= 0)
    while len(node := node[problem.cap_parent[node] >= 0]):
        around, own = problem.cap_parent[node].astype(np.int64), owner[node]
        fresh = owner[around] < 0
        owner[around[fresh]] = own[fresh]
        if (owner[around] != own).any():
            raise InvalidProblem("a capacity node is used by two sellers")
        node = np.unique(around)
    return owner


def _room(problem: Problem) -> Ints:
    """Return what each capacity node and all around it leave: int64, shape (c,)."""
    room = np.maximum(problem.cap_free, 0)
    node = problem.cap_parent.astype(np.int64)
    while (inside := np.flatnonzero(node >= 0)).size:
        room[inside] = np.minimum(room[inside], problem.cap_free[node[inside]].clip(min=0))
        node[inside] = problem.cap_parent[node[inside]]
    return room


class _Builder:
    """Collects the arcs; adds the trees of sellers with several kinds of units, one after the other."""

    def __init__(self, problem: Problem, following: list[int], bound: list[int], scope: list[int]) -> None:
        self.problem = problem
        self.next, self.bound, self.scope = following, bound, scope
        self.exact = True

    def add(self, kinds: Sequence[tuple[int, int]], reach: Sequence[int]) -> list[int]:
        """Build one seller's tree over kinds of units (capacity node, scope); return the first arc of each kind."""
        sets = self._sets(kinds, split=frozenset())
        if crossing := _crossing(sets):
            self.exact = False
            sets = self._sets(kinds, split=crossing)
        top, entry = [-1] * len(kinds), [-1] * len(kinds)
        for members in sorted(set(sets.values()), key=lambda s: (len(s), min(s))):
            arc = len(self.next)
            self.next.append(-1)
            self.bound.append(self._most(members, sets, sum(reach[kind] for kind in members)))
            self.scope.append(next((number for (what, number, _), own in sets.items() if what == "scope" and own == members), -1))
            for kind in members:
                if top[kind] >= 0:
                    self.next[top[kind]] = arc
            for kind in members:
                top[kind], entry[kind] = arc, entry[kind] if entry[kind] >= 0 else arc
        return [arc if arc >= 0 else self._open(reach[kind]) for kind, arc in enumerate(entry)]

    def _open(self, reach: int) -> int:
        """Add an arc for units that pass all maxima and have no scope."""
        self.next.append(-1)
        self.bound.append(reach)
        self.scope.append(-1)
        return len(self.next) - 1

    def _sets(self, kinds: Sequence[tuple[int, int]], split: frozenset[int]) -> dict[Key, frozenset[int]]:
        found: dict[Key, set[int]] = {}
        for index, (cap, scope) in enumerate(kinds):
            node = cap
            while node >= 0:
                found.setdefault(("cap", node, 0), set()).add(index)
                node = int(self.problem.cap_parent[node])
            if scope >= 0:
                found.setdefault(("scope", scope, cap if scope in split else -1), set()).add(index)
        return {key: frozenset(value) for key, value in found.items()}

    def _most(self, members: frozenset[int], sets: Mapping[Key, frozenset[int]], reach: int) -> int:
        """Return the most units that can pass a set: what the maxima around it leave, or those inside it if they cover it."""
        free = {key: max(0, int(self.problem.cap_free[key[1]])) for key in sets if key[0] == "cap"}
        around = min((room for key, room in free.items() if sets[key] >= members), default=reach)
        inside = [key for key in free if self.problem.cap_parent[key[1]] < 0 and sets[key] <= members]
        covered = frozenset().union(*(sets[key] for key in inside)) == members
        return min(reach, around, sum(free[key] for key in inside) if covered else reach)


def _crossing(sets: Mapping[Key, frozenset[int]]) -> frozenset[int]:
    """Return the scopes that cross a maximum."""
    caps = [members for key, members in sets.items() if key[0] == "cap"]
    return frozenset(
        key[1]
        for key, members in sets.items()
        if key[0] == "scope" and any(members & cap and not members <= cap and not cap <= members for cap in caps)
    )
