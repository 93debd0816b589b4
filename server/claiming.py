"""Claims: a seller asks for the next record of a pool, and has it held for a while.

What waits is looked through on a snapshot, so that nobody's writes wait; the claim itself checks the record's version, so that of two
sellers who find the same record one gets it and the other looks again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from reallot.server.convert.offers import offer_message
from reallot.server.convert.records import state_text
from reallot.server.errors import Violation, failed_precondition, invalid_field, not_found
from reallot.server.idempotency import answered_before, once
from reallot.server.languages.saying import say
from reallot.server.offers import come_back, names_of_sellers, offer_of
from reallot.server.road.commit import limits_of
from reallot.server.road.events import event_of
from reallot.server.road.joined import frame_of_records
from reallot.server.road.offers import LAPSED, OFFERED
from reallot.server.road.plan import Candidates, Planner, RuleTargets
from reallot.server.road.pool import Pool
from reallot.server.road.selection import UNASSIGNED
from reallot.server.road.traits import subjects_of_records, together, with_traits
from reallot.server.runtime import Runtime
from reallot.server.validation import check_id, refuse
from reallot.server.workspace_config import SegmentConfig, WorkspaceConfig, is_active
from reallot.solver.calendars import DAY_US
from reallot.storage import ReadTransaction, RecordFilter, WriteTransaction
from reallot.storage.entities import Claim, Decision, OfferTerms, Outcome, Owner, OwnerKind, Record, Seller, Transition
from reallot.storage.windows import windows_of
from reallot.v1 import assignment_service_pb2 as pb
from reallot.v1 import config_pb2

DEFAULT_LEASE_US = 15 * 60 * 1_000_000
LONGEST_LEASE_US = DAY_US
PART = 200
"""Records that are looked at together."""


class _LostError(Exception):
    """Somebody was faster; raised so that nothing is kept."""


@dataclass(frozen=True)
class Found:
    """A record that a seller may claim, at the version that was seen; `rule_id` is the rule that allows it, "" for one of a queue."""

    record_id: str
    version: int
    rule_id: str


def lease_of(request: pb.ClaimNextRequest | pb.ExtendClaimRequest) -> int:
    """Return for how long a record is held, in microseconds.

    Raises:
        ApiError: it is not positive, or too long.
    """
    if not request.HasField("lease"):
        return DEFAULT_LEASE_US
    lease_us: int = request.lease.ToMicroseconds()
    if not 0 < lease_us <= LONGEST_LEASE_US:
        raise invalid_field("lease", "it is positive, and at most 24 hours")
    return lease_us


async def claim_next(runtime: Runtime, workspace: str, request: pb.ClaimNextRequest) -> pb.ClaimNextResponse:
    """Hold the next record of a pool for a seller; the answer is empty if there is none.

    Raises:
        ApiError: the seller, a segment or a queue does not exist, or the seller takes no records.
    """
    lease_us = lease_of(request)
    refuse(check_id("seller_id", request.seller_id))
    given = await runtime.read(lambda tx: answered_before(tx, request, workspace, pb.ClaimNextResponse))
    if given is not None:
        return given
    full: set[str] = set()
    while True:
        search = partial(_next, request=request, now_us=runtime.clock.now_us(), full=frozenset(full))
        found = await runtime.read(lambda tx: search(tx, runtime.configs.of(tx, workspace)))

        def work(tx: WriteTransaction, found: Found | None = found) -> pb.ClaimNextResponse:
            if found is None:
                return pb.ClaimNextResponse()
            return _claim(tx, runtime.configs.of(tx, workspace), found, request.seller_id, lease_us)

        try:
            return await runtime.write(workspace, once(request, workspace, pb.ClaimNextResponse, work))
        except _LostError as lost:
            # Of a maximum that holds for one segment or type only, the search knows nothing.
            full.update(lost.args)


def _next(tx: ReadTransaction, config: WorkspaceConfig, *, request: pb.ClaimNextRequest, now_us: int, full: frozenset[str]) -> Found | None:
    seller = tx.sellers.get(config.workspace, [request.seller_id]).get(request.seller_id)
    if seller is None:
        raise not_found("seller", request.seller_id)
    refuse(_faults(config, request))
    if not (seller.assignable and seller.roles_ok):
        text = f"seller {seller.seller_id!r} is switched off or lacks the role"
        raise failed_precondition("SELLER_TAKES_NONE", text, seller=seller.seller_id)
    pool = Pool(
        config,
        [seller],
        tx.sellers.loads(config.workspace, [seller.seller_id]),
        tx.sellers.turns(config.workspace, [seller.seller_id]),
        (),
        now_us,
        tx.sellers.windows.gains(config.workspace, {seller.seller_id: windows_of(seller.capacity)}, now_us),
        frozenset(),
    )
    for records in _waiting(tx, config, seller, request):
        rules = _rules(tx, config, pool, [r for r in records if r.owner is None], now_us)
        for record in records:
            free = record.owner is None or int(pool.room[0]) > 0
            rule_id = rules.get(record.record_id) if record.owner is None else ""
            if rule_id is not None and free and record.record_id not in full:
                return Found(record.record_id, record.version, rule_id)
    return None


def _faults(config: WorkspaceConfig, request: pb.ClaimNextRequest) -> Iterator[Violation]:
    for kind, names in (("segment", request.segment_ids), ("queue", request.queue_ids)):
        for index, name in enumerate(names):
            if config.find(kind, name) is None:
                yield Violation(f"{kind}_ids[{index}]", f"{kind} {name!r} does not exist", "UNKNOWN_REFERENCE")


def _waiting(tx: ReadTransaction, config: WorkspaceConfig, seller: Seller, request: pb.ClaimNextRequest) -> Iterator[list[Record]]:
    """Yield what waits in the pools that are asked for, the most urgent and oldest first, in parts."""
    everything = not request.segment_ids and not request.queue_ids
    filters = []
    if everything or request.segment_ids:
        segments = list(request.segment_ids) or None
        filters.append(RecordFilter(owned=False, active=True, offered=False, statuses=UNASSIGNED, segment_ids=segments))
    queues: Sequence[config_pb2.Queue] = config.all("queue")
    for queue in queues:
        if is_active(queue.state) and (everything or queue.queue_id in request.queue_ids):
            filters.append(RecordFilter(owner=Owner(OwnerKind.QUEUE, queue.queue_id), active=True, offered=False))
    by_waiting = config.settings.age_by == config_pb2.AGE_BY_WAITING
    after = None
    while True:
        places = {p for f in filters for p in tx.records.places(config.workspace, f, after, PART, by_waiting=by_waiting)}
        ordered = sorted(places, key=lambda place: (-place[0], *place[1:]))[:PART]
        ids = [record_id for _, _, record_id in ordered]
        records, on_their_way = tx.records.get(config.workspace, ids), tx.records.pending_ids(config.workspace, ids)
        yield [records[record_id] for record_id in ids if record_id not in on_their_way]
        if len(ordered) < PART:
            return
        after = ordered[-1]


def _rules(tx: ReadTransaction, config: WorkspaceConfig, pool: Pool, records: Sequence[Record], now_us: int) -> dict[str, str]:
    """Return the rule by which the pool's one seller may have each record that the seller may have, by record."""
    by_segment: dict[str, list[Record]] = {}
    for record in records:
        by_segment.setdefault(record.segment_id, []).append(record)
    found: dict[str, str] = {}
    for segment_id, some in by_segment.items():
        segment = config.segments.get(segment_id)
        if segment is not None and segment.rules:
            found |= _rules_of(tx, config, pool, segment, some, now_us)
    return found


