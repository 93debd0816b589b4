"""Who works what: problem, strict levels, policies, and the independent check."""

from reallot.solver.assignment.bundles import Bundles, most_urgent
from reallot.solver.assignment.check import CheckFailed, check
from reallot.solver.assignment.problem import Contacts, Holdings, InvalidProblem, Policy, Problem, Scope, Shares
from reallot.solver.assignment.result import Level, Limit, Reason, Solution, Termination
from reallot.solver.assignment.solve import SOLVER_VERSION, solve

__all__ = [
    "SOLVER_VERSION",
    "Bundles",
    "CheckFailed",
    "Contacts",
    "Holdings",
    "InvalidProblem",
    "Level",
    "Limit",
    "Policy",
    "Problem",
    "Reason",
    "Scope",
    "Shares",
    "Solution",
    "Termination",
    "check",
    "most_urgent",
    "solve",
]
