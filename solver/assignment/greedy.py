"""One record after the other, the most urgent first, each to its best option that has room: the sequential rule itself.

Serves as the first plan before the flow is solved, and as the method where records take different efforts.
"""

from collections.abc import Sequence

import numpy as np

from reallot.solver.assignment.positions import Order, order_of
from reallot.solver.assignment.problem import Ints, Policy, Problem


def greedy_plan(problem: Problem) -> tuple[Ints, Ints]:
    """Return the option of each record (-1 = unassigned) and the assigned records in the order of their turns."""
    # A last node, never full, stands for units that pass all maxima.
    free = np.append(problem.cap_free, np.iinfo(np.int64).max)
    paths = _cap_paths(problem)
    orders = [order_of(scope, problem.records) for scope in problem.scopes]
    places = problem.places()
    given = np.zeros_like(places)
    option_of = np.full(problem.records, -1, dtype=np.int64)
    turns: list[int] = []
    for record in problem.urgency().tolist():
        kind = int(problem.class_of[record])
        options = np.arange(problem.option_start[kind], problem.option_start[kind + 1])
        effort = int(problem.effort[kind])
        options = options[free[paths[problem.option_cap[options]]].min(axis=1) >= effort]
        if not len(options):
            continue
        chosen = int(options[_best(problem, orders, places, given, options)])
        option_of[record] = chosen
        turns.append(record)
        node = int(problem.option_cap[chosen])
        while node >= 0:
            free[node] -= effort
            node = int(problem.cap_parent[node])
        if (scope := int(problem.option_scope[chosen])) >= 0:
            counted = {Policy.LOAD_BALANCING: effort, Policy.EVEN_VALUE: int(problem.value[record]) if len(problem.value) else 0}
            given[scope, problem.option_seller[chosen]] += counted.get(problem.scopes[scope].policy, 1)
    return option_of, np.array(turns, dtype=np.int64)


def _cap_paths(problem: Problem) -> Ints:
    """Return the nodes around each capacity node, itself first, the last repeated: int64, shape (c + 1, depth); row -1 is for -1."""
    outside = len(problem.cap_free)
    parent = np.append(problem.cap_parent, -1).astype(np.int64)
    rows = [np.arange(outside + 1, dtype=np.int64)]
    while (parent[rows[-1]] >= 0).any():
        around = parent[rows[-1]]
        rows.append(np.where(around >= 0, around, rows[-1]))
    return np.column_stack(rows)


def _best(problem: Problem, orders: Sequence[Order], places: Ints, given: Ints, options: Ints) -> int:
    scope, seller = problem.option_scope[options], problem.option_seller[options]
    position = np.zeros(len(options), dtype=np.int64)
    for index in np.unique(scope[scope >= 0]):
        members = scope == index
        position[members] = orders[index].costs(places[index, seller[members]], given[index, seller[members]])
    keys: list[Ints] = [options, position, scope.astype(np.int64), *(costs[options] for _, costs in reversed(problem.constant_levels()))]
    return int(np.lexsort(keys)[0])
