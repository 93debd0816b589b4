"""Requests that are safe to repeat: the answer is stored in the transaction that carries the request out."""

import hashlib
from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message

from reallot.server.errors import invalid_field
from reallot.server.validation import id_fault
from reallot.storage import WriteTransaction
from reallot.storage.entities import StoredAnswer

Answer = TypeVar("Answer", bound=Message)
KEPT_US = 24 * 3_600 * 1_000_000
"""Answers are kept for a day."""


def once(
    request: Message, workspace: str, answer_type: type[Answer], carry_out: Callable[[WriteTransaction], Answer]
) -> Callable[[WriteTransaction], Answer]:
    """Return a unit of work that carries a request out, or returns the answer it got before.

    Raises:
        ApiError: the request id cannot be one, or was used with another payload.
    """
    request_id: str = request.request_id  # type: ignore[attr-defined]
    if not request_id:
        return carry_out
    if (fault := id_fault(request_id)) is not None:
        raise invalid_field("request_id", fault, "INVALID_ID")
    method, payload_hash = request.DESCRIPTOR.full_name, _payload_hash(request)

    def work(tx: WriteTransaction) -> Answer:
        tx.requests.purge(tx.now_us - KEPT_US)
        stored = tx.requests.find(workspace, request_id)
        if stored is not None:
            if (stored.method, stored.payload_hash) != (method, payload_hash):
                raise invalid_field("request_id", f"{request_id!r} was used for another request", "REQUEST_ID_REUSED")
            return answer_type.FromString(stored.answer)
        answer = carry_out(tx)
        kept = StoredAnswer(request_id, method, payload_hash, answer.SerializeToString(), tx.now_us)
        tx.requests.keep(workspace, kept)
        return answer

    return work


def _payload_hash(request: Message) -> str:
    copy = type(request)()
    copy.CopyFrom(request)
    copy.ClearField("request_id")
    return hashlib.sha256(copy.SerializeToString(deterministic=True)).hexdigest()
