"""From a problem to a checked plan: the method is chosen by the structure, and every plan is checked before it is handed out."""

import time
from dataclasses import replace

import numpy as np

from reallot.solver.assignment.check import CheckFailed
from reallot.solver.assignment.result import Limit
from reallot.solver.problems.check import level_values, unassigned, violations
from reallot.solver.problems.conflict import flow_conflict, narrowed
from reallot.solver.problems.core import Core, alone_conflict, core_of
from reallot.solver.problems.fairness import Fairness, OutOfTime, check_fair, fair_plan, measured, sums_of
from reallot.solver.problems.integer import Outcome, Told, least_cost, solve_level
from reallot.solver.problems.linear import Search, program_of, relax
from reallot.solver.problems.problem import UNLIMITED, Ints, Problem, Sense
from reallot.solver.problems.result import Conflict, FairnessReport, Level, OnProgress, Progress, Reason, Solution, Termination, ignore
from reallot.solver.problems.transport import FlowTooLarge, Units, solve_transport, units_of

DEFAULT_TIME_LIMIT_S = 60.0
QUESTION_NODES, QUESTION_S = 2_000, 10.0
"""Bounds of one question whether some records and sellers can be satisfied."""


def solve(
    problem: Problem,
    *,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
    seed: int = 0,
    on_progress: OnProgress = ignore,
    fairness: Fairness = Fairness.NONE,
    price_steps: int = 0,
) -> Solution:
    """Solve a problem.

    Where every seller's pairs have one load, the plan is exact (a flow). Elsewhere it comes with a bound, and at the time limit it is the
    best that was found.

    Args:
        problem: The problem.
        time_limit_s: Wall time for the search on problems that are no flow.
        seed: Seed of every random choice.
        on_progress: Hears of better plans and bounds of the first level, from any thread.
        fairness: What is fair, before anything else counts; the best plan without it is found first, in a third of the time.
        price_steps: In how many steps from no fairness to all of it to say what it costs, 0 = not at all.

    Raises:
        CheckFailed: a plan did not pass the independent check; never handed out.
    """
    check_fair(problem, fairness)
    fair = fairness is not Fairness.NONE and problem.sellers > 0
    run = _Run(problem, time_limit_s / 3 if fair else time_limit_s, seed, on_progress)
    solution = run.solution()
    if fair and solution.has_plan:
        solution = _fairest(problem, solution, fairness, price_steps, run.started + time_limit_s, seed)
    if solution.has_plan:
        found = violations(problem, solution.chosen)
        if found:
            raise CheckFailed(found)
    return solution


def _fairest(problem: Problem, plain: Solution, fairness: Fairness, price_steps: int, deadline: float, seed: int) -> Solution:
    """Return the fairest plan, given the best without fairness; where the time is up before anything fairer is found, that one."""
    started, first = time.perf_counter(), plain.levels[0]
    try:
        core, plan, report = fair_plan(problem, fairness, plain.chosen, (first.value, first.bound), price_steps, deadline, seed)
    except OutOfTime:
        loads, values = sums_of(problem, plain.chosen)
        reached = measured(problem, fairness, plain.chosen)
        widest = -UNLIMITED if fairness is Fairness.MAXIMIN_VALUE and problem.sense is Sense.MINIMISE else UNLIMITED
        report = FairnessReport(loads, values, reached, widest)
        return replace(plain, termination=Termination(Reason.FEASIBLE, Limit.TIME), fairness=report)
    chosen, sign = core.chosen(plan.picked), 1 if problem.sense is Sense.MINIMISE else -1
    pinned = [int(problem.value[core.pinned[problem.level[core.pinned] == level]].sum()) for level in range(problem.levels)]
    levels = tuple(Level(at + sign * cost, at + sign * bound) for at, (cost, bound) in zip(pinned, plan.levels, strict=True))
    termination = Termination(Reason.FEASIBLE, plan.limit) if plan.limit else Termination(Reason.OPTIMAL)
    spent = time.perf_counter() - started
    seconds = {**plain.seconds, "fairness": spent, "total": plain.seconds["total"] + spent}
    return Solution(termination, chosen, unassigned(problem, chosen), levels, None, seconds, report)


