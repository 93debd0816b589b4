"""Values, owners and instants between the contract and their stored form."""

import math
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from google.protobuf import timestamp_pb2
from google.type import date_pb2

from reallot.server.validation import LONGEST_LIST, LONGEST_TEXT
from reallot.solver.segmentation import FieldType
from reallot.storage.documents import dump
from reallot.storage.entities import Json, Owner, OwnerKind
from reallot.v1 import value_pb2

EPOCH_DAY = date(1970, 1, 1).toordinal()
KIND_OF_TYPE = {
    FieldType.TEXT: "text",
    FieldType.INTEGER: "integer",
    FieldType.DECIMAL: "decimal",
    FieldType.BOOLEAN: "boolean",
    FieldType.TIMESTAMP: "timestamp",
    FieldType.DATE: "date",
    FieldType.TEXT_LIST: "text_list",
}


EARLIEST_S, LATEST_S = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, which is what an instant of the contract can be."""


def instant_fault(timestamp: timestamp_pb2.Timestamp) -> str | None:
    """Return what is wrong with an instant; None if nothing is."""
    if not EARLIEST_S <= timestamp.seconds <= LATEST_S or not 0 <= timestamp.nanos < 10**9:
        return f"{timestamp.seconds} s, {timestamp.nanos} ns is no instant of the years 1 to 9999"
    return None


def to_us(timestamp: timestamp_pb2.Timestamp) -> int:
    """Return an instant in microseconds since the epoch."""
    return timestamp.seconds * 1_000_000 + timestamp.nanos // 1_000


def from_us(instant_us: int) -> timestamp_pb2.Timestamp:
    """Return microseconds since the epoch as a message."""
    return timestamp_pb2.Timestamp(seconds=instant_us // 1_000_000, nanos=instant_us % 1_000_000 * 1_000)


def maybe_from_us(instant_us: int | None) -> timestamp_pb2.Timestamp | None:
    """Return an instant as a message, None for None."""
    return None if instant_us is None else from_us(instant_us)


def to_stored(value: value_pb2.Value, wanted: FieldType) -> Json:
    """Return the stored form of a value; None for null.

    Raises:
        ValueError: it is not of the wanted type or out of range; the text says so.
    """
    return STORED_OF[wanted](value)


def _plain(value: Json) -> Json:
    return value


def _text(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"a text has at most {LONGEST_TEXT} characters, this one has {len(text)}")
    return text


def _decimal(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a finite number")
    return number


def _instant(timestamp: timestamp_pb2.Timestamp) -> int:
    if (fault := instant_fault(timestamp)) is not None:
        raise ValueError(fault)
    return to_us(timestamp)


def _texts(texts: value_pb2.TextList) -> list[str]:
    if len(texts.values) > LONGEST_LIST:
        raise ValueError(f"a list has at most {LONGEST_LIST} texts")
    return [_text(text) for text in texts.values]


def date_fault(day: date_pb2.Date) -> str | None:
    """Return what is wrong with a calendar day; None if nothing is."""
    try:
        date(day.year, day.month, day.day)
    except ValueError:
        return f"{day.year}-{day.month}-{day.day} is no date"
    return None


def _days(day: date_pb2.Date) -> int:
    if (fault := date_fault(day)) is not None:
        raise ValueError(fault)
    return date(day.year, day.month, day.day).toordinal() - EPOCH_DAY


_STORED: Mapping[str, Callable[[Any], Json]] = {
    "text": _text,
    "integer": _plain,
    "decimal": _decimal,
    "boolean": _plain,
    "timestamp": _instant,
    "date": _days,
    "text_list": _texts,
}
"""What checks a value of a kind and returns its stored form."""


def _reader(wanted: FieldType) -> Callable[[value_pb2.Value], Json]:
    expected = KIND_OF_TYPE[wanted]
    check = _STORED[expected]

    def read(value: value_pb2.Value) -> Json:
        kind = value.WhichOneof("kind")
        if kind == expected:
            return check(getattr(value, kind))
        if kind is None:
            return None
        # A whole number is a decimal too.
        if kind == "integer" and expected == "decimal":
            return float(value.integer)
        raise ValueError(f"the field holds {expected}, the value is {kind}")

    return read


STORED_OF: Mapping[FieldType, Callable[[value_pb2.Value], Json]] = {wanted: _reader(wanted) for wanted in FieldType}
"""`to_stored` for each type, for whoever reads many values."""


def from_stored(stored: Json, wanted: FieldType) -> value_pb2.Value:
    """Return the message of a stored value; None gives null."""
    if stored is None:
        return value_pb2.Value()
    match wanted:
        case FieldType.TIMESTAMP:
            return value_pb2.Value(timestamp=from_us(stored))
        case FieldType.DATE:
            day = date.fromordinal(stored + EPOCH_DAY)
            return value_pb2.Value(date=date_pb2.Date(year=day.year, month=day.month, day=day.day))
        case FieldType.TEXT_LIST:
            return value_pb2.Value(text_list=value_pb2.TextList(values=stored))
    plain: dict[str, Any] = {KIND_OF_TYPE[wanted]: stored}
    return value_pb2.Value(**plain)


def value_text(stored: Json, kind: FieldType) -> str:
    """Return the JSON of a stored value's message; None gives that of null."""
    if stored is None:
        return "{}"
    match kind:
        case FieldType.TIMESTAMP:
            return f'{{"timestamp":"{from_us(stored).ToJsonString()}"}}'
        case FieldType.DATE:
            day = date.fromordinal(stored + EPOCH_DAY)
            return f'{{"date":{{"day":{day.day},"month":{day.month},"year":{day.year}}}}}'
        case FieldType.TEXT_LIST:
            return f'{{"text_list":{{"values":{dump(stored)}}}}}' if stored else '{"text_list":{}}'
        case FieldType.INTEGER:
            return f'{{"integer":"{stored}"}}'
    return f'{{"{KIND_OF_TYPE[kind]}":{dump(stored)}}}'


def to_owner(message: value_pb2.Owner) -> Owner | None:
    """Return the owner of a message; None = nobody."""
    kind = message.WhichOneof("kind")
    return None if kind is None else Owner(OwnerKind(kind.removesuffix("_id").upper()), getattr(message, kind))


def from_owner(owner: Owner | None) -> value_pb2.Owner | None:
    """Return an owner as a message."""
    if owner is None:
        return None
    plain: dict[str, Any] = {f"{owner.kind.lower()}_id": owner.id}
    return value_pb2.Owner(**plain)
