"""Generalised assignment: a cost and a load for each pair. Published instances, and generated ones of types d and e.

For each instance it prints value, proven bound, best known value, the distances to both and the seconds; then the promises over all of
them. Published instances are compared with their published values, generated ones with the bound, from which the best value may be as
far as the plan is. Run with `make bench NAME=gap`; `ARGS="--seconds 60 --generated d:20x200"` takes longer over one.
"""

import argparse
import json
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.instances import Instance, generated_gaps, published_gap
from benchmarks.report import Promise, machine, tell
from reallot.solver.problems import solve, violations
from reallot.solver.problems.compiling import prepare

SIZES = ("5x100", "10x100", "20x100", "5x200", "10x200", "20x200", "10x400", "20x400", "40x400")
GENERATED = ",".join(f"{kind}:{size}" for kind in "de" for size in SIZES)
HARD = {"d05100": 0.2}
"""Published instances of which the best value is not asked for, and how far from it the plan may be, in percent."""
MOST_COMPILE_S = 60.0


@dataclass(frozen=True)
class Measured:
    """What one instance gave; distances in percent, None where there is nothing to compare with."""

    name: str
    to_best: float | None
    to_bound: float
    seconds: float


def distance_percent(value: int, other: int) -> float:
    """Return how far a value is from another, in percent of the other."""
    return round(100 * abs(value - other) / max(abs(other), 1), 4)


def measure(instance: Instance, seconds: float, seed: int) -> Measured:
    """Solve one instance and print what came out."""
    started, worked = time.perf_counter(), time.process_time()
    solution = solve(instance.problem, time_limit_s=seconds, seed=seed)
    spent, worked = time.perf_counter() - started, time.process_time() - worked
    if not solution.has_plan or violations(instance.problem, solution.chosen):
        raise SystemExit(f"{instance.name} ended without a plan that holds: {solution.termination}")
    level = solution.levels[0]
    to_best = None if instance.best is None else distance_percent(level.value, instance.best)
    found = Measured(instance.name, to_best, distance_percent(level.value, level.bound), spent)
    figures: dict[str, Any] = {
        "instance": instance.name,
        "sense": str(instance.problem.sense),
        "sellers": instance.problem.sellers,
        "records": instance.problem.records,
        "status": str(solution.termination.reason),
        "value": level.value,
        "bound": level.bound,
        "best_known": instance.best,
        "gap_to_best_percent": to_best,
        "gap_to_bound_percent": found.to_bound,
        "seconds": round(spent, 2),
        "cpu_seconds": round(worked, 2),
    }
    tell("gap", "none", figures)
    return found


def _published(found: list[Measured], seconds: float) -> None:
    easy = [one for one in found if one.name not in HARD]
    equal = sum(1 for one in easy if one.to_best == 0)
    promises = [Promise("% of published instances that equal the published value", round(100 * equal / max(len(easy), 1), 1), 100.0)]
    promises += [
        Promise(f"% from the published value, {one.name}", one.to_best, HARD[one.name], at_most=True)
        for one in found
        if one.name in HARD and one.to_best is not None
    ]
    tell("gap", "none", {"summary": "published", "instances": len(found), "equal": equal}, [*promises, _longest(found, seconds)])


def _generated(found: list[Measured], seconds: float) -> None:
    gaps = [one.to_bound for one in found]
    promises = [
        Promise("mean % from the bound", round(sum(gaps) / len(gaps), 3), 0.4, 0.1, at_most=True),
        Promise("worst % from the bound", max(gaps), 1.2, 0.5, at_most=True),
        _longest(found, seconds),
    ]
    tell("gap", "none", {"summary": "generated", "instances": len(found), "seconds_each": seconds}, promises)


def _longest(found: list[Measured], seconds: float) -> Promise:
    # Setting up and checking the plan come beside the search that has a limit.
    return Promise("seconds of the longest", round(max(one.seconds for one in found), 2), seconds + 1, at_most=True)


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="time for each instance")
    parser.add_argument("--published", default="all", help="names with commas between, all (where REALLOT_DATA names the data), none")
    parser.add_argument("--generated", default=GENERATED, help="such as d:20x100,e:40x400; empty for none")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(json.dumps({"machine": machine()}), flush=True)
    started = time.perf_counter()
    if not prepare().ready(MOST_COMPILE_S):
        raise SystemExit(f"local search was not compiled in {MOST_COMPILE_S} s")
    tell("gap", "none", {"step": "compile", "seconds": round(time.perf_counter() - started, 2)})
    for instances, summed in ((published_gap(given.published), _published), (generated_gaps(given.generated, given.seed), _generated)):
        if instances:
            summed([measure(instance, given.seconds, given.seed) for instance in instances], given.seconds)


if __name__ == "__main__":
    main()