def _rules_of(
    tx: ReadTransaction, config: WorkspaceConfig, pool: Pool, segment: SegmentConfig, records: Sequence[Record], now_us: int
) -> dict[str, str]:
    planner, record_type = Planner(config, pool, now_us), segment.message.record_type
    frame = frame_of_records(tx, config, records, [rule.condition for rule in segment.rules if rule.condition is not None])
    frame = with_traits(tx, config, record_type, frame, subjects_of_records(records, now_us), now_us)
    created = np.array([record.created_us for record in records], dtype=np.int64)
    names = together(segment, [record.group_key for record in records], frame)
    candidates = Candidates(segment, np.arange(len(records)), frame, created, [record.record_id for record in records], names)
    targets = planner.targets_of(candidates)
    found = {}
    for record, chain in zip(records, planner.chains_of(candidates, targets).tolist(), strict=True):
        for target, combination in zip(targets, chain, strict=True):
            # Who asks is there, and wants it: neither working time nor earlier offers matter.
            has_room = not target.rule.use_capacity or int(pool.room[0]) > 0
            sellers = isinstance(target, RuleTargets) and combination >= 0
            if sellers and has_room and len(target.matches.sellers_of(combination)):
                found[record.record_id] = target.rule.key
                break
    return found


def _claim(tx: WriteTransaction, config: WorkspaceConfig, found: Found, seller_id: str, lease_us: int) -> pb.ClaimNextResponse:
    before = tx.records.get(config.workspace, [found.record_id]).get(found.record_id)
    seller = tx.sellers.get(config.workspace, [seller_id]).get(seller_id)
    if before is None or before.version != found.version or seller is None or tx.records.pending_ids(config.workspace, [found.record_id]):
        raise _LostError
    names = names_of_sellers(tx, config, [seller_id])
    why = say("claimed", seller=names[seller_id])
    after = replace(before, offered_to=seller_id, assignment=OFFERED, reason=why)
    cause = {"kind": "OFFER", "detail": why}
    rule = config.rules.get(found.rule_id)
    transition = Transition(
        before,
        after,
        claim=Claim(limits_of(seller, config, tx.now_us)) if rule is None or rule.use_capacity else None,
        # Who claims it knows.
        event=event_of(before, after, config=config, time_us=tx.now_us, cause=cause, names=names, quiet=True),
        decision=Decision(before.record_id, tx.now_us, cause, OFFERED, why, state_text(before), state_text(after), found.rule_id),
        offer_start=OfferTerms(seller_id, found.rule_id, None, tx.now_us + lease_us, LAPSED, status_before=before.assignment),
    )
    if tx.commit_records(config.workspace, [transition]) != [Outcome.COMMITTED]:
        raise _LostError(found.record_id)
    come_back(tx, config, [seller_id])
    offer = offer_of(tx, config, after, seller_id)
    return pb.ClaimNextResponse(record_id=found.record_id, claim=offer_message(offer, after, config))


def extend(tx: WriteTransaction, config: WorkspaceConfig, record_id: str, seller_id: str, lease_us: int) -> pb.OpenOffer:
    """Hold a claimed record for so long from now.

    Raises:
        ApiError: there is no such record, or the seller has no claim on it, or not any more.
    """
    record = tx.records.get(config.workspace, [record_id]).get(record_id)
    if record is None:
        raise not_found("record", record_id)
    offer = offer_of(tx, config, record, seller_id)
    if offer.ends_as != LAPSED:
        text = f"record {record_id!r} is offered by a rule, which says how long the offer stands"
        raise failed_precondition("OFFER_NOT_OPEN", text, record=record_id, seller=seller_id)
    longer = replace(offer, end_us=tx.now_us + lease_us)
    tx.offers.reschedule(config.workspace, [longer])
    tx.audit.note(config.workspace, [("claim", f"{record_id}/{seller_id}", {"end_us": offer.end_us}, {"end_us": longer.end_us})])
    tx.signal(config.workspace, "offers")
    return offer_message(longer, record, config)
