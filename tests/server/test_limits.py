"""Rates: what passes in any stretch of time is bounded, and whoever waits as told is let in."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from reallot.server import limits
from reallot.server.limits import BURST_S, Allowance

RATES = st.sampled_from([0.5, 1.0, 10.0, 1_000.0])
ASKED = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 3_000)), min_size=1, max_size=60)


@given(RATES, ASKED)
def test_no_stretch_of_time_gives_more_than_the_rate_and_one_burst(rate: float, asked: list[tuple[float, int]]) -> None:
    allowance, now_s, granted = Allowance(rate), 0.0, []
    for pause_s, count in asked:
        now_s += pause_s
        if allowance.wait_s("w", count, now_s) == 0:
            allowance.take("w", count)
            granted.append((now_s, count))
    for first, last in itertools.combinations_with_replacement(range(len(granted)), 2):
        # What a large request has taken in advance is paid back before the next.
        before_the_last = sum(count for _, count in granted[first:last])
        assert before_the_last <= rate * (granted[last][0] - granted[first][0]) + max(rate * BURST_S, 1.0) + 1e-6


@given(RATES, ASKED)
def test_whoever_waits_as_told_is_let_in(rate: float, asked: list[tuple[float, int]]) -> None:
    allowance, now_s = Allowance(rate), 0.0
    for pause_s, count in asked:
        now_s += pause_s
        wait_s = allowance.wait_s("w", count, now_s)
        now_s += wait_s + 1e-9 * (1 + now_s)
        assert allowance.wait_s("w", count, now_s) < 1e-6
        allowance.take("w", count)


def test_workspaces_do_not_share() -> None:
    allowance = Allowance(1.0)
    assert allowance.wait_s("a", 1, 0.0) == 0
    allowance.take("a", 1)
    assert allowance.wait_s("a", 1, 0.0) == 1.0
    assert allowance.wait_s("b", 1, 0.0) == 0


def test_without_a_rate_everything_passes() -> None:
    allowance = Allowance(0.0)
    assert allowance.wait_s("a", 10**9, 0.0) == 0
    allowance.take("a", 10**9)
    assert allowance.wait_s("a", 10**9, 0.0) == 0


def test_names_that_callers_make_up_do_not_pile_up_and_debts_are_kept() -> None:
    allowance = Allowance(1.0)
    allowance.wait_s("debtor", 50, 0.0)
    allowance.take("debtor", 50)
    for number in range(3 * limits.MOST_WORKSPACES):
        allowance.wait_s(f"w{number}", 1, 1.0)
    assert len(allowance._buckets) <= limits.MOST_WORKSPACES
    assert allowance.wait_s("debtor", 1, 1.0) == 49.0
