"""Traces: every call and every batch arrives at a collector, with ids and without what stands in fields; nothing of it where it is off."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as collector_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as collector_pb2_grpc

from reallot.clients import AsyncClient, Record, Seller
from reallot.server import app as application
from reallot.server.app import Application
from reallot.server.settings import Settings
from reallot.storage import migrate
from reallot.v1 import assignment_service_pb2, event_service_pb2, record_service_pb2, run_pb2
from support.api import a_row, refusal, sales

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = (("traceparent", f"00-{TRACE}-{SPAN}-01"),)
SECRET = 31_415_926.5


class Collector(collector_pb2_grpc.TraceServiceServicer):
    """Takes spans as a collector does."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.raw = b""

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.raw += request.SerializeToString()
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return collector_pb2.ExportTraceServiceResponse()


@pytest_asyncio.fixture
async def collector() -> AsyncIterator[tuple[Collector, str]]:
    taking, server = Collector(), grpc.aio.server()
    collector_pb2_grpc.add_TraceServiceServicer_to_server(taking, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield taking, f"http://127.0.0.1:{port}"
    await server.stop(0)


def attributes(span: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


async def test_calls_and_batches_arrive_at_a_collector(collector: tuple[Collector, str], tmp_path: Path) -> None:
    taking, endpoint = collector
    url = f"sqlite:///{tmp_path / 'traced.sqlite'}"
    migrate(url)
    settings = Settings(database_url=url, port=0, otlp_endpoint=endpoint)
    async with Application(settings) as app, AsyncClient(f"127.0.0.1:{app.port}", workspace="acme") as client:
        await client.config.apply(sales())
        await client.sellers.upsert([Seller("ann", attributes={"country": "DE"})])
        rows = [a_row("r1", {"country": "DE", "revenue": SECRET})]
        write = record_service_pb2.UpsertRecordsRequest(workspace="acme", records=rows, request_id="once")
        await client.stubs.records.UpsertRecords(write, metadata=PARENT)
        watch = client.stubs.events.Watch(event_service_pb2.WatchRequest(workspace="acme"), metadata=PARENT)
        await watch.read()
        watch.cancel()
        await refusal(client.stubs.records.GetRecord(record_service_pb2.GetRecordRequest(workspace="acme", record_id="r9")))
        await app.settle()
        selection = run_pb2.RunSelection(record_type="lead")
        run = await client.call(client.stubs.assignment.StartRun, assignment_service_pb2.StartRunRequest(selection=selection))
        await client.runs.wait(run.run_id)
    spans = {span.name: span for span in taking.spans}
    upsert = spans["reallot.v1.RecordService/UpsertRecords"]
    assert (upsert.trace_id.hex(), upsert.parent_span_id.hex()) == (TRACE, SPAN), "it stands below the span of its caller"
    said = attributes(upsert)
    assert {name: said[name] for name in ("rpc.system", "rpc.method", "reallot.workspace", "reallot.request_id", "reallot.code")} == {
        "rpc.system": "grpc",
        "rpc.method": "UpsertRecords",
        "reallot.workspace": "acme",
        "reallot.request_id": "once",
        "reallot.code": "OK",
    }
    assert attributes(spans["reallot.v1.RecordService/GetRecord"])["reallot.code"] == "NOT_FOUND"
    assert attributes(spans["reallot.v1.EventService/Watch"])["reallot.code"] == "CANCELLED"
    assert attributes(spans["reallot.v1.AssignmentService/StartRun"])["reallot.run_id"] == run.run_id
    batches = {attributes(span)["reallot.run_kind"]: span for span in taking.spans if span.name == "reallot.batch"}
    assert {"intake", "manual"} <= batches.keys()
    assert attributes(batches["manual"])["reallot.run_id"] == run.run_id
    for batch in batches.values():
        parts = [span for span in taking.spans if span.parent_span_id == batch.span_id]
        assert [span.name.removeprefix("reallot.") for span in parts] == ["read", "segment", "plan", "solve", "check", "commit"]
        times = [(span.start_time_unix_nano, span.end_time_unix_nano) for span in (*parts, batch)]
        assert all(start <= end for start, end in times)
        assert times[-1] == (times[0][0], times[-2][1])
    content = taking.raw
    assert b"big" not in content
    assert b"DE" not in content.replace(b"INTERNAL", b"")
    assert str(SECRET).encode() not in content


async def test_a_collector_that_is_away_holds_nothing_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'alone.sqlite'}"
    migrate(url)
    settings = Settings(database_url=url, port=0, otlp_endpoint="http://127.0.0.1:1")
    async with asyncio.timeout(60), Application(settings) as app, AsyncClient(f"127.0.0.1:{app.port}") as client:
        await client.config.apply(sales())
        await client.records.upsert([Record("r1", "lead", {"country": "DE"})])


def test_without_the_setting_nothing_of_it_is_loaded() -> None:
    code = (
        "import sys, reallot.server.app, reallot.server.commands.serve; sys.exit(any(m.startswith('opentelemetry') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_without_the_extra_the_setting_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "reallot.server.tracing", raising=False)
    made = application.Application(Settings(otlp_endpoint="http://127.0.0.1:1"))
    with pytest.raises(ValueError, match=r"pip install 'reallot\[otel\]'"):
        made._traces()
    with pytest.raises(ValueError, match="otlp_endpoint"):
        Settings(otlp_endpoint="collector:4317")
