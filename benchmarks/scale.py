"""Batches as large as one machine should carry, beside the bare calls of the flow solver on the same arrays.

Cases: `turns` (1,000,000 records in 10,000 classes, each with 50 of 10,000 sellers, coverage and round robin; more capacity than
records), `scarce` (the same with less capacity than records), `pairs` (300,000 records that differ, each with 10 of 5,000 sellers, 3.0
million pairs, coverage and fit), `chain` (8,000 sellers, each territory overlaps the next, coverage and round robin), and `growth` (as
`turns`, in five sizes). The bare calls get finished arrays: one for coverage, one for the policy with those records that are covered;
for `pairs` one with both. Every solve has a process of its own. What is compared are processor seconds, of one thread on both sides, so
that other work on the machine counts for neither. Run with `make bench NAME=scale`; `--part 0.1` makes all of it smaller.
"""

import argparse
import gc
import json
import math
import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt
from ortools.graph.python import min_cost_flow

from benchmarks.report import Promise, machine, tell
from reallot.solver.assignment import Policy, Problem, Reason, Scope, check, solve

Ints = npt.NDArray[np.int64]
ELIGIBLE, PAIRS_A_RECORD = 50, 10
HIGHEST_FIT = 1_000
CASES = ("turns", "scarce", "pairs", "chain", "growth")
SIZES = (62_500, 125_000, 250_000, 500_000, 1_000_000)
MOST_TIMES, AIM_TIMES, MOST_MIB = 2.0, 1.3, 1024.0


@dataclass(frozen=True)
class Batch:
    """Classes of records and the sellers they may go to.

    Attributes:
        class_of: Class of each record: int32, shape (n,).
        start: First pair of each class: int64, shape (k + 1,).
        seller: Sellers of the pairs: int32.
        fit: Costs of the pairs: int64; all 0 where turns count.
        capacity: int64, shape (m,).
        turn: Turns of the sellers, each once: int64, shape (m,); empty where fit counts.
        scarce: Not everybody can be covered, so it counts who stays out.
    """

    class_of: npt.NDArray[np.int32]
    start: Ints
    seller: npt.NDArray[np.int32]
    fit: Ints
    capacity: Ints
    turn: Ints
    scarce: bool = False

    @property
    def sizes(self) -> Ints:
        """Records of each class."""
        return np.bincount(self.class_of, minlength=len(self.start) - 1).astype(np.int64)


