"""The flow network of a problem: class → (seller, scope) → capacity → sink, and class → sink for what stays unassigned.

For each seller, the maxima and the scopes are sets of kinds of units. Where these sets nest, they form a tree that the units climb;
each set is an arc whose bound is the maximum, or whose unit costs are the scope's positions. Where a maximum and a scope cross, no
such tree exists: the scope is then taken apart by capacity node for that seller, and the plan is not proven at that level.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from reallot.solver.assignment.positions import Order, order_of
from reallot.solver.assignment.problem import Ints, Problem

NO_COST = np.zeros(0, dtype=np.int64)
Key = tuple[str, int, int]
"""A set of a seller's units: ("cap", node, 0), ("scope", scope, 0) or ("scope", scope, capacity node) of one taken apart."""


@dataclass(frozen=True)
class LevelCosts:
    """Costs of one level: `linear` by arc (empty = all zero), and growing unit costs of the arcs in `convex`.

    Attributes:
        level_id: Name of the level.
        linear: Cost of a unit on each arc: int64, shape (arcs,) or (0,).
        convex: Arcs whose units cost differently: int64, ascending.
        unit_start: First unit cost of each of them: int64, shape (len(convex) + 1,).
        unit_cost: Costs in order, never falling within an arc: int64.
    """

    level_id: str
    linear: Ints = field(default_factory=lambda: NO_COST)
    convex: Ints = field(default_factory=lambda: NO_COST)
    unit_start: Ints = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    unit_cost: Ints = field(default_factory=lambda: NO_COST)

    def extremes(self) -> tuple[int, int]:
        """Return the lowest and highest cost of a unit, 0 included."""
        both = [int(a.min()) for a in (self.linear, self.unit_cost) if len(a)] + [0]
        tops = [int(a.max()) for a in (self.linear, self.unit_cost) if len(a)] + [0]
        return min(both), max(tops)


@dataclass(frozen=True)
class Network:
    """Nodes and arcs. The arcs are first the options, then class → sink, then the sellers' trees.

    Attributes:
        nodes: Number of nodes; the first are the classes, the last is the sink.
        supply: int64, shape (nodes,).
        tail, head: int32, shape (arcs,).
        upper: Most units on each arc: int64, shape (arcs,).
        levels: Costs by level, coverage first.
        exact: No scope had to be taken apart.
        tree_scope: Scope of each tree arc, -1 = a maximum: int32.
        tree_place: Place of the arc's seller in its scope: int64.
    """

    nodes: int
    supply: Ints
    tail: npt.NDArray[np.int32]
    head: npt.NDArray[np.int32]
    upper: Ints
    levels: tuple[LevelCosts, ...]
    exact: bool
    tree_scope: npt.NDArray[np.int32]
    tree_place: Ints
    option_tree: Ints
    """Path of an option's units through the trees: first tree arc of each option, -1 = straight to the sink: int64, shape (j,)."""
    tree_next: Ints
    """The tree arc after each tree arc, -1 = the sink: int64."""
    orders: tuple[Order, ...]

    @property
    def first_policy(self) -> int:
        """Position of the first scope's level."""
        return len(self.levels) - len(self.orders)


class _Trees:
    """Builds the trees of all sellers; collects arcs as lists."""

    def __init__(self, problem: Problem, first_node: int) -> None:
        self.problem = problem
        self.place = [{int(s): i for i, s in enumerate(scope.seller)} for scope in problem.scopes]
        self.first_node = first_node
        self.next: list[int] = []
        self.bound: list[int] = []
        self.scope: list[int] = []
        self.where: list[int] = []
        self.exact = True

    def path(self, cap: int) -> list[int]:
        """Return the capacity nodes around a node, itself first."""
        nodes = []
        while cap >= 0:
            nodes.append(cap)
            cap = int(self.problem.cap_parent[cap])
        return nodes

    def add_seller(self, seller: int, groups: Sequence[tuple[int, int]], reach: int) -> list[int]:
        """Build one seller's tree over groups (capacity node, scope) and return the first arc of each group."""
        sets = self._sets(groups, split=frozenset())
        while (crossing := _crossing(sets)) is not None:
            self.exact = False
            sets = self._sets(groups, split=frozenset(k[1] for k in sets if k[0] == "scope" and k[2] < 0 and k[1] in crossing))
        top = [-1] * len(groups)
        entry = [-1] * len(groups)
        for key in sorted(sets, key=lambda k: (len(sets[k]), k)):
            arc = self._add_arc(seller, key, self._most(key, sets, reach))
            for below in {top[g] for g in sets[key] if top[g] >= 0}:
                self.next[below] = arc
            for group in sets[key]:
                top[group] = arc
                entry[group] = entry[group] if entry[group] >= 0 else arc
        return entry

    def _sets(self, groups: Sequence[tuple[int, int]], split: frozenset[int]) -> dict[Key, frozenset[int]]:
        found: dict[Key, set[int]] = {}
        for index, (cap, scope) in enumerate(groups):
            for node in self.path(cap):
                found.setdefault(("cap", node, 0), set()).add(index)
            if scope >= 0:
                found.setdefault(("scope", scope, cap if scope in split else -1), set()).add(index)
        return {key: frozenset(value) for key, value in found.items()}

    def _most(self, key: Key, sets: dict[Key, frozenset[int]], reach: int) -> int:
        """Return the most units that can pass a set: what the maxima around it leave, or those inside it if they cover it."""
        free = {k: max(0, int(self.problem.cap_free[k[1]])) for k in sets if k[0] == "cap"}
        around = min((room for k, room in free.items() if sets[k] >= sets[key]), default=reach)
        outermost = {k: members for k, members in sets.items() if k in free and self.problem.cap_parent[k[1]] < 0}
        inside = [k for k, members in outermost.items() if members <= sets[key]]
        covered = bool(inside) and frozenset().union(*(sets[k] for k in inside)) == sets[key]
        return min(reach, around, sum(free[k] for k in inside) if covered else reach)

    def _add_arc(self, seller: int, key: Key, most: int) -> int:
        kind, number, _ = key
        self.next.append(-1)
        self.bound.append(most)
        self.scope.append(number if kind == "scope" else -1)
        self.where.append(self.place[number][seller] if kind == "scope" else -1)
        return len(self.next) - 1


