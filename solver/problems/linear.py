"""The core as a (mixed) integer program for HiGHS: the one place that calls it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import highspy
import numpy as np
import numpy.typing as npt

from reallot.solver.problems.core import Core
from reallot.solver.problems.problem import UNLIMITED, Flags, Ints

Floats = npt.NDArray[np.float64]
CLEARLY = 1e-6
"""Distance, relative to a bound, below which it is taken for the whole number beneath it: HiGHS calculates in floating point."""


@dataclass(frozen=True)
class Program:
    """Columns: some open pairs, then optional records that stay out. Rows: records, sellers whose limits bind, values of levels.

    Attributes:
        pairs: Open pairs with a column, ascending: int64.
        skipping: Records with a column for staying out, ascending: int64.
        records: Rows of records, which come first.
        limited: Sellers with a row, ascending: int64; their rows follow.
        unit: Greatest common divisor of all costs, in which the program counts them.
        lp: The program as HiGHS takes it; not relaxed.
    """

    pairs: Ints
    skipping: Ints
    records: int
    limited: Ints
    unit: int
    lp: highspy.HighsLp


@dataclass(frozen=True)
class Found:
    """What HiGHS has found.

    Attributes:
        feasible: False if it is proven that there is no plan; None if nothing is known.
        proven: The plan is optimal for the program.
        columns: Values of the columns, None = none found: float64.
        bound: Lower bound of the cost; -inf = none.
        reduced: Reduced costs of the columns, of a relaxation only: float64.
        prices: Prices of the limited sellers' load, of a relaxation only; above 0 = the maximum binds: float64.
    """

    feasible: bool | None
    proven: bool
    columns: Floats | None
    bound: float
    reduced: Floats | None = None
    prices: Floats | None = None


def program_of(
    core: Core,
    cost: Ints,
    skip_cost: Ints,
    pairs: Ints,
    values: Sequence[tuple[Ints, Ints, int]] = (),
    enforced: tuple[Flags, Flags] | None = None,
) -> Program:
    """Return the program over some open pairs.

    Args:
        core: The core.
        cost: Cost of each open pair: int64, shape (q,).
        skip_cost: Cost of staying out: int64, shape (n,).
        pairs: Open pairs that get a column, ascending.
        values: Levels before this one: costs of the open pairs, of staying out, and what they may add up to.
        enforced: Records and sellers that must be satisfied, None = all; others may go short and carry anything.
    """
    records, sellers = enforced or (np.ones(core.records, dtype=np.bool_), np.ones(core.sellers, dtype=np.bool_))
    skipping = np.flatnonzero(core.optional & (core.demand > 0)).astype(np.int64)
    unit, low, high = _rows_of_sellers(core, sellers)
    limited = np.flatnonzero((low > 0) | (high < UNLIMITED)).astype(np.int64)
    place = np.full(core.sellers, -1, dtype=np.int64)
    place[limited] = core.records + np.arange(len(limited))
    record, seller = core.record[pairs].astype(np.int64), core.seller[pairs].astype(np.int64)
    own, inside = np.arange(len(pairs)), np.flatnonzero((place[seller] >= 0) & (core.load[pairs] > 0))
    column = [own, inside, len(pairs) + np.arange(len(skipping))]
    row = [record, place[seller[inside]], skipping]
    entry = [np.ones(len(pairs)), (core.load[pairs] // unit[seller])[inside].astype(np.float64), core.demand[skipping].astype(np.float64)]
    top = core.records + len(limited)
    for index, (pair_costs, skip_costs, _) in enumerate(values):
        costs = np.concatenate([pair_costs[pairs], skip_costs[skipping]])
        column.append(np.flatnonzero(costs))
        row.append(np.full(len(column[-1]), top + index))
        entry.append(costs[column[-1]].astype(np.float64))
    lower = np.concatenate([np.where(records, core.demand, 0), low[limited], np.full(len(values), -highspy.kHighsInf)])
    most = [np.where(high >= UNLIMITED, highspy.kHighsInf, high)[limited], [float(value) for _, _, value in values]]
    upper = np.concatenate([core.demand, *most])
    lp = _assembled(len(pairs) + len(skipping), np.concatenate(column), np.concatenate(row), np.concatenate(entry), lower, upper)
    costs = np.concatenate([cost[pairs], skip_cost[skipping]])
    whole = max(int(np.gcd.reduce(costs)) if len(costs) else 1, 1)
    lp.col_cost_ = (costs // whole).astype(np.float64)
    return Program(pairs, skipping, core.records, limited, whole, lp)


def _rows_of_sellers(core: Core, sellers: Flags) -> tuple[Ints, Ints, Ints]:
    """Return the greatest common divisor of each seller's loads, and the limits in such units; 0 and `UNLIMITED` where none binds."""
    unit = np.zeros(core.sellers, dtype=np.int64)
    np.gcd.at(unit, core.seller, core.load)
    unit = np.maximum(unit, 1)
    reach = np.zeros(core.sellers, dtype=np.int64)
    np.add.at(reach, core.seller, core.load)
    low = np.where(sellers, -(-core.low // unit), 0)
    high = np.where(sellers & (core.high < reach), core.high // unit, UNLIMITED)
    return unit, low, high


def _assembled(columns: int, column: Ints, row: Ints, entry: Floats, lower: Floats, upper: Floats) -> highspy.HighsLp:
    order = np.lexsort((row, column))
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = columns, len(lower)
    lp.col_lower_, lp.col_upper_ = np.zeros(columns), np.ones(columns)
    lp.row_lower_, lp.row_upper_ = lower.astype(np.float64), upper.astype(np.float64)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum(np.bincount(column, minlength=columns))]).astype(np.int32)
    lp.a_matrix_.index_ = row[order].astype(np.int32)
    lp.a_matrix_.value_ = entry[order]
    return lp


class _Quiet(highspy.Highs):
    """HiGHS that prints nothing: it greets as soon as callbacks are enabled, unless it was silenced before."""

    def enableCallbacks(self) -> None:  # noqa: N802
        self.silent()
        super().enableCallbacks()  # type: ignore[no-untyped-call]


def quiet_solver(time_limit_s: float) -> highspy.Highs:
    """Return HiGHS with a time limit; it prints nothing."""
    solver = _Quiet()  # type: ignore[no-untyped-call]
    solver.setOptionValue("time_limit", max(time_limit_s, 0.01))
    return solver


def relax(program: Program, time_limit_s: float) -> Found:
    """Solve the program without whole numbers."""
    solver = quiet_solver(time_limit_s)
    program.lp.integrality_ = []
    solver.passModel(program.lp)
    solver.run()
    status = solver.getModelStatus()
    if status in (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible):
        return Found(False, False, None, np.inf)
    if status != highspy.HighsModelStatus.kOptimal:
        return Found(None, False, None, -np.inf)
    solution = solver.getSolution()
    prices = -np.array(solution.row_dual)[program.records : program.records + len(program.limited)]
    value = solver.getInfo().objective_function_value * program.unit
    reduced = np.array(solution.col_dual) * program.unit
    return Found(True, False, np.array(solution.col_value), value, reduced, prices * program.unit)


class Search:
    """One run of HiGHS on whole numbers, which may go on in a thread (HiGHS releases the interpreter) and be stopped from another.

    Attributes:
        bound: Best proven lower bound so far.
    """

    def __init__(
        self,
        program: Program,
        time_limit_s: float,
        seed: int,
        start: Floats | None,
        on_plan: Callable[[Floats, float], None],
        nodes: int | None = None,
    ) -> None:
        """Prepare a run; `start` are columns of a plan that may serve as a beginning; `on_plan` hears of better ones, in HiGHS's thread."""
        self._solver = solver = quiet_solver(time_limit_s)
        solver.HandleUserInterrupt = True
        solver.setOptionValue("mip_rel_gap", 0.0)
        # Costs are whole numbers, so nothing better fits into what is left.
        solver.setOptionValue("mip_abs_gap", 0.999)
        solver.setOptionValue("random_seed", seed % 2**31)
        if nodes is not None:
            solver.setOptionValue("mip_max_nodes", nodes)
        program.lp.integrality_ = [highspy.HighsVarType.kInteger] * program.lp.num_col_
        solver.passModel(program.lp)
        if start is not None:
            solution = highspy.HighsSolution()
            solution.col_value = start.tolist()
            solver.setSolution(solution)
        self.bound = -np.inf
        self._unit = program.unit
        solver.cbMipImprovingSolution += lambda event: on_plan(
            np.array(event.data_out.mip_solution), event.data_out.mip_dual_bound * program.unit
        )
        solver.cbMipInterrupt += self._hear

    def _hear(self, event: highspy.HighsCallbackEvent) -> None:
        self.bound = max(self.bound, float(event.data_out.mip_dual_bound) * self._unit)

    def stop(self) -> None:
        """Have the run end soon."""
        self._solver.cancelSolve()  # type: ignore[no-untyped-call]

    def run(self) -> Found:
        """Search until the program is solved, the time is up or somebody stops it."""
        self._solver.run()
        status, info = self._solver.getModelStatus(), self._solver.getInfo()
        if status == highspy.HighsModelStatus.kInfeasible:
            return Found(False, False, None, np.inf)
        columns = None
        if info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible:
            columns = np.array(self._solver.getSolution().col_value)
        proven = status == highspy.HighsModelStatus.kOptimal and columns is not None
        bound = max(self.bound, float(info.mip_dual_bound) * self._unit)
        return Found(True if columns is not None else None, proven, columns, bound)


def whole_bound(bound: float, unit: int) -> int | None:
    """Return the least multiple of `unit` that a lower bound in floating point leaves; None for no bound."""
    if not np.isfinite(bound):
        return None
    units = bound / unit
    return int(np.ceil(units - CLEARLY * max(1.0, abs(units)))) * unit
