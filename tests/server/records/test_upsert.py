"""Storing records: what a row writes, what it changes, what it fires, and what is marked for the road."""

import pytest

from reallot.v1 import record_pb2, record_service_pb2
from support.api import EVERY_KIND, a_row, a_segment, instant, resource, value
from support.services import Api


async def get(api: Api, record_id: str = "r1") -> record_pb2.Record:
    return await api.records.GetRecord(record_service_pb2.GetRecordRequest(record_id=record_id))


async def test_every_kind_of_value_comes_back_as_it_was_sent(api: Api) -> None:
    await api.upsert(a_row(fields=EVERY_KIND))
    assert dict((await get(api)).fields) == {name: value(plain) for name, plain in EVERY_KIND.items()}


async def test_a_new_record_has_the_documented_defaults_and_waits_for_the_road(api: Api) -> None:
    (result,) = await api.upsert(a_row())
    found = await get(api)
    assert (result.created, result.etag, found.etag) == (True, "1", "1")
    assert (found.active, found.priority, found.effort, found.value_units, found.pending) == (True, 50, 1, 0, True)
    assert found.created_time == found.create_time == found.waiting_since_time == instant("2026-03-02T08:00")


async def test_a_whole_number_is_a_decimal_too(api: Api) -> None:
    await api.upsert(a_row(fields={"revenue": 7}))
    assert (await get(api)).fields["revenue"] == value(7.0)


async def test_what_is_left_out_stays_and_an_empty_value_is_null(api: Api) -> None:
    await api.upsert(a_row(fields={"country": "DE", "note": "x"}, priority=80))
    (result,) = await api.upsert(a_row(fields={"note": None}))
    assert list(result.changed_fields) == ["note"]
    assert (api.stored().fields, api.stored().priority) == ({"country": "DE"}, 80)


async def test_a_mask_limits_what_is_written(api: Api) -> None:
    await api.upsert(a_row(fields={"country": "DE", "note": "x"}))
    await api.upsert(a_row(fields={"country": "FR", "note": "y"}, priority=90, mask=["fields.note"]))
    assert (api.stored().fields, api.stored().priority) == ({"country": "DE", "note": "y"}, 50)


async def test_what_a_mask_names_and_the_record_lacks_becomes_empty(api: Api) -> None:
    await api.upsert(a_row(fields={"country": "DE", "note": "x"}, priority=90, related={"account": "a1"}))
    await api.upsert(a_row(mask=["fields.note", "priority", "related.account"]))
    found = api.stored()
    assert (found.fields, found.priority, found.related) == ({"country": "DE"}, 50, {})


async def test_a_star_replaces_the_whole_record(api: Api) -> None:
    await api.upsert(a_row(fields={"country": "DE", "note": "x"}, effort=5, related={"account": "a1"}))
    await api.upsert(a_row(fields={"country": "FR"}, mask=["*"]))
    found = api.stored()
    assert (found.fields, found.effort, found.related) == ({"country": "FR"}, 1, {})


async def test_an_equal_row_changes_fires_and_tells_nothing(api: Api) -> None:
    await api.upsert(a_row(fields={"country": "DE", "hot": True}, priority=70))
    told = api.kinds()
    (result,) = await api.upsert(a_row(fields={"country": "DE", "hot": True}, priority=70))
    assert (list(result.changed_fields), list(result.fired), result.etag) == ([], [], "1")
    assert (api.kinds(), api.marks()["r1"].generation) == (told, 1)


async def test_a_field_of_a_segments_condition_is_a_trigger(api: Api) -> None:
    await api.upsert(a_row(fields={"revenue": 5.0}))
    (result,) = await api.upsert(a_row(fields={"revenue": 6.0}))
    assert list(result.fired) == ["implied:revenue"]
    assert api.marks()["r1"].cause["triggers"] == ["implied:revenue"]


@pytest.mark.parametrize(("before", "after", "fires"), [(False, True, True), (True, False, False), (None, True, True), (True, None, False)])
async def test_an_explicit_trigger_looks_at_the_new_value(api: Api, before: object, after: object, fires: bool) -> None:
    await api.upsert(a_row(fields={"hot": before}))
    (result,) = await api.upsert(a_row(fields={"hot": after}))
    assert list(result.fired) == (["hotter"] if fires else [])


