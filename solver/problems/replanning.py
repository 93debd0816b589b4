"""Local search for plans with a load for each pair: a few sellers' items are given out anew, exactly, again and again; compiled.

A step takes some sellers who want each other's items, and up to a few dozen of the items that are with them, and searches depth first for
the best other way to give these out within the limits: cheapest candidates first, large loads before small ones. A branch ends where
what is spent and what the rest costs at least, by reduced costs and by room that nothing left can fill, is above what may be spent:
what the items cost now and a little more, as in simulated annealing. So where good plans fill sellers up to the last unit, which moving
or exchanging single items cannot keep up, whole sets of items change places.

As many items are taken as can be searched through at the pace that is aimed at. Steps keep all limits. Which plan comes out depends on
the seed and the number of branches, not on the clock.
"""

import numba
import numpy as np

from reallot.solver.problems.annealing import Choices, State, arrays_of, move, room_cost

MOST_ITEMS = 60
"""Items that a step takes at most."""
FEWEST_SELLERS, MOST_SELLERS = 3, 5
"""Sellers that a step takes."""
MOST_NODES, MEANT_NODES = 20_000, 2_000
"""Branches after which a step ends with what it has found, and so many as the number of items is led to."""
FIRST_ITEMS = 18.0
NOTHING_LEFT = 2**60


def replan(choices: Choices, state: State, nodes: int, heat: float, items: float, seed: int) -> tuple[int, float]:
    """Search on, from a plan that keeps all limits, until so many branches are tried.

    Args:
        choices: What to choose among.
        state: Where the search stands; changed.
        nodes: Branches.
        heat: Temperature, in units of reduced cost.
        items: Items that a step takes, as the last call gave it; `FIRST_ITEMS` at first.
        seed: Seed.

    Returns:
        Branches that were tried, and the number of items for the next call.
    """
    tried, led_to = _replan(arrays_of(choices), state.arrays(), nodes, heat, items, seed)
    return int(tried), float(led_to)


@numba.njit(cache=True, nogil=True)
def _replan(choices, state, nodes, heat, items, seed):  # type: ignore[no-untyped-def]
    seller, _, _, _, _, _, high, _, _ = choices
    pick, best, _, _, _, _, numbers, _ = state
    np.random.seed(seed)
    slot, group = np.full(len(high), -1, np.int64), np.zeros(MOST_SELLERS, np.int64)
    held, taken = np.zeros(MOST_SELLERS, np.int64), np.zeros(len(pick), np.int64)
    options, counts = np.zeros((MOST_ITEMS, seller.shape[1]), np.int64), np.zeros(MOST_ITEMS, np.int64)
    least, smallest = np.zeros(MOST_ITEMS + 1), np.zeros(MOST_ITEMS + 1, np.int64)
    found = np.zeros(MOST_ITEMS, np.int64)
    tried = 0
    while tried < nodes:
        sellers = _drawn_sellers(choices, state, slot, group)
        count = _drawn_items(choices, state, group[:sellers], taken, int(items + np.random.random()))
        if count == 0:
            tried += 1
            continue
        spent = _laid_out(choices, state, slot, group[:sellers], held, taken[:count], options, counts, least, smallest)
        limit = spent - heat * np.log(1.0 - np.random.random()) + 1e-6
        region = (slot, group[:sellers], held, taken[:count], options, counts, least, smallest)
        branches, any_found = _searched(choices, pick, region, limit, found)
        tried += branches + 1
        items = max(6.0, min(MOST_ITEMS - 1.0, items + (0.02 if branches < MEANT_NODES else -0.08)))
        if any_found:
            for place in range(count):
                if found[place] != pick[taken[place]]:
                    move(choices, state, taken[place], found[place])
            if numbers[0] < numbers[2]:
                numbers[2] = numbers[0]
                best[:] = pick
    return tried, items


@numba.njit(cache=True, nogil=True)
def _drawn_sellers(choices, state, slot, group):  # type: ignore[no-untyped-def]
    """Draw sellers, each from the second on one to whom an item of those before might go; return how many."""
    seller = choices[0]
    pick, _, _, after, _, first, _, _ = state
    slot[:] = -1
    item = np.random.randint(len(pick))
    at = seller[item, pick[item]]
    wanted, count = np.random.randint(FEWEST_SELLERS, MOST_SELLERS + 1), 0
    for _ in range(12 * MOST_SELLERS):
        if at >= 0 and slot[at] < 0:
            slot[at], group[count] = count, at
            count += 1
            if count == wanted:
                break
        origin = group[np.random.randint(count)]
        item = first[origin]
        if item < 0:
            at = np.random.randint(len(slot))
            continue
        for _ in range(np.random.randint(6)):
            item = after[item] if after[item] >= 0 else first[origin]
        draw = np.random.random()
        at = seller[item, int(draw * draw * seller.shape[1])]
    return count


