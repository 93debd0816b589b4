"""`reallot demo`: the whole job on a fresh database, on generated or on real data."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from reallot.clients import Client, ReallotError
from reallot.server.demo import adventureworks, incidents
from reallot.server.demo.company import START, make_company
from reallot.server.demo.process import ServerDidNotStart, server_process
from reallot.server.demo.stage import Stage
from reallot.server.demo.story import StoryFailed, play

FAILED, INVALID = 1, 2


def demo(
    data: Annotated[str, typer.Option(help="generated, adventureworks or uci.")] = "generated",
    folder: Annotated[Path | None, typer.Option(envvar="REALLOT_DATA", help="Folder with the real data.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the generated company.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """Start a server of its own and show the whole job through the public API."""
    console = Console(highlight=False, stderr=as_json, width=None if sys.stdout.isatty() else 120)
    if data not in ("generated", "adventureworks", "uci"):
        console.print(f"error: --data {data!r} is neither generated, adventureworks nor uci", markup=False)
        raise typer.Exit(INVALID)
    if data != "generated" and (folder is None or not folder.is_dir()):
        console.print("error: the real data is not there: name its folder with --folder or REALLOT_DATA", markup=False)
        raise typer.Exit(INVALID)
    start = {"adventureworks": adventureworks.START, "uci": incidents.START}.get(data, START)
    try:
        with server_process(start) as address, Client(address) as client:
            stage = Stage(client, console, as_json)
            if data == "adventureworks" and folder is not None:
                adventureworks.replay(stage, folder / "adventureworks")
            elif data == "uci" and folder is not None:
                incidents.replay(stage, folder / "uci_incidents")
            else:
                play(stage, make_company(seed))
    except (StoryFailed, ServerDidNotStart, ReallotError) as error:
        Console(stderr=True).print(f"error: {error}", markup=False)
        raise typer.Exit(FAILED) from None
