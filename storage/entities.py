"""The rows of Reallot as frozen values: what storage hands out and takes in.

Instants are int microseconds since the epoch in UTC (`*_us`). Field values are JSON scalars in stored form: text `str`,
integer `int`, decimal `float`, boolean `bool`, timestamp `int` microseconds, date `int` days since the epoch, text list
`list[str]`; an absent key is null. Statuses are the names of the contract's enums without their prefix, e.g. "NO_CAPACITY".
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Json = Any
"""A JSON value as `json.loads` gives it."""


class OwnerKind(enum.StrEnum):
    """What kind of thing owns a record."""

    SELLER = "SELLER"
    TEAM = "TEAM"
    QUEUE = "QUEUE"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns a record."""

    kind: OwnerKind
    id: str


@dataclass(frozen=True, slots=True)
class Record:
    """A record as stored.

    `version` grows with every commit and is checked by every change. `segmentation`, `assignment` and `connection` are status
    names; "" means not decided yet. `waiting_since_us` is the instant since when the record has been without an owner. `offered_to` is
    the seller to whom it is offered, "" = nobody (see `open_offer`).
    """

    record_id: str
    record_type: str
    fields: Mapping[str, Json] = field(default_factory=dict)
    related: Mapping[str, str] = field(default_factory=dict)
    active: bool = True
    owner: Owner | None = None
    priority: int = 50
    value_units: int = 0
    effort: int = 1
    created_us: int = 0
    created_by: str = ""
    group_key: str = ""
    segment_id: str = ""
    previous_segment_id: str = ""
    previous_owner: Owner | None = None
    offered_to: str = ""
    segmentation: str = ""
    assignment: str = ""
    connection: str = ""
    reason: str = ""
    rule_id: str = ""
    run_id: str = ""
    attempts: int = 0
    last_attempt_us: int | None = None
    next_try_us: int | None = None
    overdue_us: int | None = None
    waiting_since_us: int | None = None
    enrollment_id: str = ""
    sequence_id: str = ""
    sequence_version: int = 0
    step: int = 0
    version: int = 0
    create_us: int = 0
    update_us: int = 0


class Standing(NamedTuple):
    """What of a record the road reads and changes; a tuple, as there is one for every record of a run."""

    record_id: str
    record_type: str
    active: bool
    priority: int
    effort: int
    version: int
    owner: Owner | None
    previous_owner: Owner | None
    offered_to: str
    segment_id: str
    previous_segment_id: str
    segmentation: str
    assignment: str
    connection: str
    reason: str
    rule_id: str
    run_id: str
    attempts: int
    next_try_us: int | None
    last_attempt_us: int | None
    overdue_us: int | None
    waiting_since_us: int | None
    enrollment_id: str
    sequence_id: str
    sequence_version: int
    step: int
    fields: Mapping[str, Json]


