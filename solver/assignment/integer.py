"""Small problems that are not flows, because records take other efforts than 1 or go together: level by level by an integer solver.

Every level is minimised with those before it held at their best. The first plan is the sequential rule's, so there is always one; a level
at which the solver's own limit, which counts steps and not time, is reached leaves what was found until then.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from reallot.solver.assignment.bundles import Bundles
from reallot.solver.assignment.positions import order_of
from reallot.solver.assignment.problem import Ints, Policy, Problem

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

LARGEST = 400
"""Most pairs of a record and an option that are looked at so: a change must not wait for seconds because many came with it."""
LARGEST_UNITS = 4_000
"""Most units of the policies."""
STEPS = 0.2
"""Deterministic time of a problem, about as many seconds."""


def integer_plan(problem: Problem, first: Ints) -> Ints | None:
    """Return the option of each record, -1 = unassigned: int64, shape (n,); None where the problem is too large.

    `first` is a plan that is allowed.
    """
    sizes = np.diff(problem.option_start)[problem.class_of]
    # Where loads are balanced, every unit of effort has a cost of its own.
    balanced = any(scope.policy is Policy.LOAD_BALANCING for scope in problem.scopes)
    units = int((sizes * (problem.effort[problem.class_of] if balanced else 1)).sum())
    if not problem.records or int(sizes.sum()) > LARGEST or units > LARGEST_UNITS:
        return None
    return _Model(problem).descend(first)


class _Model:
    """One problem as an integer model. Used once."""

    def __init__(self, problem: Problem) -> None:
        # It takes a while to load, and few batches need it.
        from ortools.sat.python import cp_model

        self._cp = cp_model
        self.problem = problem
        self.model = cp_model.CpModel()
        self.pairs = [(r, o) for r in range(problem.records) for o in _options_of(problem, r)]
        self.takes = {pair: self.model.new_bool_var(f"x{pair[0]}_{pair[1]}") for pair in self.pairs}
        self.covered = [sum(self.takes[r, o] for o in _options_of(problem, r)) for r in range(problem.records)]
        for terms in self.covered:
            self.model.add(terms <= 1)
        self._add_maxima()
        self._add_bundles()
        self.plan = np.full(problem.records, -1, dtype=np.int64)

    def _add_maxima(self) -> None:
        problem = self.problem
        loads: dict[int, list[Any]] = {}
        for record, option in self.pairs:
            node = int(problem.option_cap[option])
            while node >= 0:
                loads.setdefault(node, []).append(int(problem.effort[problem.class_of[record]]) * self.takes[record, option])
                node = int(problem.cap_parent[node])
        for node, terms in loads.items():
            free = max(0, int(problem.cap_free[node]))
            self.model.add(sum(terms) <= free)

    def _add_bundles(self) -> None:
        bundles = Bundles(self.problem)
        for members in bundles.members:
            by_seller = [self._by_seller(record) for record in members.tolist()]
            for seller in sorted({seller for terms in by_seller for seller in terms}):
                for terms in by_seller[1:]:
                    self.model.add(sum(by_seller[0].get(seller, [])) == sum(terms.get(seller, [])))

    def _by_seller(self, record: int) -> dict[int, list[Any]]:
        found: dict[int, list[Any]] = {}
        for option in _options_of(self.problem, record):
            found.setdefault(int(self.problem.option_seller[option]), []).append(self.takes[record, option])
        return found

    def descend(self, first: Ints) -> Ints:
        """Minimise the levels one after the other, within STEPS."""
        self.plan, left = first, STEPS
        for costs, value, least in self._levels():
            if value > least and left > 0:
                value, spent = self._minimise(costs, value, left)
                left -= spent
            self.model.add(costs <= value)
        return self.plan

    def _minimise(self, costs: Any, value: int, steps: float) -> tuple[int, float]:
        """Look for a plan that costs less than `value`; return what the plan found costs, and the steps taken."""
        self.model.clear_hints()  # type: ignore[no-untyped-call]
        for pair in self.pairs:
            self.model.add_hint(self.takes[pair], int(self.plan[pair[0]] == pair[1]))
        self.model.minimize(costs)
        solver = self._cp.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 0
        solver.parameters.max_deterministic_time = steps
        status = solver.solve(self.model)
        if status in (self._cp.OPTIMAL, self._cp.FEASIBLE) and round(solver.objective_value) <= value:
            self.plan, value = self._read(solver), round(solver.objective_value)
        return value, solver.response_proto.deterministic_time

    def _levels(self) -> Iterator[tuple[Any, int, int]]:
        """Yield for each level its costs, what the present plan costs, and the least that any could.

        The levels are uncovered records by priority, then by age; the constant levels; the policies.
        """
        problem = self.problem
        hopeless = np.diff(problem.option_start)[problem.class_of] == 0
        weights = problem.weights()
        parts = [(problem.priority == priority).astype(np.int64) for priority in np.unique(problem.priority)[::-1]]
        for part in [*parts, weights]:
            costs = sum(weight * (1 - terms) for weight, terms in zip(part.tolist(), self.covered, strict=True))
            yield costs, int(part[self.plan < 0].sum()), int(part[hopeless].sum())
        for _, cost in problem.constant_levels():
            if cost.any():
                costs = sum(int(cost[option]) * self.takes[record, option] for record, option in self.pairs)
                yield costs, int(cost[self.plan[self.plan >= 0]].sum()), 0
        for scope in range(len(problem.scopes)):
            yield self._policy(scope)

    def _policy(self, scope: int) -> tuple[Any, int, int]:
        """Return the sum of the positions that a scope's units take, and what it is at present and at least.

        The k-th further unit of a seller has the k-th position.
        """
        problem = self.problem
        balancing = problem.scopes[scope].policy is Policy.LOAD_BALANCING
        order, places = order_of(problem.scopes[scope], self._most_units(scope)), problem.places()
        by_seller: dict[int, list[tuple[int, Any, bool]]] = {}
        for record, option in self.pairs:
            if problem.option_scope[option] == scope:
                weight = int(problem.effort[problem.class_of[record]]) if balancing else 1
                by_seller.setdefault(int(problem.option_seller[option]), []).append(
                    (weight, self.takes[record, option], bool(self.plan[record] == option))
                )
        costs: list[Any] = [0]
        value = 0
        for seller, terms in sorted(by_seller.items()):
            most = sum(weight for weight, _, _ in terms)
            units = np.arange(most, dtype=np.int64)
            position = order.costs(np.full(most, places[scope, seller], dtype=np.int64), units).tolist()
            taken = [self.model.new_bool_var("") for _ in range(most)]
            self.model.add(sum(taken) == sum(weight * term for weight, term, _ in terms))
            costs += [cost * unit for cost, unit in zip(position, taken, strict=True)]
            value += sum(position[: sum(weight for weight, _, chosen in terms if chosen)])
        # What a policy costs at least is not known beforehand.
        return sum(costs), value, min(0, value)

    def _most_units(self, scope: int) -> int:
        problem = self.problem
        efforts = problem.effort[problem.class_of]
        return max(1, int(np.maximum(efforts, 1).sum()))

    def _read(self, solver: "cp_model.CpSolver") -> Ints:
        plan = np.full(self.problem.records, -1, dtype=np.int64)
        for record, option in self.pairs:
            if solver.boolean_value(self.takes[record, option]):
                plan[record] = option
        return plan


def _options_of(problem: Problem, record: int) -> range:
    kind = int(problem.class_of[record])
    return range(int(problem.option_start[kind]), int(problem.option_start[kind + 1]))
