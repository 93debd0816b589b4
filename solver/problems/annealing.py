"""Local search for plans with a load for each pair: ejection chains under simulated annealing, compiled.

A step gives one item to another seller; where that seller then holds too much, an item that is there is given on, and so once more:
chains of up to three, as the ejection chains of Yagiura, Ibaraki and Glover (2004, 2006). The last link of a chain is searched, not
drawn. Items are taken to few sellers only, those of least reduced cost under the prices of the relaxation, and free room costs its
price, so that what is minimised is the distance to the relaxation's bound. Limits may be broken at a penalty, which rises while plans
break them and falls while they do not. Which plan comes out depends on the seed and the number of steps, not on the clock.
"""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints32 = npt.NDArray[np.int32]
Ints64 = npt.NDArray[np.int64]

STEPS_A_ROUND = 100
"""Steps after which temperature and penalty are renewed."""
LONGEST_SCAN = 64
"""Most items of one seller that a step looks at for the last link."""


@dataclass(frozen=True)
class Choices:
    """What the search may choose among: c candidates for each of n items, m sellers of which the last takes anything.

    Attributes:
        seller: Seller of each candidate, -1 = none: int32, shape (n, c); the best come first.
        reduced: Reduced cost: float64, shape (n, c).
        load: int64, shape (n, c).
        cost: int64, shape (n, c).
        record: Record of each item, ascending; items of one record go to different sellers: int32, shape (n,).
        low, high: Limits of the sellers' loads: int64, shape (m,).
        price: Prices of load, above 0 = the maximum binds: float64, shape (m,).
        dear: What a unit beyond a limit costs at least: float64, shape (m,).
    """

    seller: Ints32
    reduced: Floats
    load: Ints64
    cost: Ints64
    record: Ints32
    low: Ints64
    high: Ints64
    price: Floats
    dear: Floats


@dataclass
class State:
    """Where the search stands; made by `begin`, changed by `anneal`. `pick` is the candidate of each item, `best` that of the best plan."""

    pick: Ints64
    best: Ints64
    load: Ints64
    after: Ints32
    before: Ints32
    first: Ints32
    numbers: Ints64
    """Cost; broken limits; cost of the best plan; 1 if there is one; scans so far."""
    penalty: Floats
    """The factor of the penalties."""

    def arrays(self) -> tuple[Any, ...]:
        """Return the arrays as compiled code takes them."""
        return self.pick, self.best, self.load, self.after, self.before, self.first, self.numbers, self.penalty


def begin(choices: Choices, pick: Ints64) -> State:
    """Return the state at a plan, which may break limits."""
    items, sellers = len(pick), len(choices.low)
    state = State(
        pick=pick.copy(),
        best=pick.copy(),
        load=np.zeros(sellers, dtype=np.int64),
        after=np.full(items, -1, dtype=np.int32),
        before=np.full(items, -1, dtype=np.int32),
        first=np.full(sellers, -1, dtype=np.int32),
        numbers=np.zeros(5, dtype=np.int64),
        penalty=np.full(1, 2.0),
    )
    place(choices, state, pick)
    return state


def place(choices: Choices, state: State, pick: Ints64) -> None:
    """Put the search at a plan; what was best stays."""
    own = np.arange(len(pick))
    state.pick[:] = pick
    state.load[:] = 0
    seller = choices.seller[own, pick]
    np.add.at(state.load, seller, choices.load[own, pick])
    state.numbers[0] = int(choices.cost[own, pick].sum())
    state.numbers[1] = int(((state.load > choices.high) | (state.load < choices.low)).sum())
    state.first[:] = -1
    for item, at in enumerate(seller.tolist()):
        state.before[item] = -1
        state.after[item] = state.first[at]
        if state.first[at] >= 0:
            state.before[state.first[at]] = item
        state.first[at] = item
    if state.numbers[1] == 0 and (state.numbers[3] == 0 or state.numbers[0] < state.numbers[2]):
        state.numbers[2], state.numbers[3] = state.numbers[0], 1
        state.best[:] = pick


def anneal(choices: Choices, state: State, steps: int, hot: float, cold: float, deep: float, seed: int) -> None:
    """Search on for some steps, while the temperature falls from `hot` to `cold`; `deep` is the share of chains of three."""
    _anneal(arrays_of(choices), state.arrays(), steps, hot, cold, deep, seed)


