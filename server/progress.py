"""How far runs are: what a running lane tells, and those who watch a run wait for. Belongs to the event loop; nothing is stored."""

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where a run stands: its stage, and of `total` records those whose decision is committed; 0 = not known yet."""

    stage: str = ""
    done: int = 0
    total: int = 0


class ProgressBoard:
    """Progress of running runs; watchers wait for the next change."""

    def __init__(self) -> None:
        self._runs: dict[str, Progress] = {}
        self._changed = asyncio.Event()

    def of(self, run_id: str) -> Progress:
        """Return the progress of a run as last told."""
        return self._runs.get(run_id, Progress())

    def tell(self, run_id: str, progress: Progress | None) -> None:
        """Note the progress of a run (None = it has ended) and wake the watchers."""
        if progress is None:
            self._runs.pop(run_id, None)
        else:
            self._runs[run_id] = progress
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self, at_most_s: float) -> None:
        """Return at the next change, or after a while."""
        waited = self._changed
        try:
            async with asyncio.timeout(at_most_s):
                await waited.wait()
        except TimeoutError:
            return
