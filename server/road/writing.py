"""Stop "write": what was decided about the records of a batch, written up as moves, in a worker process. Pure.

The moves hold for the versions that were read; the commit checks these, and the maxima of the sellers.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from reallot.server.convert.records import state_text
from reallot.server.languages.saying import say
from reallot.server.road.batch import Piece
from reallot.server.road.change import frees_capacity
from reallot.server.road.enrol import follow_segment, leave
from reallot.server.road.events import concerned, event_of, told_cause
from reallot.server.road.offers import OFFERED, starts_anew, times_of
from reallot.server.road.outcome import OVERDUE, Decided, Decisions
from reallot.server.road.shares import counted_value
from reallot.server.road.stencils import ENROLLMENT, RECORD, TITLE, Names, Stencil
from reallot.storage.capacity import weight_of
from reallot.storage.documents import dump, load, owner_of
from reallot.storage.entities import EnrollmentChange, Json, OfferTerms, Owner, OwnerKind, Standing, open_offer
from reallot.storage.moves import DecisionText, Move, Pattern, Taken, changes_between, enrollment_columns, enrollment_of, looks, state_of
from reallot.storage.numbering import NOW, EventText, event_text
from reallot.storage.offers import OfferStep


class Writing:
    """Writes up the decisions about one batch; belongs to one thread."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self._work = decisions.work
        self._config = decisions.work.config
        self._names = {s.seller_id: s.name for s in decisions.planner.pool.sellers}
        self._owners: dict[str, Owner] = {}
        self._traces: dict[int, str] = {-1: "null"}
        self._offers: dict[tuple[str, str], OfferTerms] = {}
        self._stencils: dict[tuple[object, ...], Stencil] = {}

    def pieces(self) -> Iterator[Piece]:
        """Yield the moves in pieces of one commit each."""
        flooded = self.flooded()
        pools, left = self._decisions.shared.pools, len(self._decisions.rows)
        for rows in self._decisions.pieces():
            left -= len(rows)
            # Whoever is full in the end is so with the last piece.
            yield Piece.of([self._move(row) for row in rows], flooded, tuple(pool.among(last=left == 0) for pool in pools))

    def flooded(self) -> frozenset[str]:
        """Return the sellers who would get more notices than the workspace wants."""
        work, records, takers = self._work, self._work.records, self._decisions.takers
        concerned = np.zeros(len(records), dtype=np.bool_)
        concerned[self._decisions.rows] = True
        concerned &= work.assign | work.released
        if work.task.kind == "INTAKE":
            concerned &= ~np.array([work.quiet(row) for row in range(len(records))], dtype=np.bool_)
        owned = np.array([bool(kind) for kind in records.owner_kind], dtype=np.bool_)
        gains = np.bincount(takers[concerned & ~owned & (takers >= 0)])
        told: Counter[str] = Counter()
        for taker in np.flatnonzero(gains).tolist():
            owner = self._decisions.planner.pool.owner_at(taker)
            told.update(dict.fromkeys(self._concerned(owner.kind, owner.id), int(gains[taker])))
        for row in np.flatnonzero(concerned & owned).tolist():
            before, after = (records.owner_kind[row], records.owner_id[row]), self._decisions.of(row).owner
            if before != after:
                told.update({*self._concerned(*before), *self._concerned(*after)})
        return frozenset(seller for seller, count in told.items() if count > self._config.digest_above)

    def _concerned(self, kind: str, name: str) -> tuple[str, ...]:
        """Return the sellers who are told of what an owner gets and loses: that seller, or the members of that team."""
        return (name,) if kind == OwnerKind.SELLER else self._members.get(name, ()) if kind == OwnerKind.TEAM else ()

    @cached_property
    def _members(self) -> Mapping[str, tuple[str, ...]]:
        """Sellers by team."""
        pool = self._decisions.planner.pool
        return {team: tuple(pool.sellers[row].seller_id for row in rows) for team, rows in pool.members.items()}

    def _touches_owner(self, row: int) -> bool:
        return bool(self._work.assign[row] or self._work.released[row])

    def _move(self, row: int) -> Move:
        records, decided = self._work.records, self._decisions.of(row)
        key = (self._likeness[row], decided, *self._led_to(row))
        stencil = self._stencils.get(key)
        if stencil is None:
            stencil = self._stencils[key] = self._stencil(row, decided)
        return stencil.cast(
            Names(records.record_id[row], self._titles[row], records.enrollment_id[row]),
            place=self._decisions.turn_places.get(row, 0),
            waiting_since_us=records.waiting_since_us[row] or self._work.task.now_us,
            generation=records.pending_generation[row],
            considered=self._trace(self._decisions.chains[row]),
            amount=counted_value(records.value_units[row]) if decided.pool in self._valued else 1,
        )

    def _led_to(self, row: int) -> tuple[str, str]:
        """Return what brought a record here, and what the fields are by now whose change did, as texts."""
        if self._work.task.kind != "INTAKE":
            return "", ""
        cause = self._work.cause(row)
        return dump(cause), dump(self._present(row, cause.get("was") or {}))

    def _present(self, row: int, fields: Collection[str]) -> dict[str, Json]:
        return {name: value for name, value in load(self._work.records.fields[row]).items() if name in fields} if fields else {}

    @cached_property
    def _valued(self) -> frozenset[int]:
        """Pools that share out value instead of records."""
        rules, pools = self._config.rules, self._decisions.shared.pools
        return frozenset(place for place, pool in enumerate(pools) if rules[pool.rule_id].evens_value)

    @cached_property
    def _titles(self) -> list[str]:
        """What each record is called in sentences."""
        r, config = self._work.records, self._config
        titled = {name for name, kind in config.record_types.items() if kind.message.title_field}
        return [
            config.title(kind, record_id, load(text)) if kind in titled else record_id
            for kind, record_id, text in zip(r.record_type, r.record_id, r.fields, strict=True)
        ]

    @cached_property
    def _likeness(self) -> list[int]:
        """Numbers the same for rows that are alike in all that a move depends on, beside what is decided, its cause, and the names."""
        work, r = self._work, self._work.records
        kinds: dict[tuple[object, ...], int] = {}
        return [
            kinds.setdefault(alike, len(kinds))
            for alike in zip(
                *(r.record_type, r.active, r.priority, r.effort, r.version, r.owner_kind, r.owner_id),
                *(
                    r.previous_owner_kind,
                    r.previous_owner_id,
                    r.offered_to,
                    r.segment_id,
                    r.previous_segment_id,
                    r.segmentation,
                    r.assignment,
                ),
                *(r.connection, r.reason, r.rule_id, r.run_id, r.attempts, r.next_try_us, r.last_attempt_us, r.overdue_us),
                *(map(bool, r.enrollment_id), r.sequence_id, r.sequence_version, r.step),
                *(work.segment.tolist(), work.segmentation.tolist(), work.assign.tolist(), work.released.tolist()),
                [work.passed.get(row) for row in range(len(r))],
                strict=True,
            )
        ]

    def _stencil(self, row: int, decided: Decided) -> Stencil:
        work, before = self._work, self._standing(row)
        tried, quiet = bool(work.assign[row]), work.quiet(row)
        was, cause = (work.cause(row) or {}).get("was") or {}, told_cause(work.cause(row))
        before = before._replace(fields=was)
        after, change = self._placed(row, before, quiet)
        if decided.assignment or self._touches_owner(row):
            after = self._owned(row, after, decided, tried)
        after = after._replace(fields=self._present(row, was))
        version = before.version + 1
        ends, starts, enrolled = enrollment_of(before, after, change, version)
        if change is not None:
            after = after._replace(enrollment_id=enrolled[0], sequence_id=enrolled[1], sequence_version=enrolled[2], step=enrolled[3])
        draft = event_of(
            before, after, config=self._config, time_us=NOW, cause=cause, run_id=work.task.run_id, tried=tried, quiet=quiet,
            names=self._names, title=TITLE, members=self._members, shown_fields=tuple(was),
        )  # fmt: skip
        told = event_text(draft) if draft is not None else None
        state = state_of(after, enrolled)
        pattern = Pattern(
            version=before.version,
            next_version=version,
            weight=weight_of(before),
            weight_after=weight_of(after),
            written=None,
            state=state,
            stamps=(after.last_attempt_us, after.overdue_us),
            # Enrollments are compared by their holes, of which one stands for many.
            changes=changes_between(state_of(before, enrollment_columns(before)), state),
            turn=Taken(decided.seller_id, before.record_type, decided.rule_id) if decided.seller_id else None,
            offer=self._offer(row, before, after, decided),
            ends=ends,
            starts=starts,
            event=told,
            decision=self._decision(row, before, after, decided, told, cause),
            cause=work.cause(row),
            binding=decided.binding,
            frees=frees_capacity(before, after),
            counted=_counted(before, after, tried),
            looks=looks(before, after, change),
            parties=(concerned([before.owner], self._members), concerned([after.owner], self._members)),
            pool=decided.pool,
        )
        return Stencil(pattern, dump(draft.sentence) if draft is not None else "null", waits=after.owner is None)

    def _standing(self, row: int) -> Standing:
        """Return how the record of a row stands, with holes instead of names."""
        r = self._work.records
        columns: tuple[Sequence[Any], ...] = (
            *(r.record_type, r.active, r.priority, r.effort, r.version),
            *(r.segment_id, r.previous_segment_id, r.segmentation, r.assignment, r.connection, r.reason, r.rule_id, r.run_id),
            *(r.attempts, r.next_try_us, r.last_attempt_us, r.overdue_us, r.waiting_since_us),
            *(r.enrollment_id, r.sequence_id, r.sequence_version, r.step),
        )
        plain = [column[row] for column in columns]
        owners = (self._owner(r.owner_kind[row], r.owner_id[row]), self._owner(r.previous_owner_kind[row], r.previous_owner_id[row]))
        standing = Standing._make((RECORD, *plain[:5], *owners, r.offered_to[row], *plain[5:], {}))
        return standing._replace(enrollment_id=ENROLLMENT if standing.enrollment_id else "")

    def _owner(self, kind: str, owner_id: str) -> Owner | None:
        if kind != "SELLER":
            return owner_of(kind, owner_id)
        if owner_id not in self._owners:
            self._owners[owner_id] = Owner(OwnerKind.SELLER, owner_id)
        return self._owners[owner_id]

    def _placed(self, row: int, before: Standing, quiet: bool) -> tuple[Standing, EnrollmentChange | None]:
        """Return the record in its segment, with what happens to its enrollment."""
        segmentation, segment_id = str(self._work.segmentation[row]), str(self._work.segment[row])
        if not segmentation:
            return before, None
        segment = self._config.segments.get(segment_id)
        if segment_id == before.segment_id:
            after = before._replace(segmentation=segmentation)
            if segment is None or before.connection:
                return after, None
            # Nobody has connected it yet, or it was closed amid its sequence and is worked again.
            change, connection = follow_segment(before, segment, self._config, quiet=quiet)
            return after._replace(connection=connection), change
        if segment is None:
            change, connection = leave(before, "RELEASED"), "NO_SEQUENCE"
        else:
            passed = self._work.passed.get(row, frozenset())
            change, connection = follow_segment(before, segment, self._config, quiet=quiet, passed=passed)
        placed = before._replace(
            segmentation=segmentation, segment_id=segment_id, previous_segment_id=before.segment_id, connection=connection
        )
        return placed, change

    def _owned(self, row: int, after: Standing, decided: Decided, tried: bool) -> Standing:
        owner, previous, rule_id = after.owner, after.previous_owner, decided.rule_id or after.rule_id
        if self._touches_owner(row):
            owner = None if decided.assignment == OFFERED else self._owner(*decided.owner)
            rule_id = decided.rule_id
            previous = after.owner if after.owner not in (None, owner) else previous
        return after._replace(
            owner=owner,
            previous_owner=previous,
            offered_to=decided.seller_id if decided.assignment == OFFERED else "",
            attempts=after.attempts + tried,
            last_attempt_us=self._work.task.now_us if tried else after.last_attempt_us,
            rule_id=rule_id,
            assignment=decided.assignment,
            reason=decided.reason,
            run_id=self._work.task.run_id,
            next_try_us=decided.next_try_us,
            overdue_us=(after.overdue_us or self._work.task.now_us) if decided.assignment in OVERDUE else None,
        )

    def _offer(self, row: int, before: Standing, after: Standing, decided: Decided) -> OfferStep | None:
        held = open_offer(before)
        if decided.assignment != OFFERED:
            return OfferStep(held) if held and held != open_offer(after) else None
        anew = starts_anew(self._work.task.kind, before.assignment)
        return OfferStep(held if held != decided.seller_id else "", starts=self._terms(decided)._replace(anew=anew))

    def _terms(self, decided: Decided) -> OfferTerms:
        """Return the terms of a rule's offer to a seller; they count from the instant of the plan."""
        key = (decided.seller_id, decided.rule_id)
        if key not in self._offers:
            pool, now_us = self._decisions.planner.pool, self._work.task.now_us
            calendar = pool.calendars[pool.place[decided.seller_id]]
            times = times_of(self._config.rules[decided.rule_id].message.offer, calendar, now_us, now_us, made_while_away=True)
            self._offers[key] = OfferTerms(*key, times.remind_us, times.end_us, times.ends_as)
        return self._offers[key]

    def _decision(self, row: int, before: Standing, after: Standing, decided: Decided, told: EventText | None, cause: Json) -> DecisionText:
        states = (told.before, told.after) if told is not None else (state_text(before), state_text(after))
        why = told.cause if told is not None else dump(cause)
        reason = decided.reason or _segment_reason(str(self._work.segmentation[row]), after.segment_id)
        if before.segment_id and before.segment_id != after.segment_id == before.previous_segment_id != "":
            reason = say("back_again", what=reason, segment=after.segment_id, left_for=before.segment_id)
        return DecisionText(NOW, why, after.assignment, reason, *states, decided.rule_id, self._work.task.run_id, before.version + 1)

    def _trace(self, chain: int) -> str:
        if chain not in self._traces:
            self._traces[chain] = dump([trace.document() for trace in self._decisions.planner.draft.traces[chain]])
        return self._traces[chain]


def _segment_reason(segmentation: str, segment_id: str) -> str:
    return {
        "SEGMENTED": say("joined_segment", segment=segment_id),
        "UNCHANGED": say("stays_in_segment"),
        "MOVE_NOT_ALLOWED": say("move_not_allowed"),
        "NO_SEGMENT": say("no_segment_matches"),
    }.get(segmentation, "")


def _counted(before: Standing, after: Standing, tried: bool) -> tuple[str, ...]:
    names = []
    if before.segment_id and before.segment_id != after.segment_id:
        names.append("resegmented")
    if tried:
        names += ["considered", f"status:{after.assignment}"]
        names += ["offered"] if after.assignment == OFFERED else ["failed"] if after.owner is None else []
    if after.owner != before.owner:
        names += ["assigned"] if after.owner is not None else ["released"]
        names += ["moved"] if after.owner is not None and before.owner is not None else []
    return tuple(names)
