"""A working day in which every call that changes something by hand is made once: the audit log has each of them."""

from pathlib import Path
from typing import Any

from fortress import Fortress
from google.protobuf.message import Message

from reallot.clients import AsyncClient, Record, Seller
from reallot.server.access.roles import RULES
from reallot.v1 import assignment_service_pb2 as runs_pb
from reallot.v1 import config_pb2, config_service_pb2, run_pb2, seller_pb2, value_pb2
from reallot.v1 import seller_service_pb2 as sellers_pb
from reallot.v1 import sequence_service_pb2 as steps_pb
from reallot.v1 import workspace_service_pb2 as spaces_pb
from support.api import a_segment, instant, office_hours, resource


def configuration() -> list[config_pb2.ConfigResource]:
    """Return leads that wait to be claimed, are offered, or are given away and join a sequence."""
    fields = [{"field_id": "kind", "type": "FIELD_TYPE_TEXT"}, {"field_id": "name", "type": "FIELD_TYPE_TEXT", "personal": True}]
    steps = [{"step_id": f"s{n}", "task": {"subject": "s"}} for n in range(4)]
    offered = {"rule_id": "ask", "target": {"sellers": {"seller_ids": ["ann", "cid"]}}, "offer": {"timeout": "3600s"}}
    return [
        resource(settings={}),
        resource(team={"team_id": "field"}),
        resource(record_type={"record_type": "lead", "fields": fields}),
        resource(sequence={"sequence_id": "welcome", "record_type": "lead", "steps": steps}),
        resource(segment=a_segment("offers", 1, condition='record.kind == "offer"', rules=[offered])),
        resource(segment=a_segment("pool", 2, condition='record.kind == "pool"', on_arrival="ON_ARRIVAL_WAIT", rules=[{"rule_id": "any"}])),
        resource(
            segment=a_segment(
                "rest",
                0,
                is_default=True,
                sequence_id="welcome",
                rules=[{"rule_id": "any", "target": {"sellers": {"seller_ids": ["bob"]}}}],
            )
        ),
    ]


