"""`reallot sellers availability|hours|off|back|import-calendar`: when sellers work."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from reallot.clients import ical
from reallot.clients.model import parse_hours
from reallot.clients.terminal import DEFAULT_ADDRESS, INVALID, Address, AsJson, Workspace, connected, document, fail, out, say, table
from reallot.clients.values import moment, timestamp
from reallot.v1 import seller_pb2, seller_service_pb2

Sellers = Annotated[list[str], typer.Argument(help="One or many sellers.")]
Zone = Annotated[str, typer.Option(help="IANA time zone, e.g. Europe/Berlin.")]


def availability(
    seller: str,
    start: Annotated[str, typer.Option("--from", help="First day, e.g. 2026-03-02; default: today.")] = "",
    days: Annotated[int, typer.Option(help="Days to show, 1 to 31.")] = 7,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Show a seller's week in the seller's own time zone, day by day."""
    with connected(address, workspace) as client:
        request = seller_service_pb2.GetAvailabilityRequest(seller_id=seller, days=days)
        answer = client.stubs.sellers.GetAvailability(request)
        zone = ZoneInfo(answer.time_zone or "UTC")
        if start:
            request.start_time.CopyFrom(timestamp(_moment(start, zone)))
            answer = client.stubs.sellers.GetAvailability(request)
        if as_json:
            say(document(answer))
            return
        spans = [(moment(i.start_time).astimezone(zone), moment(i.end_time).astimezone(zone)) for i in answer.working]
        rows = list(week_of(spans, _moment(start, zone).date() if start else None))
        table(f"{seller}, {answer.time_zone or 'always available'}", ("day", "works"), rows)
        if answer.available_now:
            out.print("available now")
        elif answer.HasField("next_available_time"):
            following = moment(answer.next_available_time).astimezone(zone)
            out.print(f"not available now; next on {following:%a %Y-%m-%d %H:%M %Z}")
        else:
            out.print("not available now, nor within 30 days")


def week_of(spans: Sequence[tuple[datetime, datetime]], first: date | None = None) -> Iterator[tuple[str, str]]:
    """Yield local days and what is worked on them, e.g. ("Mon 2026-03-02", "09:00-12:00, 13:00-17:00"), days without work, too.

    Spans that go over midnight are cut there. Between `first` (default: the day of the first span) and the last span no day is left out.
    """
    by_day: dict[date, list[str]] = {}
    for start, end in spans:
        day = start.date()
        while day <= end.date():
            begins = f"{start:%H:%M}" if day == start.date() else "00:00"
            ends = f"{end:%H:%M}" if day == end.date() else "24:00"
            if (begins, ends) != ("00:00", "00:00"):
                by_day.setdefault(day, []).append(f"{begins}-{ends}")
            day += timedelta(days=1)
    if not by_day:
        return
    day = min(first or min(by_day), min(by_day))
    while day <= max(by_day):
        yield f"{day:%a %Y-%m-%d}", ", ".join(by_day.get(day, ["-"]))
        day += timedelta(days=1)


def hours(
    seller: Sellers,
    hours: Annotated[str, typer.Option(help='Working hours, e.g. "Mon-Fri 08:00-12:00, Mon-Thu 13:00-17:00".')],
    zone: Zone,
    holidays: Annotated[str, typer.Option(help="Country or country-region whose public holidays are free, e.g. DE or DE-BY.")] = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
) -> None:
    """Set the working hours of one or many sellers; what lies between the hours of a day is a break."""
    country, _, region = holidays.partition("-")
    try:
        weekly = parse_hours(hours)
    except ValueError as error:
        fail(f"--hours: {error}", INVALID)
    calendar = seller_pb2.Calendar(time_zone=zone, weekly=weekly, holiday_country=country, holiday_region=region)
    with connected(address, workspace) as client:
        client.stubs.sellers.SetCalendar(seller_service_pb2.SetCalendarRequest(seller_ids=seller, calendar=calendar))
        out.print(f"{len(seller)} set")


def off(
    seller: Sellers,
    start: Annotated[str, typer.Option("--from", help="First day or instant, e.g. 2026-03-02 or 2026-03-02T13:00.")],
    end: Annotated[str, typer.Option("--to", help="Last day, or the instant at which it ends.")],
    zone: Zone = "",
    note: Annotated[str, typer.Option(help="Remark for people.")] = "",
    name: Annotated[str, typer.Option("--id", help="Id of the absence; default: made of its start.")] = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
) -> None:
    """Note an absence of one or many sellers, of whole days or hours; without --zone in each seller's own time zone."""
    with connected(address, workspace) as client:
        for one in seller:
            place = _zone(zone) if zone else _zone_of(client, one)
            begins, ends = _moment(start, place), _moment(end, place)
            if "T" not in end:
                # The last day belongs to it.
                ends = _moment((date.fromisoformat(end) + timedelta(days=1)).isoformat(), place)
            absence = seller_pb2.TimeOff(
                time_off_id=name or f"off-{start}", start_time=timestamp(begins), end_time=timestamp(ends), note=note
            )
            client.stubs.sellers.AddTimeOff(seller_service_pb2.AddTimeOffRequest(seller_ids=[one], time_off=absence))
        out.print(f"{len(seller)} off")


def back(seller: str, time_off: list[str], address: Address = DEFAULT_ADDRESS, workspace: Workspace = "") -> None:
    """Remove absences of a seller by their ids."""
    with connected(address, workspace) as client:
        request = seller_service_pb2.RemoveTimeOffRequest(seller_id=seller, time_off_ids=time_off)
        out.print(f"{client.stubs.sellers.RemoveTimeOff(request).removed} removed")


def import_calendar(
    seller: str,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An iCalendar file (.ics).")],
    start: Annotated[str, typer.Option("--from", help="Take over what ends after this day; default: today.")] = "",
    days: Annotated[int, typer.Option(help="Days ahead to take over; series have an end there.", min=1, max=3_660)] = 366,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Take over the events of an iCalendar file as absences; the same file again changes nothing."""
    with connected(address, workspace) as client:
        zone = _zone_of(client, seller)
        begin = _moment(start, zone) if start else datetime.now(UTC)
        try:
            found = list(ical.absences(file.read_text(encoding="utf-8"), zone, begin, begin + timedelta(days=days)))
        except (ical.IcalError, UnicodeDecodeError) as error:
            fail(f"{file}: {error}", INVALID)
        for absence in found:
            client.stubs.sellers.AddTimeOff(seller_service_pb2.AddTimeOffRequest(seller_ids=[seller], time_off=absence))
            if as_json:
                say(document(absence))
        if not as_json:
            out.print(f"{len(found)} absences of {seller}")


def _zone_of(client: Any, seller: str) -> ZoneInfo:
    request = seller_service_pb2.GetSellerRequest(seller_id=seller)
    return ZoneInfo(client.stubs.sellers.GetSeller(request).calendar.time_zone or "UTC")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        fail(f"--zone {name!r} is no IANA time zone such as Europe/Berlin", INVALID)


def _moment(text: str, zone: ZoneInfo) -> datetime:
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is no day or instant: write e.g. 2026-03-02 or 2026-03-02T13:00", INVALID)
    return read if read.tzinfo is not None else read.replace(tzinfo=zone)