def arrays_of(choices: Choices) -> tuple[Any, ...]:
    """Return the arrays as compiled code takes them."""
    c = choices
    return c.seller, c.reduced, c.load, c.cost, c.record, c.low, c.high, c.price, c.dear


@numba.njit(cache=True, nogil=True)
def room_cost(load, low, high, price, penalty):  # type: ignore[no-untyped-def]
    """Return what a load costs beside its items: the free room at its price, or a penalty for a broken limit."""
    if load > high:
        return penalty * (load - high)
    if load < low:
        return penalty * (low - load)
    return price * (high - load) if price >= 0.0 else -price * (load - low)


@numba.njit(cache=True, nogil=True)
def _holds(seller, record, pick, item, target):  # type: ignore[no-untyped-def]
    """Tell whether another item of the same record is with a seller."""
    other = item - 1
    while other >= 0 and record[other] == record[item]:
        if seller[other, pick[other]] == target:
            return True
        other -= 1
    other = item + 1
    while other < len(record) and record[other] == record[item]:
        if seller[other, pick[other]] == target:
            return True
        other += 1
    return False


@numba.njit(cache=True, nogil=True)
def move(choices, state, item, candidate):  # type: ignore[no-untyped-def]
    """Give an item to one of its candidates."""
    seller, _, load, cost, _, low, high, _, _ = choices
    pick, _, held, after, before, first, numbers, _ = state
    old = pick[item]
    source, target = seller[item, old], seller[item, candidate]
    for place, change in ((source, -load[item, old]), (target, load[item, candidate])):
        if held[place] > high[place] or held[place] < low[place]:
            numbers[1] -= 1
        held[place] += change
        if held[place] > high[place] or held[place] < low[place]:
            numbers[1] += 1
    if before[item] >= 0:
        after[before[item]] = after[item]
    else:
        first[source] = after[item]
    if after[item] >= 0:
        before[after[item]] = before[item]
    before[item], after[item] = -1, first[target]
    if first[target] >= 0:
        before[first[target]] = item
    first[target] = item
    numbers[0] += cost[item, candidate] - cost[item, old]
    pick[item] = candidate


@numba.njit(cache=True, nogil=True)
def _last_link(choices, state, at, held_there, before_cost, so_far, limit, skipped, factor):  # type: ignore[no-untyped-def]
    """Return an item of a seller and a candidate for it that end a chain within its limit, (-1, -1) if there is none.

    `held_there` is the seller's load with what the chain has brought, `before_cost` what its room cost before.
    """
    seller, reduced, load, _, record, low, high, price, dear = choices
    pick, _, held, after, _, first, _, _ = state
    start = first[at]
    for _ in range(np.random.randint(16)):
        start = after[start] if after[start] >= 0 else first[at]
    item, scanned = start, 0
    penalty = factor * dear[at]
    while scanned < LONGEST_SCAN:
        scanned += 1
        if item != skipped:
            own = pick[item]
            left = room_cost(held_there - load[item, own], low[at], high[at], price[at], penalty) - before_cost
            base = so_far + left - reduced[item, own]
            for candidate in range(seller.shape[1]):
                target = seller[item, candidate]
                if target < 0:
                    break
                if target == at:
                    continue
                penalty_there = factor * dear[target]
                there = held[target]
                total = base + reduced[item, candidate]
                total += room_cost(there + load[item, candidate], low[target], high[target], price[target], penalty_there)
                total -= room_cost(there, low[target], high[target], price[target], penalty_there)
                if total <= limit and not _holds(seller, record, pick, item, target):
                    return item, candidate
        item = after[item] if after[item] >= 0 else first[at]
        if item == start:
            break
    return -1, -1


