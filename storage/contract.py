"""What callers say to storage beside the rows themselves: which records they mean, and what they are told about commits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reallot.storage.entities import Json, Owner


class Signal(NamedTuple):
    """Something of a workspace was committed. Topics: "events", "pending", "runs", "config", "sellers", "offers", …"""

    workspace: str
    topic: str


class RecordPart(NamedTuple):
    """Records of a type in a segment; of each of `texts` they have to name one: in a field that it names, one of the texts given there."""

    record_type: str
    segment_id: str
    texts: tuple[tuple[tuple[str, tuple[str, ...]], ...], ...] = ()


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records are meant; None does not restrict. `parts` are united; what they say of texts may take in others, too, but few."""

    record_ids: Sequence[str] | None = None
    among_ids: Sequence[str] | None = None
    record_types: Sequence[str] | None = None
    segment_ids: Sequence[str] | None = None
    statuses: Sequence[str] | None = None
    rule_ids: Sequence[str] | None = None
    owner: Owner | None = None
    owned: bool | None = None
    owned_by_seller: bool | None = None
    active: bool | None = None
    waiting_before_us: int | None = None
    not_run_id: str | None = None
    next_try_from_us: int | None = None
    next_try_upto_us: int | None = None
    enrolled: bool | None = None
    offered: bool | None = None
    group_keys: Sequence[str] | None = None
    parts: Sequence[RecordPart] | None = None


@dataclass(frozen=True, slots=True)
class RecordColumns:
    """A snapshot of records in parallel lists, ordered by record id. `fields` are JSON texts; `pending_*` of records without a
    mark are 0 and None.
    """

    record_id: list[str]
    record_type: list[str]
    fields: list[str]
    active: list[bool]
    owner_kind: list[str]
    owner_id: list[str]
    priority: list[int]
    effort: list[int]
    value_units: list[int]
    created_us: list[int]
    waiting_since_us: list[int | None]
    group_key: list[str]
    segment_id: list[str]
    assignment: list[str]
    rule_id: list[str]
    version: list[int]
    previous_owner_kind: list[str]
    previous_owner_id: list[str]
    offered_to: list[str]
    previous_segment_id: list[str]
    segmentation: list[str]
    connection: list[str]
    reason: list[str]
    run_id: list[str]
    attempts: list[int]
    last_attempt_us: list[int | None]
    next_try_us: list[int | None]
    overdue_us: list[int | None]
    enrollment_id: list[str]
    sequence_id: list[str]
    sequence_version: list[int]
    step: list[int]
    pending_generation: list[int]
    pending_cause: list[Json]

    def __len__(self) -> int:
        return len(self.record_id)
