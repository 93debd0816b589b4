"""What can be said of a solved problem beside its plan: what stands in a record's way, what one more slot would be worth."""

from reallot.solver.assignment.answers.blocking import Blocking, blocking, holds
from reallot.solver.assignment.answers.residual import NotProven
from reallot.solver.assignment.answers.worth import Worth, worth

__all__ = ["Blocking", "NotProven", "Worth", "blocking", "holds", "worth"]
