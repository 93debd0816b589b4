"""The problem as a flow, where every seller's pairs have one load: exact, by minimum-cost flow, level by level.

Records send as many units as they need over their pairs to sellers, sellers send them on to the sink, between their minimum and their
maximum; an optional record may send its unit to the sink directly. Levels are solved one after the other, each on the optimal face of
the last: after a solve, node potentials tell which arcs every optimal flow uses and which none does. Where records have many pairs, the
flow solver gets the cheapest of each first, and then those that the potentials show to be missing, until they prove that none is.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from ortools.graph.python import max_flow, min_cost_flow

from reallot.solver.problems.core import Core
from reallot.solver.problems.problem import Flags, Ints

LARGEST_PRODUCT = 2**61
"""Bound for a cost times the number of nodes: the flow solver scales costs by the nodes."""
ANY = 2**31
"""More units than there are pairs."""
MANY_PAIRS, FEW_PAIRS = 100, 16
"""From how many pairs of a record on, in the mean, not all are given to the flow solver at once, and how many of each it gets first."""


class FlowTooLarge(ArithmeticError):
    """The flow solver cannot calculate with costs this large."""


@dataclass(frozen=True)
class Units:
    """The sellers of a core in units of their one load.

    Attributes:
        low, high: Units that each seller must and may get: int64, shape (m,).
        free: Pairs whose load is 0, which no maximum stops: bool, shape (q,).
    """

    low: Ints
    high: Ints
    free: Flags


def units_of(core: Core) -> Units | None:
    """Return the sellers in units; None where a seller's pairs have different loads that matter, or an optional record needs several."""
    if (core.demand[core.optional] > 1).any():
        return None
    free = core.load == 0
    least, most = np.full(core.sellers, np.iinfo(np.int64).max), np.zeros(core.sellers, dtype=np.int64)
    np.minimum.at(least, core.seller[~free], core.load[~free])
    np.maximum.at(most, core.seller[~free], core.load[~free])
    counts = np.bincount(core.seller[~free], minlength=core.sellers)
    reach = np.zeros(core.sellers, dtype=np.int64)
    np.add.at(reach, core.seller, core.load)
    idle = (core.low == 0) & (core.high >= reach)
    if ((least < most) & ~idle).any():
        return None
    load = np.where(counts > 0, np.maximum(most, 1), 1)
    low = -(-core.low // load)
    high = np.where(idle, counts, np.minimum(core.high // load, counts))
    return Units(low, high, free)


@dataclass(frozen=True)
class _Network:
    """Nodes: records, sellers, the sink. Arcs: pairs, sellers to the sink, then optional records to the sink."""

    nodes: int
    supply: Ints
    tail: npt.NDArray[np.int32]
    head: npt.NDArray[np.int32]
    lower: Ints
    upper: Ints


def _network_of(core: Core, units: Units) -> _Network:
    n, m = core.records, core.sellers
    sink, skipping = n + m, np.flatnonzero(core.optional & (core.demand > 0))
    return _Network(
        nodes=n + m + 1,
        supply=np.concatenate([core.demand, np.zeros(m, dtype=np.int64), [-int(core.demand.sum())]]),
        tail=np.concatenate([core.record, n + np.arange(m), skipping]).astype(np.int32),
        head=np.concatenate([np.where(units.free, sink, n + core.seller), np.full(m + len(skipping), sink)]).astype(np.int32),
        lower=np.concatenate([np.zeros(len(core.pair), dtype=np.int64), units.low, np.zeros(len(skipping), dtype=np.int64)]),
        upper=np.concatenate([np.ones(len(core.pair), dtype=np.int64), units.high, np.ones(len(skipping), dtype=np.int64)]),
    )


def level_costs(core: Core, level: int) -> Ints:
    """Return the costs of a level by arc: pairs, sellers, records that may stay out."""
    skipping = np.flatnonzero(core.optional & (core.demand > 0))
    skip = core.skip_cost[skipping] if level == 0 else np.zeros(len(skipping), dtype=np.int64)
    return np.concatenate([core.cost[level], np.zeros(core.sellers, dtype=np.int64), skip])


def solve_transport(core: Core, units: Units) -> tuple[Ints, list[int]] | None:
    """Return the picked pairs of an optimal plan and the cost of each level, which are its bounds too; None if there is no plan.

    Raises:
        FlowTooLarge: the costs are beyond the flow solver.
    """
    network = _network_of(core, units)
    if (network.lower > network.upper).any():
        return None
    flow, values = network.lower, []
    for level in range(len(core.cost)):
        cost = level_costs(core, level)
        if level > 0 and not cost.any():
            values.append(0)
            continue
        if (found := _priced(network, len(core.pair), core.records, cost)) is None:
            return None
        flow, potential = found
        values.append(int((cost * flow).sum()))
        if level + 1 < len(core.cost):
            network = _narrow(network, cost, _potentials(network, cost, flow) if potential is None else potential)
    return np.flatnonzero(flow[: len(core.pair)]).astype(np.int64), values


def _priced(network: _Network, pairs: int, records: int, cost: Ints) -> tuple[Ints, Ints | None] | None:
    """Return an optimal flow, and potentials if they were needed; None if there is none.

    Few pairs take part at first. Potentials of an optimal flow over these prove it optimal over all whose reduced cost is not below 0;
    others join in, and so do more of each record where too few take part for any flow.
    """
    wanted = FEW_PAIRS
    while (chosen := _cheapest(network, pairs, records, cost, wanted)) is not None:
        while True:
            part = replace(network, upper=np.where(chosen, network.upper, network.lower))
            if (flow := _solve(part, cost)) is None:
                break
            potential = _potentials(part, cost, flow)
            left = np.flatnonzero(~chosen & (network.lower < network.upper))
            reduced = cost[left] + potential[network.tail[left]] - potential[network.head[left]]
            missing = left[reduced < 0]
            if not len(missing):
                return flow, potential
            chosen[missing] = True
        wanted *= 8
    flow = _solve(network, cost)
    return None if flow is None else (flow, None)


def _cheapest(network: _Network, pairs: int, records: int, cost: Ints, wanted: int) -> Flags | None:
    """Return which arcs take part when each record has its cheapest pairs: bool, shape (arcs,); None where all may as well."""
    counts = np.bincount(network.tail[:pairs], minlength=records)[:records]
    widest = int(counts.max(initial=0))
    if wanted >= widest or pairs < MANY_PAIRS * records or widest * records > 4 * pairs:
        return None
    # Pairs stand by record; rows shorter than the widest are filled up with what is never cheapest.
    place = np.arange(pairs) - np.repeat(np.cumsum(counts) - counts, counts)
    row = network.tail[:pairs].astype(np.int64)
    table = np.full((records, widest), np.iinfo(np.int64).max)
    open_pair = network.lower[:pairs] < network.upper[:pairs]
    table[row, place] = np.where(open_pair, cost[:pairs], np.iinfo(np.int64).max)
    cheap = np.partition(table, wanted - 1, axis=1)[:, wanted - 1]
    chosen = np.ones(len(network.tail), dtype=np.bool_)
    chosen[:pairs] = open_pair & (cost[:pairs] <= cheap[row])
    return chosen if int(chosen[:pairs].sum()) * 2 < int(open_pair.sum()) else None


def _solve(network: _Network, cost: Ints) -> Ints | None:
    """Return an optimal flow, None if there is none."""
    if int(np.abs(cost).max(initial=0)) * (network.nodes + 2) >= LARGEST_PRODUCT:
        raise FlowTooLarge(f"costs up to {np.abs(cost).max()} over {network.nodes} nodes are too large")
    supply = network.supply.copy()
    forced = np.flatnonzero(network.lower)
    np.subtract.at(supply, network.tail[forced], network.lower[forced])
    np.add.at(supply, network.head[forced], network.lower[forced])
    open_arcs = np.flatnonzero(network.lower < network.upper)
    solver = min_cost_flow.SimpleMinCostFlow()
    handles = solver.add_arcs_with_capacity_and_unit_cost(
        network.tail[open_arcs], network.head[open_arcs], (network.upper - network.lower)[open_arcs], cost[open_arcs]
    )
    solver.set_nodes_supplies(np.arange(network.nodes, dtype=np.int32), supply)
    status = solver.solve()
    if status == solver.INFEASIBLE:
        return None
    if status != solver.OPTIMAL:
        raise FlowTooLarge(f"the flow solver ended with {status}")
    flow = network.lower.copy()
    flow[open_arcs] += np.asarray(solver.flows(handles), dtype=np.int64)
    return flow


def _potentials(network: _Network, cost: Ints, flow: Ints) -> Ints:
    """Return shortest distances in the residual network from a node that reaches all others at no cost: Bellman and Ford's method."""
    more, fewer = np.flatnonzero(flow < network.upper), np.flatnonzero(flow > network.lower)
    tail = np.concatenate([network.tail[more], network.head[fewer]])
    order = np.argsort(tail, kind="stable")
    tail = tail[order]
    head = np.concatenate([network.head[more], network.tail[fewer]])[order]
    length = np.concatenate([cost[more], -cost[fewer]])[order]
    start = np.concatenate([[0], np.cumsum(np.bincount(tail, minlength=network.nodes))])
    distance = np.zeros(network.nodes, dtype=np.int64)
    changed = np.flatnonzero(np.diff(start))
    for _ in range(network.nodes + 1):
        counts = start[changed + 1] - start[changed]
        ends = np.cumsum(counts)
        arcs = np.arange(int(counts.sum())) + np.repeat(start[changed] - ends + counts, counts)
        reached, target = np.repeat(distance[changed], counts) + length[arcs], head[arcs]
        nearer = np.flatnonzero(reached < distance[target])
        if not len(nearer):
            return distance
        np.minimum.at(distance, target[nearer], reached[nearer])
        changed = np.unique(target[nearer])
    raise ArithmeticError("the flow is not optimal: its residual network has a cycle of negative cost")


def _narrow(network: _Network, cost: Ints, potential: Ints) -> _Network:
    """Return the optimal face: arcs of negative reduced cost are full in every optimal flow, of positive ones empty."""
    reduced = cost + potential[network.tail] - potential[network.head]
    lower, upper = network.lower.copy(), network.upper.copy()
    lower[reduced < 0] = network.upper[reduced < 0]
    upper[reduced > 0] = network.lower[reduced > 0]
    return _Network(network.nodes, network.supply, network.tail, network.head, lower, upper)


def short_of_room(core: Core, units: Units, records: Ints, sellers: Ints) -> tuple[Ints, Ints] | None:
    """Return records and sellers on the near side of a smallest cut, among those given, if these records cannot all be served.

    Only the maxima of the given sellers bind. None if they can be served.
    """
    n, m = core.records, core.sellers
    kept = np.zeros(n, dtype=np.bool_)
    kept[records] = True
    pairs = np.flatnonzero(kept[core.record])
    room = np.full(m, ANY, dtype=np.int64)
    room[sellers] = units.high[sellers]
    target = np.where(units.free[pairs], n + m, n + core.seller[pairs])
    near = _near_side(core, pairs, target, records, core.required[records], room)
    if near is None:
        return None
    sellers_near = np.intersect1d(near[(near >= n) & (near < n + m)] - n, sellers)
    return near[near < n], sellers_near


def short_of_supply(core: Core, units: Units, sellers: Ints) -> Ints | None:
    """Return sellers on the far side of a smallest cut, among those given, if their minima cannot all be met; None if they can."""
    n, m = core.records, core.sellers
    wanted = np.zeros(m, dtype=np.int64)
    wanted[sellers] = units.low[sellers]
    pairs = np.flatnonzero((wanted[core.seller] > 0) & ~units.free)
    records = np.unique(core.record[pairs]).astype(np.int64)
    near = _near_side(core, pairs, n + core.seller[pairs].astype(np.int64), records, core.demand[records], wanted, int(wanted.sum()))
    if near is None:
        return None
    return np.setdiff1d(sellers[units.low[sellers] > 0], near - n)


def _near_side(core: Core, pairs: Ints, target: Ints, records: Ints, supply: Ints, room: Ints, wanted: int | None = None) -> Ints | None:
    """Return the nodes on the source's side of a smallest cut, None if the wanted units (default: all supply) get through."""
    n, m = core.records, core.sellers
    sink, source = n + m, n + m + 1
    solver = max_flow.SimpleMaxFlow()
    for tail, head, capacity in (
        (core.record[pairs], target, np.ones(len(pairs), dtype=np.int64)),
        (np.full(len(records), source), records, supply),
        (n + np.arange(m), np.full(m, sink), room),
    ):
        solver.add_arcs_with_capacity(tail.astype(np.int32), head.astype(np.int32), capacity)
    if solver.solve(source, sink) != solver.OPTIMAL:
        raise ArithmeticError("the flow solver did not find a largest flow")
    if solver.optimal_flow() >= (int(supply.sum()) if wanted is None else wanted):
        return None
    return np.unique(np.asarray(solver.get_source_side_min_cut(), dtype=np.int64))
