"""Events, decisions and notifications between storage and the contract."""

from typing import Any

from google.protobuf import json_format

from reallot.server.convert.records import assignment_status
from reallot.server.convert.values import from_us
from reallot.server.languages import Catalogue
from reallot.storage.entities import Decision, Event, Json, Notice
from reallot.v1 import event_pb2, value_pb2


def state_message(document: Json) -> event_pb2.RecordState | None:
    """Return a stored state as a message; None for None."""
    return None if document is None else json_format.ParseDict(document, event_pb2.RecordState())


def cause_message(document: Json, speech: Catalogue, run_id: str = "") -> event_pb2.Cause:
    """Return a stored cause as a message."""
    found = document or {}
    return event_pb2.Cause(
        kind=event_pb2.CauseKind.Value(f"CAUSE_KIND_{found.get('kind', 'UNSPECIFIED')}"),
        trigger_ids=found.get("triggers", ()),
        fields=found.get("fields", ()),
        run_id=found.get("run_id", run_id),
        schedule_id=found.get("schedule_id", ""),
        detail=speech.text(found.get("detail", "")),
        step=step_message(found.get("step")),
    )


def step_message(document: Json) -> event_pb2.EnrollmentStep | None:
    """Return a stored step of an enrollment as a message; None for None."""
    return None if document is None else json_format.ParseDict(document, event_pb2.EnrollmentStep())


def rule_messages(considered: Json) -> list[event_pb2.RuleTrace]:
    """Return what rules made of a record as messages."""
    return [rule_message(trace) for trace in considered or ()]


def rule_message(trace: dict[str, Any], names: dict[str, list[str]] | None = None) -> event_pb2.RuleTrace:
    """Return what one rule made of a record; `names` are sellers by verdict."""
    return event_pb2.RuleTrace(
        rule_id=trace["rule_id"],
        status=assignment_status(trace["status"]),
        verdicts=[
            event_pb2.VerdictCount(
                verdict=event_pb2.Verdict.Value(f"VERDICT_{verdict}"), sellers=count, seller_ids=(names or {}).get(verdict, ())
            )
            for verdict, count in sorted(trace["verdicts"].items())
        ],
        matched=[value_pb2.Owner(**owner) for owner in trace.get("matched", ())],
    )


def decision_message(decision: Decision, speech: Catalogue) -> event_pb2.Decision:
    """Return one line of a log as a message."""
    why = sentence_message(decision.reason, speech)
    return event_pb2.Decision(
        decision_id=decision.decision_id,
        time=from_us(decision.time_us),
        record_id=decision.record_id,
        run_id=decision.run_id,
        cause=cause_message(decision.cause, speech, decision.run_id),
        before=state_message(decision.before),
        after=state_message(decision.after),
        status=assignment_status(decision.status),
        rule_id=decision.rule_id,
        reason=why.text,
        sentence=why,
        rules=rule_messages(decision.considered),
    )


def event_message(event: Event, speech: Catalogue) -> event_pb2.Event:
    """Return an event as a message, without match and cursor, which depend on the follower."""
    draft = event.draft
    return event_pb2.Event(
        number=event.number,
        time=from_us(draft.time_us),
        kind=event_pb2.EventKind.Value(f"EVENT_KIND_{draft.kind}"),
        record_id=draft.record_id,
        record_type=draft.record_type,
        before=state_message(draft.before),
        after=state_message(draft.after),
        changed_fields=draft.changed_fields,
        cause=cause_message(draft.cause, speech, draft.run_id),
        run_id=draft.run_id,
        sentence=kept_sentence(draft.sentence, speech),
        due_step=step_message((draft.cause or {}).get("due_step")),
    )


def sentence_message(said: Json, speech: Catalogue) -> event_pb2.Sentence:
    """Return a sentence as a message; plain text has no id."""
    told = speech.told(said)
    return event_pb2.Sentence(sentence_id=told.sentence_id, parameters=told.parameters, text=told.text)


def kept_sentence(document: Json, speech: Catalogue) -> event_pb2.Sentence | None:
    """Return the sentence of an event or digest as a message; None for None. Earlier versions kept its English text."""
    if document is None or "text" in document:
        return None if document is None else event_pb2.Sentence(**document)
    return sentence_message({"say": document["sentence_id"], **document["parameters"]}, speech)


def notification_message(notice: Notice, cursor: str, speech: Catalogue) -> event_pb2.Notification:
    """Return a notice as a message."""
    message = notification_head(notice, cursor, speech)
    if notice.event is not None:
        message.event.CopyFrom(event_message(notice.event, speech))
    return message


def notification_head(notice: Notice, cursor: str, speech: Catalogue) -> event_pb2.Notification:
    """Return a notice as a message, without its event."""
    message = event_pb2.Notification(
        number=notice.number,
        seller_id=notice.seller_id,
        time=from_us(notice.time_us),
        acknowledged=notice.acknowledged_us is not None,
        cursor=cursor,
    )
    if notice.body is not None:
        body = notice.body
        message.digest.CopyFrom(
            event_pb2.Digest(
                run_id=body["run_id"],
                gained=body["gained"],
                lost=body["lost"],
                record_ids=body["record_ids"],
                sentence=kept_sentence(body["sentence"], speech),
            )
        )
    return message
