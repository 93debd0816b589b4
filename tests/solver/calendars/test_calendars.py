"""Working time against a minute-by-minute reading of the local clock."""

from datetime import UTC, date, datetime, timedelta
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
    Exceptional,
    WeeklyHours,
    check_hours,
    first_available,
    working_intervals,
    zone_of,
)
from support.cases import cases

MINUTE_US = 60_000_000
CHANGES = [
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("America/New_York", date(2026, 3, 8)),
    ("America/St_Johns", date(2026, 11, 1)),
    # At midnight, by half an hour, by two hours, and a day that never was.
    ("America/Havana", date(2026, 11, 1)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Antarctica/Troll", date(2026, 3, 29)),
    ("Pacific/Apia", date(2011, 12, 30)),
]
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia", "America/St_Johns", "UTC"]
FIXED_HOLIDAYS = {
    ("DE", ""): [(1, 1), (5, 1), (10, 3), (12, 25), (12, 26)],
    ("DE", "BY"): [(1, 1), (1, 6), (5, 1), (10, 3), (11, 1), (12, 25), (12, 26)],
}
"""The days around which holidays are tested; they move with no moon."""
OFFICE = tuple(WeeklyHours(day, 9 * 60, 17 * 60) for day in range(5))


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp()) * 1_000_000


