"""Which outreach follows a record's segment: pure decisions."""

from reallot.server.workspace_config import SegmentConfig, WorkspaceConfig, is_active
from reallot.storage.entities import EnrollmentChange, Record, Standing


def follow_segment(
    record: Record | Standing, segment: SegmentConfig | None, config: WorkspaceConfig, *, quiet: bool, passed: frozenset[str] = frozenset()
) -> tuple[EnrollmentChange | None, str]:
    """Return what happens to a record's enrollment when it comes into `segment`, and how it is connected then.

    The same sequence goes on; another begins at step 1; the old one ends with reason RESEGMENTED. A sequence that the record has `passed`
    in the segment from which it comes, to its end or on to another, is not begun anew either.
    """
    wanted = segment.message.sequence_id if segment is not None else ""
    if wanted and ((record.enrollment_id and record.sequence_id == wanted) or wanted in passed):
        return None, "SEQUENCE_UNCHANGED"
    end_reason = "RESEGMENTED" if record.enrollment_id else ""
    ended = EnrollmentChange(end_reason=end_reason) if end_reason else None
    if not wanted:
        return ended, "NO_SEQUENCE"
    sequence = config.find("sequence", wanted)
    if sequence is None or not is_active(sequence.state):
        return ended, "SEQUENCE_INACTIVE"
    if quiet:
        return ended, "SKIPPED"
    return EnrollmentChange(end_reason, wanted, config.revision("sequence", wanted), 1), "CONNECTED"


def leave(record: Record | Standing, reason: str) -> EnrollmentChange | None:
    """Return the end of a record's enrollment, None if it has none."""
    return EnrollmentChange(end_reason=reason) if record.enrollment_id else None
