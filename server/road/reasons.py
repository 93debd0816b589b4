"""Why a record has or has no owner: verdicts on sellers, the status of each rule, and the one status and sentence shown. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    """Return one sentence for people."""
    shown = next((t for t in traces if t.status == status), None)
    taken = next((t for t in traces if t.status == "ASSIGNED"), None)
    counts = (shown or taken).verdicts if (shown or taken) else {}  # type: ignore[union-attr]
    sellers = sum(n for verdict, n in counts.items() if verdict != "NOT_MATCHED")
    who = "the one fitting seller" if sellers == 1 else f"all {sellers} fitting sellers"
    lacks, are, have = ("lacks", "is", "has") if sellers == 1 else ("lack", "are", "have")
    rule_id = shown.rule_id if shown else ""
    several = ", ".join(owner.id for owner in shown.matched) if shown else ""
    texts = {
        "NO_RULE_IN_SEGMENT": f"the segment {segment_name} has no active rule",
        "NO_RULE_MATCHED": f"no rule of the segment {segment_name} matches the record",
        "RECORD_TOO_OLD": "the record is older than its rule considers",
        "NO_SELLER_MATCHED": f"no seller fits the target of rule {rule_id}",
        "NO_TEAM": f"no team that takes part fits the target of rule {rule_id}",
        "NO_QUEUE": f"no queue that takes part fits the target of rule {rule_id}",
        "SEVERAL_TEAMS": f"several teams fit the target of rule {rule_id}, which does not choose: {several}",
        "SEVERAL_QUEUES": f"several queues fit the target of rule {rule_id}, which does not choose: {several}",
        "SELLER_NOT_ELIGIBLE": f"{who} {_not_eligible(counts, are, lacks, have)}",
        "NO_AVAILABILITY": f"{who} {are} unavailable for longer than the rule allows",
        "NO_CAPACITY": f"{who} {have} no free capacity",
        "WAITING": f"the segment {segment_name} waits for a run",
        "RULES_NOT_RUN_ON_MOVE": f"the segment {segment_name} does not run its rules on a move",
    }
    if status == "NO_CAPACITY" and shown is None:
        return "the last free slots went to records that come before it"
    return texts[status]


def _not_eligible(counts: Mapping[str, int], are: str, lacks: str, have: str) -> str:
    parts = [f"{have} been asked and did not take it"] if counts.get("OFFERED_BEFORE") else []
    parts += [f"{'does' if have == 'has' else 'do'} not answer offers"] if counts.get("NOT_RESPONDING") else []
    if not parts or {"SWITCHED_OFF", "ROLE_NOT_ELIGIBLE"} & counts.keys():
        parts = [f"{are} switched off or {lacks} the role", *parts]
    return " or ".join(parts)
