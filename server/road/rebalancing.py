"""Giving out anew what sellers own, with as few owner changes as the gain is worth: the choice of a run, and what there is to choose."""

from dataclasses import replace

import numpy as np

from reallot.server.road.outcome import Decisions, Frame, Solved
from reallot.server.road.plan import Planner
from reallot.server.road.work import Work
from reallot.solver import assignment
from reallot.solver.assignment.answers import Owned, Point, frontier, owned, within
from reallot.solver.assignment.problem import Ints
from reallot.v1 import run_pb2

_BY_RECORD = ("class_of", "priority", "age_us", "key", "value")


def points_of(work: Work, planner: Planner, problem: assignment.Problem) -> tuple[Owned, list[Point]]:
    """Return the frontier of owner changes against value over owned records, and the problem that it solves.

    Raises:
        NotProven: records take other efforts than 1.
    """
    owners = np.array([planner.pool.place.get(work.records.owner_id[row], -1) for row in planner.rows().tolist()], dtype=np.int64)
    case = owned(problem, owners)
    return case, frontier(case)


def rebalanced(work: Work, planner: Planner, problem: assignment.Problem) -> Decisions:
    """Return what a run decides that may change so many owners: the best of these plans; who stays is not touched.

    Raises:
        CheckFailed: the plan did not pass the independent check.
        NotProven: records take other efforts than 1.
    """
    wanted = run_pb2.RunSelection.FromString(work.task.selection).rebalance
    case, points = points_of(work, planner, problem)
    point = within(points, wanted.most_changes if wanted.HasField("most_changes") else None)
    solution = point.solution()
    assignment.check(case.problem, solution)
    rows, given = planner.rows(), point.option_of >= 0
    moves = np.flatnonzero(given)[case.changes[point.option_of[given]] == 1]
    work.assign[np.setdiff1d(rows, rows[moves])] = False
    place = np.full(len(rows), -1, dtype=np.int64)
    place[moves] = np.arange(len(moves))
    turns: Ints = place[point.turn_order]
    only = replace(case.problem, **{name: getattr(case.problem, name)[moves] for name in _BY_RECORD})
    moved = replace(solution, option_of=point.option_of[moves], turn_order=turns[turns >= 0])
    return Decisions(work, planner, Solved(only, moved, rows[moves]), Frame(sequential=False, limit=0, names=""), only)
