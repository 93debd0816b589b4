"""Whole batches against one record at a time: coverage, value and spread of the plans.

Records of some lines in some territories arrive in a random order; a fifth of them is urgent. A seller serves two neighbouring
territories, the first as a home, and knows each line more or less well. Four allocators look at one record after the other, as it came:
round robin, least loaded, greedy best fit, and one like those in CRMs (the rule for the home territory first, then that for the
neighbours, turns within a rule). Ours plans the batch: coverage first, then what the policy says. Capacity is ample, just enough, or too
little. Spread is the standard deviation of units given, and of capacity left. Run with `make bench NAME=policies`.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from benchmarks.report import Promise, machine, tell
from reallot.solver.assignment import Policy, Problem, Scope, check, solve

Ints = npt.NDArray[np.int64]
LINES = 8
HIGHEST_SCORE = 1_000
CAPACITY_PERCENT = {"ample": 130, "enough": 102, "short": 85}


@dataclass(frozen=True)
class Business:
    """Records in order of arrival, and sellers.

    Attributes:
        kind: Territory and line of each record, as one number: int64, shape (n,).
        urgent: bool, shape (n,).
        capacity: int64, shape (m,).
        eligible: Sellers of each kind, those whose home it is first: int64 arrays.
        homes: How many of them are at home there.
        score: How well seller s serves line l: int64, shape (m, lines).
    """

    kind: Ints
    urgent: npt.NDArray[np.bool_]
    capacity: Ints
    eligible: list[Ints]
    homes: list[int]
    score: Ints

    def scores(self, kind: int) -> Ints:
        """Return the scores of a kind's sellers."""
        found: Ints = self.score[self.eligible[kind], kind % LINES]
        return found


