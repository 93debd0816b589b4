"""Closed forms of the policies against handing out units one by one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reallot.solver.assignment import Policy, Scope
from reallot.solver.assignment.positions import LARGEST_POSITION, order_of
from support.cases import cases
from support.problems import ORDERED, a_scope, hand_out, position_costs


@st.composite
def scopes(draw: st.DrawFn) -> Scope:
    m = draw(st.integers(1, 6))
    column = {
        "turns": st.integers(0, 9),
        "free": st.integers(-5, 9),
        "priority": st.sampled_from([10, 50, 90]),
    }
    drawn = {name: draw(st.lists(values, min_size=m, max_size=m)) for name, values in column.items()}
    return a_scope(drawn["turns"], draw(st.sampled_from(ORDERED)), free=drawn["free"], priority=drawn["priority"])


def costs_of(scope: Scope, units: int) -> np.ndarray:  # type: ignore[type-arg]
    m = len(scope.seller)
    seller, unit = np.repeat(np.arange(m), units), np.tile(np.arange(units), m)
    return order_of(scope, units).costs(seller, unit).reshape(m, units)


@settings(max_examples=cases(400), deadline=None)
@given(scope=scopes(), units=st.integers(1, 12))
def test_positions_are_those_of_handing_out_one_by_one(scope: Scope, units: int) -> None:
    assert costs_of(scope, units).tolist() == position_costs(scope, units)


@settings(max_examples=cases(100), deadline=None)
@given(scope=scopes(), units=st.integers(1, 12))
def test_no_two_units_share_a_position_and_a_sellers_own_grow(scope: Scope, units: int) -> None:
    costs = costs_of(scope, units)
    assert len(np.unique(costs)) == costs.size
    assert (np.diff(costs, axis=1) > 0).all()


def test_immense_capacities_keep_the_order_and_stay_small() -> None:
    scope = a_scope([1, 2, 3], Policy.LOAD_BALANCING, free=[2**60, 2**40, -(2**60)])
    costs = costs_of(scope, 50)
    assert 0 <= costs.min() <= costs.max() < LARGEST_POSITION
    cheapest = np.argsort(costs.reshape(-1))[:50] // 50
    assert cheapest.tolist() == hand_out(scope, 50)
