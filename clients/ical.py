"""Absences out of an iCalendar file."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import icalendar
import recurring_ical_events

from reallot.clients.values import timestamp
from reallot.v1 import seller_pb2

_LONGEST_NOTE = 200
_FREE = ("TRANSPARENT",)


class IcalError(ValueError):
    """A text that is no iCalendar file."""


def absences(text: str, zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[seller_pb2.TimeOff]:
    """Yield every event between two instants that keeps somebody away: each occurrence of a series, whole days in `zone`.

    Events that leave the time free (TRANSP:TRANSPARENT) or are cancelled are passed over. Ids depend on the event and its
    occurrence alone, so that importing a file again changes nothing.

    Raises:
        IcalError: the text cannot be read.
    """
    try:
        calendar = icalendar.Calendar.from_ical(text)
        found = recurring_ical_events.of(calendar).between(start, end)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise IcalError(f"no iCalendar file: {error}") from None
    for event in sorted(found, key=lambda e: (_instant(e.start, zone), str(e.get("UID", "")))):
        if str(event.get("TRANSP", "")).upper() in _FREE or str(event.get("STATUS", "")).upper() == "CANCELLED":
            continue
        begins, ends = _instant(event.start, zone), _instant(event.end, zone)
        if ends > begins:
            yield seller_pb2.TimeOff(
                time_off_id=_id(event, begins),
                start_time=timestamp(begins),
                end_time=timestamp(ends),
                note=str(event.get("SUMMARY", ""))[:_LONGEST_NOTE],
            )


def _instant(moment: date | datetime, zone: ZoneInfo) -> datetime:
    """Return the instant of a date (its midnight) or of a time; one that floats is read in `zone`."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).astimezone(UTC)


def _id(event: Any, begins: datetime) -> str:
    # What has no id of its own is known by its remark.
    name = str(event.get("UID") or event.get("SUMMARY", ""))
    return f"ical-{hashlib.sha256(f'{name}/{begins.isoformat()}'.encode()).hexdigest()[:20]}"
