"""What one commit of one record tells: the kind of event, a sentence, and who is notified. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reallot.server.convert.records import NO_FIELDS, state_text
from reallot.server.workspace_config import ID_FIELDS, WorkspaceConfig
from reallot.storage.entities import EnrollmentChange, EventDraft, Json, Owner, OwnerKind, Record, Standing, open_offer
from reallot.storage.moves import enrollment_of

SELLER_KINDS = frozenset({"RESEGMENTED", "REASSIGNED", "ASSIGNED", "UNASSIGNED", "OVERDUE", "OFFERED", "OFFER_ENDED", "STEP_DUE"})
"""Kinds that sellers are notified of, when they are the old or the new owner, or had or have an offer of it."""


Told = Record | Standing


@dataclass(frozen=True)
class DueStep:
    """A step that falls due with a transition, or by the clock alone.

    Attributes:
        name: What it is called in sentences.
        seller_id: Who is to do it and is told; "" = nobody in particular.
        overdue: It is overdue.
    """

    name: str
    seller_id: str
    overdue: bool = False


def enrolled(before: Record | None, after: Record, change: EnrollmentChange | None) -> Record:
    """Return a record with its enrollment as `change` leaves it, once it is stored."""
    version = (before.version if before else 0) + 1
    enrollment_id, sequence_id, sequence_version, step = enrollment_of(before, after, change, version)[2]
    return replace(after, enrollment_id=enrollment_id, sequence_id=sequence_id, sequence_version=sequence_version, step=step)


def event_of(
    before: Told | None,
    after: Told | None,
    *,
    config: WorkspaceConfig,
    time_us: int,
    cause: Json,
    changed_fields: Sequence[str] = (),
    run_id: str = "",
    tried: bool = False,
    quiet: bool = False,
    names: Mapping[str, str] | None = None,
    title: str = "",
    due: DueStep | None = None,
    always: bool = False,
    members: Mapping[str, Sequence[str]] | None = None,
) -> EventDraft | None:
    """Return the event of a transition; None if nothing that shows has changed.

    Args:
        before: The record as it was; None = it did not exist.
        after: The record as it will be, enrollment and all; None = deleted.
        config: Names of segments and titles of records.
        time_us: When it is committed.
        cause: Why, as the JSON document kept on marks and decisions.
        changed_fields: Fields whose value changed.
        run_id: Run that does it.
        tried: An attempt to find an owner was made.
        quiet: Nobody is notified.
        names: Display names of sellers by id.
        title: What the record is called in the sentence; "" = as its fields say.
        due: Step that is to be done, if that is told.
        always: It is told though nothing that shows has changed.
        members: Sellers by team, of the teams that own it before or after.
    """
    subject = after or before
    if subject is None:
        return None
    kind_config = config.record_types.get(subject.record_type) if changed_fields else None
    declared = kind_config.schema.by_id if kind_config else {}
    shown = [name for name in changed_fields if name in declared and kind_config and name not in kind_config.personal]
    types = {name: declared[name].type for name in shown} if shown else NO_FIELDS
    old, new = state_text(before, types), state_text(after, types)
    kind = kind_of(before, after, tried=tried, due=due)
    if kind == "CHANGED" and old == new and not changed_fields and not always:
        return None
    owners = [owner for record in (before, after) for owner in parties_of(record)]
    told = concerned(owners, members or {})
    if due is not None and kind in ("STEP_DUE", "OVERDUE"):
        told = (due.seller_id,) if due.seller_id else ()
    return EventDraft(
        kind=kind,
        record_id=subject.record_id,
        record_type=subject.record_type,
        time_us=time_us,
        before=old,
        after=new,
        changed_fields=tuple(sorted(changed_fields)),
        cause=cause,
        run_id=run_id,
        sentence=sentence_of(kind, before, after, config, cause, names or {}, title, due),
        notify=() if quiet or kind not in SELLER_KINDS else told,
    )


def parties_of(record: Told | None) -> list[Owner]:
    """Return who owns a record, and the seller who has an offer of it."""
    owner, offered = record.owner if record is not None else None, open_offer(record)
    return [*([owner] if owner is not None else []), *([Owner(OwnerKind.SELLER, offered)] if offered else [])]


def concerned(owners: Sequence[Owner | None], members: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the sellers among owners, and the members of teams among them; a queue has nobody to tell."""
    found: dict[str, None] = {}
    for owner in owners:
        if owner is not None and owner.kind is OwnerKind.SELLER:
            found[owner.id] = None
        elif owner is not None and owner.kind is OwnerKind.TEAM:
            found.update(dict.fromkeys(members.get(owner.id, ())))
    return tuple(found)


def kind_of(before: Told | None, after: Told | None, *, tried: bool, due: DueStep | None = None) -> str:
    """Return the first kind in the contract's order that applies."""
    if after is None:
        return "DELETED"
    old_owner = before.owner if before else None
    if before is not None and before.segment_id and after.segment_id != before.segment_id:
        return "RESEGMENTED"
    if old_owner != after.owner:
        return "ASSIGNED" if old_owner is None else "UNASSIGNED" if after.owner is None else "REASSIGNED"
    held, offered = open_offer(before), open_offer(after)
    if tried and after.owner is None and not offered:
        return "NOT_ASSIGNED"
    if due is not None and due.overdue:
        return "OVERDUE"
    if held != offered:
        return "OFFERED" if offered else "OFFER_ENDED"
    if before is not None and before.enrollment_id != after.enrollment_id:
        return "ENROLLED" if after.enrollment_id else "UNENROLLED" if after.active else "CLOSED"
    if due is not None:
        return "STEP_DUE"
    if before is not None and before.active != after.active:
        return "REOPENED" if after.active else "CLOSED"
    return "CREATED" if before is None else "CHANGED"


