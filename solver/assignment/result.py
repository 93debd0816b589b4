"""What solving gives: a plan, how good it is at every level, and the proof."""

import enum
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from reallot.solver.assignment.problem import Ints


class Reason(enum.StrEnum):
    """Why solving ended."""

    OPTIMAL = "OPTIMAL"
    FEASIBLE = "FEASIBLE"


class Limit(enum.StrEnum):
    """What ended solving early; set if and only if the reason is FEASIBLE."""

    NONE = ""
    TIME = "TIME"
    CANCELLED = "CANCELLED"
    METHOD = "METHOD"
    """The method does not prove more on this kind of problem."""


@dataclass(frozen=True, slots=True)
class Termination:
    """How solving ended."""

    reason: Reason
    limit: Limit = Limit.NONE

    def __post_init__(self) -> None:
        if (self.reason is Reason.FEASIBLE) != (self.limit is not Limit.NONE):
            raise ValueError(f"a limit goes with FEASIBLE only, not {self.reason} with {self.limit!r}")


@dataclass(frozen=True, slots=True)
class Level:
    """Value of the plan at one level, lower is better, and a proven lower bound given the levels before (None = none proven)."""

    level_id: str
    value: int
    bound: int | None


@dataclass(frozen=True)
class Stage:
    """Levels that were solved at once, and the potentials that prove the result.

    Attributes:
        levels: Positions of the levels in the network's list, in order.
        factors: What each level's costs were multiplied with.
        potential: Node potentials: int64, shape (nodes,).
    """

    levels: tuple[int, ...]
    factors: tuple[int, ...]
    potential: Ints


@dataclass(frozen=True)
class Solution:
    """A plan.

    Attributes:
        option_of: Chosen option of each record, -1 = unassigned: int64, shape (n,).
        turn_order: Assigned records in the order in which they take their turns: int64.
        levels: The levels in order; coverage has one a priority value.
        termination: How solving ended.
        proof: The stages that were proven; empty for a plan without proof.
        seconds: Wall seconds by step.
    """

    option_of: Ints
    turn_order: Ints
    levels: tuple[Level, ...]
    termination: Termination
    proof: tuple[Stage, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict, compare=False)

    @property
    def assigned(self) -> npt.NDArray[np.bool_]:
        """Which records have an option: bool, shape (n,)."""
        return self.option_of >= 0
