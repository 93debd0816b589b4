"""Where one record stands and who could take it, computed from the same planning code that decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from reallot.server.convert.decisions import decision_message, rule_message, sentence_message
from reallot.server.convert.records import masked_fields, record_message
from reallot.server.convert.values import from_owner, from_us
from reallot.server.errors import not_found
from reallot.server.languages import say, speech_of
from reallot.server.next_tries import next_tries
from reallot.server.road.events import owner_name
from reallot.server.road.fitting import NO_SCORE, shown_score
from reallot.server.road.groups import GroupTargets
from reallot.server.road.joined import frame_of_records
from reallot.server.road.plan import Candidates, Planner, RuleTargets
from reallot.server.road.pool import Pool
from reallot.server.road.reasons import RuleTrace
from reallot.server.road.traits import subjects_of_records, together, with_traits
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.calendars import UNAVAILABLE
from reallot.solver.segmentation import evaluate
from reallot.storage import ReadTransaction
from reallot.storage.entities import Owner, OwnerKind, Record
from reallot.v1 import assignment_service_pb2, event_pb2, insight_service_pb2

VERDICTS = (
    "ELIGIBLE",
    "NO_CAPACITY",
    "NOT_AVAILABLE",
    "OFFERED_BEFORE",
    "NOT_RESPONDING",
    "SWITCHED_OFF",
    "ROLE_NOT_ELIGIBLE",
    "NOT_MATCHED",
)

DEFAULT_NAMED, MOST_NAMED, SHOWN_DECISIONS = 5, 1_000, 10


@dataclass(frozen=True)
class RuleView:
    """One rule over one record: its trace, the verdict on every seller in the order of the pool, and the team or queue that it gives to."""

    rule_id: str
    trace: RuleTrace
    verdicts: list[str]
    fits: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Score in steps and what is missed, of the sellers who fit the target, by place in the pool."""
    group: Owner | None = None


def record_of(tx: ReadTransaction, workspace: str, record_id: str) -> Record:
    """Return a record.

    Raises:
        ApiError: there is none.
    """
    found = tx.records.get(workspace, [record_id]).get(record_id)
    if found is None:
        raise not_found("record", record_id)
    return found


def rule_views(tx: ReadTransaction, pool: Pool, config: WorkspaceConfig, record: Record, now_us: int) -> list[RuleView]:
    """Return what each rule of the record's segment makes of it now, in order."""
    segment = config.segments.get(record.segment_id)
    kind = config.record_types.get(record.record_type)
    if segment is None or kind is None:
        return []
    planner = Planner(config, pool, now_us)
    frame = frame_of_records(tx, config, [record], [rule.condition for rule in segment.rules if rule.condition is not None])
    frame = with_traits(tx, config, record.record_type, frame, subjects_of_records([record], now_us), now_us)
    names = together(segment, [record.group_key], frame)
    created_us = np.array([record.created_us])
    candidates = Candidates(segment, np.zeros(1, dtype=np.int64), frame, created_us, [record.record_id], names)
    targets = planner.targets_of(candidates)
    chain = planner.chains_of(candidates, targets)[0].tolist()
    views = []
    for target, combination in zip(targets, chain, strict=True):
        if combination < 0:
            status = "RECORD_TOO_OLD" if combination == -2 else "NO_RULE_MATCHED"
            views.append(RuleView(target.rule.key, RuleTrace(target.rule.key, status, {}), ["NOT_MATCHED"] * len(pool.sellers)))
            continue
        taker = target.taker[combination] if isinstance(target, GroupTargets) else -1
        group = pool.owner_at(taker) if taker >= 0 else None
        verdicts, fits = _verdicts(pool, target, combination), _fits(target, combination)
        views.append(RuleView(target.rule.key, target.trace(combination), verdicts, fits, group))
    return views


def _fits(target: RuleTargets | GroupTargets, combination: int) -> dict[int, tuple[int, int]]:
    if isinstance(target, GroupTargets):
        return {}
    pairs = slice(target.matches.start[combination], target.matches.start[combination + 1])
    columns = (target.fit.score[pairs].tolist(), target.fit.misses[pairs].tolist())
    return dict(zip(target.matches.seller[pairs].tolist(), zip(*columns, strict=True), strict=True))


def _verdicts(pool: Pool, target: RuleTargets | GroupTargets, combination: int) -> list[str]:
    fitting = set(target.matches.sellers_of(combination).tolist())
    asked = target.asked(combination) if isinstance(target, RuleTargets) else set()
    found = []
    for index in range(len(pool.sellers)):
        if index not in fitting:
            found.append("NOT_MATCHED")
        elif not pool.roles_ok[index]:
            found.append("ROLE_NOT_ELIGIBLE")
        elif not pool.assignable[index]:
            found.append("SWITCHED_OFF")
        elif not pool.responds[index]:
            found.append("NOT_RESPONDING")
        elif index in asked:
            found.append("OFFERED_BEFORE")
        elif target.widest < UNAVAILABLE and pool.bucket[index] > target.widest:
            found.append("NOT_AVAILABLE")
        elif isinstance(target, RuleTargets) and target.rule.use_capacity and target.room[index] <= 0:
            found.append("NO_CAPACITY")
        else:
            found.append("ELIGIBLE")
    return found


