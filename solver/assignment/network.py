"""The flow network of a problem: class → the sellers' trees → sink, and class → sink for what stays unassigned."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reallot.solver.assignment.costs import LevelCosts, SortedCosts, convex_level, linear_level
from reallot.solver.assignment.positions import Order, order_of
from reallot.solver.assignment.problem import Ints, Problem
from reallot.solver.assignment.trees import Trees, build_trees


@dataclass(frozen=True)
class Network:
    """Nodes and arcs. The arcs are first the options, then class → sink, then the sellers' trees.

    Attributes:
        nodes: Number of nodes; the first are the classes, then the beginnings of tree arcs, the last is the sink.
        supply: int64, shape (nodes,).
        tail, head: int32, shape (arcs,).
        upper: Most units on each arc: int64, shape (arcs,).
        levels: Costs by level, coverage first.
        exact: No scope had to be taken apart.
        trees: The sellers' trees.
        orders: The scopes' orders.
    """

    nodes: int
    supply: Ints
    tail: npt.NDArray[np.int32]
    head: npt.NDArray[np.int32]
    upper: Ints
    levels: tuple[LevelCosts, ...]
    exact: bool
    trees: Trees
    orders: tuple[Order, ...]

    @property
    def arcs(self) -> int:
        """Number of arcs."""
        return len(self.upper)

    @property
    def first_policy(self) -> int:
        """Position of the first scope's level."""
        return len(self.levels) - len(self.orders)


def build_network(problem: Problem) -> Network:
    """Build the network of a problem; every record counts as one unit.

    Raises:
        InvalidProblem: a capacity node is used by two sellers.
    """
    k, j = problem.classes, problem.options
    counts, class_of_option = problem.class_sizes(), problem.class_of_option()
    trees = build_trees(problem)
    t = len(trees.next)
    sink = k + t
    orders = tuple(order_of(scope, problem.records) for scope in problem.scopes)
    levels = [_coverage(problem, counts, j)]
    levels += [linear_level(name, costs, j + k + t) for name, costs in problem.constant_levels()]
    levels += [_policy(problem, trees, scope, order) for scope, order in enumerate(orders)]
    own = np.arange(k, dtype=np.int32)
    return Network(
        nodes=sink + 1,
        supply=np.concatenate([counts, np.zeros(t, dtype=np.int64), [-problem.records]]),
        tail=np.concatenate([class_of_option, own, k + np.arange(t, dtype=np.int32)]),
        head=np.concatenate([k + trees.first, np.full(k, sink), np.where(trees.next >= 0, k + trees.next, sink)]).astype(np.int32),
        upper=np.concatenate([counts[class_of_option], counts, trees.bound]),
        levels=tuple(levels),
        exact=trees.exact,
        trees=trees,
        orders=orders,
    )


def _coverage(problem: Problem, counts: Ints, first_arc: int) -> LevelCosts:
    weights = problem.weights()
    # Leaving out begins with the least urgent record of a class.
    order = np.lexsort((weights, problem.class_of))
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    own = np.arange(problem.classes, dtype=np.int64)
    return convex_level("coverage", first_arc + own, own, SortedCosts(start, weights[order]), counts)


def _policy(problem: Problem, trees: Trees, scope: int, order: Order) -> LevelCosts:
    arcs = np.flatnonzero(trees.scope == scope)
    place = problem.places()[scope, trees.seller[arcs]]
    first_arc = problem.options + problem.classes
    return convex_level(f"policy:{problem.scopes[scope].scope_id}", first_arc + arcs, place, order, trees.bound[arcs])


def arc_units(problem: Problem, network: Network, option_of: Ints) -> Ints:
    """Return how many units of a plan pass each arc of the network: int64, shape (arcs,)."""
    chosen = option_of[option_of >= 0]
    left_out = np.bincount(problem.class_of[option_of < 0], minlength=problem.classes)
    tree = np.zeros(len(network.trees.next), dtype=np.int64)
    at = network.trees.first[chosen]
    while len(at := at[at >= 0]):
        tree += np.bincount(at, minlength=len(tree))
        at = network.trees.next[at]
    return np.concatenate([np.bincount(chosen, minlength=problem.options), left_out, tree])
