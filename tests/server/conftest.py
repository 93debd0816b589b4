"""A server's services without its loops: what a call stores and answers, on a real SQLite file, at a time that stands still."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from reallot.server.clock import ManualClock
from reallot.server.interceptors import ErrorInterceptor
from reallot.server.runtime import Runtime
from reallot.server.services.configuration import ConfigService
from reallot.server.services.records import RecordService
from reallot.server.services.sellers import SellerService
from reallot.server.settings import Settings
from reallot.storage import Database
from reallot.storage.schema import migrate
from reallot.v1 import (
    config_service_pb2,
    config_service_pb2_grpc,
    record_service_pb2_grpc,
    seller_service_pb2_grpc,
)
from support.api import sales
from support.services import Api

MONDAY_US = 1_772_438_400_000_000
"""Monday 2026-03-02 08:00 UTC: 09:00 in Berlin."""


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database without content, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "reallot.sqlite"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def sales_database(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """A database with a small sales organisation, to be copied."""
    path = Path(shutil.copy(empty_database, tmp_path_factory.mktemp("sales") / "reallot.sqlite"))
    runtime = open_runtime(path)
    asyncio.run(ConfigService(runtime).Apply(config_service_pb2.ApplyRequest(resources=sales()), None))  # type: ignore[arg-type]
    runtime.db.close()
    return path


def open_runtime(path: Path) -> Runtime:
    """Open a database at a time that stands still."""
    clock = ManualClock(MONDAY_US)
    url = f"sqlite:///{path}"
    return Runtime(Database(url, clock_us=clock.now_us), clock, Settings(database_url=url))


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[Api]:
    """Serve a database."""
    runtime = open_runtime(path)
    server = grpc.aio.server(interceptors=[ErrorInterceptor()])
    config_service_pb2_grpc.add_ConfigServiceServicer_to_server(ConfigService(runtime), server)
    record_service_pb2_grpc.add_RecordServiceServicer_to_server(RecordService(runtime), server)
    seller_service_pb2_grpc.add_SellerServiceServicer_to_server(SellerService(runtime), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stubs = (
            config_service_pb2_grpc.ConfigServiceStub(channel),
            record_service_pb2_grpc.RecordServiceStub(channel),
            seller_service_pb2_grpc.SellerServiceStub(channel),
        )
        yield Api(runtime, runtime.clock, *stubs)  # type: ignore[arg-type]
    await server.stop(None)
    runtime.db.close()


@pytest_asyncio.fixture
async def bare_api(tmp_path: Path, empty_database: Path) -> AsyncIterator[Api]:
    """The services over an empty database."""
    async with served(Path(shutil.copy(empty_database, tmp_path / "reallot.sqlite"))) as services:
        yield services


@pytest_asyncio.fixture
async def api(tmp_path: Path, sales_database: Path) -> AsyncIterator[Api]:
    """The services with a small sales organisation."""
    async with served(Path(shutil.copy(sales_database, tmp_path / "reallot.sqlite"))) as services:
        yield services
