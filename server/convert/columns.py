"""Arrow columns of an import, validated against the record types of their rows: every fault with its column and row, or stored form.

Columns are named as in `Record`: `record_id` and `record_type`, which are needed, the attributes, and `fields`, `related` and `owner` as
structs. Each row reads as a row of an upsert without a mask: a null attribute is left as it is, a null field becomes null, a null
reference is removed, an owner is taken on a record's first upsert.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from reallot.server.convert.values import EARLIEST_S, EPOCH_DAY, LATEST_S
from reallot.server.errors import Violation
from reallot.server.validation import LARGEST_EFFORT, LONGEST_LIST, LONGEST_TEXT, id_fault
from reallot.server.workspace_config import RecordTypeConfig, WorkspaceConfig, is_active
from reallot.solver.segmentation import FieldType
from reallot.solver.segmentation.schema import COLUMN_TYPES
from reallot.storage.entities import OwnerKind

MOST_ROWS = 10_000
"""Rows of one batch of columns: few enough that other writers soon pass."""
MOST_FAULTS = 100
"""Most faults that are told of one batch."""
OWNERS = {f"{kind.lower()}_id": kind for kind in OwnerKind}
_ROW = "row"
_PLAIN_ID = r"^[!-~]([ -~]*[!-~])?$"
"""Ids that need no closer look: of printable ASCII, without a blank at either end."""
EARLIEST_DAY, LATEST_DAY = 1 - EPOCH_DAY, LATEST_S // 86_400


@dataclass(frozen=True)
class Batch:
    """The rows of a batch in stored form.

    Attributes:
        frames: A frame for each record type of its rows: `row`, `record_id`, `record_type`, attributes as columns of the record,
            `owner_kind` and `owner_id`, `related.<role>`, `fields.<id>`; what the batch does not give is left out.
        rows: Number of rows.
    """

    frames: tuple[pl.DataFrame, ...]
    rows: int


class Faults:
    """Collects what is wrong with a batch, up to MOST_FAULTS."""

    def __init__(self) -> None:
        self.found: list[Violation] = []

    def column(self, name: str, text: str, reason: str = "INVALID_FIELD") -> None:
        """Note what is wrong with a whole column."""
        if len(self.found) < MOST_FAULTS:
            self.found.append(Violation(f"arrow.{name}", text, reason))

    def rows(
        self, name: str, frame: pl.DataFrame, wrong: pl.Expr, text: Callable[[object], str | None], reason: str = "INVALID_FIELD"
    ) -> None:
        """Note the rows of a column `name` of `frame` for which `wrong` holds, unless `text` finds nothing wrong with the value."""
        for row, value in frame.filter(wrong).select(_ROW, name).rows():
            told = text(value)
            if told is not None and len(self.found) < MOST_FAULTS:
                self.found.append(Violation(f"arrow.{name}[{row}]", told, reason))


def read_columns(table: pl.DataFrame, config: WorkspaceConfig) -> tuple[Batch, list[Violation]]:
    """Return the rows of a table in stored form, and what is wrong with it; a batch with faults must not be used."""
    faults = Faults()
    if table.height > MOST_ROWS:
        faults.column("record_id", f"a batch has at most {MOST_ROWS} rows, this one has {table.height}", "BATCH_TOO_LARGE")
    for name in ("record_id", "record_type"):
        if name not in table.columns:
            faults.column(name, "this column is needed")
    for name in table.columns:
        if name not in _COLUMNS:
            faults.column(name, "there is no such column", "UNKNOWN_FIELD")
    if faults.found:
        return Batch((), table.height), faults.found
    flat = _flat(table, faults)
    _check_ids(flat, faults)
    kinds = _kinds(flat, config, faults)
    _check_declared(flat, kinds, faults)
    if faults.found:
        return Batch((), table.height), faults.found
    parts = flat.partition_by("record_type", as_dict=True, maintain_order=True)
    frames = tuple(_of_type(part, kinds[str(name)], faults) for (name,), part in parts.items())
    return Batch(frames, table.height), faults.found


def _flat(table: pl.DataFrame, faults: Faults) -> pl.DataFrame:
    """Return the table with its structs as columns `<struct>.<name>`, without empty ones, with the number of each row."""
    columns: list[pl.Series] = []
    for column in table:
        if column.name not in _STRUCTS:
            columns.append(_texts(column))
        elif isinstance(column.dtype, pl.Struct):
            columns.extend(_texts(part).alias(f"{column.name}.{part.name}") for part in column.struct.unnest())
        elif column.dtype != pl.Null:
            faults.column(column.name, f"it is to be a struct, it is {column.dtype}", "WRONG_TYPE")
    return pl.DataFrame(columns).with_row_index(_ROW)


def _texts(column: pl.Series) -> pl.Series:
    return column.cast(pl.String) if isinstance(column.dtype, pl.Categorical | pl.Enum) else column


def _check_ids(flat: pl.DataFrame, faults: Faults) -> None:
    for name in ("record_id", "record_type"):
        if flat[name].dtype != pl.String:
            faults.column(name, f"it is to hold text, it holds {flat[name].dtype}", "WRONG_TYPE")
            return
    wrong = pl.col("record_id").is_null() | ~_plain(pl.col("record_id"))
    faults.rows("record_id", flat, wrong, lambda value: id_fault(str(value or "")), "INVALID_ID")
    again = pl.col("record_id").is_duplicated() & pl.col("record_id").is_not_null() & ~pl.col("record_id").is_first_distinct()
    faults.rows("record_id", flat, again, lambda value: f"{value!r} stands in the batch before", "DUPLICATE_ID")


def _plain(text: pl.Expr) -> pl.Expr:
    return text.str.contains(_PLAIN_ID) & (text.str.len_bytes() <= 200)


def _kinds(flat: pl.DataFrame, config: WorkspaceConfig, faults: Faults) -> dict[str, RecordTypeConfig]:
    active = {name: kind for name, kind in config.record_types.items() if is_active(kind.message.state)}
    if flat["record_type"].dtype == pl.String:
        declared = ", ".join(sorted(active)) or "none"
        unknown = ~pl.col("record_type").is_in(list(active)).fill_null(value=False)
        text = "record type {!r} is not declared (declared: {})"
        faults.rows("record_type", flat, unknown, lambda value: text.format(value or "", declared), "UNKNOWN_RECORD_TYPE")
        present = set(flat["record_type"].to_list())
        return {name: kind for name, kind in active.items() if name in present}
    return {}


def _check_declared(flat: pl.DataFrame, kinds: Mapping[str, RecordTypeConfig], faults: Faults) -> None:
    """Note the parts of structs that no record type of the rows declares, and values where that of the row does not."""
    for name in flat.columns:
        struct, _, part = name.partition(".")
        if not part:
            continue
        knowing = [t for t, kind in kinds.items() if part in _parts(struct, kind)]
        what = {"fields": "field", "related": "reference", "owner": "kind of owner"}[struct]
        if not knowing and kinds:
            faults.column(name, f"{part!r} is no declared {what} of {', '.join(sorted(kinds))}", "UNKNOWN_FIELD")
        elif len(knowing) < len(kinds):
            misplaced = pl.col(name).is_not_null() & ~pl.col("record_type").is_in(knowing)
            told = f"the row's record type does not declare the {what} {part!r}"
            faults.rows(name, flat, misplaced, lambda _, told=told: told, "UNKNOWN_FIELD")  # type: ignore[misc]


def _parts(struct: str, kind: RecordTypeConfig) -> frozenset[str]:
    if struct == "fields":
        return frozenset(kind.schema.by_id)
    return frozenset(kind.roles) if struct == "related" else frozenset(OWNERS)


def _of_type(part: pl.DataFrame, kind: RecordTypeConfig, faults: Faults) -> pl.DataFrame:
    """Return the rows of one record type in stored form."""
    given: list[pl.Series] = [part[_ROW], part["record_id"], part["record_type"]]
    given += [read for name in _ATTRIBUTES if name in part.columns for read in _attribute(part, name, faults)]
    given += _owner(part, faults)
    for role in kind.roles:
        if (name := f"related.{role}") in part.columns:
            given += _ids(part, name, faults)
    for field in kind.schema.fields:
        if (name := f"fields.{field.id}") in part.columns:
            given += _values(part, name, field.type, faults)
    return pl.DataFrame(given)


def _attribute(part: pl.DataFrame, name: str, faults: Faults) -> Iterator[pl.Series]:
    for column in _values(part, name, _ATTRIBUTES[name], faults):
        frame = pl.DataFrame([part[_ROW], column])
        if _ATTRIBUTES[name] is FieldType.TEXT:
            _check_text_ids(name, frame, faults)
        if name in _RANGES:
            low, high = _RANGES[name]
            told = f"is not between {low} and {high}"
            faults.rows(name, frame, ~pl.col(name).is_between(low, high), lambda value, told=told: f"{value} {told}")  # type: ignore[misc]
        yield column.alias("created_us" if name == "created_time" else name)


def _owner(part: pl.DataFrame, faults: Faults) -> list[pl.Series]:
    """Return the two columns of the owner, none if it is not given; "" and null are nobody."""
    names = [name for name in OWNERS if f"owner.{name}" in part.columns]
    columns = [column.alias(name) for name in names for column in _ids(part, f"owner.{name}", faults)]
    if not names or len(columns) < len(names):
        return []
    ids = pl.DataFrame([part[_ROW], *columns])
    several = pl.sum_horizontal(pl.col(name) != "" for name in names) > 1
    faults.rows("owner", ids.with_columns(owner=pl.lit("")), several, lambda _: "a record has one owner")
    kinds = pl.coalesce(*(pl.when(pl.col(name) != "").then(pl.lit(OWNERS[name].value)) for name in names), pl.lit(""))
    return ids.select(owner_kind=kinds, owner_id=pl.concat_str(names)).get_columns()


def _ids(part: pl.DataFrame, name: str, faults: Faults) -> Iterator[pl.Series]:
    """Yield a column of ids, "" for null."""
    for column in _values(part, name, FieldType.TEXT, faults):
        _check_text_ids(name, pl.DataFrame([part[_ROW], column]), faults)
        yield column.fill_null("")


def _check_text_ids(name: str, frame: pl.DataFrame, faults: Faults) -> None:
    faults.rows(name, frame, ~_plain(pl.col(name)) & (pl.col(name) != ""), lambda value: id_fault(str(value)), "INVALID_ID")


def _values(part: pl.DataFrame, name: str, kind: FieldType, faults: Faults) -> Iterator[pl.Series]:
    """Yield a column in stored form; nothing if it holds another type."""
    column = part[name]
    if column.dtype != pl.Null and not _HOLDS[kind](column.dtype):
        faults.column(name, f"it is to hold {_WANTED.get(kind, kind.lower())}, it holds {column.dtype}", "WRONG_TYPE")
        return
    if isinstance(column.dtype, pl.Datetime):
        column = column.cast(pl.Int64) // 1_000 if column.dtype.time_unit == "ns" else column.cast(pl.Datetime("us"))
    elif column.dtype == pl.Date:
        column = column.cast(pl.Int32)
    stored = column.cast(COLUMN_TYPES[kind], strict=False)
    wrong, text = _WRONG[kind](pl.col(name))
    frame = pl.DataFrame([part[_ROW], stored, column.is_not_null().alias("given")])
    faults.rows(name, frame, pl.col("given") & (pl.col(name).is_null() | wrong), text, "WRONG_TYPE")
    yield stored


def _text_fault(text: object) -> str:
    return f"a text has at most {LONGEST_TEXT} characters, this one has {len(str(text))}"


def _list_fault(texts: object) -> str:
    if not isinstance(texts, list) or None in texts:
        return "a list has no null in it"
    if len(texts) > LONGEST_LIST:
        return f"a list has at most {LONGEST_LIST} texts"
    return _text_fault(max(texts, key=len))


def _too_long(texts: pl.Expr) -> pl.Expr:
    return texts.list.eval(pl.element().is_null() | (pl.element().str.len_chars() > LONGEST_TEXT)).list.any()


_STRUCTS = ("fields", "related", "owner")
_ATTRIBUTES = {
    "active": FieldType.BOOLEAN,
    "priority": FieldType.INTEGER,
    "value_units": FieldType.INTEGER,
    "created_time": FieldType.TIMESTAMP,
    "created_by": FieldType.TEXT,
    "effort": FieldType.INTEGER,
    "group_key": FieldType.TEXT,
}
_COLUMNS = ("record_id", "record_type", *_ATTRIBUTES, *_STRUCTS)
_RANGES = {"priority": (0, 100), "effort": (0, LARGEST_EFFORT)}
_WANTED = {FieldType.TIMESTAMP: "timestamps with a time zone", FieldType.TEXT_LIST: "lists of text"}
_HOLDS: Mapping[FieldType, Callable[[pl.DataType], bool]] = {
    FieldType.TEXT: lambda dtype: dtype == pl.String,
    FieldType.INTEGER: lambda dtype: dtype.is_integer(),
    FieldType.DECIMAL: lambda dtype: dtype.is_numeric(),
    FieldType.BOOLEAN: lambda dtype: dtype == pl.Boolean,
    FieldType.TIMESTAMP: lambda dtype: isinstance(dtype, pl.Datetime) and dtype.time_zone is not None,
    FieldType.DATE: lambda dtype: dtype == pl.Date,
    FieldType.TEXT_LIST: lambda dtype: dtype == pl.List(pl.String),
}
"""Types of columns that a field type takes."""
_WRONG: Mapping[FieldType, Callable[[pl.Expr], tuple[pl.Expr, Callable[[object], str]]]] = {
    FieldType.TEXT: lambda value: (value.str.len_chars() > LONGEST_TEXT, _text_fault),
    FieldType.INTEGER: lambda _: (pl.lit(value=False), lambda _: "it is no whole number of 64 bits"),
    FieldType.DECIMAL: lambda value: (~value.is_finite(), lambda number: f"{number} is not a finite number"),
    FieldType.BOOLEAN: lambda _: (pl.lit(value=False), lambda _: "it is neither true nor false"),
    FieldType.TIMESTAMP: lambda value: (
        ~value.is_between(EARLIEST_S * 1_000_000, (LATEST_S + 1) * 1_000_000 - 1),
        lambda us: f"{us} us is no instant of the years 1 to 9999",
    ),
    FieldType.DATE: lambda value: (~value.is_between(EARLIEST_DAY, LATEST_DAY), lambda day: f"day {day} is not in the years 1 to 9999"),
    FieldType.TEXT_LIST: lambda value: ((value.list.len() > LONGEST_LIST) | _too_long(value), _list_fault),
}
"""What a value of a type must not be, and what is said of one that is."""
