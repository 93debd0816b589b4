"""The `reallot` command: finds its sub-commands through the entry-point group `reallot.commands`, and starts fast.

Only the sub-command that is called is imported, so that `reallot --help` needs neither solver nor database.
"""

import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import typer

GROUP = "reallot.commands"
HELP = "Reallot decides which seller works which CRM record, and decides again when things change."
SUMMARIES = {
    "apply": "Show what a configuration file changes, and store it.",
    "audit": "Who changed what, from where, before and after.",
    "backup": "Copy a SQLite database to a file, while servers go on.",
    "changes": "Show the history of the configuration, with old and new text.",
    "check-config": "Show the settings that a server would run with.",
    "clock": "Move the clock of a server that runs with a manual one.",
    "demo": "Show the whole job on a fresh database.",
    "diff": "Show as a unified difference what a configuration file would change.",
    "explain": "Explain where a record stands.",
    "export": "Print the configuration as YAML.",
    "import": "Load records or sellers from a CSV file.",
    "migrate": "Bring the database to the schema of this version.",
    "personal": "What is kept about a person: export it, redact it.",
    "offers": "Look at offers to sellers, and answer them.",
    "records": "Look at records, give them to sellers, release them.",
    "report": "How long records wait and why, and how full sellers are.",
    "rerun": "Try unassigned records again.",
    "resegment": "Look again to which segment records belong, with a preview of every move.",
    "restore": "Put a backup in the place of a SQLite database.",
    "runs": "Look at runs, apply or drop previewed ones, undo them.",
    "schedules": "Look at schedules and when they fire, pause them, carry one out now.",
    "segments": "Look at segments, try, copy and delete them, take them out of use.",
    "sellers": "Look at sellers.",
    "sequences": "Look at sequences and how far records have come in them.",
    "serve": "Run the server.",
    "solve": "Solve a problem of your own from a file, without a server.",
    "token": "Make a bearer token, and the entry that lets it in.",  # nosec B105 # a summary of a command
    "status": "Show how the server and the workspace stand.",
    "steps": "Look at what is to be done, complete, skip or snooze it.",
    "subscribe": "Follow one seller's notifications.",
    "compare": "Compare what two policies make of the same records.",
    "whatif": "Show what a run would do under changes.",
    "rebalance": "Spread anew what sellers own, with few changes.",
    "workspaces": "Make, list, rename, export and delete workspaces.",
    "worth": "Say what one more slot of each seller would be worth.",
    "watch": "Follow the workspace's events.",
}
"""What the overview says of commands that are not loaded for it."""
OF_SERVER = ("backup", "check-config", "demo", "migrate", "restore", "serve", "solve", "token")
"""Commands that come with the server, which need not be installed beside the client."""
NEEDS_SERVER = "This is part of the server, which is not installed here: pip install reallot"


def application(called: str) -> typer.Typer:
    """Return the command line with all sub-commands, of which only `called` is loaded."""
    made = typer.Typer(help=HELP, add_completion=False, no_args_is_help=True)
    made.callback()(_nothing)
    installed = {point.name: point for point in entry_points(group=GROUP)}
    for name in sorted({*installed, *OF_SERVER}):
        if name not in installed:
            made.command(name, context_settings=_ANY_ARGUMENTS)(_missing(name))
            continue
        loaded: Any = installed[name].load() if name == called else _placeholder(name)
        if isinstance(loaded, typer.Typer):
            made.add_typer(loaded, name=name)
        else:
            made.command(name)(loaded)
    return made


_ANY_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True}


def _missing(name: str) -> Callable[[], None]:
    def command() -> None:
        typer.echo(f"reallot {name}: {NEEDS_SERVER}", err=True)
        raise typer.Exit(2)

    command.__doc__ = f"{SUMMARIES[name]} Needs the server, which is not installed here."
    return command


def _nothing() -> None:
    """Hold the sub-commands together even when there is only one."""


_nothing.__doc__ = HELP


def _placeholder(name: str) -> Callable[[], None]:
    def command() -> None:
        raise AssertionError(f"{name} was called without being loaded")

    command.__doc__ = SUMMARIES.get(name, "")
    return command


def main() -> None:
    """Run the command line."""
    called = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
    application(called)()
