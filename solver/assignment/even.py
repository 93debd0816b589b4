"""Even value: records handed out so that the sums of their values are even, among the plans that are best at every other level.

Values differ from record to record, so no order of units stands for them, and no flow. The face on which the flow ends says how many
records of each class may go where; within it, records are given from the largest value on, each to whom has been given least, and
CP-SAT closes the gap where the choices are few enough. Its limit is deterministic.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from reallot.solver.assignment.levels import Face
from reallot.solver.assignment.network import Network, arc_units
from reallot.solver.assignment.problem import Ints, Problem
from reallot.solver.assignment.result import Level, Limit, Reason, Solution, Termination
from reallot.solver.assignment.values import held_after, spread_of

MOST_CHOICES = 20_000
"""So many pairs of record and option CP-SAT is asked about."""
DETERMINISTIC_S = 0.2
"""Its deterministic time; one such second is a few of wall time. One worker, which is deterministic by itself."""
MOST_SWAPS, MOST_LOOKED_AT = 1_000, 500
"""Swaps that are made at most, and records of a seller that are looked at for one."""


@dataclass(frozen=True)
class _Part:
    """The records that may be given by even value, and how they may be given.

    Attributes:
        records: Their positions: int64.
        options: Options of each that the face leaves open, of all classes: lists by class.
        arcs: Arcs of the network that a unit of an option passes, the option's own first.
        least, most: What records of the part may still bring each arc, by arc.
    """

    records: Ints
    options: dict[int, list[int]]
    arcs: dict[int, list[int]]
    least: dict[int, int]
    most: dict[int, int]


def even_out(problem: Problem, network: Network, face: Face, solution: Solution) -> Solution:
    """Return the plan with values as even as can be; nothing else changes.

    `face` are the flows that are as good as the solution's at every level that was solved.
    """
    part = _part(problem, network, face, solution.option_of)
    option_of, bounds = solution.option_of, dict.fromkeys(problem.even_scopes, 0)
    if len(part.records):
        start = _descending(problem, part, option_of)
        option_of = _swapped(problem, part, option_of if start is None else start)
    choices = sum(len(part.options[int(problem.class_of[record])]) for record in part.records.tolist())
    spreads = {index: spread_of(problem, index, option_of) for index in problem.even_scopes}
    if _alone(problem, part):
        bounds = spreads
    elif any(spreads.values()) and choices <= MOST_CHOICES:
        option_of, bounds = _Model(problem, part, option_of).solved()
    spreads = {index: spread_of(problem, index, option_of) for index in problem.even_scopes}
    proven = solution.termination.reason is Reason.OPTIMAL and spreads == bounds
    levels = list(solution.levels)
    for index in problem.even_scopes:
        place = len(levels) - len(problem.scopes) + index
        levels[place] = Level(levels[place].level_id, spreads[index], bounds[index] if _is_best(solution) else None)
    termination = Termination(Reason.OPTIMAL) if proven else Termination(Reason.FEASIBLE, solution.termination.limit or Limit.METHOD)
    return replace(solution, option_of=option_of, levels=tuple(levels), termination=termination)


def _is_best(solution: Solution) -> bool:
    """Tell whether the face holds all plans that are best at the other levels."""
    return solution.termination.reason is Reason.OPTIMAL


class _Paths(dict[int, list[int]]):
    """The arcs of the sellers' trees that a unit of each option passes, walked when an option is first asked for."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._trees = network.trees

    def __missing__(self, option: int) -> list[int]:
        path, at = [], int(self._trees.first[option])
        while at >= 0:
            path.append(at)
            at = int(self._trees.next[at])
        self[option] = path
        return path


def _part(problem: Problem, network: Network, face: Face, option_of: Ints) -> _Part:
    paths = _Paths(network)
    records = np.flatnonzero(_concerned(problem, paths, face)[problem.class_of] & (option_of >= 0)).astype(np.int64)
    others = option_of.copy()
    others[records] = -1
    fixed = arc_units(problem, network, others)
    options, arcs, first = {}, {}, problem.options + problem.classes
    for kind in np.unique(problem.class_of[records]).tolist():
        own = np.arange(problem.option_start[kind], problem.option_start[kind + 1])
        options[kind] = own[face.upper[own] > 0].tolist()
        for option in options[kind]:
            arcs[option] = [option, *(first + at for at in paths[option])]
    passed = sorted({arc for path in arcs.values() for arc in path})
    least = {arc: int(face.lower[arc] - fixed[arc]) for arc in passed}
    most = {arc: int(face.upper[arc] - fixed[arc]) for arc in passed}
    return _Part(records, options, arcs, least, most)


