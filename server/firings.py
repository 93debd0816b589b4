"""When schedules fire: pure functions from a recurrence and an instant to the next instants.

Local times are read in the schedule's time zone. One that the clock skips fires at the end of the gap; one that comes twice fires
the first time. Only a cron text whose minute or hour starts with `*` follows real time: it passes over what the clock skips and fires
again in an hour that comes twice. Firings that fall together, as 02:00 and 02:30 do at the end of a gap, are one.
"""

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from itertools import chain, islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from reallot.solver.calendars import CalendarError, zone_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_S = 86_400
_YEAR_US = 366 * _DAY_S * 1_000_000
_FIRST_US = -61_000_000_000 * 1_000_000
_LAST_US = 250_000_000_000 * 1_000_000
"""Some instants of the years 36 and 9892: between them dates can be computed with. Nothing fires beyond, nor before 1970."""
_QUIET_YEARS = 50
"""A cron text that has not fired for so long never fires: 29 February on a given day of the week comes every 40 years at least."""
LONGEST_JITTER_S = _DAY_S
LONGEST_CRON = 1_000
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
    """A fixed distance from an anchor, which is not itself a firing.

    A whole number of days keeps the local time across clock changes; every other distance is one of real time.
    """

    seconds: int
    anchor_us: int


@dataclass(frozen=True, slots=True)
class Recurrence:
    """When something fires: at instants in [start, end).

    Attributes:
        zone: IANA name of the time zone in which local times are read.
        start_us: No firing before it; None = no bound.
        end_us: No firing from it on, not even a delayed one; None = no bound.
        jitter_s: Each firing is delayed by up to so many seconds, at most a day, drawn from the seed and the firing alone.
        seed: Keeps different schedules apart.

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
        _check_rule(self.rule, self.place)
        if self.start_us is not None and self.end_us is not None and self.end_us <= self.start_us:
            raise RecurrenceError("end_time: it ends before it starts")
        if not 0 <= self.jitter_s <= LONGEST_JITTER_S:
            raise RecurrenceError(f"jitter: {self.jitter_s} s is not between 0 and {LONGEST_JITTER_S} s")


def next_firing(recurrence: Recurrence, at_us: int) -> int | None:
    """Return the next firing at or after an instant, jitter included; None if there is none any more."""
    return next(firings(recurrence, at_us), None)


def firings(recurrence: Recurrence, at_us: int) -> Iterator[int]:
    """Yield all firings at or after an instant, jitter included, in order, each once."""
    # A firing of before may be delayed into the time that is asked for.
    begin_us = max(at_us - recurrence.jitter_s * 1_000_000, recurrence.start_us or 0, 0)
    end_us = _LAST_US if recurrence.end_us is None else min(recurrence.end_us, _LAST_US)
    held: list[int] = []
    last_us = at_us - 1
    if begin_us >= end_us:
        return
    for bound_us, nominal in chain(_nominal(recurrence, begin_us), [(end_us, ())]):
        for instant in nominal:
            if begin_us <= instant < end_us:
                heapq.heappush(held, instant + _delay_us(recurrence, instant, end_us))
        # Nothing that is still to come lies before the bound: what was held until it goes out.
        while held and held[0] <= bound_us:
            if (instant := heapq.heappop(held)) > last_us:
                yield (last_us := instant)
        if bound_us >= end_us:
            return


def preview(recurrence: Recurrence, at_us: int, count: int) -> list[int]:
    """Return up to `count` firings at or after an instant."""
    return list(islice(firings(recurrence, at_us), count))


def local_text(recurrence: Recurrence, instant_us: int) -> str:
    """Return an instant in the schedule's time zone, for people."""
    moment = _moment(instant_us).astimezone(recurrence.place)
    return moment.strftime("%a %Y-%m-%d %H:%M %Z")


_Nominal = Iterator[tuple[int, tuple[int, ...]]]
"""Firings without jitter as (bound, instants at or after it), from some time before what is asked for; bounds never descend."""


def _nominal(recurrence: Recurrence, begin_us: int) -> _Nominal:
    match recurrence.rule:
        case Cron(text):
            return _cron(text, recurrence.place, begin_us)
        case DaysAndTimes(days, minutes):
            return _days_and_times(days, minutes, recurrence.place, begin_us)
        case Every(seconds, anchor_us):
            return _every(seconds, anchor_us, recurrence.place, begin_us)


