"""Who works what: problem, strict levels, policies, and the independent check."""

from reallot.solver.assignment.bundles import Bundles, most_urgent
from reallot.solver.assignment.check import CheckFailed, check
from reallot.solver.assignment.problem import InvalidProblem, Policy, Problem, Scope
from reallot.solver.assignment.result import Level, Limit, Reason, Solution, Termination
from reallot.solver.assignment.solve import SOLVER_VERSION, solve

__all__ = [
    "SOLVER_VERSION",
    "Bundles",
    "CheckFailed",
    "InvalidProblem",
    "Level",
    "Limit",
    "Policy",
    "Problem",
    "Reason",
    "Scope",
    "Solution",
    "Termination",
    "check",
    "most_urgent",
    "solve",
]
