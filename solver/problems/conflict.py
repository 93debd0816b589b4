"""Why there is no plan: a small set of records and sellers that cannot all be satisfied, none of which could be left out.

The set is narrowed by Junker's QuickXplain (2004): halves are tried before single members, so a set of k members among n costs about
k·log(n/k) questions. Questions are answered by largest flows where the sellers' loads are units, by an integer model elsewhere.
"""

from collections.abc import Callable, Sequence

import numpy as np

from reallot.solver.problems.core import Core
from reallot.solver.problems.problem import Ints, Problem
from reallot.solver.problems.result import NOTHING, Conflict
from reallot.solver.problems.transport import Units, short_of_room, short_of_supply

MOST_QUESTIONS = 3_000
MOST_NAMED = 6

Impossible = Callable[[Ints, Ints], bool]
"""Whether it is proven that records and sellers, given by position, cannot all be satisfied."""


class _OutOfQuestions(Exception):
    """As many questions were asked as may be."""


def flow_conflict(problem: Problem, core: Core, units: Units) -> Conflict:
    """Return a conflict of a problem without a plan whose loads are units.

    With bounds on both sides of a two-sided graph, a flow that serves all records and one that meets all minima make one that does
    both (Mendelsohn and Dulmage, 1958); so either the records are short of room or the sellers of supply.
    """
    everybody = np.arange(core.sellers, dtype=np.int64)
    crossed = np.flatnonzero(units.low > units.high)
    if len(crossed):
        return narrowed(problem, NOTHING, crossed[:1].astype(np.int64), lambda r, s: len(s) > 0)
    needing = np.flatnonzero(core.required > 0).astype(np.int64)
    if (near := short_of_room(core, units, needing, everybody)) is not None:
        return narrowed(problem, *near, lambda r, s: short_of_room(core, units, r, s) is not None)
    far = short_of_supply(core, units, everybody)
    if far is None:
        raise ArithmeticError("the flow solver found no flow, and neither records nor sellers are short of anything")
    return narrowed(problem, NOTHING, far, lambda r, s: short_of_supply(core, units, s) is not None)


def narrowed(problem: Problem, records: Ints, sellers: Ints, impossible: Impossible) -> Conflict:
    """Return a conflict among records and sellers that cannot all be satisfied."""
    members = [*records.tolist(), *(problem.records + sellers).tolist()]
    left = MOST_QUESTIONS

    def fails(some: Sequence[int]) -> bool:
        nonlocal left
        if left == 0:
            raise _OutOfQuestions
        left -= 1
        chosen = np.array(sorted(some), dtype=np.int64)
        return impossible(chosen[chosen < problem.records], chosen[chosen >= problem.records] - problem.records)

    minimal = True
    try:
        members = _quick_explain([], False, members, fails)
    except _OutOfQuestions:
        minimal = False
    chosen = np.array(sorted(members), dtype=np.int64)
    found, busy = chosen[chosen < problem.records], chosen[chosen >= problem.records] - problem.records
    return Conflict(found, busy, _text(problem, found, busy), minimal)


def _quick_explain(kept: list[int], grown: bool, members: list[int], fails: Callable[[Sequence[int]], bool]) -> list[int]:
    """Return a smallest subset of `members` that fails together with `kept`; `grown`: `kept` has grown since it was last tried."""
    if grown and fails(kept):
        return []
    if len(members) == 1:
        return members
    first, second = members[: len(members) // 2], members[len(members) // 2 :]
    right = _quick_explain([*kept, *first], bool(first), second, fails)
    left = _quick_explain([*kept, *right], bool(right), first, fails)
    return [*left, *right]


def _text(problem: Problem, records: Ints, sellers: Ints) -> str:
    who = _listed([problem.record_name(r) for r in records[:MOST_NAMED].tolist()], len(records))
    whom = _listed([problem.seller_name(s) for s in sellers[:MOST_NAMED].tolist()], len(sellers))
    if not len(sellers):
        return f"{who} cannot all be served"
    if not len(records):
        return f"the limits of {whom} cannot all be kept: what their pairs can bring does not reach the minima or passes the maxima"
    return f"{who} cannot all be served within the limits of {whom}"


def _listed(names: Sequence[str], count: int) -> str:
    more = f" and {count - len(names)} more" if count > len(names) else ""
    return ", ".join(names) + more
