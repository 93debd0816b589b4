"""Writers of a fault test: records that come, change, close and go, decisions by hand, capacities, absences, configuration, runs."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from chaos import office
from chaos.link import Link
from reallot.clients import Record
from reallot.v1 import (
    assignment_service_pb2,
    config_service_pb2,
    record_service_pb2,
    seller_service_pb2,
)

PAUSE_S = 0.02
MOST_KNOWN = 120


class Writer:
    """One writer, with records of its own; every choice comes from its seed."""

    def __init__(self, link: Link, seed: str, gate: asyncio.Event) -> None:
        self._link = link
        self._rng = random.Random(seed)
        self._gate = gate
        self._known: dict[str, str] = {}
        self._made = 0
        self.idle = asyncio.Event()
        self.idle.set()
        # One writer changes a seller's capacity, so that the order of the changes is known.
        self._sellers = [s for s in office.sellers() if int(s[1:]) % 4 == int(link.name[1:]) % 4]

    async def work(self) -> None:
        """Write for ever, while the gate is open."""
        choices: list[tuple[int, Callable[[], Awaitable[Any]]]] = [
            (6, self.create),
            (8, self.update),
            (5, self.close),
            (4, self.assign),
            (2, self.release),
            (2, self.hand_over),
            (1, self.delete),
            (2, self.change_capacity),
            (1, self.be_absent),
            (1, self.touch_configuration),
            (1, self.start_run),
        ]
        weights, deeds = [w for w, _ in choices], [d for _, d in choices]
        while True:
            await self._gate.wait()
            self.idle.clear()
            try:
                (deed,) = self._rng.choices(deeds, weights)
                await deed()
            finally:
                self.idle.set()
            await asyncio.sleep(PAUSE_S)

    def _some(self, most: int) -> list[str]:
        return self._rng.sample(list(self._known), min(len(self._known), self._rng.randint(1, most)))

    async def _upsert(self, records: list[Record]) -> None:
        if not records:
            return
        tokens = {r.record_id: f"{self._link.name}.{self._rng.getrandbits(40):x}" for r in records}
        request = record_service_pb2.UpsertRecordsRequest(records=[r.to_upsert() for r in records])
        for row in request.records:
            row.record.fields["token"].text = tokens[row.record.record_id]
            if row.update_mask.paths and "fields" not in row.update_mask.paths:
                row.update_mask.paths.append("fields")
        intent = {"records": [{"id": r.record_id, "token": tokens[r.record_id], "effort": r.effort} for r in records]}
        await self._link.ask("upsert", lambda s: s.records.UpsertRecords, request, intent, _upserted)

    async def create(self) -> None:
        """Store new records, unless there are enough."""
        if len(self._known) > MOST_KNOWN:
            return await self.close()
        made = []
        for _ in range(self._rng.randint(1, 12)):
            self._made += 1
            fields = {"stage": self._rng.choice(office.STAGES), "region": self._rng.choice(office.REGIONS)}
            kind = "deal" if self._rng.random() < 0.25 else "lead"
            made.append(Record(f"{self._link.name}-{self._made:05d}", kind, fields, effort=self._rng.choice((1, 1, 2))))
        await self._upsert(made)
        self._known |= {record.record_id: record.record_type for record in made}

    async def update(self) -> None:
        """Change stages, which moves records between segments."""
        await self._upsert([Record(i, self._known[i], {"stage": self._rng.choice(office.STAGES)}) for i in self._some(8)])

    async def close(self) -> None:
        """Close the oldest records, or reopen some."""
        if self._rng.random() < 0.15:
            await self._upsert([Record(i, self._known[i], active=True) for i in self._some(5)])
        else:
            oldest = list(self._known)[: self._rng.randint(1, 14)]
            closing = [Record(i, self._known[i], active=False) for i in oldest]
            for record_id in oldest[::2]:
                del self._known[record_id]
            await self._upsert(closing)

    async def hand_over(self) -> None:
        """Write an owner through an upsert, believing that nobody owns the record."""
        owner = self._rng.choice(sorted(office.sellers()))
        await self._upsert([Record(i, self._known[i], {"region": "north"}, owner=owner, expected_owner="") for i in self._some(2)])

    async def assign(self) -> None:
        """Give records to a seller by hand, sometimes by force."""
        force = self._rng.random() < 0.15
        request = assignment_service_pb2.AssignRecordsRequest(record_ids=self._some(4), force=force)
        request.owner.seller_id = self._rng.choice(sorted(office.sellers()))
        intent = {"records": list(request.record_ids), "owner": request.owner.seller_id, "force": force}
        if request.record_ids:
            await self._link.ask("assign", lambda s: s.assignment.AssignRecords, request, intent, _assigned, _reason)

    async def release(self) -> None:
        """Take records from their owners."""
        request = assignment_service_pb2.ReleaseRecordsRequest(record_ids=self._some(4))
        intent = {"records": list(request.record_ids)}
        if request.record_ids:
            await self._link.ask(
                "release", lambda s: s.assignment.ReleaseRecords, request, intent, lambda a: {"released": a.released}, _reason
            )

    async def delete(self) -> None:
        """Delete records; they do not come back."""
        request = record_service_pb2.DeleteRecordsRequest(record_ids=self._some(3))
        if request.record_ids:
            for record_id in request.record_ids:
                del self._known[record_id]
            intent = {"records": list(request.record_ids)}
            await self._link.ask("delete", lambda s: s.records.DeleteRecords, request, intent, lambda a: {"deleted": a.deleted})

    async def change_capacity(self) -> None:
        """Raise or lower the maximum of a seller."""
        await self.write_capacities({self._rng.choice(self._sellers): self._rng.randint(2, 12)})

    async def write_capacities(self, capacities: dict[str, int]) -> None:
        """Store sellers with these maxima."""
        rows = [office.seller(seller_id, total).to_upsert() for seller_id, total in capacities.items()]
        request = seller_service_pb2.UpsertSellersRequest(sellers=rows)
        intent = {"sellers": {seller_id: {"total": total} for seller_id, total in capacities.items()}}
        await self._link.ask("capacity", lambda s: s.sellers.UpsertSellers, request, intent, lambda a: {"rows": len(a.results)})

    async def be_absent(self) -> None:
        """Enter an absence far away, with the request's id as its note."""
        sellers = self._rng.sample(self._sellers, 2)
        request = seller_service_pb2.AddTimeOffRequest(seller_ids=sellers)
        start_s = 4_000_000_000 + self._rng.randrange(10**6)
        request.time_off.start_time.FromSeconds(start_s)
        request.time_off.end_time.FromSeconds(start_s + 3_600)

        def named(message: Any, request_id: str) -> None:
            message.time_off.time_off_id, message.time_off.note = request_id, request_id

        await self._link.ask("absence", lambda s: s.sellers.AddTimeOff, request, {"sellers": sellers}, lambda a: {}, named)

    async def touch_configuration(self) -> None:
        """Rename a segment."""
        await self.configure(office.touched(self._rng))

    async def configure(self, resources: list[Any]) -> None:
        """Apply configuration; the request's id stands as its author."""
        request = config_service_pb2.ApplyRequest(resources=resources)

        def named(message: Any, request_id: str) -> None:
            message.actor = request_id

        await self._link.ask("config", lambda s: s.config.Apply, request, {}, _applied, named)

    async def start_run(self) -> None:
        """Start a run over what waits."""
        request = assignment_service_pb2.StartRunRequest(limit=self._rng.choice((0, 0, 10)))
        if self._rng.random() < 0.3:
            request.selection.resegment = True

        def named(message: Any, request_id: str) -> None:
            message.cause = request_id

        await self._link.ask("run", lambda s: s.assignment.StartRun, request, {}, lambda a: {"run_id": a.run_id}, named)


def _reason(message: Any, request_id: str) -> None:
    message.reason = request_id


def _upserted(answer: Any) -> dict[str, Any]:
    rows = [{"id": r.record_id, "etag": r.etag, "conflict": r.conflict.kind if r.HasField("conflict") else 0} for r in answer.results]
    return {"results": rows}


def _assigned(answer: Any) -> dict[str, Any]:
    return {"assigned": [result.record_id for result in answer.results if result.assigned]}


def _applied(answer: Any) -> dict[str, Any]:
    changed = [c for c in answer.changes if c.action != config_service_pb2.CHANGE_ACTION_UNCHANGED]
    return {"changes": len(changed)}
