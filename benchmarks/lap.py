"""Linear assignment: every record to one seller who takes one. Beside it what SciPy needs for the same.

For each instance it prints the value and the processor seconds of each, of one thread, so that other work on the machine counts for
nobody. SciPy's dense solver gets a matrix in which missing pairs are too dear to
be chosen, its sparse one the pairs themselves. What turning the pairs into its matrix takes is not counted for SciPy, and reading and
checking the columns and the plan is counted for us. Run with `make bench NAME=lap`.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from benchmarks.instances import Instance, generated_lap, published_lap
from benchmarks.report import Promise, machine, tell
from reallot.solver.problems import Problem, problem_of, solve, violations

FROM_SIZE = 2_000
"""From here on sparse instances must be solved faster than by SciPy's dense solver."""


def scipy_dense(problem: Problem) -> tuple[int, float]:
    """Return value and processor seconds of SciPy's dense solver."""
    missing = float(problem.value.max()) * problem.records + 1
    matrix = np.full((problem.records, problem.sellers), missing)
    matrix[problem.record, problem.seller] = problem.value
    started = time.process_time()
    row, column = linear_sum_assignment(matrix)
    spent = time.process_time() - started
    return int(matrix[row, column].sum()), spent


def scipy_sparse(problem: Problem) -> tuple[int, float]:
    """Return value and processor seconds of SciPy's sparse solver; its pairs must not cost 0, so all cost one more."""
    pairs = (problem.record, problem.seller)
    matrix = csr_array((problem.value + 1.0, pairs), shape=(problem.records, problem.sellers))
    started = time.process_time()
    row, column = min_weight_full_bipartite_matching(matrix)
    spent = time.process_time() - started
    return int(matrix[row, column].sum()) - problem.records, spent


def ours(problem: Problem) -> tuple[int, float]:
    """Return value and processor seconds of our solver, from columns to a checked plan."""
    started = time.process_time()
    made = problem_of(
        records=problem.records,
        sellers=problem.sellers,
        record=problem.record,
        seller=problem.seller,
        value=problem.value,
        maximum_load=problem.maximum_load,
    )
    solution = solve(made)
    spent = time.process_time() - started
    if not solution.levels or solution.levels[0].value != solution.levels[0].bound or violations(made, solution.chosen):
        raise SystemExit(f"no optimal plan: {solution.termination}")
    return solution.levels[0].value, spent


def measure(instance: Instance, repeats: int) -> dict[str, Any]:
    """Solve one instance by each solver in turn, as often as asked for, and return the best seconds of each."""
    problem = instance.problem
    dense = problem.pairs == problem.records * problem.sellers
    solvers: dict[str, Callable[[Problem], tuple[int, float]]] = {"ours": ours, "scipy_dense": scipy_dense}
    if not dense:
        solvers["scipy_sparse"] = scipy_sparse
    seconds: dict[str, float] = {}
    values: dict[str, int] = {}
    for _ in range(repeats):
        for name, solver in solvers.items():
            values[name], spent = solver(problem)
            seconds[name] = min(seconds.get(name, spent), spent)
    return {
        "instance": instance.name,
        "size": problem.records,
        "pairs": problem.pairs,
        "dense": dense,
        "value": values["ours"],
        "best_known": instance.best,
        "seconds": {name: round(spent, 4) for name, spent in seconds.items()},
        "values": values,
    }


def promises_of(figures: dict[str, Any]) -> list[Promise]:
    """Return what an instance is held to."""
    values, seconds = figures["values"], figures["seconds"]
    known = [value for name, value in values.items() if name != "ours"]
    known += [] if figures["best_known"] is None else [figures["best_known"]]
    made = [Promise("off from the best value", max(abs(values["ours"] - value) for value in known), 0, at_most=True)]
    binding = not figures["dense"] and figures["size"] >= FROM_SIZE
    times = round(seconds["scipy_dense"] / max(seconds["ours"], 1e-6), 2)
    return [*made, Promise("times as fast as SciPy's dense solver", times, 1.0 if binding else None)]


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="500,1000,2000,4000", help="numbers of records, with commas between")
    parser.add_argument("--degrees", default="10,50,100000", help="pairs of a record, with commas between; all of them where that is more")
    parser.add_argument("--largest", type=int, default=100_000, help="highest cost")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(json.dumps({"machine": machine()}), flush=True)
    first = published_lap()
    instances: list[Instance] = [] if first is None else [first]
    for instance in instances:
        figures = measure(instance, given.repeats)
        tell("lap", "none", figures, promises_of(figures))
    for size in map(int, given.sizes.split(",")):
        for degree in map(int, given.degrees.split(",")):
            figures = measure(generated_lap(size, degree, given.largest, given.seed), given.repeats)
            tell("lap", "none", figures, promises_of(figures))


if __name__ == "__main__":
    main()
