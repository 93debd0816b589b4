"""Giving out and removing what is kept about a person, piece by piece, so that others' writes pass in between."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from reallot.server.erasing import Eraser, signature_of_call
from reallot.server.errors import invalid_field, not_found
from reallot.server.exported import parts_of
from reallot.server.idempotency import answered_before, once
from reallot.server.runtime import Runtime, request_rerun
from reallot.server.services.upserts import upsert_records
from reallot.server.validation import check_id, refuse
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.entities import Json, StoredAnswer
from reallot.storage.erasures import Erasure
from reallot.storage.personal import Key, Person, forms_of
from reallot.v1 import (
    assignment_service_pb2,
    config_pb2,
    config_service_pb2,
    event_service_pb2,
    insight_service_pb2,
    record_pb2,
    record_service_pb2,
    seller_service_pb2,
    sequence_service_pb2,
    value_pb2,
)
from reallot.v1 import workspace_service_pb2 as pb

PIECE = 500
"""Most rows that one commit changes, or one message gives out."""
ANSWERS = "requests"
_SETS = ("kept", "names", "shared")
"""What is known of a person beside kind and id, in the order of its fields."""
_FILES = (
    *(assignment_service_pb2, config_service_pb2, event_service_pb2, insight_service_pb2),
    *(record_service_pb2, seller_service_pb2, sequence_service_pb2, pb),
)
Request = pb.ExportPersonalDataRequest | pb.RedactPersonalDataRequest


def check_person(request: Request) -> None:
    """Do nothing if a request says whom it is about.

    Raises:
        ApiError: it does not, or the id cannot be one.
    """
    kind = request.WhichOneof("person")
    if kind is None:
        raise invalid_field("person", "a seller or a record is needed")
    refuse(check_id(kind, getattr(request, kind)))


def person_of(tx: ReadTransaction, config: WorkspaceConfig, request: Request) -> Person:
    """Return whom a request is about, with what is known of the names."""
    workspace = config.workspace
    if request.WhichOneof("person") == "seller_id":
        plain = frozenset(f.field_id for f in config.settings.seller_fields if not f.personal)
        names = tx.personal.names_of_seller(workspace, request.seller_id)
        return Person("seller", request.seller_id, plain, names, tx.personal.shared_names(workspace, request.seller_id, names))
    record = tx.records.get(workspace, [request.record_id]).get(request.record_id)
    types = {record.record_type} if record is not None else set(tx.personal.types_of_record(workspace, request.record_id))
    # What a type that is gone has declared is not known any more: nothing of it stays.
    kept = [config.record_types[name].plain if name in config.record_types else frozenset[str]() for name in types]
    plain = frozenset.intersection(*kept) if kept else frozenset[str]()
    called = set(tx.personal.titles_of_record(workspace, request.record_id))
    for name, value in record.fields.items() if record is not None else ():
        if name not in plain:
            called.update(text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str) and text)
    return Person("record", request.record_id, plain, frozenset(called))


async def export_person(runtime: Runtime, workspace: str, request: pb.ExportPersonalDataRequest) -> AsyncIterator[Any]:
    """Yield everything that is kept about a person.

    Raises:
        ApiError: nothing is.
    """
    person, found = await runtime.read(partial(_found, runtime, workspace, request))
    for table, piece in _pieces(found):
        rows = await runtime.read(lambda tx, table=table, piece=piece: tx.personal.rows(table, piece, person))  # type: ignore[misc]
        for part in parts_of(table, rows):
            yield pb.ExportPersonalDataResponse(rows=part)


def _found(runtime: Runtime, workspace: str, request: Request, tx: ReadTransaction) -> tuple[Person, dict[str, list[Key]]]:
    person = person_of(tx, runtime.configs.of(tx, workspace), request)
    found = tx.personal.concerned(workspace, person)
    if not found:
        raise not_found(person.kind, person.id)
    return person, found


def _pieces(found: dict[str, list[Key]]) -> Iterator[tuple[str, list[Key]]]:
    for table, keys in sorted(found.items()):
        for start in range(0, len(keys), PIECE):
            yield table, keys[start : start + PIECE]


async def redact_person(
    runtime: Runtime, eraser: Eraser, workspace: str, request: pb.RedactPersonalDataRequest
) -> pb.RedactPersonalDataResponse:
    """Remove the names and personal values of a person, and return how many rows held some.

    What is written from now on goes first, so that nothing of it is written to a log behind the removal.

    Raises:
        ApiError: nothing is kept about the person.
    """
    answered = await runtime.read(lambda tx: answered_before(tx, request, workspace, pb.RedactPersonalDataResponse))
    if answered is not None:
        return answered
    person, found = await runtime.read(partial(_found, runtime, workspace, request))
    if request.validate_only:
        return await _counted(runtime, workspace, person, found)
    signature, subject = signature_of_call(), f"{person.kind}:{person.id}"

    def begin(tx: WriteTransaction) -> Erasure:
        withdrawn = dict(_withdraw(tx, runtime.configs.of(tx, workspace), person))
        known = {name: sorted(getattr(person, name)) for name in _SETS}
        state = {"signature": signature, "person": known, "withdrawn": withdrawn, "counts": withdrawn}
        return tx.erasures.begin(Erasure(workspace, subject, request.SerializeToString(), state, runtime.db.replica_id))

    answer: pb.RedactPersonalDataResponse = await eraser.finished(await runtime.write(workspace, begin))
    return answer


async def _counted(runtime: Runtime, workspace: str, person: Person, found: dict[str, list[Key]]) -> pb.RedactPersonalDataResponse:
    counts = Counter[str]()
    for table, piece in _pieces(found):
        counts[table] += await runtime.read(partial(_looked_through, table, piece, person))
    counts[ANSWERS] += await _scrub_answers(runtime, workspace, person)
    return await _answer(runtime, workspace, person, counts)


def _looked_through(table: str, piece: Sequence[Key], person: Person, tx: ReadTransaction) -> int:
    return tx.personal.redact(table, piece, person, 0, store=False)


async def _answer(runtime: Runtime, workspace: str, person: Person, counts: Mapping[str, int]) -> pb.RedactPersonalDataResponse:
    mentions = await runtime.read(lambda tx: tx.personal.mentions(workspace, person))
    return pb.RedactPersonalDataResponse(
        tables=[pb.TableCount(table=name, rows=rows) for name, rows in sorted(counts.items()) if rows],
        mentions=[pb.ConfigMention(kind=config_pb2.ConfigKind.Value(f"CONFIG_KIND_{k.upper()}"), id=name) for k, name in mentions],
    )


async def erase_person(runtime: Runtime, erasure: Erasure) -> pb.RedactPersonalDataResponse:
    """Remove what is left of a person's data, and return how many rows held some."""
    workspace, request = erasure.workspace, pb.RedactPersonalDataRequest.FromString(erasure.request)
    kind, _, name = erasure.subject.partition(":")
    person = Person("seller" if kind == "seller" else "record", name, *(frozenset(erasure.state["person"][part]) for part in _SETS))
    withdrawn = erasure.state["withdrawn"]

    def remove(tx: WriteTransaction, table: str, piece: Sequence[Key]) -> None:
        changed = tx.personal.redact(table, piece, person, tx.now_us)
        tx.erasures.count(workspace, erasure.subject, table, 0 if table in withdrawn else changed)

    for table, piece in _pieces(await runtime.read(lambda tx: tx.personal.concerned(workspace, person))):
        await runtime.write(workspace, partial(remove, table=table, piece=piece))
    await _scrub_answers(runtime, workspace, person, erasure)
    left = await runtime.read(lambda tx: tx.erasures.get(workspace, erasure.subject))
    answer = await _answer(runtime, workspace, person, left.state["counts"] if left is not None else {})

    def finish(tx: WriteTransaction) -> pb.RedactPersonalDataResponse:
        if tx.erasures.end(workspace, erasure.subject) is not None:
            removed: Json = {"redacted": {row.table: row.rows for row in answer.tables}}
            tx.audit.note(workspace, [(person.kind, person.id, None, removed)])
        return answer

    return await runtime.write(workspace, once(request, workspace, pb.RedactPersonalDataResponse, finish))


