"""From flow to records: who exactly gets which unit. Deterministic, whatever the order of the input.

Units of a seller in a scope go to the classes by their most urgent record; inside a class, the more urgent records get the units
that are cheaper level by level.
"""

import numpy as np
import numpy.typing as npt

from reallot.solver.assignment.network import Network
from reallot.solver.assignment.problem import Ints, Problem


def expand_records(problem: Problem, network: Network, option_flow: Ints) -> tuple[Ints, Ints]:
    """Return the option of each record (-1 = unassigned) and the assigned records in the order of their turns."""
    urgency = problem.urgency()
    option_of = np.full(problem.records, -1, dtype=np.int64)
    used = np.flatnonzero(option_flow)
    if not len(used):
        return option_of, np.zeros(0, dtype=np.int64)
    first = np.full(problem.classes, problem.records, dtype=np.int64)
    np.minimum.at(first, problem.class_of[urgency], np.arange(problem.records))
    unit = np.repeat(np.arange(len(used)), option_flow[used])
    class_of_used = problem.class_of_option()[used]
    position = _unit_positions(problem, network, used, unit, first[class_of_used])
    ranked = np.lexsort((position, _preference(problem, used, class_of_used)[unit]))
    taken = _most_urgent(problem, urgency, np.bincount(class_of_used[unit], minlength=problem.classes))
    chosen = used[unit[ranked]]
    option_of[taken] = chosen
    turns = np.lexsort((position[ranked], problem.option_scope[chosen]))
    return option_of, taken[turns]


def _preference(problem: Problem, used: Ints, class_of_used: npt.NDArray[np.int32]) -> Ints:
    """Return ranks of options by class, then by what they cost level by level up to the policies; equal ones share theirs."""
    columns: list[Ints] = [
        problem.option_scope[used].astype(np.int64),
        *(costs[used] for _, costs in reversed(problem.constant_levels())),
        class_of_used.astype(np.int64),
    ]
    order = np.lexsort(columns)
    differs = np.zeros(len(used) - 1, dtype=np.bool_)
    for column in columns:
        differs |= column[order][1:] != column[order][:-1]
    rank = np.empty(len(used), dtype=np.int64)
    rank[order] = np.concatenate([[0], np.cumsum(differs)])
    return rank


def _most_urgent(problem: Problem, urgency: Ints, wanted: Ints) -> Ints:
    """Return the `wanted` most urgent records of each class, class by class, each from the most urgent on."""
    by_class = urgency[np.argsort(problem.class_of[urgency], kind="stable")]
    start = np.concatenate([[0], np.cumsum(np.bincount(problem.class_of, minlength=problem.classes))])
    place = np.arange(problem.records) - start[problem.class_of[by_class]]
    taken: Ints = by_class[place < wanted[problem.class_of[by_class]]]
    return taken


def _unit_positions(problem: Problem, network: Network, used: Ints, unit: Ints, first: Ints) -> Ints:
    """Return the position of each unit in its scope, 0 without one.

    `used` are options, `unit` says which of them each unit takes, and `first` orders the units of a seller in a scope by option.
    """
    scope, seller = problem.option_scope[used].astype(np.int64), problem.option_seller[used].astype(np.int64)
    ranked = np.lexsort((first, seller, scope))
    place_of = np.empty(len(used), dtype=np.int64)
    place_of[ranked] = np.arange(len(used))
    order = np.argsort(place_of[unit], kind="stable")
    group = np.concatenate([[0], np.cumsum((np.diff(scope[ranked]) != 0) | (np.diff(seller[ranked]) != 0))])
    sizes = np.bincount(group[place_of[unit[order]]])
    number = np.arange(len(unit)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    position, places = np.zeros(len(unit), dtype=np.int64), problem.places()
    for index, costs in enumerate(network.orders):
        members = np.flatnonzero(scope[unit[order]] == index)
        holder = order[members]
        position[holder] = costs.costs(places[index, seller[unit[holder]]], number[members])
    return position
