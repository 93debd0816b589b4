"""When schedules fire, in particular around clock changes."""

from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from reallot.server.firings import Cron, DaysAndTimes, Every, Recurrence, RecurrenceError, firings, local_text, next_firing, preview
from support.cases import cases


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def shown(recurrence: Recurrence, at: str, count: int) -> list[str]:
    return [local_text(recurrence, firing) for firing in preview(recurrence, us(at), count)]


@pytest.mark.parametrize("rule", [Cron("30 2 * * *"), DaysAndTimes((), (150,))], ids=["cron", "times"])
def test_a_skipped_local_time_fires_once_after_the_gap(rule: Cron | DaysAndTimes) -> None:
    found = shown(Recurrence(rule, "Europe/Berlin"), "2026-03-28T12:00", 2)
    assert found == ["Sun 2026-03-29 03:00 CEST", "Mon 2026-03-30 02:30 CEST"]


@pytest.mark.parametrize("rule", [Cron("30 2 * * *"), DaysAndTimes((), (150,))], ids=["cron", "times"])
def test_a_repeated_local_time_fires_once(rule: Cron | DaysAndTimes) -> None:
    found = shown(Recurrence(rule, "Europe/Berlin"), "2026-10-24T12:00", 2)
    assert found == ["Sun 2026-10-25 02:30 CEST", "Mon 2026-10-26 02:30 CET"]


@pytest.mark.parametrize(
    ("day", "before", "count"),
    [("2026-03-29", "2026-03-28", 46), ("2026-10-25", "2026-10-24", 50), ("2026-05-01", "2026-04-30", 48)],
)
def test_half_hours_follow_real_time(day: str, before: str, count: int) -> None:
    recurrence = Recurrence(Cron("*/30 * * * *"), "Europe/Berlin")
    assert sum(day in text for text in shown(recurrence, f"{before}T12:00", 100)) == count


def test_weekday_mornings_and_afternoons() -> None:
    recurrence = Recurrence(DaysAndTimes((0, 1, 2, 3, 4), (360, 840)), "UTC", start_us=us("2026-03-09T00:00"))
    assert shown(recurrence, "2026-03-06T00:00", 3) == [
        "Mon 2026-03-09 06:00 UTC",
        "Mon 2026-03-09 14:00 UTC",
        "Tue 2026-03-10 06:00 UTC",
    ]


@pytest.mark.parametrize(
    ("seconds", "expected"), [(19 * 3600, "2020-11-03T05:00"), (2 * 86_400, "2020-11-04T10:00")], ids=["19 hours", "2 days"]
)
def test_a_distance_counts_from_its_anchor(seconds: int, expected: str) -> None:
    anchor = us("2020-11-02T10:00")
    assert next_firing(Recurrence(Every(seconds, anchor)), anchor) == us(expected)


def test_whole_days_keep_the_local_time() -> None:
    recurrence = Recurrence(Every(86_400, us("2026-03-27T11:00")), "Europe/Berlin")
    assert shown(recurrence, "2026-03-28T00:00", 3) == [
        "Sat 2026-03-28 12:00 CET",
        "Sun 2026-03-29 12:00 CEST",
        "Mon 2026-03-30 12:00 CEST",
    ]


@pytest.mark.parametrize(("asked", "expected"), [("2020-12-28T09:31", "2021-01-04T09:20"), ("2020-12-28T09:20", "2020-12-28T09:20")])
def test_a_firing_counts_at_its_very_minute(asked: str, expected: str) -> None:
    assert next_firing(Recurrence(Cron("20 9 * * 1")), us(asked)) == us(expected)


@pytest.mark.parametrize(
    ("zone", "expected"), [("Asia/Kathmandu", "Thu 2024-02-29 08:00 +0545"), ("Pacific/Apia", "Thu 2024-02-29 08:00 +13")]
)
def test_leap_day_in_distant_zones(zone: str, expected: str) -> None:
    assert shown(Recurrence(Cron("0 8 29 2 *"), zone), "2024-01-01T00:00", 1) == [expected]


def test_bounds_hold() -> None:
    recurrence = Recurrence(Cron("0 * * * *"), start_us=us("2026-01-01T02:30"), end_us=us("2026-01-01T05:00"))
    assert preview(recurrence, us("2026-01-01T00:00"), 9) == [us("2026-01-01T03:00"), us("2026-01-01T04:00")]


