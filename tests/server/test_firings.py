"""When schedules fire, in particular around clock changes."""

from datetime import UTC, datetime

import pytest

from reallot.server.firings import Cron, DaysAndTimes, Every, Recurrence, RecurrenceError, local_text, next_firing, preview


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
    ],
)
def test_impossible_cron_is_refused_with_the_field(text: str, fault: str) -> None:
    with pytest.raises(RecurrenceError, match=fault):
        Recurrence(Cron(text))


def test_unknown_zone_is_refused() -> None:
    with pytest.raises(RecurrenceError, match="time_zone"):
        Recurrence(Cron("0 6 * * *"), "Mars/Olympus")