def _concerned(problem: Problem, paths: _Paths, face: Face) -> npt.NDArray[np.bool_]:
    """Tell of each class whether its records may be given by even value, or may make room for one that is.

    A record of another scope makes room by passing fewer or more of what an arc still leaves open, and so do others for it in turn.
    """
    class_of, first = problem.class_of_option(), problem.options + problem.classes
    open_to = face.upper[: problem.options] > 0
    moving = np.flatnonzero(open_to & (face.lower[: problem.options] < face.upper[: problem.options])).tolist()
    slack = face.lower[first:] < face.upper[first:]
    shared = {option: [at for at in paths[option] if slack[at]] for option in moving}
    concerned = np.zeros(problem.classes, dtype=bool)
    concerned[class_of[np.isin(problem.option_scope, problem.even_scopes) & open_to]] = True
    reached: set[int] = set()
    while True:
        arcs = {at for option in moving if concerned[class_of[option]] for at in shared[option]} - reached
        found = {int(class_of[option]) for option in moving if not concerned[class_of[option]] and not arcs.isdisjoint(shared[option])}
        reached |= arcs
        if not found:
            return concerned
        concerned[sorted(found)] = True


def _alone(problem: Problem, part: _Part) -> bool:
    """Tell whether there is one record, or none, to give by one scope: whoever has been given least is then the best choice."""
    if len(part.records) > 1 or len(problem.even_scopes) > 1:
        return not len(part.records)
    options = [option for record in part.records.tolist() for option in part.options[int(problem.class_of[record])]]
    sellers = {int(problem.option_seller[option]) for option in options}
    everybody = len(sellers) == len(problem.scopes[problem.even_scopes[0]].seller)
    return not options or (everybody and all(int(problem.option_scope[option]) in problem.even_scopes for option in options))


def _descending(problem: Problem, part: _Part, option_of: Ints) -> Ints | None:
    """Give the records from the largest value on, each to whom has been given least; None where the face does not let that end."""
    found, places = option_of.copy(), problem.places()
    found[part.records] = -1
    held = {index: held_after(problem, index, found).tolist() for index in problem.even_scopes}
    ranks = {index: _ranks(problem, index) for index in problem.even_scopes}
    room, urgency = dict(part.most), np.empty(problem.records, dtype=np.int64)
    urgency[problem.urgency()] = np.arange(problem.records)
    value = problem.value[part.records]
    for record in part.records[np.lexsort((urgency[part.records], -np.abs(value)))].tolist():
        worth, best = int(problem.value[record]), None
        for option in part.options[int(problem.class_of[record])]:
            if all(room[arc] > 0 for arc in part.arcs[option]):
                index = int(problem.option_scope[option])
                place = int(places[index, problem.option_seller[option]]) if index in held else 0
                own = (held[index][place] if worth >= 0 else -held[index][place], ranks[index][place]) if index in held else (0, -1)
                best = min(best or (own, option), (own, option))
        if best is None:
            return None
        option = found[record] = best[1]
        for arc in part.arcs[option]:
            room[arc] -= 1
        if (index := int(problem.option_scope[option])) in held:
            held[index][int(places[index, problem.option_seller[option]])] += worth
    return None if any(part.most[arc] - room[arc] < least for arc, least in part.least.items()) else found


def _swapped(problem: Problem, part: _Part, option_of: Ints) -> Ints:
    """Swap records of one class between whoever has been given most and least, as long as that brings them nearer; flows stay."""
    found = option_of.copy()
    scope, kind = problem.option_scope[found[part.records]], problem.class_of[part.records]
    for index in problem.even_scopes:
        held, place_of = held_after(problem, index, found), problem.places()[index]
        for _ in range(MOST_SWAPS):
            place = np.where(scope == index, place_of[problem.option_seller[found[part.records]]], -1)
            first, last = int(held.argmax()), int(held.argmin())
            gap = int(held[first] - held[last])
            given, taken = np.flatnonzero(place == first)[:MOST_LOOKED_AT], np.flatnonzero(place == last)[:MOST_LOOKED_AT]
            moved = problem.value[part.records[given]][:, None] - problem.value[part.records[taken]][None, :]
            fits = (kind[given][:, None] == kind[taken][None, :]) & (moved > 0) & (moved < gap)
            if not fits.any():
                break
            best = np.unravel_index(np.where(fits, np.abs(2 * moved - gap), np.iinfo(np.int64).max).argmin(), moved.shape)
            a, b = part.records[given[best[0]]], part.records[taken[best[1]]]
            found[a], found[b] = found[b], found[a]
            held[first] -= moved[best]
            held[last] += moved[best]
    return found


