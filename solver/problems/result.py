"""What solving a problem of the caller's own gives."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from reallot.solver.assignment.result import Limit
from reallot.solver.problems.problem import Ints

NOTHING = np.zeros(0, dtype=np.int64)


class Reason(enum.StrEnum):
    """Why solving ended."""

    OPTIMAL = "OPTIMAL"
    FEASIBLE = "FEASIBLE"
    INFEASIBLE = "INFEASIBLE"
    NO_SOLUTION_FOUND = "NO_SOLUTION_FOUND"


@dataclass(frozen=True, slots=True)
class Termination:
    """How solving ended; a limit goes with FEASIBLE and NO_SOLUTION_FOUND, and only with these."""

    reason: Reason
    limit: Limit = Limit.NONE

    def __post_init__(self) -> None:
        if (self.reason in (Reason.FEASIBLE, Reason.NO_SOLUTION_FOUND)) != (self.limit is not Limit.NONE):
            raise ValueError(f"a limit goes with FEASIBLE and NO_SOLUTION_FOUND only, not {self.reason} with {self.limit!r}")


@dataclass(frozen=True, slots=True)
class Level:
    """Value of the plan at one level, in the problem's own sense, and a proven bound given the levels before."""

    value: int
    bound: int

    @property
    def gap(self) -> float:
        """Distance of value and bound, as a share of the value."""
        return abs(self.value - self.bound) / max(abs(self.value), 1)


@dataclass(frozen=True)
class Conflict:
    """Records and sellers that cannot all be satisfied.

    To satisfy a record is to give it all the sellers it needs, or none if it is optional; to satisfy a seller is to keep its minimum and
    maximum. A record that is not a member may go short, but gets no more than it needs; a seller who is not one may carry anything.

    Attributes:
        records, sellers: Positions, ascending: int64.
        text: For people.
        minimal: Every member is needed: without any one of them the others can be satisfied. False where proving that took too long.
    """

    records: Ints
    sellers: Ints
    text: str
    minimal: bool = True


@dataclass(frozen=True, slots=True)
class PriceStep:
    """What a floor under the measure of fairness costs: floor, measure reached, best value of the first level and its bound."""

    floor: int
    measure: int
    value: int
    bound: int


@dataclass(frozen=True)
class FairnessReport:
    """How fair a plan is.

    Attributes:
        loads: Load of each seller: int64, shape (m,).
        values: Value of each seller at the first level: int64, shape (m,).
        measure: What was made fair: the smallest load, or the smallest value (the largest cost where less is better).
        bound: Proven bound of it.
        price: From the plan without fairness to the fairest; empty unless asked for.
    """

    loads: Ints
    values: Ints
    measure: int
    bound: int
    price: tuple[PriceStep, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a solve is: best value and bound of the first level so far, None = none yet; seconds since it began."""

    value: int | None
    bound: int | None
    seconds: float


OnProgress = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """Hear of progress and do nothing."""


@dataclass(frozen=True)
class Solution:
    """A plan, or the reason why there is none.

    Attributes:
        termination: How solving ended.
        chosen: Positions of the chosen pairs, ascending: int64.
        unassigned: Positions of records that need somebody and have nobody, ascending: int64.
        levels: Values and bounds; empty without a plan.
        conflict: Why there is no plan; None unless INFEASIBLE.
        seconds: Wall seconds by step.
        fairness: How fair the plan is; None unless that was asked for.
    """

    termination: Termination
    chosen: Ints = field(default_factory=lambda: NOTHING)
    unassigned: Ints = field(default_factory=lambda: NOTHING)
    levels: tuple[Level, ...] = ()
    conflict: Conflict | None = None
    seconds: dict[str, float] = field(default_factory=dict, compare=False)
    fairness: FairnessReport | None = None

    @property
    def has_plan(self) -> bool:
        """Tell whether there is a plan."""
        return self.termination.reason in (Reason.OPTIMAL, Reason.FEASIBLE)

    @property
    def replayable(self) -> bool:
        """Tell whether the same input gives the same answer: whatever the clock has stopped may end elsewhere the next time."""
        return self.termination.limit is not Limit.TIME
