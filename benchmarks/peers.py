"""The same problems at equal time by what people use otherwise: SciPy, a plain CP-SAT model, a plain HiGHS model.

Plain means one variable a pair, one row a record and a seller, and the solver's own settings on as many cores. For each instance it
prints value and seconds of each; then, for each alternative, by how much our values are worse in the mean and at worst (below 0 =
better), over the instances for which it has a plan in time. Run with `make bench NAME=peers`.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
from ortools.sat.python import cp_model

from benchmarks import lap
from benchmarks.instances import Instance, generated_gaps, generated_lap, published_gap, published_lap
from benchmarks.report import Promise, machine, tell
from reallot.solver.problems import Problem, Sense, level_values, solve, violations
from reallot.solver.problems.compiling import prepare
from reallot.solver.problems.linear import quiet_solver

PUBLISHED = "gap6-0,a05200,a10200,a20200,c05100,d05100"
GENERATED = "d:5x100,d:10x200,d:20x200,e:10x100,e:20x200,e:40x400"
MOST_WORSE_PERCENT = 0.2
CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Answer:
    """What a solver gave: value, None without a plan, and seconds."""

    value: int | None
    seconds: float


def ours(problem: Problem, seconds: float) -> Answer:
    """Solve with our solver."""
    started = time.perf_counter()
    solution = solve(problem, time_limit_s=seconds)
    return Answer(solution.levels[0].value if solution.has_plan else None, time.perf_counter() - started)


def cp_sat(problem: Problem, seconds: float) -> Answer:
    """Solve with a plain CP-SAT model; its time limit counts from when the model is made."""
    model = cp_model.CpModel()
    chosen = [model.new_bool_var("") for _ in range(problem.pairs)]
    for record in _members(problem.record, problem.records):
        model.add_exactly_one(chosen[pair] for pair in record)
    for seller, own in enumerate(_members(problem.seller, problem.sellers)):
        terms = cp_model.LinearExpr.weighted_sum([chosen[pair] for pair in own], problem.load[own].tolist())
        model.add(terms <= int(problem.maximum_load[seller]))
    total = cp_model.LinearExpr.weighted_sum(chosen, problem.value.tolist())
    if problem.sense is Sense.MINIMISE:
        model.minimize(total)
    else:
        model.maximize(total)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = CORES
    started = time.perf_counter()
    status = solver.solve(model)
    spent = time.perf_counter() - started
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Answer(None, spent)
    return Answer(_value(problem, np.array([solver.value(variable) for variable in chosen])), spent)


def highs(problem: Problem, seconds: float) -> Answer:
    """Solve with a plain HiGHS model."""
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = problem.pairs, problem.records + problem.sellers
    lp.sense_ = highspy.ObjSense.kMinimize if problem.sense is Sense.MINIMISE else highspy.ObjSense.kMaximize
    lp.col_cost_ = problem.value.astype(np.float64)
    lp.col_lower_, lp.col_upper_ = np.zeros(problem.pairs), np.ones(problem.pairs)
    lp.row_lower_ = np.concatenate([np.ones(problem.records), np.full(problem.sellers, -highspy.kHighsInf)])
    lp.row_upper_ = np.concatenate([np.ones(problem.records), problem.maximum_load.astype(np.float64)])
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = (2 * np.arange(problem.pairs + 1)).astype(np.int32)
    lp.a_matrix_.index_ = np.column_stack([problem.record, problem.records + problem.seller]).ravel().astype(np.int32)
    lp.a_matrix_.value_ = np.column_stack([np.ones(problem.pairs), problem.load]).ravel().astype(np.float64)
    lp.integrality_ = [highspy.HighsVarType.kInteger] * problem.pairs
    solver = quiet_solver(seconds)
    solver.setOptionValue("mip_rel_gap", 0.0)
    started = time.perf_counter()
    solver.passModel(lp)
    solver.run()
    spent = time.perf_counter() - started
    if solver.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return Answer(None, spent)
    return Answer(_value(problem, np.array(solver.getSolution().col_value)), spent)


def scipy(problem: Problem, seconds: float) -> Answer:
    """Solve with SciPy's dense solver, which has no time limit and needs none here."""
    return Answer(*lap.scipy_dense(problem))


def _members(column: np.ndarray[Any, Any], count: int) -> list[np.ndarray[Any, Any]]:
    order = np.argsort(column, kind="stable")
    return np.split(order, np.cumsum(np.bincount(column, minlength=count))[:-1])


def _value(problem: Problem, columns: np.ndarray[Any, Any]) -> int | None:
    chosen = np.flatnonzero(columns > 0.5).astype(np.int64)
    return None if violations(problem, chosen) else level_values(problem, chosen)[0]


SOLVERS: dict[str, Callable[[Problem, float], Answer]] = {"cp_sat": cp_sat, "highs": highs}


def measure(instance: Instance, seconds: float, *, linear: bool) -> dict[str, float]:
    """Solve one instance by each solver, print what came out, and return by how many percent ours is worse than each that has a plan."""
    problem = instance.problem
    solvers = SOLVERS | ({"scipy": scipy} if linear else {})
    own = ours(problem, seconds)
    if own.value is None:
        raise SystemExit(f"{instance.name} has no plan of ours in {seconds} s")
    answers = {name: solver(problem, seconds) for name, solver in solvers.items()}
    sign = 1 if problem.sense is Sense.MINIMISE else -1
    worse = {
        name: round(100 * sign * (own.value - answer.value) / max(abs(answer.value), 1), 4)
        for name, answer in answers.items()
        if answer.value is not None
    }
    every = {"ours": own, **answers}
    figures = {
        "instance": instance.name,
        "sense": str(problem.sense),
        "pairs": problem.pairs,
        "best_known": instance.best,
        "values": {name: answer.value for name, answer in every.items()},
        "seconds": {name: round(answer.seconds, 3) for name, answer in every.items()},
        "ours_worse_percent": worse,
    }
    promises = [Promise(f"% worse than {name}", percent, MOST_WORSE_PERCENT, at_most=True) for name, percent in worse.items()]
    if linear and problem.records >= lap.FROM_SIZE:
        promises.append(Promise("times as fast as SciPy's dense solver", round(answers["scipy"].seconds / own.seconds, 2), 1.0))
    tell("peers", "none", figures, promises)
    return worse


def _summed(found: list[dict[str, float]]) -> None:
    for name in (*SOLVERS, "scipy"):
        differences = [worse[name] for worse in found if name in worse]
        if differences:
            promises = [
                Promise("mean % worse", round(sum(differences) / len(differences), 4), 0.0, at_most=True),
                Promise("worst % worse", max(differences), MOST_WORSE_PERCENT, at_most=True),
            ]
            tell("peers", "none", {"summary": name, "instances": len(differences)}, promises)


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each solver and instance")
    parser.add_argument("--published", default=PUBLISHED, help="names with commas between; none")
    parser.add_argument("--generated", default=GENERATED, help="such as d:20x100,e:40x400; empty for none")
    parser.add_argument("--sizes", default="500,2000,4000", help="records of sparse linear assignments, with commas between")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(json.dumps({"machine": machine()}), flush=True)
    prepare().ready(60)
    general = published_gap(given.published) + generated_gaps(given.generated, given.seed)
    linear = [one for one in [published_lap()] if one is not None]
    linear += [generated_lap(int(size), 10, 100_000, given.seed) for size in given.sizes.split(",")]
    found = [measure(instance, given.seconds, linear=False) for instance in general]
    found += [measure(instance, given.seconds, linear=True) for instance in linear]
    _summed(found)


if __name__ == "__main__":
    main()