async def test_an_explicit_trigger_may_ask_for_the_old_value_and_a_condition(api: Api) -> None:
    trigger = {"trigger_id": "moved", "record_type": "lead", "fields": ["country"], "from": [{"text": "DE"}]}
    await api.apply(resource(trigger=trigger | {"condition": "record.revenue > 10.0"}))
    await api.upsert(a_row("small", {"country": "DE", "revenue": 5.0}), a_row("large", {"country": "DE", "revenue": 50.0}))
    await api.upsert(a_row("french", {"country": "FR", "revenue": 50.0}))
    results = await api.upsert(*(a_row(name, {"country": "ES"}) for name in ("small", "large", "french")))
    assert [list(r.fired) for r in results] == [[], ["moved"], []]


async def test_triggers_are_counted_on_inactive_records_but_mark_nothing(api: Api) -> None:
    await api.upsert(a_row(fields={"revenue": 5.0}, active=False))
    (result,) = await api.upsert(a_row(fields={"revenue": 6.0}))
    assert list(result.fired) == ["implied:revenue"]
    assert api.marks() == {}


async def test_a_paused_segment_reads_no_fields(api: Api) -> None:
    await api.apply(resource(segment=a_segment("big", 1, condition="record.revenue > 5.0", state="RESOURCE_STATE_PAUSED")))
    await api.upsert(a_row(fields={"revenue": 5.0}))
    assert list((await api.upsert(a_row(fields={"revenue": 6.0})))[0].fired) == []


async def test_closing_and_reopening_are_told(api: Api) -> None:
    await api.upsert(a_row())
    await api.upsert(a_row(active=False))
    await api.upsert(a_row(active=True))
    assert api.kinds() == ["CREATED", "CLOSED", "REOPENED"]
    assert api.stored().active


async def test_the_same_record_twice_is_written_in_order_as_one_change(api: Api) -> None:
    results = await api.upsert(a_row(fields={"revenue": 5.0}), a_row(fields={"revenue": 6.0}), a_row(fields={"revenue": 6.0}))
    assert [r.created for r in results] == [True, False, False]
    assert [list(r.fired) for r in results] == [[], ["implied:revenue"], []]
    assert {r.etag for r in results} == {"1"}
    assert api.kinds() == ["CREATED"]


async def test_a_stale_etag_is_a_conflict_of_its_row_alone(api: Api) -> None:
    await api.upsert(a_row(), a_row("r2"))
    await api.upsert(a_row(priority=60))
    stale, fine = await api.upsert(a_row(priority=70, etag="1"), a_row("r2", priority=70, etag="1"))
    assert stale.conflict.kind == record_service_pb2.CONFLICT_KIND_ETAG_MISMATCH
    assert (fine.etag, api.stored().priority, api.stored("r2").priority) == ("2", 60, 70)


async def test_an_etag_of_a_record_that_is_gone_is_a_conflict(api: Api) -> None:
    (result,) = await api.upsert(a_row(etag="4"))
    assert result.conflict.kind == record_service_pb2.CONFLICT_KIND_ETAG_MISMATCH
    assert api.stored() is None


async def test_a_repeat_is_answered_but_not_carried_out(api: Api) -> None:
    first = await api.upsert(a_row(fields={"revenue": 5.0}), request_id="once")
    await api.upsert(a_row(fields={"revenue": 9.0}))
    assert await api.upsert(a_row(fields={"revenue": 5.0}), request_id="once") == first
    assert api.stored().fields == {"revenue": 9.0}


async def test_validate_only_answers_but_stores_nothing(api: Api) -> None:
    (result,) = await api.upsert(a_row(), validate_only=True)
    assert result.created
    assert (api.stored(), api.marks(), api.events()) == (None, {}, [])


async def test_a_quiet_upsert_leaves_its_mark_quiet(api: Api) -> None:
    await api.upsert(a_row(), quiet=True)
    assert api.marks()["r1"].cause["kind"] == "IMPORTED"
    assert api.marks()["r1"].cause["quiet"]


async def test_a_loud_change_of_a_quiet_record_makes_it_loud(api: Api) -> None:
    await api.upsert(a_row(), quiet=True)
    await api.upsert(a_row(fields={"revenue": 7.0}))
    assert not api.marks()["r1"].cause["quiet"]