@numba.njit(cache=True, nogil=True)
def _drawn_items(choices, state, group, taken, most):  # type: ignore[no-untyped-def]
    """Draw items of the sellers, those of the largest loads first; return how many. Items of one record stay where they are."""
    load, record = choices[2], choices[4]
    pick, _, _, after, _, first, _, _ = state
    count = 0
    for at in group:
        item = first[at]
        while item >= 0:
            alone = (item == 0 or record[item - 1] != record[item]) and (item + 1 == len(record) or record[item + 1] != record[item])
            if alone:
                taken[count] = item
                count += 1
            item = after[item]
    most = min(most, count)
    for place in range(most):
        other = np.random.randint(place, count)
        taken[place], taken[other] = taken[other], taken[place]
        item = taken[place]
        size, before = load[item, pick[item]], place - 1
        while before >= 0 and load[taken[before], pick[taken[before]]] < size:
            taken[before + 1] = taken[before]
            before -= 1
        taken[before + 1] = item
    return most


@numba.njit(cache=True, nogil=True)
def _laid_out(choices, state, slot, group, held, taken, options, counts, least, smallest):  # type: ignore[no-untyped-def]
    """Take the items out, and note what may become of them; return what they and the sellers' room cost now.

    `held` becomes the sellers' loads without them, `least` and `smallest` what the items from each on cost and weigh at least.
    """
    seller, reduced, load, _, _, low, high, price, _ = choices
    pick, _, loads, _, _, _, _, _ = state
    spent = 0.0
    for place in range(len(group)):
        at = group[place]
        held[place] = loads[at]
        spent += room_cost(loads[at], low[at], high[at], price[at], 0.0)
    count = len(taken)
    least[count], smallest[count] = 0.0, NOTHING_LEFT
    for place in range(count - 1, -1, -1):
        item = taken[place]
        spent += reduced[item, pick[item]]
        held[slot[seller[item, pick[item]]]] -= load[item, pick[item]]
        counts[place], smallest[place] = 0, smallest[place + 1]
        for candidate in range(seller.shape[1]):
            target = seller[item, candidate]
            if target >= 0 and slot[target] >= 0:
                options[place, counts[place]] = candidate
                counts[place] += 1
                smallest[place] = min(smallest[place], load[item, candidate])
        least[place] = least[place + 1] + reduced[item, options[place, 0]]
    return spent


@numba.njit(cache=True, nogil=True)
def _room_at_least(choices, region, depth):  # type: ignore[no-untyped-def]
    """Return what the sellers' room costs at least when the items up to a depth are given out; -1 if a minimum is not kept in the end."""
    _, _, _, _, _, low, high, price, _ = choices
    _, group, held, taken, _, _, _, smallest = region
    room = 0.0
    for place in range(len(group)):
        at = group[place]
        if price[at] < 0.0:
            room -= price[at] * max(held[place] - low[at], 0)
        elif high[at] - held[place] < smallest[depth]:
            room += price[at] * (high[at] - held[place])
        if depth == len(taken) and held[place] < low[at]:
            return -1.0
    return room


@numba.njit(cache=True, nogil=True)
def _searched(choices, pick, region, limit, found):  # type: ignore[no-untyped-def]
    """Search for the best other way to give the items out, within `limit`; return the branches tried, and whether there is one."""
    seller, reduced, load, _, _, _, high, _, _ = choices
    slot, group, held, taken, options, counts, least, _ = region
    last, branches, any_found, cost = len(taken) - 1, 0, False, 0.0
    at, spent = np.zeros(last + 1, np.int64), np.zeros(last + 1)
    depth = 0
    while depth >= 0:
        item, deeper = taken[depth], False
        while at[depth] < counts[depth] and not deeper:
            candidate = options[depth, at[depth]]
            at[depth] += 1
            cost, place = spent[depth] + reduced[item, candidate], slot[seller[item, candidate]]
            if cost + least[depth + 1] > limit:
                at[depth] = counts[depth] + 1
                break
            if held[place] + load[item, candidate] > high[group[place]]:
                continue
            held[place] += load[item, candidate]
            room = _room_at_least(choices, region, depth + 1)
            branches += 1
            deeper = room >= 0.0 and cost + least[depth + 1] + room <= limit
            if deeper and depth == last:
                if _differs(pick, taken, options, at):
                    any_found, limit = True, cost + room - 0.5
                    for step in range(last + 1):
                        found[step] = options[step, at[step] - 1]
                deeper = False
            if not deeper:
                held[place] -= load[item, candidate]
        if deeper and branches < MOST_NODES:
            depth += 1
            at[depth], spent[depth] = 0, cost
            continue
        if branches >= MOST_NODES:
            break
        depth -= 1
        if depth >= 0:
            candidate = options[depth, at[depth] - 1]
            held[slot[seller[taken[depth], candidate]]] -= load[taken[depth], candidate]
    return branches, any_found


@numba.njit(cache=True, nogil=True)
def _differs(pick, taken, options, at):  # type: ignore[no-untyped-def]
    """Tell whether the way that was tried is another one than now."""
    for place in range(len(taken)):  # noqa: SIM110 # numba compiles no generators
        if options[place, at[place] - 1] != pick[taken[place]]:
            return True
    return False
