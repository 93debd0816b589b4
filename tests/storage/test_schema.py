"""Migrations make exactly the tables that the program uses, and a database of another schema is refused."""

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from reallot.storage import Database, migrate, migrations
from reallot.storage.dialect import normal_url
from reallot.storage.errors import DatabaseLocked, SchemaMismatch
from reallot.storage.migrations.served import noted, served_revisions
from reallot.storage.schema import head
from reallot.storage.tables import metadata
from support.postgres import empty_postgresql


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'schema.sqlite'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, sqlite_url: str) -> str:
    """The URL of a database without tables."""
    return empty_postgresql() if request.param == "postgresql" else sqlite_url


def clock() -> int:
    return 1


def test_the_migrations_make_the_tables(url: str) -> None:
    migrate(url)
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_migrating_again_changes_nothing_and_keeps_the_database_id(url: str) -> None:
    before, after = migrate(url)
    assert before is None
    first = Database(url, clock_us=clock)
    found = first.database_id
    first.close()
    assert migrate(url) == (after, after)
    second = Database(url, clock_us=clock)
    assert second.database_id == found
    second.close()


def test_references_that_are_stored_already_are_found_by_what_they_refer_to(url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("sqlalchemy.url", normal_url(url).replace("%", "%%"))
    command.upgrade(config, "0004")
    engine = create_engine(url)
    with engine.begin() as connection:
        for number in range(1_001):
            related = '{"account":"x","payer":"x"}' if number == 1_000 else '{"account":"x"}' if number % 2 else "{}"
            values = {"id": f"r{number:04}", "related": related, "yes": True}
            connection.execute(
                text("INSERT INTO records (workspace, record_id, related, active) VALUES ('w', :id, :related, :yes)"), values
            )
    engine.dispose()
    migrate(url)
    db = Database(url, clock_us=clock)
    seen, _, found = db.read(lambda tx: tx.references.referrers("w", "x", "", 9_999))
    db.close()
    assert (seen, found[0].record_id, found[-1].record_id, found[-1].roles) == (501, "r0001", "r1000", ("account", "payer"))


def test_an_empty_database_is_refused_with_the_command(url: str) -> None:
    with pytest.raises(SchemaMismatch, match="run `reallot migrate`"):
        Database(url, clock_us=clock)


def test_a_database_of_a_newer_program_is_refused(url: str) -> None:
    migrate(url)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(SchemaMismatch, match="newer reallot"):
        migrate(url)
    with pytest.raises(SchemaMismatch):
        Database(url, clock_us=clock)


def test_every_migration_says_whether_servers_go_on_working() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent)).walk_revisions()
    assert all(isinstance(script.module.expands, bool) for script in scripts)


def test_a_database_notes_whom_it_serves(url: str) -> None:
    migrate(url)
    db = Database(url, clock_us=clock)
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent)).walk_revisions()
    served = db.read(lambda tx: noted(tx.connection, head()))
    assert served == set(served_revisions(scripts))
    assert {"0002", head()} <= served
    assert db.read(lambda tx: noted(tx.connection, "9999")) == set()
    db.close()


def test_a_second_writer_is_refused_and_readers_are_not(sqlite_url: str) -> None:
    migrate(sqlite_url)
    first = Database(sqlite_url, clock_us=clock)
    with pytest.raises(DatabaseLocked, match="in use by another server"):
        Database(sqlite_url, clock_us=clock)
    reader = Database(sqlite_url, clock_us=clock, read_only=True)
    assert reader.read(lambda tx: tx.config.workspaces()) == []
    with pytest.raises(TypeError, match="reading only"):
        reader.write("w", lambda tx: None)
    reader.close()
    first.close()
    Database(sqlite_url, clock_us=clock).close()
