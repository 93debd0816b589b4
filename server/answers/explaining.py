"""Who would get a record, what proves that nobody can, and what it would take for somebody else: by planning again on a snapshot."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reallot.server.answers.alternative import alternative_of
from reallot.server.answers.supposing import a_task, maximum_message, silent
from reallot.server.convert.records import record_message
from reallot.server.errors import not_found
from reallot.server.explanation import MOST_NAMED, VERDICTS, RuleView, record_of, rule_views, standing
from reallot.server.next_tries import next_tries
from reallot.server.road.fitting import MISSES_CONTINUITY, MISSES_PREFERRED, NO_SCORE, shown_score
from reallot.server.road.plan import Planner
from reallot.server.road.solve import Drafted, drafted
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver import assignment
from reallot.solver.assignment.answers import NotProven, blocking, holds
from reallot.solver.assignment.problem import Ints
from reallot.storage import ReadTransaction
from reallot.storage.entities import Owner, OwnerKind
from reallot.v1 import event_pb2, run_pb2
from reallot.v1 import insight_service_pb2 as pb

DEFAULT_COUNT = 10


class Planned(NamedTuple):
    """A record in the plan of everything that is planned with it; `place` is its record of the problem, None = no run takes it."""

    draft: Drafted
    place: int | None


def planned_with(tx: ReadTransaction, config: WorkspaceConfig, record_id: str, owner: Owner | None, now_us: int) -> Planned:
    """Return the problem that decides a record: of one that a seller owns on its own, of another with everything that waits."""
    owned = owner is not None and owner.kind is OwnerKind.SELLER
    selection = run_pb2.RunSelection(record_ids=[record_id]) if owned else run_pb2.RunSelection()
    draft = drafted(tx, config, a_task(config, now_us, selection, reopens=owned), silent, keep_full=True)
    ids, rows = draft.work.records.record_id, draft.planner.rows().tolist()
    return Planned(draft, next((index for index, row in enumerate(rows) if ids[row] == record_id), None))


def explain_record(tx: ReadTransaction, config: WorkspaceConfig, request: pb.ExplainRecordRequest, now_us: int) -> pb.ExplainRecordResponse:
    """Return where a record stands, with what planning again says about it.

    Raises:
        ApiError: there is no such record or seller.
    """
    answer = standing(tx, config, request, now_us)
    record = record_of(tx, config.workspace, request.record_id)
    planned = planned_with(tx, config, record.record_id, record.owner, now_us)
    draft, planner = planned.draft, planned.draft.planner
    views = rule_views(tx, planner.pool, config, record, now_us)
    if request.other_seller_id and request.other_seller_id not in planner.pool.place:
        raise not_found("seller", request.other_seller_id)
    if request.prove:
        answer.sellers.extend(seller_standings(planner, views, record.segment_id))
    if planned.place is None:
        return answer
    solution = assignment.solve(draft.problem)
    if request.prove:
        answer.planned.CopyFrom(_outcome(draft, solution, planned.place))
        if (found := _blocking(draft, solution, planned.place)) is not None:
            answer.blocking.CopyFrom(found)
    if request.other_seller_id:
        place = planner.pool.place[request.other_seller_id]
        answer.alternative.CopyFrom(alternative_of(draft, planned.place, views, place))
    return answer


def _outcome(draft: Drafted, solution: assignment.Solution, index: int) -> pb.PlannedOutcome:
    option = int(solution.option_of[index])
    proven = solution.termination.reason is assignment.Reason.OPTIMAL
    if option < 0:
        return pb.PlannedOutcome(planned_together=draft.problem.records, proven=proven)
    seller = draft.planner.pool.owner_at(int(draft.problem.option_seller[option])).id
    rules = draft.planner.draft.chains[int(draft.planner.chain_numbers()[index])]
    rule = rules[int(draft.problem.option_rank[option])].key
    return pb.PlannedOutcome(seller_id=seller, rule_id=rule, planned_together=draft.problem.records, proven=proven)


def _blocking(draft: Drafted, solution: assignment.Solution, index: int) -> pb.BlockingSet | None:
    if solution.option_of[index] >= 0:
        return None
    try:
        found = blocking(draft.problem, solution, index)
    except NotProven:
        return None
    ids = draft.work.records.record_id
    named = [ids[row] for row in draft.planner.rows()[found.records[:MOST_NAMED]].tolist()]
    maxima = [maximum_message(draft.planner, node) for node in found.nodes.tolist()]
    return pb.BlockingSet(record_ids=named, records=len(found.records), maxima=maxima, verified=holds(draft.problem, found))


def seller_standings(planner: Planner, views: Sequence[RuleView], segment_id: str) -> list[pb.SellerStanding]:
    """Return how those sellers stand to a record who fit one of its rules, the best first."""
    pool = planner.pool
    segment = planner.config.segments.get(segment_id)
    ways = planner.cap_ways(segment) if segment is not None else None
    rows = []
    for index, seller in enumerate(pool.sellers):
        verdicts = [view.verdicts[index] for view in views]
        if all(verdict == "NOT_MATCHED" for verdict in verdicts):
            continue
        rank = min(range(len(views)), key=lambda i: (VERDICTS.index(verdicts[i]), i))
        score, misses = views[rank].fits.get(index, (NO_SCORE, 0))
        full = [node for node in (ways[index] if ways else []) if planner.cap_free[node] <= 0]
        key = (VERDICTS.index(verdicts[rank]), rank, misses, -score, -int(pool.priority[index]), int(pool.turn[index]), index)
        message = pb.SellerStanding(
            seller_id=seller.seller_id,
            rule_id=views[rank].rule_id,
            verdict=event_pb2.Verdict.Value(f"VERDICT_{verdicts[rank]}"),
            score=shown_score(score),
            preferred=not misses & MISSES_PREFERRED,
            continues=not misses & MISSES_CONTINUITY,
            available_in_days=int(pool.bucket[index]),
            full=[maximum_message(planner, node) for node in full],
        )
        rows.append((key, message))
    return [message for _, message in sorted(rows, key=lambda row: row[0])[:MOST_NAMED]]


def explain_seller(tx: ReadTransaction, config: WorkspaceConfig, request: pb.ExplainSellerRequest, now_us: int) -> pb.ExplainSellerResponse:
    """Return the waiting records that suit a seller best: by rule order, continuity, preference and score, then the most urgent.

    Raises:
        ApiError: there is no such seller.
    """
    draft = drafted(tx, config, a_task(config, now_us, run_pb2.RunSelection()), silent, keep_full=True)
    problem, planner = draft.problem, draft.planner
    if request.seller_id not in planner.pool.place:
        raise not_found("seller", request.seller_id)
    best = _best_options(problem, planner.pool.place[request.seller_id])
    mine = np.flatnonzero(best[problem.class_of] >= 0)
    option = best[problem.class_of[mine]]
    place = np.empty(problem.records, dtype=np.int64)
    place[problem.urgency()] = np.arange(problem.records)
    costs: list[Ints] = [column[option] for _, column in reversed(problem.constant_levels())]
    chosen = np.lexsort([place[mine], *costs])[: request.count or DEFAULT_COUNT]
    solution = assignment.solve(problem)
    ids = [draft.work.records.record_id[row] for row in planner.rows()[mine[chosen]].tolist()]
    records = tx.records.get(config.workspace, ids)
    suited = [
        _suited(draft, solution, record_id, index, own)
        for record_id, index, own in zip(ids, mine[chosen].tolist(), option[chosen].tolist(), strict=True)
    ]
    tries = next_tries(tx, config, [records[i] for i in ids], now_us)
    shown = [record_message(records[i], config, next_try_us=tries.get(i), masked=True) for i in ids]
    return pb.ExplainSellerResponse(records=shown, suited=suited)


def _best_options(problem: assignment.Problem, seller: int) -> Ints:
    """Return each class's best option with a seller, -1 = none: int64, shape (classes,)."""
    options = np.flatnonzero(problem.option_seller == seller)
    kind = problem.class_of_option()[options]
    costs: list[Ints] = [column[options] for _, column in reversed(problem.constant_levels())]
    order = np.lexsort([*costs, kind.astype(np.int64)])
    found = np.full(problem.classes, -1, dtype=np.int64)
    kinds, first = np.unique(kind[order], return_index=True)
    found[kinds] = options[order[first]]
    return found


def _suited(draft: Drafted, solution: assignment.Solution, record_id: str, index: int, option: int) -> pb.SuitedRecord:
    planner, rank, taken = draft.planner, int(draft.problem.option_rank[option]), int(solution.option_of[index])
    rule = planner.draft.chains[int(planner.chain_numbers()[index])][rank]
    planned = planner.pool.owner_at(int(draft.problem.option_seller[taken])).id if taken >= 0 else ""
    return pb.SuitedRecord(
        record_id=record_id, rule_id=rule.key, rule_rank=rank + 1, score=shown_score(planner.score_of(option)), planned_seller_id=planned
    )
