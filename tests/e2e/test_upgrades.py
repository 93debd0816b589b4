"""A new version comes while the old one serves: a migration that only adds leaves the old servers working, one that takes away ends that.

The newer programs are real ones: this one's storage with more migrations, found first on the path of their processes.
"""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reallot.clients import Client, Record, Seller
from reallot.clients.bundle import parse_bundle
from reallot.storage.schema import head
from support.postgres import fresh_postgresql

sys.path.insert(0, str(Path(__file__).parent))
from servers import COMMAND, Server, reallot, server

STORAGE = Path(__file__).parents[2] / "storage"
MIGRATION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on, expands = {revision!r}, {before!r}, None, None, {expands}
def upgrade():
    {statement}
"""
ADDS = """
    for table in ("records", "sellers", "runs", "events", "decisions", "config"):
        op.add_column(table, sa.Column("colour", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.create_table("colours", sa.Column("colour", sa.Text(), primary_key=True))
    op.create_index("ix_records_colour", "records", ["colour"])
"""
TAKES_AWAY = """op.drop_table("config_changes")"""


def newer_program(folder: Path, *migrations: tuple[str, bool, str]) -> dict[str, str]:
    """Make a program with these further migrations (revision, whether it expands, what it does); return its processes' environment."""
    storage = shutil.copytree(STORAGE, folder / "reallot" / "storage", ignore=shutil.ignore_patterns("__pycache__"))
    before = head()
    for revision, expands, statement in migrations:
        text = MIGRATION.format(revision=revision, before=before, expands=expands, statement=statement)
        (storage / "migrations" / "versions" / f"{revision}_later.py").write_text(text)
        before = revision
    return os.environ | {"PYTHONPATH": str(folder)}


@pytest.fixture
def newer(tmp_path: Path) -> dict[str, str]:
    """The environment of a program whose migration adds to the schema."""
    return newer_program(tmp_path / "newer", ("9001", True, ADDS))


@pytest.fixture
def newest(tmp_path: Path) -> dict[str, str]:
    """The environment of a program whose last migration takes away what the present one needs."""
    return newer_program(tmp_path / "newest", ("9001", True, ADDS), ("9002", False, TAKES_AWAY))


def migrate(url: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "migrate", "--database-url", url]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def team(client: Client) -> None:
    leads = {"record_type": "lead", "fields": [{"field_id": "stage", "type": "FIELD_TYPE_TEXT"}]}
    rules = [{"rule_id": "all", "policy": "POLICY_ROUND_ROBIN"}]
    segment = {"segment_id": "leads", "record_type": "lead", "is_default": True, "rules": rules, "on_arrival": "ON_ARRIVAL_WAIT"}
    client.config.apply(parse_bundle({"record_types": [leads], "segments": [segment]})[0])
    client.sellers.upsert(Seller(f"s{n}") for n in range(3))


def works(process: Server, prefix: str, count: int = 60) -> None:
    """Have a server do all it does with the tables: writes large and small, runs, lists."""
    with Client(process.address) as client:
        client.sellers.upsert(Seller(f"s{n}") for n in range(3))
        client.records.upsert(Record(f"{prefix}-{n}", "lead", {"stage": "new"}) for n in range(count))
        client.records.upsert([Record(f"{prefix}-0", "lead", {"stage": "old"})])
        client.runs.wait(client.runs.start().run_id)
        mine = [r for r in client.records.list() if r.record_id.startswith(f"{prefix}-")]
        assert len(mine) == count
        assert all(r.HasField("owner") for r in mine)


def test_a_server_of_the_previous_schema_works_while_and_after_the_schema_grows(
    newer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fresh_postgresql()
    with server(url) as old:
        with Client(old.address) as client:
            team(client)
        works(old, "before")
        stop, written = threading.Event(), []

        def go_on_writing() -> None:
            with Client(old.address) as client:
                while not stop.is_set():
                    written.append(f"during-{len(written)}")
                    client.records.upsert([Record(written[-1], "lead")])

        writer = threading.Thread(target=go_on_writing)
        writer.start()
        done = migrate(url, newer)
        stop.set()
        writer.join()
        assert (done.returncode, done.stdout) == (0, f"schema {head()} → 9001\n"), done.stderr
        works(old, "after")
        # It may even be started again, with the step before it that most deployments have.
        assert old.stop() == 0
        assert migrate(url, dict(os.environ)).returncode == 0
        old.start()
        works(old, "again")
        monkeypatch.setenv("PYTHONPATH", newer["PYTHONPATH"])
        with server(url) as new:
            works(new, "beside")
            works(old, "both")
            assert old.stop() == 0
            works(new, "alone")
            with Client(new.address) as client:
                assert {r.record_id for r in client.records.list()} >= set(written)


def test_an_old_program_may_go_back_to_a_sqlite_file_that_has_grown(tmp_path: Path, newer: dict[str, str]) -> None:
    with server(f"sqlite:///{tmp_path / 'e2e.sqlite'}") as old:
        with Client(old.address) as client:
            team(client)
        works(old, "before")
        refused = migrate(old.url, newer)
        assert (refused.returncode, "in use by another server" in refused.stderr) == (2, True)
        assert old.stop() == 0
        assert migrate(old.url, newer).returncode == 0
        old.start()
        works(old, "after")


def test_servers_that_would_not_go_on_working_must_stop_first(newest: dict[str, str]) -> None:
    url = fresh_postgresql()
    with server(url) as old:
        refused = migrate(url, newest)
        assert (refused.returncode, f"stop {old.address} first" in refused.stderr) == (2, True)
        with Client(old.address) as client:
            team(client)
        works(old, "goes-on")
        assert old.stop() == 0
        assert migrate(url, newest).returncode == 0


def test_what_was_taken_away_ends_the_service_and_there_is_no_way_back(url: str, newest: dict[str, str]) -> None:
    assert reallot("migrate", "--database-url", url).returncode == 0
    assert migrate(url, newest).returncode == 0
    for command in (["serve", "--port", "0"], ["migrate"]):
        refused = reallot(*command, "--database-url", url)
        assert refused.returncode == 2
        assert f"at revision 9002, which no longer serves this program ({head()}), and cannot go back" in refused.stderr
