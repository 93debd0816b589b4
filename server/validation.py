"""What every request is held to: ids, sizes, pages. Each function returns what is wrong as violations; services raise them."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from reallot.server.errors import Violation, invalid

DEFAULT_WORKSPACE = "default"
LONGEST_ID = 200
LONGEST_NAME = 500
LONGEST_TEXT = 32_768
LONGEST_LIST = 1_000
MOST_ROWS = 1_000
MOST_FIELDS = 500
LARGEST_EFFORT = 1_000_000
LARGEST_CAPACITY = 1_000_000_000
DEFAULT_PAGE = 50
LARGEST_PAGE = 1_000
_CONFIG_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def id_fault(value: str) -> str | None:
    """Return what is wrong with the id of a record, seller or request; None if nothing is."""
    if not value:
        return "an id is needed"
    if len(value) > LONGEST_ID:
        return f"an id has at most {LONGEST_ID} characters, this one has {len(value)}"
    if not (value.isascii() and value.isprintable()) and any(unicodedata.category(c) in ("Cc", "Cs", "Cn", "Zl", "Zp") for c in value):
        return "an id has no control characters"
    if value != value.strip():
        return "an id neither begins nor ends with a blank"
    return None


def config_id_fault(value: str) -> str | None:
    """Return what is wrong with the id of a configuration resource; None if nothing is."""
    if not _CONFIG_ID.fullmatch(value):
        return f"{value!r} is no id: a letter or digit, then up to 99 letters, digits, dots, hyphens or underscores"
    return None


def check_id(field: str, value: str) -> Iterator[Violation]:
    """Yield the violation of an id, if any."""
    if (fault := id_fault(value)) is not None:
        yield Violation(field, fault, "INVALID_ID")


def check_rows(field: str, rows: Sequence[Any], *, needed: bool = True) -> Iterator[Violation]:
    """Yield the violation of a list of rows that is empty or too long."""
    if len(rows) > MOST_ROWS:
        yield Violation(field, f"at most {MOST_ROWS} rows fit into one request, this one has {len(rows)}", "BATCH_TOO_LARGE")
    elif needed and not rows:
        yield Violation(field, "at least one row is needed")


def refuse(violations: Sequence[Violation] | Iterator[Violation]) -> None:
    """Raise INVALID_ARGUMENT if there are violations."""
    found = list(violations)
    if found:
        raise invalid(found)


def workspace_of(request: Any) -> str:
    """Return the workspace of a request.

    Raises:
        ApiError: its id cannot be one.
    """
    name = request.workspace or DEFAULT_WORKSPACE
    if (fault := config_id_fault(name)) is not None:
        raise invalid([Violation("workspace", fault, "INVALID_ID")])
    return name


def page_size_of(request: Any) -> int:
    """Return the size of the page that a list request asks for.

    Raises:
        ApiError: it is negative.
    """
    size: int = request.page_size
    if size < 0:
        raise invalid([Violation("page_size", "a page cannot have a negative size")])
    return min(size or DEFAULT_PAGE, LARGEST_PAGE)
