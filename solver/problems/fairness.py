"""Fair plans: even loads, or a floor under everybody's value, before the total; and what fairness costs.

Even load is leximin: the smallest load is as large as can be, then the sum of the two smallest, and so on (the sums of the k smallest
of Ogryczak and Śliwiński, On solving linear programs with the ordered weighted averaging objective, 2003). Maximin value raises the
smallest value of a seller; where less is better, it lowers the largest cost. After that the total counts, level by level. Solved by
CP-SAT, whose limits are deterministic; wall time is a guard.
"""

import enum
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reallot.solver.assignment.result import Limit
from reallot.solver.problems.core import Core, core_of
from reallot.solver.problems.problem import LARGEST_SUM, UNLIMITED, Ints, InvalidProblem, Problem, Sense
from reallot.solver.problems.result import FairnessReport, PriceStep

if TYPE_CHECKING:
    from ortools.sat.python.cp_model import CpModel

DETERMINISTIC_S = 2.0
"""Deterministic time of one question to CP-SAT; one such second is several of wall time. One worker, which is deterministic by itself."""


class Fairness(enum.StrEnum):
    """What is fair, before anything else counts."""

    NONE = "NONE"
    EVEN_LOAD = "EVEN_LOAD"
    """The smallest loads of sellers are as large as can be, from the smallest on."""
    MAXIMIN_VALUE = "MAXIMIN_VALUE"
    """The smallest value of a seller is as large as can be; where less is better, the largest is as small as can be."""


@dataclass(frozen=True)
class Found:
    """A best plan: its open pairs, the value of what was asked and its proven bound, and what ended the search early."""

    picked: Ints
    value: int
    bound: int
    limit: Limit

    @property
    def proven(self) -> bool:
        """Tell whether nothing better is left."""
        return self.value == self.bound


@dataclass(frozen=True)
class FairPlan:
    """A fair plan.

    Attributes:
        picked: Open pairs of the core.
        levels: Value and bound of each level given fairness, as costs of the core.
        limit: What ended a search early; none = everything is proven.
    """

    picked: Ints
    levels: tuple[tuple[int, int], ...]
    limit: Limit


