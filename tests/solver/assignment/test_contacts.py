"""Earliest first contact: each record to whom gets to it first, batches as one by one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reallot.solver.assignment import Contacts, InvalidProblem, Policy, Scope, check, solve
from reallot.solver.assignment.positions import order_of
from reallot.solver.calendars import Calendar, WeeklyHours
from reallot.solver.timetables import Timetables
from support.cases import cases
from support.problems import Option, a_problem, a_scope

MINUTE = 60_000_000
MONDAY_US = 1_772_438_400_000_000
"""Monday 2026-03-02 08:00 UTC."""
WORKED = {
    "always": list(range(40_000)),
    "days": [day * 1440 + minute for day in range(28) if day % 7 < 5 for minute in range(540)],
    "mornings": [day * 1440 + minute for day in range(28) for minute in range(60, 240)],
}
"""Minutes from Monday on at which somebody works."""
CALENDARS = {
    "always": None,
    "days": Calendar("UTC", tuple(WeeklyHours(day, 480, 1020) for day in range(5))),
    "mornings": Calendar("UTC", tuple(WeeklyHours(day, 540, 720) for day in range(7))),
}
SELLERS = st.lists(st.tuples(st.sampled_from(sorted(CALENDARS)), st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=6)


def at_work(sellers: list[tuple[str, int, int]], handling: int) -> Scope:
    scope = a_scope([turn for _, _, turn in sellers])
    tables = Timetables.of([CALENDARS[kind] for kind, _, _ in sellers], MONDAY_US)
    standing = Contacts(np.array([owned for _, owned, _ in sellers], dtype=np.int64), handling * MINUTE, tables)
    return replace(scope, policy=Policy.EARLIEST_FIRST_CONTACT, standing=standing)


@settings(max_examples=cases(100), deadline=None)
@given(sellers=SELLERS, handling=st.integers(1, 120), records=st.integers(0, 30))
def test_a_batch_goes_to_whom_gets_there_first_one_by_one(sellers: list[tuple[str, int, int]], handling: int, records: int) -> None:
    scope = at_work(sellers, handling)
    problem = a_problem([[Option(s, cap=-1) for s in range(len(sellers))]], [0] * records, [], [scope])
    solution = solve(problem)
    check(problem, solution)
    owned, turn, expected = [o for _, o, _ in sellers], [t for _, _, t in sellers], []
    for number in range(records):
        minute = [WORKED[kind][owned[i] * handling] for i, (kind, _, _) in enumerate(sellers)]
        chosen = min(range(len(sellers)), key=lambda i, minute=minute: (minute[i], turn[i], i))
        owned[chosen], turn[chosen] = owned[chosen] + 1, 100 + number
        expected.append(chosen)
    assert problem.option_seller[solution.option_of[solution.turn_order]].tolist() == expected


def test_units_far_away_cost_no_less_than_those_before() -> None:
    scope = at_work([("always", 0, 0), ("mornings", 3, 1)], 10_080)
    order, unit = order_of(scope, 5), np.arange(0, 10**8, 10**6)
    for place in range(2):
        costs = order.costs(np.full(len(unit), place), unit)
        assert (np.diff(costs) >= 0).all()
        assert costs[-1] <= 2**36


@pytest.mark.parametrize("owned", [[1], [1, -1]])
def test_sellers_without_a_standing_are_refused(owned: list[int]) -> None:
    scope = at_work([("always", 0, 0), ("days", 0, 0)], 5)
    assert isinstance(scope.standing, Contacts)
    with pytest.raises(InvalidProblem, match="scope rr"):
        replace(scope, standing=replace(scope.standing, owned=np.array(owned)))
