"""The first mistakes of somebody who is new: each is answered by what is wrong and what to do about it, in a line or two."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reallot.clients.cli import application

sys.path.insert(0, str(Path(__file__).parent))
from servers import COMMAND, Server, free_port, server

DOCS = Path(__file__).parents[2] / "docs"
FILES = {
    "indented.yaml": "segments:\n  - segment_id: x\n   record_type: lead\n",
    "misspelt.yaml": "segmnets:\n  - {segment_id: x}\n",
    "unknown_key.yaml": "segments:\n  - {segment_id: x, record_typ: lead}\n",
    "unknown_field.yaml": 'segments:\n  - {segment_id: x, record_type: lead, priority: 4, condition: "record.revenu > 3"}\n',
    "more_columns.csv": "record_id,country,notes\nlead-1,DE,hello\n",
    "no_decimal.csv": "record_id,revenue\nlead-1,lots\n",
    "no_id.csv": "id,revenue\nlead-1,3\n",
}
MISTAKES: list[tuple[str, int, list[str]]] = [
    ("apply -f {folder}/indented.yaml --yes", 2, ["indented.yaml", "line 3, column 4"]),
    ("apply -f {folder}/misspelt.yaml --yes", 2, ["'segmnets' is no kind", "segments"]),
    ("apply -f {folder}/unknown_key.yaml --yes", 2, ["unknown_key.yaml: segments[0]", "record_typ"]),
    ("apply -f {folder}/unknown_field.yaml --yes", 2, ["record.revenu is not declared: did you mean record.revenue? (line 1, column 7)"]),
    ("apply -f {folder}/missing.yaml --yes", 2, ["missing.yaml"]),
    ("import records {folder}/more_columns.csv --type lead", 0, ["1 created", "no such field: notes", "country", "--map COLUMN=FIELD"]),
    ("import records {folder}/no_decimal.csv --type lead", 1, ["line 2: revenue: 'lots' is no decimal"]),
    ("import records {folder}/no_id.csv --type lead", 2, ["no column 'record_id'", "it has id, revenue", "--id"]),
    ("import records {folder}/no_decimal.csv --type laed", 4, ["record_type 'laed' does not exist"]),
    ("records list --workspace nowhere", 0, ["no such records in the workspace nowhere"]),
    ("records get nobody", 4, ["record 'nobody' does not exist"]),
    ("record list", 2, ["No such command 'record'", "'records'"]),
    ("rerun --reason no_sellers", 2, ["'no_sellers' is no status", "no_seller_matched"]),
    ("records list --address 127.0.0.1:{free}", 3, ["no server answers at 127.0.0.1:{free}", "reallot serve", "--address"]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("mistakes")
    for name, text in FILES.items():
        (found / name).write_text(text)
    return found


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Server]:
    with server(f"sqlite:///{folder / 'mistakes.sqlite'}") as process:
        assert call(process.address, "apply", "-f", str(DOCS / "examples" / "sales.yaml"), "--yes")[0] == 0
        yield process


def call(address: str, *words: str) -> tuple[int, str]:
    """Return the exit code of a command and all that it says, in one line."""
    ended = CliRunner().invoke(application(words[0]), words, env={"REALLOT_ADDRESS": address, "COLUMNS": "200"})
    return ended.exit_code, " ".join(ended.output.replace("│", " ").split())


def test_first_mistakes_are_answered_by_what_is_wrong_and_what_to_do(running: Server, folder: Path) -> None:
    places = {"folder": folder, "free": free_port()}
    for command, code, told in MISTAKES:
        found, said = call(running.address, *command.format(**places).split())
        assert (found, [text for text in told if text.format(**places) not in said]) == (code, []), f"{command}\n{said}"
        assert "Traceback" not in said


def test_a_second_server_on_the_same_file_is_told_who_has_it(running: Server, folder: Path) -> None:
    # In a process of its own: a server sets up the log of its process.
    command = [*COMMAND, "serve", "--port", "0", "--database-url", running.url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = " ".join((ended.stdout + ended.stderr).split())
    assert (ended.returncode, f"in use by another server (process {running.process_id})" in said) == (2, True)


def test_whoever_shows_no_token_or_a_wrong_one_is_told_where_it_is_taken_from(folder: Path) -> None:
    made = folder / "principals.toml"
    code, said = call("", "token", "crm", "--grant", "default:viewer", "--file", str(made))
    assert code == 0, said
    token = next(word for word in said.split() if word.startswith("reallot_"))
    config = folder / "secured.toml"
    config.write_text(f'principals_file = "{made}"\n')
    with server(f"sqlite:///{folder / 'secured.sqlite'}", "--config", str(config)) as process:
        for shown, words, expected in (
            ("", "records list", (11, "REALLOT_TOKEN_FILE")),
            ("reallot_wrong", "records list", (11, "not accepted")),
            (token, "records list", (0, "no such records")),
            (token, "records list --workspace other", (11, "in the workspace other; --workspace names another")),
            (token, "rerun", (11, "the caller may not do this here")),
        ):
            environment = {"REALLOT_ADDRESS": process.address, "REALLOT_TOKEN": shown or None}
            ended = CliRunner().invoke(application(words.split()[0]), words.split(), env=environment)
            said = " ".join(ended.output.split())
            assert (ended.exit_code, expected[1] in said) == (expected[0], True), (words, said)
