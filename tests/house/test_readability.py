"""The limits that keep the house readable."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = ("clients", "server", "solver", "storage")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "versions" not in path.parts)
LONGEST_FILE = 700
LONGEST_FUNCTION = 60
BANNED_NAMES = {"utils.py", "util.py", "helpers.py", "manager.py", "common.py", "misc.py"}


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_module_stays_readable(path: pathlib.Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module says what it is for"
    assert text.count("\n") <= LONGEST_FILE
    assert path.name not in BANNED_NAMES
    assert not re.search(r"#\s*(TODO|FIXME|XXX|HACK)\b", text)
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    too_long = [f"{f.name}: {code_lines(f)} lines" for f in functions if code_lines(f) > LONGEST_FUNCTION]
    assert too_long == []


def test_most_functions_and_files_are_short() -> None:
    functions = [
        code_lines(node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    files = [path.read_text().count("\n") for path in SOURCES]
    assert sorted(functions)[int(0.9 * len(functions))] <= 36
    assert sorted(files)[int(0.9 * len(files))] <= 450
