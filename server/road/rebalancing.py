"""Giving out anew what sellers own, with as few owner changes as the gain is worth: the choice of a run, and what there is to choose."""

from dataclasses import replace

import numpy as np

from reallot.server.road.outcome import Solved
from reallot.server.road.plan import Planner
from reallot.server.road.work import Work
from reallot.solver import assignment
from reallot.solver.assignment.answers import Owned, Point, frontier, owned, within
from reallot.solver.assignment.problem import Ints

_BY_RECORD = ("class_of", "priority", "age_us", "key", "value")


def owners_of(work: Work, planner: Planner) -> Ints:
    """Return the place in the pool of the owner of each of the problem's records, -1 = none of them: int64, shape (records,)."""
    return np.array([planner.pool.place.get(work.records.owner_id[row], -1) for row in planner.rows().tolist()], dtype=np.int64)


def points_of(work: Work, planner: Planner, problem: assignment.Problem) -> tuple[Owned, list[Point]]:
    """Return the frontier of owner changes against value over owned records, and the problem that it solves.

    Raises:
        NotProven: records take other efforts than 1.
    """
    case = owned(problem, owners_of(work, planner))
    return case, frontier(case)


def rebalanced(problem: assignment.Problem, rows: Ints, owners: Ints, most_changes: int | None) -> Solved:
    """Return the best plan that changes so many owners at most, of the records alone that change theirs.

    Args:
        problem: The problem of all records.
        rows: Row of the batch that each of its records stands for.
        owners: Who owns each, see `owners_of`.
        most_changes: Most that may change, None = as many as the best plan takes.

    Raises:
        CheckFailed: the plan did not pass the independent check.
        NotProven: records take other efforts than 1.
    """
    case = owned(problem, owners)
    point = within(frontier(case), most_changes)
    solution = point.solution()
    assignment.check(case.problem, solution)
    given = point.option_of >= 0
    moves = np.flatnonzero(given)[case.changes[point.option_of[given]] == 1]
    place = np.full(len(rows), -1, dtype=np.int64)
    place[moves] = np.arange(len(moves))
    turns: Ints = place[point.turn_order]
    only = replace(case.problem, **{name: getattr(case.problem, name)[moves] for name in _BY_RECORD})
    return Solved(only, replace(solution, option_of=point.option_of[moves], turn_order=turns[turns >= 0]), rows[moves])
