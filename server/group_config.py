"""Teams and queues in a configuration: what their attributes are, and which of them a rule gives to."""

from collections.abc import Sequence
from dataclasses import dataclass

from reallot.solver.segmentation import Condition, Field, FieldType, Schema
from reallot.v1 import segment_pb2

GROUP_KINDS = ("team", "queue")
"""Kinds of groups: names of their roots in conditions, and of the targets that ask for them."""


def group_schema(kind: str, attributes: Sequence[Field]) -> Schema:
    """Return the schema of teams or queues with these declared attributes."""
    return Schema((Field(f"{kind}_id", FieldType.TEXT), *attributes))


@dataclass(frozen=True)
class GroupTarget:
    """Which teams or queues a rule gives to.

    Attributes:
        kind: "team" or "queue".
        listed: Their ids; empty = see the condition.
        condition: Which of them fit which records; None = those that are listed.
        at_random: Of several, any; else none.
    """

    kind: str
    listed: frozenset[str]
    condition: Condition | None
    at_random: bool

    @classmethod
    def of(cls, kind: str, target: segment_pb2.TeamTarget | segment_pb2.QueueTarget, condition: Condition | None) -> "GroupTarget":
        """Return a configured target with its compiled condition."""
        listed = target.team_ids if isinstance(target, segment_pb2.TeamTarget) else target.queue_ids
        return cls(kind, frozenset(listed), condition, target.several == segment_pb2.SEVERAL_MATCHES_ANY_AT_RANDOM)
