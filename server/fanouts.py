"""The loop that has records looked at again when one that they refer to has changed, as the leads of an account.

What is to be passed on is written with the change itself, so that it outlives a crash; here it is passed on in parts, so that a record
to which many refer holds up nobody.
"""

import polars as pl

from reallot.server.convert.records import state_text
from reallot.server.due import DueLoop
from reallot.server.languages.saying import say
from reallot.server.road.fanout import cause_of, fanouts_of, marks_of, watched_fields
from reallot.server.road.resting import resting_records
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.arrivals import Arrivals
from reallot.storage.entities import Decision, PendingMark, Record, Transition
from reallot.storage.references import Fanout

BATCH = 1_000
"""Most references that one commit looks at."""
MOST_TARGETS = 200
"""Most changed records that one commit passes on."""


class FanoutLoop(DueLoop):
    """Passes on what waits, which is due as soon as it is written down."""

    TOPIC = "fanouts"

    @staticmethod
    def next_due(tx: ReadTransaction) -> list[tuple[str, int]]:
        """Return the workspaces in which something waits."""
        return [(workspace, 0) for workspace in tx.references.workspaces()]

    @staticmethod
    def carry_out(tx: WriteTransaction, config: WorkspaceConfig) -> bool:
        """Pass on a part of what waits."""
        return pass_on(tx, config)


def pass_on(tx: WriteTransaction, config: WorkspaceConfig) -> bool:
    """Pass on a part of what waits; return whether there was anything."""
    waiting, room = tx.references.oldest(config.workspace, MOST_TARGETS), BATCH
    marks: list[PendingMark] = []
    for fanout in waiting:
        looked_at, after_id, referrers = tx.references.referrers(config.workspace, fanout.target_id, fanout.after_id, room)
        tx.references.go_on(config.workspace, fanout, after_id)
        marks += marks_of(fanout, referrers, config, tx.now_us)
        room -= looked_at
        if after_id is not None or room <= 0:
            break
    marks = _without_resting(tx, config, marks)
    if marks:
        tx.pending.mark(config.workspace, marks)
        tx.signal(config.workspace, "pending")
    return bool(waiting)


def _without_resting(tx: WriteTransaction, config: WorkspaceConfig, marks: list[PendingMark]) -> list[PendingMark]:
    """Have records that rest be looked at when they have rested, say so in their logs, and return the marks of the others."""
    rests = resting_records(tx, config, [mark.record_id for mark in marks if mark.cause["resegment"]], tx.now_us)
    held = {mark.record_id: mark for mark in marks if mark.record_id in rests and not mark.cause.get("quiet")}
    if held:
        tx.rechecks.bring_forward(config.workspace, {record_id: rests[record_id] for record_id in held})
        tx.signal(config.workspace, "rechecks")
        records = tx.records.get(config.workspace, held)
        lines = [(_rests(record, held[record_id], tx.now_us), record.version) for record_id, record in records.items()]
        tx.decisions.note(config.workspace, lines)
    return [mark for mark in marks if mark.record_id not in held]


def _rests(record: Record, mark: PendingMark, now_us: int) -> Decision:
    reason, state = say("record_rests", triggers=", ".join(mark.cause["fields"])), state_text(record)
    return Decision(record.record_id, now_us, mark.cause, record.assignment, reason, state, state)


def note_changes(tx: WriteTransaction, config: WorkspaceConfig, made: list[Transition], *, quiet: bool = False) -> None:
    """Have the changes of records passed on to those that refer to them; in the transaction of the changes."""
    note_fanouts(tx, config.workspace, fanouts_of(made, config, tx.now_us, quiet=quiet))


def note_arrivals(tx: WriteTransaction, config: WorkspaceConfig, arrivals: Arrivals, *, quiet: bool) -> None:
    """Do the same for records that are new: others may refer to them already."""
    watched = {kind: watched_fields(config, kind) for kind in arrivals.frame["record_type"].unique()}
    rows = arrivals.frame.filter(pl.col("record_type").is_in([kind for kind, fields in watched.items() if fields]))
    named = rows.select("record_id", "record_type").rows()
    note_fanouts(tx, config.workspace, [Fanout(i, kind, tx.now_us, cause_of(watched[kind], quiet=quiet)) for i, kind in named])


def note_fanouts(tx: WriteTransaction, workspace: str, wanted: list[Fanout]) -> None:
    """Keep those of the fanouts that concern a record to which any refers."""
    if not wanted:
        return
    referred = tx.references.referred(workspace, [fanout.target_id for fanout in wanted])
    asked = [fanout for fanout in wanted if fanout.target_id in referred]
    if asked:
        tx.references.ask(workspace, asked)
        tx.signal(workspace, "fanouts")
