"""The schema's version: bringing a database up to date, and refusing one that is not."""

import contextlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError

from reallot.storage import lock_file
from reallot.storage.dialect import is_sqlite, normal_url, sqlite_path
from reallot.storage.errors import DatabaseLocked, SchemaMismatch, StorageUnavailable
from reallot.storage.migrations import served


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    # The option goes through interpolation, where a percent sign must be doubled.
    config.set_main_option("sqlalchemy.url", normal_url(url).replace("%", "%%"))
    return config


@cache
def head() -> str:
    """Return the revision that this program needs."""
    revision = ScriptDirectory.from_config(_config("sqlite://")).get_current_head()
    if revision is None:
        raise SchemaMismatch("this installation carries no migrations")
    return revision


def known_revisions() -> frozenset[str]:
    """Return the revisions that this program can bring to the newest."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config("sqlite://")).walk_revisions())


def revision_of(url: str) -> str | None:
    """Return the revision of a database; None for an empty one.

    Raises:
        StorageUnavailable: it cannot be read, or is no database.
    """
    if is_sqlite(url) and not Path(sqlite_path(url)).exists():
        return None
    with _connected(url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def migrate(url: str) -> tuple[str | None, str]:
    """Bring a database to the newest schema; return its revision before and after. Safe to repeat.

    All migrations that are needed happen in one transaction. A database of a newer program that still serves this one stays as it is.

    Raises:
        SchemaMismatch: the database was migrated by a newer program, and no longer serves this one. There is no way back.
        DatabaseLocked: a server has it that would not go on working: any on SQLite, on PostgreSQL one that the schema no longer serves.
        StorageUnavailable: it cannot be written, is no database, or a migration failed; it is as before then.
    """
    before = revision_of(url)
    if before is not None and before not in known_revisions():
        if not _serves(url, before, head()):
            raise SchemaMismatch(_newer(before))
        return before, before
    if before != head():
        with _alone(url, before):
            try:
                command.upgrade(_config(url), "head")
            except DBAPIError as error:
                raise StorageUnavailable(f"the database was not migrated: {error.orig}") from error
    return before, head()


@contextlib.contextmanager
def _alone(url: str, before: str | None) -> Iterator[None]:
    """Keep servers away from a SQLite file; make sure that there are none that a PostgreSQL database will no longer serve."""
    if not is_sqlite(url):
        _refuse_under_servers(url, before)
        yield
        return
    held = lock_file.hold(sqlite_path(url))
    try:
        yield
    finally:
        os.close(held)


def _refuse_under_servers(url: str, before: str | None) -> None:
    if before in served.served_revisions(ScriptDirectory.from_config(_config(url)).walk_revisions()):
        return
    with _connected(url) as connection:
        working = served.servers_at_work(connection)
    if working:
        raise DatabaseLocked(f"the schema will no longer serve the servers that work with it: stop {', '.join(working)} first")


def check(url: str) -> None:
    """Do nothing if the database has the schema of this program, or a newer one that still serves it.

    Raises:
        SchemaMismatch: it has another, or none; the text names what mends it.
    """
    found, needed = revision_of(url), head()
    if found is None or (found != needed and found in known_revisions()):
        state = f"at revision {found}" if found else "empty"
        raise SchemaMismatch(f"the database is {state}, this program needs {needed}: run `reallot migrate`")
    if found != needed and not _serves(url, found, needed):
        raise SchemaMismatch(_newer(found))


def present(connection: Connection) -> str:
    """Return the revision of the database of a connection."""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def fault_of(connection: Connection) -> str | None:
    """Return why a schema that was migrated meanwhile no longer serves this program; None if it does."""
    found, needed = present(connection), head()
    return None if found == needed or needed in served.noted(connection, found) else _newer(found)


def _newer(found: str) -> str:
    return f"the database is at revision {found}, which no longer serves this program ({head()}), and cannot go back: use a newer reallot"


def _serves(url: str, found: str, needed: str) -> bool:
    with _connected(url) as connection:
        return needed in served.noted(connection, found)


@contextlib.contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(normal_url(url))
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        raise StorageUnavailable(f"{engine.url.render_as_string()}: {error.orig}") from error
    finally:
        engine.dispose()
