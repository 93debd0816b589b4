"""A server that is killed loses nothing, does nothing twice, and goes on where it was."""

import asyncio
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from reallot.clients import AsyncClient, Client, Record, Seller
from reallot.clients.bundle import parse_bundle
from reallot.v1 import assignment_service_pb2, event_pb2, event_service_pb2, run_pb2

sys.path.insert(0, str(Path(__file__).parent))
from servers import Server, reallot, server

PATIENCE_S = 60
LEADS, SELLERS, CAPACITY = 3_000, 20, 100
ENDED = (run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_FAILED, run_pb2.RUN_STATE_CANCELLED)


def team(client: Client, **segment: Any) -> None:
    leads = {"record_type": "lead", "fields": [{"field_id": "stage", "type": "FIELD_TYPE_TEXT"}]}
    rules = [{"rule_id": "all", "policy": "POLICY_LOAD_BALANCING"}]
    base = {"segment_id": "leads", "record_type": "lead", "is_default": True, "rules": rules}
    resources, _ = parse_bundle({"record_types": [leads], "segments": [base | segment]})
    client.config.apply(resources)
    client.sellers.upsert(Seller(f"s{n:02d}", capacity=CAPACITY) for n in range(SELLERS))


def until(found: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < deadline, what


def audit(client: Client) -> Counter[str]:
    """Recount everything from the records: owners, loads, maxima, and the log of owners."""
    records = client.records.list()
    assert len(records) == LEADS
    owned = Counter(r.owner.seller_id for r in records if r.HasField("owner"))
    loads = {s.seller_id: sum(load.effort for load in s.load) for s in client.sellers.list()}
    assert {s: n for s, n in loads.items() if n} == dict(owned)
    assert max(owned.values(), default=0) <= CAPACITY
    given = Counter(e.record_id for e in all_events(client) if e.kind == event_pb2.EVENT_KIND_ASSIGNED)
    assert set(given.values()) <= {1}
    assert set(given) == {r.record_id for r in records if r.HasField("owner")}
    return owned


def all_events(client: Client) -> list[event_pb2.Event]:
    request = event_service_pb2.ListEventsRequest()
    found = list(client.iterate(client.inner.pages(client.inner.stubs.events.ListEvents, request, "events")))
    # Digests take numbers of their own, so the events' numbers rise but have gaps.
    numbers = [e.number for e in found]
    assert numbers == sorted(set(numbers))
    return found


@pytest.mark.parametrize("events_before_the_kill", [1, 1_200, 2_600], ids=["at once", "in the first commits", "late"])
def test_a_killed_batch_is_finished_by_the_next_server(url: str, events_before_the_kill: int) -> None:
    with server(url) as process:
        with Client(process.address) as client:
            team(client)
            client.records.upsert(Record(f"lead-{n:04d}", "lead") for n in range(LEADS))
            until(lambda: len(all_events(client)) > LEADS + events_before_the_kill - 1, "the batch did not begin")
        process.kill()
        process.start()
        with Client(process.address) as client:
            until(lambda: all(not r.pending for r in client.records.list()), "pending records were not finished")
            assert sum(audit(client).values()) == SELLERS * CAPACITY


def test_a_killed_run_is_taken_up_again(url: str) -> None:
    with server(url) as process:
        with Client(process.address) as client:
            team(client, on_arrival="ON_ARRIVAL_WAIT")
            client.records.upsert(Record(f"lead-{n:04d}", "lead") for n in range(LEADS))
            run_id = client.runs.start().run_id
            until(lambda: client.runs.get(run_id).state != run_pb2.RUN_STATE_PENDING, "the run did not begin")
        process.kill()
        process.start()
        with Client(process.address) as client:
            run = client.runs.wait(run_id)
            assert run.state == run_pb2.RUN_STATE_SUCCEEDED
            assert run.counts.assigned == SELLERS * CAPACITY, run
            audit(client)


def test_a_follower_loses_nothing_and_sees_nothing_twice_over_a_crash(url: str) -> None:
    """W2: the connection drops before and after data; the client resumes by itself."""
    with server(url) as process:
        with Client(process.address) as client:
            team(client, on_arrival="ON_ARRIVAL_WAIT")
        numbers = asyncio.run(follow_over_crashes(process))
        with Client(process.address) as client:
            expected = [e.number for e in all_events(client) if e.record_id == "watched"]
        assert numbers == expected


async def follow_over_crashes(process: Server) -> list[int]:
    found: list[event_pb2.Event] = []

    async def follow(client: AsyncClient) -> None:
        async for event in client.events.watch(record_ids=["watched"], cursor=""):
            found.append(event)
            if isinstance(event, event_pb2.Event) and event.after.fields["stage"].text == "s5":
                return

    async with AsyncClient(process.address) as client:
        task = asyncio.create_task(follow(client))
        await writes(process, "s0", until_seen=found)
        for stage in ("s1", "s2", "s3", "s4", "s5"):
            process.kill()
            process.start()
            await writes(process, stage)
        async with asyncio.timeout(PATIENCE_S):
            await task
    return [event.number for event in found]


async def writes(process: Server, stage: str, until_seen: list[event_pb2.Event] | None = None) -> None:
    """Write one stage; with `until_seen`, go on until the follower has begun to hear."""
    async with AsyncClient(process.address) as client:
        async with asyncio.timeout(PATIENCE_S):
            number = 0
            while True:
                await client.records.upsert([Record("watched", "lead", {"stage": f"{stage}{'-' * number}"})])
                number += 1
                if until_seen is None or until_seen:
                    return
                await asyncio.sleep(0.02)


def test_a_second_server_on_the_same_file_is_refused(tmp_path: Path) -> None:
    with server(f"sqlite:///{tmp_path / 'e2e.sqlite'}") as process:
        second = reallot("serve", "--port", "0", "--database-url", process.url)
        assert second.returncode == 2
        assert "is in use by another server" in second.stderr


def test_a_server_stops_gracefully_and_says_so(url: str) -> None:
    with server(url) as process:
        with Client(process.address) as client:
            team(client)
        assert process.stop() == 0


def test_a_cancelled_run_ends_and_keeps_what_it_committed(url: str) -> None:
    with server(url) as process, Client(process.address) as client:
        team(client, on_arrival="ON_ARRIVAL_WAIT")
        client.records.upsert(Record(f"lead-{n:04d}", "lead") for n in range(LEADS))
        run_id = client.runs.start().run_id
        client.runs.cancel(run_id)
        run = client.runs.wait(run_id)
        assert run.state in ENDED
        audit(client)


def test_many_writers_never_take_a_seller_above_the_maximum(url: str) -> None:
    """Eight writers give two thousand records each to a seller with fifty slots."""
    with server(url) as process, Client(process.address) as client:
        team(client, on_arrival="ON_ARRIVAL_WAIT")
        client.sellers.upsert([Seller("one", capacity=50)])
        client.records.upsert(Record(f"lead-{n:05d}", "lead") for n in range(8 * 2_000))
        given: list[int] = []

        def write(part: int) -> None:
            with Client(process.address) as own:
                ids = [f"lead-{n:05d}" for n in range(part, 8 * 2_000, 8)]
                # Few at a time in the beginning, so that many requests meet at the last slots.
                for some in [ids[:7], ids[7:14], *(ids[start : start + 200] for start in range(14, len(ids), 200))]:
                    request = assignment_service_pb2.AssignRecordsRequest(record_ids=some)
                    request.owner.seller_id = "one"
                    given.append(sum(r.assigned for r in own.stubs.assignment.AssignRecords(request).results))

        threads = [threading.Thread(target=write, args=(part,)) for part in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(given) == 50
        assert client.sellers.get("one").free == 0
