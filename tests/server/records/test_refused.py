"""What a write of records is refused for: every faulty field is named, and nothing is stored."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import timestamp_pb2

from reallot.v1 import record_service_pb2, value_pb2
from support.api import a_row, a_seller_row, refusal, resource, value
from support.services import Api

Row = record_service_pb2.RecordUpsert
FAR = timestamp_pb2.Timestamp(seconds=10**14)

FAULTS: dict[str, tuple[Callable[[], Row], str, str]] = {
    "unknown type": (lambda: a_row(record_type="none"), "record.record_type", "UNKNOWN_RECORD_TYPE"),
    "no type": (lambda: a_row(record_type=""), "record.record_type", "UNKNOWN_RECORD_TYPE"),
    "unknown field": (lambda: a_row(fields={"revenu": 1.0}), "record.fields.revenu", "UNKNOWN_FIELD"),
    "text for a number": (lambda: a_row(fields={"revenue": "much"}), "record.fields.revenue", "WRONG_TYPE"),
    "decimal for a whole number": (lambda: a_row(fields={"employees": 1.0}), "record.fields.employees", "WRONG_TYPE"),
    "list for a text": (lambda: a_row(fields={"country": ["DE"]}), "record.fields.country", "WRONG_TYPE"),
    "not a number": (lambda: a_row(fields={"revenue": math.nan}), "record.fields.revenue", "WRONG_TYPE"),
    "infinite": (lambda: a_row(fields={"revenue": -math.inf}), "record.fields.revenue", "WRONG_TYPE"),
    "long text": (lambda: a_row(fields={"note": "x" * 32_769}), "record.fields.note", "WRONG_TYPE"),
    "long list": (lambda: a_row(fields={"tags": ["x"] * 1_001}), "record.fields.tags", "WRONG_TYPE"),
    "no day": (
        lambda: a_row(fields={"due": value_pb2.Value(date={"year": 2026, "month": 2, "day": 30})}),
        "record.fields.due",
        "WRONG_TYPE",
    ),
    "no instant": (lambda: a_row(fields={"seen": value_pb2.Value(timestamp=FAR)}), "record.fields.seen", "WRONG_TYPE"),
    "empty id": (lambda: a_row(""), "record.record_id", "INVALID_ID"),
    "long id": (lambda: a_row("x" * 201), "record.record_id", "INVALID_ID"),
    "control character": (lambda: a_row("a\x00b"), "record.record_id", "INVALID_ID"),
    "line break": (lambda: a_row("a\u2028b"), "record.record_id", "INVALID_ID"),
    "blank at the end": (lambda: a_row("a "), "record.record_id", "INVALID_ID"),
    "priority": (lambda: a_row(priority=101), "record.priority", "INVALID_FIELD"),
    "negative effort": (lambda: a_row(effort=-1), "record.effort", "INVALID_FIELD"),
    "huge effort": (lambda: a_row(effort=1_000_001), "record.effort", "INVALID_FIELD"),
    "long group": (lambda: a_row(group_key="x" * 201), "record.group_key", "INVALID_ID"),
    "creator": (lambda: a_row(created_by="\x01"), "record.created_by", "INVALID_ID"),
    "creation": (lambda: a_row(created_time=FAR), "record.created_time", "INVALID_FIELD"),
    "unknown role": (lambda: a_row(related={"boss": "x"}), "record.related.boss", "UNKNOWN_FIELD"),
    "referenced id": (lambda: a_row(related={"account": "\n"}), "record.related.account", "INVALID_ID"),
    "unknown mask path": (lambda: a_row(mask=["segment_id"]), "update_mask", "UNKNOWN_MASK_PATH"),
    "unknown field in the mask": (lambda: a_row(mask=["fields.none"]), "update_mask", "UNKNOWN_MASK_PATH"),
    "star among others": (lambda: a_row(mask=["*", "priority"]), "update_mask", "UNKNOWN_MASK_PATH"),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_malformed_row_refuses_the_whole_request(api: Api, name: str) -> None:
    make, field, reason = FAULTS[name]
    found = await refusal(api.upsert(a_row("fine"), make()))
    assert (found.code, found.reason, found.fields) == ("INVALID_ARGUMENT", reason, (f"records[1].{field}",))
    assert (api.stored("fine"), api.events(), api.marks()) == (None, [], {})


async def test_all_malformed_rows_are_named(api: Api) -> None:
    found = await refusal(api.upsert(a_row("a", {"none": 1, "revenue": "x"}), a_row("b"), a_row("c", priority=-1)))
    assert set(found.fields) == {"records[0].record.fields.none", "records[0].record.fields.revenue", "records[2].record.priority"}


async def test_a_type_that_is_not_active_takes_no_records(api: Api) -> None:
    await api.apply(resource(record_type={"record_type": "old", "state": "RESOURCE_STATE_INACTIVE"}))
    assert (await refusal(api.upsert(a_row(record_type="old")))).reason == "UNKNOWN_RECORD_TYPE"


async def test_a_record_keeps_its_type(api: Api) -> None:
    await api.upsert(a_row())
    found = await refusal(api.upsert(a_row(record_type="account")))
    assert found.fields == ("records[0].record.record_type",)


@pytest.mark.parametrize("rows", [0, 1_001])
async def test_a_batch_has_between_one_and_a_thousand_rows(api: Api, rows: int) -> None:
    found = await refusal(api.upsert(*(a_row(f"r{i}") for i in range(rows))))
    assert (found.fields, found.reason) == (("records",), "BATCH_TOO_LARGE" if rows else "INVALID_FIELD")


async def test_nothing_is_known_in_a_workspace_without_configuration(bare_api: Api) -> None:
    assert (await refusal(bare_api.upsert(a_row()))).reason == "UNKNOWN_RECORD_TYPE"


async def test_a_faulty_row_is_refused_although_its_mask_leaves_the_field_out(api: Api) -> None:
    found = await refusal(api.upsert(a_row(fields={"none": value("x")}, mask=["priority"])))
    assert found.reason == "UNKNOWN_FIELD"


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda s: s.GetRecord(record_service_pb2.GetRecordRequest(record_id="")), "record_id"),
        (lambda s: s.ListRecords(record_service_pb2.ListRecordsRequest(page_size=-1)), "page_size"),
        (lambda s: s.ListRecords(record_service_pb2.ListRecordsRequest(statuses=[77])), "statuses[0]"),  # type: ignore[list-item]
        (lambda s: s.ListRecords(record_service_pb2.ListRecordsRequest(waiting_since_before=FAR)), "waiting_since_before"),
        (lambda s: s.ListRecords(record_service_pb2.ListRecordsRequest(filter="true")), "record_type"),
        (lambda s: s.ListRecords(record_service_pb2.ListRecordsRequest(record_type="lead", filter="record.x > 1")), "filter"),
        (lambda s: s.DeleteRecords(record_service_pb2.DeleteRecordsRequest()), "record_ids"),
        (lambda s: s.DeleteRecords(record_service_pb2.DeleteRecordsRequest(record_ids=["a", "\x7f"])), "record_ids[1]"),
        (lambda s: s.ListDecisions(record_service_pb2.ListDecisionsRequest()), "record_id"),
    ],
)
async def test_other_calls_name_their_faulty_field(api: Api, call: Callable[[Any], Any], field: str) -> None:
    found = await refusal(call(api.records))
    assert (found.code, found.fields) == ("INVALID_ARGUMENT", (field,))


async def test_an_unknown_record_is_not_found(api: Api) -> None:
    found = await refusal(api.records.GetRecord(record_service_pb2.GetRecordRequest(record_id="none")))
    assert (found.code, found.reason, found.metadata) == ("NOT_FOUND", "RECORD_NOT_FOUND", {"record": "none"})


async def test_a_seller_of_another_workspace_owns_nothing_here(api: Api) -> None:
    await api.hire(a_seller_row("ann"), workspace="other")
    found = await refusal(api.upsert(a_row(owner=value_pb2.Owner(seller_id="ann"))))
    assert found.reason == "UNKNOWN_REFERENCE"
