"""What one more slot would be worth, exactly, for every capacity node: a vector over coverage by priority and the constant levels.

One more slot at a node opens its arc by one unit. The optimal plan then differs from the present one by at most one cycle through that
arc: the lexicographically shortest path, in the residual network, from what is around the node back to the node. Where what is around
it has room up to the sink, that is the path from the sink, found for all nodes at once; where it is full, a search of its own from
there, over reduced costs, which ends where it cannot pay any more. Policies have no such worth: under load balancing a slot changes
the costs themselves.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reallot.solver.assignment.answers.residual import Residual, proven_levels, residual_of
from reallot.solver.assignment.problem import Ints, Problem
from reallot.solver.assignment.result import Solution

FAR = 2**62
"""Distance of a node that is not reached."""


@dataclass(frozen=True)
class Worth:
    """By how much the value of each level would change with one more slot; lower values are better, so that worth is below 0.

    Attributes:
        level_ids: The levels, coverage by priority first, highest priority first.
        changes: int64, shape (capacity nodes, levels).
    """

    level_ids: tuple[str, ...]
    changes: Ints


def worth(problem: Problem, solution: Solution) -> Worth:
    """Return the worth of one more slot at each capacity node.

    Raises:
        NotProven: the plan is not proven optimal; only plans of records of effort 1 are.
    """
    levels = proven_levels(problem, solution)
    network = residual_of(problem, solution, levels)
    priorities = np.unique(problem.priority)[::-1]
    constants = [name for name, _ in problem.constant_levels()[: levels - 1]]
    names = (*(f"coverage:{priority}" for priority in priorities.tolist()), *constants)
    changes = np.zeros((len(problem.cap_free), len(names)), dtype=np.int64)
    paths = _from_sink(network)
    inner = _inner(network)
    # An overloaded seller's next slot only makes up for what is too much; one with room has it already.
    opens = network.full & (problem.cap_free >= 0)
    alone = np.flatnonzero(opens & ~inner)
    _note(changes, priorities, alone, *(column[alone + problem.classes] for column in (paths.distance, paths.covered, paths.left)))
    for around in np.unique(network.around[opens & inner]).tolist():
        nodes = np.flatnonzero(opens & inner & (network.around == around))
        for node, distance, covered, left in _from_full(network, paths.distance, around, nodes):
            _note(changes, priorities, np.array([node]), np.array([distance]), np.array([covered]), np.array([left]))
    return Worth(names, changes)


def _note(changes: Ints, priorities: Ints, nodes: Ints, distance: Ints, covered: Ints, left: Ints) -> None:
    """Enter what is worth something: distances int64 (nodes, levels), priorities of who is covered and left out."""
    pays = (distance[:, 0] < FAR) & _below_zero(distance)
    nodes, distance, covered, left = nodes[pays], distance[pays], covered[pays], left[pays]
    for who, sign in ((covered, -1), (left, 1)):
        some = np.flatnonzero(who >= 0)
        place = len(priorities) - 1 - np.searchsorted(priorities[::-1], who[some])
        np.add.at(changes, (nodes[some], place), sign)
    changes[nodes, len(priorities) :] = distance[:, 1:]


def _below_zero(vectors: Ints) -> npt.NDArray[np.bool_]:
    """Tell which rows come before zeros, compared number by number."""
    first = (vectors != 0).argmax(axis=1)
    return np.take_along_axis(vectors, first[:, None], axis=1)[:, 0] < 0


def _inner(network: Residual) -> npt.NDArray[np.bool_]:
    """Tell which capacity nodes lie in a full one: bool, shape (c,)."""
    parent, full = network.problem.cap_parent.astype(np.int64), network.full
    found, node = np.zeros(len(full), dtype=np.bool_), parent.copy()
    while (inside := node >= 0).any():
        found[inside] |= full[node[inside]]
        node[inside] = parent[node[inside]]
    return found


@dataclass(frozen=True)
class _Paths:
    """Shortest paths to all nodes: distances int64 (nodes, levels), and the priorities covered and left out on the way, -1 = none."""

    distance: Ints
    covered: Ints
    left: Ints


def _from_sink(network: Residual) -> _Paths:
    """Return the shortest paths from the sink, each level over the arcs that are on shortest paths of those before."""
    nodes = network.sink + 1
    columns = []
    arcs = np.arange(len(network.tail))
    for cost in network.costs:
        tail, head = network.tail[arcs], network.head[arcs]
        distance = _distances(nodes, tail, head, cost[arcs], network.sink)
        columns.append(distance)
        arcs = arcs[(distance[tail] < FAR) & (distance[tail] + cost[arcs] == distance[head])]
    covered, left = np.full(nodes, -1, dtype=np.int64), np.full(nodes, -1, dtype=np.int64)
    seen = np.zeros(nodes, dtype=np.bool_)
    seen[network.sink] = True
    start = np.concatenate([[0], np.cumsum(np.bincount(network.tail[arcs], minlength=nodes))]).astype(np.int64)
    frontier = np.array([network.sink])
    while len(frontier):
        ahead = arcs[_ranges(start[frontier], start[frontier + 1])]
        ahead = ahead[~seen[network.head[ahead]]]
        reached, first = np.unique(network.head[ahead], return_index=True)
        by = ahead[first]
        for column, own in ((covered, network.covered), (left, network.left)):
            column[reached] = np.where(own[by] >= 0, own[by], column[network.tail[by]])
        seen[reached] = True
        frontier = reached
    return _Paths(np.column_stack(columns), covered, left)


def _distances(nodes: int, tail: Ints, head: Ints, cost: Ints, source: int) -> Ints:
    """Return shortest distances from a node over arcs that lie by tail, FAR = not reached; Bellman and Ford's method.

    Raises:
        ArithmeticError: there is a cycle of negative cost.
    """
    start = np.concatenate([[0], np.cumsum(np.bincount(tail, minlength=nodes))]).astype(np.int64)
    distance = np.full(nodes, FAR, dtype=np.int64)
    distance[source] = 0
    changed = np.array([source])
    for _ in range(nodes + 1):
        arcs = _ranges(start[changed], start[changed + 1])
        reached = distance[tail[arcs]] + cost[arcs]
        nearer = np.flatnonzero(reached < distance[head[arcs]])
        if not len(nearer):
            return distance
        target = head[arcs[nearer]]
        np.minimum.at(distance, target, reached[nearer])
        changed = np.unique(target)
    raise ArithmeticError("the plan is not optimal: its residual network has a cycle of negative cost")


def _ranges(first: Ints, end: Ints) -> Ints:
    """Return the numbers of all ranges first … end - 1, one after the other."""
    lengths = end - first
    ends = np.cumsum(lengths)
    found: Ints = np.arange(int(lengths.sum())) + np.repeat(first - ends + lengths, lengths)
    return found


Step = tuple[int, tuple[int, ...], int, int]


def _from_full(network: Residual, potential: Ints, source: int, nodes: Ints) -> Iterator[Step]:
    """Yield capacity node, distance and priorities covered and left out for those of the nodes that paths from a full one pay for.

    Dijkstra's method over costs reduced by the distances from the sink, which are never below zero, as far as a path can pay.
    """
    levels = potential.shape[1]
    if potential[source, 0] >= FAR:
        # It carries nothing, so nothing can make room there.
        return
    wanted = {int(node) + network.problem.classes: int(node) for node in nodes if potential[node + network.problem.classes, 0] < FAR}
    base = potential[source]
    farthest = max((tuple((base - potential[node]).tolist()) for node in wanted), default=(0,) * levels)
    best: dict[int, tuple[int, ...]] = {source: (0,) * levels}
    queue: list[tuple[tuple[int, ...], int, int, int]] = [((0,) * levels, source, -1, -1)]
    done: set[int] = set()
    while queue and wanted:
        distance, node, covered, left = heapq.heappop(queue)
        if distance >= farthest:
            return
        if node in done:
            continue
        done.add(node)
        if node in wanted:
            yield wanted.pop(node), tuple((np.array(distance) + potential[node] - base).tolist()), covered, left
        arcs = np.arange(network.start[node], network.start[node + 1])
        reduced = network.costs[:, arcs].T + potential[node] - potential[network.head[arcs]]
        for arc, cost in zip(arcs.tolist(), reduced.tolist(), strict=True):
            head, reached = int(network.head[arc]), tuple(d + c for d, c in zip(distance, cost, strict=True))
            if head not in done and reached < farthest and (head not in best or reached < best[head]):
                best[head] = reached
                passed = (int(network.covered[arc]), int(network.left[arc]))
                heapq.heappush(queue, (reached, head, passed[0] if passed[0] >= 0 else covered, passed[1] if passed[1] >= 0 else left))
