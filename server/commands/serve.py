"""`reallot serve`, `reallot migrate` and `reallot check-config`: the operator's commands."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
import uvloop
from pydantic import ValidationError

from reallot.server import logs
from reallot.server.app import Application
from reallot.server.garbage import collect_seldom
from reallot.server.listening import faults_of, notes_on
from reallot.server.settings import Settings, load_settings
from reallot.storage.dialect import is_sqlite
from reallot.storage.errors import StorageError
from reallot.storage.schema import migrate as migrate_database
from reallot.storage.schema import revision_of

SWITCH_INTERVAL_S = 0.0005
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
CANNOT_START = 2
"""Exit code when settings, database or address cannot be used."""


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 = any free one.")] = None,
    database_url: Annotated[str | None, typer.Option(envvar="DATABASE_URL", help="Database, e.g. sqlite:///reallot.sqlite.")] = None,
    clock: Annotated[str | None, typer.Option(help="system, or manual:2026-03-06T00:00Z for tests (loopback only).")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.", exists=True)] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    json_logs: Annotated[bool | None, typer.Option("--json-logs", help="Logs as JSON lines.")] = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote-without-authentication", help="Listen beyond this machine, and let everybody do everything.")
    ] = False,
    allow_readable: Annotated[
        bool, typer.Option("--allow-remote-without-tls", help="Listen beyond this machine behind a proxy that brings TLS.")
    ] = False,
) -> None:
    """Run the server until it is told to stop: the first SIGTERM or SIGINT lets running calls finish, the second ends it at once."""
    settings = settings_of(config, host=host, port=port, database_url=database_url, clock=clock, log_level=log_level, json_logs=json_logs)
    if fault := faults_of(settings, without_authentication=allow_remote, without_tls=allow_readable):
        refuse(fault)
    logs.configure(settings.log_level, as_json=settings.json_logs)
    try:
        if is_sqlite(settings.database_url) and revision_of(settings.database_url) is None:
            migrate_database(settings.database_url)
        uvloop.run(_run(settings))
    except (StorageError, OSError, RuntimeError, ValueError) as error:
        refuse(str(error))


async def _run(settings: Settings) -> None:
    # The writer thread works in Python, too: the loop must not wait a full interval for every turn while a run is committed.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    collect_seldom()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked_to_stop() -> None:
        stop.set()
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
            # Whoever asks twice does not want to wait: the signal now does what it does to any process.
            signal.signal(number, signal.SIG_DFL)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, asked_to_stop)
    async with Application(settings) as app:
        typer.echo(f"listening on {settings.host}:{app.port} ({notes_on(settings)})")
        await stop.wait()
        typer.echo("stopping")


def migrate(
    database_url: Annotated[str | None, typer.Option(envvar="DATABASE_URL", help="Database, e.g. sqlite:///reallot.sqlite.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.", exists=True)] = None,
) -> None:
    """Bring the database to the schema of this version."""
    settings = settings_of(config, database_url=database_url)
    try:
        before, after = migrate_database(settings.database_url)
    except StorageError as error:
        refuse(str(error))
    typer.echo(f"schema {before or 'empty'} → {after}" if before != after else f"schema {after} is up to date")


def check_config(
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.", exists=True)] = None,
) -> None:
    """Show the settings that a server would run with; passwords are left out."""
    for name, value in settings_of(config).shown().items():
        typer.echo(f"{name:<24}{value}")


def settings_of(toml_file: Path | None, **given: object) -> Settings:
    """Return the settings; end the program if they cannot be used."""
    try:
        return load_settings(toml_file, **given)
    except ValidationError as error:
        lines = [f"{'.'.join(str(p) for p in fault['loc']) or 'settings'}: {fault['msg']}" for fault in error.errors()]
        refuse("; ".join(lines))


def refuse(text: str) -> NoReturn:
    """End the program, and say why."""
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(CANNOT_START)
