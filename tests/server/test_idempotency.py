"""Requests that are safe to repeat."""

import asyncio

from reallot.v1 import record_service_pb2
from support.api import a_row, a_segment, refusal, resource
from support.services import Api

DAY_US = 24 * 3_600 * 1_000_000


async def test_the_same_request_twice_at_once_is_carried_out_once(api: Api) -> None:
    first, second = await asyncio.gather(*(api.upsert(a_row(), request_id="once") for _ in range(2)))
    assert first == second
    assert (first[0].created, api.stored().version, api.kinds()) == (True, 1, ["CREATED"])


async def test_a_request_id_serves_one_method(api: Api) -> None:
    await api.upsert(a_row(), request_id="once")
    request = record_service_pb2.DeleteRecordsRequest(record_ids=["r1"], request_id="once")
    assert (await refusal(api.records.DeleteRecords(request))).reason == "REQUEST_ID_REUSED"
    assert api.stored() is not None


async def test_workspaces_have_request_ids_of_their_own(api: Api) -> None:
    await api.apply(resource(team={"team_id": "a"}), request_id="once")
    answer = await api.apply(resource(team={"team_id": "b"}), request_id="once", workspace="other")
    assert [change.id for change in answer.changes] == ["b"]


async def test_a_refused_request_may_be_sent_again_once_it_is_mended(api: Api) -> None:
    await refusal(api.upsert(a_row(priority=500), request_id="once"))
    assert (await api.upsert(a_row(priority=50), request_id="once"))[0].created


async def test_an_answer_is_kept_for_a_day(api: Api) -> None:
    row = a_row(fields={"note": "x"})
    await api.upsert(row, request_id="once")
    await api.clock.set(api.clock.now_us() + DAY_US)
    assert (await api.upsert(row, request_id="once"))[0].created
    await api.clock.set(api.clock.now_us() + 1)
    assert not (await api.upsert(row, request_id="once"))[0].created


async def test_bundles_that_cross_are_both_held_to_what_results(api: Api) -> None:
    segments = [resource(segment=a_segment(name, 5, condition="record.hot")) for name in ("one", "two")]
    answers = await asyncio.gather(*(api.apply(segment) for segment in segments), return_exceptions=True)
    assert sorted(isinstance(answer, Exception) for answer in answers) == [False, True]


async def test_two_segments_may_swap_their_priorities_in_one_bundle(api: Api) -> None:
    await api.apply(resource(segment=a_segment("next", 2, condition="record.hot")))
    swapped = [a_segment("next", 1, condition="record.hot"), a_segment("big", 2, condition="record.revenue >= 1000000.0")]
    assert len((await api.apply(*(resource(segment=s) for s in swapped))).changes) == 2
