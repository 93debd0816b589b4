"""Problems of the caller's own between the contract and the solver. Used in the solving process: columns are long."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from reallot.solver.problems import (
    Conflict,
    Fairness,
    FairnessReport,
    Problem,
    Progress,
    Sense,
    Solution,
    level_values,
    problem_of,
    violations,
)
from reallot.solver.problems.problem import Ints
from reallot.v1 import run_pb2, solver_service_pb2

Part = solver_service_pb2.SolveRequest | solver_service_pb2.CheckPlanRequest

_NAMES = {"record_ids", "seller_ids"}
_RECORDS = ("record_ids", "demand", "effort", "optional", "skip_cost")
_SELLERS = ("seller_ids", "minimum_load", "maximum_load")
_PAIRS = ("record", "seller", "value", "load", "level", "pinned", "hint")


def to_problem(parts: Sequence[Part]) -> Problem:
    """Return the problem that comes in parts; where no column tells how many records or sellers there are, the pairs do.

    Raises:
        InvalidProblem: the columns contradict each other, or a number is out of its range.
    """
    records = _columns([part.records for part in parts], _RECORDS)
    sellers = _columns([part.sellers for part in parts], _SELLERS)
    pairs = _columns([part.pairs for part in parts], _PAIRS)
    sense = parts[0].options.sense if parts else solver_service_pb2.SENSE_UNSPECIFIED
    return problem_of(
        records=_rows(records, pairs["record"]),
        sellers=_rows(sellers, pairs["seller"]),
        **records,
        **sellers,
        **pairs,
        sense=Sense.MAXIMISE if sense == solver_service_pb2.SENSE_MAXIMISE else Sense.MINIMISE,
    )


def _columns(parts: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        pieces = [getattr(part, name) for part in parts]
        if name in _NAMES:
            found[name] = [text for piece in pieces for text in piece]
        else:
            arrays = [np.fromiter(piece, dtype=np.int64, count=len(piece)) for piece in pieces]
            found[name] = np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.int64)
    return found


def _rows(columns: dict[str, Any], named: Ints) -> int:
    return max(len(column) for column in columns.values()) or int(named.max(initial=-1)) + 1


def solution_message(solution: Solution) -> solver_service_pb2.Solution:
    """Return a solution as a message."""
    termination = solution.termination
    return solver_service_pb2.Solution(
        termination=run_pb2.Termination(
            reason=run_pb2.TerminationReason.Value(f"TERMINATION_REASON_{termination.reason}"),
            limit=run_pb2.TerminationLimit.Value(f"TERMINATION_LIMIT_{termination.limit or 'UNSPECIFIED'}"),
        ),
        pairs=solution.chosen.tolist(),
        unassigned=solution.unassigned.tolist(),
        levels=[_level(index, level.value, level.bound) for index, level in enumerate(solution.levels)],
        conflict=_conflict(solution.conflict) if solution.conflict is not None else None,
        seconds=solution.seconds["total"],
        replayable=solution.replayable,
        fairness=_fairness(solution.fairness) if solution.fairness is not None else None,
    )


def _fairness(report: FairnessReport) -> solver_service_pb2.FairnessReport:
    price = [solver_service_pb2.PriceStep(floor=s.floor, measure=s.measure, value=s.value, bound=s.bound) for s in report.price]
    return solver_service_pb2.FairnessReport(
        loads=report.loads.tolist(), values=report.values.tolist(), measure=report.measure, bound=report.bound, price=price
    )


def to_fairness(fairness: solver_service_pb2.Fairness.ValueType) -> Fairness:
    """Return what a caller thinks fair."""
    name = solver_service_pb2.Fairness.Name(fairness).removeprefix("FAIRNESS_")
    return Fairness.NONE if name == "UNSPECIFIED" else Fairness(name)


def _level(index: int, value: int, bound: int) -> run_pb2.LevelResult:
    return run_pb2.LevelResult(level_id=f"value:{index}", value=value, bound=bound)


def _conflict(conflict: Conflict) -> solver_service_pb2.ConflictSet:
    return solver_service_pb2.ConflictSet(
        records=conflict.records.tolist(), sellers=conflict.sellers.tolist(), text=conflict.text, minimal=conflict.minimal
    )


def progress_message(progress: Progress) -> solver_service_pb2.SolveProgress:
    """Return progress as a message."""
    return solver_service_pb2.SolveProgress(value=progress.value, bound=progress.bound, seconds=progress.seconds)


def checked_message(problem: Problem, chosen: Ints) -> solver_service_pb2.CheckPlanResponse:
    """Return what a plan is worth and what it violates; one that names pairs that do not exist is worth nothing."""
    found = violations(problem, chosen)
    exists = not len(chosen) or (int(chosen.min()) >= 0 and int(chosen.max()) < problem.pairs)
    values = level_values(problem, np.unique(chosen)) if exists else []
    return solver_service_pb2.CheckPlanResponse(
        levels=[_level(index, value, value) for index, value in enumerate(values)], violations=found
    )
