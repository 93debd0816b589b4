"""Columns of stored values as JSON texts: the same texts that `storage.documents.dump` and `value_text` make of single values."""

from collections.abc import Sequence

import polars as pl

from reallot.solver.segmentation import FieldType

PLAIN_FROM, PLAIN_BELOW = 1e-4, 1e16
"""Where Python and polars write a decimal alike: without an exponent."""


def quoted(text: pl.Expr) -> pl.Expr:
    """Return texts, or lists of texts, as JSON; null stays null."""
    document = pl.struct(text.alias("x")).struct.json_encode()
    return pl.when(text.is_not_null()).then(document.str.slice(5).str.head(-1))


def inner(text: pl.Expr) -> pl.Expr:
    """Return texts as they stand between the quotation marks of JSON."""
    return quoted(text).str.slice(1).str.head(-1)


def joined(parts: Sequence[pl.Expr]) -> pl.Expr:
    """Return texts put together with commas, without those that are null."""
    return pl.concat_str(parts, separator=",", ignore_nulls=True) if parts else pl.lit("")


def stored_text(column: pl.Series, kind: FieldType) -> pl.Series:
    """Return stored values of a type as JSON; null stays null."""
    name, value = column.name, pl.col(column.name)
    match kind:
        case FieldType.DECIMAL:
            return _decimals(column)
        case FieldType.TEXT | FieldType.TEXT_LIST:
            return column.to_frame().select(quoted(value).alias(name)).to_series()
    return column.cast(pl.String)


def shown_text(column: pl.Series, stored: pl.Series, kind: FieldType) -> pl.Series:
    """Return stored values of a type as the JSON of their messages; null stays null. `stored` is their stored text."""
    frame = pl.DataFrame({"value": column, "text": stored})
    value, text = pl.col("value"), pl.col("text")
    match kind:
        case FieldType.TEXT:
            shown = _around('{"text":', text, "}")
        case FieldType.INTEGER:
            shown = _around('{"integer":"', text, '"}')
        case FieldType.DECIMAL:
            shown = _around('{"decimal":', text, "}")
        case FieldType.BOOLEAN:
            shown = _around('{"boolean":', text, "}")
        case FieldType.TIMESTAMP:
            shown = _around('{"timestamp":"', _instant(value), '"}')
        case FieldType.DATE:
            day = value.cast(pl.Int32).cast(pl.Date)
            parts = [_around(f'"{name}":', part.cast(pl.String)) for name, part in _parts_of(day)]
            shown = _around('{"date":{', joined(parts), "}}")
        case FieldType.TEXT_LIST:
            full = _around('{"text_list":{"values":', text, "}}")
            shown = pl.when(value.list.len() > 0).then(full).otherwise(pl.lit('{"text_list":{}}'))
    return frame.select(pl.when(value.is_not_null()).then(shown).alias(column.name)).to_series()


def _around(before: str, text: pl.Expr, after: str = "") -> pl.Expr:
    return pl.concat_str(pl.lit(before), text, pl.lit(after))


def _parts_of(day: pl.Expr) -> Sequence[tuple[str, pl.Expr]]:
    return (("day", day.dt.day()), ("month", day.dt.month()), ("year", day.dt.year()))


def _instant(value: pl.Expr) -> pl.Expr:
    """Return instants in microseconds as RFC 3339 with as few digits of a second as there are, in threes."""
    below_s = value.mod(1_000_000)
    whole = value.cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S")
    thousandths = _around(".", (below_s // 1_000).cast(pl.String).str.zfill(3))
    millionths = _around(".", below_s.cast(pl.String).str.zfill(6))
    fraction = pl.when(below_s == 0).then(pl.lit("")).when(below_s.mod(1_000) == 0).then(thousandths).otherwise(millionths)
    return pl.concat_str(whole, fraction, pl.lit("Z"))


def _decimals(column: pl.Series) -> pl.Series:
    size = column.abs()
    plain = (((size >= PLAIN_FROM) & (size < PLAIN_BELOW)) | (size == 0)).fill_null(value=True)
    if plain.all():
        return column.cast(pl.String)
    written = [None if value is None else repr(value) for value in column.to_list()]
    return pl.Series(column.name, written, dtype=pl.String)
