"""JSON documents as texts and back."""

import json

from reallot.storage.entities import Json, Owner, OwnerKind

# One encoder for all: a call of json.dumps with options of its own would make one each time.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class JsonText(str):
    """A document that is a text already."""

    __slots__ = ()


def dump(document: Json) -> str:
    """Return the text of a document; equal documents give equal texts.

    Raises:
        ValueError: a number in it is not finite, which JSON cannot say.
    """
    return document if isinstance(document, JsonText) else _ENCODER.encode(document)


load = json.loads


def owner_of(kind: str, owner_id: str) -> Owner | None:
    """Return the owner of a row's two columns; "" means nobody."""
    return Owner(OwnerKind(kind), owner_id) if kind else None


def owner_pair(owner: Owner | None) -> tuple[str, str]:
    """Return an owner as the two values of its columns."""
    return (owner.kind.value, owner.id) if owner else ("", "")
