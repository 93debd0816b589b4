"""What is stored of sentences, as people read it."""

from typing import Any

from reallot.server.languages import LANGUAGES


def english(said: Any) -> str:
    """Return a reason, or the sentence of an event or digest, in English."""
    if isinstance(said, dict) and "sentence_id" in said:
        said = {"say": said["sentence_id"], **said["parameters"]}
    return LANGUAGES.of("en").text(said)
