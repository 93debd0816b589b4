"""A record at which its batch fails: set aside with a status and an incident id, so that the others go on."""

from dataclasses import replace

from reallot.server.convert.records import state_text
from reallot.server.languages.saying import say
from reallot.server.road.events import event_of, told_cause
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import WriteTransaction
from reallot.storage.entities import Decision, Pending, Transition


def rescue(tx: WriteTransaction, config: WorkspaceConfig, mark: Pending, incident: str) -> None:
    """Give a record the status INTERNAL_ERROR and take it off the road until it changes or a run takes it."""
    before = tx.records.get(config.workspace, [mark.record_id]).get(mark.record_id)
    if before is None:
        tx.pending.clear(config.workspace, [(mark.record_id, mark.generation)])
        return
    reason = say("failed_at_record", incident=incident)
    after = before
    if before.owner is None:
        after = replace(
            before, offered_to="", assignment="INTERNAL_ERROR", reason=reason, attempts=before.attempts + 1, last_attempt_us=tx.now_us
        )
    event = event_of(before, after, config=config, time_us=tx.now_us, cause=told_cause(mark.cause), tried=before.owner is None)
    decision = Decision(
        before.record_id, tx.now_us, told_cause(mark.cause), "INTERNAL_ERROR", reason, state_text(before), state_text(after)
    )
    tx.commit_records(config.workspace, [Transition(before, after, event=event, decision=decision, clear_generation=mark.generation)])
