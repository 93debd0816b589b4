"""Opaque tokens: where a list or a stream goes on. Bound to what they were made for; anything else is refused."""

import base64
import binascii
import hashlib
import json
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from reallot.internal.v1 import tokens_pb2
from reallot.server.errors import ApiError, Violation, invalid_field

_HASH_BYTES = 12


def hash_of(*parts: bytes | str) -> bytes:
    """Return a short hash over parts, in order."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8) + raw)
    return digest.digest()[:_HASH_BYTES]


def filter_hash(request: Message, *but: str) -> bytes:
    """Return the hash of a list request without its page fields and those in `but`."""
    copy = type(request)()
    copy.CopyFrom(request)
    for name in ("page_size", "page_token", *but):
        if name in copy.DESCRIPTOR.fields_by_name:
            copy.ClearField(name)
    return hash_of(type(request).DESCRIPTOR.full_name, copy.SerializeToString(deterministic=True))


def page_token(request: Message, last_key: Any) -> str:
    """Return the token with which a list goes on after `last_key`."""
    token = tokens_pb2.PageToken(v1=tokens_pb2.PageToken.V1(filter_hash=filter_hash(request), last_key=json.dumps(last_key)))
    return _encode(token)


def read_page_token(request: Any) -> Any:
    """Return the key after which a list goes on; None for its beginning.

    Raises:
        ApiError: the token was not made for this list.
    """
    if not request.page_token:
        return None
    token = tokens_pb2.PageToken()
    if not _decode(request.page_token, token) or token.v1.filter_hash != filter_hash(request):
        raise invalid_field("page_token", "the token belongs to another list or filter", "PAGE_TOKEN_MISMATCH")
    return json.loads(token.v1.last_key)


def make_cursor(database_id: str, bound: bytes, number: int) -> str:
    """Return the cursor of a stream that has come to `number`."""
    return _encode(tokens_pb2.Cursor(v1=tokens_pb2.Cursor.V1(database_id=database_id, filter_hash=bound, number=number)))


def read_cursor(text: str, database_id: str, bound: bytes) -> int:
    """Return the number to which a cursor has come.

    Raises:
        ApiError: it belongs to another database or filter.
    """
    cursor = tokens_pb2.Cursor()
    if not _decode(text, cursor):
        raise invalid_field("cursor", "this is no cursor", "CURSOR_MISMATCH")
    if cursor.v1.database_id != database_id:
        # A follower may have outlived a restore: its client must tell that from a fault of the caller, and list again.
        raise ApiError(
            grpc.StatusCode.INVALID_ARGUMENT,
            "CURSOR_MISMATCH",
            "cursor: the cursor belongs to another database: list again and follow from there",
            metadata={"field": "cursor", "database": database_id},
            violations=[Violation("cursor", "the cursor belongs to another database", "CURSOR_MISMATCH")],
        )
    if cursor.v1.filter_hash != bound:
        raise invalid_field("cursor", "the cursor belongs to another stream or filter", "CURSOR_MISMATCH")
    return int(cursor.v1.number)


def expired(number: int, oldest: int) -> ApiError:
    """Return OUT_OF_RANGE for a cursor or page token that has come to `number`, where events from `oldest` on are kept."""
    return ApiError(
        grpc.StatusCode.OUT_OF_RANGE,
        "CURSOR_EXPIRED",
        f"events after {number} are no longer kept, the oldest is {oldest}: list again and follow from there",
        metadata={"after": str(number), "oldest": str(oldest)},
    )


def _encode(message: Message) -> str:
    return base64.urlsafe_b64encode(message.SerializeToString(deterministic=True)).decode().rstrip("=")


def _decode(text: str, into: Message) -> bool:
    try:
        into.ParseFromString(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, DecodeError, ValueError):
        return False
    return bool(into.WhichOneof("version") == "v1")