def minute(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def works(calendar: Calendar, instant_us: int) -> bool:
    """The oracle: look at the clock on the wall at that very minute."""
    if any(start <= instant_us < end for start, end in calendar.time_off):
        return False
    local = datetime.fromtimestamp(instant_us // 1_000_000, ZoneInfo(calendar.zone or "UTC"))
    shown = local.hour * 60 + local.minute
    for exception in calendar.exceptions:
        if exception.date == local.date():
            return any(h.start_minute <= shown < h.end_minute for h in exception.hours)
    if calendar.holidays and (local.month, local.day) in FIXED_HOLIDAYS[calendar.holidays]:
        return False
    return any(h.day == local.weekday() and h.start_minute <= shown < h.end_minute for h in calendar.weekly)


def weeks() -> st.SearchStrategy[tuple[WeeklyHours, ...]]:
    """Up to three stretches a day, at any minutes."""
    cuts = st.lists(st.integers(0, 1440), max_size=6, unique=True).map(sorted)
    return st.lists(cuts, min_size=7, max_size=7).map(
        lambda days: tuple(WeeklyHours(day, a, b) for day, cut in enumerate(days) for a, b in zip(cut[::2], cut[1::2], strict=False))
    )


absences = st.lists(st.tuples(st.integers(-2_000, 4_000), st.integers(1, 2_000)), max_size=4)


@settings(max_examples=cases(100), deadline=None)
@given(
    zone_and_day=st.sampled_from(CHANGES) | st.tuples(st.sampled_from(ZONES), st.dates(date(2024, 1, 1), date(2028, 1, 1))),
    hours=weeks(),
    off=absences,
)
def test_working_time_is_what_the_wall_clock_says(
    zone_and_day: tuple[str, date], hours: tuple[WeeklyHours, ...], off: list[tuple[int, int]]
) -> None:
    zone, day = zone_and_day
    start = us(f"{day}T00:00:00+00:00") - DAY_US // 2
    away = tuple((start + a * MINUTE_US, start + (a + b) * MINUTE_US) for a, b in off)
    calendar = Calendar(zone, hours, time_off=away)
    minutes = range(start, start + 2 * DAY_US, MINUTE_US)
    intervals = working_intervals(calendar, start, start + 2 * DAY_US)
    assert (intervals[1:, 0] > intervals[:-1, 1]).all()
    worked = {minute for a, b in intervals.tolist() for minute in range(a, b, MINUTE_US)}
    expected = {minute for minute in minutes if works(calendar, minute)}
    assert worked == expected
    assert first_available(calendar, start, 2 * DAY_US - MINUTE_US) == min(expected, default=-1)


@settings(max_examples=cases(100), deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    place=st.sampled_from(sorted(FIXED_HOLIDAYS)),
    year=st.integers(2024, 2030),
    # None of the days looked at is Easter, which moves.
    around=st.sampled_from([(1, 1), (1, 6), (8, 15), (10, 3), (11, 1), (12, 26)]),
    hours=weeks(),
    off=absences,
    special=st.dictionaries(st.integers(-1, 2), weeks(), max_size=2),
)
def test_holidays_and_exceptions_take_the_place_of_the_week(
    zone: str,
    place: tuple[str, str],
    year: int,
    around: tuple[int, int],
    hours: tuple[WeeklyHours, ...],
    off: list[tuple[int, int]],
    special: dict[int, tuple[WeeklyHours, ...]],
) -> None:
    day = date(year, *around)
    start = us(f"{day}T00:00:00+00:00") - DAY_US // 2
    exceptions = tuple(Exceptional(day + timedelta(days=after), tuple(h for h in week if h.day == 0)) for after, week in special.items())
    away = tuple((start + a * MINUTE_US, start + (a + b) * MINUTE_US) for a, b in off)
    calendar = Calendar(zone, hours, exceptions, away, place)
    worked = {m for a, b in working_intervals(calendar, start, start + 2 * DAY_US).tolist() for m in range(a, b, MINUTE_US)}
    expected = {m for m in range(start, start + 2 * DAY_US, MINUTE_US) if works(calendar, m)}
    assert worked == expected
    assert first_available(calendar, start, 2 * DAY_US - MINUTE_US) == min(expected, default=-1)


def test_a_holiday_of_the_region_is_free_there_alone() -> None:
    hours = tuple(WeeklyHours(d, 540, 1020) for d in range(7))
    epiphany = us("2026-01-06T00:00:00+00:00")
    worked = {
        region: len(working_intervals(Calendar("Europe/Berlin", hours, holidays=("DE", region)), epiphany, epiphany + DAY_US))
        for region in ("", "BY", "HH")
    }
    assert worked == {"": 1, "BY": 0, "HH": 1}


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-03-28", 24)], ids=["spring", "autumn", "plain"])
def test_a_whole_day_has_its_real_length(day: str, hours: int) -> None:
    calendar = Calendar("Europe/Berlin", tuple(WeeklyHours(d, 0, 1440) for d in range(7)))
    start = int(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1e6)
    end = int((datetime.fromisoformat(day) + timedelta(days=1)).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1e6)
    worked = working_intervals(calendar, start, end)
    assert int((worked[:, 1] - worked[:, 0]).sum()) == hours * 3600_000_000


@pytest.mark.parametrize(
    ("start", "end", "worked"),
    [
        ("02:30", "04:00", [("03:00+02:00", "04:00+02:00")]),
        ("02:30", "03:15", [("03:00+02:00", "03:15+02:00")]),
        ("02:00", "02:30", []),
        ("01:00", "02:30", [("01:00+01:00", "03:00+02:00")]),
    ],
)
def test_hours_that_the_clock_skips_are_not_worked(start: str, end: str, worked: list[tuple[str, str]]) -> None:
    calendar = Calendar("Europe/Berlin", (WeeklyHours(6, minute(start), minute(end)),))
    found = working_intervals(calendar, us("2026-03-28T12:00:00+00:00"), us("2026-03-30T00:00:00+00:00"))
    assert found.tolist() == [[us(f"2026-03-29T{a}"), us(f"2026-03-29T{b}")] for a, b in worked]


@pytest.mark.parametrize(
    ("start", "end", "worked"),
    [
        ("02:00", "02:30", [("02:00+02:00", "02:30+02:00"), ("02:00+01:00", "02:30+01:00")]),
        ("01:00", "04:00", [("01:00+02:00", "04:00+01:00")]),
    ],
)
def test_hours_that_come_twice_are_worked_twice(start: str, end: str, worked: list[tuple[str, str]]) -> None:
    calendar = Calendar("Europe/Berlin", (WeeklyHours(6, minute(start), minute(end)),))
    found = working_intervals(calendar, us("2026-10-24T12:00:00+00:00"), us("2026-10-26T00:00:00+00:00"))
    assert found.tolist() == [[us(f"2026-10-25T{a}"), us(f"2026-10-25T{b}")] for a, b in worked]


def test_nobody_works_on_saturday_for_a_friday_that_never_was() -> None:
    calendar = Calendar("Pacific/Apia", OFFICE)
    found = working_intervals(calendar, us("2011-12-29T00:00:00-10:00"), us("2012-01-01T00:00:00+14:00"))
    assert found.tolist() == [[us("2011-12-29T09:00:00-10:00"), us("2011-12-29T17:00:00-10:00")]]


def test_exceptional_days_replace_the_hours_of_the_week() -> None:
    days = (Exceptional(date(2026, 3, 9)), Exceptional(date(2026, 3, 8), (WeeklyHours(0, 600, 660),)))
    found = working_intervals(Calendar("Asia/Kathmandu", OFFICE, days), us("2026-03-07T00:00:00+05:45"), us("2026-03-10T00:00:00+05:45"))
    assert found.tolist() == [[us("2026-03-08T10:00:00+05:45"), us("2026-03-08T11:00:00+05:45")]]


def test_an_absence_of_no_length_changes_nothing() -> None:
    start = us("2026-03-06T00:00:00+00:00")
    calendar = Calendar("UTC", (WeeklyHours(4, 540, 1020),), time_off=((start + 600 * MINUTE_US,) * 2,))
    assert len(working_intervals(calendar, start, start + DAY_US)) == 1


def test_absences_that_overlap_or_touch_are_one() -> None:
    now = us("2026-03-06T12:00:00+00:00")
    hour = 60 * MINUTE_US
    calendar = Calendar(time_off=((now + hour, now + 3 * hour), (now - hour, now + 2 * hour), (now + 3 * hour, now + 4 * hour)))
    assert working_intervals(calendar, now, now + DAY_US).tolist() == [[now + 4 * hour, now + DAY_US]]
    assert first_available(calendar, now, DAY_US) == now + 4 * hour


@pytest.mark.parametrize(("minutes", "bucket"), [(0, 0), (1, 1), (1440, 1), (1441, 2), (7200, 5), (7201, UNAVAILABLE)])
def test_buckets_end_at_whole_days_from_now(minutes: int, bucket: int) -> None:
    now = us("2026-03-06T12:00:00+00:00")
    away = Calendar(time_off=((now - MINUTE_US, now + minutes * MINUTE_US),))
    assert Availability.of([away], now).bucket.tolist() == [bucket]


@settings(max_examples=cases(50), deadline=None)
@given(zone=st.sampled_from(ZONES), hours=weeks(), off=absences, later=st.integers(0, 20 * 1440))
def test_availability_is_the_first_working_minute_within_five_days(
    zone: str, hours: tuple[WeeklyHours, ...], off: list[tuple[int, int]], later: int
) -> None:
    now = us("2026-03-20T00:00:00+00:00") + later * MINUTE_US
    calendar = Calendar(zone, hours, time_off=tuple((now + a * MINUTE_US, now + (a + b) * MINUTE_US) for a, b in off))
    expected = next((m for m in range(now, now + 5 * DAY_US + 1, MINUTE_US) if works(calendar, m)), -1)
    found = Availability.of([None, calendar, calendar], now)
    assert found.first_us.tolist() == [now, expected, expected]


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
