"""One record after the other, the most urgent first, each to its best option that has room: the sequential rule itself.

Records that go together are placed when the most urgent of them has its turn. Serves as the first plan before the flow is solved, and as
the method where that is no flow and too large for an integer solver.
"""

import numpy as np
import numpy.typing as npt

from reallot.solver.assignment.bundles import Bundles
from reallot.solver.assignment.positions import order_of
from reallot.solver.assignment.problem import Ints, Policy, Problem


def greedy_plan(problem: Problem) -> tuple[Ints, Ints]:
    """Return the option of each record (-1 = unassigned) and the assigned records in the order of their turns."""
    hand, bundles = _Hand(problem), Bundles(problem)
    seen: set[int] = set()
    for record, bundle in zip(problem.urgency().tolist(), bundles.of[problem.urgency()].tolist(), strict=True):
        if bundle < 0:
            hand.place(record, hand.options_of(record))
        elif bundle not in seen:
            seen.add(bundle)
            hand.place_together(bundles.members[bundle], sorted(bundles.sellers[bundle]))
    return hand.option_of, np.array(hand.turns, dtype=np.int64)


def mended_plan(problem: Problem, option_of: Ints) -> Ints:
    """Return a plan with its torn bundles placed anew, whole or not at all, in the room that the others leave; then who is left over."""
    hand, bundles, urgency = _Hand(problem), Bundles(problem), problem.urgency()
    torn = set(bundles.broken(option_of))
    kept = option_of.copy()
    kept[np.isin(bundles.of, list(torn))] = -1
    for record in urgency[kept[urgency] >= 0].tolist():
        hand.give(record, int(kept[record]))
    for record in urgency[kept[urgency] < 0].tolist():
        bundle = int(bundles.of[record])
        if bundle < 0:
            hand.place(record, hand.options_of(record))
        elif record == bundles.members[bundle][0]:
            hand.place_together(bundles.members[bundle], sorted(bundles.sellers[bundle]))
    return hand.option_of


def turns_of(problem: Problem, option_of: Ints) -> Ints:
    """Return the assigned records of a plan in the order of their turns, in which the policies' scopes hand them out."""
    urgency = problem.urgency()
    taken = urgency[option_of[urgency] >= 0]
    places, given = problem.places(), np.zeros(problem.places().shape, dtype=np.int64)
    orders = [order_of(scope, problem.records) for scope in problem.scopes]
    position = np.zeros(len(taken), dtype=np.int64)
    scopes = problem.option_scope[option_of[taken]].astype(np.int64)
    for index, option in enumerate(option_of[taken].tolist()):
        scope, seller = int(problem.option_scope[option]), int(problem.option_seller[option])
        if scope >= 0:
            at = (places[scope, [seller]], given[scope, [seller]])
            position[index] = orders[scope].costs(*at)[0]
            given[scope, seller] += 1
    ordered: Ints = taken[np.lexsort((position, scopes))]
    return ordered


