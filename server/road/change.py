"""What a write changes, and which trigger fires: decided in the write's own transaction. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from reallot.server.convert.values import to_stored
from reallot.server.languages.saying import say
from reallot.server.road.enrol import leave
from reallot.server.workspace_config import RuleConfig, TriggerConfig, WorkspaceConfig
from reallot.solver.segmentation import Schema, evaluate, frame_of
from reallot.storage.capacity import weight_of
from reallot.storage.entities import EnrollmentChange, Json, Owner, PendingMark, Record, Standing, open_offer

OWNER_CAME = say("owner_came")
"""What the log says of an owner whom a write gives."""


@dataclass(frozen=True)
class Upsert:
    """One row of a write, validated: only what is to be written.

    Attributes:
        fields: Stored values by field; None = null.
        attributes: Columns of the record by name, e.g. {"priority": 80}.
        related: Referenced ids by role; "" removes.
        owner: Owner to be, where `sets_owner`.
        sets_owner: The row writes the owner.
        expects_owner: The row says whom it believes to be the owner.
        expected_owner: That owner.
        etag: Version that must be stored; "" = any.
    """

    record_id: str
    record_type: str
    fields: Mapping[str, Json] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    related: Mapping[str, str] = field(default_factory=dict)
    owner: Owner | None = None
    sets_owner: bool = False
    expects_owner: bool = False
    expected_owner: Owner | None = None
    etag: str = ""


@dataclass(frozen=True)
class Change:
    """What a row does to a record. `conflict` names why it is not applied; then nothing else holds.

    `owner_given`: the row names another owner. `released`: the rule that gave the record takes it back. `resting`: triggers that would
    have fired if they did not rest, of which `resting_with_all` rest with the record by the workspace's cool-down. `looks_again_us`: when
    the first of these has rested; the record is looked at again then. `unfired`: why what looks at the changed fields did not fire.
    """

    after: Record
    changed: tuple[str, ...] = ()
    changed_fields: tuple[str, ...] = ()
    fired: tuple[str, ...] = ()
    conflict: str = ""
    owner_given: bool = False
    released: bool = False
    enrollment: EnrollmentChange | None = None
    mark: PendingMark | None = None
    cause: Json = None
    resting: tuple[str, ...] = ()
    resting_with_all: tuple[str, ...] = ()
    looks_again_us: int | None = None
    unfired: tuple[str, ...] = ()


EVERYTHING = ""
"""Stands for all triggers that have no cool-down of their own, as far as they rest for a record."""
NOT_RESTING: Mapping[str, int] = MappingProxyType({})


def change_of(
    before: Record | None,
    row: Upsert,
    config: WorkspaceConfig,
    *,
    now_us: int,
    quiet: bool,
    resting: Mapping[str, int] = NOT_RESTING,
) -> Change:
    """Return what `row` does to `before` (None = the record is new).

    Triggers that are `resting`, until the instants given, do not fire, and a change of their fields does not make the record be looked at
    again though segments' conditions read them. If EVERYTHING rests, all do that have no cool-down of their own.
    """
    if before is None:
        return _create(row, config, now_us=now_us, quiet=quiet)
    if row.etag and row.etag != str(before.version):
        return Change(before, conflict="ETAG_MISMATCH")
    owner_changes = row.sets_owner and row.owner != before.owner
    if owner_changes and not (row.expects_owner and row.expected_owner == before.owner):
        return Change(before, conflict="OWNER_CONFLICT")
    after, changed_fields = _written(before, row)
    changed = list(changed_fields) + [name for name in row.attributes if getattr(after, name) != getattr(before, name)]
    changed += ["related"] if after.related != before.related else []
    if owner_changes:
        after = give_by_hand(after, row.owner)
        changed.append("owner")
    rule = None if owner_changes else releasing_rule(before, after, changed_fields, config, now_us)
    if rule is not None:
        after = _taken_back(after, rule)
        changed.append("owner")
    matched = fired_triggers(before, after, changed_fields, config, now_us)
    with_all = tuple(n for n in matched if EVERYTHING in resting and config.rests_with_workspace(after.record_type, n))
    held = tuple(name for name in matched if name in resting or name in with_all)
    quieted = {f"implied:{name}" for name in _fields_of(held, after.record_type, config)}
    fired = tuple(name for name in matched if name not in held and name not in quieted)
    if open_offer(before) and not after.active:
        after = replace(after, offered_to="", assignment="WAITING", reason=say("offer_ended_by_closing"))
    enrollment = leave(before, "RECORD_CLOSED") if before.active and not after.active else None
    if enrollment is not None:
        # It is connected with nothing any more: when it is worked again, it joins anew.
        after = replace(after, connection="")
    cause = {"kind": "UPDATED", "triggers": list(fired), "fields": list(changed_fields)} | ({"quiet": True} if quiet else {})
    mark = _mark(before, after, changed_fields, fired, config, cause, now_us)
    # A quiet write has nobody look again, and so has one that leads to a look in any case.
    ends = [resting.get(name, resting.get(EVERYTHING, now_us)) for name in held]
    again_us = min(ends, default=None) if mark is None and after.active and not quiet else None
    unfired = () if mark is not None else _unfired(before, after, changed_fields, matched, config)
    return Change(
        after, tuple(changed), changed_fields, fired, "", owner_changes, rule is not None, enrollment, mark, cause,
        held, with_all, again_us, unfired,
    )  # fmt: skip


def _fields_of(trigger_ids: tuple[str, ...], record_type: str, config: WorkspaceConfig) -> set[str]:
    triggers = config.triggers_by_type.get(record_type, ()) if trigger_ids else ()
    return {name for trigger in triggers if trigger.message.trigger_id in trigger_ids for name in trigger.message.fields}


def _create(row: Upsert, config: WorkspaceConfig, *, now_us: int, quiet: bool) -> Change:
    fresh = Record(row.record_id, row.record_type, created_us=now_us)
    if row.etag and row.etag != "0":
        return Change(fresh, conflict="ETAG_MISMATCH")
    fields = {name: value for name, value in row.fields.items() if value is not None}
    related = {role: target for role, target in row.related.items() if target}
    after = Record(row.record_id, row.record_type, fields, related, **{"created_us": now_us, **row.attributes})
    changed_fields = tuple(sorted(fields))
    if row.sets_owner and row.owner is not None:
        after = give_by_hand(after, row.owner)
    changed = (*changed_fields, *row.attributes, *(["owner"] if after.owner else []))
    cause = arrival_cause(quiet=quiet)
    mark = PendingMark(row.record_id, now_us, cause) if after.active else None
    return Change(after, changed, changed_fields, (), "", after.owner is not None, False, None, mark, cause)


def arrival_cause(*, quiet: bool) -> Json:
    """Return why a new record waits for the road."""
    return {"kind": "IMPORTED" if quiet else "CREATED", "resegment": True, "quiet": quiet}


def give_by_hand(record: Record, owner: Owner | None) -> Record:
    """Return the record as a person or the CRM gives it to an owner, or takes it from one."""
    status = "ASSIGNED_MANUALLY" if owner is not None else "WAITING"
    reason = "" if owner is not None else say("released_by_hand")
    return replace(
        record,
        previous_owner=record.owner or record.previous_owner,
        owner=owner,
        offered_to="",
        assignment=status,
        reason=reason,
        rule_id="",
        run_id="",
        next_try_us=None,
        overdue_us=None if owner is not None else record.overdue_us,
    )


def releasing_rule(before: Record, after: Record, changed: tuple[str, ...], config: WorkspaceConfig, now_us: int) -> RuleConfig | None:
    """Return the rule that gave the record to its owner, if a change makes its `release_when` true; None if not."""
    rule = config.rules.get(after.rule_id) if after.owner is not None and after.active else None
    if rule is None or rule.release_when is None or not set(changed).intersection(rule.release_when.fields("record")):
        return None
    schema = config.record_types[after.record_type].schema
    frame = frame_of("record", schema, [before.fields, after.fields])
    held, holds = evaluate([rule.release_when], frame, now_us=now_us)[:, 0].tolist()
    return rule if holds and not held else None


def _taken_back(record: Record, rule: RuleConfig) -> Record:
    """Return the record without its owner: it waits for a run, so that it does not bounce back for the room that it leaves."""
    name = rule.message.display_name or rule.key
    reason = say("rule_took_back", rule=name)
    return replace(record, previous_owner=record.owner, owner=None, assignment="WAITING", reason=reason, rule_id="", run_id="")


def frees_capacity(before: Record | Standing | None, after: Record | Standing | None) -> bool:
    """Tell whether a change may leave somebody with more room than before: in all, or in a record type or segment."""
    held, left = weight_of(before), weight_of(after)
    if before is None or held is None:
        return False
    if after is None or left is None or left.effort < held.effort:
        return True
    return left.place[0] != held.place[0] or before.segment_id not in ("", after.segment_id)


def freed_sellers(changes: Iterable[tuple[Record | Standing | None, Record | Standing | None]]) -> frozenset[str]:
    """Return the sellers who may have more room after changes, each given as before and after."""
    return frozenset(held.place[0] for b, a in changes if frees_capacity(b, a) and (held := weight_of(b)) is not None)


def _written(before: Record, row: Upsert) -> tuple[Record, tuple[str, ...]]:
    fields = {**before.fields, **row.fields}
    fields = {name: value for name, value in fields.items() if value is not None}
    related = {role: target for role, target in {**before.related, **row.related}.items() if target}
    names = tuple(sorted(n for n in row.fields if fields.get(n) != before.fields.get(n)))
    return replace(before, fields=fields, related=related, **row.attributes), names


def fired_triggers(before: Record, after: Record, changed: tuple[str, ...], config: WorkspaceConfig, now_us: int) -> tuple[str, ...]:
    """Return the triggers that a change fires: explicit ones by id, then `implied:<field>` for fields of segments' conditions."""
    roles = _changed_roles(before, after)
    if not changed and not roles:
        return ()
    kind = config.record_types[after.record_type]
    explicit = [
        trigger.message.trigger_id
        for trigger in config.triggers_by_type.get(after.record_type, ())
        if _fires(trigger, before, after, changed, kind.schema, now_us)
    ]
    implied = config.implied_fields.get(after.record_type, frozenset()).intersection(changed)
    implied |= config.implied_roles.get(after.record_type, frozenset()).intersection(roles)
    return (*explicit, *(f"implied:{name}" for name in sorted(implied)))