def _cron(text: str, place: ZoneInfo, begin_us: int) -> _Nominal:
    real_time = any(part.startswith("*") for part in text.split()[:2])
    quiet_since_us = begin_us
    # Local times without a zone: CronSim's own way over changes of half an hour loses firings or never ends.
    for local in CronSim(text, _local_before(place, begin_us)):
        first, second = _readings(local, place)
        skipped = first > second
        bound_us = _resolved(local, place) if skipped else first
        if bound_us - quiet_since_us > _QUIET_YEARS * _YEAR_US:
            return
        if real_time and skipped:
            continue
        quiet_since_us = bound_us
        yield bound_us, (first, second) if real_time else (bound_us,)


def _local_before(place: ZoneInfo, begin_us: int) -> datetime:
    """Return a local time before every one that is read at or after an instant, or was skipped just before it."""
    offsets = [_moment(begin_us + days * _DAY_S * 1_000_000).astimezone(place).utcoffset() or timedelta() for days in (-1, 0, 1)]
    # CronSim yields strictly after its start, in whole seconds.
    return (_moment(begin_us).astimezone(place) - (max(offsets) - min(offsets)) - timedelta(seconds=1)).replace(tzinfo=None)


def _days_and_times(days: tuple[int, ...], minutes: tuple[int, ...], place: ZoneInfo, begin_us: int) -> _Nominal:
    day = datetime.combine(_moment(begin_us).astimezone(place).date() - timedelta(days=1), time())
    while True:
        if not days or day.weekday() in days:
            for minute in sorted(set(minutes)):
                instant = _resolved(day + timedelta(minutes=minute), place)
                yield instant, (instant,)
        day += timedelta(days=1)


def _every(seconds: int, anchor_us: int, place: ZoneInfo, begin_us: int) -> _Nominal:
    step_us = seconds * 1_000_000
    # One before, because a day's local time may lie later than a number of whole days after the anchor.
    number = max(1, (begin_us - anchor_us) // step_us - 1)
    anchor = _moment(anchor_us).astimezone(place).replace(tzinfo=None)
    while (instant := anchor_us + number * step_us) < _LAST_US:
        if seconds % _DAY_S == 0:
            instant = _resolved(anchor + timedelta(seconds=number * seconds), place)
        yield instant, (instant,)
        number += 1


def _readings(local: datetime, place: ZoneInfo) -> tuple[int, int]:
    """Return the instants at which the clock shows a local time: equal; ascending if it comes twice; descending if it is skipped."""
    return _instant(local.replace(tzinfo=place, fold=0)), _instant(local.replace(tzinfo=place, fold=1))


def _resolved(local: datetime, place: ZoneInfo) -> int:
    """Return the first instant at which the clock shows a local time, or the end of the gap that it falls into."""
    after, before = _readings(local, place)
    if after <= before:
        return after
    new = _moment(after).astimezone(place).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (before, middle) if _moment(middle).astimezone(place).utcoffset() == new else (middle, after)
    return after


def _check_rule(rule: Cron | DaysAndTimes | Every, place: ZoneInfo) -> None:
    match rule:
        case Cron(text):
            _check_cron(text, place)
        case DaysAndTimes(days, minutes):
            if not minutes:
                raise RecurrenceError("times: at least one is needed")
            if any(not 0 <= m < 1440 for m in minutes) or any(not 0 <= d <= 6 for d in days):
                raise RecurrenceError("days_and_times: a day or time is out of range")
        case Every(seconds, anchor_us):
            if seconds < 60:
                raise RecurrenceError("every: the distance must be at least a minute")
            if not _FIRST_US <= anchor_us < _LAST_US - seconds * 1_000_000:
                raise RecurrenceError("every.anchor: it is too far away to count from")


def _check_cron(text: str, place: ZoneInfo) -> None:
    if len(text) > LONGEST_CRON:
        raise RecurrenceError(f"cron: it has more than {LONGEST_CRON} characters")
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
        fires = any(True for _ in _cron(text, place, 0))
    except CronSimError:
        fires = False
    if not fires:
        raise RecurrenceError(f"cron: {text!r} never fires in {place.key}")


def _delay_us(recurrence: Recurrence, nominal_us: int, end_us: int) -> int:
    """Return how much later a firing happens: the same for the same firing, never so much that it would not before the end."""
    if not recurrence.jitter_s:
        return 0
    digest = hashlib.sha256(f"{recurrence.seed}/{nominal_us}".encode()).digest()
    longest_s = min(recurrence.jitter_s, (end_us - 1 - nominal_us) // 1_000_000)
    return int.from_bytes(digest[:8]) % (longest_s + 1) * 1_000_000


def _moment(instant_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=instant_us)


def _instant(moment: datetime) -> int:
    return (moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
