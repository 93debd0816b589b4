"""`reallot backup` and `reallot restore`: copies of a SQLite database."""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from reallot.server.commands.serve import refuse, settings_of
from reallot.storage.backup import Facts, OnProgress, back_up
from reallot.storage.backup import restore as restore_database
from reallot.storage.errors import StorageError
from reallot.storage.schema import head

DatabaseUrl = Annotated[str | None, typer.Option(envvar="DATABASE_URL", help="Database, e.g. sqlite:///reallot.sqlite.")]
Config = Annotated[Path | None, typer.Option(help="TOML file with settings.", exists=True)]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]


def backup(
    file: Annotated[Path, typer.Argument(help="The new file.")],
    database_url: DatabaseUrl = None,
    config: Config = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy the database to a file and check the copy; servers go on meanwhile."""
    url = settings_of(config, database_url=database_url).database_url
    _carry_out("backed up", file, as_json, lambda told: back_up(url, file, force=force, on_progress=told))


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `reallot backup` has made.", exists=True, dir_okay=False)],
    database_url: DatabaseUrl = None,
    config: Config = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the database that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the place of the database; no server may have it."""
    url = settings_of(config, database_url=database_url).database_url
    _carry_out("restored", file, as_json, lambda told: restore_database(url, file, force=force, on_progress=told))


def _carry_out(done: str, file: Path, as_json: bool, work: Callable[[OnProgress], Facts]) -> None:
    started = time.monotonic()
    try:
        with _bar(as_json) as told:
            facts = work(told)
    except (StorageError, OSError, ValueError) as error:
        refuse(str(error))
    seconds = round(time.monotonic() - started, 2)
    if as_json:
        sys.stdout.write(json.dumps({"file": str(file), "seconds": seconds, **dataclasses.asdict(facts)}) + "\n")
        return
    amount = f"{facts.bytes:,} bytes, {facts.records:,} records, {facts.sellers:,} sellers in {facts.workspaces:,} workspaces"
    typer.echo(f"{done}: {file} ({amount}, schema {facts.schema}) in {seconds} s")
    if done == "restored" and facts.schema != head():
        typer.echo(f"the schema {facts.schema} is older than that of this program, {head()}: run `reallot migrate`")


@contextmanager
def _bar(as_json: bool) -> Iterator[OnProgress]:
    """Show on a terminal how far it has come."""
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=as_json or not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("copying", total=None)

        def told(pages: int, total: int) -> None:
            progress.update(bar, completed=pages, total=total, description="copying" if pages < total else "checking")

        yield told
