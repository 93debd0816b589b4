"""JSON documents as texts and back."""

import json
from collections.abc import Callable, Iterable
from json import encoder
from typing import Any

from reallot.storage.entities import Json, Owner, OwnerKind

# One encoder for all: a call of json.dumps with options of its own would make one each time.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _encoder() -> Callable[[Json, int], Iterable[str]]:
    """Return what encodes documents. `JSONEncoder.encode` makes its compiled encoder anew for every document, for more than it is used."""
    make: Any = getattr(encoder, "c_make_encoder", None)
    if make is None:
        return lambda document, _level: _ENCODER.iterencode(document)
    quote: Any = encoder.encode_basestring
    return make(None, _ENCODER.default, quote, None, _ENCODER.key_separator, _ENCODER.item_separator, True, False, False)  # type: ignore[no-any-return]


_encode = _encoder()


class JsonText(str):
    """A document that is a text already."""

    __slots__ = ()


def dump(document: Json) -> str:
    """Return the text of a document; equal documents give equal texts.

    Raises:
        ValueError: a number in it is not finite, which JSON cannot say.
    """
    return str(document) if isinstance(document, JsonText) else "".join(_encode(document, 0))


load = json.loads


def owner_of(kind: str, owner_id: str) -> Owner | None:
    """Return the owner of a row's two columns; "" means nobody."""
    return Owner(OwnerKind(kind), owner_id) if kind else None


def owner_pair(owner: Owner | None) -> tuple[str, str]:
    """Return an owner as the two values of its columns."""
    return (owner.kind.value, owner.id) if owner else ("", "")
