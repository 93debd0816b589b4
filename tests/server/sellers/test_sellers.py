"""Sellers: what is written, what comes back, and what asks for waiting records to be tried again."""

import pytest
from google.type import date_pb2

from reallot.v1 import seller_pb2, seller_service_pb2
from support.api import a_row, a_seller_row, instant, office_hours, refusal, resource, seller_owner, value
from support.services import Api

NINE, FIVE = instant("2026-03-02T08:00"), instant("2026-03-02T16:00")


async def get(api: Api, seller_id: str = "ann") -> seller_pb2.Seller:
    return await api.sellers.GetSeller(seller_service_pb2.GetSellerRequest(seller_id=seller_id))


async def test_a_new_seller_has_the_documented_defaults(api: Api) -> None:
    (result,) = await api.hire(a_seller_row())
    found = await get(api)
    assert (result.created, result.etag, found.etag) == (True, "1", "1")
    assert (found.priority, found.assignable, found.roles_ok, found.weight, found.free) == (50, True, True, 1, 1_000)
    assert not found.HasField("calendar")


async def test_what_is_written_comes_back(api: Api) -> None:
    row = a_seller_row(
        attributes={"country": "DE", "languages": ["de", "en"]},
        skills={"big": 7},
        team_ids=["field"],
        display_name="Ann",
        capacity=seller_pb2.Capacity(total=0, by_record_type={"lead": 3}, by_segment={"big": 2}),
        calendar=office_hours(),
    )
    await api.hire(row)
    found = await get(api)
    for name in ("attributes", "skills", "team_ids", "display_name", "capacity", "calendar"):
        assert getattr(found, name) == getattr(row.seller, name), name


async def test_what_is_left_out_stays(api: Api) -> None:
    await api.hire(a_seller_row(attributes={"country": "DE"}, skills={"big": 7, "small": 2}, team_ids=["field"], priority=70))
    await api.hire(a_seller_row(attributes={"languages": ["de"]}, skills={"small": 0}))
    found = await get(api)
    assert (dict(found.skills), list(found.team_ids), found.priority) == ({"big": 7}, ["field"], 70)
    assert set(found.attributes) == {"country", "languages"}


async def test_a_mask_limits_and_empties(api: Api) -> None:
    await api.hire(a_seller_row(attributes={"country": "DE", "languages": ["de"]}, skills={"big": 7, "small": 2}, priority=70))
    await api.hire(a_seller_row(attributes={"country": "FR"}, priority=90, mask=["attributes", "skills.big"]))
    found = await get(api)
    assert (dict(found.attributes), dict(found.skills), found.priority) == ({"country": value("FR")}, {"small": 2}, 70)


async def test_a_star_replaces_the_whole_seller(api: Api) -> None:
    await api.hire(a_seller_row(attributes={"country": "DE"}, skills={"big": 7}, team_ids=["field"], calendar=office_hours()))
    await api.hire(a_seller_row(mask=["*"]))
    found = await get(api)
    assert (dict(found.attributes), dict(found.skills), list(found.team_ids), found.HasField("calendar")) == ({}, {}, [], False)


async def test_an_equal_row_changes_nothing(api: Api) -> None:
    await api.hire(a_seller_row(skills={"big": 7}))
    (result,) = await api.hire(a_seller_row(skills={"big": 7}))
    assert (result.unchanged, result.etag) == (True, "1")


async def test_all_or_none(api: Api) -> None:
    await refusal(api.hire(a_seller_row("ann"), a_seller_row("ben", priority=101)))
    assert (await refusal(get(api))).reason == "SELLER_NOT_FOUND"


async def test_validate_only_stores_nothing(api: Api) -> None:
    (result,) = await api.hire(a_seller_row(), validate_only=True)
    assert result.created
    assert (await refusal(get(api))).code == "NOT_FOUND"


async def test_a_stale_etag_aborts(api: Api) -> None:
    await api.hire(a_seller_row())
    await api.hire(a_seller_row(priority=60))
    found = await refusal(api.hire(a_seller_row(priority=70, etag="1")))
    assert (found.code, found.reason, found.metadata) == ("ABORTED", "ETAG_MISMATCH", {"seller": "ann"})


async def test_a_repeat_gets_the_first_answer(api: Api) -> None:
    first = await api.hire(a_seller_row(), request_id="once")
    assert await api.hire(a_seller_row(), request_id="once") == first