def classes_batch(records: int, percent: int, seed: int) -> Batch:
    """Return a hundred records for each seller, in as many classes as sellers, and so many percent of capacity."""
    chance, m = np.random.default_rng([seed, records, percent]), max(records // 100, 60)
    pairs = np.sort(chance.integers(0, m - ELIGIBLE + 1, (m, ELIGIBLE)), axis=1) + np.arange(ELIGIBLE)
    spread = chance.permutation(m)[pairs].astype(np.int32)
    average = records * percent / (100 * m)
    return Batch(
        class_of=chance.integers(0, m, records).astype(np.int32),
        start=np.arange(0, ELIGIBLE * m + 1, ELIGIBLE),
        seller=spread.ravel(),
        fit=np.zeros(ELIGIBLE * m, dtype=np.int64),
        capacity=chance.integers(int(0.9 * average), int(1.1 * average) + 2, m),
        turn=chance.permutation(m).astype(np.int64),
        scarce=percent < 100,
    )


def pairs_batch(records: int, seed: int) -> Batch:
    """Return records that are a class each, ten pairs each with a fit of its own, and sixty records for each seller."""
    chance, m = np.random.default_rng([seed, records]), max(records // 60, 20)
    pairs = np.sort(chance.integers(0, m - PAIRS_A_RECORD + 1, (records, PAIRS_A_RECORD)), axis=1) + np.arange(PAIRS_A_RECORD)
    return Batch(
        class_of=np.arange(records, dtype=np.int32),
        start=np.arange(0, PAIRS_A_RECORD * records + 1, PAIRS_A_RECORD),
        seller=chance.permutation(m)[pairs].astype(np.int32).ravel(),
        fit=chance.integers(0, HIGHEST_FIT + 1, PAIRS_A_RECORD * records),
        capacity=chance.integers(58, 70, m),
        turn=np.zeros(0, dtype=np.int64),
    )


def chain_batch(sellers: int, seed: int) -> Batch:
    """Return sellers in a row; records between two neighbours may go to either, and there are as many as there is room, or nearly."""
    chance, k = np.random.default_rng([seed, sellers]), sellers - 1
    pairs = np.arange(k)[:, None] + np.arange(2)
    return Batch(
        class_of=chance.integers(0, k, 10 * sellers).astype(np.int32),
        start=np.arange(0, 2 * k + 1, 2),
        seller=pairs.astype(np.int32).ravel(),
        fit=np.zeros(2 * k, dtype=np.int64),
        capacity=chance.integers(5, 17, sellers),
        turn=chance.permutation(sellers).astype(np.int64),
        scarce=True,
    )


def problem_of(batch: Batch) -> Problem:
    """Return the batch as a problem; the records came one after the other."""
    n, j, m = len(batch.class_of), len(batch.seller), len(batch.capacity)
    none = np.zeros(j, dtype=np.int64)
    everybody, nothing = np.arange(m, dtype=np.int32), np.zeros(m, dtype=np.int64)
    scopes = (Scope("all", Policy.ROUND_ROBIN, everybody, nothing, batch.turn, batch.capacity),) if len(batch.turn) else ()
    return Problem(
        class_of=batch.class_of,
        priority=np.full(n, 50, dtype=np.int64),
        age_us=np.arange(n, dtype=np.int64),
        key=np.arange(n, dtype=np.int64),
        effort=np.ones(len(batch.start) - 1, dtype=np.int64),
        option_start=batch.start,
        option_seller=batch.seller,
        option_rank=none,
        option_bucket=none,
        option_fit=batch.fit,
        option_scope=np.full(j, 0 if scopes else -1, dtype=np.int32),
        option_cap=batch.seller,
        cap_free=batch.capacity,
        cap_parent=np.full(m, -1, dtype=np.int32),
        scopes=scopes,
    )


def ours(batch: Batch) -> dict[str, Any]:
    """Solve and check by our solver."""
    problem = problem_of(batch)
    started, begun = time.perf_counter(), time.process_time()
    solution = solve(problem)
    solved, worked = time.perf_counter(), time.process_time()
    check(problem, solution)
    checked = time.process_time()
    if solution.termination.reason is not Reason.OPTIMAL:
        raise SystemExit(f"the plan is not proven: {solution.termination}")
    values = {level.level_id: level.value for level in solution.levels}
    return {
        "seconds": round(solved - started, 3),
        "cpu_seconds": round(worked - begun, 3),
        "check_cpu_seconds": round(checked - worked, 3),
        "steps": {name: round(spent, 3) for name, spent in solution.seconds.items()},
        "assigned": int(solution.assigned.sum()),
        "value": values["policy:all"] if len(batch.turn) else values["fit"],
    }


@dataclass(frozen=True)
class Arrays:
    """What the flow solver takes: arcs with room and cost of a unit, and supplies of the nodes."""

    tail: npt.NDArray[np.int32]
    head: npt.NDArray[np.int32]
    room: Ints
    cost: Ints
    supply: Ints

    def solved(self) -> tuple[Ints, float]:
        """Return the flow and the processor seconds of the bare call."""
        nodes = np.arange(len(self.supply), dtype=np.int32)
        started = time.process_time()
        solver = min_cost_flow.SimpleMinCostFlow()
        arcs = solver.add_arcs_with_capacity_and_unit_cost(self.tail, self.head, self.room, self.cost)
        solver.set_nodes_supplies(nodes, self.supply)
        if solver.solve() != solver.OPTIMAL:
            raise SystemExit("the bare solver found no flow")
        units = np.asarray(solver.flows(arcs), dtype=np.int64)
        return units, time.process_time() - started


def _arrays(batch: Batch, supply: Ints, out: tuple[Ints, Ints, Ints], fit: Ints, sinks: tuple[Ints, Ints, Ints]) -> Arrays:
    """Return arcs class → seller, class → sink (class, room, cost) and seller → sink (seller, room, cost)."""
    k, m = len(batch.start) - 1, len(batch.capacity)
    sink = k + m
    kind = np.repeat(np.arange(k), np.diff(batch.start))
    return Arrays(
        tail=np.concatenate([kind, out[0], k + sinks[0]]).astype(np.int32),
        head=np.concatenate([k + batch.seller, np.full(len(out[0]) + len(sinks[0]), sink)]).astype(np.int32),
        room=np.concatenate([batch.sizes[kind], out[1], sinks[1]]),
        cost=np.concatenate([fit, out[2], sinks[2]]),
        supply=np.concatenate([supply, np.zeros(m, dtype=np.int64), [-supply.sum()]]),
    )


def bare(batch: Batch) -> dict[str, Any]:
    """Solve by the bare calls."""
    k, m = len(batch.start) - 1, len(batch.capacity)
    own, everybody = np.arange(k), np.arange(m)
    room = (everybody, batch.capacity, np.zeros(m, dtype=np.int64))
    if not len(batch.turn):
        dear = (own, batch.sizes, np.full(k, 1000 * HIGHEST_FIT))
        units, spent = _arrays(batch, batch.sizes, dear, batch.fit, room).solved()
        assigned = units[: len(batch.seller)]
        return {"cpu_seconds": round(spent, 3), "assigned": int(assigned.sum()), "value": int((assigned * batch.fit).sum())}
    out = (own, batch.sizes, np.ones(k, dtype=np.int64))
    if batch.scarce:
        # Who stays out costs more the older it is: an arc for each record, which are given in the order of their age.
        out = (batch.class_of.astype(np.int64), np.ones_like(batch.class_of, dtype=np.int64), np.arange(len(batch.class_of), 0, -1))
    units, first = _arrays(batch, batch.sizes, out, batch.fit, room).solved()
    covered = np.add.reduceat(units[: len(batch.seller)], batch.start[:-1])
    seller = np.repeat(everybody, batch.capacity)
    unit = np.arange(len(seller)) - np.repeat(np.cumsum(batch.capacity) - batch.capacity, batch.capacity)
    turns = (seller, np.ones_like(seller), unit * m + batch.turn[seller])
    none = np.zeros(0, dtype=np.int64)
    arrays = _arrays(batch, covered, (none, none, none), batch.fit, turns)
    units, second = arrays.solved()
    value = int((units * arrays.cost).sum())
    calls = [round(first, 3), round(second, 3)]
    return {"cpu_seconds": round(first + second, 3), "calls": calls, "assigned": int(covered.sum()), "value": value}


def _in_child(sender: Connection, work: Callable[[Batch], dict[str, Any]], make: Callable[..., Batch], given: tuple[int, ...]) -> None:
    batch = make(*given)
    gc.collect()
    before = _peak_mib()
    sender.send({**work(batch), "peak_mib": round(_peak_mib(), 1), "peak_before_mib": round(before, 1)})
    sender.close()


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(work: Callable[[Batch], dict[str, Any]], make: Callable[..., Batch], *given: int) -> dict[str, Any]:
    """Do some work on a batch in a process of its own and return what it tells."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_in_child, args=(sender, work, make, given))
    child.start()
    sender.close()
    try:
        found: dict[str, Any] = receiver.recv()
    except EOFError:
        raise SystemExit("a case ended without a result") from None
    finally:
        child.join()
    return found


def compare(name: str, repeats: int, make: Callable[..., Batch], *given: int) -> tuple[dict[str, Any], list[Promise]]:
    """Return figures and promises of a case; of several turns the fastest counts, on both sides.

    Raises:
        SystemExit: the bare calls found another value.
    """
    turns = [(alone(ours, make, *given), alone(bare, make, *given)) for _ in range(repeats)]
    own, floor = (min((turn[side] for turn in turns), key=lambda told: told["cpu_seconds"]) for side in (0, 1))
    if (own["assigned"], own["value"]) != (floor["assigned"], floor["value"]):
        raise SystemExit(f"{name}: ours has {own['assigned']} and {own['value']}, the bare calls {floor['assigned']} and {floor['value']}")
    times = round(own["cpu_seconds"] / max(floor["cpu_seconds"], 1e-6), 2)
    checked = round((own["cpu_seconds"] + own["check_cpu_seconds"]) / max(floor["cpu_seconds"], 1e-6), 2)
    figures = {"instance": name, "given": list(given), "ours": own, "floor": floor, "times_with_check": checked}
    promises = [Promise("times the processor seconds of the bare calls", times, MOST_TIMES, AIM_TIMES, at_most=True)]
    return figures, [*promises, Promise("MiB at the peak", own["peak_mib"], MOST_MIB, at_most=True)]


def growth(part: float, repeats: int, seed: int) -> None:
    """Print seconds against size, and the power of the size with which they grow."""
    points = []
    for size in SIZES:
        records = max(int(size * part), 6_000)
        figures, promises = compare(f"growth{size}", repeats, classes_batch, records, 105, seed)
        # What is promised is promised of a million records; the smaller sizes show how the seconds grow.
        held = promises if size == SIZES[-1] else [replace(promise, must_hold=None, aim=None) for promise in promises]
        tell("scale", "none", figures, held)
        points.append((records, figures["ours"]["cpu_seconds"], figures["floor"]["cpu_seconds"]))
    over = math.log(points[-1][0] / points[0][0])
    powers = [math.log(points[-1][side] / points[0][side]) / over if over else 0.0 for side in (1, 2)]
    rows = [{"records": records, "ours": own, "bare": floor} for records, own, floor in points]
    tell("scale", "none", {"summary": "growth", "points": rows, "power_of_ours": round(powers[0], 3), "power_of_bare": round(powers[1], 3)})


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES), help="some of them, with commas between")
    parser.add_argument("--part", type=float, default=1.0, help="share of the full size")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(json.dumps({"machine": machine()}), flush=True)
    if unknown := set(given.cases.split(",")) - set(CASES):
        raise SystemExit(f"there is no case {', '.join(sorted(unknown))}; known are {', '.join(CASES)}")
    part, seed = given.part, given.seed
    making: dict[str, tuple[Any, ...]] = {
        "turns": (classes_batch, max(int(1_000_000 * part), 6_000), 105, seed),
        "scarce": (classes_batch, max(int(1_000_000 * part), 6_000), 95, seed),
        "pairs": (pairs_batch, max(int(300_000 * part), 1_200), seed),
        "chain": (chain_batch, max(int(8_000 * part), 10), seed),
    }
    for case in given.cases.split(","):
        if case == "growth":
            growth(part, given.repeats, seed)
        else:
            tell("scale", "none", *compare(case, given.repeats, *making[case]))


if __name__ == "__main__":
    main()
