"""Whether the server can do its work: looks at the database and tells the health service. Belongs to the event loop.

A database that can be read may still refuse to be written, for a full disk or a failed device. A write that has failed for such a reason
makes the server unready; it is ready again when a small write of its own has succeeded, whether anybody calls or not.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from reallot.server.runtime import Runtime
from reallot.storage.errors import StorageError
from reallot.storage.leases import Lease
from reallot.storage.probe import probe
from reallot.storage.schema import fault_of

log = structlog.get_logger("reallot.readiness")

LOOK_S = 0.5
"""How often it looks."""
SILENT_S = 15.0
"""A database that does not answer for so long cannot be used."""


class Readiness:
    """Looks at the database for as long as the server runs.

    Attributes:
        ready: Whether the database could be used when it was looked at last.
    """

    def __init__(self, runtime: Runtime, tell: Callable[[bool], Awaitable[None]]) -> None:
        """Call `tell` whenever the server becomes ready or ceases to be."""
        self._runtime = runtime
        self._tell = tell
        self._failures_seen = 0
        self.ready = True

    async def run_forever(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            fault = await self.look()
            if (fault is None) != self.ready:
                self.ready = fault is None
                log.error("the database cannot be used", cause=fault) if fault else log.warning("the database can be used again")
                await self._tell(self.ready)

    async def look(self) -> str | None:
        """Return why the database cannot be used at the moment; None if it can."""
        failures = self._runtime.db.write_failures
        try:
            async with asyncio.timeout(SILENT_S):
                if (fault := await self._runtime.read(lambda tx: fault_of(tx.connection))) is not None:
                    return fault
                if failures != self._failures_seen or not self.ready:
                    await self._runtime.write("", probe, Lease(""))
        except StorageError as error:
            return str(error)
        except TimeoutError:
            return f"it does not answer within {SILENT_S:g} s"
        self._failures_seen = failures
        return None
