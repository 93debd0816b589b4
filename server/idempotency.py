"""Requests that are safe to repeat: the answer is stored in the transaction that carries the request out."""

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from google.protobuf.message import Message

from reallot.server.errors import invalid_field
from reallot.server.validation import id_fault
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.entities import StoredAnswer

Answer = TypeVar("Answer", bound=Message)
Asked = TypeVar("Asked", bound=Message)
KEPT_US = 24 * 3_600 * 1_000_000
"""Answers count for a day; then the keeper removes them."""


def once(
    request: Message, workspace: str, answer_type: type[Answer], carry_out: Callable[[WriteTransaction], Answer]
) -> Callable[[WriteTransaction], Answer]:
    """Return a unit of work that carries a request out, or returns the answer it got before.

    Raises:
        ApiError: the request id cannot be one, or was used with another payload.
    """
    work = once_each([request], workspace, answer_type, lambda tx, requests: [carry_out(tx) for _ in requests])
    return lambda tx: work(tx)[0]


def once_each(
    requests: Sequence[Asked],
    workspace: str,
    answer_type: type[Answer],
    carry_out: Callable[[WriteTransaction, Sequence[Asked]], Sequence[Answer]],
) -> Callable[[WriteTransaction], list[Answer]]:
    """Return a unit of work that carries out requests of different ids, but for those that were carried out before.

    Raises:
        ApiError: a request id cannot be one, or was used with another payload; nothing is carried out.
    """
    ids = [_id_of(request) for request in requests]

    def work(tx: WriteTransaction) -> list[Answer]:
        named = [request_id for request_id in ids if request_id]
        if not named:
            return list(carry_out(tx, requests))
        found = tx.requests.find(workspace, named)
        expired = [i for i, answer in found.items() if answer.time_us < tx.now_us - KEPT_US]
        if expired:
            tx.requests.forget_these(workspace, expired, tx.now_us - KEPT_US)
        stored = {i: answer for i, answer in found.items() if i not in expired}
        answers = {n: _again(requests[n], stored[i], answer_type) for n, i in enumerate(ids) if i in stored}
        fresh = [n for n in range(len(requests)) if n not in answers]
        answers.update(zip(fresh, carry_out(tx, [requests[n] for n in fresh]) if fresh else (), strict=True))
        kept = [_kept(requests[n], ids[n], answers[n], tx.now_us) for n in fresh if ids[n]]
        tx.requests.keep(workspace, kept)
        return [answers[n] for n in range(len(requests))]

    return work


def answered_before(tx: ReadTransaction, request: Message, workspace: str, answer_type: type[Answer]) -> Answer | None:
    """Return the answer that a request got before; None if it has not been carried out yet.

    Raises:
        ApiError: the request id cannot be one, or was used with another payload.
    """
    request_id = _id_of(request)
    stored = tx.requests.find(workspace, [request_id]).get(request_id) if request_id else None
    return _again(request, stored, answer_type) if stored is not None else None


def _id_of(request: Message) -> str:
    request_id: str = request.request_id  # type: ignore[attr-defined]
    if request_id and (fault := id_fault(request_id)) is not None:
        raise invalid_field("request_id", fault, "INVALID_ID")
    return request_id


def _again(request: Message, stored: StoredAnswer, answer_type: type[Answer]) -> Answer:
    if (stored.method, stored.payload_hash) != (request.DESCRIPTOR.full_name, _payload_hash(request)):
        raise invalid_field("request_id", f"{stored.request_id!r} was used for another request", "REQUEST_ID_REUSED")
    return answer_type.FromString(stored.answer)


def _kept(request: Message, request_id: str, answer: Message, now_us: int) -> StoredAnswer:
    return StoredAnswer(request_id, request.DESCRIPTOR.full_name, _payload_hash(request), answer.SerializeToString(), now_us)


def _payload_hash(request: Message) -> str:
    copy = type(request)()
    copy.CopyFrom(request)
    copy.ClearField("request_id")
    return hashlib.sha256(copy.SerializeToString(deterministic=True)).hexdigest()
