"""The schema of what conditions speak about: roots such as `record` and `seller`, their fields and types."""

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

EXISTS = "#"
"""Stands for the field of a referenced record that is there whenever the record is: its id."""
FIELD_ID = re.compile(r"[a-z][a-z0-9_]{0,62}")
CEL_KEYWORDS = frozenset(
    "as break const continue else false for function if import in let loop namespace null package return true var void while".split(" ")
)


class FieldType(enum.StrEnum):
    """What kind of value a field holds, and how it is stored as JSON."""

    TEXT = "TEXT"
    INTEGER = "INTEGER"
    DECIMAL = "DECIMAL"
    BOOLEAN = "BOOLEAN"
    TIMESTAMP = "TIMESTAMP"
    """Stored as int microseconds since the epoch, UTC."""
    DATE = "DATE"
    """Stored as int days since the epoch."""
    TEXT_LIST = "TEXT_LIST"


COLUMN_TYPES: Mapping[FieldType, pl.DataType] = {
    FieldType.TEXT: pl.String(),
    FieldType.INTEGER: pl.Int64(),
    FieldType.DECIMAL: pl.Float64(),
    FieldType.BOOLEAN: pl.Boolean(),
    FieldType.TIMESTAMP: pl.Int64(),
    FieldType.DATE: pl.Int64(),
    FieldType.TEXT_LIST: pl.List(pl.String()),
}
"""Polars types of the columns, by field type."""


def field_id_fault(field_id: str) -> str | None:
    """Return what is wrong with a field id; None if nothing is."""
    if not FIELD_ID.fullmatch(field_id):
        return f"{field_id!r} is no field id: a small letter, then up to 62 small letters, digits or underscores"
    if field_id in CEL_KEYWORDS:
        return f"{field_id!r} is a keyword of the condition language"
    return None


@dataclass(frozen=True, slots=True)
class Field:
    """One declared field. With `fold_case` its texts are compared without regard to case."""

    id: str
    type: FieldType
    fold_case: bool = False


@dataclass(frozen=True)
class Schema:
    """The fields of one root.

    Attributes:
        skills: Opens the names `<root>.skills.<id>`, whole numbers that need no declaration.
        reference: The root is a referenced record, which may be missing: `present(<root>)` asks for it.
    """

    fields: tuple[Field, ...]
    skills: bool = False
    reference: bool = False
    by_id: Mapping[str, Field] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {f.id: f for f in self.fields})


SELLER_FIELDS = (Field("seller_id", FieldType.TEXT), Field("teams", FieldType.TEXT_LIST))
"""What every seller has beside declared attributes."""


def seller_schema(attributes: Sequence[Field]) -> Schema:
    """Return the schema of sellers with these declared attributes."""
    return Schema(fields=(*SELLER_FIELDS, *attributes), skills=True)