def open_offer(record: Record | Standing | None) -> str:
    """Return the seller who holds an offer of a record, "" = nobody: an offer stands while the record is active and no seller's."""
    if record is None or not record.active or (record.owner is not None and record.owner.kind is OwnerKind.SELLER):
        return ""
    return record.offered_to


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer of a record to a seller.

    Attributes:
        rule_id: Rule that offers it, as `segment/rule`.
        state: OPEN, or how it ended: DECLINED, EXPIRED (no answer in time), AWAY (the seller went away).
        start_us: When it was made.
        remind_us: When the seller is to be reminded; None = not any more.
        end_us: When it ends without an answer, or when it ended.
        ends_as: State that it then comes to; LAPSED for a claim, of which nothing is remembered.
        status_before: How the record stood before it was claimed.
    """

    record_id: str
    seller_id: str
    rule_id: str
    state: str
    start_us: int
    remind_us: int | None
    end_us: int
    ends_as: str
    status_before: str = ""

    @property
    def is_claim(self) -> bool:
        """The seller has claimed the record."""
        return self.ends_as == "LAPSED"


class OfferTerms(NamedTuple):
    """An offer that begins. With `anew` the offers of the record that have ended do not count any more."""

    seller_id: str
    rule_id: str
    remind_us: int | None
    end_us: int
    ends_as: str
    anew: bool = False
    status_before: str = ""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """How many offers in a row a seller let run out, and since when the seller is out of the pool; None = is in it."""

    seller_id: str
    offers: int
    since_us: int | None


@dataclass(frozen=True, slots=True)
class Seller:
    """A seller as stored.

    `capacity` and `calendar` are JSON documents in the shape of the contract's messages; `last_assigned` is not part of the
    row (see `Turn`), nor is the load (see `Load`).
    """

    seller_id: str
    display_name: str = ""
    priority: int = 50
    ramp_up: Json = None
    attributes: Mapping[str, Json] = field(default_factory=dict)
    skills: Mapping[str, int] = field(default_factory=dict)
    team_ids: tuple[str, ...] = ()
    assignable: bool = True
    roles_ok: bool = True
    weight: int = 1
    capacity: Mapping[str, Json] = field(default_factory=dict)
    calendar: Json = None
    stand_in_id: str = ""
    version: int = 0
    create_us: int = 0
    update_us: int = 0

    @property
    def name(self) -> str:
        """What the seller is called: the display name, or the id of one that has none."""
        return self.display_name or self.seller_id


@dataclass(frozen=True, slots=True)
class TimeOff:
    """An absence of one seller, half open [start_us, end_us)."""

    seller_id: str
    time_off_id: str
    start_us: int
    end_us: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """Effort of active records that a seller owns, of one type in one segment ("" = in none)."""

    seller_id: str
    record_type: str
    segment_id: str
    effort: int
    records: int


@dataclass(frozen=True, slots=True)
class Turn:
    """When a seller was last given a record of a type; `order` grows by one with every unit in the workspace.

    `rule_id` is the rule that gave it, "" = none did.
    """

    seller_id: str
    record_type: str
    order: int
    time_us: int
    rule_id: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """A maximum in a rolling window: at most `count` units within any `duration_us`, of one record type or segment, "" = of all."""

    count: int
    duration_us: int
    record_type: str = ""
    segment_id: str = ""

    def covers(self, record_type: str, segment_id: str) -> bool:
        """Tell whether a record of this type in this segment counts."""
        return self.record_type in ("", record_type) and self.segment_id in ("", segment_id)


@dataclass(frozen=True, slots=True)
class Reserve:
    """A part of the total that is kept for segments of a record type: what is not in one of these may come to `most` units."""

    record_type: str
    kept_for: frozenset[str]
    most: int

    def binds(self, record_type: str, segment_id: str) -> bool:
        """Tell whether a record of this type in this segment has to leave the part free."""
        return record_type == self.record_type and segment_id not in self.kept_for

    def counts(self, record_type: str, segment_id: str) -> bool:
        """Tell whether what a seller carries of this type in this segment counts towards `most`."""
        return record_type != self.record_type or segment_id not in self.kept_for


class Terms(NamedTuple):
    """What a seller's maxima follow from: the columns of the seller of these names."""

    capacity: Mapping[str, Json]
    ramp_up: Json


@dataclass(frozen=True, slots=True)
class Gain:
    """Units that a seller was given at an instant, of one record type in one segment."""

    seller_id: str
    time_us: int
    record_type: str
    segment_id: str
    effort: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Maxima of one seller that a binding claim is checked against; None = no maximum of that kind.

    `counted_types` are the record types with at least one active rule: only their load counts towards `total`. `windows` hold for what
    the seller is given, not for what the seller has.
    """

    total: int | None
    by_record_type: Mapping[str, int]
    by_segment: Mapping[str, int]
    counted_types: frozenset[str]
    windows: tuple[Window, ...] = ()
    reserves: tuple[Reserve, ...] = ()


@dataclass(frozen=True, slots=True)
class PendingMark:
    """A record waits for the road. `cause` is a JSON document; marks of one record are merged, the earliest `since_us` stays."""

    record_id: str
    since_us: int
    cause: Json


@dataclass(frozen=True, slots=True)
class Pending:
    """A stored mark. `generation` grows with every further mark, so that a commit clears only what it has seen."""

    record_id: str
    number: int
    since_us: int
    generation: int
    cause: Json


@dataclass(frozen=True, slots=True)
class EnrollmentChange:
    """What happens to a record's passage through a sequence: end the open one, start another, or move it to a step."""

    end_reason: str = ""
    start_sequence_id: str = ""
    start_sequence_version: int = 0
    start_step: int = 1
    move_to_step: int = 0


@dataclass(frozen=True, slots=True)
class Enrollment:
    """One passage of one record through one version of a sequence. State: ACTIVE, COMPLETED or ENDED."""

    enrollment_id: str
    record_id: str
    sequence_id: str
    sequence_version: int
    step: int
    state: str
    start_us: int
    end_us: int | None = None
    end_reason: str = ""


@dataclass(frozen=True, slots=True)
class EventDraft:
    """An event before it has a number. `before`, `after`, `cause`, `sentence` are JSON documents.

    `notify` are the sellers who get it as a notification, each once.
    """

    kind: str
    record_id: str
    record_type: str
    time_us: int
    before: Json = None
    after: Json = None
    changed_fields: tuple[str, ...] = ()
    cause: Json = None
    run_id: str = ""
    sentence: Json = None
    notify: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """A numbered event; numbers grow in commit order within a workspace."""

    number: int
    draft: EventDraft


