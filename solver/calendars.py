"""Working time: weekly hours in a time zone less time off, as intervals of UTC, and who is available when.

All arithmetic is on instants in UTC, so a night in which the clock changes has its real length. A local time that the clock skips
moves forward by the gap; a stretch that ends within an hour that comes twice lasts through both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

MINUTES_A_DAY = 1_440
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
WIDEST_BUCKET = 5
"""The last bucket: available more than 96 and at most 120 hours from now."""
UNAVAILABLE = WIDEST_BUCKET + 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

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
    """When somebody works. `zone` None = always. `time_off` are absences as (start, end) in microseconds."""

    zone: str | None = None
    weekly: tuple[WeeklyHours, ...] = ()
    exceptions: tuple[Exceptional, ...] = ()
    time_off: tuple[tuple[int, int], ...] = ()


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
    """Return when somebody works within [start_us, end_us)."""
    if calendar.zone is None:
        base = np.array([[start_us, end_us]], dtype=np.int64)
    else:
        # A local day begins up to a day before or after the day in UTC.
        first = (_EPOCH + timedelta(microseconds=start_us)).date() - timedelta(days=1)
        last = (_EPOCH + timedelta(microseconds=end_us)).date() + timedelta(days=1)
        base = _expand(calendar.zone, calendar.weekly, calendar.exceptions, first, last)
    clipped = np.clip(base, start_us, end_us)
    return _subtract(_merge(clipped[clipped[:, 0] < clipped[:, 1]]), calendar.time_off)


@lru_cache(maxsize=20_000)
def _expand(zone: str, weekly: tuple[WeeklyHours, ...], exceptions: tuple[Exceptional, ...], first: date, last: date) -> Intervals:
    place = zone_of(zone)
    special = {item.date: item.hours for item in exceptions}
    rows: list[tuple[int, int]] = []
    day = first
    while day <= last:
        hours = special[day] if day in special else [h for h in weekly if h.day == day.weekday()]
        rows.extend((_instant(place, day, h.start_minute, 0), _instant(place, day, h.end_minute, 1)) for h in hours)
        day += timedelta(days=1)
    return np.array(sorted(rows), dtype=np.int64).reshape(-1, 2)


def _instant(zone: ZoneInfo, day: date, minute: int, fold: int) -> int:
    local = datetime.combine(day + timedelta(days=minute // MINUTES_A_DAY), time(minute % MINUTES_A_DAY // 60, minute % 60), zone)
    # A time in a gap is read with the offset before it (fold 0), which moves it forward by the gap.
    if local.replace(fold=0).utcoffset() < local.replace(fold=1).utcoffset():  # type: ignore[operator]
        fold = 0
    return (local.replace(fold=fold).astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)


def _merge(intervals: Intervals) -> Intervals:
    if len(intervals) < 2:
        return intervals
    starts, ends = intervals[:, 0], np.maximum.accumulate(intervals[:, 1])
    fresh = np.concatenate([[True], starts[1:] > ends[:-1]])
    last = np.concatenate([fresh[1:], [True]])
    return np.column_stack([starts[fresh], ends[last]])


def _subtract(intervals: Intervals, absences: Sequence[tuple[int, int]]) -> Intervals:
    for start, end in absences:
        left, right = intervals.copy(), intervals.copy()
        left[:, 1] = np.minimum(left[:, 1], start)
        right[:, 0] = np.maximum(right[:, 0], end)
        both = np.concatenate([left, right])
        both = both[both[:, 0] < both[:, 1]]
        intervals = both[np.argsort(both[:, 0], kind="stable")]
    return intervals


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
        """Look at calendars at an instant; None = always available. Equal calendars are looked at once."""
        known: dict[Calendar | None, int] = {None: now_us}
        for calendar in calendars:
            if calendar not in known:
                known[calendar] = first_available(calendar, now_us, WIDEST_BUCKET * DAY_US) if calendar else now_us
        first = np.array([known[calendar] for calendar in calendars], dtype=np.int64)
        wait = first - now_us
        bucket = np.where(first < 0, UNAVAILABLE, -(-wait // DAY_US)).astype(np.int8)
        return Availability(first, bucket)


def first_available(calendar: Calendar, now_us: int, within_us: int) -> int:
    """Return the first instant in [now, now + within] at which somebody works, -1 if there is none."""
    intervals = working_intervals(calendar, now_us, now_us + within_us + 1)
    return int(intervals[0, 0]) if len(intervals) else -1
