"""How soon the server answers health checks while a large run is read, planned, solved, checked and committed.

Prints one JSON object: percentiles in milliseconds by what the run was doing, those before it as the floor, and the seconds of the
run's stages. Run with `make bench NAME=responsive`.
"""

import argparse
import asyncio
import json
import random
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from reallot.clients import AsyncClient, Record, Seller
from reallot.clients.bundle import parse_bundle
from reallot.server.demo.company import START
from reallot.server.demo.process import server_process
from reallot.testing.v1 import clock_service_pb2, clock_service_pb2_grpc
from reallot.v1 import run_pb2

INTERVAL_S = 0.005
LINES = 50
FLOOR_CHECKS = 400
WORKER_STAGES = ("read", "segment", "plan", "solve", "check")


def percentile(seconds: list[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    ordered = sorted(seconds)
    return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1e3, 2)


async def check_until(stub: health_pb2_grpc.HealthStub, stage: list[str], most: int = 10**9) -> list[tuple[str, float]]:
    """Ask for health again and again, and return what the run was doing and how long each answer took."""
    found: list[tuple[str, float]] = []
    while stage[0] != "done" and len(found) < most:
        started = time.perf_counter()
        answer = await stub.Check(health_pb2.HealthCheckRequest())
        found.append((stage[0], time.perf_counter() - started))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        await asyncio.sleep(INTERVAL_S)
    return found


def shown(checks: list[tuple[str, float]]) -> dict:
    """Return what is shown of some checks."""
    if not checks:
        return {"checks": 0}
    seconds = [took for _, took in checks]
    return {
        "checks": len(seconds),
        "p50_ms": percentile(seconds, 0.5),
        "p99_ms": percentile(seconds, 0.99),
        "worst_ms": percentile(seconds, 1.0),
    }


def bundle() -> dict:
    """Return a configuration in which every record waits for the run and fits the sellers of its region."""
    fields = [{"field_id": name, "type": "FIELD_TYPE_TEXT"} for name in ("region", "line")]
    either = "seller.region == record.region || seller.line == record.line"
    rule = {"rule_id": "either", "policy": "POLICY_ROUND_ROBIN", "target": {"matching": either}}
    return {
        "settings": {"rerun_on": {}, "seller_fields": fields},
        "record_types": [{"record_type": "lead", "fields": fields}],
        "segments": [{"segment_id": "all", "record_type": "lead", "is_default": True, "on_arrival": "ON_ARRIVAL_WAIT", "rules": [rule]}],
    }


async def _settled(client: AsyncClient) -> None:
    """Return when intake has dealt with all records: advancing the clock by nothing waits for that."""
    request = clock_service_pb2.AdvanceRequest()
    request.duration.FromSeconds(0)
    await clock_service_pb2_grpc.ClockServiceStub(client.channel).Advance(request)


async def measure(address: str, records: int, sellers: int, seed: int) -> dict:
    """Load the data, then measure before and during the run."""
    chance = random.Random(seed)
    regions = max(sellers // 25, 1)
    async with AsyncClient(address) as client:
        resources, _ = parse_bundle(bundle())
        await client.config.apply(resources)
        capacity = records // sellers + 1
        rows = [
            Seller(f"s{n:05d}", attributes={"region": f"r{n % regions}", "line": f"l{chance.randrange(LINES)}"}, capacity=capacity)
            for n in range(sellers)
        ]
        await client.sellers.upsert(rows)
        for start in range(0, records, 20_000):
            batch = [
                Record(f"r{n:07d}", "lead", {"region": f"r{chance.randrange(regions)}", "line": f"l{chance.randrange(LINES)}"})
                for n in range(start, min(start + 20_000, records))
            ]
            await client.records.upsert(batch)
        await _settled(client)
        async with grpc.aio.insecure_channel(address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            stage = ["before"]
            floor = await check_until(stub, stage, FLOOR_CHECKS)
            checks = asyncio.create_task(check_until(stub, stage))
            started = time.perf_counter()
            run = await client.runs.start(run_pb2.RunSelection(record_type="lead"))
            async for answer in client.runs.watch(run.run_id):
                run = answer.run
                stage[0] = run_pb2.RunStage.Name(run.stage).removeprefix("RUN_STAGE_").lower()
            took = time.perf_counter() - started
            during = await checks
    stages = {run_pb2.RunStage.Name(s.stage).removeprefix("RUN_STAGE_").lower(): round(s.seconds, 2) for s in run.stage_seconds}
    return {
        "benchmark": "responsive",
        "records": records,
        "sellers": sellers,
        "assigned": run.counts.assigned,
        "run_seconds": round(took, 2),
        "stage_seconds": stages,
        "floor": shown(floor),
        "while_worker_works": shown([c for c in during if c[0] in WORKER_STAGES]),
        "while_solving": shown([c for c in during if c[0] == "solve"]),
        "while_committing": shown([c for c in during if c[0] == "commit"]),
        "must_hold_p99_ms": 50,
    }


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--sellers", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with server_process(START) as address:
        print(json.dumps(asyncio.run(measure(address, given.records, given.sellers, given.seed))))


if __name__ == "__main__":
    main()