async def test_turns_come_along_with_a_new_seller_only(api: Api) -> None:
    last = {"lead": seller_pb2.LastAssigned(order=41, time=NINE)}
    await api.hire(a_seller_row(last_assigned=last))
    assert dict((await get(api)).last_assigned) == last
    assert (await refusal(api.hire(a_seller_row(last_assigned=last)))).fields == ("sellers[0].seller.last_assigned",)


async def test_new_turns_come_after_those_that_were_brought_along(api: Api) -> None:
    await api.hire(a_seller_row(last_assigned={"lead": seller_pb2.LastAssigned(order=41, time=NINE)}), a_seller_row("ben"))
    await api.upsert(a_row(owner=seller_owner("ben")))
    assert (await get(api, "ben")).last_assigned["lead"].order == 42


async def test_load_counts_the_efforts_of_active_owned_records(api: Api) -> None:
    await api.hire(a_seller_row(capacity=seller_pb2.Capacity(total=5)))
    rows = [a_row("a", effort=4, owner=seller_owner("ann")), a_row("b", effort=3, owner=seller_owner("ann"))]
    await api.upsert(*rows, a_row("shut", active=False, owner=seller_owner("ann")))
    found = await get(api)
    assert [(row.record_type, row.effort, row.records) for row in found.load] == [("lead", 7, 2)]
    assert (found.free, found.over_capacity) == (-2, True)


async def test_load_of_types_without_rules_takes_no_capacity(api: Api) -> None:
    await api.apply(resource(record_type={"record_type": "visit"}))
    await api.hire(a_seller_row(capacity=seller_pb2.Capacity(total=5)))
    await api.upsert(a_row(record_type="visit", effort=4, owner=seller_owner("ann")))
    (row,) = (await api.sellers.ListCapacity(seller_service_pb2.ListCapacityRequest())).sellers
    assert (row.maximum, row.load, row.free, row.loads[0].effort) == (5, 0, 5, 4)


async def test_a_seller_who_owns_records_stays(api: Api) -> None:
    await api.hire(a_seller_row())
    await api.upsert(a_row(owner=seller_owner("ann")))
    found = await refusal(api.sellers.DeleteSellers(seller_service_pb2.DeleteSellersRequest(seller_ids=["ann"])))
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "SELLER_OWNS_RECORDS")
    assert found.metadata == {"seller": "ann", "records": "1"}


async def test_deleted_sellers_are_gone_with_their_absences(api: Api) -> None:
    await api.hire(a_seller_row())
    await add_time_off(api, "trip")
    answer = await api.sellers.DeleteSellers(seller_service_pb2.DeleteSellersRequest(seller_ids=["ann", "none"]))
    assert answer.deleted == 1
    await api.hire(a_seller_row())
    assert list((await get(api)).time_off) == []


@pytest.mark.parametrize("size", [1, 2, 50])
async def test_pages_give_every_seller_once_by_id(api: Api, size: int) -> None:
    await api.hire(*(a_seller_row(name, team_ids=["field"] if name != "b" else []) for name in "cabd"))
    seen, token = [], ""
    while True:
        request = seller_service_pb2.ListSellersRequest(team_id="field", page_size=size, page_token=token)
        page = await api.sellers.ListSellers(request)
        seen += [s.seller_id for s in page.sellers]
        token = page.next_page_token
        if not token:
            break
    assert seen == ["a", "c", "d"]


async def test_a_page_token_serves_its_own_filter(api: Api) -> None:
    await api.hire(a_seller_row("a"), a_seller_row("b"))
    page = await api.sellers.ListSellers(seller_service_pb2.ListSellersRequest(page_size=1))
    other = seller_service_pb2.ListSellersRequest(team_id="field", page_token=page.next_page_token)
    assert (await refusal(api.sellers.ListSellers(other))).reason == "PAGE_TOKEN_MISMATCH"
    capacity = seller_service_pb2.ListCapacityRequest(page_token=page.next_page_token)
    assert (await refusal(api.sellers.ListCapacity(capacity))).reason == "PAGE_TOKEN_MISMATCH"


async def add_time_off(api: Api, name: str, start: str = "2026-03-02T10:00", end: str = "2026-03-02T12:00") -> None:
    absence = seller_pb2.TimeOff(time_off_id=name, start_time=instant(start), end_time=instant(end))
    await api.sellers.AddTimeOff(seller_service_pb2.AddTimeOffRequest(seller_ids=["ann"], time_off=absence))