def business(records: int, sellers: int, percent: int, seed: int) -> Business:
    """Return a business whose capacity is so many percent of its records; territories differ in how much comes from them."""
    chance = np.random.default_rng([seed, records, sellers, percent])
    territories = max(sellers // 5, 2)
    weight = chance.gamma(4.0, size=territories)
    territory = chance.choice(territories, records, p=weight / weight.sum())
    home, other = chance.integers(0, territories, sellers), chance.choice([-1, 1], sellers)
    home[:territories] = np.arange(territories)
    neighbour = (home + other) % territories
    eligible, homes = [], []
    for place in range(territories):
        at_home, near = np.flatnonzero(home == place), np.flatnonzero(neighbour == place)
        eligible += [np.concatenate([at_home, near])] * LINES
        homes += [len(at_home)] * LINES
    shares = chance.integers(80, 121, sellers)
    return Business(
        kind=territory * LINES + chance.integers(0, LINES, records),
        urgent=chance.random(records) < 0.2,
        capacity=np.maximum(shares * records * percent // (100 * int(shares.sum())), 1),
        eligible=eligible,
        homes=homes,
        score=chance.integers(0, HIGHEST_SCORE + 1, (sellers, LINES)),
    )


Choose = Callable[[Ints, Ints, Ints, int, int], int]
"""Chooses among sellers who have room: sellers, free capacity and last turn of all, kind, how many of them are at home; their place."""


def one_by_one(made: Business, choose: Choose) -> Ints:
    """Return the seller of each record, -1 = nobody, choosing for one record after the other."""
    free, turn, given = made.capacity.copy(), np.zeros(len(made.capacity), dtype=np.int64), np.full(len(made.kind), -1, dtype=np.int64)
    for record, kind in enumerate(made.kind.tolist()):
        has_room = free[made.eligible[kind]] > 0
        sellers = made.eligible[kind][has_room]
        if len(sellers):
            seller = int(sellers[choose(sellers, free, turn, kind, int(has_room[: made.homes[kind]].sum()))])
            free[seller] -= 1
            turn[seller], given[record] = record + 1, seller
    return given


def allocators(made: Business) -> dict[str, Choose]:
    """Return the allocators that look at one record at a time."""
    return {
        "round_robin": lambda sellers, free, turn, kind, homes: int(np.argmin(turn[sellers])),
        "least_loaded": lambda sellers, free, turn, kind, homes: int(np.lexsort((turn[sellers], -free[sellers]))[0]),
        "greedy_best_fit": lambda sellers, free, turn, kind, homes: int(np.argmax(made.score[sellers, kind % LINES])),
        "crm": lambda sellers, free, turn, kind, homes: int(np.argmin(turn[sellers[: homes or len(sellers)]])),
    }


def problem_of(made: Business) -> Problem:
    """Return the business as a problem without a policy."""
    n, m, kinds = len(made.kind), len(made.capacity), len(made.eligible)
    counts = [len(sellers) for sellers in made.eligible]
    options = sum(counts)
    home = np.concatenate([np.arange(count) < homes for count, homes in zip(counts, made.homes, strict=True)])
    return Problem(
        class_of=made.kind.astype(np.int32),
        priority=np.where(made.urgent, 90, 50).astype(np.int64),
        age_us=np.arange(n, dtype=np.int64),
        key=np.arange(n, dtype=np.int64),
        effort=np.ones(kinds, dtype=np.int64),
        option_start=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        option_seller=np.concatenate(made.eligible).astype(np.int32),
        option_rank=np.where(home, 0, 1).astype(np.int64),
        option_bucket=np.zeros(options, dtype=np.int64),
        option_fit=HIGHEST_SCORE - np.concatenate([made.scores(kind) for kind in range(kinds)]),
        option_scope=np.full(options, -1, dtype=np.int32),
        option_cap=np.concatenate(made.eligible).astype(np.int32),
        cap_free=made.capacity,
        cap_parent=np.full(m, -1, dtype=np.int32),
    )


def ours(made: Business) -> dict[str, Problem]:
    """Return the business as problems, by what follows coverage."""
    plain, m = problem_of(made), len(made.capacity)
    none, zero = np.zeros(plain.options, dtype=np.int64), np.zeros(m, dtype=np.int64)
    in_scope = np.zeros(plain.options, dtype=np.int32)
    everybody = np.arange(m, dtype=np.int32)

    def shared(policy: Policy, rank: Ints) -> Problem:
        scope = Scope("all", policy, everybody, zero, zero, made.capacity)
        return replace(plain, option_fit=none, option_rank=rank, option_scope=in_scope, scopes=(scope,))

    return {
        "ours_round_robin": shared(Policy.ROUND_ROBIN, none),
        "ours_load_balancing": shared(Policy.LOAD_BALANCING, none),
        "ours_best_fit": replace(plain, option_rank=none),
        "ours_rules": shared(Policy.ROUND_ROBIN, plain.option_rank),
    }


def figures_of(made: Business, seller: Ints, seconds: float) -> dict[str, float]:
    """Return how good a plan is."""
    covered = seller >= 0
    given = np.bincount(seller[covered], minlength=len(made.capacity))
    served = zip(made.kind[covered].tolist(), seller[covered].tolist(), strict=True)
    at_home = sum(int(who) in made.eligible[kind][: made.homes[kind]].tolist() for kind, who in served)
    return {
        "covered_percent": round(100 * float(covered.mean()), 3),
        "urgent_covered_percent": round(100 * float(covered[made.urgent].mean()), 3) if made.urgent.any() else 100.0,
        "value": int(made.score[seller[covered], made.kind[covered] % LINES].sum()),
        "first_rule": at_home,
        "spread_given": round(float(given.std()), 3),
        "spread_left": round(float((made.capacity - given).std()), 3),
        "seconds": round(seconds, 3),
    }


def measure(name: str, made: Business) -> None:
    """Plan one business in each way and print what came out."""
    plans: dict[str, dict[str, float]] = {}
    for way, choose in allocators(made).items():
        started = time.perf_counter()
        plans[way] = figures_of(made, one_by_one(made, choose), time.perf_counter() - started)
    for way, problem in ours(made).items():
        started = time.perf_counter()
        solution = solve(problem)
        check(problem, solution)
        spent = time.perf_counter() - started
        seller = np.where(solution.assigned, np.append(problem.option_seller, -1)[solution.option_of], -1).astype(np.int64)
        plans[way] = figures_of(made, seller, spent)
    tell("policies", "none", {"instance": name, "records": len(made.kind), "sellers": len(made.capacity), "plans": plans}, _promises(plans))


def _promises(plans: dict[str, dict[str, float]]) -> list[Promise]:
    pairs = {
        "ours_round_robin": "round_robin",
        "ours_load_balancing": "least_loaded",
        "ours_best_fit": "greedy_best_fit",
        "ours_rules": "crm",
    }
    made = [
        Promise(f"points of {what}, {own} less {other}", round(plans[own][key] - plans[other][key], 3), 0.0)
        for own, other in pairs.items()
        for what, key in (("coverage", "covered_percent"), ("coverage of the urgent", "urgent_covered_percent"))
    ]
    value = plans["ours_best_fit"]["value"] / max(plans["greedy_best_fit"]["value"], 1)
    made.append(Promise("value, ours_best_fit by greedy_best_fit", round(value, 4), 1.0))
    for own, key in (("ours_round_robin", "spread_given"), ("ours_load_balancing", "spread_left")):
        other = plans[pairs[own]]
        # Whoever covers more hands out where few can take it: spreads compare at equal coverage only.
        equal = plans[own]["covered_percent"] == other["covered_percent"]
        made.append(
            Promise(f"{key}, {own} less {pairs[own]}", round(plans[own][key] - other[key], 3), 0.0 if equal else None, at_most=True)
        )
    return made


def _share(name: str, own: float, other: float) -> Promise:
    return Promise(name, round(own / max(other, 1), 4), 1.0)


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--sellers", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(json.dumps({"machine": machine()}), flush=True)
    for name, percent in CAPACITY_PERCENT.items():
        measure(name, business(given.records, given.sellers, percent, given.seed))


if __name__ == "__main__":
    main()
