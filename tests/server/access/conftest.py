"""One server for all that is tried on it."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))
from fortress import Fortress


@pytest.fixture
def fortress(tmp_path: Path) -> Fortress:
    return Fortress(tmp_path)


@pytest_asyncio.fixture
async def walls(fortress: Fortress) -> AsyncIterator[Fortress]:
    """A server that knows nobody but by signed tokens."""
    fortress.principals.write_text("")
    async with fortress.served() as served:
        yield served
