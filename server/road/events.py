"""What one commit of one record tells: the kind of event, a sentence, and who is notified. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reallot.server.convert.records import NO_FIELDS, state_text
from reallot.server.languages.saying import document_of, listed, say
from reallot.server.workspace_config import ID_FIELDS, WorkspaceConfig
from reallot.solver.segmentation import FieldType
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
    shown_fields: Sequence[str] = (),
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
        shown_fields: Fields that were changed before and led to this: if it is told at all, what they were and are is shown.
        members: Sellers by team, of the teams that own it before or after.
    """
    subject = after or before
    if subject is None:
        return None
    types = _shown_types(config, subject.record_type, changed_fields)
    old, new = state_text(before, types), state_text(after, types)
    kind = kind_of(before, after, tried=tried, due=due)
    if kind == "CHANGED" and old == new and not changed_fields and not always:
        return None
    if shown_fields and kind != "CHANGED":
        types = _shown_types(config, subject.record_type, shown_fields)
        old, new = state_text(before, types), state_text(after, types)
    told = concerned([owner for record in (before, after) for owner in parties_of(record)], members or {})
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


def told_cause(cause: Json) -> Json:
    """Return the cause of a pending mark as it is told: what fields were before is shown with the states."""
    return {name: value for name, value in cause.items() if name != "was"} if cause else cause


def _shown_types(config: WorkspaceConfig, record_type: str, fields: Sequence[str]) -> Mapping[str, FieldType]:
    """Return the types of those of the fields that are declared and not personal: what an event shows before and after."""
    kind = config.record_types.get(record_type) if fields else None
    if kind is None:
        return NO_FIELDS
    declared = kind.schema.by_id
    return {name: declared[name].type for name in fields if name in declared and name not in kind.personal}


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
    """Return the event's sentence: a stable id and its parameters, which may be sentences themselves."""
    subject = after or before
    if subject is None:
        return None
    offered, moved = open_offer(after) or open_offer(before), kind == "RESEGMENTED" and before is not None and after is not None
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
    if moved:
        parameters["owner_change"] = _owner_clause(before, after, parameters)
        parameters["sequence_change"] = _sequence_clause(before, after, parameters)
    sentence_id = "step_overdue" if kind == "OVERDUE" and due is not None else kind.lower()
    # Documents within the document: what is put into holes later is quoted once, however deep it stands.
    return {"sentence_id": sentence_id, "parameters": {name: document_of(said) for name, said in parameters.items() if said}}


def _owner_clause(before: Told | None, after: Told | None, parameters: Mapping[str, str]) -> str:
    old, new = before.owner if before else None, after.owner if after else None
    old_owner, new_owner = parameters["old_owner"], parameters["new_owner"]
    if old == new:
        return say("owner_keeps", new_owner=new_owner) if new else ""
    if old is None:
        return say("owner_takes", new_owner=new_owner)
    return say("owner_takes_over", old_owner=old_owner, new_owner=new_owner) if new else say("owner_gives_up", old_owner=old_owner)


def _sequence_clause(before: Told | None, after: Told | None, parameters: Mapping[str, str]) -> str:
    left, joined = before.enrollment_id if before else "", after.enrollment_id if after else ""
    if left == joined:
        return ""
    return say("sequence_starts", sequence=parameters["sequence"]) if joined else say("sequence_ends")


def because(cause: Json) -> str:
    """Return the reason clause of a cause, with what it needs before it; "" if there is nothing to say."""
    found = cause or {}
    kind, detail = found.get("kind", ""), found.get("detail", "")
    if kind in ("UPDATED", "RELATED") and found.get("fields"):
        return say("because_fields", fields=listed(found["fields"]))
    clauses = {
        "CREATED": say("on_arrival"),
        "RULE_FIELD": say("because_rule_field"),
        "REOPENED": say("on_reopening"),
        "RUN": say("in_run"),
        "SCHEDULE": say("in_scheduled_run", schedule=found.get("schedule_id", "")),
        "EVENT": say("because_of", detail=detail or say("something_changed")),
        "MANUAL": say("by_hand"),
        "OFFER": say("because_of", detail=detail or say("offer_ended_somehow")),
        "TIME": say("because_time"),
        "UNDO": say("because_of", detail=detail or say("some_run_undone")),
    }
    return clauses.get(kind, "")


def _segment_name(record: Told | None, config: WorkspaceConfig) -> str:
    if record is None or not record.segment_id:
        return say("no_segment")
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
        return say("nobody")
    if owner.kind is OwnerKind.SELLER:
        return (names or {}).get(owner.id, owner.id)
    kind = owner.kind.lower()
    name = group_names(config, kind).get(owner.id, owner.id)
    return say("team", name=name) if owner.kind is OwnerKind.TEAM else say("queue", name=name)


def group_names(config: WorkspaceConfig, kind: str) -> Mapping[str, str]:
    """Return what the teams, or queues, with a name of their own are called, by id."""
    return {getattr(m, ID_FIELDS[kind]): m.display_name for m in config.all(kind) if m.display_name} if kind else {}