def sentence_of(
    kind: str,
    before: Told | None,
    after: Told | None,
    config: WorkspaceConfig,
    cause: Json,
    names: Mapping[str, str],
    title: str = "",
    due: DueStep | None = None,
) -> Json:
    """Return the event's sentence: a stable id, its parameters, and the English text."""
    subject = after or before
    if subject is None:
        return None
    offered = open_offer(after) or open_offer(before)
    parameters = {
        "record": title or config.title(subject.record_type, subject.record_id, subject.fields),
        "old_segment": _segment_name(before, config),
        "new_segment": _segment_name(after, config),
        "old_owner": owner_name(before.owner if before else None, config, names),
        "new_owner": owner_name(after.owner if after else None, config, names),
        "offered": names.get(offered, offered),
        "sequence": _sequence_name(after, config),
        "reason": subject.reason,
        "because": because(cause),
        "step": due.name if due is not None else "",
    }
    sentence_id = "step_overdue" if kind == "OVERDUE" and due is not None else kind.lower()
    text = _TEXTS[sentence_id.upper()].format(**parameters)
    if kind == "RESEGMENTED" and before is not None and after is not None:
        text += _owner_clause(before.owner, after.owner, parameters) + _sequence_clause(before, after, parameters)
    return {"sentence_id": sentence_id, "parameters": {k: v for k, v in parameters.items() if v}, "text": text + "."}


_TEXTS = {
    "RESEGMENTED": "{record} moved from {old_segment} to {new_segment}{because}",
    "REASSIGNED": "{record} went from {old_owner} to {new_owner}{because}",
    "ASSIGNED": "{record} went to {new_owner}{because}",
    "UNASSIGNED": "{record} was taken from {old_owner}{because}",
    "NOT_ASSIGNED": "{record} has no owner{because}: {reason}",
    "OVERDUE": "{record} waits for too long",
    "OFFERED": "{record} was offered to {offered}{because}",
    "OFFER_ENDED": "The offer of {record} to {offered} ended{because}",
    "ENROLLED": "{record} joined the sequence {sequence}",
    "UNENROLLED": "{record} left its sequence{because}",
    "STEP_DUE": "{step} for {record} is due",
    "STEP_OVERDUE": "{step} for {record} is overdue",
    "CLOSED": "{record} was closed",
    "REOPENED": "{record} was reopened",
    "CREATED": "{record} was created",
    "CHANGED": "{record} was changed",
    "DELETED": "{record} was deleted",
}


def _owner_clause(old: Owner | None, new: Owner | None, parameters: Mapping[str, str]) -> str:
    if old == new:
        return f"; {parameters['new_owner']} keeps it" if new else ""
    if old is None:
        return f"; {parameters['new_owner']} takes it"
    return f"; {parameters['new_owner']} takes over from {parameters['old_owner']}" if new else f"; {parameters['old_owner']} gives it up"


def _sequence_clause(before: Told, after: Told, parameters: Mapping[str, str]) -> str:
    if after.enrollment_id == before.enrollment_id:
        return ""
    return f"; the sequence {parameters['sequence']} starts" if after.enrollment_id else "; its sequence ends"


def because(cause: Json) -> str:
    """Return the reason clause of a cause, with a blank before it; "" if there is nothing to say."""
    kind = (cause or {}).get("kind", "")
    if kind in ("UPDATED", "RELATED") and cause.get("fields"):
        return f" because {' and '.join(cause['fields'])} changed"
    return {
        "CREATED": " on arrival",
        "RULE_FIELD": " because a field that its rules read changed",
        "REOPENED": " on being reopened",
        "RUN": " in a run on request",
        "SCHEDULE": f" in the scheduled run {(cause or {}).get('schedule_id', '')}",
        "EVENT": f" because {(cause or {}).get('detail', 'something changed')}",
        "MANUAL": " by hand",
        "OFFER": f" because {(cause or {}).get('detail', 'an offer ended')}",
        "TIME": " because time went by",
        "UNDO": f" because {(cause or {}).get('detail', 'a run was undone')}",
    }.get(kind, "")


def _segment_name(record: Told | None, config: WorkspaceConfig) -> str:
    if record is None or not record.segment_id:
        return "no segment"
    message = config.find("segment", record.segment_id)
    return (message.display_name or message.segment_id) if message else record.segment_id


def _sequence_name(record: Told | None, config: WorkspaceConfig) -> str:
    if record is None or not record.sequence_id:
        return ""
    message = config.find("sequence", record.sequence_id)
    return (message.display_name or message.sequence_id) if message else record.sequence_id


def owner_name(owner: Owner | None, config: WorkspaceConfig, names: Mapping[str, str] | None = None) -> str:
    """Return what an owner is called in sentences; `names` are those of sellers."""
    if owner is None:
        return "nobody"
    if owner.kind is OwnerKind.SELLER:
        return (names or {}).get(owner.id, owner.id)
    kind = owner.kind.lower()
    return f"{kind} {group_names(config, kind).get(owner.id, owner.id)}"


def group_names(config: WorkspaceConfig, kind: str) -> Mapping[str, str]:
    """Return what the teams, or queues, with a name of their own are called, by id."""
    return {getattr(m, ID_FIELDS[kind]): m.display_name for m in config.all(kind) if m.display_name} if kind else {}