def _crossing(sets: dict[Key, frozenset[int]]) -> set[int] | None:
    """Return the scopes that cross a maximum; None if all sets nest."""
    caps = [members for key, members in sets.items() if key[0] == "cap"]
    crossing = {
        key[1]
        for key, members in sets.items()
        if key[0] == "scope" and key[2] < 0 and any(members & c and not members <= c and not c <= members for c in caps)
    }
    return crossing or None


def build_network(problem: Problem) -> Network:
    """Build the network of a problem whose records all have effort 1."""
    k, j = problem.classes, problem.options
    counts = np.bincount(problem.class_of, minlength=k).astype(np.int64)
    class_of_option = problem.class_of_option()
    trees, entry = _build_trees(problem, class_of_option, counts)
    sink = k + len(trees.next)
    option_head = np.where(entry >= 0, k + entry, sink)
    tree_next = np.array(trees.next, dtype=np.int64)
    tree_head = np.where(tree_next >= 0, k + tree_next, sink)
    bounds = np.array(trees.bound, dtype=np.int64)
    supply = np.concatenate([counts, np.zeros(len(trees.next), dtype=np.int64), [-problem.records]])
    scope = np.array(trees.scope, dtype=np.int32)
    where = np.array(trees.where, dtype=np.int64)
    orders = tuple(order_of(s, problem.records) for s in problem.scopes)
    levels = [_coverage(problem, counts, j)]
    levels += [
        LevelCosts(name, linear=np.concatenate([costs, np.zeros(k + len(scope), dtype=np.int64)]))
        for name, costs in (
            ("rule_order", problem.option_rank),
            ("availability", problem.option_bucket),
            ("fit", problem.option_fit),
        )
    ]
    levels += [_policy(f"policy:{s.scope_id}", j + k, scope == i, where, bounds, orders[i]) for i, s in enumerate(problem.scopes)]
    return Network(
        nodes=sink + 1,
        supply=supply,
        tail=np.concatenate([class_of_option, np.arange(k), k + np.arange(len(scope))]).astype(np.int32),
        head=np.concatenate([option_head, np.full(k, sink), tree_head]).astype(np.int32),
        upper=np.concatenate([counts[class_of_option], counts, bounds]),
        levels=tuple(levels),
        exact=trees.exact,
        tree_scope=scope,
        tree_place=where,
        option_tree=entry,
        tree_next=tree_next,
        orders=orders,
    )


def _build_trees(problem: Problem, class_of_option: npt.NDArray[np.int32], counts: Ints) -> tuple[_Trees, Ints]:
    trees = _Trees(problem, problem.classes)
    entry = np.full(problem.options, -1, dtype=np.int64)
    if not problem.options:
        return trees, entry
    # One whole number for (seller, capacity node, scope): far cheaper to sort than rows.
    caps, scopes = len(problem.cap_free) + 1, len(problem.scopes) + 1
    keys = (problem.option_seller.astype(np.int64) * caps + problem.option_cap + 1) * scopes + problem.option_scope + 1
    distinct, inverse = np.unique(keys, return_inverse=True)
    seller_of, cap_of, scope_of = distinct // (caps * scopes), distinct // scopes % caps - 1, distinct % scopes - 1
    # At most as many units can reach a seller as the classes with an option there have records.
    pairs = np.unique(problem.option_seller.astype(np.int64) * max(problem.classes, 1) + class_of_option)
    reach = np.zeros(int(problem.option_seller.max()) + 1, dtype=np.int64)
    np.add.at(reach, pairs // max(problem.classes, 1), counts[pairs % max(problem.classes, 1)])
    first_arc = np.full(len(distinct), -1, dtype=np.int64)
    edges = np.flatnonzero(np.concatenate([[True], seller_of[1:] != seller_of[:-1], [True]]))
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        seller = int(seller_of[begin])
        groups = list(zip(cap_of[begin:end].tolist(), scope_of[begin:end].tolist(), strict=True))
        first_arc[begin:end] = trees.add_seller(seller, groups, int(reach[seller]))
    entry[:] = first_arc[inverse]
    return trees, entry


def _coverage(problem: Problem, counts: Ints, first_arc: int) -> LevelCosts:
    weights = problem.weights()
    # Leaving out begins with the least urgent record of a class.
    order = np.lexsort((weights, problem.class_of))
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return LevelCosts("coverage", convex=first_arc + np.arange(problem.classes), unit_start=start, unit_cost=weights[order])


def _policy(level_id: str, first_arc: int, members: npt.NDArray[np.bool_], where: Ints, bounds: Ints, order: Order) -> LevelCosts:
    arcs = np.flatnonzero(members)
    lengths = bounds[arcs]
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    unit = np.arange(start[-1], dtype=np.int64) - np.repeat(start[:-1], lengths)
    cost = order.costs(np.repeat(where[arcs], lengths), unit)
    return LevelCosts(level_id, convex=first_arc + arcs, unit_start=start, unit_cost=cost)
