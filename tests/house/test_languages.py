"""Every sentence that the server can say is in every language, with the same parameters, and nothing else is."""

import ast
from pathlib import Path

import pytest

from reallot.server.languages import LANGUAGES
from reallot.v1 import event_pb2

SERVER = Path(__file__).parents[2] / "server"
ENGLISH = LANGUAGES.of("en").texts
MORE = {"offer_reminder", "digest", "step_overdue"}
"""Ids of documents that are written without `say`."""
UNTOLD = {"unspecified"}


def calls() -> list[ast.Call]:
    """Return every call of `say` in the server's code."""
    trees = [ast.parse(path.read_text()) for path in SERVER.rglob("*.py")]
    found = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in found if isinstance(call.func, ast.Name) and call.func.id == "say"]


def said() -> dict[str, set[str]]:
    """Return the parameters that are given to each sentence."""
    found: dict[str, set[str]] = {}
    for call in calls():
        (name,) = call.args
        assert isinstance(name, ast.Constant), ast.unparse(call)
        found.setdefault(name.value, set()).update(str(given.arg) for given in call.keywords)
    return found


def test_every_sentence_is_in_the_catalogue_with_its_parameters() -> None:
    given = said()
    assert len(given) > 100
    missing = {name for name in given if name not in ENGLISH or not ENGLISH[name].parameters <= given[name]}
    assert missing == set()
    unread = {name: more for name, parameters in given.items() if (more := parameters - ENGLISH[name].parameters)}
    assert unread == {}


def test_nothing_is_in_the_catalogue_that_nobody_says() -> None:
    kinds = {kind.removeprefix("EVENT_KIND_").lower() for kind in event_pb2.EventKind.DESCRIPTOR.values_by_name} - UNTOLD
    assert set(ENGLISH) == set(said()) | kinds | MORE


@pytest.mark.parametrize("language", LANGUAGES.names)
def test_every_language_has_every_sentence_with_the_same_parameters(language: str) -> None:
    texts = LANGUAGES.of(language).texts
    assert {name: text.parameters for name, text in texts.items()} == {name: text.parameters for name, text in ENGLISH.items()}
    assert all(text.one.strip() and text.other.strip() for text in texts.values())
    assert all(bool(text.by) == bool(ENGLISH[name].by) for name, text in texts.items())
