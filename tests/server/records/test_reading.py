"""Listing, importing and deleting records."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from reallot.v1 import record_pb2, record_service_pb2, seller_pb2
from support.api import a_row, a_seller_row, refusal, resource, seller_owner
from support.services import Api

List = record_service_pb2.ListRecordsRequest


async def ids(api: Api, **parts: object) -> list[str]:
    seen, token = [], ""
    while True:
        page = await api.records.ListRecords(List(**parts, page_token=token))  # type: ignore[arg-type]
        seen += [r.record_id for r in page.records]
        token = page.next_page_token
        if not token:
            return seen


@pytest.fixture
async def filled(api: Api) -> Api:
    await api.hire(a_seller_row("ann"))
    rows = [a_row(f"r{i}", {"revenue": float(i), "country": "DE" if i % 2 else "FR"}) for i in range(6)]
    await api.upsert(*rows, a_row("account-1", record_type="account"), a_row("shut", active=False), a_row("own", owner=seller_owner("ann")))
    return api


@pytest.mark.parametrize("size", [1, 2, 4, 100])
async def test_pages_give_every_record_once_by_id(filled: Api, size: int) -> None:
    assert await ids(filled, page_size=size) == ["account-1", "own", "r0", "r1", "r2", "r3", "r4", "r5", "shut"]


async def test_filters_restrict(filled: Api) -> None:
    assert await ids(filled, record_type="account") == ["account-1"]
    assert await ids(filled, active=False) == ["shut"]
    assert await ids(filled, owner=seller_owner("ann")) == ["own"]
    assert "own" not in await ids(filled, unowned=True)
    assert await ids(filled, segment_ids=["big"]) == []


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_a_condition_filters_the_rest(filled: Api, size: int) -> None:
    condition = 'record.country == "DE" && record.revenue >= 3.0'
    assert await ids(filled, record_type="lead", filter=condition, page_size=size) == ["r3", "r5"]


async def test_a_page_token_serves_its_own_filter(filled: Api) -> None:
    page = await filled.records.ListRecords(List(page_size=1))
    found = await refusal(filled.records.ListRecords(List(record_type="lead", page_token=page.next_page_token)))
    assert (found.code, found.reason, found.fields) == ("INVALID_ARGUMENT", "PAGE_TOKEN_MISMATCH", ("page_token",))


async def test_a_page_token_serves_its_own_workspace(filled: Api) -> None:
    page = await filled.records.ListRecords(List(page_size=1))
    found = await refusal(filled.records.ListRecords(List(workspace="other", page_token=page.next_page_token)))
    assert found.reason == "PAGE_TOKEN_MISMATCH"


async def delete(api: Api, *record_ids: str, request_id: str = "") -> int:
    answer = await api.records.DeleteRecords(record_service_pb2.DeleteRecordsRequest(record_ids=record_ids, request_id=request_id))
    return int(answer.deleted)


async def test_deleting_passes_over_what_is_not_there(filled: Api) -> None:
    assert await delete(filled, "r1", "none", "r1") == 1
    assert filled.stored("r1") is None
    assert filled.kinds()[-1] == "DELETED"
    assert "r1" not in filled.marks()


async def test_deleting_an_owned_record_gives_room(filled: Api) -> None:
    await delete(filled, "own")
    assert filled.read(lambda tx: tx.sellers.loads("default")) == []
    assert "CAPACITY_FREED" in filled.reruns()


async def test_a_repeated_delete_is_answered_alike(filled: Api) -> None:
    assert [await delete(filled, "r1", request_id="once") for _ in range(2)] == [1, 1]


async def batches(*parts: record_service_pb2.ImportRecordsRequest) -> AsyncIterator[record_service_pb2.ImportRecordsRequest]:
    for part in parts:
        yield part


def batch(*rows: record_service_pb2.RecordUpsert, **parts: object) -> record_service_pb2.ImportRecordsRequest:
    return record_service_pb2.ImportRecordsRequest(records=rows, **parts)  # type: ignore[arg-type]


async def test_an_import_counts_what_it_did(api: Api) -> None:
    await api.upsert(a_row("same", {"note": "x"}), a_row("other", {"note": "x"}))
    rows = [a_row("same", {"note": "x"}), a_row("other", {"note": "y"}), a_row("stale", etag="3")]
    answer = await api.records.ImportRecords(batches(batch(a_row("new")), batch(*rows)))
    assert (answer.created, answer.updated, answer.unchanged) == (1, 1, 1)
    assert [c.record_id for c in answer.conflicts] == ["stale"]


async def test_an_import_is_quiet_unless_it_is_live(api: Api) -> None:
    await api.records.ImportRecords(batches(batch(a_row("quiet"))))
    await api.records.ImportRecords(batches(batch(a_row("live"), live=True)))
    assert {i: m.cause["quiet"] for i, m in api.marks().items()} == {"quiet": True, "live": False}


async def test_a_repeated_import_goes_on_where_it_stopped(api: Api) -> None:
    first, broken = batch(a_row("a"), request_id="once"), batch(a_row(""))
    assert (await refusal(api.records.ImportRecords(batches(first, broken)))).reason == "INVALID_ID"
    answer = await api.records.ImportRecords(batches(first, batch(a_row("b"))))
    assert answer.created == 2
    assert api.stored("a").version == api.stored("b").version == 1


async def test_less_effort_gives_room(api: Api) -> None:
    await api.hire(a_seller_row("ann", capacity=seller_pb2.Capacity(total=9)))
    await api.upsert(a_row(owner=seller_owner("ann"), effort=5))
    await api.upsert(a_row(effort=2))
    assert [load.effort for load in api.read(lambda tx: tx.sellers.loads("default"))] == [2]
    assert "CAPACITY_FREED" in api.reruns()


async def test_fields_that_are_not_declared_any_more_are_not_shown(api: Api) -> None:
    await api.apply(resource(record_type={"record_type": "visit", "fields": [{"field_id": "a", "type": "FIELD_TYPE_TEXT"}]}))
    await api.upsert(a_row("v", {"a": "x"}, record_type="visit"))
    await api.apply(resource(record_type={"record_type": "visit"}))
    found = await api.records.GetRecord(record_service_pb2.GetRecordRequest(record_id="v"))
    assert dict(found.fields) == {}


async def test_reads_at_once_are_each_answered_with_their_own_record(api: Api) -> None:
    await api.upsert(*(a_row(f"r{n}", fields={"note": f"n{n}"}) for n in range(5)))
    asked = ["r3", "missing", "r0", "r3", "r4"]
    answers = await asyncio.gather(
        *(api.records.GetRecord(record_service_pb2.GetRecordRequest(record_id=name)) for name in asked), return_exceptions=True
    )
    assert [answer.record_id for answer in answers if isinstance(answer, record_pb2.Record)] == ["r3", "r0", "r3", "r4"]
    assert isinstance(answers[1], grpc.aio.AioRpcError)
    assert answers[1].code() is grpc.StatusCode.NOT_FOUND