class FairSearch:
    """The model of one problem, asked one thing after the other. Used by one thread."""

    def __init__(self, problem: Problem, fairness: Fairness, start: Ints, deadline: float, seed: int) -> None:
        """Build the model; `start` is a plan that holds, as positions of pairs."""
        from ortools.sat.python import cp_model

        self._cp = cp_model
        self.problem, self.fairness, self.core = problem, fairness, core_of(problem)
        self._deadline, self._seed = deadline, seed
        self._model: CpModel = cp_model.CpModel()
        self._zero = self._model.new_constant(0)
        self._of_seller, self._fixed = _grouped(self.core.seller, self.core.sellers), self._pinned(problem.load)
        self._pairs = [self._model.new_bool_var("") for _ in range(len(self.core.pair))]
        chosen = np.zeros(problem.pairs, dtype=np.bool_)
        chosen[start] = True
        self._best = np.flatnonzero(chosen[self.core.pair]).astype(np.int64)
        self._skips = self._demands()
        self._loads = [self._limited(seller) for seller in range(self.core.sellers)]
        self._gains = self._gained()

    def fairest(self) -> tuple[Found, Limit]:
        """Make the plan as fair as can be; return the first measure, and what ended a search early."""
        if self.fairness is Fairness.MAXIMIN_VALUE:
            found = self._best_of(self._floor(self._gains), least=False)
            return found, found.limit
        return self._leximin()

    def at_least(self, floor: int) -> None:
        """Ask for a measure of at least `floor` from now on."""
        for own in self._gains if self.fairness is Fairness.MAXIMIN_VALUE else self._loads:
            self._model.add(own >= floor)

    def totals(self) -> FairPlan:
        """Make the total as good as can be, level by level."""
        levels: list[tuple[int, int]] = []
        limit = Limit.NONE
        for level in range(len(self.core.cost)):
            cost = self._weighted(np.arange(len(self.core.pair)), self.core.cost[level])
            if level == 0:
                cost += self._linear([self._skips[r] for r in self._skips], [int(self.core.skip_cost[r]) for r in self._skips])
            found = self._best_of(cost, least=True)
            levels.append((found.value, found.bound))
            limit = limit or found.limit
        return FairPlan(self._best, tuple(levels), limit)

    def _leximin(self) -> tuple[Found, Limit]:
        first: Found | None = None
        limit = Limit.NONE
        for count in range(1, self.core.sellers + 1):
            found = self._best_of(self._smallest(count), least=False)
            first, limit = first or found, limit or found.limit
            loads = self._loads_of(found.picked)
            if not found.proven or (self._shares_all() and int(loads.max()) - int(loads.min()) <= 1):
                # Loads that differ by one at most and have a fixed sum cannot be more even.
                break
        if first is None:
            raise ValueError("a problem without sellers cannot be fair")
        return first, limit

    def _shares_all(self) -> bool:
        """Tell whether all plans have the same total load: nobody stays out, and a record's load is the same for every seller."""
        core = self.core
        most, least = np.zeros(core.records, dtype=np.int64), np.full(core.records, UNLIMITED)
        np.maximum.at(most, core.record, core.load)
        np.minimum.at(least, core.record, core.load)
        return bool(not core.optional.any() and (most == np.where(least == UNLIMITED, most, least)).all())

    def _loads_of(self, picked: Ints) -> Ints:
        loads = np.zeros(self.core.sellers, dtype=np.int64)
        np.add.at(loads, self.core.seller[picked], self.core.load[picked])
        return loads + self._pinned(self.problem.load)

    def _pinned(self, column: Ints) -> Ints:
        fixed = np.zeros(self.core.sellers, dtype=np.int64)
        np.add.at(fixed, self.problem.seller[self.core.pinned], column[self.core.pinned])
        return fixed

    def _linear(self, variables: Sequence[Any], factors: Sequence[int]) -> Any:
        return self._zero + self._cp.LinearExpr.weighted_sum(variables, factors) if variables else self._zero + 0

    def _weighted(self, pairs: Ints, factors: Ints) -> Any:
        used = np.flatnonzero(factors)
        return self._linear([self._pairs[pair] for pair in pairs[used].tolist()], factors[used].tolist())

    def _demands(self) -> dict[int, Any]:
        """Have every record get what it needs; return what says that an optional one stays out, by record."""
        core, skips = self.core, {}
        for record, own in enumerate(_grouped(core.record, core.records)):
            given = self._linear([self._pairs[pair] for pair in own.tolist()], [1] * len(own))
            demand = int(core.demand[record])
            if core.optional[record] and demand:
                skips[record] = self._model.new_bool_var("")
                given += demand * skips[record]
            self._model.add(given == demand)
        return skips

    def _limited(self, seller: int) -> Any:
        """Keep a seller's limits; return the load, pinned pairs included."""
        own = self._of_seller[seller]
        load = self._weighted(own, self.core.load[own])
        self._model.add_linear_constraint(load, int(self.core.low[seller]), int(self.core.high[seller]))
        return load + int(self._fixed[seller])

    def _gained(self) -> list[Any]:
        """Return what each seller gets, more = better: the value, or the cost below nothing."""
        cost, sign = self.core.cost[0], 1 if self.problem.sense is Sense.MAXIMISE else -1
        fixed = sign * self._pinned(np.where(self.problem.level == 0, self.problem.value, 0))
        return [self._weighted(own, -cost[own]) + int(fixed[seller]) for seller, own in enumerate(self._of_seller)]

    def _floor(self, own: Sequence[Any]) -> Any:
        floor = self._model.new_int_var(-(2**61), 2**61, "")
        for one in own:
            self._model.add(one >= floor)
        return floor

    def _smallest(self, count: int) -> Any:
        """Return a number that is at most the sum of the `count` smallest loads."""
        if count == len(self._loads):
            return self._cp.LinearExpr.sum(self._loads)
        most = int(self.core.high.max(initial=0)) + int(self._fixed.max(initial=0))
        level = self._model.new_int_var(0, most, "")
        below = [self._model.new_int_var(0, most, "") for _ in self._loads]
        for missing, load in zip(below, self._loads, strict=True):
            self._model.add(missing >= level - load)
        return count * level - self._cp.LinearExpr.sum(below)

    def _best_of(self, asked: Any, *, least: bool) -> Found:
        """Find the best plan, and keep to what it reaches from now on."""
        model, solver = self._model, self._cp.CpSolver()
        model.clear_hints()  # type: ignore[no-untyped-call]
        chosen = set(self._best.tolist())
        for pair, variable in enumerate(self._pairs):
            model.add_hint(variable, pair in chosen)
        (model.minimize if least else model.maximize)(asked)
        solver.parameters.num_workers, solver.parameters.random_seed = 1, self._seed % 2**31
        solver.parameters.max_deterministic_time = DETERMINISTIC_S
        left = solver.parameters.max_time_in_seconds = max(self._deadline - time.perf_counter(), 0.05)
        status = solver.solve(model)
        if status == self._cp.UNKNOWN:
            raise OutOfTime
        if status not in (self._cp.OPTIMAL, self._cp.FEASIBLE):
            raise RuntimeError(f"CP-SAT ended with {solver.status_name(status)} on a problem that has a plan: {model.validate()}")
        value = int(solver.value(asked))
        bound = value if status == self._cp.OPTIMAL else _beyond(solver.best_objective_bound, least=least)
        self._best = np.flatnonzero([solver.boolean_value(pair) for pair in self._pairs]).astype(np.int64)
        model.add(asked <= value if least else asked >= value)
        limit = Limit.NONE if status == self._cp.OPTIMAL else Limit.TIME if solver.wall_time >= left else Limit.METHOD
        return Found(self._best, value, bound, limit)