def _withdraw(tx: WriteTransaction, config: WorkspaceConfig, person: Person) -> Counter[str]:
    """Remove what a present record or seller says of the person, with what follows from that."""
    counts = Counter[str]()
    if person.kind == "record":
        record = tx.records.get(config.workspace, [person.id]).get(person.id)
        kind = config.record_types.get(record.record_type) if record is not None else None
        if record is not None and kind is not None and (gone := kind.personal.intersection(record.fields)):
            empty = record_pb2.Record(
                record_id=person.id, record_type=record.record_type, fields={name: value_pb2.Value() for name in gone}
            )
            upsert_records(tx, config, [record_service_pb2.RecordUpsert(record=empty)], quiet=False, validate_only=False)
            counts["records"] = 1
        return counts
    before = tx.sellers.get(config.workspace, [person.id]).get(person.id)
    if before is not None and tx.personal.blank_seller(config.workspace, person, tx.now_us):
        after = tx.sellers.get(config.workspace, [person.id])[person.id]
        counts["sellers"] = 1
        if after.attributes != before.attributes:
            request_rerun(tx, config, "SELLER_JOINED", {person.id})
        tx.signal(config.workspace, "sellers")
    return counts


async def _scrub_answers(runtime: Runtime, workspace: str, person: Person, erasure: Erasure | None = None) -> int:
    """Return how many answers that are kept for requests that come again hold names, which a removal takes out of them."""
    after, changed = "", 0
    while page := await runtime.read(lambda tx, after=after: tx.requests.page(workspace, after, PIECE)):  # type: ignore[misc]
        after = page[-1].request_id
        fresh = await asyncio.to_thread(lambda page=page: [made for made in (_without(answer, person) for answer in page) if made])  # type: ignore[misc]
        changed += len(fresh)
        if erasure is not None and fresh:
            await runtime.write(workspace, partial(_rewritten, erasure, fresh))
    return changed


