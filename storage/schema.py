"""The schema's version: bringing a database up to date, and refusing one that is not."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from reallot.storage import lock_file
from reallot.storage.dialect import is_sqlite, normal_url, sqlite_path
from reallot.storage.errors import SchemaMismatch, StorageUnavailable


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    # The option goes through interpolation, where a percent sign must be doubled.
    config.set_main_option("sqlalchemy.url", normal_url(url).replace("%", "%%"))
    return config


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
    engine = create_engine(normal_url(url))
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except DBAPIError as error:
        raise StorageUnavailable(f"{engine.url.render_as_string()}: {error.orig}") from error
    finally:
        engine.dispose()


def migrate(url: str) -> tuple[str | None, str]:
    """Bring a database to the newest schema; return its revision before and after. Safe to repeat.

    All migrations that are needed happen in one transaction, and never under a server that has the file.

    Raises:
        SchemaMismatch: the database was migrated by a newer program.
        DatabaseLocked: it needs migrating while a server has it.
        StorageUnavailable: it cannot be written, is no database, or a migration failed; it is as before then.
    """
    before = revision_of(url)
    if before is not None and before not in known_revisions():
        raise SchemaMismatch(f"the database is at revision {before}, which this program does not know: use a newer reallot")
    if before != head():
        with _alone(url):
            try:
                command.upgrade(_config(url), "head")
            except DBAPIError as error:
                raise StorageUnavailable(f"the database was not migrated: {error.orig}") from error
    return before, head()


@contextlib.contextmanager
def _alone(url: str) -> Iterator[None]:
    """Keep servers away from a SQLite file."""
    held = lock_file.hold(sqlite_path(url)) if is_sqlite(url) else None
    try:
        yield
    finally:
        if held is not None:
            os.close(held)


def check(url: str) -> None:
    """Do nothing if the database has the schema of this program.

    Raises:
        SchemaMismatch: it has another, or none; the text names the command that mends it.
    """
    found, needed = revision_of(url), head()
    if found != needed:
        state = f"at revision {found}" if found else "empty"
        raise SchemaMismatch(f"the database is {state}, this program needs {needed}: run `reallot migrate`")
