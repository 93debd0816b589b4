"""Who did what: each change of the configuration and each act by hand is noted once, with before and after, and nothing else is."""

import json
from pathlib import Path
from typing import Any

from fortress import OWN, Fortress, signed

from reallot.clients import AsyncClient, Record, Seller
from reallot.clients.bundle import parse_bundle
from reallot.v1 import assignment_service_pb2, config_service_pb2, record_service_pb2, seller_pb2, seller_service_pb2, value_pb2

LEADS: dict[str, Any] = {"record_types": [{"record_type": "lead", "fields": [{"field_id": "revenue", "type": "FIELD_TYPE_DECIMAL"}]}]}


async def entries(client: AsyncClient, **wanted: Any) -> list[config_service_pb2.AuditEntry]:
    request = config_service_pb2.ListAuditRequest(page_size=2, **wanted)
    return [entry async for entry in client.pages(client.stubs.config.ListAudit, request, "entries")]


def shown(found: list[config_service_pb2.AuditEntry]) -> list[tuple[str, str, str, str]]:
    return [(entry.principal, entry.method.split(".")[1], entry.kind, entry.id) for entry in found]


async def test_acts_are_noted_with_who_from_where_before_and_after(walls: Fortress) -> None:
    tokens = {name: walls.security(signed(name, f"{OWN}:{role}")) for name, role in (("boss", "admin"), ("crm", "integrator"))}
    ann = walls.security(signed("ann@example.com", f"{OWN}:seller:ann"))
    async with (
        AsyncClient(walls.address, workspace=OWN, security=tokens["boss"]) as boss,
        AsyncClient(walls.address, workspace=OWN, security=tokens["crm"]) as crm,
        AsyncClient(walls.address, workspace=OWN, security=ann) as seller,
    ):
        await boss.config.apply(parse_bundle(LEADS)[0], actor="the board")
        await boss.config.apply(parse_bundle(LEADS)[0])
        await crm.sellers.upsert([Seller("ann"), Seller("bob")])
        await crm.records.upsert([Record("r1", "lead", {"revenue": 7.0}, owner="bob")])
        assign = assignment_service_pb2.AssignRecordsRequest(
            record_ids=["r1", "none"], owner=value_pb2.Owner(seller_id="ann"), reason="knows them", request_id="once"
        )
        for _ in range(2):
            await boss.call(boss.stubs.assignment.AssignRecords, assign)
        absence = seller_pb2.TimeOff(time_off_id="holiday", note="away")
        absence.start_time.FromJsonString("2026-03-10T00:00:00Z")
        absence.end_time.FromJsonString("2026-03-11T00:00:00Z")
        await seller.call(seller.stubs.sellers.AddTimeOff, seller_service_pb2.AddTimeOffRequest(seller_ids=["ann"], time_off=absence))
        run = await crm.runs.start(cause="month's end")
        await crm.runs.wait(run.run_id)
        await crm.call(crm.stubs.records.DeleteRecords, record_service_pb2.DeleteRecordsRequest(record_ids=["r1"]))
        found = await entries(boss)
        assert shown(found) == [
            ("boss", "Apply", "record_type", "lead"),
            ("crm", "UpsertSellers", "seller", "ann"),
            ("crm", "UpsertSellers", "seller", "bob"),
            ("boss", "AssignRecords", "record", "r1"),
            ("ann@example.com", "AddTimeOff", "time_off", "ann/holiday"),
            ("crm", "StartRun", "run", run.run_id),
            ("crm", "DeleteRecords", "record", "r1"),
        ]
        assert all(entry.origin.startswith(("ipv4:127.0.0.1:", "ipv6:[::1]:")) for entry in found)
        applied, _, _, assigned, _, started, deleted = found
        assert (applied.on_behalf_of, applied.before, json.loads(applied.after)["record_type"]) == ("the board", "", "lead")
        assert (assigned.remark, started.remark) == ("knows them", "month's end")
        owners = [json.loads(state)["owner"] for state in (assigned.before, assigned.after)]
        assert owners == [{"seller_id": "bob"}, {"seller_id": "ann"}]
        assert "revenue" not in assigned.before + assigned.after, "what a record says is no business of this log"
        assert (deleted.after, json.loads(deleted.before)["owner"]) == ("", {"seller_id": "ann"})
        assert shown(await entries(boss, principal="boss", kind="record", id="r1")) == [("boss", "AssignRecords", "record", "r1")]
        history = await boss.call(boss.stubs.config.ListChanges, config_service_pb2.ListChangesRequest())
        assert [change.actor for change in history.changes] == ["boss"]


async def test_without_authentication_what_the_caller_says_is_noted(tmp_path: Path) -> None:
    open_house = Fortress(tmp_path)
    nothing = dict.fromkeys(("tls_certificate", "tls_key", "tls_client_ca", "principals_file", "jwt_keys"), "")
    async with open_house.served(host="127.0.0.1", **nothing), AsyncClient(f"127.0.0.1:{open_house.app.port}") as client:
        await client.config.apply(parse_bundle(LEADS)[0], actor="ana")
        await client.records.upsert([Record("r1", "lead")])
        (entry,) = await entries(client)
        assert (entry.principal, entry.on_behalf_of, entry.kind) == ("", "ana", "record_type")
        assert entry.origin.startswith("ipv4:127.0.0.1:")
        (change,) = (await client.call(client.stubs.config.ListChanges, config_service_pb2.ListChangesRequest())).changes
        assert change.actor == "ana"
