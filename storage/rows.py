"""Rows of any table as JSON objects and back, for those who take what is kept elsewhere."""

import base64
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, LargeBinary, Table, TextClause

from reallot.storage.documents import dump, load
from reallot.storage.entities import Json
from reallot.storage.tables import audit, config_changes, notices

_EMPTY_DOCUMENTS = ("'{}'", "'[]'", "'null'")
_MAY_BE_EMPTY = frozenset((table.name, name) for table in (audit, config_changes) for name in ("before", "after")) | {
    (notices.name, "body")
}


def _is_document(column: Column[Any]) -> bool:
    default = getattr(column.server_default, "arg", None)
    told = isinstance(default, TextClause) and default.text in _EMPTY_DOCUMENTS
    return told or (column.table.name, column.name) in _MAY_BE_EMPTY


def to_json(table: Table, row: Mapping[str, Any]) -> dict[str, Json]:
    """Return columns of a row as JSON: documents as what they say, bytes in base64."""
    found: dict[str, Json] = {}
    for name, value in row.items():
        column = table.c[name]
        if isinstance(column.type, LargeBinary):
            found[name] = base64.b64encode(value).decode()
        else:
            found[name] = load(value) if value and _is_document(column) else value
    return found


def from_json(table: Table, document: Mapping[str, Json]) -> dict[str, Any]:
    """Return the columns of a row that `to_json` has written.

    Raises:
        KeyError: the table has no such column.
        ValueError: bytes are not written in base64.
    """
    found: dict[str, Any] = {}
    for name, value in document.items():
        column = table.c[name]
        if isinstance(column.type, LargeBinary):
            found[name] = base64.b64decode(value, validate=True)
        else:
            found[name] = dump(value) if _is_document(column) and value not in ("", None) else value
    return found
