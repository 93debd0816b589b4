"""What every part of a running server shares: database, clock, settings, compiled configurations."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from reallot.server.access.acting import OwnedRecord, acting
from reallot.server.arrow import ArrowReader
from reallot.server.clock import Clock
from reallot.server.languages import Catalogue, hearing, speech_of
from reallot.server.meters import Meters
from reallot.server.settings import Settings
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import Database, ReadTransaction, WriteTransaction
from reallot.storage.leases import Lease, Leases, SoleServer

if TYPE_CHECKING:
    from reallot.server.tracing import Traces

T = TypeVar("T")
NEXT_TRY = "NEXT_TRY"
"""Cause of a rerun of the records that are due (see `RunSelection.due`)."""
ABSENCE = "ABSENCE"
"""Cause of a rerun of records that waited for somebody who will be absent."""


class ConfigCache:
    """Compiled configurations by workspace, each for the version that a transaction sees. Thread-safe."""

    def __init__(self) -> None:
        self._known: dict[str, WorkspaceConfig] = {}

    def of(self, tx: ReadTransaction, workspace: str, version: int | None = None) -> WorkspaceConfig:
        """Return the configuration as the transaction sees it; `version` is what it has read of that already."""
        if version is None:
            version = tx.config.version(workspace)
        known = self._known.get(workspace)
        if known is None or known.version != version:
            # Two threads may compile the same version at once: both get the same.
            known = WorkspaceConfig.of(workspace, version, tx.config.resources(workspace))
            self._known[workspace] = known
        return known

    def several(self, tx: ReadTransaction, workspaces: Collection[str]) -> dict[str, WorkspaceConfig]:
        """Return the configurations of workspaces as the transaction sees them; it asks for their versions at once."""
        versions = tx.config.versions(workspaces)
        return {workspace: self.of(tx, workspace, versions.get(workspace, 0)) for workspace in workspaces}

    def not_paused(self, tx: ReadTransaction, workspaces: Collection[str]) -> set[str]:
        """Return those of the workspaces that are not paused, as the transaction sees them."""
        return {workspace for workspace, config in self.several(tx, workspaces).items() if not config.settings.paused}


@dataclass(frozen=True)
class Runtime:
    """Shared by services and loops; built once by the application."""

    db: Database
    clock: Clock
    settings: Settings
    configs: ConfigCache = field(default_factory=ConfigCache)
    leases: Leases = field(default_factory=SoleServer)
    arrow: ArrowReader = field(default_factory=ArrowReader)
    meters: Meters = field(default_factory=Meters)
    traces: "Traces | None" = None

    async def read(self, function: Callable[[ReadTransaction], T]) -> T:
        """Run a function on a snapshot, away from the event loop."""
        return await asyncio.wrap_future(self.db.submit_read(hearing(function)))

    async def write(self, workspace: str, function: Callable[[WriteTransaction], T], lease: Lease | None = None) -> T:
        """Run a function as one unit of work on a workspace; it is durable when this returns.

        Raises:
            LeaseLost: another server holds the lease by now.
        """
        return await asyncio.wrap_future(self.db.submit_write(workspace, acting(hearing(function)), lease))

    async def require(self, owned: OwnedRecord) -> None:
        """Do nothing if somebody owns a record (see `OwnedRecord.require`)."""
        await self.read(owned.require)

    def speech(self, tx: ReadTransaction, workspace: str, language: str | None = None) -> Catalogue:
        """Return the catalogue of a workspace for a language, that of the present call unless said otherwise (see `speech_of`)."""
        return speech_of(self.configs.of(tx, workspace), language)

    async def config(self, workspace: str) -> WorkspaceConfig:
        """Return a workspace's configuration as it is now."""
        return await self.read(lambda tx: self.configs.of(tx, workspace))


def request_rerun(tx: WriteTransaction, config: WorkspaceConfig, cause: str, sellers: Collection[str] | None) -> None:
    """Ask for the waiting records to be tried again, if the workspace wants that for this cause.

    Only records that one of these sellers may take are tried; None = all, and of no seller none.
    """
    if cause in config.rerun_on and (sellers is None or sellers):
        tx.reruns.request(config.workspace, cause, tx.now_us, sellers)
        tx.signal(config.workspace, "runs")