class _Run:
    def __init__(self, problem: Problem, time_limit_s: float, seed: int, on_progress: OnProgress) -> None:
        self.problem, self.seed, self.on_progress = problem, seed, on_progress
        self.started = time.perf_counter()
        self.deadline = self.started + time_limit_s
        self.seconds: dict[str, float] = {}

    def solution(self) -> Solution:
        if (conflict := alone_conflict(self.problem)) is not None:
            return self._ended(Termination(Reason.INFEASIBLE), conflict=conflict)
        core = core_of(self.problem)
        units = units_of(core)
        if units is not None:
            try:
                return self._flow(core, units)
            except FlowTooLarge:
                pass
        return self._integer(core)

    def _flow(self, core: Core, units: Units) -> Solution:
        found = solve_transport(core, units)
        if found is None:
            return self._ended(Termination(Reason.INFEASIBLE), conflict=self._conflict(core, units))
        chosen = core.chosen(found[0])
        values = level_values(self.problem, chosen)
        return self._ended(Termination(Reason.OPTIMAL), chosen, tuple(Level(value, value) for value in values))

    def _integer(self, core: Core) -> Solution:
        values: list[tuple[Ints, Ints, int]] = []
        plans: list[Ints] = [np.flatnonzero(self.problem.hint[core.pair]).astype(np.int64)]
        levels: list[Level] = []
        for level in range(len(core.cost)):
            outcome = solve_level(core, level, values, plans[-1:], self.deadline, self.seed, self._teller(core, level))
            if outcome.infeasible:
                return self._ended(Termination(Reason.INFEASIBLE), conflict=self._conflict(core, None))
            if outcome.picked is None or outcome.cost is None:
                break
            plans.append(outcome.picked)
            if not outcome.proven:
                break
            skip_cost = core.skip_cost if level == 0 else np.zeros_like(core.skip_cost)
            values.append((core.cost[level], skip_cost, outcome.cost))
            levels.append(self._level(core, level, outcome))
        if len(plans) == 1:
            return self._ended(Termination(Reason.NO_SOLUTION_FOUND, Limit.TIME))
        chosen = core.chosen(plans[-1])
        if len(levels) < len(core.cost):
            found = level_values(self.problem, chosen)
            levels.append(self._level(core, len(levels), outcome))
            nothing = np.zeros_like(core.skip_cost)
            for level in range(len(levels), len(core.cost)):
                levels.append(Level(found[level], self._own(core, level, least_cost(core, core.cost[level], nothing))))
            return self._ended(Termination(Reason.FEASIBLE, Limit.TIME), chosen, tuple(levels))
        return self._ended(Termination(Reason.OPTIMAL), chosen, tuple(levels))

    def _offset(self, core: Core, level: int) -> int:
        """Return what the pinned pairs add to a level, in the problem's own sense."""
        own = core.pinned[self.problem.level[core.pinned] == level]
        return int(self.problem.value[own].sum())

    def _own(self, core: Core, level: int, cost: int) -> int:
        """Return a cost of the core as a value of the problem."""
        return self._offset(core, level) + (cost if self.problem.sense is Sense.MINIMISE else -cost)

    def _level(self, core: Core, level: int, outcome: Outcome) -> Level:
        if outcome.cost is None or outcome.bound is None:
            raise ValueError("a level without a plan has no value")
        return Level(self._own(core, level, outcome.cost), self._own(core, level, outcome.bound))

    def _teller(self, core: Core, level: int) -> Told:
        def told(cost: int | None, bound: int | None) -> None:
            if level == 0:
                value, proven = (None if number is None else self._own(core, 0, number) for number in (cost, bound))
                self.on_progress(Progress(value, proven, time.perf_counter() - self.started))

        return told

    def _conflict(self, core: Core, units: Units | None) -> Conflict:
        """Return a conflict of a core without a plan."""
        # Where a seller is left out of the conflict, also pairs count that are too large for its maximum.
        whole = core_of(self.problem, every_pair=True)
        if units is not None and len(whole.pair) == len(core.pair):
            return flow_conflict(self.problem, core, units)
        # An optional record that needs several has all of them or none, which may be in the way too.
        needing = np.flatnonzero((whole.required > 0) | (whole.optional & (whole.demand > 1))).astype(np.int64)
        everybody = np.arange(whole.sellers, dtype=np.int64)
        return narrowed(self.problem, needing, everybody, lambda records, sellers: self._cannot(whole, records, sellers))

    def _cannot(self, core: Core, records: Ints, sellers: Ints) -> bool:
        kept, bound = np.zeros(core.records, dtype=np.bool_), np.zeros(core.sellers, dtype=np.bool_)
        kept[records], bound[sellers] = True, True
        zero = np.zeros(len(core.pair), dtype=np.int64)
        everything = np.arange(len(core.pair), dtype=np.int64)
        program = program_of(core, zero, np.zeros_like(core.skip_cost), everything, enforced=(kept, bound))
        if relax(program, QUESTION_S).feasible is False:
            return True
        search = Search(program, QUESTION_S, self.seed, None, lambda columns, at: None, nodes=QUESTION_NODES)
        return search.run().feasible is False

    def _ended(
        self, termination: Termination, chosen: Ints | None = None, levels: tuple[Level, ...] = (), conflict: Conflict | None = None
    ) -> Solution:
        seconds = {**self.seconds, "total": time.perf_counter() - self.started}
        if chosen is None:
            return Solution(termination, conflict=conflict, seconds=seconds)
        return Solution(termination, chosen, unassigned(self.problem, chosen), levels, None, seconds)
