"""Why a record has nobody: a minimal set of records and full sellers that proves it.

The set that the record's class reaches in the residual network, without passing the sink, is a set of records all of whose sellers are
full of records of the set: one record more than slots. It is minimal, not smallest: without any one record the others could be served,
and without any one maximum the records could be.
"""

from dataclasses import dataclass

import numpy as np

from reallot.solver.assignment.answers.residual import proven_levels, residual_of
from reallot.solver.assignment.problem import Ints, Problem
from reallot.solver.assignment.result import Solution


@dataclass(frozen=True)
class Blocking:
    """Records that cannot all be served, because all their sellers are behind full maxima.

    Attributes:
        records: The records, the one that was asked about among them, the most urgent first: int64.
        nodes: The capacity nodes that are full: int64, ascending. Together they leave one slot less than there are records.
    """

    records: Ints
    nodes: Ints


def blocking(problem: Problem, solution: Solution, record: int) -> Blocking:
    """Return what stands in the way of a record that the plan leaves out.

    Raises:
        NotProven: the plan is not proven optimal; only plans of records of effort 1 are.
        ValueError: the plan gives the record to somebody.
    """
    proven_levels(problem, solution)
    if solution.option_of[record] >= 0:
        raise ValueError("the record is not left out")
    network = residual_of(problem, solution, 1)
    k, sink = problem.classes, network.sink
    seen = np.zeros(sink + 1, dtype=np.bool_)
    frontier = np.array([int(problem.class_of[record])])
    while len(frontier):
        seen[frontier] = True
        arcs = np.concatenate([np.arange(network.start[node], network.start[node + 1]) for node in frontier.tolist()])
        # Over the sink it would go on to leaving out somebody else.
        arcs = arcs[(network.left[arcs] < 0) & ~seen[network.head[arcs]]]
        frontier = np.unique(network.head[arcs])
        if sink in frontier:
            raise ArithmeticError("the plan is not optimal: the record could be served")
    reached = np.flatnonzero(seen[k:sink])
    outside = network.around[reached]
    nodes = reached[(outside == sink) | ~seen[outside]]
    members = seen[problem.class_of] & solution.assigned
    members[record] = True
    urgency = problem.urgency()
    return Blocking(urgency[members[urgency]], nodes)


def holds(problem: Problem, found: Blocking) -> bool:
    """Tell, from the problem alone, whether these records cannot all be served.

    Each of their options passes one of the nodes, and the nodes leave fewer slots than there are records.
    """
    blocked = np.zeros(len(problem.cap_free), dtype=np.bool_)
    blocked[found.nodes] = True
    for kind in np.unique(problem.class_of[found.records]).tolist():
        node = problem.option_cap[problem.option_start[kind] : problem.option_start[kind + 1]].astype(np.int64)
        passes = np.zeros(len(node), dtype=np.bool_)
        while (inside := node >= 0).any():
            passes[inside] |= blocked[node[inside]]
            node = np.where(inside, problem.cap_parent[node], -1)
        if not passes.all():
            return False
    return int(np.maximum(problem.cap_free[found.nodes], 0).sum()) < len(found.records)
