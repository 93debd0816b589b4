"""Working time against a minute-by-minute reading of the local clock."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reallot.solver.calendars import (
    DAY_US,
    UNAVAILABLE,
    Availability,
    Calendar,
    CalendarError,
    WeeklyHours,
    check_hours,
    first_available,
    working_intervals,
    zone_of,
)

MINUTE_US = 60_000_000
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "America/St_Johns", "UTC"]
OFFICE = tuple(WeeklyHours(day, 9 * 60, 17 * 60) for day in range(5))


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp()) * 1_000_000


def works(calendar: Calendar, instant_us: int) -> bool:
    """The oracle: look at the clock on the wall at that very minute."""
    if any(start <= instant_us < end for start, end in calendar.time_off):
        return False
    local = datetime.fromtimestamp(instant_us / 1e6, ZoneInfo(calendar.zone or "UTC"))
    minute = local.hour * 60 + local.minute
    return any(h.day == local.weekday() and h.start_minute <= minute < h.end_minute for h in calendar.weekly)


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    hours=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 10), st.integers(11, 24)), max_size=6, unique_by=lambda t: t[0]),
    days=st.integers(0, 700),
    off=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), max_size=2),
)
def test_working_time_is_what_the_wall_clock_says(
    zone: str, hours: list[tuple[int, int, int]], days: int, off: list[tuple[int, int]]
) -> None:
    start = us("2025-03-01T00:00:00+00:00") + days * DAY_US
    absences = tuple((start + a * 3600_000_000, start + (a + b) * 3600_000_000) for a, b in off)
    # Whole hours keep clear of stretches that end inside an hour that comes twice, where the choice is ours.
    weekly = tuple(WeeklyHours(d, a * 60, b * 60) for d, a, b in hours)
    calendar = Calendar(zone, weekly, time_off=absences)
    intervals = working_intervals(calendar, start, start + 3 * DAY_US)
    for instant in range(start, start + 3 * DAY_US, 15 * MINUTE_US):
        inside = bool(((intervals[:, 0] <= instant) & (instant < intervals[:, 1])).any())
        local = datetime.fromtimestamp(instant / 1e6, ZoneInfo(zone))
        twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
        assert inside == works(calendar, instant) or twice


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-03-28", 24)], ids=["spring", "autumn", "plain"])
def test_a_whole_day_has_its_real_length(day: str, hours: int) -> None:
    calendar = Calendar("Europe/Berlin", tuple(WeeklyHours(d, 0, 1440) for d in range(7)))
    start = int(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1e6)
    end = int((datetime.fromisoformat(day) + timedelta(days=1)).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1e6)
    worked = working_intervals(calendar, start, end)
    assert int((worked[:, 1] - worked[:, 0]).sum()) == hours * 3600_000_000


def test_hours_in_the_skipped_hour_move_forward() -> None:
    calendar = Calendar("Europe/Berlin", (WeeklyHours(6, 150, 240),))
    found = working_intervals(calendar, us("2026-03-29T00:00:00+00:00"), us("2026-03-30T00:00:00+00:00"))
    assert found.tolist() == [[us("2026-03-29T01:30:00+00:00"), us("2026-03-29T02:00:00+00:00")]]


def test_buckets_count_days_until_the_first_working_minute() -> None:
    friday_evening = us("2026-03-06T20:00:00+00:00")
    office = Calendar("UTC", OFFICE)
    monday_off = Calendar("UTC", OFFICE, time_off=((us("2026-03-09T00:00:00+00:00"), us("2026-03-11T00:00:00+00:00")),))
    never = Calendar("UTC", ())
    found = Availability.of([None, office, monday_off, never, Calendar("UTC", (WeeklyHours(4, 0, 1440),))], friday_evening)
    assert found.bucket.tolist() == [0, 3, 5, UNAVAILABLE, 0]
    assert found.first_us[1] == us("2026-03-09T09:00:00+00:00")


def test_first_available_is_now_while_at_work() -> None:
    now = us("2026-03-06T10:17:00+00:00")
    assert first_available(Calendar("UTC", OFFICE), now, DAY_US) == now


@pytest.mark.parametrize(
    ("hours", "fault"),
    [
        ([WeeklyHours(0, 600, 540)], "ends before it starts"),
        ([WeeklyHours(0, 540, 700), WeeklyHours(0, 690, 800)], "overlaps"),
        ([WeeklyHours(0, 540, 1500)], "outside the day"),
        ([WeeklyHours(7, 540, 600)], "outside the day"),
    ],
)
def test_impossible_hours_are_refused(hours: list[WeeklyHours], fault: str) -> None:
    with pytest.raises(CalendarError, match=fault):
        check_hours(hours)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "Europe"])
def test_unknown_zones_are_refused(name: str) -> None:
    with pytest.raises(CalendarError, match="IANA"):
        zone_of(name)
