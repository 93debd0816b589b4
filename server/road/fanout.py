"""What a change of a record means for those that refer to it: decided here, carried out by `server.fanouts`. Pure."""

from collections.abc import Iterable, Iterator

from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.segmentation import EXISTS
from reallot.storage.entities import Json, PendingMark, Record, Transition
from reallot.storage.references import Fanout, Referrer


def watched_fields(config: WorkspaceConfig, record_type: str) -> frozenset[str]:
    """Return the fields of records of a type that conditions about other records read; EXISTS stands for whether there is one."""
    found: set[str] = set()
    for referring, reads in config.related_reads.items():
        roles = config.record_types[referring].roles
        found.update(field for role, field in reads if roles.get(role) == record_type)
    return frozenset(found)


def fanouts_of(transitions: Iterable[Transition], config: WorkspaceConfig, now_us: int, *, quiet: bool = False) -> list[Fanout]:
    """Return what the records that refer to the changed ones are to hear of, if there are any."""
    return list(_fanouts(transitions, config, now_us, quiet=quiet))


def _fanouts(transitions: Iterable[Transition], config: WorkspaceConfig, now_us: int, *, quiet: bool) -> Iterator[Fanout]:
    watched: dict[str, frozenset[str]] = {}
    for transition in transitions:
        before, after, kind = transition.before, transition.after, transition.subject.record_type
        if kind not in watched:
            watched[kind] = watched_fields(config, kind)
        changed = [field for field in sorted(watched[kind]) if _value(before, field) != _value(after, field)]
        if changed:
            yield Fanout(transition.subject.record_id, kind, now_us, cause_of(changed, quiet=quiet))


def cause_of(fields: Iterable[str], *, quiet: bool) -> Json:
    """Return the cause of a fanout."""
    return {"fields": sorted(fields), "quiet": quiet}


def _value(record: Record | None, field: str) -> Json:
    if field == EXISTS:
        return record is not None
    return record.fields.get(field) if record is not None else None


def marks_of(fanout: Fanout, referrers: Iterable[Referrer], config: WorkspaceConfig, now_us: int) -> list[PendingMark]:
    """Return the marks of those records about which a condition reads what has changed.

    What a segment's condition reads has the record segmented again; what only rules read matters to a record that waits for an owner.
    """
    made = []
    for referrer in referrers:
        by_segments, by_rules = _reads(fanout, referrer, config)
        if not by_segments and not by_rules:
            continue
        names = [role if field == EXISTS else f"{role}.{field}" for role, field in sorted({*by_segments, *by_rules})]
        quiet = {"quiet": True} if fanout.cause.get("quiet") else {}
        cause = {"kind": "RELATED", "fields": names, "detail": fanout.target_id, "resegment": bool(by_segments)} | quiet
        made.append(PendingMark(referrer.record_id, now_us, cause))
    return made


def _reads(fanout: Fanout, referrer: Referrer, config: WorkspaceConfig) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return what changed of what segments' conditions read about a record, and of what the rules read that it waits for."""
    kind = config.record_types.get(referrer.record_type)
    roles = [role for role in referrer.roles if kind is not None and kind.roles.get(role) == fanout.record_type]
    changed = {(role, field) for role in roles for field in fanout.cause["fields"]}
    segments = config.segments_by_type.get(referrer.record_type, ())
    by_segments = {read for s in segments if s.condition is not None for read in s.condition.reads} & changed
    segment = config.segments.get(referrer.segment_id)
    rules = segment.rules if segment is not None and not referrer.owned and not fanout.cause.get("quiet") else ()
    return by_segments, {read for rule in rules if rule.condition is not None for read in rule.condition.reads} & changed
