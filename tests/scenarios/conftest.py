"""One real server process for all scenarios of a test worker; each scenario has a workspace of its own."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reallot.server.demo.process import server_process
from support.postgres import fresh_postgresql

sys.path.insert(0, str(Path(__file__).parent))
from world import Make, World


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    with server_process(datetime(2026, 3, 5, tzinfo=UTC), fresh_postgresql() if request.param == "postgresql" else "") as found:
        yield found


@pytest.fixture
def world(address: str) -> Iterator[Make]:
    made: list[World] = []

    def make(now: str = "2026-03-05T11:20") -> World:
        made.append(World(address, now))
        return made[-1]

    yield make
    for item in made:
        item.rest()
