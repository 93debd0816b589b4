"""When somebody has worked how much, against walking through the minutes."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reallot.solver.calendars import Calendar, WeeklyHours
from reallot.solver.timetables import AHEAD_US, NEVER, Timetables
from support.cases import cases

MINUTE = 60_000_000
MONDAY_US = 1_772_438_400_000_000
"""Monday 2026-03-02 08:00 UTC."""
WEEKS: list[tuple[WeeklyHours, ...]] = [
    tuple(WeeklyHours(day, 480, 1020) for day in range(5)),
    (*(WeeklyHours(day, 540, 720) for day in range(7)), *(WeeklyHours(day, 780, 1080) for day in range(7))),
    (WeeklyHours(1, 0, 60),),
]


def minutes_worked(calendar: Calendar | None, now_us: int):  # type: ignore[no-untyped-def]
    """Minutes from now at which somebody works, one by one."""
    minute = 0
    while True:
        at = now_us + minute * MINUTE
        day, clock = divmod(at // MINUTE, 1440)
        at_work = calendar is None or any(h.day == (day + 3) % 7 and h.start_minute <= clock < h.end_minute for h in calendar.weekly)
        if at_work and not (calendar and any(start <= at < end for start, end in calendar.time_off)):
            yield minute
        minute += 1


@settings(max_examples=cases(40), deadline=None)
@given(
    weeks=st.lists(st.sampled_from([None, *WEEKS]), min_size=1, max_size=4),
    now=st.integers(0, 10_080),
    off=st.tuples(st.integers(-600, 3_000), st.integers(1, 6_000)),
    worked=st.integers(0, 1_500),
)
def test_working_time_is_walked_through(weeks: list[tuple[WeeklyHours, ...] | None], now: int, off: tuple[int, int], worked: int) -> None:
    now_us = MONDAY_US + now * MINUTE
    absence = (now_us + off[0] * MINUTE, now_us + (off[0] + off[1]) * MINUTE)
    calendars = [None if week is None else Calendar("UTC", week, time_off=(absence,)) for week in weeks]
    found = Timetables.of(calendars, now_us).instant(np.arange(len(weeks)), np.full(len(weeks), worked * MINUTE))
    for calendar, instant in zip(calendars, found.tolist(), strict=True):
        expected = next(islice(minutes_worked(calendar, now_us), min(worked, 400), None))
        if worked <= 400 and expected * MINUTE < AHEAD_US:
            assert instant == expected * MINUTE


@pytest.mark.parametrize("week", WEEKS)
def test_after_what_is_looked_at_the_weeks_go_on(week: tuple[WeeklyHours, ...]) -> None:
    calendar = Calendar("UTC", week)
    tables, steps = Timetables.of([calendar], MONDAY_US), 37
    walked = minutes_worked(calendar, MONDAY_US)
    for number, minute in enumerate(islice(walked, 0, 40 * steps, steps) if week is WEEKS[2] else islice(walked, 0, 60_000, 997)):
        step = steps if week is WEEKS[2] else 997
        assert tables.instant(np.array([0]), np.array([number * step * MINUTE])).tolist() == [minute * MINUTE]


def test_who_never_works_gets_to_nothing() -> None:
    away = Calendar("UTC", WEEKS[0], time_off=((0, MONDAY_US + 2 * AHEAD_US),))
    tables = Timetables.of([Calendar("UTC"), away, None], MONDAY_US)
    assert tables.instant(np.array([0, 1, 2]), np.array([0, 5, 7])).tolist() == [NEVER, NEVER, 7]
