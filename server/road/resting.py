"""Cool-downs: which triggers rest for which records, read from the records' own logs; and what a log says when nothing looks again."""

from collections.abc import Mapping, Sequence

from reallot.server.languages.saying import say
from reallot.server.road.change import Change, Upsert
from reallot.server.workspace_config import TriggerConfig, WorkspaceConfig
from reallot.storage import ReadTransaction

_PART = 100
Rests = Mapping[str, Mapping[str, int]]
"""Until when triggers rest, in microseconds, by trigger, by record."""


def resting_triggers(tx: ReadTransaction, config: WorkspaceConfig, rows: Sequence[Upsert], now_us: int) -> Rests:
    """Return which triggers have made a record be looked at again so lately that they do not yet do so anew, and until when."""
    found = {}
    for row in rows:
        kinds = config.triggers_by_type.get(row.record_type, ())
        cooled = [t for t in kinds if t.cool_down_us and not row.fields.keys().isdisjoint(t.message.fields)]
        if cooled and row.record_id not in found:
            found[row.record_id] = _resting(tx, config.workspace, row.record_id, cooled, now_us)
    return found


def _resting(tx: ReadTransaction, workspace: str, record_id: str, triggers: Sequence[TriggerConfig], now_us: int) -> dict[str, int]:
    since = {t.message.trigger_id: now_us - t.cool_down_us for t in triggers}
    oldest_us, before_id = min(since.values()), None
    pauses = {t.message.trigger_id: t.cool_down_us for t in triggers}
    resting: dict[str, int] = {}
    while True:
        lines = tx.decisions.of_record(workspace, record_id, before_id, _PART)
        for line in lines:
            # Only a run of the road carries out what a trigger asks for; a line of a write alone does not count.
            if line.run_id and line.time_us > oldest_us:
                for name in (line.cause or {}).get("triggers", ()):
                    if name in since and line.time_us > since[name]:
                        # The newest line comes first.
                        resting.setdefault(name, line.time_us + pauses[name])
        if len(lines) < _PART or lines[-1].time_us <= oldest_us:
            return resting
        before_id = lines[-1].decision_id


def why_not_again(changes: Sequence[Change]) -> str:
    """Return why a record whose fields changed is not looked at again, for its log; "" if it is, or if no field changed."""
    fields = sorted({name for change in changes for name in change.changed_fields})
    if not fields or any(change.mark is not None for change in changes):
        return ""
    if not changes[-1].after.active:
        return say("not_active")
    held = sorted({name for change in changes for name in change.resting})
    if held:
        return say("trigger_rests", triggers=", ".join(held))
    return say("nothing_watched", fields=", ".join(fields))
