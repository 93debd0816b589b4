"""What the auditor says: findings, each with its kind and evidence, and how much was looked at."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What can be wrong."""

    NUMBER_MISSING = "a number of the log is missing"
    NUMBER_UNKNOWN = "the log goes on beyond the workspace's counter, or ends before it"
    CHAIN_BROKEN = "an event begins with another state than the one before it left"
    TWO_OWNERS = "a record was given away while somebody else owned it by the log"
    OWNER_CONTRADICTED = "the owner in the row is not the owner by the log"
    ROW_CONTRADICTED = "the row says something else than the last event"
    RECORD_LOST = "a record that was stored is not there any more, and nobody deleted it"
    RECORD_UNTOLD = "a record is there of which the log knows nothing"
    ABOVE_MAXIMUM = "a binding assignment took a seller above a maximum"
    ABOVE_WINDOW = "a seller was given more within a rolling window than the window allows"
    WINDOW_WRONG = "what stands in a seller's rolling windows is not the recount"
    LOAD_WRONG = "a load counter is not the recount"
    TURN_WRONG = "the turn order is not the order of the assignments"
    ENROLLMENT_WRONG = "enrollments and records contradict each other"
    PENDING_WITHOUT_RECORD = "a mark waits for a record that does not exist"
    PENDING_LEFT = "a record still waits for the road"
    RUN_LEFT = "a run has not ended"
    DECISION_WRONG = "a change of owner does not stand exactly once in the decision log"
    NOTICE_WRONG = "a notice tells a seller something that does not concern the seller"
    SELLER_NOT_TOLD = "a seller was not told of a record that came or went"
    REQUEST_FORGOTTEN = "an accepted request is not known any more"
    ANSWER_DIFFERS = "the stored answer is not the one that was given"
    EFFECT_MISSING = "an accepted request had no effect"
    EFFECT_TWICE = "a request had its effect more than once"
    EFFECT_OF_REFUSED = "a request that was refused had an effect"
    NOT_DELIVERED = "a follower did not get an event"
    OUT_OF_ORDER = "a follower got an event after a later one"
    NOT_SETTLED = "the servers do not come to an end with what they have to do"
    GROWTH = "something grows, though as much is done as before"
    NOT_IN_LOG = "a follower got an event that is not in the log, or differs from it"


@dataclass(frozen=True)
class Finding:
    """One fault: its kind, the record, seller, run or request that it concerns, and the evidence."""

    kind: Kind
    subject: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.kind.name} {self.subject}: {self.kind.value}: {self.evidence}"


@dataclass
class Report:
    """What was found, and how much of what was looked at, so that nothing found is not nothing looked at."""

    findings: list[Finding] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)

    def add(self, kind: Kind, subject: str, evidence: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(kind, subject, evidence))

    def count(self, what: str, number: int = 1) -> None:
        """Say that so many more were looked at."""
        self.checked[what] += number

    def as_json(self) -> dict[str, Any]:
        """Return the report for programs."""
        findings = [asdict(found) | {"kind": found.kind.name} for found in self.findings]
        return {"checked": dict(sorted(self.checked.items())), "findings": findings}
