"""What a plan is worth at every level, counted from the plan itself."""

import numpy as np

from reallot.solver.assignment.network import Network
from reallot.solver.assignment.problem import Holdings, Ints, Problem
from reallot.solver.assignment.result import Level


def level_values(problem: Problem, network: Network, option_of: Ints, *, proven: frozenset[int]) -> tuple[Level, ...]:
    """Return all levels, coverage by priority first; `proven` are the network's levels whose bound equals the value."""
    covered = option_of >= 0
    levels = []
    for priority in np.unique(problem.priority)[::-1].tolist():
        missing = int((~covered & (problem.priority == priority)).sum())
        levels.append(Level(f"coverage:{priority}", missing, missing if 0 in proven else 0))
    chosen = option_of[covered]
    for index, (name, costs) in enumerate(problem.constant_levels(), start=1):
        value = int(costs[chosen].sum())
        levels.append(Level(name, value, value if index in proven else None))
    for index, scope in enumerate(problem.scopes):
        if index in problem.even_scopes:
            levels.append(Level(f"policy:{scope.scope_id}", spread_of(problem, index, option_of), None))
            continue
        value = _position_sum(problem, network, index, chosen)
        levels.append(Level(f"policy:{scope.scope_id}", value, value if index + network.first_policy in proven else None))
    return tuple(levels)


def _position_sum(problem: Problem, network: Network, index: int, chosen: Ints) -> int:
    scope = problem.scopes[index]
    width = problem.places().shape[1]
    units = np.bincount(problem.option_seller[chosen[problem.option_scope[chosen] == index]], minlength=width)[scope.seller]
    place = np.repeat(np.arange(len(units)), units)
    number = np.arange(len(place)) - np.repeat(np.cumsum(units) - units, units)
    return int(network.orders[index].costs(place, number.astype(np.int64)).sum())


def spread_of(problem: Problem, index: int, option_of: Ints) -> int:
    """Return how far apart a plan leaves the sellers of a scope of even value: what the first has been given more than the last."""
    held = held_after(problem, index, option_of)
    return int(held.max() - held.min()) if len(held) else 0


def held_after(problem: Problem, index: int, option_of: Ints) -> Ints:
    """Return the values that the sellers of a scope of even value have been given after a plan: int64, shape (m,)."""
    scope = problem.scopes[index]
    standing = scope.standing
    held = standing.held.copy() if isinstance(standing, Holdings) else np.zeros(len(scope.seller), dtype=np.int64)
    given = np.flatnonzero(option_of >= 0)
    given = given[problem.option_scope[option_of[given]] == index]
    np.add.at(held, problem.places()[index, problem.option_seller[option_of[given]]], problem.value[given])
    return held
