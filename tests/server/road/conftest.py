"""An office of its own for a test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.office import Office

MONDAY_US = 1_772_438_400_000_000
"""Monday 2026-03-02 08:00 UTC."""


@pytest.fixture(scope="module")
def shared_office(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Office]:
    """An office that tests of a module share, each in a workspace of its own."""
    folder = tmp_path_factory.mktemp("office")
    office = Office(f"sqlite:///{shutil.copy(empty_database, folder / 'reallot.sqlite')}", MONDAY_US)
    yield office
    office.close()


@pytest.fixture
def office(shared_office: Office) -> Office:
    """An empty workspace."""
    shared_office.move()
    shared_office.restart()
    shared_office.worker.before = shared_office.worker.after = lambda _task: None
    return shared_office
