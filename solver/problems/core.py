"""What is left to decide once pins are set and hopeless pairs are gone: the core, always minimised."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reallot.solver.problems.problem import UNLIMITED, Flags, Ints, Problem, Sense
from reallot.solver.problems.result import NOTHING, Conflict


@dataclass(frozen=True)
class Core:
    """The open part of a problem. n records and m sellers as in the problem, q pairs that are still open.

    Attributes:
        pair: Position of each open pair in the problem: int64, shape (q,), by record.
        record, seller: int32, shape (q,).
        load: int64, shape (q,).
        cost: Costs by level, less is better: int64, shape (levels, q).
        skip_cost: Cost of staying out, at level 0: int64, shape (n,).
        demand: Sellers that each record still needs: int64, shape (n,).
        optional: May stay out: bool, shape (n,); never with a pin.
        low, high: Load that each seller must and may still get: int64, shape (m,); high ≤ the load of all its open pairs.
        pinned: Positions of the pairs that are set: int64.
    """

    pair: Ints
    record: npt.NDArray[np.int32]
    seller: npt.NDArray[np.int32]
    load: Ints
    cost: Ints
    skip_cost: Ints
    demand: Ints
    optional: Flags
    low: Ints
    high: Ints
    pinned: Ints

    @property
    def records(self) -> int:
        """Number of records."""
        return len(self.demand)

    @property
    def sellers(self) -> int:
        """Number of sellers."""
        return len(self.low)

    @property
    def required(self) -> Ints:
        """Sellers that each record must get: int64, shape (n,)."""
        needed: Ints = np.where(self.optional, 0, self.demand)
        return needed

    def chosen(self, picked: Ints) -> Ints:
        """Return the plan that picks some open pairs: positions in the problem, ascending."""
        return np.sort(np.concatenate([self.pinned, self.pair[picked]]))


def core_of(problem: Problem, *, every_pair: bool = False) -> Core:
    """Return the core; `every_pair`: also pairs whose load is above what their seller may still get."""
    pinned = np.flatnonzero(problem.pinned)
    held = np.bincount(problem.record[pinned], minlength=problem.records)
    fixed = np.zeros(problem.sellers, dtype=np.int64)
    np.add.at(fixed, problem.seller[pinned], problem.load[pinned])
    demand = problem.demand - held
    room = np.where(problem.maximum_load >= UNLIMITED, UNLIMITED, problem.maximum_load - fixed)
    is_open = ~problem.pinned & (demand[problem.record] > 0) & (every_pair | (problem.load <= room[problem.seller]))
    pair = np.flatnonzero(is_open)
    pair = pair[np.argsort(problem.record[pair], kind="stable")]
    reach = np.zeros(problem.sellers, dtype=np.int64)
    np.add.at(reach, problem.seller[pair], problem.load[pair])
    sign = 1 if problem.sense is Sense.MINIMISE else -1
    cost = np.zeros((problem.levels, len(pair)), dtype=np.int64)
    cost[problem.level[pair], np.arange(len(pair))] = sign * problem.value[pair]
    return Core(
        pair=pair,
        record=problem.record[pair],
        seller=problem.seller[pair],
        load=problem.load[pair],
        cost=cost,
        skip_cost=problem.skip_cost,
        demand=demand,
        optional=problem.optional & (held == 0),
        low=np.maximum(problem.minimum_load - fixed, 0),
        high=np.minimum(room, reach),
        pinned=pinned,
    )


def alone_conflict(problem: Problem) -> Conflict | None:
    """Return pins that contradict a limit, or a record or seller for which there is not enough even if it had everything to itself."""
    pinned = np.flatnonzero(problem.pinned)
    held = np.bincount(problem.record[pinned], minlength=problem.records)
    fixed = np.zeros(problem.sellers, dtype=np.int64)
    np.add.at(fixed, problem.seller[pinned], problem.load[pinned])
    if (conflict := _pins_conflict(problem, pinned, held, fixed)) is not None:
        return conflict
    core = core_of(problem, every_pair=True)
    eligible = np.bincount(core.record, minlength=core.records)
    short = np.flatnonzero(core.required > eligible)
    if len(short):
        record = int(short[0])
        needs, has = int(core.required[record]), int(eligible[record])
        more = f" (and so for {len(short) - 1} more records)" if len(short) > 1 else ""
        text = f"{problem.record_name(record)} needs {needs} sellers, {has if has else 'none'} of its pairs can be chosen{more}"
        return Conflict(short[:1].astype(np.int64), NOTHING, text)
    for seller in np.flatnonzero(core.low > core.high)[:1].tolist():
        if problem.minimum_load[seller] > problem.maximum_load[seller]:
            text = f"the minimum {problem.minimum_load[seller]} is above the maximum {problem.maximum_load[seller]}"
        else:
            text = f"{core.low[seller]} more load is asked for, all pairs that are left to it have {core.high[seller]}"
        return Conflict(NOTHING, np.array([seller], dtype=np.int64), f"{problem.seller_name(seller)}: {text}")
    return None


def _pins_conflict(problem: Problem, pinned: Ints, held: Ints, fixed: Ints) -> Conflict | None:
    over = np.flatnonzero(held > problem.demand)
    if len(over):
        record = int(over[0])
        text = f"{problem.record_name(record)} needs {problem.demand[record]} sellers and is pinned to {held[record]}"
        return Conflict(over[:1].astype(np.int64), NOTHING, text)
    for seller in np.flatnonzero(fixed > problem.maximum_load)[:1].tolist():
        own = pinned[problem.seller[pinned] == seller]
        largest = own[np.argsort(-problem.load[own], kind="stable")]
        # The last of the largest that it takes is the smallest of them, so without any one of them the rest fits.
        count = int(np.searchsorted(np.cumsum(problem.load[largest]), problem.maximum_load[seller], side="right")) + 1
        records = np.sort(problem.record[largest[:count]]).astype(np.int64)
        load = problem.load[largest[:count]].sum()
        text = f"{problem.seller_name(seller)} may carry {problem.maximum_load[seller]}, what is pinned to it takes {load}"
        return Conflict(records, np.array([seller], dtype=np.int64), text)
    return None
