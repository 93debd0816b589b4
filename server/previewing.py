"""Runs that only say what they would do, and runs that then do just that.

A preview is planned like any run; what it would do is kept instead of done. When it is applied, its records are planned again, where each
may only go where it was shown: so it does, if it has not changed since and whoever was to get it still may and has room. With all others
nothing is done; they count as lost, and why each was dropped is kept with the preview.
"""

from collections import Counter
from dataclasses import replace

from reallot.server.commitment import Commitment
from reallot.server.dropping import NOT_ELIGIBLE, OTHER_SEGMENT
from reallot.server.road.batch import Piece
from reallot.server.road.commit import Digests, carry_out_piece
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import RecordFilter, WriteTransaction
from reallot.storage.documents import load
from reallot.storage.entities import Run
from reallot.storage.moves import Move
from reallot.storage.previews import outcome_of, preview_of

PREVIEW, APPROVE, APPLY = "PREVIEW", "APPROVE", "APPLY"
"""What a run is for, beside doing its work: a preview; one that is applied at once if it touches few records; what was previewed."""
NEEDS_APPROVAL = ("MANUAL", "SCHEDULED")
"""Kinds of runs that may have to wait for approval; those on events only find owners for records that have none."""


def mode_of(run: Run) -> str:
    """Return what a run is for; "" = to do its work."""
    return str((run.body or {}).get("mode", ""))


def only_says(run: Run) -> bool:
    """Tell whether a run keeps what it would do instead of doing it."""
    return mode_of(run) in (PREVIEW, APPROVE)


def begun(run: Run, config: WorkspaceConfig) -> Run:
    """Return a run that begins, held back if the workspace wants large ones approved."""
    if mode_of(run) or run.kind not in NEEDS_APPROVAL or not config.settings.HasField("approve_above_percent"):
        return run
    return replace(run, body={**(run.body or {}), "mode": APPROVE})


def to_be_applied(run: Run) -> Run:
    """Return a previewed run that is to do what it said."""
    return replace(run, state="PENDING", stage="", counts={}, body={"mode": APPLY}, start_us=None, end_us=None)


def previewed(tx: WriteTransaction, config: WorkspaceConfig, run: Run) -> Run:
    """Return a run whose preview is complete: it waits to be applied, or is to be applied at once as few records are touched."""
    if mode_of(run) == APPROVE:
        active = tx.records.count(config.workspace, RecordFilter(active=True))
        if tx.previews.touched(config.workspace, run.run_id) * 100 <= config.settings.approve_above_percent * active:
            return to_be_applied(run)
    return replace(run, state="PREVIEWED", stage="done", end_us=None)


class Saying(Commitment):
    """Keeps what a plan would do."""

    async def _prepare(self) -> None:
        workspace, run_id = self._config.workspace, self._run_id
        # A run that is taken up again says everything anew.
        await self._runtime.write(workspace, lambda tx: tx.previews.clear(workspace, run_id), self._lease)

    def _make(self, tx: WriteTransaction, piece: Piece, digests: Digests, first_turn: int) -> tuple[Counter[str], Digests]:
        tx.previews.add(self._config.workspace, self._run_id, [preview_of(move) for move in piece.moves])
        return Counter(piece.tally.counts), digests


class Doing(Commitment):
    """Does what was previewed, and nothing else. What of it is left when the run ends was dropped."""

    def _make(self, tx: WriteTransaction, piece: Piece, digests: Digests, first_turn: int) -> tuple[Counter[str], Digests]:
        workspace, moves = self._config.workspace, piece.moves
        said = tx.previews.of(workspace, self._run_id, [move.record_id for move in moves])
        same = [move for move in moves if said.get(move.record_id) == outcome_of(move)]
        as_said = {move.record_id for move in same}
        other = {m.record_id: _why_otherwise(said[m.record_id], m) for m in moves if m.record_id in said.keys() - as_said}
        tx.previews.drop(workspace, self._run_id, {record_id: reason for record_id, reason in other.items() if reason})
        shown = piece if len(same) == len(moves) else Piece.of(same, digests.flooded, piece.pools)
        counts, told, lost = carry_out_piece(tx, self._config, shown, digests, first_turn)
        gone = {move.record_id for move in lost}
        tx.previews.forget_made(workspace, self._run_id, [move.record_id for move in same if move.record_id not in gone])
        return counts, told


def _why_otherwise(said: tuple[int, str], move: Move) -> str:
    """Return why a record that is as it was comes out otherwise than was said; "" if it is not as it was."""
    (version, after), found = said, preview_of(move)
    if version != found.version:
        return ""
    return NOT_ELIGIBLE if load(after).get("segment_id") == load(found.after).get("segment_id") else OTHER_SEGMENT
