"""Messages of the contract in few words, and what a refused call said."""

from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf import field_mask_pb2, json_format, timestamp_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from reallot.v1 import config_pb2, record_pb2, record_service_pb2, seller_pb2, seller_service_pb2, value_pb2


@dataclass(frozen=True)
class Refusal:
    """What a refused call said: names of code and reason, the fields it named, its text."""

    code: str
    reason: str
    fields: tuple[str, ...]
    metadata: Mapping[str, str]
    text: str


async def refusal(call: Awaitable[Any]) -> Refusal:
    """Return how a call was refused; fail if it was not."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return refusal_of(error)
    raise AssertionError(f"the call was not refused: {answer}")


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """Return what an error says; it must carry exactly one ErrorInfo of this product."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no details: {error}"
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    infos = [detail for detail in status.details if detail.Unpack(info)]
    assert len(infos) == 1
    assert info.domain == "reallot"
    for detail in status.details:
        detail.Unpack(bad)
    fields = tuple(violation.field for violation in bad.field_violations)
    return Refusal(error.code().name, info.reason, fields, dict(info.metadata), error.details() or "")


def resource(**parts: Mapping[str, Any]) -> config_pb2.ConfigResource:
    """Return a configuration resource, e.g. `resource(team={"team_id": "field"})`."""
    return json_format.ParseDict(parts, config_pb2.ConfigResource())


def fields_of(**types: str) -> list[dict[str, str]]:
    """Return declarations of fields, e.g. `fields_of(country="TEXT")`."""
    return [{"field_id": name, "type": f"FIELD_TYPE_{kind}"} for name, kind in types.items()]


def sales() -> list[config_pb2.ConfigResource]:
    """Return a small sales organisation: leads of accounts, two segments with rules, a sequence, a trigger, a schedule."""
    leads = fields_of(
        country="TEXT", revenue="DECIMAL", employees="INTEGER", hot="BOOLEAN", seen="TIMESTAMP", due="DATE", tags="TEXT_LIST", note="TEXT"
    )
    same_country = {"rule_id": "same-country", "target": {"matching": "seller.country == record.country"}}
    return [
        resource(settings={"seller_fields": fields_of(country="TEXT", languages="TEXT_LIST")}),
        resource(team={"team_id": "field"}),
        resource(queue={"queue_id": "inbox"}),
        resource(record_type={"record_type": "account", "fields": fields_of(industry="TEXT")}),
        resource(record_type={"record_type": "lead", "fields": leads, "references": [{"role": "account", "record_type": "account"}]}),
        resource(sequence={"sequence_id": "welcome", "record_type": "lead", "steps": [{"step_id": "hello", "email": {"template": "t"}}]}),
        resource(sequence={"sequence_id": "visit", "record_type": "account", "steps": [{"step_id": "go", "task": {"subject": "s"}}]}),
        resource(segment=a_segment("big", 1, condition="record.revenue >= 1000000.0", sequence_id="welcome", rules=[same_country])),
        resource(segment=a_segment("rest", 0, is_default=True, rules=[{"rule_id": "anybody", "condition": 'record.note == "call"'}])),
        resource(trigger={"trigger_id": "hotter", "record_type": "lead", "fields": ["hot"], "to": [{"boolean": True}]}),
        resource(schedule={"schedule_id": "mornings", "cron": "0 6 * * 1-5", "selection": {"record_type": "lead"}}),
    ]


def a_segment(segment_id: str = "big", priority: int = 1, **parts: Any) -> dict[str, Any]:
    """Return a segment of leads as a document."""
    return {"segment_id": segment_id, "record_type": "lead", "priority": priority, **parts}


def value(plain: Any) -> value_pb2.Value:
    """Return the message of a plain value; None gives null."""
    match plain:
        case None:
            return value_pb2.Value()
        case bool():
            return value_pb2.Value(boolean=plain)
        case int():
            return value_pb2.Value(integer=plain)
        case float():
            return value_pb2.Value(decimal=plain)
        case str():
            return value_pb2.Value(text=plain)
        case list():
            return value_pb2.Value(text_list=value_pb2.TextList(values=plain))
        case value_pb2.Value():
            return plain
    raise TypeError(f"no value: {plain!r}")


def values(plain: Mapping[str, Any]) -> dict[str, value_pb2.Value]:
    """Return the messages of plain values by name."""
    return {name: value(item) for name, item in plain.items()}


def instant(text: str) -> timestamp_pb2.Timestamp:
    """Return an instant, e.g. of "2026-03-02T08:00"; without a zone it is UTC."""
    moment = datetime.fromisoformat(text)
    found = timestamp_pb2.Timestamp()
    found.FromDatetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return found


def seller_owner(seller_id: str) -> value_pb2.Owner:
    """Return a seller as owner; "" gives nobody."""
    return value_pb2.Owner(seller_id=seller_id) if seller_id else value_pb2.Owner()


def a_row(
    record_id: str = "r1",
    fields: Mapping[str, Any] | None = None,
    *,
    record_type: str = "lead",
    mask: Iterable[str] | None = None,
    expected: str | None = None,
    **parts: Any,
) -> record_service_pb2.RecordUpsert:
    """Return a row of an upsert; `expected` is the seller who is believed to be the owner, "" = nobody."""
    row = record_service_pb2.RecordUpsert(
        record=record_pb2.Record(record_id=record_id, record_type=record_type, fields=values(fields or {}), **parts)
    )
    if mask is not None:
        row.update_mask.CopyFrom(field_mask_pb2.FieldMask(paths=mask))
    if expected is not None:
        row.expected_owner.CopyFrom(record_service_pb2.ExpectedOwner(owner=seller_owner(expected) if expected else None))
    return row


def a_seller_row(
    seller_id: str = "ann", *, attributes: Mapping[str, Any] | None = None, mask: Iterable[str] | None = None, **parts: Any
) -> seller_service_pb2.SellerUpsert:
    """Return a row of a seller upsert."""
    seller = seller_pb2.Seller(seller_id=seller_id, attributes=values(attributes or {}), **parts)
    row = seller_service_pb2.SellerUpsert(seller=seller)
    if mask is not None:
        row.update_mask.CopyFrom(field_mask_pb2.FieldMask(paths=mask))
    return row


def office_hours(
    zone: str = "Europe/Berlin", days: Iterable[int] = (1, 2, 3, 4, 5), start: int = 540, end: int = 1020
) -> seller_pb2.Calendar:
    """Return a calendar with the same hours on some days (1 = Monday), in minutes."""
    hours = [seller_pb2.WeeklyHours(day=day, start_minute=start, end_minute=end) for day in days]  # type: ignore[arg-type]
    return seller_pb2.Calendar(time_zone=zone, weekly=hours)


EVERY_KIND = {
    "country": "DE",
    "revenue": 1.5,
    "employees": -(2**63),
    "hot": False,
    "seen": value_pb2.Value(timestamp=instant("2026-03-01T12:00")),
    "due": value_pb2.Value(date={"year": 1969, "month": 12, "day": 31}),
    "tags": ["b", "a", "b", ""],
    "note": "x" * 32_768,
}
"""A value of every kind that a lead of `sales` has, some of them as far as they go."""
