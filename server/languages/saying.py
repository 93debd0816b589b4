"""Sentences before they are in any language: an id and parameters, written as one text so that they fit wherever a text is kept. Pure.

Parameters may be sentences themselves: a clause, the name of a team. What was kept by earlier versions, or comes from a person, is
plain text.
"""

import json
from collections.abc import Sequence
from functools import reduce
from typing import Any

_MARK = '{"say":'


def say(sentence_id: str, **parameters: str | int) -> str:
    """Return a sentence by its id in the catalogues, with what is filled in. It counts and compares as any other text."""
    told = {"say": sentence_id, **{name: value for name, value in parameters.items() if value != ""}}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def both(left: str, right: str) -> str:
    """Return one and another thing."""
    return say("and", left=left, right=right)


def listed(things: Sequence[str]) -> str:
    """Return things in a row; "" for none."""
    return reduce(both, things) if things else ""


def taken_apart(told: Any) -> tuple[str, dict[str, Any]] | None:
    """Return id and parameters of a sentence, as text or as a document; None for plain text."""
    if isinstance(told, str):
        if not told.startswith(_MARK):
            return None
        try:
            told = json.loads(told)
        except (ValueError, RecursionError):
            return None
    if not isinstance(told, dict) or not isinstance(told.get("say"), str):
        return None
    return told["say"], {name: value for name, value in told.items() if name != "say"}


def document_of(told: str) -> Any:
    """Return a sentence as a document, so that it can stand within another one; plain text stays as it is."""
    apart = taken_apart(told)
    return told if apart is None else {"say": apart[0], **apart[1]}
