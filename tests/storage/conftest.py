"""A SQLite database of a test's own."""

from pathlib import Path

import pytest

from reallot.storage import migrate


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a fresh, migrated file."""
    found = f"sqlite:///{tmp_path / 'live.sqlite'}"
    migrate(found)
    return found
