"""Which language somebody hears: what the call asks for, else the workspace's, else English."""

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from reallot.server.languages.catalogues import ENGLISH, LANGUAGES, Catalogue

if TYPE_CHECKING:  # Configurations are told about, too.
    from reallot.server.workspace_config import WorkspaceConfig

T = TypeVar("T")
Reader = TypeVar("Reader")
HEADER = "accept-language"
LONGEST_HEADER = 1_000
LANGUAGE: ContextVar[str] = ContextVar("language", default="")
"""The language that the present call asks for; "" = none that is known."""


def wanted_language(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    """Return the known language that a call likes best, by `accept-language` (RFC 9110, 12.5.4); "" for none.

    A tag stands for the language that it begins with, if it is not known itself: de-AT for de. What makes no sense is passed over.
    """
    header = next((value for name, value in metadata or () if name == HEADER and isinstance(value, str)), "")
    found: list[tuple[float, str]] = []
    for part in header.split(",") if len(header) <= LONGEST_HEADER else ():
        tag, _, weight = part.partition(";")
        name = tag.strip().lower()
        known = next((candidate for candidate in (name, name.partition("-")[0]) if candidate in LANGUAGES.names), "")
        if known and (quality := _quality(weight)) > 0:
            found.append((quality, known))
    return max(found, key=lambda pair: pair[0])[1] if found else ""


def _quality(weight: str) -> float:
    name, _, value = weight.partition("=")
    if not weight.strip():
        return 1.0
    try:
        quality = float(value) if name.strip() == "q" else 0.0
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0


def speech_of(config: "WorkspaceConfig", language: str | None = None) -> Catalogue:
    """Return the catalogue for a language, that of the present call unless said otherwise; "" = the workspace's, else English."""
    wanted = LANGUAGE.get() if language is None else language
    return LANGUAGES.of(wanted or config.settings.language or ENGLISH)


def hearing(function: Callable[[Reader], T]) -> Callable[[Reader], T]:
    """Return a function that tells what it tells in the language of the present call, whichever thread carries it out."""
    language = LANGUAGE.get()
    if not language:
        return function

    def told(reader: Reader) -> T:
        before = LANGUAGE.set(language)
        try:
            return function(reader)
        finally:
            LANGUAGE.reset(before)

    return told
