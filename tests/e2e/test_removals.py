"""A server that is killed in the middle of a removal: the next one finishes it, nobody asks again."""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, text

from reallot.clients import AsyncClient, Client, Record, Seller
from reallot.clients.bundle import parse_bundle
from reallot.storage import migrate
from reallot.storage.dialect import normal_url
from reallot.v1 import config_service_pb2
from reallot.v1 import workspace_service_pb2 as pb

sys.path.insert(0, str(Path(__file__).parent))
from servers import Server, server

PATIENCE_S = 150
LEADS, NAME = 1_500, "Annabel Lee"


def filled(address: str, workspace: str) -> None:
    """Fill a workspace with many rows that name a seller, and wait until all is quiet."""
    leads = {"record_type": "lead", "fields": [{"field_id": "stage", "type": "FIELD_TYPE_TEXT"}]}
    rules = [{"rule_id": "all", "target": {"sellers": {"seller_ids": ["ann"]}}}]
    segment = {"segment_id": "leads", "record_type": "lead", "is_default": True, "rules": rules}
    with Client(address, workspace=workspace) as client:
        client.config.apply(parse_bundle({"record_types": [leads], "segments": [segment]})[0])
        client.sellers.upsert([Seller("ann", display_name=NAME, capacity=LEADS)])
        client.records.load([Record(f"r{n}", "lead", {"stage": "new"}) for n in range(LEADS)], live=True)
        until(lambda: not client.records.list(unowned=True))


def until(found: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < deadline


def killed_in_the_middle(running: Server, engine: Engine, call: Any) -> None:
    """Ask for a removal, and kill the server once it has begun."""

    async def ask() -> None:
        async with AsyncClient(running.address) as client:
            asking = asyncio.ensure_future(call(client))
            while not await asyncio.to_thread(rows, engine, "erasures"):
                assert not asking.done(), asking
            running.kill()
            await asyncio.gather(asking, return_exceptions=True)

    asyncio.run(ask())
    assert rows(engine, "erasures") == 1, "it was not at its end"
    running.start()
    until(lambda: rows(engine, "erasures") == 0)


def rows(engine: Engine, table: str, where: str = "1 = 1") -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table} WHERE {where}")).scalar_one())


def audited(address: str, workspace: str, method: str) -> list[config_service_pb2.AuditEntry]:
    with Client(address, workspace=workspace) as client:
        request = config_service_pb2.ListAuditRequest(workspace=workspace)
        found = list(client.iterate(client.inner.pages(client.inner.stubs.config.ListAudit, request, "entries")))
    return [entry for entry in found if entry.method.endswith(method)]


def test_what_was_begun_to_be_removed_is_removed(url: str) -> None:
    migrate(url)
    engine = create_engine(normal_url(url))
    with server(url) as running:
        filled(running.address, "acme")
        assert rows(engine, "events", f"sentence LIKE '%{NAME}%'") >= LEADS
        redact = pb.RedactPersonalDataRequest(workspace="acme", seller_id="ann", request_id="once")
        killed_in_the_middle(running, engine, lambda client: client.stubs.workspaces.RedactPersonalData(redact))
        assert rows(engine, "events", f"sentence LIKE '%{NAME}%'") == 0
        assert rows(engine, "audit", f"after LIKE '%{NAME}%'") == 0
        (noted,) = audited(running.address, "acme", "RedactPersonalData")
        assert "events" in noted.after
        delete = pb.DeleteWorkspaceRequest(workspace="acme")
        killed_in_the_middle(running, engine, lambda client: client.stubs.workspaces.DeleteWorkspace(delete))
        for table in ("records", "events", "decisions", "sellers", "config", "requests"):
            assert rows(engine, table, "workspace = 'acme'") == 0, table
        (noted,) = audited(running.address, "acme", "DeleteWorkspace")
        assert f'"records":{LEADS}' in noted.before
    engine.dispose()
