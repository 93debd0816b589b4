"""From flow to records: who exactly gets which unit. Deterministic, whatever the order of the input.

Units of a seller in a scope go to the classes by their most urgent record; inside a class, the more urgent records get the units
that are cheaper level by level.
"""

import numpy as np

from reallot.solver.assignment.network import Network
from reallot.solver.assignment.problem import Ints, Problem


def expand_records(problem: Problem, network: Network, option_flow: Ints) -> tuple[Ints, Ints]:
    """Return the option of each record (-1 = unassigned) and the assigned records in the order of their turns."""
    urgency = problem.urgency()
    option_of = np.full(problem.records, -1, dtype=np.int64)
    first = np.full(problem.classes, problem.records, dtype=np.int64)
    np.minimum.at(first, problem.class_of[urgency], np.arange(problem.records))
    option = np.repeat(np.arange(problem.options), option_flow)
    if not len(option):
        return option_of, np.zeros(0, dtype=np.int64)
    class_of_unit = problem.class_of_option()[option]
    position = unit_positions(problem, network, option, first[class_of_unit])
    ranked = np.lexsort(
        (
            option,
            position,
            problem.option_scope[option],
            problem.option_fit[option],
            problem.option_bucket[option],
            problem.option_rank[option],
            class_of_unit,
        )
    )
    taken = _most_urgent(problem, urgency, np.bincount(class_of_unit, minlength=problem.classes))
    option_of[taken] = option[ranked]
    turns = np.lexsort((np.arange(len(taken)), position[ranked], problem.option_scope[option[ranked]]))
    return option_of, taken[turns]


def _most_urgent(problem: Problem, urgency: Ints, wanted: Ints) -> Ints:
    """Return the `wanted` most urgent records of each class, class by class, each from the most urgent on."""
    by_class = urgency[np.argsort(problem.class_of[urgency], kind="stable")]
    start = np.concatenate([[0], np.cumsum(np.bincount(problem.class_of, minlength=problem.classes))])
    place = np.arange(problem.records) - start[problem.class_of[by_class]]
    taken: Ints = by_class[place < wanted[problem.class_of[by_class]]]
    return taken


def unit_positions(problem: Problem, network: Network, option: Ints, first: Ints) -> Ints:
    """Return the position of each unit in its scope, 0 without one; `first` orders the units of a seller and scope."""
    position = np.zeros(len(option), dtype=np.int64)
    scope, seller = problem.option_scope[option].astype(np.int64), problem.option_seller[option].astype(np.int64)
    ranked = np.lexsort((option, first, seller, scope))
    fresh = np.concatenate([[True], (scope[ranked][1:] != scope[ranked][:-1]) | (seller[ranked][1:] != seller[ranked][:-1])])
    begins = np.flatnonzero(fresh)
    lengths = np.diff(np.concatenate([begins, [len(option)]]))
    number = np.arange(len(option)) - np.repeat(begins, lengths)
    places = problem.places()
    for index, order in enumerate(network.orders):
        members = scope[ranked] == index
        position[ranked[members]] = order.costs(places[index, seller[ranked[members]]], number[members])
    return position
