"""What is told to people: sentences are kept by id and parameters, and become text in the language of whoever asks."""

from reallot.server.languages.catalogues import LANGUAGES, Catalogue, CatalogueFault, Languages
from reallot.server.languages.choosing import LANGUAGE, hearing, speech_of, wanted_language
from reallot.server.languages.saying import both, listed, say, taken_apart

__all__ = [
    "LANGUAGE",
    "LANGUAGES",
    "Catalogue",
    "CatalogueFault",
    "Languages",
    "both",
    "hearing",
    "listed",
    "say",
    "speech_of",
    "taken_apart",
    "wanted_language",
]
