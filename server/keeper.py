"""The keeper: removes what has been kept for long enough, little by little, so that other writes pass in between.

Of a workspace that this server works: events and notices, decisions, offers that have ended, what runs were planned from, and answers to
requests that nobody may repeat any more. What is younger is never touched. From where on the log of events is kept stands with the
workspace, not in what is left of it, so a cursor from before is refused also when nothing is left.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import structlog

from reallot.server.clock import MICROSECONDS
from reallot.server.idempotency import KEPT_US
from reallot.server.runtime import Runtime, request_rerun
from reallot.server.wake import Rest, Wake
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.ages import Oldest
from reallot.storage.errors import LeaseLost, StorageUnavailable
from reallot.storage.leases import Lease
from reallot.storage.reports import WrongLoad

log = structlog.get_logger("reallot.keeper")

DAY_US = 86_400 * MICROSECONDS
SOON_US, LATER_US = 3_600 * MICROSECONDS, 6 * 3_600 * MICROSECONDS
"""When it looks again: soon, if there was something to remove."""
RECOUNT_US = 24 * 3_600 * MICROSECONDS
"""How often loads are counted anew: it reads every active record."""
BATCH = 1_000
"""Most rows of a kind that one commit removes; of notices, those of as many numbers."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Instants before which things are too old; 0 = they are kept for ever."""

    events_us: int
    decisions_us: int
    answers_us: int

    @staticmethod
    def of(config: WorkspaceConfig, now_us: int) -> "Limits":
        """Return the limits of a workspace at an instant."""
        events_us, decisions_us = (now_us - days * DAY_US if days else 0 for days in (config.events_days, config.decisions_days))
        return Limits(events_us, decisions_us, now_us - KEPT_US)


def anything_old(tx: ReadTransaction, workspace: str, limits: Limits) -> bool:
    """Tell whether there is something to remove."""
    return workspace in tx.requests.workspaces(limits.answers_us) or _log_is_old(tx, workspace, limits)


def _log_is_old(tx: ReadTransaction, workspace: str, limits: Limits) -> bool:
    if tx.events.outdated(workspace, limits.events_us, 1):
        return True
    if tx.offers.outdated(workspace, limits.decisions_us) or tx.inputs.outdated(workspace, limits.decisions_us):
        return True
    oldest_us = tx.decisions.oldest_us(workspace)
    return oldest_us is not None and oldest_us < limits.decisions_us


def remove_some(tx: WriteTransaction, workspace: str, limits: Limits) -> None:
    """Remove a batch of what is too old."""
    up_to = tx.events.outdated(workspace, limits.events_us, BATCH)
    if up_to:
        tx.events.forget(workspace, up_to)
    tx.decisions.forget(workspace, limits.decisions_us, BATCH)
    tx.offers.forget(workspace, limits.decisions_us)
    tx.inputs.forget(workspace, limits.decisions_us, BATCH)
    tx.previews.forget(workspace, limits.decisions_us)
    tx.requests.forget(workspace, limits.answers_us, BATCH)


def _of_age_us(oldest: Oldest, kept_days: tuple[int, int], now_us: int) -> int:
    """Return when the oldest of what is kept will be too old; what is written later is younger."""
    ages = [(now_us if us is None else us) + days * DAY_US for us, days in zip(oldest, kept_days, strict=True) if days]
    return min(ages, default=now_us + DAY_US)


class Keeper:
    """The loop that looks for what is too old, in all workspaces that this server works. Belongs to the event loop."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._rest = Rest(runtime.clock)
        self._recounted_us = -RECOUNT_US
        self._young_until_us: dict[tuple[str, tuple[int, int]], int] = {}

    @property
    def wake(self) -> Wake:
        """Has it look at once."""
        return self._rest.wake

    @property
    def busy(self) -> bool:
        """Whether it is at work or will be."""
        return self._rest.is_over

    async def run_forever(self) -> None:
        """Look until cancelled."""
        while True:
            self._rest.rise()
            removed = await self.look()
            await self._rest.until(self._runtime.clock.now_us() + (SOON_US if removed else LATER_US))

    async def look(self) -> bool:
        """Remove everything that is too old by now; return whether anything was. A fault is logged: the next look tries again."""
        try:
            return await self._look()
        except StorageUnavailable as error:
            log.warning("storage unavailable", exc_info=error)
        except Exception:
            log.exception("what is old was not looked for")
        return True

    async def _look(self) -> bool:
        removed = False
        for workspace in await self._runtime.read(self._with_something_old):
            removed |= await self._guarded(workspace, self._clear)
        now_us = self._runtime.clock.now_us()
        if not 0 <= now_us - self._recounted_us < RECOUNT_US:
            self._recounted_us = now_us
            for workspace in await self._runtime.read(lambda tx: tx.reports.with_wrong_loads()):
                await self._guarded(workspace, self._recount)
        return removed

    async def _guarded(self, workspace: str, work: Callable[[str, Lease], Awaitable[bool]]) -> bool:
        """Do a piece of work if this server works the workspace; return whether to look again soon."""
        lease = self._runtime.leases.of(workspace)
        if lease is None:
            return False
        try:
            return await work(workspace, lease)
        except LeaseLost:
            log.info("the workspace is not worked here any more", workspace=workspace)
        except StorageUnavailable as error:
            log.warning("storage unavailable", workspace=workspace, exc_info=error)
            return True
        except Exception:
            log.exception("a workspace could not be kept in order", workspace=workspace)
        return False

    def _with_something_old(self, tx: ReadTransaction) -> list[str]:
        now_us = self._runtime.clock.now_us()
        found = set(tx.requests.workspaces(now_us - KEPT_US))
        configs = self._runtime.configs.several(tx, tx.config.workspaces())
        kept = {workspace: (config.events_days, config.decisions_days) for workspace, config in configs.items()}
        # Until its oldest has come of age, a workspace need not be looked at.
        asked = [workspace for workspace in kept if self._young_until_us.get((workspace, kept[workspace]), 0) <= now_us]
        for workspace, oldest in tx.ages.of(asked).items():
            of_age_us = _of_age_us(oldest, kept[workspace], now_us)
            if of_age_us < now_us:
                found.add(workspace)
            else:
                self._young_until_us[workspace, kept[workspace]] = of_age_us
        return sorted(found)

    async def _clear(self, workspace: str, lease: Lease) -> bool:
        limits = Limits.of(await self._runtime.config(workspace), self._runtime.clock.now_us())
        removed = False
        while await self._runtime.read(partial(anything_old, workspace=workspace, limits=limits)):
            await self._runtime.write(workspace, partial(remove_some, workspace=workspace, limits=limits), lease)
            removed = True
        return removed

    async def _recount(self, workspace: str, lease: Lease) -> bool:
        """Put right what sellers are said to carry where a recount says something else, and say so loudly.

        Every commit keeps both in step, so there is nothing to find unless somebody wrote past the server, or it has a fault.
        """
        for wrong in await self._runtime.write(workspace, partial(self._correct, workspace=workspace), lease):
            log.error("a load differed from a recount and was put right", workspace=workspace, **wrong._asdict())
        return False

    def _correct(self, tx: WriteTransaction, workspace: str) -> list[WrongLoad]:
        found = tx.reports.correct_loads(workspace)
        relieved = {wrong.seller_id for wrong in found if wrong.counted < wrong.kept}
        request_rerun(tx, self._runtime.configs.of(tx, workspace), "CAPACITY_FREED", relieved)
        return found
