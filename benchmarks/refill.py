"""How soon a slot that becomes free is taken again, while many records wait that others may take, and how many of these are looked at.

Every seller is full, and records of each one's region wait. One record after the other is closed; what counts is the time from that call
until a follower hears that the seller has another. Run with `make bench NAME=refill ARGS="--engine postgresql"`.
"""

import argparse
import asyncio
import time
from dataclasses import dataclass, field

from benchmarks.databases import Databases
from benchmarks.report import Promise, arguments, percentile_ms, run, tell
from benchmarks.servers import ServerProcess
from reallot.clients import AsyncClient, Gap, Record, Seller
from reallot.clients.bundle import parse_bundle
from reallot.v1 import event_pb2, insight_service_pb2, run_pb2

MUST_HOLD_MS, AIM_MS = 1_000, 300
PATIENCE_S = 60.0
CAPACITY = 2
AT_ONCE = 1_000


@dataclass
class Heard:
    """What a follower has heard: the records of each seller, and when the last came, in seconds of `perf_counter`."""

    owned: dict[str, list[str]] = field(default_factory=dict)
    last: float = 0.0
    more: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self, client: AsyncClient, cursor: str) -> None:
        """Hear who gets what, for ever."""
        async for event in client.events.watch(cursor=cursor, owner_changed=True):
            if isinstance(event, Gap) or not isinstance(event, event_pb2.Event):
                raise RuntimeError(f"the follower missed events: {event}")
            if event.after.owner.seller_id:
                self.owned.setdefault(event.after.owner.seller_id, []).append(event.record_id)
                self.last = time.perf_counter()
                self.more.set()

    async def count(self, number: int) -> None:
        """Return when so many records have an owner.

        Raises:
            TimeoutError: that takes too long.
        """
        async with asyncio.timeout(PATIENCE_S):
            while sum(map(len, self.owned.values())) < number:
                self.more.clear()
                await self.more.wait()


def _bundle() -> dict[str, object]:
    region = {"field_id": "region", "type": "FIELD_TYPE_TEXT"}
    rule = {"rule_id": "own", "policy": "POLICY_ROUND_ROBIN", "target": {"matching": "seller.region == record.region"}}
    segment = {"segment_id": "all", "record_type": "lead", "is_default": True, "rules": [rule]}
    return {
        "settings": {"seller_fields": [region]},
        "record_types": [{"record_type": "lead", "fields": [region]}],
        "segments": [segment],
    }


async def _measured(address: str, given: argparse.Namespace) -> tuple[list[float], list[run_pb2.Run]]:
    """Return the seconds until each slot was taken again, and the runs that took them."""
    async with AsyncClient(address) as client:
        resources, _ = parse_bundle(_bundle())
        await client.config.apply(resources)
        heard = Heard()
        following = asyncio.create_task(heard.follow(client, ""))
        await client.sellers.upsert([Seller(f"s{n:04}", attributes={"region": f"r{n}"}, capacity=CAPACITY) for n in range(given.sellers)])
        leads = [Record(f"l{n:06}", "lead", {"region": f"r{n % given.sellers}"}) for n in range(given.records)]
        for start in range(0, len(leads), AT_ONCE):
            await client.records.upsert(leads[start : start + AT_ONCE])
        given_out = CAPACITY * given.sellers
        await heard.count(given_out)
        await _rest(client)
        before, seconds = {r.run_id for r in await client.runs.list()}, []
        for n in range(given.slots):
            seller = f"s{n % given.sellers:04}"
            started = time.perf_counter()
            await client.records.upsert([Record(heard.owned[seller].pop(0), "lead", active=False)])
            # What was closed is in the list no more.
            await heard.count(given_out)
            seconds.append(heard.last - started)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        runs = [r for r in await client.runs.list() if r.run_id not in before and r.kind == run_pb2.RUN_KIND_EVENT]
    return seconds, [r for r in runs if r.counts.assigned]


async def _rest(client: AsyncClient) -> None:
    """Return when nothing is on its way any more: the last record was tried, and no run is under way."""
    ended = (run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_CANCELLED, run_pb2.RUN_STATE_FAILED)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            status = await client.call(client.stubs.insight.GetStatus, insight_service_pb2.GetStatusRequest())
            if not status.pending and all(r.state in ended for r in await client.runs.list()):
                return
            await asyncio.sleep(0.1)


def _stages(runs: list[run_pb2.Run]) -> dict[str, float]:
    """Return the median milliseconds of each stage of the runs."""
    found: dict[str, list[float]] = {}
    for made in runs:
        for stage in made.stage_seconds:
            found.setdefault(run_pb2.RunStage.Name(stage.stage).removeprefix("RUN_STAGE_").lower(), []).append(stage.seconds)
    return {name: percentile_ms(seconds, 0.5) for name, seconds in found.items()}


def measure(given: argparse.Namespace, databases: Databases) -> None:
    """Measure once."""
    with ServerProcess(databases.fresh()) as server:
        seconds, runs = asyncio.run(_measured(server.address, given))
    considered = [r.counts.considered for r in runs]
    waiting = (given.records - CAPACITY * given.sellers) // given.sellers
    figures = {
        "records": given.records,
        "sellers": given.sellers,
        "slots": len(seconds),
        "p50_ms": percentile_ms(seconds, 0.5),
        "worst_ms": percentile_ms(seconds, 1.0),
        "waiting_of_each": waiting,
        "most_considered": max(considered, default=0),
        "p50_ms_by_stage": _stages(runs),
    }
    promises = [
        Promise(
            "p99 from the call that frees a slot until it is taken, ms", percentile_ms(seconds, 0.99), MUST_HOLD_MS, AIM_MS, at_most=True
        ),
        Promise(
            "most records that a run looked at beyond those the seller may take", max(considered, default=0) - waiting, 0, 0, at_most=True
        ),
    ]
    tell("refill", databases.engine, figures, promises)


def main() -> None:
    """Measure as the command line says."""
    run(arguments(__doc__, {"records": 20_000, "sellers": 200, "slots": 100}).parse_args(), measure)


if __name__ == "__main__":
    main()
