"""What it would take for another seller to get a record, in words and numbers, each step verified by solving again."""

from collections.abc import Sequence

from reallot.server.answers.supposing import maximum_message
from reallot.server.explanation import VERDICTS, RuleView
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
    "NOT_MATCHED": (pb.CHANGE_KIND_MATCH, "rule {rule} would have to allow {seller} for this record: {target}"),
    "SWITCHED_OFF": (pb.CHANGE_KIND_SWITCH, "{seller} would have to be switched on"),
    "ROLE_NOT_ELIGIBLE": (pb.CHANGE_KIND_ROLE, "{seller} would need a role that may own records"),
    "NOT_RESPONDING": (pb.CHANGE_KIND_SWITCH, "{seller} would have to answer offers again"),
    "OFFERED_BEFORE": (pb.CHANGE_KIND_MATCH, "{seller} was offered the record before and would have to be asked again"),
    "NOT_AVAILABLE": (pb.CHANGE_KIND_AVAILABLE, "{seller} would have to be available now"),
}


def alternative_of(draft: Drafted, index: int, views: Sequence[RuleView], seller: int) -> pb.Alternative:
    """Return what it takes for a seller, given by place in the pool, to get the record at a place of the problem."""
    planner, name = draft.planner, draft.planner.pool.sellers[seller].seller_id
    rules = planner.draft.chains[int(planner.chain_numbers()[index])]
    # A rule that gives to teams or queues gives to no seller.
    reached = [(rank, next(view for view in views if view.rule_id == rule.key)) for rank, rule in enumerate(rules) if rule.group is None]
    if not reached:
        text = "a rule of its segment would have to match the record"
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
    kind, text = _LET_IN[view.verdicts[seller]]
    target = planner.config.rules[view.rule_id].message.target
    who = target.matching if target.WhichOneof("kind") == "matching" else "it is not among its sellers"
    told = text.format(rule=view.rule_id, seller=planner.pool.sellers[seller].seller_id, target=who)
    return pb.NeededChange(kind=kind, rule_id=view.rule_id, text=told)


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
        text=_text(planner, change, seller, rival, maximum),
    )


def _text(planner: Planner, change: Change, seller: str, rival: str, maximum: pb.Maximum | None) -> str:
    if change.kind == "slot" and maximum is not None:
        what = f"in segment {maximum.segment_id}" if maximum.segment_id else f"of type {maximum.record_type}" if maximum.record_type else ""
        return f"{seller} would need {change.amount} more slot{'s' if change.amount > 1 else ''}{' ' if what else ''}{what}"
    by_level = {
        "rule_order": f"a rule that allows {seller} would have to come {change.amount} earlier, before that of {rival}",
        "availability": f"{seller} would have to be available {change.amount} days earlier",
        "continuity": f"the record would have to belong to {seller} rather than to {rival}",
        "preferred": f"{seller} would have to be preferred like {rival}",
        "fit": f"the score of {seller} would have to be {change.amount * fit_step(planner.scores()) / POINTS:g} higher",
    }
    by_kind = {
        "level": by_level.get(change.level_id, f"{seller} would have to be better at {change.level_id} by {change.amount}"),
        "priority": f"{seller} would need a priority higher by {change.amount}",
        "turn": f"the last assignment of {seller} would have to be older than that of {rival}",
        "free": f"{seller} would need {change.amount} more free capacity",
        "tie": f"nothing: {seller} is as good as {rival}, and the choice between them is free",
    }
    return by_kind[change.kind]
