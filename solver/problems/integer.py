"""Loads that differ by pair (generalised assignment) and whatever else is no flow: bound, plan and proof.

The relaxation gives a bound (Savelsbergh, 1997, has a tighter one; HiGHS's cuts take that part here), prices of load, and reduced costs.
Local search finds a plan: ejection chains a first one, exact replanning of a few sellers at a time better ones. Pairs whose reduced cost
alone exceeds the distance of plan and bound cannot be part of a better one. HiGHS then works on what is left, in a thread, while local
search goes on in longer and longer rounds, from the best plan of both, until HiGHS is done or the time is up. If HiGHS proves its plan,
that plan is taken, so that the answer does not depend on how far local search has come.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reallot.solver.problems.annealing import Choices, State, anneal, begin, place
from reallot.solver.problems.compiling import prepare
from reallot.solver.problems.core import Core
from reallot.solver.problems.linear import Found, Program, Search, program_of, relax, whole_bound
from reallot.solver.problems.problem import UNLIMITED, Ints
from reallot.solver.problems.replanning import FIRST_ITEMS, replan

Floats = npt.NDArray[np.float64]

EXACT = 2**50
"""Below this HiGHS tells neighbouring whole costs apart."""
FEW_PAIRS, FEW_NODES = 6_000, 60
"""On so few pairs HiGHS alone may try first, up to so many nodes."""
MOST_DEMAND = 8
"""Records that need more sellers than this are left to HiGHS."""
CANDIDATES = 6
"""Sellers to which local search takes an item, beside as many as its record needs."""
FIRST_STEPS, CHUNK_STEPS = 400_000, 100_000
"""Steps of local search before HiGHS begins, and between two looks at the clock."""
HOT, COLD, DEEP = 1.5, 0.3, 0.8
"""Temperatures of annealing, in mean distances of reduced cost between candidates; share of chains of three."""
FIRST_NODES, CHUNK_NODES, LONGER = 20_000_000, 2_000_000, 2
"""Branches of replanning before HiGHS begins, and between two looks at the clock; by how much each round is longer than the last."""
WARM, COOL = 0.7, 0.07
"""Temperatures of replanning, in mean distances, at the beginning and at the end of each round."""

Told = Callable[[int | None, int | None], None]
"""Hears the best cost and the best bound so far."""


@dataclass(frozen=True)
class Outcome:
    """What was found for one level.

    Attributes:
        picked: Open pairs of the plan: int64; None without a plan.
        cost: Its cost at the level; None without a plan.
        bound: Proven lower bound of the cost; None = none.
        infeasible: There is no plan, proven.
    """

    picked: Ints | None = None
    cost: int | None = None
    bound: int | None = None
    infeasible: bool = False

    @property
    def proven(self) -> bool:
        """Tell whether the plan is optimal."""
        return self.cost is not None and self.bound is not None and self.cost <= self.bound


class _Level:
    """The search for one level's plan. Used once; `take` may be called from HiGHS's thread."""

    def __init__(self, core: Core, cost: Ints, skip_cost: Ints, values: list[tuple[Ints, Ints, int]], deadline: float, told: Told) -> None:
        self.core, self.cost, self.skip_cost, self.values = core, cost, skip_cost, values
        self.deadline, self.told = deadline, told
        self.best: Ints | None = None
        self.best_cost: int | None = None
        self.bound: int | None = None
        self.unit = 1
        self._lock = threading.Lock()

    @property
    def left_s(self) -> float:
        """Seconds left."""
        return self.deadline - time.perf_counter()

    def cost_of(self, picked: Ints) -> int:
        """Return what a plan costs at the level."""
        given = np.bincount(self.core.record[picked], minlength=self.core.records)
        out = self.core.optional & (given == 0) & (self.core.demand > 0)
        return int(self.cost[picked].sum()) + int(self.skip_cost[out].sum())

    def take(self, picked: Ints, *, proven: bool = False) -> bool:
        """Keep a plan if it holds and is the best so far; one that is proven is kept before others of its cost."""
        if not holds(self.core, picked, self.values):
            return False
        cost = self.cost_of(picked)
        with self._lock:
            if self.best_cost is None or cost < self.best_cost or (proven and cost == self.best_cost):
                better = self.best_cost is None or cost < self.best_cost
                self.best, self.best_cost = np.sort(picked), cost
                if better:
                    self.told(cost, self.bound)
        return True

    def raise_bound(self, bound: float) -> None:
        """Keep a lower bound if it is the best so far."""
        whole = whole_bound(bound, self.unit)
        if whole is not None:
            self.raise_whole(whole)

    def raise_whole(self, bound: int) -> None:
        """Keep a lower bound that is exact if it is the best so far."""
        with self._lock:
            if self.bound is None or bound > self.bound:
                self.bound = bound
                self.told(self.best_cost, bound)

    def outcome(self) -> Outcome:
        """Return what was found."""
        return Outcome(self.best, self.best_cost, self.bound)

    @property
    def proven(self) -> bool:
        """Tell whether nothing better is left."""
        return self.outcome().proven


def holds(core: Core, picked: Ints, values: list[tuple[Ints, Ints, int]]) -> bool:
    """Tell whether picked pairs are a plan of the core that keeps the levels before."""
    given = np.bincount(core.record[picked], minlength=core.records)
    out = core.optional & (given == 0)
    load = np.zeros(core.sellers, dtype=np.int64)
    np.add.at(load, core.seller[picked], core.load[picked])
    if ((given != core.demand) & ~out).any() or (load < core.low).any() or (load > core.high).any():
        return False
    out &= core.demand > 0
    return all(int(cost[picked].sum()) + int(skip[out].sum()) <= most for cost, skip, most in values)


def solve_level(
    core: Core,
    level: int,
    values: list[tuple[Ints, Ints, int]],
    start: list[Ints],
    deadline: float,
    seed: int,
    told: Told,
) -> Outcome:
    """Find a plan of least cost at a level, with a bound.

    Args:
        core: The core.
        level: The level.
        values: Levels before: costs of the open pairs, of staying out, and what they may add up to.
        start: Plans that may serve as a beginning; those that do not hold are passed over.
        deadline: Instant of `time.perf_counter` at which the search ends.
        seed: Seed of every random choice.
        told: Hears of better plans and bounds, also from another thread.
    """
    skip_cost = core.skip_cost if level == 0 else np.zeros_like(core.skip_cost)
    work = _Level(core, core.cost[level], skip_cost, values, deadline, told)
    work.raise_whole(least_cost(core, work.cost, skip_cost))
    for picked in start:
        work.take(picked)
    program = program_of(core, work.cost, skip_cost, np.arange(len(core.pair), dtype=np.int64), values)
    work.unit = program.unit
    relaxed = relax(program, work.left_s)
    if relaxed.feasible is False:
        return Outcome(infeasible=True)
    work.raise_bound(relaxed.bound)
    if len(core.pair) <= FEW_PAIRS and not work.proven:
        search = Search(program, work.left_s, seed, _columns(program, work), _hearing(work, program), nodes=FEW_NODES)
        outcome = _concluded(work, program, search.run())
        if outcome.infeasible:
            return outcome
    if work.proven or work.left_s <= 0:
        return work.outcome()
    searcher = _searcher(work, program, relaxed, seed)
    # Where compiling takes too long for the caller's patience, HiGHS begins without a plan, and local search joins in later.
    if searcher is not None and prepare().ready(work.left_s / 2):
        searcher.anneal(FIRST_STEPS, lambda: False)
        searcher.improve(FIRST_NODES, lambda: False)
    return work.outcome() if work.proven or work.left_s <= 0 else _prove(work, program, relaxed, searcher, seed)


def least_cost(core: Core, cost: Ints, skip_cost: Ints) -> int:
    """Return what a plan costs at least: every record takes its cheapest pairs, whoever they burden, or stays out."""
    order = np.lexsort((cost, core.record))
    record = core.record[order]
    start = np.concatenate([[0], np.cumsum(np.bincount(record, minlength=core.records))])
    taken = np.arange(len(order)) - start[record] < core.demand[record]
    least = np.zeros(core.records, dtype=np.int64)
    np.add.at(least, record[taken], cost[order][taken])
    enough = np.diff(start) >= core.demand
    may_skip = core.optional & (core.demand > 0)
    least = np.where(may_skip & (~enough | (skip_cost < least)), skip_cost, least)
    return int(least.sum())


def _hearing(work: _Level, program: Program) -> Callable[[Floats, float], None]:
    def on_plan(columns: Floats, bound: float) -> None:
        work.take(_picked(program, columns))
        work.raise_bound(bound)

    return on_plan


def _prove(work: _Level, program: Program, relaxed: Found, searcher: "_Searcher | None", seed: int) -> Outcome:
    """Have HiGHS and local search work side by side until one of them is done."""
    reduced = program if relaxed.reduced is None else _filtered(work, program, relaxed.reduced, relaxed.bound)
    search = Search(reduced, work.left_s, seed, _columns(reduced, work), _hearing(work, reduced))
    ended: list[Found | BaseException] = []

    def run() -> None:
        try:
            ended.append(search.run())
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run, name="highs", daemon=True)
    thread.start()
    rounds = 1
    while searcher is not None and thread.is_alive() and work.left_s > 0:
        if prepare().ready(min(work.left_s, 0.1)):
            searcher.improve(FIRST_NODES * LONGER**rounds, lambda: not thread.is_alive())
            rounds += 1
    thread.join(max(work.left_s, 0))
    if thread.is_alive():
        search.stop()
        thread.join()
    found = ended[0]
    if isinstance(found, BaseException):
        raise found
    return _concluded(work, reduced, found)


def _concluded(work: _Level, program: Program, found: Found) -> Outcome:
    """Return what HiGHS's end says of the level; whatever is better than the plan so far is in its program."""
    if found.feasible is False:
        return Outcome(infeasible=True) if work.best is None else Outcome(work.best, work.best_cost, work.best_cost)
    if found.columns is not None:
        kept = work.take(_picked(program, found.columns), proven=found.proven)
        if kept and found.proven and work.best_cost is not None and abs(work.best_cost) < EXACT:
            work.raise_whole(work.best_cost)
    # A bound of the program bounds all plans that are better than the one with which it was filtered, which is kept.
    bound = whole_bound(found.bound, work.unit)
    if bound is not None and work.best_cost is not None:
        work.raise_whole(min(bound, work.best_cost))
    return work.outcome()


