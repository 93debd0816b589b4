"""What can be said of a solved problem beside its plan: what stands in a record's way, what one more slot would be worth."""

from reallot.solver.assignment.answers.blocking import Blocking, blocking, holds
from reallot.solver.assignment.answers.frontier import Owned, Point, frontier, owned, within
from reallot.solver.assignment.answers.instead import Change, Instead, alone, instead
from reallot.solver.assignment.answers.residual import NotProven
from reallot.solver.assignment.answers.worth import Worth, worth

__all__ = [
    "Blocking",
    "Change",
    "Instead",
    "NotProven",
    "Owned",
    "Point",
    "Worth",
    "alone",
    "blocking",
    "frontier",
    "holds",
    "instead",
    "owned",
    "within",
    "worth",
]