def candidates_of(
    tx: ReadTransaction, config: WorkspaceConfig, record_id: str, now_us: int, *, others: bool
) -> list[assignment_service_pb2.Candidate]:
    """Return who could take a record by the first rule that allows each, best rule first; with `others`, all sellers."""
    record = record_of(tx, config.workspace, record_id)
    pool = Pool.read(tx, config, now_us)
    views = rule_views(tx, pool, config, record, now_us)
    rows = [_group_row(view, rank) for rank, view in enumerate(views) if view.group is not None]
    for index, seller in enumerate(pool.sellers):
        verdicts = [view.verdicts[index] for view in views]
        rank = next((i for i, verdict in enumerate(verdicts) if verdict == "ELIGIBLE"), -1)
        verdict = min(verdicts, key=VERDICTS.index) if verdicts else "NOT_MATCHED"
        score, misses = views[rank].fits.get(index, (NO_SCORE, 0)) if rank >= 0 else (NO_SCORE, 0)
        if rank < 0 and not others:
            continue
        key = (
            rank if rank >= 0 else len(views),
            VERDICTS.index(verdict),
            misses,
            -score,
            -int(pool.priority[index]),
            int(pool.turn[index]),
            index,
        )
        message = assignment_service_pb2.Candidate(
            seller_id=seller.seller_id,
            rule_id=views[rank].rule_id if rank >= 0 else "",
            verdict=event_pb2.Verdict.Value(f"VERDICT_{verdict}"),
            free=int(pool.free[index]),
            available_now=int(pool.bucket[index]) == 0,
            owner=from_owner(Owner(OwnerKind.SELLER, seller.seller_id)),
            score=shown_score(score),
        )
        rows.append((key, message))
    return [message for _, message in sorted(rows, key=lambda row: row[0])]


def _group_row(view: RuleView, rank: int) -> tuple[tuple[int, ...], assignment_service_pb2.Candidate]:
    verdict = event_pb2.VERDICT_ELIGIBLE
    return (rank, 0, 0, 0, 0), assignment_service_pb2.Candidate(rule_id=view.rule_id, verdict=verdict, owner=from_owner(view.group))


def segment_traces(tx: ReadTransaction, config: WorkspaceConfig, record: Record, now_us: int) -> list[insight_service_pb2.SegmentTrace]:
    """Return how a record stands to each active segment of its type, in order."""
    segments = config.segments_by_type.get(record.record_type, ())
    conditions = [s.condition for s in segments if s.condition is not None]
    kind = config.record_types.get(record.record_type)
    if kind is None:
        return []
    holds = evaluate(conditions, frame_of_records(tx, config, [record], conditions), now_us=now_us)[0].tolist() if conditions else []
    answers = iter(holds)
    return [
        insight_service_pb2.SegmentTrace(
            segment_id=s.id,
            matches=next(answers) if s.condition is not None else True,
            present=s.id == record.segment_id,
            condition=s.message.condition,
        )
        for s in segments
    ]


def rule_traces(pool: Pool, views: list[RuleView], most: int) -> list[event_pb2.RuleTrace]:
    """Return what rules make of a record as messages, with up to `most` sellers named for each verdict."""
    found = []
    for view in views:
        names: dict[str, list[str]] = {}
        for seller, verdict in zip(pool.sellers, view.verdicts, strict=True):
            named = names.setdefault(verdict, [])
            if len(named) < most:
                named.append(seller.seller_id)
        found.append(rule_message(view.trace.document(), names))
    return found


def named_per_verdict(request: insight_service_pb2.ExplainRecordRequest) -> int:
    """Return how many sellers are to be named for each verdict."""
    return request.sellers_per_verdict if request.HasField("sellers_per_verdict") else DEFAULT_NAMED


def standing(
    tx: ReadTransaction, config: WorkspaceConfig, request: insight_service_pb2.ExplainRecordRequest, now_us: int
) -> insight_service_pb2.ExplainRecordResponse:
    """Return where a record stands, without planning anything.

    Raises:
        ApiError: there is no such record.
    """
    workspace, record = config.workspace, record_of(tx, config.workspace, request.record_id)
    pool = Pool.read(tx, config, now_us)
    waits = bool(tx.records.pending_ids(workspace, [record.record_id]))
    due_us = next_tries(tx, config, [record], now_us).get(record.record_id)
    speech = speech_of(config)
    summary = sentence_message(_summary(record, config, due_us), speech)
    return insight_service_pb2.ExplainRecordResponse(
        record=record_message(record, config, pending=waits, masked=True, next_try_us=due_us),
        masked_fields=masked_fields(record, config),
        segments=segment_traces(tx, config, record, now_us),
        rules=rule_traces(pool, rule_views(tx, pool, config, record, now_us), named_per_verdict(request)),
        decisions=[decision_message(d, speech) for d in tx.decisions.of_record(workspace, record.record_id, None, SHOWN_DECISIONS)],
        summary=summary.text,
        sentence=summary,
    )


def _summary(record: Record, config: WorkspaceConfig, next_try_us: int | None) -> str:
    name = config.title(record.record_type, record.record_id, record.fields)
    segment = config.segments.get(record.segment_id)
    place = say("stands_in_segment", segment=segment.name) if segment else say("stands_in_none")
    if record.owner is not None:
        how = say("by_rule", rule=record.rule_id) if record.rule_id else say("by_hand_or_crm")
        return say("stands_owned", record=name, place=place, owner=owner_name(record.owner, config), how=how)
    reason = record.reason or say("not_looked_at")
    if not record.active:
        return say("stands_unowned", record=name, place=place, reason=reason)
    tried = say("tried", attempts=record.attempts) if record.attempts else say("not_tried")
    again = say("tried_again", time=_instant(next_try_us)) if next_try_us is not None else say("not_tried_again")
    overdue = say("overdue_since", time=_instant(record.overdue_us)) if record.overdue_us is not None else ""
    return say("stands_waiting", record=name, place=place, reason=reason, tried=tried, again=again, overdue=overdue)


def _instant(time_us: int) -> str:
    return f"{from_us(time_us).ToDatetime():%Y-%m-%d %H:%M:%S} UTC"