async def availability(api: Api, **parts: object) -> seller_service_pb2.GetAvailabilityResponse:
    return await api.sellers.GetAvailability(seller_service_pb2.GetAvailabilityRequest(seller_id="ann", **parts))  # type: ignore[arg-type]


async def test_availability_is_working_time_less_absences(api: Api) -> None:
    await api.hire(a_seller_row(calendar=office_hours()))
    await add_time_off(api, "trip")
    found = await availability(api, days=1)
    assert (found.time_zone, found.available_now) == ("Europe/Berlin", True)
    assert [(w.start_time.ToJsonString()[11:16], w.end_time.ToJsonString()[11:16]) for w in found.working] == [
        ("08:00", "10:00"),
        ("12:00", "16:00"),
    ]


async def test_an_exception_replaces_the_hours_of_its_day(api: Api) -> None:
    calendar = office_hours()
    calendar.exceptions.add(date=date_pb2.Date(year=2026, month=3, day=2))
    await api.hire(a_seller_row(calendar=calendar))
    found = await availability(api, days=1)
    assert (found.available_now, list(found.working)) == (False, [])
    assert found.next_available_time == instant("2026-03-03T08:00")


async def test_whoever_has_no_calendar_is_always_there(api: Api) -> None:
    await api.hire(a_seller_row())
    found = await availability(api)
    assert found.available_now
    assert len(found.working) == 1


async def test_a_calendar_is_set_for_many(api: Api) -> None:
    await api.hire(a_seller_row("ann"), a_seller_row("ben"))
    request = seller_service_pb2.SetCalendarRequest(seller_ids=["ann", "ben", "ann"], calendar=office_hours("Asia/Tokyo"))
    await api.sellers.SetCalendar(request)
    assert [(await get(api, name)).calendar.time_zone for name in ("ann", "ben")] == ["Asia/Tokyo"] * 2


async def test_an_absence_with_the_same_id_replaces_the_other(api: Api) -> None:
    await api.hire(a_seller_row())
    await add_time_off(api, "trip")
    await add_time_off(api, "trip", end="2026-03-02T11:00")
    assert [t.end_time for t in (await get(api)).time_off] == [instant("2026-03-02T11:00")]


async def test_removing_absences_passes_over_unknown_ones(api: Api) -> None:
    await api.hire(a_seller_row())
    await add_time_off(api, "trip")
    request = seller_service_pb2.RemoveTimeOffRequest(seller_id="ann", time_off_ids=["trip", "none"])
    assert (await api.sellers.RemoveTimeOff(request)).removed == 1
    assert "SELLER_AVAILABLE" in api.reruns()


RERUNS = {
    "a new seller": ({}, None, {"SELLER_JOINED"}),
    "a new seller who is switched off": ({"assignable": False}, None, set()),
    "switched on": ({"assignable": False}, {"assignable": True}, {"SELLER_JOINED"}),
    "switched off": ({}, {"assignable": False}, set()),
    "another name": ({}, {"display_name": "Ann"}, set()),
    "another skill": ({}, {"skills": {"big": 5}}, {"SELLER_JOINED"}),
    "more room": ({"capacity": seller_pb2.Capacity(total=1)}, {"capacity": seller_pb2.Capacity(total=2)}, {"CAPACITY_FREED"}),
    "less room": ({}, {"capacity": seller_pb2.Capacity(total=2)}, set()),
    "no maximum of a segment any more": (
        {"capacity": seller_pb2.Capacity(by_segment={"big": 1})},
        {"capacity": seller_pb2.Capacity(by_segment={"rest": 1})},
        {"CAPACITY_FREED"},
    ),
    "other hours": ({}, {"calendar": office_hours()}, {"SELLER_AVAILABLE"}),
}


@pytest.mark.parametrize("name", RERUNS)
async def test_waiting_records_are_tried_again_when_a_seller_may_help(api: Api, name: str) -> None:
    first, then, causes = RERUNS[name]
    if then is not None:
        await api.hire(a_seller_row(**first))
        api.runtime.db.write("default", lambda tx: tx.reruns.take("default"))
    await api.hire(a_seller_row(**(first if then is None else then)))
    assert api.reruns() == causes


async def test_nobody_who_does_not_exist_retires(api: Api) -> None:
    found = await refusal(api.sellers.RetireSeller(seller_service_pb2.RetireSellerRequest(seller_id="ann")))
    assert found.code == "NOT_FOUND"
