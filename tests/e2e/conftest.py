"""Databases for real server processes: a fresh one of each engine."""

from pathlib import Path

import pytest

from support.postgres import fresh_postgresql


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh database."""
    return fresh_postgresql() if request.param == "postgresql" else f"sqlite:///{tmp_path / 'e2e.sqlite'}"
