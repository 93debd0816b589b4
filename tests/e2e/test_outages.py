"""A server whose disk is full, whose database is gone or whose workers are killed says so, writes nothing by halves, and goes on by itself
when the cause is gone.
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import timestamp_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from reallot.clients import Client, Record, Seller
from reallot.clients.bundle import parse_bundle
from reallot.testing.v1 import clock_service_pb2, clock_service_pb2_grpc
from reallot.v1 import record_pb2, record_service_pb2, record_service_pb2_grpc, run_pb2
from support.api import refusal_of
from support.postgres import fresh_postgresql, server_url

sys.path.insert(0, str(Path(__file__).parent))
from servers import Server, server

PATIENCE_S = 60
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
LEADS = {"record_type": "lead", "fields": [{"field_id": "note", "type": "FIELD_TYPE_TEXT"}]}
SEGMENT = {"segment_id": "leads", "record_type": "lead", "is_default": True, "rules": [{"rule_id": "all", "policy": "POLICY_ROUND_ROBIN"}]}


def until(found: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < deadline, what


class Shop:
    """A server with a team, seen through bare calls that are not repeated, and through the stream of its health."""

    def __init__(self, process: Server) -> None:
        self.process = process
        self.client = Client(process.address)
        resources, _ = parse_bundle({"record_types": [LEADS], "segments": [SEGMENT]})
        self.client.config.apply(resources)
        self.client.sellers.upsert([Seller("ann"), Seller("ben")])
        self._channel = grpc.insecure_channel(process.address)
        self.records = record_service_pb2_grpc.RecordServiceStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel).Watch(
            health_pb2.HealthCheckRequest(service="reallot.v1.RecordService"), timeout=PATIENCE_S
        )
        assert self.health() == SERVING

    def health(self) -> int:
        """Wait for the next word of the server's health."""
        return int(next(self._health).status)

    def write(self, *names: str, note: str = "") -> None:
        rows = [Record(name, "lead", {"note": note}).to_upsert() for name in names]
        self.records.UpsertRecords(record_service_pb2.UpsertRecordsRequest(records=rows))

    def get(self, name: str) -> record_pb2.Record:
        found: record_pb2.Record = self.records.GetRecord(record_service_pb2.GetRecordRequest(record_id=name))
        return found

    def is_assigned(self, name: str) -> bool:
        return self.get(name).HasField("owner")

    def is_refused(self, call: Callable[[], object]) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert (refusal_of(caught.value).code, refusal_of(caught.value).reason) == ("UNAVAILABLE", "STORAGE_UNAVAILABLE")

    def set_clock(self, moment: str) -> None:
        time_ = timestamp_pb2.Timestamp()
        time_.FromJsonString(moment)
        clock_service_pb2_grpc.ClockServiceStub(self._channel).Set(clock_service_pb2.SetRequest(time=time_))

    def workers(self) -> list[int]:
        """Return the worker processes, without the helper that multiprocessing runs beside them."""
        pid = self.process.process_id
        children = [int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
        return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]

    def close(self) -> None:
        self._health.cancel()
        self._channel.close()
        self.client.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    (tmp_path / "data").mkdir()
    with server(f"sqlite:///{tmp_path / 'data' / 'live.sqlite'}") as process:
        made = Shop(process)
        yield made
        made.close()


def test_a_full_disk_refuses_writes_and_nothing_else(shop: Shop, tmp_path: Path) -> None:
    shop.write("early")
    until(lambda: shop.is_assigned("early"), "the first record is assigned")
    pid, (soft, hard) = shop.process.process_id, resource.getrlimit(resource.RLIMIT_FSIZE)
    # Commits are appended to this file, so not even a small one finds room.
    resource.prlimit(pid, resource.RLIMIT_FSIZE, ((tmp_path / "data" / "live.sqlite-wal").stat().st_size, hard))
    many = [f"r{n:03d}" for n in range(500)]
    shop.is_refused(lambda: shop.write(*many, note="x" * 30_000))
    assert shop.health() == NOT_SERVING
    shop.is_refused(lambda: shop.write("small"))
    assert shop.is_assigned("early")
    assert [r.record_id for r in shop.client.records.list()] == ["early"]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    assert shop.health() == SERVING
    shop.write(*many, note="x" * 30_000)
    until(lambda: shop.is_assigned(many[-1]), "records are assigned again")
    shop.process.signal(signal.SIGTERM)
    assert shop.process.ended() == 0


