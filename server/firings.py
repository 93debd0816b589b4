"""When schedules fire: pure functions from a recurrence and an instant to the next instants.

Cron fields are read in the schedule's time zone. A local time that the clock skips fires once, at the end of the gap; one that
comes twice fires once, the first time (fields with `*` or steps in the hour follow real time).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from reallot.solver.calendars import CalendarError, zone_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_S = 86_400
_CRON_FIELDS = ("minute", "hour", "day of month", "month", "day of week")


class RecurrenceError(ValueError):
    """A recurrence that cannot be used; the text names the faulty field."""


@dataclass(frozen=True, slots=True)
class Cron:
    """Five cron fields."""

    text: str


@dataclass(frozen=True, slots=True)
class DaysAndTimes:
    """Days of the week (0 = Monday; none = all) and minutes of the day."""

    days: tuple[int, ...]
    minutes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed distance from an anchor, which is not itself a firing. Whole days keep the local time across clock changes."""

    seconds: int
    anchor_us: int


@dataclass(frozen=True, slots=True)
class Recurrence:
    """When something fires. `start_us` and `end_us` bound the firings as [start, end); `jitter_s` delays each of them.

    Raises:
        RecurrenceError: it can never fire or cannot be read.
    """

    rule: Cron | DaysAndTimes | Every
    zone: str = "UTC"
    start_us: int | None = None
    end_us: int | None = None
    jitter_s: int = 0
    seed: str = ""
    place: ZoneInfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "place", zone_of(self.zone))
        except CalendarError as error:
            raise RecurrenceError(f"time_zone: {error}") from None
        match self.rule:
            case Cron(text):
                _check_cron(text)
            case DaysAndTimes(days, minutes):
                if not minutes:
                    raise RecurrenceError("times: at least one is needed")
                if any(not 0 <= m < 1440 for m in minutes) or any(not 0 <= d <= 6 for d in days):
                    raise RecurrenceError("days_and_times: a day or time is out of range")
            case Every(seconds, _):
                if seconds < 60:
                    raise RecurrenceError("every: the distance must be at least a minute")
        if self.start_us is not None and self.end_us is not None and self.end_us <= self.start_us:
            raise RecurrenceError("end_time: it ends before it starts")
        if self.jitter_s < 0:
            raise RecurrenceError("jitter: it cannot be negative")


def next_firing(recurrence: Recurrence, at_us: int) -> int | None:
    """Return the next firing at or after an instant, jitter included; None if there is none any more."""
    return next(firings(recurrence, at_us), None)


def firings(recurrence: Recurrence, at_us: int) -> Iterator[int]:
    """Yield all firings at or after an instant, jitter included, in order."""
    # A firing of before may be delayed into the time that is asked for.
    begin = max(at_us - recurrence.jitter_s * 1_000_000, recurrence.start_us or 0)
    for nominal in _nominal(recurrence, begin):
        if recurrence.end_us is not None and nominal >= recurrence.end_us:
            return
        fires = nominal + _delay_us(recurrence, nominal)
        if fires >= at_us:
            yield fires


def preview(recurrence: Recurrence, at_us: int, count: int) -> list[int]:
    """Return up to `count` firings at or after an instant."""
    return list(islice(firings(recurrence, at_us), count))


def local_text(recurrence: Recurrence, instant_us: int) -> str:
    """Return an instant in the schedule's time zone, for people."""
    moment = _moment(instant_us).astimezone(recurrence.place)
    return moment.strftime("%a %Y-%m-%d %H:%M %Z")


def _nominal(recurrence: Recurrence, begin_us: int) -> Iterator[int]:
    match recurrence.rule:
        case Cron(text):
            return _cron(text, recurrence.place, begin_us)
        case DaysAndTimes(days, minutes):
            return _days_and_times(days, minutes, recurrence.place, begin_us)
        case Every(seconds, anchor_us):
            return _every(seconds, anchor_us, recurrence.place, begin_us)


def _cron(text: str, place: ZoneInfo, begin_us: int) -> Iterator[int]:
    # CronSim yields strictly after its start and counts in whole minutes.
    before = _moment(begin_us - 1).astimezone(place)
    for moment in CronSim(text, before):
        instant = _instant(moment)
        if instant >= begin_us:
            yield instant


def _days_and_times(days: tuple[int, ...], minutes: tuple[int, ...], place: ZoneInfo, begin_us: int) -> Iterator[int]:
    day = _moment(begin_us).astimezone(place).date() - timedelta(days=1)
    while True:
        if not days or day.weekday() in days:
            for minute in sorted(set(minutes)):
                local = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=place)
                if (instant := _instant(_after_gap(local, place))) >= begin_us:
                    yield instant
        day += timedelta(days=1)


def _after_gap(local: datetime, place: ZoneInfo) -> datetime:
    """Return a local time, or the end of the gap that it falls into."""
    if local.astimezone(UTC).astimezone(place).replace(tzinfo=None) == local.replace(tzinfo=None):
        return local
    moment = local.astimezone(UTC).replace(second=0)
    offset = moment.astimezone(place).utcoffset()
    while (moment - timedelta(minutes=1)).astimezone(place).utcoffset() == offset:
        moment -= timedelta(minutes=1)
    return moment


def _every(seconds: int, anchor_us: int, place: ZoneInfo, begin_us: int) -> Iterator[int]:
    if seconds % _DAY_S:
        step = seconds * 1_000_000
        number = max(1, -(-(begin_us - anchor_us) // step))
        while True:
            yield anchor_us + number * step
            number += 1
    anchor = _moment(anchor_us).astimezone(place)
    days = seconds // _DAY_S
    number = max(1, (begin_us - anchor_us) // (seconds * 1_000_000) - 1)
    while True:
        instant = _instant(_after_gap(anchor + timedelta(days=days * number), place))
        if instant >= begin_us:
            yield instant
        number += 1


def _check_cron(text: str) -> None:
    parts = text.split()
    if len(parts) != len(_CRON_FIELDS):
        raise RecurrenceError(f"cron: {text!r} has {len(parts)} fields, not 5 (minute hour day-of-month month day-of-week)")
    for position, (part, name) in enumerate(zip(parts, _CRON_FIELDS, strict=True)):
        single = ["*"] * len(_CRON_FIELDS)
        single[position] = part
        try:
            CronSim(" ".join(single), _EPOCH)
        except CronSimError:
            raise RecurrenceError(f"cron: {part!r} is no {name} (field {position + 1})") from None
    try:
        next(CronSim(text, _EPOCH))
    except (CronSimError, StopIteration):
        raise RecurrenceError(f"cron: {text!r} never fires") from None


def _delay_us(recurrence: Recurrence, nominal_us: int) -> int:
    if not recurrence.jitter_s:
        return 0
    digest = hashlib.sha256(f"{recurrence.seed}/{nominal_us}".encode()).digest()
    return int.from_bytes(digest[:8]) % (recurrence.jitter_s + 1) * 1_000_000


def _moment(instant_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=instant_us)


def _instant(moment: datetime) -> int:
    return (moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