def _beyond(bound: float, *, least: bool) -> int:
    """Return a bound in floating point as a whole number that is none too good."""
    slack = abs(bound) * 2**-50
    return math.floor(bound - slack) if least and slack >= 1 else math.ceil(bound + slack) if slack >= 1 else round(bound)


class OutOfTime(ArithmeticError):
    """No plan was found in what was left of the time."""


def _grouped(of: Ints | np.ndarray[Any, Any], groups: int) -> list[Ints]:
    """Return the positions of each group."""
    order = np.argsort(of, kind="stable").astype(np.int64)
    return np.split(order, np.cumsum(np.bincount(of, minlength=groups))[:-1]) if groups else []


def check_fair(problem: Problem, fairness: Fairness) -> None:
    """Do nothing if a problem's numbers are small enough for fairness.

    Raises:
        InvalidProblem: they are not.
    """
    loads = int(problem.load.sum()) * max(problem.sellers, 1)
    if fairness is Fairness.EVEN_LOAD and loads > LARGEST_SUM:
        raise InvalidProblem("pairs.load", f"the loads times the sellers add up to more than {LARGEST_SUM}, too much for even loads")


def measured(problem: Problem, fairness: Fairness, chosen: Ints) -> int:
    """Return how fair a plan is: the smallest load, or the smallest value; where less is better, the largest."""
    loads, values = sums_of(problem, chosen)
    if fairness is Fairness.EVEN_LOAD:
        return int(loads.min(initial=UNLIMITED))
    return int(values.min(initial=UNLIMITED) if problem.sense is Sense.MAXIMISE else values.max(initial=-UNLIMITED))


def sums_of(problem: Problem, chosen: Ints) -> tuple[Ints, Ints]:
    """Return the load and the value at level 0 of each seller: int64, shape (m,)."""
    loads, values = np.zeros(problem.sellers, dtype=np.int64), np.zeros(problem.sellers, dtype=np.int64)
    np.add.at(loads, problem.seller[chosen], problem.load[chosen])
    np.add.at(values, problem.seller[chosen], np.where(problem.level[chosen] == 0, problem.value[chosen], 0))
    return loads, values


def fair_plan(
    problem: Problem, fairness: Fairness, start: Ints, plain: tuple[int, int], steps: int, deadline: float, seed: int
) -> tuple[Core, FairPlan, FairnessReport]:
    """Return the fairest plan, the best in total among those, and what fairness costs in steps.

    Args:
        problem: The problem.
        fairness: What is fair.
        start: The best plan without fairness, as positions of pairs.
        plain: Its value and bound at level 0.
        steps: Steps of the price between no fairness and all of it, 0 = none.
        deadline: Instant of `time.perf_counter` at which the search ends.
        seed: Seed of every random choice.

    Raises:
        OutOfTime: there was no time left to look.
    """
    search = FairSearch(problem, fairness, start, deadline, seed)
    first, limit = search.fairest()
    plan = search.totals()
    chosen = search.core.chosen(plan.picked)
    sign = -1 if fairness is Fairness.MAXIMIN_VALUE and problem.sense is Sense.MINIMISE else 1
    reached = measured(problem, fairness, chosen)
    loads, values = sums_of(problem, chosen)
    price = _price(problem, fairness, start, plain, (reached, chosen), steps, deadline, seed) if steps else ()
    report = FairnessReport(loads, values, reached, sign * first.bound, price)
    return search.core, FairPlan(plan.picked, plan.levels, limit or plan.limit), report


def _price(
    problem: Problem,
    fairness: Fairness,
    start: Ints,
    plain: tuple[int, int],
    fairest: tuple[int, Ints],
    steps: int,
    deadline: float,
    seed: int,
) -> tuple[PriceStep, ...]:
    """Return the best totals for floors from that of the plan without fairness to the fairest one's."""
    least, sign = measured(problem, fairness, start), -1 if problem.sense is Sense.MINIMISE and fairness is Fairness.MAXIMIN_VALUE else 1
    made = [PriceStep(least, least, *plain)]
    for step in range(1, steps + 1):
        floor = least + (fairest[0] - least) * step // steps if sign > 0 else least - (least - fairest[0]) * step // steps
        search = FairSearch(problem, fairness, fairest[1], deadline, seed)
        search.at_least(sign * floor)
        level = search.totals()
        value, bound = (_own(problem, search.core, cost) for cost in level.levels[0])
        made.append(PriceStep(floor, measured(problem, fairness, search.core.chosen(level.picked)), value, bound))
    return tuple(made)


def _own(problem: Problem, core: Core, cost: int) -> int:
    """Return a cost of the core at level 0 as a value of the problem."""
    pinned = core.pinned[problem.level[core.pinned] == 0]
    return int(problem.value[pinned].sum()) + (cost if problem.sense is Sense.MINIMISE else -cost)
