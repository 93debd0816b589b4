"""Python values and the contract's values, both ways."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from google.protobuf import timestamp_pb2
from google.type import date_pb2

from reallot.v1 import value_pb2


def timestamp(moment: datetime) -> timestamp_pb2.Timestamp:
    """Return an instant as a message.

    Raises:
        ValueError: the moment has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(moment.astimezone(UTC))
    return message


def moment(message: timestamp_pb2.Timestamp) -> datetime:
    """Return a message as an instant in UTC."""
    return message.ToDatetime(tzinfo=UTC)


def to_value(value: Any) -> value_pb2.Value:
    """Return a Python value as a message; None is null.

    Raises:
        TypeError: there is no such kind of value.
        ValueError: an instant without a time zone.
    """
    match value:
        case None:
            return value_pb2.Value()
        case bool():
            return value_pb2.Value(boolean=value)
        case int():
            return value_pb2.Value(integer=value)
        case float():
            return value_pb2.Value(decimal=value)
        case str():
            return value_pb2.Value(text=value)
        case datetime():
            return value_pb2.Value(timestamp=timestamp(value))
        case date():
            return value_pb2.Value(date=date_pb2.Date(year=value.year, month=value.month, day=value.day))
        case Sequence() if all(isinstance(item, str) for item in value):
            return value_pb2.Value(text_list=value_pb2.TextList(values=value))
    raise TypeError(f"{value!r} is neither text, number, truth value, date, instant nor a list of texts")


def to_values(values: Mapping[str, Any]) -> dict[str, value_pb2.Value]:
    """Return Python values as messages, by name."""
    found = {}
    for name, value in values.items():
        try:
            found[name] = to_value(value)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from None
    return found


def from_value(message: value_pb2.Value) -> Any:
    """Return a message as a Python value; null is None."""
    match message.WhichOneof("kind"):
        case None:
            return None
        case "timestamp":
            return moment(message.timestamp)
        case "date":
            return date(message.date.year, message.date.month, message.date.day)
        case "text_list":
            return list(message.text_list.values)
        case kind:
            return getattr(message, kind)


def owner_text(owner: value_pb2.Owner) -> str:
    """Return an owner for people; "" for nobody."""
    kind = owner.WhichOneof("kind")
    if kind is None:
        return ""
    name: str = getattr(owner, kind)
    return name if kind == "seller_id" else f"{kind.removesuffix('_id')}:{name}"


def to_owner(text: str) -> value_pb2.Owner:
    """Return the owner that a text names: a seller, or `team:ID`, or `queue:ID`."""
    kind, _, name = text.partition(":")
    if kind == "team" and name:
        return value_pb2.Owner(team_id=name)
    if kind == "queue" and name:
        return value_pb2.Owner(queue_id=name)
    return value_pb2.Owner(seller_id=text)
