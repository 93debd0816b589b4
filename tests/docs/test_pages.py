"""What the documents tell people to type and write does what they say: every command and block is run, or read where it is a part."""

import ast
import csv
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
_BLOCK = re.compile(r"(?:^Save as `(?P<name>[^`]+)`:\n\n)?^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_SAVED = re.compile(r"Save as `(?P<name>[^`]+)`:\n\n\Z")
SERVERS = ("reallot serve", "python ")
TYPED = {"README.md", "first-hour.md", "integrate.md", "segments-and-rules.md", "schedules.md", "explanations.md"}
UNTYPED: dict[str, str] = {}
"""Pages whose commands no test types, and why."""
DONE_ALREADY = ("pip install",)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `name` of the file it is to be saved as, "" = none."""

    kind: str
    text: str
    name: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        saved = _SAVED.search(text[: match.start()])
        name = match["name"] or (saved["name"] if saved else "")
        found.append(Block(match["kind"].strip(), match["text"], name))
    return found


class Reader:
    """Somebody who does what a page says, in a folder of their own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        shutil.copytree(DOCS / "examples", folder / "docs" / "examples")
        shutil.copy(DOCS / "examples" / "back_end.py", folder)
        port = str(_free_port())
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = os.environ | {"PATH": path, "REALLOT_PORT": port, "REALLOT_ADDRESS": f"127.0.0.1:{port}", "COLUMNS": "200"}
        self.port = port

    def read(self, page: Path) -> list["subprocess.Popen[str]"]:
        """Do what a page says; return the programs that go on."""
        going_on = []
        for block in blocks(page):
            if block.name:
                (self._folder / block.name).write_text(block.text)
            elif block.kind == "console":
                commands = [line.removeprefix("$ ") for line in block.text.splitlines() if line.startswith("$ ")]
                going_on += [started for command in commands if (started := self._type(command)) is not None]
            elif block.kind == "python":
                self._run(block.text)
        return going_on

    def _type(self, command: str) -> "subprocess.Popen[str] | None":
        if command.startswith(DONE_ALREADY):
            return None
        if command.startswith(SERVERS):
            return self._start(command.split())
        self.say(command)
        return None

    def say(self, command: str) -> str:
        """Type a command that ends well, and return what it says."""
        ended = subprocess.run(
            ["bash", "-c", command], cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=100, check=False
        )
        assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def _run(self, text: str) -> None:
        program = text.replace("localhost:7350", f"127.0.0.1:{self.port}")
        process = self._start([sys.executable, "-u", "-c", program], may_end=True)
        process.kill()

    def _start(self, command: list[str], *, may_end: bool = False) -> "subprocess.Popen[str]":
        process = subprocess.Popen(command, cwd=self._folder, env=self._environment, stdout=subprocess.PIPE, text=True)
        self._stack.callback(_end, process)
        line = process.stdout.readline() if process.stdout else ""
        # The first line says that it is at work; a program without one must have ended well.
        assert line or (may_end and process.wait(60) == 0), f"{command} said nothing"
        return process


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    process.wait(30)
    if process.stdout:
        process.stdout.close()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def reader() -> Iterator[Reader]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        yield Reader(Path(folder), stack)


def test_the_readme_does_what_it_says(reader: Reader) -> None:
    reader.read(ROOT / "README.md")
    assert '"owner"' in reader.say("reallot records get lead-1 --json"), "its five commands have found a lead of one's own CSV its seller"


def test_the_first_hour_a_back_end_and_the_how_tos_do_what_they_say(reader: Reader) -> None:
    reader.read(DOCS / "first-hour.md")
    (back_end,) = reader.read(DOCS / "integrate.md")
    assert back_end.stdout is not None
    said = [back_end.stdout.readline().strip()]
    while said[-1] and "lead-9 is ana's" not in said:
        said.append(back_end.stdout.readline().strip())
    assert "lead-9 is ana's" in said
    for page in ("segments-and-rules.md", "schedules.md", "explanations.md"):
        reader.read(DOCS / page)


def test_every_command_of_a_page_is_typed_by_a_test_or_needs_what_is_not_here() -> None:
    """A page with commands that no test types would go out of date unseen."""
    with_commands = {page.name for page in PAGES if any(block.kind == "console" for block in blocks(page))}
    assert with_commands == TYPED | UNTYPED.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_can_be_read_by_what_it_is_for(page: Path) -> None:
    for block in blocks(page):
        text = block.text
        match block.kind:
            case "console":
                assert all(line.startswith(("$ ", "  ")) or not line for line in text.splitlines()), text
            case "python":
                ast.parse("async def page():\n" + textwrap.indent(text, "    "))
            case "yaml":
                assert list(yaml.safe_load_all(text))
            case "toml":
                tomllib.loads(text)
            case "csv":
                assert len({len(row) for row in csv.reader(io.StringIO(text))}) == 1
            case kind if kind.startswith('python file="'):
                assert (DOCS / kind.split('"')[1]).is_file()
            case kind:
                assert kind in {"", "sh", "ini", "sql", "text", "mermaid", "promql", "dockerfile", "json"}, kind