def _ranks(problem: Problem, index: int) -> list[int]:
    """Return how the sellers of a scope come where values are equal: as in round robin."""
    scope = problem.scopes[index]
    rank = np.empty(len(scope.seller), dtype=np.int64)
    rank[np.lexsort((scope.seller, scope.turn, -scope.priority))] = np.arange(len(scope.seller))
    numbers: list[int] = rank.tolist()
    return numbers


class _Model:
    """The choices as a model for CP-SAT, which is asked scope by scope. Used once."""

    def __init__(self, problem: Problem, part: _Part, start: Ints) -> None:
        from ortools.sat.python import cp_model

        self._cp, self._model = cp_model, cp_model.CpModel()
        self._problem, self._part, self._start = problem, part, start
        self._choices = {
            (record, option): self._model.new_bool_var("")
            for record in part.records.tolist()
            for option in part.options[int(problem.class_of[record])]
        }
        self._limit()
        for pair, chosen in self._choices.items():
            self._model.add_hint(chosen, int(start[pair[0]]) == pair[1])

    def solved(self) -> tuple[Ints, dict[int, int]]:
        """Return the best option of each record that was found, and a lower bound of each scope's spread."""
        option_of, bounds = self._start, dict.fromkeys(self._problem.even_scopes, 0)
        for index in self._problem.even_scopes:
            spread = self._spread(index)
            self._model.add(spread <= spread_of(self._problem, index, option_of))
            self._model.minimize(spread)
            solver = self._cp.CpSolver()
            solver.parameters.num_workers, solver.parameters.max_deterministic_time = 1, DETERMINISTIC_S
            status = solver.solve(self._model)
            if status not in (self._cp.OPTIMAL, self._cp.FEASIBLE):
                return option_of, bounds
            option_of = option_of.copy()
            for (record, option), chosen in self._choices.items():
                if solver.boolean_value(chosen):
                    option_of[record] = option
            bounds[index] = int(solver.value(spread)) if status == self._cp.OPTIMAL else max(0, int(solver.best_objective_bound))
        return option_of, bounds

    def _limit(self) -> None:
        """Give each record one option, and keep what the face says of every arc."""
        passing: dict[int, list[Any]] = {}
        by_record: dict[int, list[Any]] = {}
        for (record, option), chosen in self._choices.items():
            by_record.setdefault(record, []).append(chosen)
            for arc in self._part.arcs[option]:
                passing.setdefault(arc, []).append(chosen)
        for own in by_record.values():
            self._model.add_exactly_one(own)
        for arc, own in passing.items():
            self._bounded(own, self._part.least[arc], self._part.most[arc])

    def _bounded(self, own: Sequence[Any], least: int, most: int) -> None:
        if least > 0 or most < len(own):
            self._model.add_linear_constraint(self._cp.LinearExpr.sum(own), max(least, 0), min(most, len(own)))

    def _spread(self, index: int) -> Any:
        """Return how far apart the sellers of a scope are, at least."""
        problem, scope = self._problem, self._problem.scopes[index]
        rest = self._start.copy()
        rest[self._part.records] = -1
        held, places = held_after(problem, index, rest).tolist(), problem.places()[index]
        terms: dict[int, list[tuple[Any, int]]] = {}
        for (record, option), chosen in self._choices.items():
            if problem.option_scope[option] == index:
                terms.setdefault(int(places[problem.option_seller[option]]), []).append((chosen, int(problem.value[record])))
        reach = sum(abs(int(value)) for value in problem.value[self._part.records])
        low, high = min(held) - reach, max(held) + reach
        first, last = self._model.new_int_var(low, high, ""), self._model.new_int_var(low, high, "")
        for place in range(len(scope.seller)):
            own = terms.get(place, [])
            given = self._cp.LinearExpr.weighted_sum([chosen for chosen, _ in own], [value for _, value in own]) if own else 0
            self._model.add(first >= given + held[place])
            self._model.add(last <= given + held[place])
        return first - last
