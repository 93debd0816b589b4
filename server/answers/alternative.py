"""What it would take for another seller to get a record, in words and numbers, each step verified by solving again."""

from collections.abc import Sequence

from reallot.server.answers.supposing import maximum_message
from reallot.server.explanation import VERDICTS, RuleView
from reallot.server.languages import say, speech_of
from reallot.server.road.fitting import POINTS, fit_step
from reallot.server.road.plan import Planner
from reallot.server.road.solve import Drafted
from reallot.solver.assignment.answers import Change, alone, instead
from reallot.v1 import insight_service_pb2 as pb

_KINDS = {
    "slot": pb.CHANGE_KIND_SLOT,
    "level": pb.CHANGE_KIND_LEVEL,
    "priority": pb.CHANGE_KIND_PRIORITY,
    "turn": pb.CHANGE_KIND_TURN,
    "free": pb.CHANGE_KIND_FREE,
    "tie": pb.CHANGE_KIND_TIE,
}
_LET_IN = {
    "NOT_MATCHED": pb.CHANGE_KIND_MATCH,
    "SWITCHED_OFF": pb.CHANGE_KIND_SWITCH,
    "ROLE_NOT_ELIGIBLE": pb.CHANGE_KIND_ROLE,
    "NOT_RESPONDING": pb.CHANGE_KIND_SWITCH,
    "OFFERED_BEFORE": pb.CHANGE_KIND_MATCH,
    "NOT_AVAILABLE": pb.CHANGE_KIND_AVAILABLE,
}


def alternative_of(draft: Drafted, index: int, views: Sequence[RuleView], seller: int) -> pb.Alternative:
    """Return what it takes for a seller, given by place in the pool, to get the record at a place of the problem."""
    planner, name = draft.planner, draft.planner.pool.sellers[seller].seller_id
    rules = planner.draft.chains[int(planner.chain_numbers()[index])]
    # A rule that gives to teams or queues gives to no seller.
    reached = [(rank, next(view for view in views if view.rule_id == rule.key)) for rank, rule in enumerate(rules) if rule.group is None]
    if not reached:
        text = speech_of(planner.config).text(say("rule_would_match"))
        return pb.Alternative(seller_id=name, changes=[pb.NeededChange(kind=pb.CHANGE_KIND_MATCH, text=text)])
    rank, view = min(reached, key=lambda pair: (VERDICTS.index(pair[1].verdicts[seller]), pair[0]))
    problem, first = alone(draft.problem, index, _entry(draft, index, seller, rank, view))
    options = range(first, problem.options)
    fitting = [o for o in options if problem.option_seller[o] == seller and problem.option_rank[o] == rank]
    found = instead(problem, index, fitting[0])
    changes = [_let_in(planner, view, seller)] if view.verdicts[seller] in _LET_IN else []
    changes += [_message(planner, change, name, view.rule_id) for change in found.changes]
    return pb.Alternative(seller_id=name, changes=changes, verified=found.verified)


def _entry(draft: Drafted, index: int, seller: int, rank: int, view: RuleView) -> dict[str, int] | None:
    """Return the option that the record lacks, as columns; None if it has one."""
    if view.verdicts[seller] not in _LET_IN:
        return None
    planner, row = draft.planner, int(draft.planner.rows()[index])
    rule = planner.config.rules[view.rule_id]
    segment = planner.config.segments[str(draft.work.segment[row])]
    score, misses = view.fits.get(seller, (None, 0))
    return planner.one_option(segment, rule, seller, rank, score, misses)


def _let_in(planner: Planner, view: RuleView, seller: int) -> pb.NeededChange:
    verdict, name = view.verdicts[seller], planner.pool.sellers[seller].seller_id
    target = planner.config.rules[view.rule_id].message.target
    who = target.matching if target.WhichOneof("kind") == "matching" else say("not_among_sellers")
    texts = {
        "NOT_MATCHED": say("would_match", rule=view.rule_id, seller=name, target=who),
        "SWITCHED_OFF": say("would_be_switched_on", seller=name),
        "ROLE_NOT_ELIGIBLE": say("would_need_role", seller=name),
        "NOT_RESPONDING": say("would_answer", seller=name),
        "OFFERED_BEFORE": say("would_be_asked_again", seller=name),
        "NOT_AVAILABLE": say("would_be_available", seller=name),
    }
    text = speech_of(planner.config).text(texts[verdict])
    return pb.NeededChange(kind=_LET_IN[verdict], rule_id=view.rule_id, text=text)


def _message(planner: Planner, change: Change, seller: str, rule_id: str) -> pb.NeededChange:
    rival = planner.pool.owner_at(change.rival).id if change.rival >= 0 else ""
    maximum = maximum_message(planner, change.node) if change.node >= 0 else None
    return pb.NeededChange(
        kind=_KINDS[change.kind],
        amount=change.amount,
        level_id=change.level_id,
        maximum=maximum,
        rival_seller_id=rival,
        rule_id=rule_id,
        text=speech_of(planner.config).text(_text(planner, change, seller, rival, maximum)),
    )


def _text(planner: Planner, change: Change, seller: str, rival: str, maximum: pb.Maximum | None) -> str:
    amount = change.amount
    if change.kind == "slot" and maximum is not None:
        of_type = say("slot_of_type", record_type=maximum.record_type) if maximum.record_type else ""
        where = say("slot_in_segment", segment=maximum.segment_id) if maximum.segment_id else of_type
        return say("would_need_slots", seller=seller, slots=amount, where=where)
    higher = f"{amount * fit_step(planner.scores()) / POINTS:g}"
    by_level = {
        "rule_order": say("would_come_earlier", seller=seller, amount=amount, rival=rival),
        "availability": say("would_be_available_earlier", seller=seller, amount=amount),
        "continuity": say("would_belong", seller=seller, rival=rival),
        "preferred": say("would_be_preferred", seller=seller, rival=rival),
        "fit": say("would_score_higher", seller=seller, amount=higher),
    }
    by_kind = {
        "level": by_level.get(change.level_id, say("would_be_better", seller=seller, level=change.level_id, amount=amount)),
        "priority": say("would_need_priority", seller=seller, amount=amount),
        "turn": say("would_be_older", seller=seller, rival=rival),
        "free": say("would_need_free", seller=seller, amount=amount),
        "tie": say("nothing_needed", seller=seller, rival=rival),
    }
    return by_kind[change.kind]