def test_jitter_delays_the_same_firing_by_the_same_time() -> None:
    plain = Recurrence(Cron("0 6 * * *"))
    jittered = Recurrence(Cron("0 6 * * *"), jitter_s=600, seed="a")
    first = next_firing(jittered, us("2026-01-01T00:00"))
    assert first is not None
    assert next_firing(jittered, first) == first
    assert 0 <= first - (next_firing(plain, us("2026-01-01T00:00")) or 0) <= 600_000_000


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("0 0 31 2 *", "never fires"),
        ("61 * * * *", "field 1"),
        ("* 25 * * *", "field 2"),
        ("* * *", "has 3 fields"),
        ("a b c d e", "field 1"),
        ("* * * * * *", "has 6 fields"),
        ("0 0 29 2-1 *", "field 4"),
        ("0 0 * * 8", "field 5"),
        (f"*/{9:05000} * * * *", "more than 1000 characters"),
    ],
)
def test_impossible_cron_is_refused_with_the_field(text: str, fault: str) -> None:
    with pytest.raises(RecurrenceError, match=fault):
        Recurrence(Cron(text))


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        ({"zone": "Mars/Olympus"}, "^time_zone"),
        ({"rule": DaysAndTimes((), ())}, "^times"),
        ({"rule": DaysAndTimes((7,), (0,))}, "^days_and_times"),
        ({"rule": DaysAndTimes((), (1440,))}, "^days_and_times"),
        ({"rule": Every(59, 0)}, "^every: "),
        ({"rule": Every(86_400, us("0001-01-01T00:00"))}, "^every.anchor"),
        ({"rule": Every(86_400, us("9999-12-31T00:00"))}, "^every.anchor"),
        ({"start_us": 5, "end_us": 5}, "^end_time"),
        ({"jitter_s": -1}, "^jitter"),
        ({"jitter_s": 86_401}, "^jitter"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_field(parts: dict[str, Any], fault: str) -> None:
    with pytest.raises(RecurrenceError, match=fault):
        Recurrence(**{"rule": Cron("0 6 * * *"), **parts})


CHANGES = [
    ("Europe/Berlin", date(2026, 3, 29)),
    ("Europe/Berlin", date(2026, 10, 25)),
    ("America/New_York", date(2026, 11, 1)),
    # At midnight, by half an hour, at a minute past midnight, and a day that never was.
    ("America/Havana", date(2026, 3, 8)),
    ("America/Santiago", date(2026, 4, 4)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("America/St_Johns", date(2010, 11, 7)),
    ("Pacific/Apia", date(2011, 12, 30)),
    ("Asia/Kathmandu", date(2026, 3, 29)),
]


def expected_firings(text: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[int]:
    """The oracle: walk over real minutes with the clock on the wall, which jumps; CronSim reads the text only."""
    cron = CronSim(text, start)
    real_time = any(field.startswith("*") for field in text.split()[:2])
    found, seen = [], (start - timedelta(days=2)).astimezone(zone).replace(tzinfo=None)
    moment = start - timedelta(days=2)
    while moment < end:
        shown = moment.astimezone(zone).replace(tzinfo=None)
        # Local minutes that became past with this minute: none again in an hour that comes twice, all of a gap at its end.
        due = [shown] if real_time else [seen + timedelta(minutes=n) for n in range(1, int((shown - seen).total_seconds()) // 60 + 1)]
        if any(d.minute in cron.minutes and d.hour in cron.hours and d.month in cron.months and cron.match_day(d.date()) for d in due):
            found.append(int(moment.timestamp()) * 1_000_000)
        seen = max(seen, shown)
        moment += timedelta(minutes=1)
    return [firing for firing in found if firing >= int(start.timestamp()) * 1_000_000]


minute_fields = st.sampled_from(["*", "*/7", "*/30", "0", "30", "0,30", "15-20", "5/20", "59"])
hour_fields = st.sampled_from(["*", "*/2", "0", "1", "2", "3", "23", "0-3", "1,2", "9,17"])
day_fields = st.sampled_from(["* * *", "* * 0", "1-15 * *", "* 3,4,10,11 *", "L * *", "* * 6,7"])


@settings(max_examples=cases(80), deadline=None)
@given(zone_and_day=st.sampled_from(CHANGES), minute=minute_fields, hour=hour_fields, days=day_fields, asked=st.integers(-1_500, 1_500))
def test_cron_follows_the_wall_clock_through_every_change(
    zone_and_day: tuple[str, date], minute: str, hour: str, days: str, asked: int
) -> None:
    zone, day = zone_and_day
    start = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(minutes=asked)
    end = start + timedelta(days=2)
    text = f"{minute} {hour} {days}"
    found = takewhile(lambda f: f < end.timestamp() * 1e6, firings(Recurrence(Cron(text), zone), int(start.timestamp()) * 1_000_000))
    assert list(found) == expected_firings(text, ZoneInfo(zone), start, end)


@pytest.mark.parametrize("rule", [Cron("0,30 2,3 * * *"), DaysAndTimes((), (120, 150, 180, 210))], ids=["cron", "times"])
def test_firings_that_fall_together_are_one(rule: Cron | DaysAndTimes) -> None:
    found = shown(Recurrence(rule, "Europe/Berlin"), "2026-03-28T12:00", 3)
    assert found == ["Sun 2026-03-29 03:00 CEST", "Sun 2026-03-29 03:30 CEST", "Mon 2026-03-30 02:00 CEST"]


recurrences = st.builds(
    Recurrence,
    st.sampled_from(
        [Cron("* * * * *"), Cron("*/30 * * * *"), Cron("30 2 * * *"), DaysAndTimes((0, 6), (150,)), Every(5_400, 0), Every(86_400, 0)]
    ),
    st.sampled_from(["Europe/Berlin", "UTC", "Australia/Lord_Howe"]),
    st.none() | st.just(us("2026-03-28T12:00")),
    st.none() | st.just(us("2026-03-29T18:00")),
    st.sampled_from([0, 90, 3_600, 7_200]),
    st.sampled_from(["a", "b"]),
)


@settings(max_examples=cases(60), deadline=None)
@given(recurrences, st.integers(0, 3_000))
def test_asking_again_after_each_firing_finds_all_of_them_in_order(recurrence: Recurrence, minutes: int) -> None:
    at = us("2026-03-28T00:00") + minutes * 60_000_000
    found = preview(recurrence, at, 40)
    assert found == sorted(set(found))
    for firing in found:
        assert next_firing(recurrence, at) == firing
        at = firing + 1


@given(st.integers(0, 86_400), st.text(max_size=5))
def test_jitter_stays_between_the_firing_and_the_end(jitter_s: int, seed: str) -> None:
    end = us("2026-01-01T06:05")
    recurrence = Recurrence(Cron("0 6 * * *"), start_us=us("2026-01-01T00:00"), end_us=end, jitter_s=jitter_s, seed=seed)
    (firing,) = preview(recurrence, us("2026-01-01T00:00"), 9)
    assert us("2026-01-01T06:00") <= firing < min(end, us("2026-01-01T06:00") + jitter_s * 1_000_000 + 1)


@pytest.mark.parametrize("rule", [Cron("0 6 * * *"), DaysAndTimes((), (360,)), Every(86_400, 0), Every(3_600, 0)])
@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Apia"])
def test_nothing_fires_at_the_end_of_time(rule: Cron | DaysAndTimes | Every, zone: str) -> None:
    assert next_firing(Recurrence(rule, zone), us("9999-12-31T23:59")) is None
    assert (next_firing(Recurrence(rule, zone, start_us=us("0001-01-01T00:00")), us("0001-01-01T00:00")) or -1) >= 0


@pytest.mark.parametrize("seconds", [86_400, 7 * 86_400])
def test_whole_days_from_a_skipped_local_time_return_to_it(seconds: int) -> None:
    recurrence = Recurrence(Every(seconds, us("2026-03-29T01:30") - seconds * 1_000_000), "Europe/Berlin")
    found = shown(recurrence, "2026-03-29T00:00", 2)
    assert found[0] == "Sun 2026-03-29 03:00 CEST"
    assert found[1].endswith("02:30 CEST")
