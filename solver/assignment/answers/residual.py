"""The residual network of a plan over its capacity nodes.

Unlike the network that is solved, which merges maxima and scopes into trees, here each capacity node has exactly one arc to what is
around it, so that one more slot opens exactly one arc. Policies have no part in it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reallot.solver.assignment.problem import Ints, Problem
from reallot.solver.assignment.result import Solution

Flags = npt.NDArray[np.bool_]


class NotProven(ValueError):
    """The plan is not proven optimal, so nothing exact follows from it."""


@dataclass(frozen=True)
class Residual:
    """Nodes are first the k classes, then the c capacity nodes, then the sink. Arcs lie by tail.

    Attributes:
        problem: The problem, all of whose efforts are 1.
        start: First arc out of each node: int64, shape (nodes + 1,).
        tail, head: int64, shape (arcs,).
        costs: What a unit changes at each level: coverage by urgency, then the constant levels: int64, shape (levels, arcs).
        covered, left: Priority of the record that an arc covers or leaves out, -1 = none: int64, shape (arcs,).
        full: Capacity nodes without room: bool, shape (c,).
        load: Units at each capacity node: int64, shape (c,).
    """

    problem: Problem
    start: Ints
    tail: Ints
    head: Ints
    costs: Ints
    covered: Ints
    left: Ints
    full: Flags
    load: Ints

    @property
    def sink(self) -> int:
        """The last node."""
        return len(self.start) - 2

    @cached_property
    def around(self) -> Ints:
        """Node around each capacity node, the sink for the outermost: int64, shape (c,)."""
        parent = self.problem.cap_parent.astype(np.int64)
        return np.where(parent >= 0, parent + self.problem.classes, self.sink)


def loads(problem: Problem, option_of: Ints) -> Ints:
    """Return the units of a plan at each capacity node: int64, shape (c,)."""
    load = np.zeros(len(problem.cap_free), dtype=np.int64)
    node = problem.option_cap[option_of[option_of >= 0]].astype(np.int64)
    while len(node := node[node >= 0]):
        load += np.bincount(node, minlength=len(load))
        node = problem.cap_parent[node].astype(np.int64)
    return load


def proven_levels(problem: Problem, solution: Solution) -> int:
    """Return how many of coverage and the constant levels are proven, from the first on.

    Raises:
        NotProven: not even coverage is.
    """
    proven = {level for stage in solution.proof for level in stage.levels}
    count = next((level for level in range(1 + len(problem.constant_levels())) if level not in proven), 1 + len(problem.constant_levels()))
    if not count or not (problem.effort == 1).all():
        raise NotProven("the plan is not proven optimal: only plans of records of effort 1 are")
    return count


def residual_of(problem: Problem, solution: Solution, levels: int) -> Residual:
    """Return the residual network of a plan, with the costs of the first `levels` levels."""
    k, option_of = problem.classes, solution.option_of
    sink = k + len(problem.cap_free)
    flow = np.bincount(option_of[option_of >= 0], minlength=problem.options)
    load = loads(problem, option_of)
    full = load >= np.maximum(problem.cap_free, 0)
    cap, around = problem.option_cap.astype(np.int64), problem.cap_parent.astype(np.int64)
    entry, leads = np.where(cap >= 0, cap + k, sink), np.where(around >= 0, around + k, sink)
    own = problem.class_of_option().astype(np.int64)
    used, roomy, loaded = np.flatnonzero(flow), np.flatnonzero(~full), np.flatnonzero(load)
    leave, cover = _next(problem, solution.assigned, -1), _next(problem, ~solution.assigned, 1)
    options = len(own) + len(used)
    to_sink, from_sink = np.full(len(leave.kind), sink), np.full(len(cover.kind), sink)
    tail = np.concatenate([own, entry[used], roomy + k, leads[loaded], leave.kind, from_sink]).astype(np.int64)
    head = np.concatenate([entry, own[used], leads[roomy], loaded + k, to_sink, cover.kind]).astype(np.int64)
    costs = np.zeros((levels, len(tail)), dtype=np.int64)
    covered, left = np.full(len(tail), -1, dtype=np.int64), np.full(len(tail), -1, dtype=np.int64)
    first = len(tail) - len(leave.kind) - len(cover.kind)
    leaving, covering = slice(first, first + len(leave.kind)), slice(first + len(leave.kind), len(tail))
    costs[0, leaving], costs[0, covering] = leave.weight, -cover.weight
    left[leaving], covered[covering] = leave.priority, cover.priority
    for level, (_, cost) in enumerate(problem.constant_levels()[: levels - 1], start=1):
        costs[level, :options] = np.concatenate([cost, -cost[used]])
    order = np.argsort(tail, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(tail, minlength=sink + 1))]).astype(np.int64)
    return Residual(problem, start, tail[order], head[order], costs[:, order], covered[order], left[order], full, load)


class _Next(NamedTuple):
    """Classes, and weight and priority of the record of each that is next: int64, all of one shape."""

    kind: Ints
    weight: Ints
    priority: Ints


def _next(problem: Problem, among: Flags, sign: int) -> _Next:
    """Return by class the record among some that is least urgent (sign -1), or most (sign 1)."""
    weights, members = problem.weights(), np.flatnonzero(among)
    order = members[np.lexsort((-sign * weights[members], problem.class_of[members]))]
    kinds, first = np.unique(problem.class_of[order], return_index=True)
    return _Next(kinds.astype(np.int64), weights[order[first]], problem.priority[order[first]])
