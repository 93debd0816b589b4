"""What would have had to change for a record to go to another seller: found step by step, and verified by solving again.

The plan is compared, level by level, with the best one in which the record goes to that seller. At the first level at which that one is
worse, the least change that makes up for the difference is supposed, and all is solved again, until the record goes there.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from reallot.solver.assignment.answers.residual import loads
from reallot.solver.assignment.problem import Ints, Policy, Problem
from reallot.solver.assignment.result import Solution
from reallot.solver.assignment.solve import solve

MOST_STEPS = 40


class Change(NamedTuple):
    """One thing to suppose.

    Attributes:
        kind: "slot" (a maximum is higher), "level" (the seller costs less at a constant level than the others do now), "priority" (the
            seller comes before others), "turn" (the seller's last turn is older than the rival's), "free" (the seller has more free
            capacity), "tie" (the seller was as good, and the choice is free).
        amount: By how much; 0 where it makes no sense.
        level_id: The level at which it counts; "" for slots.
        node: The capacity node of a slot, -1 = none.
        rival: Who gets the record otherwise, -1 = nobody.
    """

    kind: str
    amount: int = 0
    level_id: str = ""
    node: int = -1
    rival: int = -1


@dataclass(frozen=True)
class Instead:
    """The changes, and whether solving again with all of them, and not with fewer of them in this order, gives the record there."""

    changes: tuple[Change, ...]
    verified: bool


def alone(problem: Problem, record: int, added: dict[str, int] | None = None) -> tuple[Problem, int]:
    """Return the problem with the record in a class of its own, the last; `added` are the columns of one more option of it.

    Also the first option of that class.
    """
    kind = int(problem.class_of[record])
    own = np.arange(problem.option_start[kind], problem.option_start[kind + 1])
    columns: dict[str, Any] = {}
    for name in _option_columns(problem):
        column = getattr(problem, name)
        more = [] if added is None else [added.get(name.removeprefix("option_"), 0)]
        columns[name] = np.concatenate([column, column[own], np.array(more, dtype=column.dtype)])
    class_of = problem.class_of.copy()
    class_of[record] = problem.classes
    first, last = problem.options, len(columns["option_seller"])
    split = replace(
        problem,
        class_of=class_of,
        effort=np.append(problem.effort, problem.effort[kind]),
        option_start=np.append(problem.option_start, last),
        **columns,
    )
    return split, first


def _option_columns(problem: Problem) -> list[str]:
    names = [f.name for f in fields(problem) if f.name.startswith("option_") and f.name != "option_start"]
    return [name for name in names if len(getattr(problem, name)) == problem.options]


def instead(problem: Problem, record: int, option: int) -> Instead:
    """Return what it takes for a record to be given by an option; it is alone in its class, the problem's last."""
    changes: list[Change] = []
    for _ in range(MOST_STEPS):
        solution = solve(problem)
        if (taken := int(solution.option_of[record])) >= 0 and problem.option_seller[taken] == problem.option_seller[option]:
            return Instead(_summed(changes), verified=True)
        pinned = solve(_pinned(problem, option))
        step = _step(problem, solution, pinned, record, option)
        if step is None:
            break
        change, changed = step
        changes.append(change)
        if change.kind == "tie":
            # Of equally good plans, one gives it there; that the other was found decides nothing.
            return Instead(_summed(changes), verified=True)
        problem = changed
    return Instead(_summed(changes), verified=False)


def _pinned(problem: Problem, option: int) -> Problem:
    """Return the problem in which the last class has that option alone."""
    kept = np.ones(problem.options, dtype=np.bool_)
    kept[problem.option_start[-2] :] = False
    kept[option] = True
    columns: dict[str, Any] = {name: getattr(problem, name)[kept] for name in _option_columns(problem)}
    start = np.append(problem.option_start[:-1], problem.option_start[-2] + 1)
    return replace(problem, option_start=start, **columns)


def _step(problem: Problem, plan: Solution, pinned: Solution, record: int, option: int) -> tuple[Change, Problem] | None:
    """Return the next change and the problem with it; None if nothing is known that helps."""
    taker = int(plan.option_of[record])
    rival = int(problem.option_seller[taker]) if taker >= 0 else -1
    if pinned.option_of[record] < 0:
        return _slot(problem, plan, option, rival)
    for now, then in zip(plan.levels, pinned.levels, strict=True):
        if then.value == now.value:
            continue
        if then.level_id.startswith("coverage:"):
            return _slot(problem, plan, option, rival)
        if not then.level_id.startswith("policy:"):
            return _cheaper(problem, option, then.level_id, then.value - now.value, rival)
        return _sooner(problem, option, taker, then.level_id)
    return Change("tie", rival=rival), problem


