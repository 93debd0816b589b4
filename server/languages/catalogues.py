"""Texts by language. English is complete by definition; every other catalogue is held to its ids and parameters."""

import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from reallot.server.languages.saying import taken_apart

ENGLISH = "en"
_SHIPPED = Path(__file__).parent
DEEPEST = 8
"""Sentences within sentences, at most: what is deeper was not made by this server and stays as it is."""


class CatalogueFault(ValueError):
    """A catalogue is not what it should be; the text names file, id and parameter."""


class Told(NamedTuple):
    """A sentence in one language.

    Attributes:
        sentence_id: Its id; "" = plain text.
        parameters: What was filled in, in that language.
        text: What it says.
    """

    sentence_id: str
    parameters: Mapping[str, str]
    text: str


@dataclass(frozen=True)
class Text:
    """One text of a catalogue: `one` is for a number of 1 in the parameter `by`; without such a parameter both are the same."""

    one: str
    other: str
    by: str = ""

    @property
    def parameters(self) -> frozenset[str]:
        """Names of what is filled in, and of the number that chooses the form."""
        named = {name for form in (self.one, self.other) for _, name, _, _ in string.Formatter().parse(form) if name is not None}
        return frozenset(named | ({self.by} if self.by else set()))


class _Given(dict[str, str]):
    """Parameters of a sentence: what is empty is not kept."""

    def __missing__(self, name: str) -> str:
        return ""


class Catalogue:
    """The texts of one language. Immutable; may be used by many threads."""

    def __init__(self, language: str, texts: Mapping[str, Text]) -> None:
        self.language = language
        self.texts = texts
        self._of_text = lru_cache(maxsize=4_096)(self._spoken)

    def told(self, said: Any) -> Told:
        """Return a sentence, as `say` writes it or as a document, in this language. Plain text stays as it is."""
        return self._of_text(said) if isinstance(said, str) else self._spoken(said)

    def text(self, said: Any) -> str:
        """Return what a sentence says."""
        return self.told(said).text

    def _spoken(self, said: Any, depth: int = 0) -> Told:
        apart = taken_apart(said)
        if apart is None or apart[0] not in self.texts or depth > DEEPEST:
            return Told("", {}, said if isinstance(said, str) else str(said))
        parameters = _Given({name: self._spoken(value, depth + 1).text for name, value in apart[1].items()})
        chosen = self.texts[apart[0]]
        form = chosen.one if parameters[chosen.by] == "1" else chosen.other
        return Told(apart[0], parameters, form.format_map(parameters))


class Languages:
    """The catalogues of a process: those that ship, and those of an operator. To be complete before anything is told."""

    def __init__(self) -> None:
        english = read_catalogue(_SHIPPED / f"{ENGLISH}.toml")
        self._known = {ENGLISH: english}
        for path in sorted(_SHIPPED.glob("*.toml")):
            self.add(path)

    @property
    def names(self) -> tuple[str, ...]:
        """The languages, by their tags."""
        return tuple(sorted(self._known))

    def of(self, language: str) -> Catalogue:
        """Return a catalogue; English where there is no such language."""
        return self._known.get(language, self._known[ENGLISH])

    def add(self, path: Path) -> None:
        """Add a catalogue, or put it in the place of one.

        Raises:
            CatalogueFault: it lacks a text, has one too many, or one with other parameters than the English one.
        """
        found = read_catalogue(path)
        english = self._known[ENGLISH].texts
        for name in sorted(english.keys() ^ found.texts.keys()):
            raise CatalogueFault(f"{path}: {'there is no text' if name in english else 'no sentence has the id'} {name!r}")
        for name, text in found.texts.items():
            for parameter in sorted(english[name].parameters ^ text.parameters):
                what = "is not used" if parameter in english[name].parameters else "does not exist"
                raise CatalogueFault(f"{path}: {name}: the parameter {parameter!r} {what}")
        self._known[found.language] = found

    def add_folder(self, folder: str) -> None:
        """Add every catalogue (LANGUAGE.toml) of a folder; "" = none.

        Raises:
            CatalogueFault: there is no such folder, or a catalogue is not right.
        """
        if folder and not Path(folder).is_dir():
            raise CatalogueFault(f"{folder}: there is no such folder of languages")
        for path in sorted(Path(folder).glob("*.toml")) if folder else ():
            self.add(path)


def read_catalogue(path: Path) -> Catalogue:
    """Return the catalogue in a file, whose name is the language's tag.

    Raises:
        CatalogueFault: it cannot be read, or a text is none.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
        return Catalogue(path.stem.lower(), {name: _text(entry) for name, entry in entries.items()})
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise CatalogueFault(f"{path}: {error}") from error


def _text(entry: Any) -> Text:
    if isinstance(entry, str):
        made = Text(entry, entry)
    elif isinstance(entry, dict) and entry.keys() == {"by", "one", "other"} and all(isinstance(form, str) for form in entry.values()):
        made = Text(entry["one"], entry["other"], entry["by"])
    else:
        raise ValueError(f"{entry!r} is neither a text nor one of the forms by, one and other")
    if not all(name.isidentifier() for name in made.parameters):
        raise ValueError(f"a parameter of {entry!r} is no name")
    return made


LANGUAGES = Languages()
"""The catalogues of this process. Those of an operator are added when it starts."""
