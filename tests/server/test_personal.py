"""Personal data: kept in one place, given out whole, and removed everywhere without the log's losing its truth; on both engines."""

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncIterator, Mapping
from functools import reduce
from typing import Any, Literal

import grpc
import pytest
import pytest_asyncio
from google.protobuf import json_format
from sqlalchemy import create_engine, select
from structlog.testing import capture_logs
from typer.testing import CliRunner

from reallot.clients import AsyncClient, Record, Seller
from reallot.clients.cli import application
from reallot.server.app import Application
from reallot.server.logs import SHOWN
from reallot.server.settings import Settings
from reallot.storage import migrate
from reallot.storage.dialect import normal_url
from reallot.storage.personal import tables_about
from reallot.storage.tables import metadata
from reallot.v1 import (
    assignment_service_pb2,
    config_pb2,
    config_service_pb2,
    event_service_pb2,
    insight_service_pb2,
    record_service_pb2,
    seller_pb2,
    seller_service_pb2,
    value_pb2,
)
from reallot.v1 import workspace_service_pb2 as pb
from support.api import a_row, refusal, resource
from support.postgres import fresh_postgresql

SECRETS = {"name": "Jane Roe", "mail": "jane@roe.example", "born": 19700131}
FULL_NAME = 'Ana "Maria" Ruiz'
NUMBERS = itertools.count(1)
NAME, PHONE, NOTE = "Ana Ruiz", "+49 30 555", "in hospital"


pytestmark = pytest.mark.asyncio(loop_scope="module")


class Office:
    """A server with one workspace, and a look past it into every table."""

    def __init__(self, url: str, app: Application, client: AsyncClient) -> None:
        self.url, self.app, self.client = url, app, client
        self.stubs = client.stubs

    async def apply(self, *, personal: bool) -> None:
        types = {"name": "TEXT", "mail": "TEXT", "born": "INTEGER", "revenue": "DECIMAL"}
        fields = [{"field_id": n, "type": f"FIELD_TYPE_{t}", "personal": personal and n in SECRETS} for n, t in types.items()]
        sellers = [
            {"field_id": "phone", "type": "FIELD_TYPE_TEXT", "personal": True},
            {"field_id": "country", "type": "FIELD_TYPE_TEXT"},
        ]
        rule = {"rule_id": "all", "policy": "POLICY_ROUND_ROBIN"}
        segments = [
            {"segment_id": "big", "record_type": "lead", "priority": 1, "condition": "record.revenue >= 10.0", "accepts_moves": True,
             "rules": [rule]},
            {"segment_id": "rest", "record_type": "lead", "is_default": True, "accepts_moves": True, "assign_on_move": True,
             "rules": [rule], "display_name": f"What {FULL_NAME} does not take"},
        ]  # fmt: skip
        bundle = [
            resource(settings={"seller_fields": sellers}),
            resource(record_type={"record_type": "lead", "title_field": "name", "fields": fields}),
            *(resource(segment=segment) for segment in segments),
        ]
        await self.client.config.apply(bundle)
        await self.app.settle()

    async def write(self, *records: Record) -> None:
        await self.client.records.upsert(records)
        await self.app.settle()

    async def export(self, **person: str) -> list[tuple[str, Any]]:
        request = pb.ExportPersonalDataRequest(**person)
        found = [row async for answer in self.client.stream(self.stubs.workspaces.ExportPersonalData, request) for row in answer.rows]
        return [(row.table, json.loads(row.content)) for row in found]

    async def redact(self, **wanted: Any) -> pb.RedactPersonalDataResponse:
        found: pb.RedactPersonalDataResponse = await self.client.call(
            self.stubs.workspaces.RedactPersonalData, pb.RedactPersonalDataRequest(**wanted)
        )
        await self.app.settle()
        return found

    async def events(self) -> list[Any]:
        request = event_service_pb2.ListEventsRequest()
        return [event async for event in self.client.pages(self.stubs.events.ListEvents, request, "events")]

    async def truth(self) -> tuple[list[int], dict[str, Any]]:
        """Return the numbers of the log, and what replaying it makes of every record."""
        events = await self.events()
        states: dict[str, Any] = {}
        for event in events:
            state = json_format.MessageToDict(event.after, preserving_proto_field_name=True)
            states[event.record_id] = [state.get(name) for name in ("owner", "segment_id", "enrollment")]
        return [event.number for event in events], states

    def tables_with(self, text: str) -> set[str]:
        """Return the tables in which a text stands, by looking at every column of every row, however often it is quoted there."""
        engine = create_engine(normal_url(self.url))
        with engine.connect() as connection:
            tables = [table for table in metadata.sorted_tables if "workspace" in table.c]
            rows = [(t.name, row) for t in tables for row in connection.execute(select(t).where(t.c.workspace == self.client.workspace))]
            found = {name for name, row in rows if any(text in shown(value).replace("\\", "") for value in row)}
        engine.dispose()
        return found


