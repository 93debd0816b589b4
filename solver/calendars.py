"""Working time: weekly hours in a time zone less time off, as intervals of UTC, and who is available when.

Somebody works at an instant if the clock on the wall in the time zone shows a working minute then. So working time has its real
length in a night in which the clock changes: hours that the clock skips are not worked, hours that come twice are worked twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from reallot.solver.holidays import public_holidays

MINUTES_A_DAY = 1_440
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
_MINUTE_US = 60_000_000
_SECOND_US = 1_000_000
WIDEST_BUCKET = 5
"""The last bucket: available more than 96 and at most 120 hours from now."""
UNAVAILABLE = WIDEST_BUCKET + 1
_STRETCH_US = 14 * DAY_US
"""How far ahead is looked at once."""
_FARTHEST_US = 3_660 * DAY_US
_EPOCH_DAY = date(1970, 1, 1).toordinal()

Intervals = npt.NDArray[np.int64]
"""Half-open intervals [start, end) in microseconds: shape (n, 2), ascending, not touching."""


class CalendarError(ValueError):
    """Working hours or a time zone that cannot be used; the text names the fault."""


@dataclass(frozen=True, slots=True, order=True)
class WeeklyHours:
    """Working hours on one day of the week (0 = Monday), in minutes of the local day."""

    day: int
    start_minute: int
    end_minute: int


@dataclass(frozen=True, slots=True)
class Exceptional:
    """A date whose hours differ from the week's; no hours = not worked. The hours' `day` is not read."""

    date: date
    hours: tuple[WeeklyHours, ...] = ()


@dataclass(frozen=True, slots=True)
class Calendar:
    """When somebody works.

    Attributes:
        zone: IANA time zone; None = always.
        weekly: Hours of the week.
        exceptions: Days that differ; they go before public holidays, too.
        time_off: Absences as (start, end) in microseconds.
        holidays: Country and region whose public holidays are free; None = none are.
    """

    zone: str | None = None
    weekly: tuple[WeeklyHours, ...] = ()
    exceptions: tuple[Exceptional, ...] = ()
    time_off: tuple[tuple[int, int], ...] = ()
    holidays: tuple[str, str] | None = None


def zone_of(name: str) -> ZoneInfo:
    """Return the IANA time zone of that name.

    Raises:
        CalendarError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CalendarError(f"{name!r} is no IANA time zone such as Europe/Berlin") from None


def check_hours(hours: Sequence[WeeklyHours]) -> None:
    """Do nothing if the hours can be worked.

    Raises:
        CalendarError: one lies outside its day, ends before it starts, or overlaps another.
    """
    last: WeeklyHours | None = None
    for item in sorted(hours):
        said = f"{_clock(item.start_minute)}-{_clock(item.end_minute)}"
        if not (0 <= item.day <= 6 and 0 <= item.start_minute < MINUTES_A_DAY and 0 < item.end_minute <= MINUTES_A_DAY):
            raise CalendarError(f"{said} lies outside the day")
        if item.end_minute <= item.start_minute:
            raise CalendarError(f"{said} ends before it starts")
        if last is not None and last.day == item.day and item.start_minute < last.end_minute:
            raise CalendarError(f"{said} overlaps other hours of the day")
        last = item


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def working_intervals(calendar: Calendar, start_us: int, end_us: int) -> Intervals:
    """Return when somebody works within [start_us, end_us). The years 2 to 9998 can be looked at."""
    if calendar.zone is None:
        base = np.array([[start_us, end_us]], dtype=np.int64)
    else:
        base = np.array(_expanded(calendar, calendar.zone, start_us, end_us), dtype=np.int64).reshape(-1, 2)
    clipped = np.clip(base, start_us, end_us)
    worked = _merge(clipped[clipped[:, 0] < clipped[:, 1]])
    return _subtract(worked, [(start, end) for start, end in calendar.time_off if start_us < end and start < end_us and start < end])


