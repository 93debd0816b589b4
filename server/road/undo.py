"""What a run did to one record, read from the run's log, and how the record is put back. Pure."""

from dataclasses import dataclass, replace
from functools import cached_property

from reallot.server.convert.decisions import state_message
from reallot.server.convert.records import assignment_name, connection_name, segmentation_name
from reallot.server.convert.values import to_owner
from reallot.server.languages.saying import say
from reallot.server.road.events import owner_name
from reallot.server.workspace_config import WorkspaceConfig, is_active
from reallot.storage.entities import Decision, EnrollmentChange, Json, Owner, OwnerKind, Record
from reallot.v1 import event_pb2


@dataclass(frozen=True)
class Done:
    """One line of a run's log: how the record stood before, and how the run left it."""

    line: Decision

    @cached_property
    def before(self) -> event_pb2.RecordState:
        """State before."""
        return state_message(self.line.before) or event_pb2.RecordState()

    @cached_property
    def after(self) -> event_pb2.RecordState:
        """State after."""
        return state_message(self.line.after) or event_pb2.RecordState()

    @cached_property
    def owners(self) -> tuple[Owner | None, Owner | None]:
        """Owner before and after."""
        return to_owner(self.before.owner), to_owner(self.after.owner)

    @property
    def changes_owner(self) -> bool:
        """The run gave the record to somebody else, or took it from somebody."""
        return self.owners[0] != self.owners[1]

    @property
    def changes_segment(self) -> bool:
        """The run put the record into another segment."""
        return self.before.segment_id != self.after.segment_id

    @property
    def changes_offer(self) -> bool:
        """The run offered the record to a seller, or took an offer back."""
        return self.before.offered_seller_id != self.after.offered_seller_id

    @property
    def is_change(self) -> bool:
        """There is something to take back."""
        return (
            self.changes_owner
            or self.changes_segment
            or self.changes_offer
            or self.before.enrollment.enrollment_id != self.after.enrollment.enrollment_id
        )


Obstacle = tuple[str, str]
"""Name of what stands in the way, and a sentence."""


def touched_since(record: Record | None, done: Done) -> Obstacle | None:
    """Return what has become of a record since a run, None if it is as the run left it."""
    if record is None:
        return "DELETED", say("gone")
    if not done.line.version:
        return "NOT_KNOWN", say("version_not_known")
    if record.version == done.line.version:
        return None
    if not record.active:
        return "CLOSED", say("closed_since")
    if record.owner != done.owners[1]:
        return "OWNER_CHANGED", say("owner_changed_since")
    if record.segment_id != done.after.segment_id:
        return "SEGMENT_CHANGED", say("segment_changed_since")
    if (record.enrollment_id, record.step) != (done.after.enrollment.enrollment_id, done.after.enrollment.step):
        return "SEQUENCE_CHANGED", say("sequence_gone_on")
    return "CHANGED", say("changed_since")


def former_place_gone(done: Done, config: WorkspaceConfig) -> Obstacle | None:
    """Return why a record cannot go back to where it was; None if its segment, and the team or queue that owned it, exist."""
    segment_id, owner = done.before.segment_id, done.owners[0]
    if segment_id and config.find("segment", segment_id) is None:
        return "SEGMENT_GONE", say("former_segment_gone", segment=segment_id)
    is_group = owner is not None and owner.kind is not OwnerKind.SELLER
    if owner is not None and is_group and done.changes_owner and config.find(owner.kind.lower(), owner.id) is None:
        return "OWNER_GONE", say("former_owner_gone", owner=owner_name(owner, config))
    return None


def undo_cause(run_id: str, reason: str) -> Json:
    """Return the cause of everything that is done to undo a run."""
    told = say("run_undone", run=run_id)
    return {"kind": "UNDO", "run_id": run_id, "detail": say("with_reason", what=told, reason=reason) if reason else told}


def put_back(record: Record, done: Done, config: WorkspaceConfig, cause: Json) -> tuple[Record, EnrollmentChange | None]:
    """Return a record as it was before a run, and what happens to its enrollment.

    Without an owner it waits for a run: an event, such as the room that undoing makes, does not give it away at once. An offer ends, and
    none that ended begins again. Its sequence goes on at the step where it stood, as a new enrollment.
    """
    owner, status = done.owners[0], assignment_name(done.before.assignment)
    waits = owner is None and (done.changes_owner or done.changes_offer or not status)
    change, connection = _enrolled_again(record, done, config)
    after = replace(
        record,
        owner=owner,
        previous_owner=record.owner if record.owner not in (None, owner) else record.previous_owner,
        offered_to="",
        segment_id=done.before.segment_id,
        previous_segment_id=record.segment_id if done.changes_segment else record.previous_segment_id,
        segmentation=segmentation_name(done.before.segmentation),
        assignment="WAITING" if waits else status,
        connection=connection,
        reason=say("waits_for_run", why=cause["detail"]) if waits else cause["detail"],
        rule_id=done.before.rule_id,
        run_id="",
        next_try_us=None,
        overdue_us=None if owner is not None else record.overdue_us,
    )
    return after, change


def _enrolled_again(record: Record, done: Done, config: WorkspaceConfig) -> tuple[EnrollmentChange | None, str]:
    old = done.before.enrollment
    if record.enrollment_id == old.enrollment_id:
        return None, connection_name(old.status)
    ends = "UNDONE" if record.enrollment_id else ""
    sequence = config.find("sequence", old.sequence_id) if old.enrollment_id else None
    if sequence is not None and is_active(sequence.state):
        return EnrollmentChange(ends, old.sequence_id, old.sequence_version, old.step), connection_name(old.status)
    return (EnrollmentChange(ends) if ends else None), "SEQUENCE_INACTIVE" if old.enrollment_id else connection_name(old.status)
