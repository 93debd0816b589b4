"""What a write of sellers, calendars and absences is refused for."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import duration_pb2
from google.type import date_pb2

from reallot.v1 import seller_pb2, seller_service_pb2
from support.api import a_seller_row, instant, office_hours, refusal
from support.services import Api

Row = seller_service_pb2.SellerUpsert


def with_exception(**parts: Any) -> seller_pb2.Calendar:
    calendar = office_hours()
    calendar.exceptions.add(**parts)
    return calendar


def with_windows(*windows: dict[str, Any]) -> Row:
    parts = [{"count": 1, "duration": duration_pb2.Duration(seconds=60)} | window for window in windows]
    return a_seller_row(capacity=seller_pb2.Capacity(windows=[seller_pb2.CapacityWindow(**part) for part in parts]))


FAULTS: dict[str, tuple[Callable[[], Row], str, str]] = {
    "empty id": (lambda: a_seller_row(""), "seller.seller_id", "INVALID_ID"),
    "control character": (lambda: a_seller_row("a\tb"), "seller.seller_id", "INVALID_ID"),
    "long id": (lambda: a_seller_row("x" * 201), "seller.seller_id", "INVALID_ID"),
    "long name": (lambda: a_seller_row(display_name="x" * 501), "seller.display_name", "INVALID_FIELD"),
    "priority": (lambda: a_seller_row(priority=-1), "seller.priority", "INVALID_FIELD"),
    "weight": (lambda: a_seller_row(weight=0), "seller.weight", "INVALID_FIELD"),
    "undeclared attribute": (lambda: a_seller_row(attributes={"town": "x"}), "seller.attributes.town", "UNKNOWN_FIELD"),
    "attribute that is there already": (lambda: a_seller_row(attributes={"teams": ["x"]}), "seller.attributes.teams", "UNKNOWN_FIELD"),
    "attribute of another type": (lambda: a_seller_row(attributes={"country": 5}), "seller.attributes.country", "WRONG_TYPE"),
    "attribute that is no number": (lambda: a_seller_row(attributes={"country": math.nan}), "seller.attributes.country", "WRONG_TYPE"),
    "grade": (lambda: a_seller_row(skills={"big": 11}), "seller.skills.big", "INVALID_FIELD"),
    "name of a skill": (lambda: a_seller_row(skills={"Big Deals": 5}), "seller.skills.Big Deals", "INVALID_ID"),
    "unknown team": (lambda: a_seller_row(team_ids=["field", "none"]), "seller.team_ids[1]", "UNKNOWN_REFERENCE"),
    "negative capacity": (lambda: a_seller_row(capacity=seller_pb2.Capacity(total=-1)), "seller.capacity.total", "INVALID_FIELD"),
    "negative capacity in a segment": (
        lambda: a_seller_row(capacity=seller_pb2.Capacity(by_segment={"big": -1})),
        "seller.capacity.by_segment.big",
        "INVALID_FIELD",
    ),
    "capacity for an unknown type": (
        lambda: a_seller_row(capacity=seller_pb2.Capacity(by_record_type={"none": 1})),
        "seller.capacity.by_record_type.none",
        "UNKNOWN_REFERENCE",
    ),
    "negative window": (lambda: with_windows({"count": -1}), "seller.capacity.windows[0].count", "INVALID_FIELD"),
    "window of no length": (
        lambda: with_windows({}, {"duration": duration_pb2.Duration()}),
        "seller.capacity.windows[1].duration",
        "INVALID_FIELD",
    ),
    "window longer than a year": (
        lambda: with_windows({"duration": duration_pb2.Duration(seconds=367 * 86_400)}),
        "seller.capacity.windows[0].duration",
        "INVALID_FIELD",
    ),
    "window of an unknown segment": (
        lambda: with_windows({"segment_id": "none"}),
        "seller.capacity.windows[0].segment_id",
        "UNKNOWN_REFERENCE",
    ),
    "window of another type than its segment": (
        lambda: with_windows({"segment_id": "big", "record_type": "account"}),
        "seller.capacity.windows[0].record_type",
        "INVALID_FIELD",
    ),
    "the same window twice": (lambda: with_windows({}, {"count": 2}), "seller.capacity.windows[1]", "INVALID_FIELD"),
    "hours end before they start": (
        lambda: a_seller_row(calendar=office_hours(start=600, end=540)),
        "seller.calendar.weekly[0]",
        "INVALID_CALENDAR",
    ),
    "hours beyond the day": (
        lambda: a_seller_row(calendar=office_hours(days=[1], end=1441)),
        "seller.calendar.weekly[0]",
        "INVALID_CALENDAR",
    ),
    "no day of the week": (lambda: a_seller_row(calendar=office_hours(days=[0])), "seller.calendar.weekly[0]", "INVALID_CALENDAR"),
    "hours overlap": (lambda: a_seller_row(calendar=office_hours(days=[1, 1])), "seller.calendar.weekly", "INVALID_CALENDAR"),
    "unknown time zone": (lambda: a_seller_row(calendar=office_hours("Mars/Olympus")), "seller.calendar.time_zone", "INVALID_CALENDAR"),
    "no time zone": (lambda: a_seller_row(calendar=office_hours("")), "seller.calendar.time_zone", "INVALID_CALENDAR"),
    "time zone that is a path": (lambda: a_seller_row(calendar=office_hours("../UTC")), "seller.calendar.time_zone", "INVALID_CALENDAR"),
    "holidays of no country": (
        lambda: a_seller_row(calendar=seller_pb2.Calendar(time_zone="UTC", holiday_country="Germany")),
        "seller.calendar.holiday_country",
        "INVALID_CALENDAR",
    ),
    "holidays of no region": (
        lambda: a_seller_row(calendar=seller_pb2.Calendar(time_zone="UTC", holiday_country="DE", holiday_region="CA")),
        "seller.calendar.holiday_region",
        "INVALID_CALENDAR",
    ),
    "region without its country": (
        lambda: a_seller_row(calendar=seller_pb2.Calendar(time_zone="UTC", holiday_region="BY")),
        "seller.calendar.holiday_country",
        "INVALID_CALENDAR",
    ),
    "no date": (
        lambda: a_seller_row(calendar=with_exception(date=date_pb2.Date(year=2026, month=2, day=30))),
        "seller.calendar.exceptions[0].date",
        "INVALID_CALENDAR",
    ),
    "hours of a date": (
        lambda: a_seller_row(
            calendar=with_exception(
                date=date_pb2.Date(year=2026, month=2, day=3), hours=[seller_pb2.WeeklyHours(start_minute=9, end_minute=9)]
            )
        ),
        "seller.calendar.exceptions[0].hours[0]",
        "INVALID_CALENDAR",
    ),
    "turn of an unknown type": (
        lambda: a_seller_row(last_assigned={"none": seller_pb2.LastAssigned(order=1)}),
        "seller.last_assigned.none",
        "UNKNOWN_RECORD_TYPE",
    ),
    "negative turn": (
        lambda: a_seller_row(last_assigned={"lead": seller_pb2.LastAssigned(order=-1)}),
        "seller.last_assigned.lead.order",
        "INVALID_FIELD",
    ),
    "unknown mask path": (lambda: a_seller_row(mask=["load"]), "update_mask", "UNKNOWN_MASK_PATH"),
    "undeclared attribute in the mask": (lambda: a_seller_row(mask=["attributes.town"]), "update_mask", "UNKNOWN_MASK_PATH"),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_is_named_and_nobody_is_stored(api: Api, name: str) -> None:
    make, field, reason = FAULTS[name]
    found = await refusal(api.hire(a_seller_row("fine"), make()))
    assert (found.code, found.reason, found.fields[0]) == ("INVALID_ARGUMENT", reason, f"sellers[1].{field}")
    assert api.read(lambda tx: tx.sellers.get("default")) == {}


UNSERVED: dict[str, Callable[[], Row]] = {
    "ramp-up": lambda: a_seller_row(ramp_up=duration_pb2.Duration(seconds=60)),
}


@pytest.mark.parametrize("name", UNSERVED)
async def test_what_would_decide_nothing_is_refused(api: Api, name: str) -> None:
    found = await refusal(api.hire(UNSERVED[name]()))
    assert (found.code, found.reason) == ("UNIMPLEMENTED", "NOT_IMPLEMENTED")
    assert name in found.metadata["feature"]


@pytest.mark.parametrize("rows", [0, 1_001])
async def test_a_batch_has_between_one_and_a_thousand_rows(api: Api, rows: int) -> None:
    found = await refusal(api.hire(*(a_seller_row(f"s{i}") for i in range(rows))))
    assert found.fields == ("sellers",)


def absence(**parts: Any) -> seller_pb2.TimeOff:
    usual: dict[str, Any] = {"time_off_id": "trip", "start_time": instant("2026-03-02"), "end_time": instant("2026-03-03")}
    return seller_pb2.TimeOff(**usual | parts)


@pytest.mark.parametrize(
    ("time_off", "field"),
    [
        (absence(end_time=instant("2026-03-02")), "time_off.end_time"),
        (absence(time_off_id=""), "time_off.time_off_id"),
        (absence(end_time={"seconds": 10**14}), "time_off.end_time"),
    ],
)
async def test_a_faulty_absence_is_refused(api: Api, time_off: seller_pb2.TimeOff, field: str) -> None:
    await api.hire(a_seller_row())
    request = seller_service_pb2.AddTimeOffRequest(seller_ids=["ann"], time_off=time_off)
    assert (await refusal(api.sellers.AddTimeOff(request))).fields == (field,)


async def test_an_absence_is_for_all_or_nobody(api: Api) -> None:
    await api.hire(a_seller_row())
    request = seller_service_pb2.AddTimeOffRequest(seller_ids=["ann", "none"], time_off=absence())
    assert (await refusal(api.sellers.AddTimeOff(request))).reason == "SELLER_NOT_FOUND"
    assert api.read(lambda tx: tx.sellers.time_off("default", 0)) == []


async def test_a_faulty_calendar_cannot_be_set(api: Api) -> None:
    await api.hire(a_seller_row())
    request = seller_service_pb2.SetCalendarRequest(seller_ids=["ann"], calendar=office_hours("Nowhere"))
    assert (await refusal(api.sellers.SetCalendar(request))).fields == ("calendar.time_zone",)


@pytest.mark.parametrize(
    ("parts", "field"), [({"days": 32}, "days"), ({"days": -1}, "days"), ({"start_time": {"seconds": 10**11}}, "start_time")]
)
async def test_availability_is_shown_within_reason(api: Api, parts: dict[str, Any], field: str) -> None:
    await api.hire(a_seller_row())
    request = seller_service_pb2.GetAvailabilityRequest(seller_id="ann", **parts)
    assert (await refusal(api.sellers.GetAvailability(request))).fields == (field,)