def _changed_roles(before: Record, after: Record) -> set[str]:
    return {role for role in (*before.related, *after.related) if before.related.get(role) != after.related.get(role)}


def _fires(trigger: TriggerConfig, before: Record, after: Record, changed: tuple[str, ...], schema: Schema, now_us: int) -> bool:
    message = trigger.message
    if message.segment_ids and before.segment_id not in message.segment_ids:
        return False
    if not any(_matches(trigger, name, before, after, schema) for name in message.fields if name in changed):
        return False
    if trigger.condition is None:
        return True
    frame = frame_of("record", schema, [after.fields])
    return bool(evaluate([trigger.condition], frame, now_us=now_us)[0, 0])


def _unfired(before: Record, after: Record, changed: tuple[str, ...], matched: tuple[str, ...], config: WorkspaceConfig) -> tuple[str, ...]:
    """Return for everything that looks at changed fields why it does not have the record looked at again."""
    found, schema = [], config.record_types[after.record_type].schema
    for trigger in config.triggers_by_type.get(after.record_type, ()):
        message = trigger.message
        fields = [name for name in message.fields if name in changed]
        if not fields or message.trigger_id in matched:
            continue
        if message.segment_ids and before.segment_id not in message.segment_ids:
            found.append(say("trigger_of_other_segments", trigger=message.trigger_id, segments=", ".join(sorted(message.segment_ids))))
        elif not any(_matches(trigger, name, before, after, schema) for name in fields):
            found.append(say("trigger_of_other_values", trigger=message.trigger_id, fields=", ".join(fields)))
        else:
            found.append(say("trigger_condition_fails", trigger=message.trigger_id))
    segment = config.segments.get(after.segment_id)
    read = segment.rule_fields.intersection(changed) if segment is not None and after.owner is not None else frozenset()
    return (*found, *([say("only_rules_read", fields=", ".join(sorted(read)))] if read else []))


