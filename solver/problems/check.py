"""The independent check of a plan, with numpy alone: what it violates, and what it is worth."""

from collections.abc import Iterator

import numpy as np

from reallot.solver.problems.problem import UNLIMITED, Ints, Problem, Sense

MOST_NAMED = 20
"""Violations of one kind that are listed; the rest are counted."""


def violations(problem: Problem, chosen: Ints) -> list[str]:
    """Return what a plan violates, for people; empty for a plan that holds.

    Args:
        problem: The problem.
        chosen: Positions of the chosen pairs, in any order: int64.
    """
    if len(chosen) and (int(chosen.min()) < 0 or int(chosen.max()) >= problem.pairs):
        return [f"pair {chosen[(chosen < 0) | (chosen >= problem.pairs)][0]} does not exist"]
    distinct, times = np.unique(chosen, return_counts=True)
    found = [f"pair {pair} is chosen twice" for pair in distinct[times > 1][:MOST_NAMED].tolist()]
    for kind in (_pins(problem, distinct), _demands(problem, distinct), _loads(problem, distinct)):
        named = list(kind)
        found += named[:MOST_NAMED]
        if len(named) > MOST_NAMED:
            found.append(f"and {len(named) - MOST_NAMED} more of this kind")
    return found


def level_values(problem: Problem, chosen: Ints) -> list[int]:
    """Return the value of a plan at every level, in the problem's own sense."""
    taken = np.zeros(problem.levels, dtype=np.int64)
    np.add.at(taken, problem.level[chosen], problem.value[chosen])
    skipped = int(problem.skip_cost[unassigned(problem, chosen)].sum())
    taken[0] += skipped if problem.sense is Sense.MINIMISE else -skipped
    values: list[int] = taken.tolist()
    return values


def unassigned(problem: Problem, chosen: Ints) -> Ints:
    """Return the records that need somebody and have nobody: int64, ascending."""
    given = np.bincount(problem.record[chosen], minlength=problem.records)
    return np.flatnonzero((problem.demand > 0) & (given == 0)).astype(np.int64)


def loads(problem: Problem, chosen: Ints) -> Ints:
    """Return the load of each seller: int64, shape (m,)."""
    total = np.zeros(problem.sellers, dtype=np.int64)
    np.add.at(total, problem.seller[chosen], problem.load[chosen])
    return total


def _pins(problem: Problem, chosen: Ints) -> Iterator[str]:
    left = problem.pinned.copy()
    left[chosen] = False
    for pair in np.flatnonzero(left).tolist():
        record, seller = problem.record_name(int(problem.record[pair])), problem.seller_name(int(problem.seller[pair]))
        yield f"{record} is pinned to {seller} and not given to it"


def _demands(problem: Problem, chosen: Ints) -> Iterator[str]:
    given = np.bincount(problem.record[chosen], minlength=problem.records)
    out = problem.optional & (given == 0)
    for record in np.flatnonzero((given != problem.demand) & ~out).tolist():
        yield f"{problem.record_name(record)} needs {problem.demand[record]} sellers and has {given[record]}"


def _loads(problem: Problem, chosen: Ints) -> Iterator[str]:
    total = loads(problem, chosen)
    for seller in np.flatnonzero(total < problem.minimum_load).tolist():
        yield f"{problem.seller_name(seller)} carries {total[seller]}, at least {problem.minimum_load[seller]} is asked for"
    for seller in np.flatnonzero((total > problem.maximum_load) & (problem.maximum_load < UNLIMITED)).tolist():
        yield f"{problem.seller_name(seller)} carries {total[seller]}, at most {problem.maximum_load[seller]} is allowed"
