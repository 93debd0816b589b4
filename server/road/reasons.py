"""Why a record has or has no owner: verdicts on sellers, the status of each rule, and the one status and sentence shown. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from reallot.server.languages.saying import say
from reallot.storage.entities import Json, Owner

PRECEDENCE = (
    "SELLER_NOT_ELIGIBLE",
    "NO_CAPACITY",
    "NO_AVAILABILITY",
    "SEVERAL_TEAMS",
    "SEVERAL_QUEUES",
    "NO_SELLER_MATCHED",
    "NO_TEAM",
    "NO_QUEUE",
    "NO_RULE_MATCHED",
    "RECORD_TOO_OLD",
)
"""Statuses of a failed chain of rules, the one that is shown first."""


@dataclass(frozen=True)
class RuleTrace:
    """What one rule made of a class of records.

    Attributes:
        rule_id: The rule.
        status: How it ended; "ASSIGNED" = somebody could take them.
        verdicts: Sellers by verdict.
        matched: Some of the teams or queues that match, for a rule that gives to them.
    """

    rule_id: str
    status: str
    verdicts: Mapping[str, int]
    matched: tuple[Owner, ...] = ()

    def document(self) -> Json:
        """Return it as JSON."""
        matched = {"matched": [{f"{owner.kind.lower()}_id": owner.id} for owner in self.matched]} if self.matched else {}
        return {"rule_id": self.rule_id, "status": self.status, "verdicts": dict(self.verdicts), **matched}


def rule_status(matched: int, eligible: int, available: int, free: int) -> str:
    """Return the status of a rule from how many sellers are left after its target, role and switch, availability, capacity."""
    if not matched:
        return "NO_SELLER_MATCHED"
    if not eligible:
        return "SELLER_NOT_ELIGIBLE"
    if not available:
        return "NO_AVAILABILITY"
    return "ASSIGNED" if free else "NO_CAPACITY"


def shown_status(traces: Sequence[RuleTrace]) -> str:
    """Return the status of a record that no rule could assign; a rule that had somebody lost the last slot to better records."""
    if not traces:
        return "NO_RULE_IN_SEGMENT"
    failed = {"NO_CAPACITY" if trace.status == "ASSIGNED" else trace.status for trace in traces}
    return next(status for status in PRECEDENCE if status in failed)


def sentence(status: str, segment_name: str, traces: Sequence[RuleTrace]) -> str:
    """Return why, for people."""
    shown = next((t for t in traces if t.status == status), None)
    taken = next((t for t in traces if t.status == "ASSIGNED"), None)
    counts = (shown or taken).verdicts if (shown or taken) else {}  # type: ignore[union-attr]
    if status == "NO_CAPACITY" and shown is None:
        return say("slots_taken")
    sellers = sum(n for verdict, n in counts.items() if verdict != "NOT_MATCHED")
    rule_id = shown.rule_id if shown else ""
    several = ", ".join(owner.id for owner in shown.matched) if shown else ""
    texts = {
        "NO_RULE_IN_SEGMENT": say("no_rule_in_segment", segment=segment_name),
        "NO_RULE_MATCHED": say("no_rule_matched", segment=segment_name),
        "RECORD_TOO_OLD": say("record_too_old"),
        "NO_SELLER_MATCHED": say("no_seller_matched", rule=rule_id),
        "NO_TEAM": say("no_team", rule=rule_id),
        "NO_QUEUE": say("no_queue", rule=rule_id),
        "SEVERAL_TEAMS": say("several_teams", rule=rule_id, teams=several),
        "SEVERAL_QUEUES": say("several_queues", rule=rule_id, queues=several),
        "SELLER_NOT_ELIGIBLE": say("seller_not_eligible", sellers=sellers, what=_not_eligible(counts, sellers)),
        "NO_AVAILABILITY": say("no_availability", sellers=sellers),
        "NO_CAPACITY": say("no_capacity", sellers=sellers),
        "WAITING": say("segment_waits", segment=segment_name),
        "RULES_NOT_RUN_ON_MOVE": say("rules_not_run_on_move", segment=segment_name),
    }
    return texts[status]


def _not_eligible(counts: Mapping[str, int], sellers: int) -> str:
    parts = [say("were_asked", sellers=sellers)] if counts.get("OFFERED_BEFORE") else []
    parts += [say("do_not_answer", sellers=sellers)] if counts.get("NOT_RESPONDING") else []
    if not parts or {"SWITCHED_OFF", "ROLE_NOT_ELIGIBLE"} & counts.keys():
        parts = [say("are_switched_off", sellers=sellers), *parts]
    return reduce(lambda left, right: say("or", left=left, right=right), parts)