def _filtered(work: _Level, program: Program, reduced: Floats, bound: float) -> Program:
    """Return the program without pairs that are in no plan better than the best so far, but with those of that plan."""
    if work.best is None or work.best_cost is None:
        return program
    slack = work.best_cost - 1 - bound + 1e-6 * max(1.0, abs(bound))
    keep = reduced[: len(program.pairs)] <= slack
    keep[work.best] = True
    if keep.all():
        return program
    return program_of(work.core, work.cost, work.skip_cost, np.flatnonzero(keep).astype(np.int64), work.values)


def _columns(program: Program, work: _Level) -> Floats | None:
    """Return the best plan so far as columns of a program."""
    if work.best is None:
        return None
    chosen = np.zeros(len(work.core.pair))
    chosen[work.best] = 1.0
    given = np.bincount(work.core.record[work.best], minlength=work.core.records)
    return np.concatenate([chosen[program.pairs], (given[program.skipping] == 0).astype(np.float64)])


def _picked(program: Program, columns: Floats) -> Ints:
    picked: Ints = program.pairs[columns[: len(program.pairs)] > 0.5]
    return picked


class _Searcher:
    """Local search over the pairs of least reduced cost."""

    def __init__(self, work: _Level, choices: Choices, pair: Ints, state: State, seed: int) -> None:
        self.work, self.choices, self.pair, self.state = work, choices, pair, state
        gaps = choices.reduced[:, 1:4]
        usable = gaps[np.isfinite(gaps) & (choices.seller[:, 1:4] >= 0)]
        self.scale = float(usable.mean()) if len(usable) and usable.mean() > 0 else 1.0
        self.seed, self.items = seed % 2**31, FIRST_ITEMS

    def anneal(self, steps: int, stopped: Callable[[], bool]) -> None:
        """Anneal once from hot to cold."""
        chunks = max(steps // CHUNK_STEPS, 1)
        for chunk in range(chunks):
            if self._is_over(stopped):
                return
            hot, cold = (HOT * self.scale * (COLD / HOT) ** (at / chunks) for at in (chunk, chunk + 1))
            anneal(self.choices, self.state, CHUNK_STEPS, hot, cold, DEEP, self._next_seed())
            self._tell()

    def improve(self, nodes: int, stopped: Callable[[], bool]) -> None:
        """Replan once from warm to cool, from the best plan there is, trying so many branches, or fewer where the time ends before."""
        self._take_over()
        if not self.state.numbers[3]:
            return self.anneal(nodes // 4, stopped)
        place(self.choices, self.state, self.state.best.copy())
        left_s, tried = self.work.left_s, 0
        while tried < nodes and not self._is_over(stopped):
            done = max(tried / nodes, 1 - self.work.left_s / left_s)
            heat = WARM * self.scale * (COOL / WARM) ** done
            more, self.items = replan(self.choices, self.state, CHUNK_NODES, heat, self.items, self._next_seed())
            tried += more
            self._tell()
        return None

    def _is_over(self, stopped: Callable[[], bool]) -> bool:
        return self.work.left_s <= 0 or stopped() or self.work.proven

    def _next_seed(self) -> int:
        self.seed = (self.seed + 1) % 2**31
        return self.seed

    def _tell(self) -> None:
        if self.state.numbers[3] and (self.work.best_cost is None or self.state.numbers[2] < self.work.best_cost):
            self.work.take(self.plan())

    def _take_over(self) -> None:
        """Take over a plan from elsewhere that is better than all found here, if it keeps to the candidates."""
        best, cost = self.work.best, self.work.best_cost
        if best is None or cost is None or (self.state.numbers[3] and cost >= self.state.numbers[2]):
            return
        chosen = np.zeros(len(self.work.core.pair), dtype=np.bool_)
        chosen[best] = True
        given = (self.pair >= 0) & chosen[self.pair]
        # Items of one record take its pairs in turn; whoever has none stays out.
        record = self.choices.record
        turn = np.arange(len(record)) - np.searchsorted(record, record)
        staying = (self.pair < 0) & (self.choices.seller >= 0)
        pick = np.where(
            given.any(axis=1), np.argmax(given & (np.cumsum(given, axis=1) == turn[:, None] + 1), axis=1), np.argmax(staying, axis=1)
        )
        pairs = self.pair[np.arange(len(pick)), pick]
        if np.array_equal(np.sort(pairs[pairs >= 0]), np.sort(best)):
            place(self.choices, self.state, pick)

    def plan(self) -> Ints:
        """Return the open pairs of the best plan."""
        pairs = self.pair[np.arange(len(self.state.best)), self.state.best]
        found: Ints = pairs[pairs >= 0]
        return found


def _searcher(work: _Level, program: Program, relaxed: Found, seed: int) -> _Searcher | None:
    """Return a local search; None where this kind of problem has none."""
    core = work.core
    if work.values or relaxed.columns is None or relaxed.reduced is None or relaxed.prices is None:
        return None
    if not len(core.pair) or int(core.demand.max()) > MOST_DEMAND or (core.demand[core.optional] > 1).any():
        return None
    price = np.zeros(core.sellers)
    price[program.limited] = relaxed.prices
    unit = np.zeros(core.sellers, dtype=np.int64)
    np.gcd.at(unit, core.seller, core.load)
    price /= np.maximum(unit, 1)
    made = _choices(work, price)
    if made is None:
        return None
    choices, pair = made
    value = np.where(pair >= 0, np.append(relaxed.columns[: len(core.pair)], 0.0)[pair], 0.0)
    return _Searcher(work, choices, pair, begin(choices, _first_picks(choices, value)), seed)


def _choices(work: _Level, price: Floats) -> tuple[Choices, Ints] | None:
    """Return the candidates of every item, and the open pair of each (-1 = staying out, or none)."""
    core = work.core
    count = CANDIDATES + int(core.demand.max())
    price_of = work.cost + price[core.seller] * core.load
    order = np.lexsort((price_of, core.record))
    start = np.concatenate([[0], np.cumsum(np.bincount(core.record, minlength=core.records))])
    place = np.arange(len(order)) - start[core.record[order]]
    near = order[place < count]
    pair = np.full((core.records, count + 1), -1, dtype=np.int64)
    pair[core.record[near], place[place < count]] = near
    reduced = np.where(pair >= 0, np.append(price_of, 0.0)[pair], np.inf)
    seller = np.where(pair >= 0, np.append(core.seller, -1)[pair], -1)
    skipping = np.flatnonzero(core.optional & (core.demand > 0))
    reduced[skipping, -1], seller[skipping, -1] = work.skip_cost[skipping], core.sellers
    columns = np.argsort(reduced, axis=1, kind="stable")
    pair, reduced, seller = (np.take_along_axis(a, columns, axis=1) for a in (pair, reduced, seller))
    record = np.repeat(np.arange(core.records), core.demand)
    if not len(record) or (seller[record, 0] < 0).any():
        return None
    pair, reduced, seller = pair[record], reduced[record], seller[record]
    reduced = np.where(seller >= 0, reduced - reduced[:, :1], np.inf)
    cost = np.where(pair >= 0, np.append(work.cost, 0)[pair], np.where(seller >= 0, work.skip_cost[record][:, None], 0))
    binding = np.abs(price[price != 0])
    least = max(float(binding.mean()) / 20 if len(binding) else 0.0, float(np.abs(work.cost).mean()) / 1e6, 1e-9)
    anything = np.append(core.high, UNLIMITED)
    choices = Choices(
        seller=np.ascontiguousarray(seller, dtype=np.int32),
        reduced=np.ascontiguousarray(reduced),
        load=np.ascontiguousarray(np.where(pair >= 0, np.append(core.load, 0)[pair], 0)),
        cost=np.ascontiguousarray(cost),
        record=record.astype(np.int32),
        low=np.append(core.low, 0),
        high=anything,
        price=np.append(price, 0.0),
        dear=np.maximum(np.abs(np.append(price, 0.0)), least),
    )
    return choices, np.ascontiguousarray(pair)


def _first_picks(choices: Choices, value: Floats) -> Ints:
    """Return a candidate for every item: those that the relaxation likes best, different sellers for items of one record."""
    ranked = np.argsort(-value, axis=1, kind="stable")
    items = len(choices.record)
    place_in_record = np.arange(items) - np.searchsorted(choices.record, choices.record)
    pick: Ints = ranked[np.arange(items), np.minimum(place_in_record, ranked.shape[1] - 1)].astype(np.int64)
    none = choices.seller[np.arange(items), pick] < 0
    pick[none] = np.minimum(place_in_record[none], ranked.shape[1] - 1)
    return pick
