"""Workspaces as a whole: made, named, given out at one moment, and removed for good while others write; on both engines."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from sqlalchemy import create_engine, select
from typer.testing import CliRunner

from reallot.clients import AsyncClient, Record, Seller
from reallot.clients.cli import application
from reallot.server.app import Application
from reallot.server.settings import Settings
from reallot.storage import migrate
from reallot.storage.dialect import normal_url
from reallot.storage.tables import metadata
from reallot.v1 import config_service_pb2, event_service_pb2, record_service_pb2
from reallot.v1 import workspace_service_pb2 as pb
from support.api import a_row, refusal, sales
from support.postgres import fresh_postgresql

pytestmark = pytest.mark.asyncio(loop_scope="module")
NUMBERS = itertools.count(1)
PATIENCE_S = 60


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgresql"])
async def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, Application]]:
    file = tmp_path_factory.mktemp("workspaces") / "workspaces.sqlite"
    url = fresh_postgresql() if request.param == "postgresql" else f"sqlite:///{file}"
    migrate(url)
    async with Application(Settings(database_url=url, port=0, clock="manual:2026-03-02T08:00Z")) as app:
        yield url, app


@pytest_asyncio.fixture(loop_scope="module")
async def client(server: tuple[str, Application]) -> AsyncIterator[AsyncClient]:
    """A client of a workspace with a small sales organisation, beside the workspace "neighbour" with another."""
    _, app = server
    async with AsyncClient(f"127.0.0.1:{app.port}", workspace=f"acme-{next(NUMBERS)}") as found:
        for workspace in (found.workspace, "neighbour"):
            async with AsyncClient(f"127.0.0.1:{app.port}", workspace=workspace) as there:
                await there.config.apply(sales())
                await there.sellers.upsert([Seller("ann", attributes={"country": "DE"})])
                await there.records.upsert([Record(f"r{n}", "lead", {"country": "DE", "revenue": 2e6}) for n in range(3)])
        await app.settle()
        yield found


def rows_of(url: str, workspace: str) -> dict[str, int]:
    """Return how many rows of a workspace stand in each table, past the server."""
    engine = create_engine(normal_url(url))
    with engine.connect() as connection:
        tables = [t for t in metadata.sorted_tables if "workspace" in t.c]
        found = {t.name: len(connection.execute(select(t).where(t.c.workspace == workspace)).all()) for t in tables}
    engine.dispose()
    return {name: count for name, count in found.items() if count}


async def to_the_end(stream: Any) -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass


async def listed(client: AsyncClient) -> dict[str, str]:
    rows = client.pages(client.stubs.workspaces.ListWorkspaces, pb.ListWorkspacesRequest(page_size=1), "workspaces")
    return {row.workspace: row.display_name async for row in rows}


async def test_workspaces_are_made_by_the_first_write_or_before_and_named(client: AsyncClient) -> None:
    stubs, name = client.stubs.workspaces, f"made-{next(NUMBERS)}"
    assert client.workspace in await listed(client), "the first write has made it"
    made = await client.call(stubs.CreateWorkspace, pb.CreateWorkspaceRequest(workspace=name, request_id=name, display_name="Acme"))
    assert made == pb.Workspace(workspace=name, display_name="Acme")
    assert await client.call(stubs.CreateWorkspace, pb.CreateWorkspaceRequest(workspace=name, request_id=name, display_name="Acme")) == made
    assert (await refusal(stubs.CreateWorkspace(pb.CreateWorkspaceRequest(workspace=name)))).code == "ALREADY_EXISTS"
    await client.call(stubs.RenameWorkspace, pb.RenameWorkspaceRequest(workspace=name, display_name="Acme & Sons"))
    assert (await listed(client))[name] == "Acme & Sons"
    missing = await refusal(stubs.RenameWorkspace(pb.RenameWorkspaceRequest(workspace="nowhere", display_name="x")))
    assert (missing.code, missing.reason) == ("NOT_FOUND", "WORKSPACE_NOT_FOUND")
    assert "nowhere" not in await listed(client), "what is refused makes nothing"
    for bad in (pb.CreateWorkspaceRequest(), pb.CreateWorkspaceRequest(workspace="a b")):
        assert (await refusal(stubs.CreateWorkspace(bad))).fields == ("workspace",)
    request = config_service_pb2.ListAuditRequest(workspace=name, kind="workspace")
    audit = [entry async for entry in client.pages(client.stubs.config.ListAudit, request, "entries")]
    assert [(e.method.split(".")[1], e.before, json.loads(e.after)) for e in audit] == [
        ("CreateWorkspace", "", {"display_name": "Acme"}),
        ("RenameWorkspace", '{"display_name":"Acme"}', {"display_name": "Acme & Sons"}),
    ]


async def exported(client: AsyncClient, workspace: str) -> list[pb.ExportedRow]:
    request = pb.ExportWorkspaceRequest(workspace=workspace)
    return [row async for answer in client.stream(client.stubs.workspaces.ExportWorkspace, request) for row in answer.rows]


async def test_everything_of_a_workspace_and_nothing_else_is_given_out(client: AsyncClient, server: tuple[str, Application]) -> None:
    rows = await exported(client, client.workspace)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.table] = counts.get(row.table, 0) + 1
        assert json.loads(row.content)["workspace"] == client.workspace
    expected = rows_of(server[0], client.workspace)
    expected.pop("leases", None)
    assert counts == expected | {"schema": 1}
    assert ([row.table for row in rows[:2]], counts["records"]) == (["schema", "workspaces"], 3)
    assert (await refusal(anext(aiter(client.stubs.workspaces.ExportWorkspace(pb.ExportWorkspaceRequest(workspace="nowhere")))))).code == (
        "NOT_FOUND"
    )


async def test_a_deleted_workspace_is_gone_for_everybody_and_others_go_on(client: AsyncClient, server: tuple[str, Application]) -> None:
    url, app = server
    name, stubs = client.workspace, client.stubs
    cursor = (await client.call(stubs.events.ListEvents, event_service_pb2.ListEventsRequest())).cursor
    beside = rows_of(url, "neighbour")
    following = stubs.events.Watch(event_service_pb2.WatchRequest(workspace=name))
    await asyncio.wait_for(following.read(), PATIENCE_S)
    planned = await client.call(stubs.workspaces.DeleteWorkspace, pb.DeleteWorkspaceRequest(workspace=name, validate_only=True))
    assert rows_of(url, name)["records"] == {row.table: row.rows for row in planned.tables}["records"] == 3
    done = await client.call(
        stubs.workspaces.DeleteWorkspace, pb.DeleteWorkspaceRequest(workspace=name, request_id=name, reason="they left")
    )
    assert {row.table: row.rows for row in done.tables}["records"] == 3
    assert (
        await client.call(stubs.workspaces.DeleteWorkspace, pb.DeleteWorkspaceRequest(workspace=name, request_id=name, reason="they left"))
        == done
    )
    left = rows_of(url, name)
    assert set(left) <= {"workspaces", "audit", "leases"}
    assert rows_of(url, "neighbour") == beside
    assert name not in await listed(client)
    ended = await asyncio.wait_for(refusal(to_the_end(following)), PATIENCE_S)
    assert ended.reason == "WORKSPACE_DELETED", "who follows is told why it ends"
    for start in ("", cursor):
        again = stubs.events.Watch(event_service_pb2.WatchRequest(workspace=name, cursor=start))
        assert (await refusal(again.read())).reason == "WORKSPACE_DELETED"
    write = record_service_pb2.UpsertRecordsRequest(workspace=name, records=[a_row("late")])
    refused = await refusal(stubs.records.UpsertRecords(write))
    assert (refused.code, refused.reason, refused.metadata) == ("FAILED_PRECONDITION", "WORKSPACE_DELETED", {"workspace": name})
    entries = client.pages(stubs.config.ListAudit, config_service_pb2.ListAuditRequest(), "entries")
    audit = [(e.method.split(".")[1], e.kind, e.before + e.after, e.HasField("redacted_time")) async for e in entries]
    assert ("UpsertSellers", "seller", "", True) in audit, "who did what is known, but not what it was about"
    assert audit[-1][:2] == ("DeleteWorkspace", "workspace")
    await client.call(stubs.workspaces.CreateWorkspace, pb.CreateWorkspaceRequest(workspace=name))
    await client.config.apply(sales())
    await client.records.upsert([Record("r0", "lead", {"country": "DE"})])
    await app.settle()
    assert [r.record_id for r in await client.records.list()] == ["r0"]
    old = stubs.events.Watch(event_service_pb2.WatchRequest(workspace=name, cursor=cursor))
    assert (await refusal(old.read())).reason == "CURSOR_EXPIRED", "a cursor of the old is not taken for one of the new"
    nowhere = await refusal(stubs.workspaces.DeleteWorkspace(pb.DeleteWorkspaceRequest(workspace="nowhere")))
    assert nowhere.code == "NOT_FOUND"


async def test_the_command_line_makes_gives_out_and_deletes(client: AsyncClient, server: tuple[str, Application], tmp_path: Path) -> None:
    def call(*words: str) -> str:
        found = CliRunner().invoke(application("workspaces"), ["workspaces", *words, "--address", f"127.0.0.1:{server[1].port}"])
        assert found.exit_code == 0, found.output
        return found.output

    def all_of_it() -> list[Any]:
        call("create", "from-cli", "--name", "By hand")
        call("rename", "from-cli", "Otherwise")
        file = tmp_path / "acme.jsonl"
        call("export", client.workspace, "--output", str(file))
        call("restore", f"{client.workspace}-copy", str(file))
        told = call("delete", client.workspace, "--dry-run", "--json").splitlines()
        counted = json.loads(next(line for line in told if line.startswith("{")))
        call("delete", client.workspace, "--yes")
        names = [json.loads(line) for line in call("list", "--json").splitlines() if line.startswith("{")]
        return [{row["workspace"]: row["display_name"] for row in names}, file.read_text().splitlines(), counted]

    names, lines, counted = await asyncio.to_thread(all_of_it)
    assert names["from-cli"] == "Otherwise"
    assert client.workspace not in names
    assert f"{client.workspace}-copy" in names
    assert {"table": "records", "rows": "3"} in counted["tables"]
    assert len([line for line in lines if json.loads(line)["table"] == "records"]) == 3


async def test_a_workspace_is_restored_under_another_id_and_works_on(client: AsyncClient, server: tuple[str, Application]) -> None:
    url, app = server
    stubs, name = client.stubs.workspaces, f"{client.workspace}-again"
    rows = await exported(client, client.workspace)

    async def parts(some: list[pb.ExportedRow]) -> AsyncIterator[pb.RestoreWorkspaceRequest]:
        for start in range(0, len(some), 7):
            yield pb.RestoreWorkspaceRequest(workspace=name, rows=some[start : start + 7])

    broken = pb.ExportedRow(table="records", content=json.dumps({"workspace": "x", "record_id": "r9", "priority": "high"}))
    refused = await refusal(stubs.RestoreWorkspace(parts([*rows, broken])))
    assert (refused.code, "'priority'" in refused.text) == ("INVALID_ARGUMENT", True)
    first_record = next(row for row in rows if row.table == "records")
    config = json.loads(next(row for row in rows if row.table == "config" and '"segment"' in row.content).content)
    unread = pb.ExportedRow(table="config", content=json.dumps(config | {"id": "odd", "body": {"nonsense": 1}}))
    for wrong, at_fault in ((first_record, "records"), (unread, "config")):
        await client.call(stubs.DeleteWorkspace, pb.DeleteWorkspaceRequest(workspace=name))
        found = await refusal(stubs.RestoreWorkspace(parts([*rows, wrong])))
        assert (found.code, f"table {at_fault!r}" in found.text) == ("INVALID_ARGUMENT", True)
    await client.call(stubs.DeleteWorkspace, pb.DeleteWorkspaceRequest(workspace=name))
    bare = pb.ExportedRow(table="workspaces", content=json.dumps({"workspace": client.workspace}))
    assert "column 'event_number' is missing" in (await refusal(stubs.RestoreWorkspace(parts([rows[0], bare, *rows[2:]])))).text
    await client.call(stubs.DeleteWorkspace, pb.DeleteWorkspaceRequest(workspace=name))
    older = pb.ExportedRow(table="schema", content=json.dumps({"revision": "0001"}))
    found = await refusal(stubs.RestoreWorkspace(parts([older, *rows[1:]])))
    here = json.loads(rows[0].content)["revision"]
    assert (found.code, found.reason, found.metadata) == (
        "FAILED_PRECONDITION",
        "SCHEMA_MISMATCH",
        {"exported": "0001", "present": here},
    )
    for place, odd in enumerate((rows[1:], [rows[0], *rows[2:]])):
        assert (await refusal(stubs.RestoreWorkspace(parts(odd)))).fields == (f"rows[{place}].table",)
    await refusal(stubs.RestoreWorkspace(parts([*rows, broken])))
    write = record_service_pb2.UpsertRecordsRequest(workspace=name, records=[a_row("early")])
    assert (await refusal(client.stubs.records.UpsertRecords(write))).reason == "WORKSPACE_DELETED", "half of it is not worked with"
    assert (await refusal(stubs.RestoreWorkspace(parts(rows)))).reason == "WORKSPACE_NOT_EMPTY"
    await client.call(stubs.DeleteWorkspace, pb.DeleteWorkspaceRequest(workspace=name))
    await stubs.RestoreWorkspace(parts(rows))
    first, second = rows_of(url, client.workspace), rows_of(url, name)
    for table in ("audit", "leases"):
        first.pop(table, None), second.pop(table, None)
    assert second == first
    async with AsyncClient(f"127.0.0.1:{app.port}", workspace=name) as there:
        assert [r.owner for r in await there.records.list()] == [r.owner for r in await client.records.list()]
        await there.records.upsert([Record("r9", "lead", {"country": "DE", "revenue": 2e6})])
        await app.settle()
        assert (await there.records.get("r9")).owner.seller_id == "ann"
        events = there.pages(there.stubs.events.ListEvents, event_service_pb2.ListEventsRequest(), "events")
        numbers = [event.number async for event in events]
        assert numbers == sorted(set(numbers))
    assert (await refusal(stubs.RestoreWorkspace(parts(rows)))).reason == "WORKSPACE_NOT_EMPTY"


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_where_operators_own_the_list_a_write_makes_no_workspace(engine: str, tmp_path: Path) -> None:
    url = fresh_postgresql() if engine == "postgresql" else f"sqlite:///{tmp_path / 'owned.sqlite'}"
    migrate(url)
    settings = Settings(database_url=url, port=0, clock="manual:2026-03-02T08:00Z", create_workspaces=False)
    async with Application(settings) as app, AsyncClient(f"127.0.0.1:{app.port}", workspace="typo") as client:
        stubs = client.stubs
        for name in ("typo", ""):
            write = config_service_pb2.ApplyRequest(workspace=name, resources=sales())
            found = await refusal(stubs.config.Apply(write))
            assert (found.code, found.reason) == ("NOT_FOUND", "WORKSPACE_NOT_FOUND")
            assert "reallot workspaces create" in found.text
        assert await listed(client) == {}
        await client.call(stubs.workspaces.CreateWorkspace, pb.CreateWorkspaceRequest(workspace="typo"))
        await client.config.apply(sales())
        await client.records.upsert([Record("r1", "lead", {"country": "DE"})])
        await app.settle()
        assert (await client.records.get("r1")).segment_id == "rest"
        await client.call(stubs.workspaces.DeleteWorkspace, pb.DeleteWorkspaceRequest(workspace="typo"))
        late = await refusal(stubs.records.UpsertRecords(record_service_pb2.UpsertRecordsRequest(workspace="typo", records=[a_row("r2")])))
        assert late.reason == "WORKSPACE_DELETED", "what stands is looked at again once workspaces themselves have changed"