@numba.njit(cache=True, nogil=True)
def _step(choices, state, limit, deep, factor):  # type: ignore[no-untyped-def]
    """Try one chain from an item drawn at random; return whether it was carried out."""
    seller, reduced, load, _, record, low, high, price, dear = choices
    pick, _, held, _, _, first, _, _ = state
    item = np.random.randint(len(pick))
    candidate = _drawn(seller.shape[1])
    own = pick[item]
    source, target = seller[item, own], seller[item, candidate]
    if target < 0 or target == source or _holds(seller, record, pick, item, target):
        return False
    penalty = factor * dear[source]
    so_far = reduced[item, candidate] - reduced[item, own]
    so_far += room_cost(held[source] - load[item, own], low[source], high[source], price[source], penalty)
    so_far -= room_cost(held[source], low[source], high[source], price[source], penalty)
    penalty = factor * dear[target]
    old = room_cost(held[target], low[target], high[target], price[target], penalty)
    brought = held[target] + load[item, candidate]
    if so_far + room_cost(brought, low[target], high[target], price[target], penalty) - old <= limit:
        move(choices, state, item, candidate)
        return True
    if first[target] < 0:
        return False
    held[source] -= load[item, own]
    if np.random.random() < deep:
        chain = _chain_of_three(choices, state, limit, factor, item, source, target, brought, so_far, old)
    else:
        last, last_candidate = _last_link(choices, state, target, brought, old, so_far, limit, item, factor)
        chain = (-1, -1, last, last_candidate)
    held[source] += load[item, own]
    middle, middle_candidate, last, last_candidate = chain
    if last < 0 or record[last] == record[item]:
        return False
    move(choices, state, item, candidate)
    if middle >= 0:
        move(choices, state, middle, middle_candidate)
    move(choices, state, last, last_candidate)
    return True


@numba.njit(cache=True, nogil=True)
def _drawn(candidates):  # type: ignore[no-untyped-def]
    """Return a candidate, the first ones more often."""
    draw = np.random.random()
    return int(draw * draw * candidates)


@numba.njit(cache=True, nogil=True)
def _chain_of_three(choices, state, limit, factor, item, source, target, brought, so_far, old):  # type: ignore[no-untyped-def]
    """Return the middle and the last link of a chain whose first brings an item to a seller; last -1 if there is none.

    `brought` is the seller's load with the item, `so_far` the change of cost up to there, `old` what the seller's room cost before.
    """
    seller, reduced, load, _, record, low, high, price, dear = choices
    pick, _, held, after, _, first, _, _ = state
    middle = first[target]
    for _ in range(np.random.randint(8)):
        if after[middle] >= 0:
            middle = after[middle]
    candidate = _drawn(seller.shape[1])
    at = seller[middle, candidate]
    if at < 0 or at in (target, source) or record[middle] == record[item] or _holds(seller, record, pick, middle, at):
        return -1, -1, -1, -1
    own = pick[middle]
    left = brought - load[middle, own]
    so_far += room_cost(left, low[target], high[target], price[target], factor * dear[target]) - old
    so_far += reduced[middle, candidate] - reduced[middle, own]
    before = room_cost(held[at], low[at], high[at], price[at], factor * dear[at])
    kept = held[target]
    held[target] = left
    last, last_candidate = _last_link(choices, state, at, held[at] + load[middle, candidate], before, so_far, limit, item, factor)
    held[target] = kept
    if last >= 0 and record[last] == record[middle]:
        last = -1
    return middle, candidate, last, last_candidate


@numba.njit(cache=True, nogil=True)
def _anneal(choices, state, steps, hot, cold, deep, seed):  # type: ignore[no-untyped-def]
    pick, best, _, _, _, _, numbers, penalty = state
    np.random.seed(seed)
    rounds = max(steps // STEPS_A_ROUND, 1)
    cooling = (cold / hot) ** (1.0 / rounds)
    temperature = hot
    for _ in range(rounds):
        kept = 0
        for _ in range(STEPS_A_ROUND):
            limit = -temperature * np.log(1.0 - np.random.random())
            moved = _step(choices, state, limit, deep, penalty[0])
            if numbers[1] == 0:
                kept += 1
                if moved and (numbers[3] == 0 or numbers[0] < numbers[2]):
                    numbers[2], numbers[3] = numbers[0], 1
                    best[:] = pick
        # About as many steps should keep the limits as break them: good plans lie where these meet.
        penalty[0] = min(penalty[0] * 1.01, 1e4) if 2 * kept < STEPS_A_ROUND else max(penalty[0] / 1.01, 1.0)
        temperature *= cooling