class Day:
    """One server, and somebody who works with it."""

    def __init__(self, app: Any, client: AsyncClient) -> None:
        self.app, self.client, self.stubs = app, client, client.stubs

    async def make(self, stub: Any, request: Message) -> Any:
        answer = await self.client.call(stub, request)
        await self.app.settle()
        return answer

    async def with_sellers(self) -> None:
        sellers = self.stubs.sellers
        await self.client.config.apply(configuration())
        await self.client.sellers.upsert([Seller(name) for name in ("ann", "bob", "cid", "dan", "eve")])
        await self.make(sellers.SetCalendar, sellers_pb.SetCalendarRequest(seller_ids=["eve"], calendar=office_hours()))
        absence = seller_pb2.TimeOff(time_off_id="x", start_time=instant("2027-01-01"), end_time=instant("2027-01-02"))
        await self.make(sellers.AddTimeOff, sellers_pb.AddTimeOffRequest(seller_ids=["eve"], time_off=absence))
        await self.make(sellers.RemoveTimeOff, sellers_pb.RemoveTimeOffRequest(seller_id="eve", time_off_ids=["x"]))
        await self.make(sellers.DeleteSellers, sellers_pb.DeleteSellersRequest(seller_ids=["dan"]))

    async def with_records(self) -> None:
        kinds = {"o1": "offer", "p1": "pool", "r1": "", "r2": "", "r3": ""}
        await self.client.records.upsert([Record(name, "lead", {"kind": kind, "name": "Jane"}) for name, kind in kinds.items()])
        await self.app.settle()
        assignment = self.stubs.assignment
        (offer,) = (await self.make(assignment.ListOffers, runs_pb.ListOffersRequest())).offers
        answer = runs_pb.RespondToOfferRequest(record_id="o1", seller_id=offer.seller_id, accept=True)
        await self.make(assignment.RespondToOffer, answer)
        await self.make(assignment.ClaimNext, runs_pb.ClaimNextRequest(seller_id="ann", segment_ids=["pool"]))
        extend = runs_pb.ExtendClaimRequest(record_id="p1", seller_id="ann", lease={"seconds": 7200})
        await self.make(assignment.ExtendClaim, extend)
        await self.make(assignment.AssignRecords, runs_pb.AssignRecordsRequest(record_ids=["r2"], owner=value_pb2.Owner(seller_id="ann")))
        await self.make(assignment.ReleaseRecords, runs_pb.ReleaseRecordsRequest(record_ids=["r2"]))
        await self.client.records.upsert([Record("o2", "lead", {"kind": "offer"})])
        await self.app.settle()
        await self.app.clock.set(self.app.clock.now_us() + 2 * 3_600_000_000)
        await self.app.settle()
        out = [name for name in ("ann", "cid") if (await self.client.sellers.get(name)).HasField("not_responding_since_time")]
        await self.make(self.stubs.sellers.ReturnSellers, sellers_pb.ReturnSellersRequest(seller_ids=out))

    async def with_steps(self) -> None:
        sequences = self.stubs.sequences
        await self.make(sequences.CompleteStep, steps_pb.CompleteStepRequest(record_id="r1", step=1))
        await self.make(sequences.SkipStep, steps_pb.SkipStepRequest(record_id="r1", step=2))
        await self.make(sequences.SnoozeStep, steps_pb.SnoozeStepRequest(record_id="r1", step=3, duration={"seconds": 60}))
        await self.make(sequences.Disconnect, steps_pb.DisconnectRequest(record_id="r1"))
        await self.make(sequences.Connect, steps_pb.ConnectRequest(record_id="r1", sequence_id="welcome"))

    async def with_runs(self) -> None:
        assignment = self.stubs.assignment
        only = run_pb2.RunSelection(record_ids=["r2"])
        applied, dropped = [
            (await self.make(assignment.StartRun, runs_pb.StartRunRequest(selection=only, preview=True))).run_id for _ in range(2)
        ]
        await self.make(assignment.ApplyRun, runs_pb.ApplyRunRequest(run_id=applied))
        await self.make(assignment.DropRun, runs_pb.DropRunRequest(run_id=dropped))
        await self.make(assignment.UndoRun, runs_pb.UndoRunRequest(run_id=applied))
        await self.client.config.apply([resource(settings={"paused": True})])
        waiting = await self.make(assignment.StartRun, runs_pb.StartRunRequest())
        await self.make(assignment.CancelRun, runs_pb.CancelRunRequest(run_id=waiting.run_id))
        await self.client.config.apply([resource(settings={})])
        await self.app.settle()

    async def with_what_goes(self) -> None:
        retire = sellers_pb.RetireSellerRequest(seller_id="bob", successor=value_pb2.Owner(seller_id="eve"))
        await self.make(self.stubs.sellers.RetireSeller, retire)
        await self.client.call(self.stubs.records.DeleteRecords, _deletion("r3"))
        gone = config_service_pb2.DeleteConfigRequest(kind=config_pb2.CONFIG_KIND_TEAM, id="field")
        await self.make(self.stubs.config.DeleteConfig, gone)
        spaces = self.stubs.workspaces
        await self.make(spaces.RedactPersonalData, spaces_pb.RedactPersonalDataRequest(record_id="r1"))
        await self.make(spaces.CreateWorkspace, spaces_pb.CreateWorkspaceRequest(workspace="spare"))
        await self.make(spaces.RenameWorkspace, spaces_pb.RenameWorkspaceRequest(workspace="spare", display_name="Spare"))
        await self.make(spaces.DeleteWorkspace, spaces_pb.DeleteWorkspaceRequest(workspace="spare"))
        exported = spaces.ExportWorkspace(spaces_pb.ExportWorkspaceRequest(workspace="default"))
        rows = [row async for answer in exported for row in answer.rows]
        await spaces.RestoreWorkspace(iter([spaces_pb.RestoreWorkspaceRequest(workspace="copy", rows=rows)]))

    async def noted(self) -> dict[str, list[config_service_pb2.AuditEntry]]:
        found: dict[str, list[config_service_pb2.AuditEntry]] = {}
        for workspace in ("default", "spare", "copy"):
            request = config_service_pb2.ListAuditRequest(workspace=workspace)
            async for entry in self.client.pages(self.stubs.config.ListAudit, request, "entries"):
                found.setdefault(entry.method.partition(".")[2], []).append(entry)
        return found


def _deletion(record_id: str) -> Any:
    from reallot.v1 import record_service_pb2

    return record_service_pb2.DeleteRecordsRequest(record_ids=[record_id])


async def test_the_audit_log_has_every_kind_of_act(tmp_path: Path) -> None:
    house = Fortress(tmp_path)
    nothing = dict.fromkeys(("tls_certificate", "tls_key", "tls_client_ca", "principals_file", "jwt_keys"), "")
    async with house.served(host="127.0.0.1", **nothing), AsyncClient(f"127.0.0.1:{house.app.port}") as client:
        day = Day(house.app, client)
        for part in (day.with_sellers, day.with_records, day.with_steps, day.with_runs, day.with_what_goes):
            await part()
        noted = await day.noted()
    acts = {path.rpartition("/")[2] for path, rule in RULES.items() if rule.acts}
    assert acts - noted.keys() == set()
    assert noted.keys() - acts == set()
    for entries in noted.values():
        assert all(entry.origin.startswith("ipv4:127.0.0.1:") and entry.kind and entry.id for entry in entries)
        assert all(entry.before != entry.after or entry.HasField("redacted_time") for entry in entries)
