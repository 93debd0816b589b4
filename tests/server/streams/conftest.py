"""Streams over fresh databases of both engines."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from reallot.storage import migrate
from support.postgres import fresh_postgresql
from support.station import Station


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return fresh_postgresql()
    found = f"sqlite:///{tmp_path / 'streams.sqlite'}"
    migrate(found)
    return found


@pytest.fixture
def open_station(url: str) -> Callable[..., Any]:
    """Open the streams with settings of one's own, over an empty database."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Station]:
        station = Station(url, **settings)
        server = await station.serve()
        yield station
        await station.client.close()
        await server.stop(None)
        station.db.close()

    return opened
