"""The engines that must keep storage's contract, and an open database of each.

A further engine is one more entry of `ENGINES`: a function that returns the URL of a fresh, migrated database.
"""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reallot.storage import Database, migrate
from support.postgres import fresh_postgresql

_names = itertools.count()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file that nobody writes to: copying it is quicker than migrating again."""
    path = tmp_path_factory.mktemp("template") / "reallot.db"
    migrate(f"sqlite:///{path}")
    return path


def fresh_sqlite(request: pytest.FixtureRequest, folder: Path) -> str:
    path = folder / f"{next(_names)}.db"
    shutil.copy(request.getfixturevalue("migrated_file"), path)
    return f"sqlite:///{path}"


ENGINES: dict[str, Callable[[pytest.FixtureRequest, Path], str]] = {
    "sqlite": fresh_sqlite,
    "postgresql": lambda _request, _folder: fresh_postgresql(),
}


@pytest.fixture(scope="session", params=sorted(ENGINES))
def fresh_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Gives the URL of a fresh database at every call."""
    folder = tmp_path_factory.mktemp(request.param)
    return lambda: ENGINES[request.param](request, folder)


class Clock:
    """The instant that storage is told, in microseconds."""

    def __init__(self) -> None:
        self.now_us = 1_000

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def db(fresh_url: Callable[[], str], clock: Clock) -> Iterator[Database]:
    """A database shared by a module's tests, which keep apart by their workspaces."""
    database = Database(fresh_url(), clock_us=clock)
    yield database
    database.close()


@pytest.fixture
def ws() -> str:
    """A workspace that nobody has written to."""
    return f"ws-{next(_names)}"


@pytest.fixture(scope="module")
def fresh_ws() -> Callable[[], str]:
    """Gives a workspace that nobody has written to at every call."""
    return lambda: f"ws-{next(_names)}"
