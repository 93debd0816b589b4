"""A plan becomes true, piece by piece, under a lease: what the lanes have in common."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from reallot.server.road.batch import CHUNK, Handed, Piece, Planned
from reallot.server.road.commit import Digests, commit_piece
from reallot.server.runtime import Runtime
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import WriteTransaction
from reallot.storage.leases import Lease
from reallot.storage.rechecks import Recheck

Told = Callable[[WriteTransaction, Counter[str]], None]
"""Notes what became of a run's records so far, in the transaction of a piece."""
Finish = Callable[[WriteTransaction, Counter[str], bool], None]
"""Notes the end, in the transaction of the last piece: what became of the records, and whether it was stopped before the end."""


class Commitment:
    """A plan on its way into the database, piece by piece.

    Attributes:
        counts: What became of its records, so far.
        digests: What flooded sellers got and lost, so far; told with the last batch of a run.
        done: Moves that were dealt with.
    """

    def __init__(
        self,
        runtime: Runtime,
        config: WorkspaceConfig,
        lease: Lease,
        planned: Planned,
        run_id: str,
        earlier: Sequence[Handed] = (),
    ) -> None:
        """Prepare to commit a plan. `earlier` is what flooded sellers have not been told yet of earlier batches of the run."""
        self._runtime = runtime
        self._config = config
        self._lease = lease
        self._planned = planned
        self._run_id = run_id
        flooded = {seller for line in earlier for seller in (*line.losers, *line.gainers)}
        self.digests = Digests(planned.plan.flooded | flooded, tuple(earlier))
        self._first_turn: int | None = None
        self._planned_ns = time.time_ns()
        self.counts: Counter[str] = Counter()
        self.done = 0

    def tell(self, kind: str) -> None:
        """Have the batch counted, and traced where there are traces; `kind` is that of the run."""
        runtime, plan = self._runtime, self._planned.plan
        runtime.meters.batch(kind, plan.seconds, self.counts, plan.levels)
        if runtime.traces is not None:
            runtime.traces.batch(kind, self._config.workspace, self._run_id, plan.seconds, self.counts, self._planned_ns)

    async def carry_out(
        self, finish: Finish, may_go_on: Callable[[WriteTransaction], bool] = lambda _: True, told: Told | None = None
    ) -> bool:
        """Commit the pieces, as long as the configuration is the one that the plan was made for.

        Args:
            finish: Called in the transaction of the last piece, or in that in which it stops, with the counts of all.
            may_go_on: Asked in the transaction of each piece, before anything of it is done.
            told: Called in the transaction of each piece but the last, after it, with the counts so far.

        Returns:
            Whether it came to its end. If not, what is left is to be planned again.
        """
        await self._prepare()
        current = self._planned.plan.records > 0 or await self._piece(None, finish, may_go_on, told) is not None
        # Also of an empty plan: whoever leaves before the end of the answer ends the worker.
        async for piece in self._planned.pieces:
            went_on = await self._piece(piece, finish, may_go_on, told)
            if went_on is None:
                return False
            if not went_on:
                break
        return current

    def _make(self, tx: WriteTransaction, piece: Piece, digests: Digests, first_turn: int) -> tuple[Counter[str], Digests]:
        """Make one piece true; return what became of it, and the digests so far."""
        return commit_piece(tx, self._config, piece, digests, first_turn)

    async def _prepare(self) -> None:
        """Keep what the plan found, before anything of it is committed: it holds for the records as the plan saw them."""
        workspace, found, tries = self._config.workspace, self._planned.plan.rechecks, self._planned.plan.tries

        def work(tx: WriteTransaction, part: Sequence[Recheck], instants_us: Sequence[int]) -> None:
            if tx.config.version(workspace) != self._planned.plan.config_version:
                return
            if tx.rechecks.note(workspace, part):
                tx.signal(workspace, "rechecks")
            if instants_us:
                tx.tries.expect(workspace, instants_us)
                tx.signal(workspace, "timers")

        if tries:
            await self._runtime.write(workspace, partial(work, part=(), instants_us=tries), self._lease)
        for start in range(0, len(found), CHUNK):
            await self._runtime.write(workspace, partial(work, part=found[start : start + CHUNK], instants_us=()), self._lease)

    async def _piece(
        self, piece: Piece | None, finish: Finish, may_go_on: Callable[[WriteTransaction], bool], told: Told | None
    ) -> bool | None:
        """Commit one piece, None = an empty one; return whether it goes on, None if the configuration is another by now."""
        size = piece.size if piece is not None else 0
        is_last = self.done + size == self._planned.plan.records

        def work(tx: WriteTransaction) -> tuple[bool | None, Counter[str], Digests, int | None]:
            workspace, counts, digests, first_turn = self._config.workspace, self.counts, self.digests, self._first_turn
            current = tx.config.version(workspace) == self._planned.plan.config_version
            goes_on = current and may_go_on(tx)
            if goes_on:
                if first_turn is None:
                    first_turn = tx.draw_turns(workspace, self._planned.plan.turns)
                if piece is not None:
                    made, digests = self._make(tx, piece, digests, first_turn)
                    counts = counts + made
            if not goes_on or is_last:
                if self._planned.plan.next_after is None or not goes_on:
                    tx.events.append(workspace, digests.notices(self._run_id, tx.now_us))
                if current:
                    finish(tx, counts, not goes_on)
            elif told is not None:
                told(tx, counts)
            return (goes_on if current else None), counts, digests, first_turn

        went_on, self.counts, self.digests, self._first_turn = await self._runtime.write(self._config.workspace, work, self._lease)
        self.done += size
        return went_on
