"""What `make wheel` has built does its work in an empty environment; needs a package index for what it depends on."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(600)]
DIST = Path(__file__).parents[2] / "dist"
SERVERS_OWN = {"ortools", "numpy", "polars", "sqlalchemy", "alembic", "psycopg", "highspy", "numba", "reallot"}


def built(name: str) -> Path:
    """Return the one wheel of a distribution."""
    (wheel,) = DIST.glob(f"{name}-[0-9]*.whl")
    return wheel


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command away from the sources."""
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with nothing but the client."""
    home = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(home)
    told = run(sys.executable, "-m", "pip", "--python", home / "bin" / "python", "install", "--quiet", built("reallot_client"))
    assert told.returncode == 0, told.stderr
    return home / "bin"


def test_the_client_alone_brings_nothing_of_the_server(bare: Path) -> None:
    listed = run(sys.executable, "-m", "pip", "--python", bare / "python", "list", "--format", "freeze").stdout
    names = {line.partition("==")[0].lower() for line in listed.splitlines()}
    assert "reallot-client" in names
    assert not names & SERVERS_OWN
    told = run(bare / "python", "-c", "import reallot.clients; from reallot.clients import *; import reallot.server")
    assert told.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'reallot.server'"
    every = "import importlib, pkgutil, reallot.clients as c; "
    every += (
        "[importlib.import_module(m.name) for m in pkgutil.walk_packages(c.__path__, 'reallot.clients.') if not m.name.endswith('.arrow')]"
    )
    told = run(bare / "python", "-c", every)
    assert told.returncode == 0, told.stderr


def test_its_command_line_says_what_needs_the_server(bare: Path) -> None:
    overview = run(bare / "reallot", "--help")
    assert overview.returncode == 0, overview.stderr
    shown = " ".join(overview.stdout.replace("│", " ").split())
    assert "import Load records or sellers from a CSV file." in shown
    assert "serve Run the server. Needs the server, which is not installed here." in shown
    refused = run(bare / "reallot", "serve", "--port", "0")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "reallot serve: This is part of the server, which is not installed here: pip install reallot\n"
    unreachable = run(bare / "reallot", "runs", "list", "--address", "127.0.0.1:1")
    assert unreachable.returncode not in (0, 2)
    assert "Traceback" not in unreachable.stderr


def test_loading_says_what_it_lacks(bare: Path) -> None:
    code = "from reallot.clients import Client\nwith Client('127.0.0.1:1') as client: client.records.load([])"
    told = run(bare / "python", "-c", code)
    assert told.stderr.splitlines()[-1] == ("ModuleNotFoundError: load sends columns, and needs polars: pip install 'reallot-client[load]'")


def test_the_whole_wheel_has_the_sources_and_what_goes_with_them() -> None:
    code = "import sys, zipfile; print(*zipfile.ZipFile(sys.argv[1]).namelist(), sep='\\n')"
    whole = set(run(sys.executable, "-c", code, built("reallot")).stdout.splitlines())
    client = {name for name in run(sys.executable, "-c", code, built("reallot_client")).stdout.splitlines() if "dist-info" not in name}
    assert client < whole
    assert {"reallot/clients/py.typed", "reallot/v1/py.typed"} <= client
    assert {"reallot/server/app.py", "reallot/storage/migrations/env.py"} <= whole
