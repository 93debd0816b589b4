"""Rows of any table as JSON objects and back, for those who take what is kept elsewhere."""

import base64
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, LargeBinary, Table, TextClause

from reallot.storage.documents import dump, load
from reallot.storage.entities import Json
from reallot.storage.tables import audit, config_changes, held_notices, notices

_EMPTY_DOCUMENTS = ("'{}'", "'[]'", "'null'")
_MAY_BE_EMPTY = frozenset((table.name, name) for table in (audit, config_changes) for name in ("before", "after")) | {
    (notices.name, "body"),
    (held_notices.name, "body"),
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
        ValueError: it is no row of the table; the text says why.
    """
    found: dict[str, Any] = {}
    for name, value in document.items():
        if name not in table.c:
            raise ValueError(f"there is no column {name!r}")
        found[name] = _column_value(table.c[name], value)
    missing = [column.name for column in table.primary_key if column.name not in found]
    if missing:
        raise ValueError(f"the column {missing[0]!r} is missing")
    return found


def _column_value(column: Column[Any], value: Json) -> Any:
    if value is None and column.nullable:
        return None
    if _is_document(column) and value != "":
        return dump(value)
    kind = column.type.python_type
    if kind is bytes and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except ValueError:
            raise ValueError(f"the column {column.name!r} is not in base64") from None
    if type(value) is not kind or (kind is int and abs(value) >= 1 << 63):
        raise ValueError(f"the column {column.name!r} takes no {value!r:.50}")
    return value
