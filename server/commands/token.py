"""`reallot token`: a new bearer token, and the entry of the file of principals that lets it in."""

import hashlib
import json
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from reallot.server.access.directory import Directory, DirectoryError
from reallot.server.access.principals import GrantError, read_grant
from reallot.server.commands.serve import refuse

PREFIX = "reallot_"
"""So that scanners for secrets recognise a token."""
TOKEN_BYTES = 32


def token(
    name: Annotated[str, typer.Argument(help="Who will have it, for the logs.")],
    grant: Annotated[list[str], typer.Option(help="WORKSPACE:ROLE, or WORKSPACE:seller:SELLER_ID; may come often; * = every workspace.")],
    days: Annotated[int, typer.Option(help="It expires after so many days; 0 = never.", min=0)] = 0,
    file: Annotated[Path | None, typer.Option(help="Add the entry to this file of principals; else it is printed.")] = None,
) -> None:
    """Make a bearer token: it is printed once, and only its hash is kept."""
    try:
        for text in grant:
            read_grant(text)
    except GrantError as error:
        refuse(str(error))
    secret = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    entry = _entry(name, secret, grant, days)
    if file is not None:
        _add(file, entry)
    typer.echo(secret)
    if file is None:
        typer.echo(entry, err=True)


def _entry(name: str, secret: str, grants: list[str], days: int) -> str:
    """Return the entry of a token as TOML; JSON's strings and lists of strings are TOML's."""
    lines = [
        "[[tokens]]",
        f"name = {json.dumps(name, ensure_ascii=False)}",
        f'sha256 = "{hashlib.sha256(secret.encode()).hexdigest()}"',
        f"grants = {json.dumps(grants, ensure_ascii=False)}",
    ]
    if days:
        lines.append(f"expires = {datetime.now(UTC) + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}")
    return "\n".join(lines) + "\n"


def _add(path: Path, entry: str) -> None:
    before = path.read_text("utf-8") if path.exists() else ""
    made = path.with_name(path.name + ".new")
    made.touch(mode=0o600)
    made.write_text(f"{before.rstrip()}\n\n{entry}".lstrip(), "utf-8")
    try:
        Directory(made)
    except DirectoryError as error:
        made.unlink()
        refuse(str(error))
    made.replace(path)
