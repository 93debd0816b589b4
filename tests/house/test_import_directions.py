"""The house has one direction: clients → contract ← server → solver, storage."""

import ast
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FORBIDDEN = {
    "solver": ("reallot.server", "reallot.storage", "reallot.clients", "reallot.v1", "reallot.internal", "grpc", "sqlalchemy"),
    "storage": (
        "reallot.server",
        "reallot.solver",
        "reallot.clients",
        "reallot.v1",
        "reallot.internal",
        "grpc",
        "ortools",
        "google",
    ),
    "clients": ("reallot.server", "reallot.solver", "reallot.storage", "reallot.internal", "ortools", "sqlalchemy", "polars"),
    "server": ("reallot.clients",),
}
# The demonstration is a program of its own that drives a server process from outside, as any caller would.
# Whoever loads records as columns has polars write them; nothing else of the client needs it.
ALLOWED = {("server/demo", "reallot.clients"), ("clients/arrow.py", "polars")}


def imported_names(path: pathlib.Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield node.module or ""


def breaches(package: str) -> list[str]:
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        for name in imported_names(path):
            for prefix in FORBIDDEN[package]:
                allowed = any(place.startswith(folder) and prefix == target for folder, target in ALLOWED)
                if (name == prefix or name.startswith(prefix + ".")) and not allowed:
                    found.append(f"{place} imports {name}")
    return found


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_no_import_goes_back(package: str) -> None:
    assert breaches(package) == []


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_no_module_is_imported_by_its_folder_name(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in imported_names(path)
        if name.split(".")[0] in FORBIDDEN
    ]
    assert wrong == []
