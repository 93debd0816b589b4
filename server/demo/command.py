"""`reallot demo`: the whole job on a fresh database, on generated or on real data."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from reallot.clients import Client, ReallotError
from reallot.server.demo import adventureworks, incidents, maven
from reallot.server.demo.company import START, make_company
from reallot.server.demo.process import ServerDidNotStart, server_process
from reallot.server.demo.stage import Stage, StoryFailed
from reallot.server.demo.story import play

FAILED, INVALID = 1, 2
REPLAYS: dict[str, Any] = {"adventureworks": adventureworks, "uci": incidents, "maven": maven}
"""Modules that replay real data, each with START and `replay(stage, folder)`."""
FOLDERS = {"adventureworks": "adventureworks", "uci": "uci_incidents", "maven": "maven_crm"}


def demo(
    data: Annotated[str, typer.Option(help="generated, adventureworks, uci or maven.")] = "generated",
    folder: Annotated[Path | None, typer.Option(envvar="REALLOT_DATA", help="Folder with the real data.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the generated company.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """Start a server of its own and show the whole job through the public API."""
    console = Console(highlight=False, stderr=as_json, width=None if sys.stdout.isatty() else 120)
    if data not in ("generated", *REPLAYS):
        console.print(f"error: --data {data!r} is none of generated, {', '.join(REPLAYS)}", markup=False)
        raise typer.Exit(INVALID)
    if data != "generated" and (folder is None or not folder.is_dir()):
        console.print("error: the real data is not there: name its folder with --folder or REALLOT_DATA", markup=False)
        raise typer.Exit(INVALID)
    found = REPLAYS.get(data)
    try:
        with server_process(found.START if found else START) as address, Client(address) as client:
            stage = Stage(client, console, as_json)
            if found and folder is not None:
                found.replay(stage, folder / FOLDERS[data])
            else:
                play(stage, make_company(seed))
    except (StoryFailed, ServerDidNotStart, ReallotError) as error:
        Console(stderr=True).print(f"error: {error}", markup=False)
        raise typer.Exit(FAILED) from None