def test_a_folder_that_is_gone_for_a_while_is_not_made_anew(shop: Shop, tmp_path: Path) -> None:
    shop.write("early")
    until(lambda: shop.is_assigned("early"), "the first record is assigned")
    os.rename(tmp_path / "data", tmp_path / "elsewhere")
    shop.is_refused(lambda: shop.write("lost"))
    shop.is_refused(lambda: shop.get("early"))
    assert shop.health() == NOT_SERVING
    (tmp_path / "data").mkdir()
    shop.is_refused(lambda: shop.write("lost"))
    assert list((tmp_path / "data").iterdir()) == []
    (tmp_path / "data").rmdir()
    os.rename(tmp_path / "elsewhere", tmp_path / "data")
    assert shop.health() == SERVING
    shop.write("late")
    until(lambda: shop.is_assigned("late"), "records are assigned again")
    assert {r.record_id for r in shop.client.records.list()} == {"early", "late"}


def test_a_file_that_was_replaced_is_not_taken_for_the_old_one(shop: Shop, tmp_path: Path) -> None:
    live, aside = tmp_path / "data" / "live.sqlite", tmp_path / "aside"
    os.rename(live, aside)
    live.write_bytes(aside.read_bytes())
    shop.is_refused(lambda: shop.write("lost"))
    assert shop.health() == NOT_SERVING
    os.replace(aside, live)
    assert shop.health() == SERVING
    shop.write("late")


def test_a_postgresql_that_is_gone_for_a_while_is_found_again() -> None:
    url = fresh_postgresql()
    name = make_url(url).database
    admin = create_engine(server_url(), isolation_level="AUTOCOMMIT")
    with server(url) as process, admin.connect() as connection:
        shop = Shop(process)
        shop.write("early")
        until(lambda: shop.is_assigned("early"), "the first record is assigned")
        connection.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'))
        connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": name})
        shop.is_refused(lambda: shop.write("lost"))
        shop.is_refused(lambda: shop.get("early"))
        assert shop.health() == NOT_SERVING
        connection.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'))
        assert shop.health() == SERVING
        shop.write("late")
        until(lambda: shop.is_assigned("late"), "records are assigned again")
        assert {r.record_id for r in shop.client.records.list()} == {"early", "late"}
        shop.close()
    admin.dispose()


def test_workers_that_are_killed_cost_time_and_nothing_else(shop: Shop) -> None:
    for number in range(2):
        stopped = shop.workers()
        assert len(stopped) == 2
        for worker in stopped:
            os.kill(worker, signal.SIGSTOP)
        # Both lanes have handed their work to a process that does not get on with it.
        shop.write(f"r{number}")
        run_id = shop.client.runs.start().run_id
        # This one, or one that an event has asked for before it.
        until(lambda: any(run.state == run_pb2.RUN_STATE_RUNNING for run in shop.client.runs.list()), "a run begins")
        for worker in stopped:
            os.kill(worker, signal.SIGKILL)
        until(lambda name=f"r{number}": shop.is_assigned(name), "the record is assigned")  # type: ignore[misc]
        assert shop.client.runs.wait(run_id).state == run_pb2.RUN_STATE_SUCCEEDED


def test_a_schedule_that_falls_due_in_an_outage_fires_afterwards(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with server(f"sqlite:///{tmp_path / 'data' / 'live.sqlite'}", "--clock", "manual:2026-03-06T00:00Z") as process:
        shop = Shop(process)
        hourly = {"schedule_id": "hourly", "every": {"duration": "3600s"}}
        shop.client.config.apply(parse_bundle({"schedules": [hourly]})[0])
        os.rename(tmp_path / "data", tmp_path / "elsewhere")
        shop.is_refused(lambda: shop.set_clock("2026-03-06T01:00:00Z"))
        assert shop.health() == NOT_SERVING
        os.rename(tmp_path / "elsewhere", tmp_path / "data")
        assert shop.health() == SERVING
        # The schedules are looked at again some seconds after the fault.
        shop.set_clock("2026-03-06T01:00:30Z")
        runs = shop.client.runs.list(kinds=[run_pb2.RUN_KIND_SCHEDULED])
        assert [run.state for run in runs] == [run_pb2.RUN_STATE_SUCCEEDED]
        shop.close()