def shown(value: Any) -> str:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, (bytes, memoryview)) else str(value)


def counted(answer: pb.RedactPersonalDataResponse) -> Mapping[str, int]:
    return {row.table: row.rows for row in answer.tables}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql"])
async def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, Application]]:
    file = tmp_path_factory.mktemp("personal") / "personal.sqlite"
    url = fresh_postgresql() if request.param == "postgresql" else f"sqlite:///{file}"
    migrate(url)
    async with Application(Settings(database_url=url, port=0, clock="manual:2026-03-02T08:00Z")) as app:
        yield url, app


@pytest_asyncio.fixture(loop_scope="module")
async def office(server: tuple[str, Application]) -> AsyncIterator[Office]:
    url, app = server
    async with AsyncClient(f"127.0.0.1:{app.port}", workspace=f"office-{next(NUMBERS)}") as client:
        yield Office(url, app, client)


async def hire(office: Office) -> None:
    ana = Seller("ana", display_name=NAME, attributes={"phone": PHONE, "country": "DE"})
    await office.client.sellers.upsert([ana, Seller("bob", display_name="Bob"), Seller("eve", display_name=NAME, assignable=False)])
    absence = seller_pb2.TimeOff(time_off_id="ill", note=NOTE)
    absence.start_time.FromJsonString("2026-05-10T00:00:00Z")
    absence.end_time.FromJsonString("2026-05-11T00:00:00Z")
    await office.client.call(office.stubs.sellers.AddTimeOff, seller_service_pb2.AddTimeOffRequest(seller_ids=["ana"], time_off=absence))


async def test_personal_values_stand_in_the_record_alone(office: Office) -> None:
    await office.apply(personal=True)
    await hire(office)
    await office.write(Record("l1", "lead", SECRETS | {"revenue": 20.0}), *(Record(f"m{n}", "lead", SECRETS) for n in range(40)))
    await office.write(Record("l1", "lead", SECRETS | {"name": "Jane Doe", "revenue": 1.0}))
    assert office.tables_with("jane@roe.example") == {"records"}
    assert office.tables_with("Jane") == {"records"}
    assert office.tables_with("19700131") == {"records"}
    last = [event for event in await office.events() if event.record_id == "l1"]
    changed = next(event for event in last if "name" in event.changed_fields and event.HasField("before"))
    assert set(changed.after.fields) == {"revenue"}
    record = await office.client.records.get("l1")
    assert record.fields["mail"].text == SECRETS["mail"]
    explained = await office.client.call(office.stubs.insight.ExplainRecord, insight_service_pb2.ExplainRecordRequest(record_id="l1"))
    assert list(explained.masked_fields) == ["born", "mail", "name"]
    assert "Jane" not in str(explained)
    assert set(explained.record.fields) == {"revenue"}
    assert explained.summary.startswith("l1 is in the segment")