class _Hand:
    """A plan that grows. Used once."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        # A last node, never full, stands for units that pass all maxima.
        self.free = np.append(problem.cap_free, np.iinfo(np.int64).max)
        self.paths = _cap_paths(problem)
        self.orders = [order_of(scope, problem.records) for scope in problem.scopes]
        self.places = problem.places()
        self.given = np.zeros_like(self.places)
        self.option_of = np.full(problem.records, -1, dtype=np.int64)
        self.turns: list[int] = []
        self.costs = [costs for _, costs in reversed(problem.constant_levels())]

    def options_of(self, record: int) -> Ints:
        """Return the options of a record."""
        kind = int(self.problem.class_of[record])
        return np.arange(self.problem.option_start[kind], self.problem.option_start[kind + 1])

    def give(self, record: int, option: int) -> None:
        """Give a record by an option, whether it has room or not."""
        self._give(record, option, 1)

    def place(self, record: int, options: Ints) -> bool:
        """Give a record by the best of some of its options that has room; return whether one has."""
        effort = self._effort(record)
        options = options[self.free[self.paths[self.problem.option_cap[options]]].min(axis=1) >= effort]
        if not len(options):
            return False
        self._give(record, int(options[self._ranked(options)[0]]), 1)
        return True

    def place_together(self, members: npt.NDArray[np.int64], sellers: list[int]) -> None:
        """Give records to the best of some sellers who has room for all of them; to nobody if none has."""
        if not sellers:
            return
        alike = self.problem.class_of[members] == self.problem.class_of[members[0]]
        for seller in self._sellers_ranked(members, sellers) if not alike.all() else self._sellers_of_class(members, sellers):
            given: list[int] = []
            for record in members.tolist():
                options = self.options_of(record)
                if not self.place(record, options[self.problem.option_seller[options] == seller]):
                    break
                given.append(record)
            if len(given) == len(members):
                return
            for record in reversed(given):
                self._take_back(record)

    def _sellers_of_class(self, members: npt.NDArray[np.int64], sellers: list[int]) -> list[int]:
        """Return the sellers who may have room for records of one class, the best first."""
        options, needed = self.options_of(int(members[0])), self._effort(int(members[0])) * len(members)
        room = np.zeros(len(options), dtype=np.int64)
        room[:] = self.free[self.paths[self.problem.option_cap[options]]].min(axis=1)
        first = options[self._ranked(options)]
        several = len(np.unique(self.problem.option_seller[options])) < len(options)
        has_room = dict(zip(options.tolist(), (room >= needed).tolist(), strict=True))
        found = [int(self.problem.option_seller[option]) for option in first.tolist() if several or has_room[option]]
        return list(dict.fromkeys(found))

    def _sellers_ranked(self, members: npt.NDArray[np.int64], sellers: list[int]) -> list[int]:
        """Return sellers by what their best options cost all records together, without regard to room."""
        sums: dict[int, list[int]] = {seller: [0] * (len(self.costs) + 1) for seller in sellers}
        for record in members.tolist():
            options = self.options_of(record)
            ranked = options[self._ranked(options)]
            _, firsts = np.unique(self.problem.option_seller[ranked], return_index=True)
            for option in ranked[firsts].tolist():
                seller = int(self.problem.option_seller[option])
                if seller in sums:
                    columns = [int(costs[option]) for costs in reversed(self.costs)]
                    sums[seller] = [a + b for a, b in zip(sums[seller], [*columns, self._position(option)], strict=True)]
        return sorted(sellers, key=lambda seller: (sums[seller], seller))

    def _effort(self, record: int) -> int:
        return int(self.problem.effort[self.problem.class_of[record]])

    def _position(self, option: int) -> int:
        scope, seller = int(self.problem.option_scope[option]), int(self.problem.option_seller[option])
        return int(self.orders[scope].costs(self.places[scope, [seller]], self.given[scope, [seller]])[0]) if scope >= 0 else 0

    def _ranked(self, options: Ints) -> Ints:
        """Return places of options, the best first: by the constant levels, then by what the policies' next units cost."""
        scope, seller = self.problem.option_scope[options], self.problem.option_seller[options]
        position = np.zeros(len(options), dtype=np.int64)
        for index in np.unique(scope[scope >= 0]):
            members = scope == index
            position[members] = self.orders[index].costs(self.places[index, seller[members]], self.given[index, seller[members]])
        keys: list[Ints] = [options, position, scope.astype(np.int64), *(costs[options] for costs in self.costs)]
        ranked: Ints = np.lexsort(keys)
        return ranked

    def _give(self, record: int, option: int, times: int) -> None:
        effort, node = self._effort(record), int(self.problem.option_cap[option])
        while node >= 0:
            self.free[node] -= effort * times
            node = int(self.problem.cap_parent[node])
        if (scope := int(self.problem.option_scope[option])) >= 0:
            value = int(self.problem.value[record]) if len(self.problem.value) else 0
            counted = {Policy.LOAD_BALANCING: effort, Policy.EVEN_VALUE: value}.get(self.problem.scopes[scope].policy, 1)
            self.given[scope, self.problem.option_seller[option]] += counted * times
        if times > 0:
            self.option_of[record] = option
            self.turns.append(record)

    def _take_back(self, record: int) -> None:
        self._give(record, int(self.option_of[record]), -1)
        self.option_of[record] = -1
        self.turns.pop()


def _cap_paths(problem: Problem) -> Ints:
    """Return the nodes around each capacity node, itself first, the last repeated: int64, shape (c + 1, depth); row -1 is for -1."""
    outside = len(problem.cap_free)
    parent = np.append(problem.cap_parent, -1).astype(np.int64)
    rows = [np.arange(outside + 1, dtype=np.int64)]
    while (parent[rows[-1]] >= 0).any():
        around = parent[rows[-1]]
        rows.append(np.where(around >= 0, around, rows[-1]))
    return np.column_stack(rows)