@dataclass(frozen=True, slots=True)
class NoticeDraft:
    """A notification that is not told with its event, e.g. a digest; takes a number of its own.

    `of_event`: it tells of this event, and has no body. `has_waited`: it was held back and is not held again.
    """

    seller_id: str
    kind: str
    time_us: int
    body: Json
    of_event: int | None = None
    has_waited: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """A notification of one seller. `event` is None for a digest, whose content is `body`."""

    seller_id: str
    number: int
    kind: str
    time_us: int
    event: Event | None
    body: Json
    acknowledged_us: int | None


@dataclass(frozen=True, slots=True)
class LogPage:
    """A stretch of a workspace's log up to the number `up_to`: events and notices. What comes before `retained_from` is not kept."""

    up_to: int
    retained_from: int
    events: list[Event]
    notices: list[Notice]


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of a record's log.

    `version` is that of the record as the decision left it; storage sets it. 0 = not known, of lines that an earlier version wrote.
    """

    record_id: str
    time_us: int
    cause: Json
    status: str
    reason: str
    before: Json = None
    after: Json = None
    rule_id: str = ""
    run_id: str = ""
    considered: Json = None
    decision_id: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """A binding assignment: commit it only if the owner stays within `limits`."""

    limits: Limits


@dataclass(frozen=True, slots=True)
class Transition:
    """One record's change, atomic with its load, turn, enrollment, event, log line and pending mark.

    `before` is the row as read in the same transaction (None = created), `after` the row to be (None = deleted); storage sets
    `after.version`, `update_us` and the enrollment's columns itself, and moves the load by comparing both rows. `looks`: what changes may
    matter to the record's open steps, beside its owner and its enrollment.
    An offer that stands
    before and not after ends; it is remembered with the state `offer_end`, "" = not at all. `offer_start` is the
    offer that begins.
    """

    before: Record | None
    after: Record | None
    claim: Claim | None = None
    counts_turn: bool = False
    enrollment: EnrollmentChange | None = None
    event: EventDraft | None = None
    decision: Decision | None = None
    mark: PendingMark | None = None
    clear_generation: int | None = None
    offer_end: str = ""
    offer_start: OfferTerms | None = None
    looks: bool = False

    @property
    def subject(self) -> Record:
        """The record as it will be; one that is deleted, as it was."""
        row = self.after or self.before
        if row is None:
            raise AssertionError("a transition has a record before it or after it")
        return row


class Outcome(enum.StrEnum):
    """What became of a transition."""

    COMMITTED = "COMMITTED"
    CAPACITY_LOST = "CAPACITY_LOST"
    STALE = "STALE"
    GONE = "GONE"


@dataclass(frozen=True, slots=True)
class ConfigRow:
    """A configuration resource: `body` is the contract's message as a JSON document, `order` its place in the bundle."""

    kind: str
    id: str
    body: Json
    version: int
    create_us: int
    update_us: int


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """One line of the configuration's history; `before` or `after` is None when the resource was created or deleted."""

    kind: str
    id: str
    time_us: int
    actor: str
    before: Json
    after: Json
    change_id: int = 0


@dataclass(frozen=True, slots=True)
class Signature:
    """Who does something by hand.

    Attributes:
        principal: Who it was, as proved; "" where nobody has to prove it.
        origin: Address that the call came from.
        method: The call.
        on_behalf_of: For whom, as the caller says.
        remark: Why, as the caller says.
    """

    principal: str
    origin: str
    method: str
    on_behalf_of: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit log. `before` and `after` are JSON; "" = it did not exist. `redacted_us`: when it was redacted."""

    number: int
    time_us: int
    principal: str
    origin: str
    method: str
    on_behalf_of: str
    remark: str
    kind: str
    id: str
    before: str
    after: str
    redacted_us: int | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One pass over some records. `body` holds what is only shown (levels, solver figures, seconds by stage, digest)."""

    run_id: str
    kind: str
    state: str
    cause: Json
    selection: Json
    create_us: int
    stage: str = ""
    schedule_id: str = ""
    firing_us: int | None = None
    limit: int = 0
    seed: int = 0
    time_limit_us: int = 0
    start_us: int | None = None
    end_us: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    cancel_requested: bool = False
    failure: str = ""
    body: Json = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """When a schedule fires next; None = never again."""

    schedule_id: str
    next_us: int | None
    last_us: int | None = None


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer to a request that was carried out: repeats of the same payload get it again."""

    request_id: str
    method: str
    payload_hash: str
    answer: bytes
    time_us: int