async def test_a_record_is_given_out_and_redacted_everywhere(office: Office) -> None:
    await office.apply(personal=False)
    await hire(office)
    await office.write(
        Record("l1", "lead", SECRETS | {"revenue": 20.0}), Record("l2", "lead", {"name": "Jane Roe's sister", "revenue": 2.0})
    )
    await office.client.call(
        office.stubs.assignment.AssignRecords,
        assignment_service_pb2.AssignRecordsRequest(record_ids=["l1"], owner=value_pb2.Owner(seller_id="bob")),
    )
    await office.write(Record("l1", "lead", {"name": "Jane Doe", "revenue": 1.0}))
    await office.apply(personal=True)
    tables = {table for table, _ in await office.export(record_id="l1")}
    assert tables >= {"records", "events", "decisions"}
    assert "Jane Roe" in str(await office.export(record_id="l1"))
    before = await office.truth()
    planned = counted(await office.redact(record_id="l1", validate_only=True))
    assert planned["events"] > 0
    assert office.tables_with("jane@roe.example") == {"records", "events"}, "a dry run changes nothing"
    done = await office.redact(record_id="l1", request_id="once", reason="asked for")
    assert counted(done) == planned
    assert await office.redact(record_id="l1", request_id="once", reason="asked for") == done
    assert office.tables_with("jane@roe.example") == set()
    assert office.tables_with("Jane Doe") == set()
    assert office.tables_with("Jane Roe's sister"), "another person stays"
    record = await office.client.records.get("l1")
    assert (set(record.fields), record.fields["revenue"].decimal) == ({"revenue"}, 1.0)
    numbers, states = await office.truth()
    assert (numbers[: len(before[0])], states["l2"]) == (before[0], before[1]["l2"])
    assert states["l1"][:2] == [{f"{record.owner.WhichOneof('kind')}": record.owner.seller_id}, record.segment_id]
    audit = [e async for e in office.client.pages(office.stubs.config.ListAudit, config_service_pb2.ListAuditRequest(), "entries")]
    assert (audit[-1].method, audit[-1].kind, audit[-1].id) == ("WorkspaceService.RedactPersonalData", "record", "l1")
    assert (audit[-1].remark, json.loads(audit[-1].after)["redacted"]) == ("asked for", dict(planned))
    assert counted(await office.redact(record_id="l1")) == {}
    await office.client.call(office.stubs.records.DeleteRecords, record_service_pb2.DeleteRecordsRequest(record_ids=["l2"]))
    assert counted(await office.redact(record_id="l2"))["events"] > 0
    assert office.tables_with("Jane") == set(), "one that is gone is redacted as well"
    assert (
        await refusal(
            office.stubs.workspaces.RedactPersonalData(pb.RedactPersonalDataRequest(workspace=office.client.workspace, record_id="none"))
        )
    ).code == "NOT_FOUND"
    assert (await refusal(office.stubs.workspaces.RedactPersonalData(pb.RedactPersonalDataRequest()))).fields == ("person",)


async def test_a_seller_is_given_out_and_redacted_everywhere(office: Office) -> None:
    await office.apply(personal=True)
    await hire(office)
    await office.client.sellers.upsert([Seller("ana", display_name=FULL_NAME)])
    await office.write(*(Record(f"l{n}", "lead", {"revenue": float(n)}) for n in range(12)))
    retire = seller_service_pb2.RetireSellerRequest(seller_id="ana", successor=value_pb2.Owner(seller_id="bob"))
    await office.client.call(office.stubs.sellers.RetireSeller, retire)
    await office.app.settle()
    assert office.tables_with(NAME) >= {"audit", "sellers"}
    assert office.tables_with(FULL_NAME) >= {"sellers", "events", "decisions", "audit", "config", "config_changes"}
    given = await office.export(seller_id="ana")
    assert {table for table, _ in given} >= {"sellers", "time_off", "events", "notices", "decisions", "audit", "config_changes"}
    assert next(row for table, row in given if table == "sellers")["attributes"] == {"phone": PHONE, "country": "DE"}
    assert not any("fields" in row for table, row in given if table == "records"), "what records say is about others"
    before, notices = await office.truth(), await notified(office)
    planned = counted(await office.redact(seller_id="ana", validate_only=True))
    done = await office.redact(seller_id="ana")
    assert counted(done) == planned
    assert [(m.kind, m.id) for m in done.mentions] == [(config_pb2.CONFIG_KIND_SEGMENT, "rest")]
    assert office.tables_with(FULL_NAME) == {"config"}, "only the admin changes the configuration that holds"
    assert (await office.client.sellers.get("eve")).display_name == NAME, "somebody else is called so as well"
    assert office.tables_with(PHONE) == office.tables_with(NOTE) == set()
    assert await office.truth() == before
    assert await notified(office) == notices
    seller = await office.client.sellers.get("ana")
    assert (seller.display_name, set(seller.attributes)) == ("", {"country"})
    text = next(e.sentence.text for e in await office.events() if e.before.owner.seller_id == "ana" and e.after.owner.seller_id == "bob")
    assert "from ana to Bob" in text
    blanked = [
        e async for e in office.client.pages(office.stubs.config.ListAudit, config_service_pb2.ListAuditRequest(id="ana"), "entries")
    ]
    assert all(entry.HasField("redacted_time") for entry in blanked[:2])
    assert json.loads(blanked[0].after)["attributes"] == {"country": "DE"}
    history = [c async for c in office.client.pages(office.stubs.config.ListChanges, config_service_pb2.ListChangesRequest(), "changes")]
    assert any("What ana does not take" in str(change) for change in history)
    await office.client.call(office.stubs.sellers.DeleteSellers, seller_service_pb2.DeleteSellersRequest(seller_ids=["ana"]))
    assert office.tables_with(FULL_NAME) == {"config"}
    assert counted(await office.redact(seller_id="ana")) == {}


