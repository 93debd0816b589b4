"""A workspace of its own in a real server process, driven through the public client; time moves only when told."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from typer.testing import CliRunner

from reallot.clients import Client, Record, Seller
from reallot.clients.bundle import parse_bundle
from reallot.clients.cli import application
from reallot.clients.values import owner_text, timestamp
from reallot.testing.v1 import clock_service_pb2, clock_service_pb2_grpc
from reallot.v1 import assignment_service_pb2, config_pb2, event_pb2, event_service_pb2, record_pb2, run_pb2, value_pb2

NUMBERS = itertools.count(1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class World:
    """One workspace. Rules and records are leads unless said otherwise."""

    def __init__(self, address: str, now: str) -> None:
        self.address = address
        self.client = Client(address, workspace=f"scenario-{next(NUMBERS)}")
        self.now = now
        self.jump(now)

    def jump(self, moment: str) -> None:
        request = clock_service_pb2.SetRequest(time=timestamp(at(moment)))
        self.client.run(self._clock("Set", request))

    def advance(self, moment: str) -> None:
        self.client.run(self._clock("Advance", clock_service_pb2.AdvanceRequest(time=timestamp(at(moment)))))

    def call(self, *words: str) -> str:
        """What a command of `reallot` prints."""
        found = CliRunner().invoke(application(words[0]), [*words, "--address", self.address, "--workspace", self.client.inner.workspace])
        assert found.exit_code == 0, found.output
        return found.output

    def told(self, *words: str) -> list[Any]:
        """What a command prints for programs."""
        return [json.loads(line) for line in self.call(*words, "--json").splitlines()]

    def settle(self) -> None:
        request = clock_service_pb2.AdvanceRequest()
        request.duration.FromSeconds(0)
        self.client.run(self._clock("Advance", request))

    async def _clock(self, name: str, request: Any) -> Any:
        return await getattr(clock_service_pb2_grpc.ClockServiceStub(self.client.inner.channel), name)(request)

    def apply(self, **bundle: Any) -> None:
        resources, _ = parse_bundle(bundle)
        self.client.config.apply(resources)

    def rest(self) -> None:
        """Pause the workspace, so that the time of other scenarios does not go by here."""
        resources = [resource for resource in self.client.config.export() if resource.WhichOneof("resource") == "settings"]
        settings = resources[0] if resources else config_pb2.ConfigResource()
        settings.settings.paused = True
        settings.ClearField("etag")
        self.client.config.apply([settings])
        self.client.close()

    def sellers(self, *sellers: Seller) -> None:
        self.client.sellers.upsert(sellers)
        self.settle()

    def write(self, *records: Record, quiet: bool = False) -> list[Any]:
        results: list[Any] = self.client.records.upsert(records, quiet=quiet)
        self.settle()
        return results

    def give(self, owner: str, *record_ids: str, force: bool = False) -> list[Any]:
        request = assignment_service_pb2.AssignRecordsRequest(record_ids=record_ids, owner=value_pb2.Owner(seller_id=owner), force=force)
        results = self.client.stubs.assignment.AssignRecords(request).results
        self.settle()
        return list(results)

    def release(self, *record_ids: str) -> None:
        self.client.stubs.assignment.ReleaseRecords(assignment_service_pb2.ReleaseRecordsRequest(record_ids=record_ids))
        self.settle()

    def run(self, **more: Any) -> run_pb2.Run:
        selection = run_pb2.RunSelection(**more.pop("selection", {}))
        ended: run_pb2.Run = self.client.runs.wait(self.client.runs.start(selection, **more).run_id)
        return ended

    def runs(self, kind: int = run_pb2.RUN_KIND_SCHEDULED) -> list[run_pb2.Run]:
        return [run for run in reversed(self.client.runs.list()) if run.kind == kind]

    def record(self, record_id: str) -> record_pb2.Record:
        found: record_pb2.Record = self.client.records.get(record_id)
        return found

    def owner(self, record_id: str) -> str:
        return owner_text(self.record(record_id).owner)

    def owners(self, *record_ids: str) -> list[str]:
        return [self.owner(record_id) for record_id in record_ids]

    def status(self, record_id: str) -> str:
        return record_pb2.AssignmentStatus.Name(self.record(record_id).assignment.status).removeprefix("ASSIGNMENT_STATUS_")

    def loads(self) -> dict[str, int]:
        return {s.seller_id: sum(load.effort for load in s.load) for s in self.client.sellers.list()}

    def events(self, **wanted: Any) -> list[event_pb2.Event]:
        request = event_service_pb2.ListEventsRequest(filter=event_service_pb2.EventFilter(**wanted))
        return list(self.client.iterate(self.client.inner.pages(self.client.inner.stubs.events.ListEvents, request, "events")))

    def notices(self, seller_id: str) -> list[event_pb2.Notification]:
        request = event_service_pb2.ListNotificationsRequest(seller_id=seller_id)
        return list(
            self.client.iterate(self.client.inner.pages(self.client.inner.stubs.events.ListNotifications, request, "notifications"))
        )


def kinds(events: Sequence[event_pb2.Event]) -> list[str]:
    return [event_pb2.EventKind.Name(event.kind).removeprefix("EVENT_KIND_") for event in events]


def lead_type(name: str = "lead") -> dict[str, Any]:
    types = {"revenue": "DECIMAL", "stage": "TEXT", "kind": "TEXT", "company": "TEXT"}
    fields = [{"field_id": field, "type": f"FIELD_TYPE_{kind}"} for field, kind in types.items()]
    return {"record_type": name, "title_field": "company", "fields": fields}


def a_rule(rule_id: str = "all", policy: str = "ROUND_ROBIN", **parts: Any) -> dict[str, Any]:
    return {"rule_id": rule_id, "policy": f"POLICY_{policy}", **parts}


def a_segment(segment_id: str = "leads", *rules: Mapping[str, Any], **parts: Any) -> dict[str, Any]:
    base = {"segment_id": segment_id, "record_type": "lead", "rules": list(rules)}
    return base | ({} if "condition" in parts else {"is_default": True}) | parts


def quiet_settings(**parts: Any) -> dict[str, Any]:
    """Settings without event reruns."""
    return {"rerun_on": {}, **parts}


def a_lead(record_id: str, created: str | None = None, **fields: Any) -> Record:
    return Record(record_id, "lead", fields, created_time=at(created) if created else None)


def served(seller_id: str, order: int, time: str, capacity: int | None = None, **parts: Any) -> Seller:
    """A seller who was last given a lead at some time of the scenario's day."""
    return Seller(seller_id, capacity=capacity, last_assigned={"lead": (order, at(f"2026-03-05T{time}"))}, **parts)


Make = Callable[..., World]
