"""Whatever is sent, the answer is an answer or a refusal that says why: never an internal error."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from reallot.v1 import config_service_pb2, record_service_pb2, seller_pb2, seller_service_pb2
from support.api import EVERY_KIND, a_row, a_seller_row, instant, office_hours, refusal_of, sales, seller_owner
from support.noise import disturb, fill
from support.services import Api

SERVICES = {
    "config": config_service_pb2.DESCRIPTOR.services_by_name["ConfigService"],
    "records": record_service_pb2.DESCRIPTOR.services_by_name["RecordService"],
    "sellers": seller_service_pb2.DESCRIPTOR.services_by_name["SellerService"],
}
CALLS = [(stub, method.name) for stub, service in SERVICES.items() for method in service.methods if not method.client_streaming]
ROUNDS = 40
NEARLY_RIGHT: dict[str, Callable[[], Message]] = {
    "Apply": lambda: config_service_pb2.ApplyRequest(resources=sales()),
    "SimulateSegment": lambda: config_service_pb2.SimulateSegmentRequest(segment=sales()[7].segment),
    "PreviewSchedule": lambda: config_service_pb2.PreviewScheduleRequest(schedule=sales()[-1].schedule),
    "UpsertRecords": lambda: record_service_pb2.UpsertRecordsRequest(
        records=[a_row(f"r{i}", EVERY_KIND, owner=seller_owner("ann"), related={"account": "a"}, mask=["*"]) for i in range(2)]
    ),
    "ListRecords": lambda: record_service_pb2.ListRecordsRequest(record_type="lead", filter="record.revenue > 1.0", unowned=True),
    "UpsertSellers": lambda: seller_service_pb2.UpsertSellersRequest(
        sellers=[
            a_seller_row("ann", attributes={"country": "FR"}, skills={"big": 3}, team_ids=["field"], calendar=office_hours()),
            a_seller_row("ben", capacity=seller_pb2.Capacity(total=5, by_segment={"big": 2}), mask=["capacity"]),
        ]
    ),
    "SetCalendar": lambda: seller_service_pb2.SetCalendarRequest(seller_ids=["ann"], calendar=office_hours()),
    "AddTimeOff": lambda: seller_service_pb2.AddTimeOffRequest(
        seller_ids=["ann"],
        time_off=seller_pb2.TimeOff(time_off_id="t", start_time=instant("2026-03-02"), end_time=instant("2026-03-05")),
    ),
    "GetAvailability": lambda: seller_service_pb2.GetAvailabilityRequest(seller_id="ann", start_time=instant("2026-03-02")),
}
"""Requests that would be carried out, to be disturbed in one place."""
REFUSALS = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "ABORTED", "UNIMPLEMENTED"}


def requests(stub: str, name: str) -> Iterator[Any]:
    chance = random.Random(f"{stub}.{name}")
    kind = SERVICES[stub].methods_by_name[name].input_type._concrete_class
    for number in range(ROUNDS):
        request = kind()
        if name in NEARLY_RIGHT and number % 4:
            request.CopyFrom(NEARLY_RIGHT[name]())
            disturb(request, chance)
        else:
            fill(request, chance)
        yield request


@pytest.mark.parametrize(("stub", "name"), CALLS)
async def test_noise_is_answered_or_refused(api: Api, stub: str, name: str) -> None:
    await api.hire(a_seller_row("ann", attributes={"country": "DE"}))
    await api.upsert(a_row("r1", {"country": "DE", "revenue": 5.0}))
    for request in requests(stub, name):
        try:
            await getattr(getattr(api, stub), name)(request)
        except grpc.aio.AioRpcError as error:
            found = refusal_of(error)
            assert found.code in REFUSALS, f"{found} to {request}"
            assert found.reason
