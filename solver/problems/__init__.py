"""Problems of the caller's own: records, sellers and pairs as columns, solved with a bound, checked independently."""

from reallot.solver.problems.check import level_values, loads, unassigned, violations
from reallot.solver.problems.fairness import Fairness
from reallot.solver.problems.problem import InvalidProblem, Problem, Sense, problem_of
from reallot.solver.problems.result import Conflict, FairnessReport, Level, PriceStep, Progress, Reason, Solution, Termination
from reallot.solver.problems.solve import solve

__all__ = [
    "Conflict",
    "Fairness",
    "FairnessReport",
    "InvalidProblem",
    "Level",
    "PriceStep",
    "Problem",
    "Progress",
    "Reason",
    "Sense",
    "Solution",
    "Termination",
    "level_values",
    "loads",
    "problem_of",
    "solve",
    "unassigned",
    "violations",
]
