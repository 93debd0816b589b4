"""Stop "commit": a plan becomes true, piece by piece; each record is atomic, a run is not.

The plan was made on a snapshot. Here every record's version is looked at again: one that has changed since stays as it is and goes
back to pending, and so does one whose seller's last slot was taken meanwhile.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reallot.server.convert.sellers import maximum_of, reserves_of
from reallot.server.languages.saying import document_of, say
from reallot.server.road.batch import Handed, Piece, Tally, tally
from reallot.server.runtime import request_rerun
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import WriteTransaction
from reallot.storage.entities import Limits, NoticeDraft, Outcome, PendingMark, Seller, Terms
from reallot.storage.moves import Move
from reallot.storage.windows import windows_of


def limits_of(terms: Seller | Terms, config: WorkspaceConfig, now_us: int) -> Limits:
    """Return the maxima that a binding assignment to a seller on these terms is held to at an instant."""
    capacity = terms.capacity
    return Limits(
        total=maximum_of(terms, config, now_us),
        by_record_type=capacity.get("by_record_type") or {},
        by_segment=capacity.get("by_segment") or {},
        counted_types=config.counted_types,
        windows=windows_of(capacity),
        reserves=reserves_of(terms, config, now_us),
    )


@dataclass(frozen=True)
class Digests:
    """What the flooded sellers of one run got and lost so far; each gets one digest instead of notices.

    Attributes:
        flooded: These sellers.
        told: Moves of which one of them would be told.
    """

    flooded: frozenset[str] = frozenset()
    told: tuple[Handed, ...] = ()

    def with_told(self, told: Sequence[Handed]) -> "Digests":
        """Return the digests with what a piece gave and took."""
        return Digests(self.flooded, (*self.told, *told)) if told else self

    def notices(self, run_id: str, time_us: int) -> list[NoticeDraft]:
        """Return one notice for each of these sellers."""
        drafts = []
        gains: defaultdict[str, list[str]] = defaultdict(list)
        losses: defaultdict[str, list[str]] = defaultdict(list)
        for losers, gainers, record_ids in self.told:
            for seller in losers:
                losses[seller] += record_ids
            for seller in gainers:
                gains[seller] += record_ids
        for seller in sorted(self.flooded.intersection((*gains, *losses))):
            gained, lost = gains.get(seller, []), losses.get(seller, [])
            parameters = {"gained": len(gained), "lost": len(lost)}
            also = {"and_lost": document_of(say("and_lost", lost=len(lost)))} if lost else {}
            sentence = {"sentence_id": "digest", "parameters": parameters | also}
            body = {
                "run_id": run_id,
                "gained": len(gained),
                "lost": len(lost),
                "record_ids": [*gained, *lost][:100],
                "sentence": sentence,
            }
            drafts.append(NoticeDraft(seller, "DIGEST", time_us, body))
        return drafts


def commit_piece(
    tx: WriteTransaction, config: WorkspaceConfig, piece: Piece, digests: Digests, first_turn: int
) -> tuple[Counter[str], Digests]:
    """Commit a piece of a plan, whose turns are numbered from `first_turn`.

    Returns what became of it: counts by outcome and "status:NAME", and the digests so far.
    """
    counts, told, lost = carry_out_piece(tx, config, piece, digests, first_turn)
    _put_back(tx, config.workspace, lost)
    counts["lost"] = len(lost)
    return counts, told


def carry_out_piece(
    tx: WriteTransaction, config: WorkspaceConfig, piece: Piece, digests: Digests, first_turn: int
) -> tuple[Counter[str], Digests, list[Move]]:
    """Do the same, and return beside it the moves that lost a race; nothing is done about them."""
    made, prepared = piece.tally, piece.prepared
    lost: list[Move] = []
    if prepared is None or not tx.commit_prepared(config.workspace, prepared, _limits(tx, config, prepared.takers), first_turn):
        made, lost = _one_by_one(tx, config, piece.moves, digests.flooded, first_turn)
    tx.shares.count(config.workspace, piece.pools, made.given)
    request_rerun(tx, config, "CAPACITY_FREED", made.freed)
    return Counter(made.counts), digests.with_told(made.told), lost


def _one_by_one(
    tx: WriteTransaction, config: WorkspaceConfig, moves: Sequence[Move], flooded: frozenset[str], first_turn: int
) -> tuple[Tally, list[Move]]:
    """Commit moves, each whole or not at all; return what those that were made come to, and those that lost a race."""
    takers = {turn.seller_id for turn in {move.pattern.turn for move in moves} if turn is not None}
    outcomes = tx.commit_moves(config.workspace, moves, _limits(tx, config, takers), first_turn, untold=flooded)
    made = [move for move, outcome in zip(moves, outcomes, strict=True) if outcome is Outcome.COMMITTED]
    lost = [move for move, outcome in zip(moves, outcomes, strict=True) if outcome in (Outcome.STALE, Outcome.CAPACITY_LOST)]
    return tally(made, flooded), lost


def _limits(tx: WriteTransaction, config: WorkspaceConfig, sellers: Iterable[str]) -> dict[str, Limits]:
    """Return the maxima of those sellers that exist."""
    terms = tx.sellers.terms(config.workspace, sellers)
    kinds = {id(own): limits_of(own, config, tx.now_us) for own in terms.values()}
    return {seller_id: kinds[id(own)] for seller_id, own in terms.items()}


def _put_back(tx: WriteTransaction, workspace: str, moves: Sequence[Move]) -> None:
    """Mark records that lost a race, unless they are marked already. They go on even where their segment waits for runs."""
    again = {"resegment": False, "goes_on": True}
    marks = [PendingMark(move.record_id, tx.now_us, {**(move.pattern.cause or {}), **again}) for move in moves if not move.generation]
    if marks:
        tx.pending.mark(workspace, marks)
        tx.signal(workspace, "pending")