async def notified(office: Office) -> list[tuple[int, str]]:
    request = event_service_pb2.ListNotificationsRequest(seller_id="ana")
    rows = office.client.pages(office.stubs.events.ListNotifications, request, "notifications")
    return [(notice.number, notice.event.record_id) async for notice in rows]


async def test_every_table_about_sellers_or_records_is_looked_through() -> None:
    kinds: tuple[Literal["seller", "record"], ...] = ("seller", "record")
    for kind in kinds:
        about = {table.name for table in metadata.sorted_tables if f"{kind}_id" in table.c}
        assert about <= tables_about(kind)


async def test_errors_of_the_database_do_not_take_values_to_the_log(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    await office.apply(personal=True)
    engine = create_engine(normal_url(office.url))
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE records RENAME COLUMN effort TO efforts")
    request = record_service_pb2.UpsertRecordsRequest(
        workspace=office.client.workspace, records=[a_row("l1", {"mail": "jane@roe.example"})]
    )
    with caplog.at_level(logging.DEBUG), capture_logs() as events, pytest.raises(grpc.aio.AioRpcError):
        await office.stubs.records.UpsertRecords(request)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE records RENAME COLUMN efforts TO effort")
    engine.dispose()
    told = caplog.text
    for event in events:
        told += str(reduce(lambda shown, processor: processor(None, "error", shown), SHOWN, event))
    assert "effort" in told, "the fault itself is told"
    assert "jane@roe.example" not in told


async def test_the_command_line_gives_out_counts_and_removes(office: Office) -> None:

    await office.apply(personal=True)
    await hire(office)

    where = ("--address", f"127.0.0.1:{office.app.port}", "--workspace", office.client.workspace)

    def call(*words: str) -> list[Any]:
        found = CliRunner().invoke(application("personal"), ["personal", *words, *where])
        assert found.exit_code == 0, found.output
        # The server logs to the same place.
        return [json.loads(line) for line in found.output.splitlines() if line.startswith("{")]

    given = await asyncio.to_thread(call, "export", "--seller", "ana")
    assert {"table", "row"} == set(given[0])
    (planned,) = await asyncio.to_thread(call, "redact", "--seller", "ana", "--dry-run", "--json")
    assert {row["table"] for row in planned["tables"]} >= {"sellers", "time_off", "audit"}
    assert office.tables_with(PHONE)
    (done,) = await asyncio.to_thread(call, "redact", "--seller", "ana", "--yes", "--json")
    assert done == planned
    assert office.tables_with(PHONE) == set()
    wrong = CliRunner().invoke(application("personal"), ["personal", "redact", "--yes"])
    assert wrong.exit_code == 2
