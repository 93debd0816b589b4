"""Sentences by id and parameters, and who hears them in which language."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reallot.server.languages import LANGUAGES, CatalogueFault, Languages, listed, say, wanted_language
from reallot.server.settings import Settings

SHIPPED = Path(__file__).parents[2] / "server" / "languages"
ENGLISH, GERMAN = LANGUAGES.of("en"), LANGUAGES.of("de")


def test_a_sentence_says_the_same_in_every_language() -> None:
    told = say("goes_together", others=1, why=say("no_capacity", sellers=2))
    assert ENGLISH.text(told) == "it goes together with another record: all 2 fitting sellers have no free capacity"
    assert GERMAN.text(told) == ("er geht zusammen mit einem anderen Datensatz: alle 2 passenden Verkäufer haben keine freie Kapazität")
    found = ENGLISH.told(told)
    assert (found.sentence_id, dict(found.parameters)) == (
        "goes_together",
        {"others": "1", "why": "all 2 fitting sellers have no free capacity"},
    )
    assert ENGLISH.text(say("because_fields", fields=listed(["a", "b", "c"]))) == " because a and b and c changed"


@given(st.text() | st.text().map(lambda more: '{"say":' + more) | st.recursive(st.text(), lambda t: t.map(lambda x: say("and", left=x))))
def test_a_person_s_own_words_stay_as_they_are_and_nothing_fails(text: str) -> None:
    assert ENGLISH.text(text) == text or text.startswith('{"say":')
    assert ENGLISH.text(say("with_reason", what="x", reason=text)).startswith("x: ")


def test_what_no_server_says_is_shown_as_it_is() -> None:
    for text in ('{"say":"no such sentence"}', '{"say":7}', '{"say":', "{record} {0} {}", '{"say":"and","left":{"say":[]}}'):
        assert isinstance(ENGLISH.text(text), str)
    assert ENGLISH.text('{"say":"no such sentence"}') == '{"say":"no such sentence"}'
    deep = "end"
    for _ in range(12):
        deep = say("run_undone", run=deep)
    assert ENGLISH.text(deep).startswith("run run run")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de", "de"),
        ("DE-at", "de"),
        ("fr, de;q=0.5, en;q=0.4", "de"),
        ("en;q=0.4,de;q=0.5", "de"),
        ("en,de", "en"),
        ("de;q=0, en;q=0.1", "en"),
        ("de;q=0", ""),
        ("fr", ""),
        ("*", ""),
        ("", ""),
        (";;,,=;q=,de;q=x,de;q=2,de;q=nan", ""),
        ("de," * 500, ""),
    ],
)
def test_the_call_chooses_among_known_languages(header: str, language: str) -> None:
    assert wanted_language([("user-agent", "x"), ("accept-language", header)]) == language


def test_without_a_word_nothing_is_chosen() -> None:
    assert wanted_language(None) == wanted_language([("accept-language", b"de")]) == ""


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('nobody = "nobody"\n', "", "there is no text 'nobody'"),
        ('nobody = "nobody"\n', 'nobody = "nobody"\nnowhere = "x"\n', "no sentence has the id 'nowhere'"),
        ('team = "team {name}"', 'team = "team"', "team: the parameter 'name' is not used"),
        ('team = "team {name}"', 'team = "{name} {which}"', "team: the parameter 'which' does not exist"),
        ('team = "team {name}"', 'team = "{name.__class__}"', "is no name"),
        ('team = "team {name}"', 'team = "{name} {0}"', "is no name"),
        ('team = "team {name}"', 'team = "{name"', "expected '}'"),
        ('team = "team {name}"', "team = 7", "7 is neither a text nor"),
        ('team = "team {name}"', 'team = { one = "{name}", other = "{name}" }', "neither a text nor"),
        ('nobody = "nobody"\n', "nobody = \n", "Invalid value"),
    ],
)
def test_a_catalogue_that_is_not_right_is_refused_with_its_fault(tmp_path: Path, old: str, new: str, fault: str) -> None:
    text = (SHIPPED / "en.toml").read_text()
    assert text.count(old) == 1
    (tmp_path / "xx.toml").write_text(text.replace(old, new))
    with pytest.raises(CatalogueFault) as caught:
        Languages().add_folder(str(tmp_path))
    assert f"{tmp_path}/xx.toml: " in str(caught.value)
    assert fault in str(caught.value)
    with pytest.raises(ValidationError, match="languages_folder"):
        Settings(languages_folder=str(tmp_path))


def test_a_language_can_be_added_and_one_that_ships_replaced(tmp_path: Path) -> None:
    text = (SHIPPED / "en.toml").read_text()
    (tmp_path / "nl.toml").write_text(text.replace('nobody = "nobody"', 'nobody = "niemand"'))
    (tmp_path / "de.toml").write_text(text.replace('nobody = "nobody"', 'nobody = "keiner"'))
    languages = Languages()
    languages.add_folder(str(tmp_path))
    assert languages.names == ("de", "en", "nl")
    assert [languages.of(name).text(say("nobody")) for name in ("de", "en", "nl", "xx")] == ["keiner", "nobody", "niemand", "nobody"]
    with pytest.raises(CatalogueFault, match="there is no such folder"):
        languages.add_folder(str(tmp_path / "none"))