def _expanded(calendar: Calendar, zone: str, start_us: int, end_us: int) -> list[tuple[int, int]]:
    first, last = start_us // DAY_US, end_us // DAY_US + 1
    return _expand(zone, calendar.weekly, calendar.exceptions, calendar.holidays, first, last)


@lru_cache(maxsize=20_000)
def _expand(
    zone: str,
    weekly: tuple[WeeklyHours, ...],
    exceptions: tuple[Exceptional, ...],
    holidays: tuple[str, str] | None,
    first: int,
    last: int,
) -> list[tuple[int, int]]:
    """Return working time in the days [first, last) of UTC, counted from the epoch, in order; intervals may touch."""
    special: dict[int, tuple[WeeklyHours, ...]] = {}
    if holidays is not None:
        # The local day may be the one before or after that of UTC.
        days = (date.fromordinal(first - 1 + _EPOCH_DAY), date.fromordinal(last + _EPOCH_DAY))
        special = {day.toordinal() - _EPOCH_DAY: () for day in public_holidays(*holidays, *days)}
    special |= {item.date.toordinal() - _EPOCH_DAY: item.hours for item in exceptions}
    by_weekday = [[h for h in weekly if h.day == day] for day in range(7)]
    rows: list[tuple[int, int]] = []
    for start, end, offset in _spans(zone, first, last):
        for day in range((start + offset) // DAY_US, (end + offset - 1) // DAY_US + 1):
            midnight = day * DAY_US - offset
            # The epoch was a Thursday.
            for h in special.get(day, by_weekday[(day + 3) % 7]):
                rows.append((max(start, midnight + h.start_minute * _MINUTE_US), min(end, midnight + h.end_minute * _MINUTE_US)))
    return sorted(row for row in rows if row[0] < row[1])


@lru_cache(maxsize=10_000)
def _spans(zone: str, first: int, last: int) -> tuple[tuple[int, int, int], ...]:
    """Return the days [first, last) of UTC cut where the clock changes: start, end and the clock's distance from UTC."""
    place = zone_of(zone)
    spans: list[tuple[int, int, int]] = []
    start, end = first * DAY_US, last * DAY_US
    for instant in range(start, end, HOUR_US):
        if _offset(place, instant) != _offset(place, instant + HOUR_US):
            change = _change(place, instant, instant + HOUR_US)
            spans.append((start, change, _offset(place, instant)))
            start = change
    return (*spans, (start, end, _offset(place, end - _SECOND_US)))


def _change(place: ZoneInfo, before: int, after: int) -> int:
    """Return the instant within (before, after] at which the clock changes; it is a whole second."""
    old = _offset(place, before)
    while after - before > _SECOND_US:
        middle = (before + after) // 2 // _SECOND_US * _SECOND_US
        before, after = (middle, after) if _offset(place, middle) == old else (before, middle)
    return after


def _offset(place: ZoneInfo, instant_us: int) -> int:
    offset = datetime.fromtimestamp(instant_us // _SECOND_US, place).utcoffset()
    if offset is None:
        raise AssertionError("a time zone knows its distance from UTC")
    return offset // timedelta(microseconds=1)


def _merge(intervals: Intervals) -> Intervals:
    if len(intervals) < 2:
        return intervals
    starts, ends = intervals[:, 0], np.maximum.accumulate(intervals[:, 1])
    fresh = np.concatenate([[True], starts[1:] > ends[:-1]])
    last = np.concatenate([fresh[1:], [True]])
    return np.column_stack([starts[fresh], ends[last]])


def _subtract(intervals: Intervals, absences: Sequence[tuple[int, int]]) -> Intervals:
    if not absences or not len(intervals):
        return intervals
    away = _merge(np.array(sorted(absences), dtype=np.int64))
    # What is left of each interval lies between one absence and the next.
    starts = np.maximum(intervals[:, :1], np.concatenate([intervals[:1, 0], away[:, 1]]))
    ends = np.minimum(intervals[:, 1:], np.concatenate([away[:, 0], intervals[-1:, 1]]))
    left = starts < ends
    return np.column_stack([starts[left], ends[left]])


@dataclass(frozen=True)
class Availability:
    """Who is available when, for m calendars.

    Attributes:
        first_us: First available instant ≥ now: int64, shape (m,); -1 = none within 120 hours.
        bucket: 0 = now, 1 = within 24 hours, 2 = 48, 3 = 72, 4 = 96, 5 = 120, 6 = not within 120 hours: int8, shape (m,).
    """

    first_us: npt.NDArray[np.int64]
    bucket: npt.NDArray[np.int8]

    @staticmethod
    def of(calendars: Sequence[Calendar | None], now_us: int) -> "Availability":
        """Look at calendars at an instant; None = always available. The weeks that calendars share are expanded once."""
        last_us = now_us + WIDEST_BUCKET * DAY_US
        weeks: dict[tuple[str | None, int, int, tuple[str, str] | None], list[tuple[int, int]]] = {}
        found: list[int] = []
        for calendar in calendars:
            if calendar is None:
                found.append(now_us)
                continue
            # Comparing weeks hour by hour is what would cost here, once for each seller; those who share one share the object.
            key = (calendar.zone, id(calendar.weekly), id(calendar.exceptions), calendar.holidays)
            if (base := weeks.get(key)) is None:
                base = weeks[key] = _base(calendar, now_us, last_us)
            found.append(_first(base, calendar.time_off, now_us, last_us))
        first = np.array(found, dtype=np.int64)
        wait = first - now_us
        bucket = np.where(first < 0, UNAVAILABLE, -(-wait // DAY_US)).astype(np.int8)
        return Availability(first, bucket)


def first_available(calendar: Calendar, now_us: int, within_us: int) -> int:
    """Return the first instant in [now, now + within] at which somebody works, -1 if there is none."""
    last_us = now_us + within_us
    return _first(_base(calendar, now_us, last_us), calendar.time_off, now_us, last_us)


def worked_for(calendar: Calendar, start_us: int, duration_us: int) -> int:
    """Return the instant at which somebody has worked for a duration since `start_us`, -1 if that is not within ten years."""
    left, begin = duration_us, start_us
    while begin < start_us + _FARTHEST_US:
        for start, end in working_intervals(calendar, begin, begin + _STRETCH_US).tolist():
            if left <= end - start:
                return int(start + left)
            left -= end - start
        begin += _STRETCH_US
    return -1


def next_working(calendar: Calendar, start_us: int) -> int:
    """Return the first instant at or after `start_us` at which somebody works, -1 if there is none within ten years."""
    begin = start_us
    while begin < start_us + _FARTHEST_US:
        worked = working_intervals(calendar, begin, begin + _STRETCH_US)
        if len(worked):
            return int(worked[0, 0])
        begin += _STRETCH_US
    return -1


def _base(calendar: Calendar, now_us: int, last_us: int) -> list[tuple[int, int]]:
    """Return working time from now on, absences left aside."""
    if calendar.zone is None:
        return [(now_us, last_us + 1)]
    return [row for row in _expanded(calendar, calendar.zone, now_us, last_us) if row[1] > now_us]


def _first(base: Sequence[tuple[int, int]], time_off: Sequence[tuple[int, int]], now_us: int, last_us: int) -> int:
    away = sorted(time_off) if len(time_off) > 1 else time_off
    # Plain numbers: a few rows for each of many sellers are too little for arrays.
    for start, end in base:
        instant = max(start, now_us)
        for gone, back in away:
            if gone <= instant < back:
                instant = back
        if instant < end:
            return instant if instant <= last_us else -1
    return -1


def worked_until(calendar: Calendar, start_us: int, amount_us: int, within_us: int) -> int:
    """Return the instant at which somebody has worked for `amount_us` since `start_us`, -1 if that takes longer than `within_us`."""
    last_us, left_us, from_us = start_us + within_us, amount_us, start_us
    while from_us < last_us:
        until_us = min(from_us + 7 * DAY_US, last_us)
        for start, end in working_intervals(calendar, from_us, until_us).tolist():
            if end - start >= left_us:
                return int(start + left_us)
            left_us -= end - start
        from_us = until_us
    return -1
