"""Cool-downs: what rests for which records, read from the records' own logs; and what a log says when nothing looks again."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from reallot.server.languages.saying import listed, say
from reallot.server.road.change import EVERYTHING, Change, Upsert
from reallot.server.workspace_config import TriggerConfig, WorkspaceConfig
from reallot.storage import ReadTransaction
from reallot.storage.entities import Decision

_PART = 100
Rests = Mapping[str, Mapping[str, int]]
"""Until when triggers rest, in microseconds, by trigger (EVERYTHING = all that have no cool-down of their own), by record."""


def resting_triggers(tx: ReadTransaction, config: WorkspaceConfig, rows: Sequence[Upsert], now_us: int) -> Rests:
    """Return which triggers have made a record be looked at again so lately that they do not yet do so anew, and until when."""
    found = {}
    for row in rows:
        if row.record_id not in found and (row.fields or row.related):
            kinds = config.triggers_by_type.get(row.record_type, ())
            cooled = [t for t in kinds if t.cool_down_us and not row.fields.keys().isdisjoint(t.message.fields)]
            pauses = _pauses(config, cooled)
            if pauses:
                found[row.record_id] = _resting(tx, config.workspace, row.record_id, pauses, now_us)
    return found


def resting_records(tx: ReadTransaction, config: WorkspaceConfig, record_ids: Iterable[str], now_us: int) -> dict[str, int]:
    """Return which of the records rest by the workspace's cool-down, and until when."""
    pauses = _pauses(config, ())
    found = {i: _resting(tx, config.workspace, i, pauses, now_us).get(EVERYTHING) for i in record_ids} if pauses else {}
    return {record_id: until_us for record_id, until_us in found.items() if until_us is not None}


def _pauses(config: WorkspaceConfig, triggers: Iterable[TriggerConfig]) -> dict[str, int]:
    whole = {EVERYTHING: config.cool_down_us} if config.cool_down_us else {}
    return {t.message.trigger_id: t.cool_down_us for t in triggers} | whole


def _resting(tx: ReadTransaction, workspace: str, record_id: str, pauses: Mapping[str, int], now_us: int) -> dict[str, int]:
    oldest_us, before_id = now_us - max(pauses.values()), None
    resting: dict[str, int] = {}
    while True:
        lines = tx.decisions.of_record(workspace, record_id, before_id, _PART)
        for line in lines:
            for name in _begins_rests(line):
                if name in pauses and line.time_us > now_us - pauses[name]:
                    # The newest line comes first.
                    resting.setdefault(name, line.time_us + pauses[name])
        if len(lines) < _PART or lines[-1].time_us <= oldest_us:
            return resting
        before_id = lines[-1].decision_id


def _begins_rests(line: Decision) -> Iterator[str]:
    """Yield what rests from a line of a log on: only a run of the road carries out what a trigger asks for."""
    cause = line.cause or {}
    if line.run_id:
        yield from cause.get("triggers", ())
        if cause.get("kind") in ("UPDATED", "RELATED") and cause.get("resegment"):
            yield EVERYTHING


def why_not_again(changes: Sequence[Change]) -> str:
    """Return why a record whose fields changed is not looked at again, for its log; "" if it is, or if no field changed."""
    fields = sorted({name for change in changes for name in change.changed_fields})
    if not (fields or any(change.resting for change in changes)) or any(change.mark is not None for change in changes):
        return ""
    if not changes[-1].after.active:
        return say("not_active")
    held = sorted({name for change in changes for name in change.resting})
    own = [name for name in held if all(name not in change.resting_with_all for change in changes)]
    reasons = [say("trigger_rests", triggers=", ".join(own))] if own else []
    reasons += [say("record_rests", triggers=", ".join(name for name in held if name not in own))] if len(own) < len(held) else []
    reasons += list(dict.fromkeys(reason for change in changes for reason in change.unfired))
    return listed(reasons) if reasons else say("nothing_watched", fields=", ".join(fields))
