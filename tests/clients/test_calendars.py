"""Weeks for people, and absences out of iCalendar files."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from reallot.clients.commands.calendars import week_of
from reallot.clients.ical import IcalError, absences

BERLIN = ZoneInfo("Europe/Berlin")
START, END = datetime(2026, 3, 23, tzinfo=UTC), datetime(2026, 4, 20, tzinfo=UTC)


def ics(*events: str) -> str:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN"]
    for event in events:
        lines += ["BEGIN:VEVENT", *event.split("|"), "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""])


def spans(text: str) -> list[tuple[str, str, str]]:
    return [
        (a.start_time.ToDatetime().isoformat(), a.end_time.ToDatetime().isoformat(), a.note) for a in absences(text, BERLIN, START, END)
    ]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


def test_breaks_and_days_without_work_are_in_the_week() -> None:
    worked = [("2026-03-05T09:00", "2026-03-05T12:00"), ("2026-03-05T13:00", "2026-03-05T17:00"), ("2026-03-07T22:00", "2026-03-08T06:00")]
    assert list(week_of([(at(a), at(b)) for a, b in worked])) == [
        ("Thu 2026-03-05", "09:00-12:00, 13:00-17:00"),
        ("Fri 2026-03-06", "-"),
        ("Sat 2026-03-07", "22:00-24:00"),
        ("Sun 2026-03-08", "00:00-06:00"),
    ]


def test_whole_days_last_from_midnight_to_midnight_at_the_sellers_place() -> None:
    # The clock is put forward on the 29th.
    text = ics("UID:1|DTSTART;VALUE=DATE:20260328|DTEND;VALUE=DATE:20260331|SUMMARY:Holiday")
    assert spans(text) == [("2026-03-27T23:00:00", "2026-03-30T22:00:00", "Holiday")]


def test_times_are_read_where_the_event_says_else_at_the_sellers_place() -> None:
    text = ics(
        "UID:1|DTSTART:20260324T090000Z|DTEND:20260324T100000Z",
        "UID:2|DTSTART;TZID=America/New_York:20260325T090000|DTEND;TZID=America/New_York:20260325T100000",
        "UID:3|DTSTART:20260326T090000|DURATION:PT1H",
    )
    assert [start for start, _, _ in spans(text)] == ["2026-03-24T09:00:00", "2026-03-25T13:00:00", "2026-03-26T08:00:00"]


def test_a_series_is_taken_over_event_by_event_but_for_what_it_leaves_out() -> None:
    text = ics(
        "UID:1|DTSTART;TZID=Europe/Berlin:20260323T090000|DTEND;TZID=Europe/Berlin:20260323T100000|RRULE:FREQ=WEEKLY"
        "|EXDATE;TZID=Europe/Berlin:20260406T090000"
    )
    assert [start for start, _, _ in spans(text)] == ["2026-03-23T08:00:00", "2026-03-30T07:00:00", "2026-04-13T07:00:00"]


@pytest.mark.parametrize("line", ["TRANSP:TRANSPARENT", "STATUS:CANCELLED"])
def test_what_leaves_the_time_free_is_no_absence(line: str) -> None:
    assert spans(ics(f"UID:1|DTSTART:20260324T090000Z|DTEND:20260324T100000Z|{line}")) == []


def test_the_same_event_has_the_same_id_and_others_have_others() -> None:
    text = ics("UID:1|DTSTART:20260324T090000Z|DURATION:PT1H|RRULE:FREQ=DAILY;COUNT=3", "UID:2|DTSTART:20260324T090000Z|DURATION:PT1H")
    first, again = ([a.time_off_id for a in absences(text, BERLIN, START, END)] for _ in range(2))
    assert first == again
    assert len(set(first)) == 4


@pytest.mark.parametrize("text", ["", "no calendar", "BEGIN:VCALENDAR"])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(IcalError):
        list(absences(text, BERLIN, START, END))
