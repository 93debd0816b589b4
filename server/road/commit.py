"""Stop "commit": a plan becomes true, piece by piece; each record is atomic, a run is not.

The plan was made on a snapshot. Here every record's version is looked at again: one that has changed since stays as it is and goes
back to pending, and so does one whose seller's last slot was taken meanwhile.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reallot.server.convert.sellers import maximum_of
from reallot.server.runtime import request_rerun
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import WriteTransaction
from reallot.storage.entities import Json, Limits, NoticeDraft, Outcome, PendingMark
from reallot.storage.moves import Move


def limits_of(capacity: Mapping[str, Json], config: WorkspaceConfig) -> Limits:
    """Return the maxima that a binding assignment to a seller with this capacity is held to."""
    return Limits(
        total=maximum_of(capacity, config),
        by_record_type=capacity.get("by_record_type") or {},
        by_segment=capacity.get("by_segment") or {},
        counted_types=config.counted_types,
    )


Listed = Mapping[str, tuple[str, ...]]
"""Records by seller."""


@dataclass(frozen=True)
class Digests:
    """What the flooded sellers of one run got and lost so far; each gets one digest instead of notices."""

    flooded: frozenset[str] = frozenset()
    gained: Listed = field(default_factory=dict)
    lost: Listed = field(default_factory=dict)

    def counting(self, moves: Sequence[Move]) -> "Digests":
        """Return the digests with what these moves gave and took; `moves` are those as they were written up."""
        if not self.flooded:
            return self
        gained, lost = _copied(self.gained), _copied(self.lost)
        for move in moves:
            told = self.flooded.intersection(move.event.notify) if move.event is not None else ()
            old, new = (weight.place[0] if weight else "" for weight in (move.weight, move.weight_after))
            if old != new and new in told:
                gained[new].append(move.record_id)
            if old != new and old in told:
                lost[old].append(move.record_id)
        return Digests(self.flooded, {s: tuple(ids) for s, ids in gained.items()}, {s: tuple(ids) for s, ids in lost.items()})

    def notices(self, run_id: str, time_us: int) -> list[NoticeDraft]:
        """Return one notice for each of these sellers."""
        drafts = []
        for seller in sorted({*self.gained, *self.lost}):
            gained, lost = self.gained.get(seller, ()), self.lost.get(seller, ())
            text = f"You got {len(gained)} records" + (f" and lost {len(lost)}" if lost else "") + "."
            sentence = {"sentence_id": "digest", "parameters": {"gained": str(len(gained)), "lost": str(len(lost))}, "text": text}
            body = {
                "run_id": run_id,
                "gained": len(gained),
                "lost": len(lost),
                "record_ids": [*gained, *lost][:100],
                "sentence": sentence,
            }
            drafts.append(NoticeDraft(seller, "DIGEST", time_us, body))
        return drafts


def _copied(listed: Listed) -> defaultdict[str, list[str]]:
    return defaultdict(list, {seller: list(ids) for seller, ids in listed.items()})


def commit_piece(
    tx: WriteTransaction, config: WorkspaceConfig, moves: Sequence[Move], digests: Digests, first_turn: int
) -> tuple[Counter[str], Digests]:
    """Commit some moves of a plan, whose turns are numbered from `first_turn`.

    Returns what became of them: counts by outcome and "status:NAME", and the digests so far.
    """
    takers = {move.turn.seller_id for move in moves if move.turn is not None}
    capacities = tx.sellers.capacities(config.workspace, takers)
    limits = {seller_id: limits_of(capacity, config) for seller_id, capacity in capacities.items()}
    outcomes = tx.commit_moves(config.workspace, moves, limits, first_turn, untold=digests.flooded)
    made = [move for move, outcome in zip(moves, outcomes, strict=True) if outcome is Outcome.COMMITTED]
    lost = [move for move, outcome in zip(moves, outcomes, strict=True) if outcome in (Outcome.STALE, Outcome.CAPACITY_LOST)]
    counts = Counter(name for move in made for name in move.counted)
    counts["lost"] += len(lost)
    _put_back(tx, config.workspace, lost)
    if any(move.frees for move in made):
        request_rerun(tx, config, "CAPACITY_FREED")
    return counts, digests.counting(made)


def _put_back(tx: WriteTransaction, workspace: str, moves: Sequence[Move]) -> None:
    """Mark records that lost a race, unless they are marked already. They go on even where their segment waits for runs."""
    again = {"resegment": False, "goes_on": True}
    marks = [PendingMark(move.record_id, tx.now_us, {**(move.cause or {}), **again}) for move in moves if not move.generation]
    if marks:
        tx.pending.mark(workspace, marks)
        tx.signal(workspace, "pending")
