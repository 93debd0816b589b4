"""The schema's version: bringing a database up to date, and refusing one that is not."""

import uuid
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, insert, select

from reallot.storage.dialect import is_sqlite, make_engine, sqlite_path
from reallot.storage.errors import SchemaMismatch
from reallot.storage.tables import meta


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    # The option goes through interpolation, where a percent sign must be doubled.
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def head() -> str:
    """Return the revision that this program needs."""
    revision = ScriptDirectory.from_config(_config("sqlite://")).get_current_head()
    if revision is None:
        raise SchemaMismatch("this installation carries no migrations")
    return revision


def revision_of(url: str) -> str | None:
    """Return the revision of a database; None for an empty one."""
    if is_sqlite(url) and not Path(sqlite_path(url)).exists():
        return None
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def migrate(url: str) -> tuple[str | None, str]:
    """Bring a database to the newest schema; return its revision before and after. Safe to repeat.

    Raises:
        SchemaMismatch: the database was migrated by a newer program.
    """
    before = revision_of(url)
    known = {script.revision for script in ScriptDirectory.from_config(_config(url)).walk_revisions()}
    if before is not None and before not in known:
        raise SchemaMismatch(f"the database is at revision {before}, which this program does not know: use a newer reallot")
    command.upgrade(_config(url), "head")
    engine = make_engine(url, writes=True, pool_size=1)
    try:
        with engine.begin() as connection:
            if connection.execute(select(meta.c.value).where(meta.c.name == "database_id")).first() is None:
                connection.execute(insert(meta), [{"name": "database_id", "value": uuid.uuid4().hex}])
    finally:
        engine.dispose()
    return before, head()


def check(url: str) -> None:
    """Do nothing if the database has the schema of this program.

    Raises:
        SchemaMismatch: it has another, or none; the text names the command that mends it.
    """
    found, needed = revision_of(url), head()
    if found != needed:
        state = f"at revision {found}" if found else "empty"
        raise SchemaMismatch(f"the database is {state}, this program needs {needed}: run `reallot migrate`")
