"""What commands share: connecting, printing for people or for programs, and exit codes."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NoReturn

import typer
from google.protobuf import json_format
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reallot.clients.client import Client
from reallot.clients.errors import (
    Conflict,
    CursorExpired,
    Exhausted,
    FailedPrecondition,
    InvalidArgument,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    ReallotError,
    Unavailable,
    Unimplemented,
)
from reallot.clients.security import Security

Address = Annotated[str, typer.Option("--address", envvar="REALLOT_ADDRESS", help="Server, HOST:PORT.")]
Workspace = Annotated[str, typer.Option("--workspace", envvar="REALLOT_WORKSPACE", help="Workspace; empty = default.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
DEFAULT_ADDRESS = "localhost:7350"

OK, FAILED, INVALID, UNAVAILABLE, NOT_FOUND, PRECONDITION, CONFLICT, UNIMPLEMENTED, TIMED_OUT, CANCELLED = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
AWAITS_APPROVAL, NOT_ALLOWED = 10, 11
_EXIT_CODES: tuple[tuple[type[ReallotError], int], ...] = (
    (InvalidArgument, INVALID),
    (Unavailable, UNAVAILABLE),
    (Exhausted, UNAVAILABLE),
    (NotAuthenticated, NOT_ALLOWED),
    (NotAllowed, NOT_ALLOWED),
    (NotFound, NOT_FOUND),
    (FailedPrecondition, PRECONDITION),
    (Conflict, CONFLICT),
    (CursorExpired, CONFLICT),
    (Unimplemented, UNIMPLEMENTED),
)

# Where nobody looks at it, a table need not be squeezed.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False)


@contextmanager
def connected(address: str, workspace: str, failure: int | None = None) -> Iterator[Client]:
    """Give a client that shows what the environment says.

    A call that fails ends the program with one readable line and its exit code, or that of `failure`.
    """
    try:
        opened = Client(address, workspace=workspace, security=Security.from_environment(), language=os.environ.get("REALLOT_LANGUAGE", ""))
    except (ValueError, OSError) as error:
        fail(error, INVALID)
    with opened as client:
        try:
            yield client
        except ReallotError as error:
            fail(error, failure, advice=_advice(error, address, workspace))
        except OSError as error:
            fail(error, INVALID if failure is None else failure)
        except KeyboardInterrupt:
            raise typer.Exit(OK) from None


def _advice(error: ReallotError, address: str, workspace: str) -> str:
    """Return what somebody may do about an error that has to do with how the command was called; "" where its text says all."""
    if isinstance(error, Unavailable) and not error.reason:
        return (
            f"no server answers at {address}: start one (reallot serve), or say where it is (--address, REALLOT_ADDRESS); "
            "one with TLS wants REALLOT_TLS=1"
        )
    if isinstance(error, NotAuthenticated):
        return "REALLOT_TOKEN_FILE names the file with the token, REALLOT_TOKEN the token itself; an operator makes one with reallot token"
    if isinstance(error, NotAllowed):
        return f"the token grants no such thing in the workspace {workspace or 'default'}; --workspace names another"
    return ""


def fail(error: Exception | str, code: int | None = None, *, advice: str = "") -> NoReturn:
    """End the program: the text, advice, and for malformed requests every faulty field on standard error."""
    text = escape(str(error)) if err.is_terminal else str(error)
    err.print(f"[red]error:[/red] {text}" if err.is_terminal else f"error: {text}", soft_wrap=True, markup=err.is_terminal)
    if advice:
        err.print(advice, soft_wrap=True, markup=False)
    violations = getattr(error, "violations", ())
    # One alone is the text already.
    for violation in violations[:20] if len(violations) > 1 else ():
        err.print(f"  {violation.field}: {violation.description}", soft_wrap=True, markup=False)
    found = next((number for kind, number in _EXIT_CODES if isinstance(error, kind)), FAILED)
    raise typer.Exit(code if code is not None else found)


def duration(text: str) -> timedelta:
    """Return a duration that was written for people; any other text ends the program."""
    unit = _UNITS.get(text[-1:])
    if unit is None or not text[:-1].isdigit():
        fail(f"{text!r} is no duration: write e.g. 90s, 15m, 8h, 3d or 1w", INVALID)
    return timedelta(**{unit: int(text[:-1])})


def confirmed(question: str) -> bool:
    """Ask whether to go on; where nobody can be asked, the command itself is the answer."""
    return not sys.stdin.isatty() or typer.confirm(question)


def instant(text: str) -> datetime:
    """Return the instant of a text from the command line; without a zone it is UTC."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is no day or instant: write e.g. 2026-03-02 or 2026-03-02T13:00Z", INVALID)
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def document(message: Any) -> dict[str, Any]:
    """Return a message as JSON with the contract's own names."""
    made: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return made


def say(value: Any) -> None:
    """Print one JSON object on a line of its own, at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: Sequence[str] = ()) -> None:
    """Print a table; columns named in `numbers` are aligned to the right."""
    made = Table(title=title or None, title_justify="left", header_style="bold")
    for name in columns:
        # What identifies a row is never broken.
        fixed = name in numbers or name == columns[0]
        made.add_column(name, justify="right" if name in numbers else "left", overflow="fold", no_wrap=fixed)
    for row in rows:
        made.add_row(*(f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell) for cell in row))
    out.print(made)


def short(name: str, prefix: str) -> str:
    """Return an enum's name without its prefix, in small letters; "" for the unspecified one."""
    text = name.removeprefix(prefix).lower()
    return "" if text == "unspecified" else text


def lasting(seconds: float) -> str:
    """Return a length of time in the unit that suits it."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.3g} s"