def _matches(trigger: TriggerConfig, name: str, before: Record, after: Record, schema: Schema) -> bool:
    wanted = schema.by_id[name].type
    for values, stored in ((getattr(trigger.message, "from"), before), (trigger.message.to, after)):
        if values and stored.fields.get(name) not in [to_stored(value, wanted) for value in values]:
            return False
    return True


def _mark(
    before: Record,
    after: Record,
    changed: tuple[str, ...],
    fired: tuple[str, ...],
    config: WorkspaceConfig,
    cause: Json,
    now_us: int,
) -> PendingMark | None:
    if not after.active:
        return None
    quiet = {"quiet": True} if cause.get("quiet") else {}
    if not before.active:
        return PendingMark(after.record_id, now_us, {"kind": "REOPENED", "resegment": True} | quiet)
    # What the fields were is told to those whom a move concerns; personal ones stand in the record alone.
    was = {name: before.fields.get(name) for name in changed if name in config.record_types[after.record_type].plain}
    if fired:
        return PendingMark(after.record_id, now_us, {**cause, "resegment": True, "was": was})
    segment = config.segments.get(after.segment_id)
    # A quiet write has no rules run, so what they read does not matter.
    if quiet or after.owner is not None or segment is None:
        return None
    read = segment.rule_fields.intersection(changed) | segment.rule_roles.intersection(_changed_roles(before, after))
    if not read:
        return None
    fields = sorted({*changed, *read})
    return PendingMark(after.record_id, now_us, {"kind": "RULE_FIELD", "fields": fields, "resegment": False, "was": was})