def _rewritten(erasure: Erasure, fresh: Sequence[StoredAnswer], tx: WriteTransaction) -> None:
    tx.requests.rewrite(erasure.workspace, fresh)
    tx.erasures.count(erasure.workspace, erasure.subject, ANSWERS, len(fresh))


def _without(stored: StoredAnswer, person: Person) -> StoredAnswer | None:
    """Return an answer without the person's names; None if it holds none, or is of a call that is not known any more."""
    if not any(form.encode() in stored.answer for name in person.names for form in forms_of(name)):
        return None
    kind = _answer_types().get(stored.method)
    if kind is None:
        return None
    message = kind.FromString(stored.answer)
    _each_string(message, person)
    content = message.SerializeToString()
    return (
        StoredAnswer(stored.request_id, stored.method, stored.payload_hash, content, stored.time_us) if content != stored.answer else None
    )


@cache
def _answer_types() -> dict[str, type[Message]]:
    """Return the type of the answer to each kind of request."""
    services = [service for file in _FILES for service in file.DESCRIPTOR.services_by_name.values()]
    methods = [method for service in services for method in service.methods]
    return {method.input_type.full_name: message_factory.GetMessageClass(method.output_type) for method in methods}


def _each_string(message: Message, person: Person) -> None:
    """Put the id in the place of the person's names in every text of a message."""
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
            setattr(message, field.name, person.without_names(value))
        elif field.type == FieldDescriptor.TYPE_STRING:
            value[:] = [person.without_names(text) for text in value]
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            _each_mapped(value, field, person)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for item in value if field.is_repeated else [value]:
                _each_string(item, person)


def _each_mapped(value: Any, field: FieldDescriptor, person: Person) -> None:
    held = field.message_type.fields_by_name["value"]
    for key in value:
        if held.type == FieldDescriptor.TYPE_STRING:
            value[key] = person.without_names(value[key])
        elif held.type == FieldDescriptor.TYPE_MESSAGE:
            _each_string(value[key], person)