def _slot(problem: Problem, plan: Solution, option: int, rival: int) -> tuple[Change, Problem] | None:
    """Return one more slot at the outermost full maximum on the option's way."""
    load, node, full = loads(problem, plan.option_of), int(problem.option_cap[option]), -1
    kind = int(problem.class_of_option()[option])
    load *= int(problem.effort[kind]) if (problem.effort == problem.effort[kind]).all() else 1
    while node >= 0:
        if load[node] + problem.effort[kind] > max(int(problem.cap_free[node]), 0):
            full = node
        node = int(problem.cap_parent[node])
    if full < 0:
        return None
    free = problem.cap_free.copy()
    # Whoever is above the maximum first has to come down to it.
    free[full] = max(int(free[full]), 0) + 1
    return Change("slot", int(free[full] - problem.cap_free[full]), node=full, rival=rival), replace(problem, cap_free=free)


def _cheaper(problem: Problem, option: int, level_id: str, amount: int, rival: int) -> tuple[Change, Problem]:
    """Return a problem in which the record's other options cost more at a level; that is the same as this one costing less."""
    name = {"rule_order": "option_rank", "availability": "option_bucket"}.get(level_id, f"option_{level_id}")
    column = getattr(problem, name).copy()
    others = np.arange(problem.option_start[-2], problem.options)
    column[others[problem.option_seller[others] != problem.option_seller[option]]] += amount
    return Change("level", amount, level_id, rival=rival), replace(problem, **{name: column})


def _sooner(problem: Problem, option: int, taker: int, level_id: str) -> tuple[Change, Problem] | None:
    """Return a problem in which the seller comes before the rival in their scope."""
    index = int(problem.option_scope[option])
    if taker < 0 or index < 0 or index != problem.option_scope[taker]:
        return None
    scope, rival = problem.scopes[index], int(problem.option_seller[taker])
    if scope.policy not in (Policy.ROUND_ROBIN, Policy.LOAD_BALANCING):
        return None
    place = {seller: i for i, seller in enumerate(scope.seller.tolist())}
    mine, theirs = place[int(problem.option_seller[option])], place[rival]
    turn, free, priority = scope.turn * 2, scope.free.copy(), scope.priority.copy()
    cap_free = problem.cap_free
    if scope.policy is Policy.LOAD_BALANCING and free[mine] < free[theirs]:
        more = int(free[theirs] - free[mine])
        free[mine] += more
        cap_free = _roomier(problem, option, more)
        change = Change("free", more, level_id, rival=rival)
    elif priority[mine] < priority[theirs]:
        change = Change("priority", int(priority[theirs] - priority[mine]), level_id, rival=rival)
        priority[mine] = priority[theirs]
    elif (turn[mine], mine) > (turn[theirs], theirs):
        change = Change("turn", 0, level_id, rival=rival)
        turn[mine] = turn[theirs] - 1
    elif scope.policy is Policy.LOAD_BALANCING:
        free[mine] += 1
        cap_free = _roomier(problem, option, 1)
        change = Change("free", 1, level_id, rival=rival)
    else:
        return None
    scopes = (*problem.scopes[:index], replace(scope, turn=turn, free=free, priority=priority), *problem.scopes[index + 1 :])
    return change, replace(problem, scopes=scopes, cap_free=cap_free)


def _roomier(problem: Problem, option: int, more: int) -> Ints:
    node, free = int(problem.option_cap[option]), problem.cap_free.copy()
    while node >= 0 and problem.cap_parent[node] >= 0:
        node = int(problem.cap_parent[node])
    if node >= 0:
        free[node] += more
    return free


def _summed(changes: list[Change]) -> tuple[Change, ...]:
    """Return changes of the same thing as one, where the first of them stands."""
    found: dict[tuple[str, str, int], Change] = {}
    for change in changes:
        key = (change.kind, change.level_id, change.node)
        found[key] = change._replace(amount=change.amount + found[key].amount) if key in found else change
    return tuple(found.values())
