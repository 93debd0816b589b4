"""Stop "commit": a plan becomes true, chunk by chunk; each record is atomic, a run is not.

The plan was made on a snapshot. Here every record is read again: one that has changed since stays as it is and goes back to
pending, and so does one whose seller's last slot was taken meanwhile.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reallot.server.convert.records import state_document
from reallot.server.convert.sellers import maximum_of
from reallot.server.road.batch import Plan
from reallot.server.road.change import frees_capacity
from reallot.server.road.enrol import follow_segment, leave
from reallot.server.road.events import event_of
from reallot.server.runtime import request_rerun
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import WriteTransaction
from reallot.storage.entities import (
    Claim,
    Decision,
    EnrollmentChange,
    EventDraft,
    Limits,
    NoticeDraft,
    Outcome,
    Owner,
    OwnerKind,
    PendingMark,
    Record,
    Seller,
    Transition,
)

CHUNK = 2_000
"""Most records in one commit, so that other writers pass in between."""


def limits_of(seller: Seller, config: WorkspaceConfig) -> Limits:
    """Return the maxima that a binding assignment to a seller is held to."""
    return Limits(
        total=maximum_of(seller, config),
        by_record_type=seller.capacity.get("by_record_type") or {},
        by_segment=seller.capacity.get("by_segment") or {},
        counted_types=config.counted_types,
    )


@dataclass
class Digests:
    """Counts the notices of one run by seller; sellers with too many get one digest instead of them."""

    above: int
    flooded: frozenset[str] = frozenset()
    gained: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    lost: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @staticmethod
    def of(plan: Plan, above: int) -> "Digests":
        """Return the digests of a plan: a seller who would get more than `above` notices from it gets one."""
        told: Counter[str] = Counter()
        for row in range(len(plan)):
            if plan.touches_owner[row] and not plan.quiet[row]:
                before, after = plan.former_seller_id[row], plan.seller_id[row]
                told.update({seller for seller in (before, after) if seller and before != after})
        return Digests(above, frozenset(seller for seller, count in told.items() if count > above))

    def keep(self, event: EventDraft | None, before: Record, after: Record) -> EventDraft | None:
        """Return the event without the sellers who get a digest, and count it for them."""
        if event is None or not self.flooded.intersection(event.notify):
            return event
        old, new = (r.owner.id if r.owner and r.owner.kind is OwnerKind.SELLER else "" for r in (before, after))
        for seller in self.flooded.intersection(event.notify):
            if seller == new and seller != old:
                self.gained[seller].append(event.record_id)
            elif seller == old and seller != new:
                self.lost[seller].append(event.record_id)
        return replace(event, notify=tuple(s for s in event.notify if s not in self.flooded))

    def notices(self, run_id: str, time_us: int) -> list[NoticeDraft]:
        """Return one notice for each of these sellers, and forget what was counted."""
        drafts = []
        for seller in sorted({*self.gained, *self.lost}):
            gained, lost = self.gained.pop(seller, []), self.lost.pop(seller, [])
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


@dataclass(frozen=True)
class Committer:
    """Commits the plan of one batch. `run_id` stands on records and decisions; an intake's is its number."""

    workspace: str
    config: WorkspaceConfig
    plan: Plan
    run_id: str
    digests: Digests

    def chunks(self) -> list[range]:
        """Return the rows of the plan in pieces of one commit each; an empty plan is one empty piece."""
        return [range(start, min(start + CHUNK, len(self.plan))) for start in range(0, max(len(self.plan), 1), CHUNK)]

    def commit(self, tx: WriteTransaction, rows: Sequence[int]) -> Counter[str]:
        """Commit some rows and return what became of them: counts by outcome and "status:NAME"."""
        plan = self.plan
        current = tx.records.get(self.workspace, [plan.record_id[row] for row in rows])
        sellers = tx.sellers.get(self.workspace, self._sellers(rows, current))
        names = {seller.seller_id: seller.display_name or seller.seller_id for seller in sellers.values()}
        made: list[Transition] = []
        lost: list[int] = []
        counts: Counter[str] = Counter()
        kept: list[int] = []
        for row in rows:
            before = current.get(plan.record_id[row])
            if before is None:
                continue
            if before.version != plan.version[row] or (plan.seller_id[row] and plan.seller_id[row] not in sellers):
                lost.append(row)
                continue
            made.append(self._transition(tx, row, before, sellers, names))
            kept.append(row)
        outcomes = tx.commit_records(self.workspace, made)
        for row, transition, outcome in zip(kept, made, outcomes, strict=True):
            if outcome is Outcome.COMMITTED:
                _count(counts, transition, tried=plan.tried[row])
            else:
                lost.append(row)
        counts["lost"] += len(lost)
        self._put_back(tx, lost)
        if any(frees_capacity(t) for t, outcome in zip(made, outcomes, strict=True) if outcome is Outcome.COMMITTED):
            request_rerun(tx, self.config, "CAPACITY_FREED")
        return counts

    def finish(self, tx: WriteTransaction) -> None:
        """Send the digests."""
        drafts = self.digests.notices(self.run_id, tx.now_us)
        if drafts:
            tx.events.append(self.workspace, drafts)
            tx.signal(self.workspace, "events")

    def _sellers(self, rows: Iterable[int], current: Mapping[str, Record]) -> set[str]:
        chosen = {self.plan.seller_id[row] for row in rows} - {""}
        return chosen | {r.owner.id for r in current.values() if r.owner and r.owner.kind is OwnerKind.SELLER}

    def _put_back(self, tx: WriteTransaction, rows: Sequence[int]) -> None:
        """Mark records that lost a race, unless they are marked already. They go on even where their segment waits for runs."""
        causes = [(self.plan.record_id[row], self.plan.cause[row]) for row in rows if not self.plan.generation[row]]
        if causes:
            again = {"resegment": False, "goes_on": True}
            marks = [PendingMark(record_id, tx.now_us, {**(cause or {}), **again}) for record_id, cause in causes]
            tx.pending.mark(self.workspace, marks)
            tx.signal(self.workspace, "pending")

    def _transition(
        self, tx: WriteTransaction, row: int, before: Record, sellers: Mapping[str, Seller], names: Mapping[str, str]
    ) -> Transition:
        plan, now_us = self.plan, tx.now_us
        segment = self.config.segments.get(plan.segment_id[row])
        after, enrollment = self._placed(row, before)
        if plan.touches_owner[row] or plan.assignment[row]:
            after = self._owned(row, after, before, now_us)
        event = event_of(
            before,
            after,
            config=self.config,
            time_us=now_us,
            cause=plan.cause[row],
            enrollment=enrollment,
            run_id=self.run_id,
            tried=plan.tried[row],
            quiet=plan.quiet[row],
            names=names,
        )
        taken = bool(plan.seller_id[row])
        return Transition(
            before=before,
            after=after,
            claim=Claim(limits_of(sellers[plan.seller_id[row]], self.config)) if taken and plan.binding[row] else None,
            counts_turn=taken,
            enrollment=enrollment,
            event=self.digests.keep(event, before, after),
            decision=self._decision(row, before, after, now_us, segment.id if segment else ""),
            clear_generation=plan.generation[row] or None,
        )

    def _placed(self, row: int, before: Record) -> tuple[Record, EnrollmentChange | None]:
        """Return the record in its segment, with what happens to its enrollment."""
        plan = self.plan
        if not plan.segmentation[row]:
            return before, None
        after = replace(before, segmentation=plan.segmentation[row])
        if plan.segment_id[row] == before.segment_id:
            return after, None
        after = replace(after, segment_id=plan.segment_id[row], previous_segment_id=before.segment_id)
        segment = self.config.segments.get(plan.segment_id[row])
        if segment is None:
            return replace(after, connection="NO_SEQUENCE"), leave(before, "RELEASED")
        change, connection = follow_segment(before, segment, self.config, quiet=plan.quiet[row])
        return replace(after, connection=connection), change

    def _owned(self, row: int, after: Record, before: Record, now_us: int) -> Record:
        plan = self.plan
        owner, previous = before.owner, before.previous_owner
        if plan.touches_owner[row]:
            owner = Owner(OwnerKind.SELLER, plan.seller_id[row]) if plan.seller_id[row] else None
            previous = before.owner if before.owner not in (None, owner) else previous
        tried = plan.tried[row]
        # One replacement of the whole row: it is what a large commit spends most of its time with.
        return replace(
            after,
            owner=owner,
            previous_owner=previous,
            attempts=before.attempts + tried,
            last_attempt_us=now_us if tried else before.last_attempt_us,
            rule_id=plan.rule_id[row] if plan.touches_owner[row] or plan.rule_id[row] else before.rule_id,
            assignment=plan.assignment[row],
            reason=plan.reason[row],
            run_id=self.run_id,
            overdue_us=(before.overdue_us or now_us) if plan.overdue[row] else None,
        )

    def _decision(self, row: int, before: Record, after: Record, now_us: int, segment_id: str) -> Decision:
        plan = self.plan
        traces: Any = plan.traces[plan.trace[row]] if plan.trace[row] >= 0 else None
        return Decision(
            record_id=before.record_id,
            time_us=now_us,
            cause=plan.cause[row],
            status=after.assignment,
            reason=plan.reason[row] or _segment_reason(plan.segmentation[row], segment_id),
            before=state_document(before, {}),
            after=state_document(after, {}),
            rule_id=plan.rule_id[row],
            run_id=self.run_id,
            considered=traces,
        )


def _segment_reason(segmentation: str, segment_id: str) -> str:
    return {
        "SEGMENTED": f"the record joined the segment {segment_id}",
        "UNCHANGED": "the record was looked at again and stays in its segment",
        "MOVE_NOT_ALLOWED": "another segment matches but does not accept moves",
        "NO_SEGMENT": "no segment matches the record",
    }.get(segmentation, "")


def _count(counts: Counter[str], transition: Transition, *, tried: bool) -> None:
    before, after = transition.before, transition.after
    if before is None or after is None:
        return
    if before.segment_id and before.segment_id != after.segment_id:
        counts["resegmented"] += 1
    if tried:
        counts["considered"] += 1
        counts[f"status:{after.assignment}"] += 1
        counts["failed"] += after.owner is None
    if after.owner != before.owner:
        counts["assigned"] += after.owner is not None
        counts["moved"] += after.owner is not None and before.owner is not None
        counts["released"] += after.owner is None
