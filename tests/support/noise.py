"""Random messages: every field of any kind, now and then something that is nearly right. Seeded."""

import random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

TEXTS = (
    "",
    "r1",
    "ann",
    "lead",
    "account",
    "big",
    "rest",
    "field",
    "default",
    "a b",
    "\x00",
    "é\u2028",
    "x" * 201,
    "*",
    "fields.note",
    "welcome",
)
CONDITIONS = ('record.country == "DE"', "record.revenue > 5", "true", "record.", "seller.country == record.country", "now > now", "((((")
ZONES = ("UTC", "Europe/Berlin", "Mars/Olympus", "")
CRONS = ("0 6 * * *", "* * * * *", "0 0 30 2 *", "x", "0 6 * * 1-5 7")
WHOLE = (0, 1, 2, 5, 50, 100, 1_000, -1, 2**31 - 1, -(2**31))
LARGE = (*WHOLE, 10**6, 10**12, 2**63 - 1, -(2**63))
DECIMALS = (0.0, 1.5, -1e300, float("inf"), float("nan"))
DEEPEST = 7


def fill(message: Message, chance: random.Random, depth: int = 0) -> None:
    """Set fields of a message at random."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.45 - 0.03 * depth and not (field.message_type is not None and depth >= DEEPEST):
            _set(message, field, chance, depth)


def disturb(message: Message, chance: random.Random) -> None:
    """Set one field, at a random place, of a message that may be right."""
    inner = [item for field, value in message.ListFields() for item in _messages(field, value)]
    if inner and chance.random() < 0.8:
        disturb(chance.choice(inner), chance)
    elif message.DESCRIPTOR.fields:
        _set(message, chance.choice(message.DESCRIPTOR.fields), chance, DEEPEST - 2)


def _messages(field: FieldDescriptor, value: Any) -> list[Any]:
    if field.message_type is None:
        return []
    if field.message_type.GetOptions().map_entry:
        return list(value.values()) if field.message_type.fields_by_name["value"].message_type is not None else []
    return list(value) if field.is_repeated else [value]


def _set(message: Message, field: FieldDescriptor, chance: random.Random, depth: int) -> None:
    value: Any = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        _fill_map(value, field, chance, depth)
    elif field.is_repeated:
        for _ in range(chance.randrange(1, 3)):
            if field.message_type is not None:
                fill(value.add(), chance, depth + 1)
            else:
                value.append(_plain(field, chance))
    elif field.message_type is not None:
        value.SetInParent()
        fill(value, chance, depth + 1)
    else:
        setattr(message, field.name, _plain(field, chance))


def _fill_map(value: Any, field: FieldDescriptor, chance: random.Random, depth: int) -> None:
    key = chance.choice(("country", "revenue", "note", "tags", "due", "lead", "big", "account", "nothing", ""))
    item = field.message_type.fields_by_name["value"]
    if item.message_type is not None:
        fill(value[key], chance, depth + 1)
    else:
        value[key] = _plain(item, chance)


def _plain(field: FieldDescriptor, chance: random.Random) -> Any:
    kinds = FieldDescriptor
    if field.cpp_type == kinds.CPPTYPE_BOOL:
        return chance.random() < 0.5
    if field.cpp_type == kinds.CPPTYPE_ENUM:
        return chance.choice([*field.enum_type.values_by_number, 77])
    if field.cpp_type in (kinds.CPPTYPE_DOUBLE, kinds.CPPTYPE_FLOAT):
        return chance.choice(DECIMALS)
    if field.type == kinds.TYPE_BYTES:
        return b""
    if field.cpp_type == kinds.CPPTYPE_STRING:
        return chance.choice(_texts(field.name))
    return chance.choice(LARGE if field.cpp_type == kinds.CPPTYPE_INT64 else WHOLE)


def _texts(name: str) -> tuple[str, ...]:
    if name in ("condition", "matching", "filter"):
        return CONDITIONS
    return {"cron": CRONS, "time_zone": ZONES, "workspace": ("", "other"), "page_token": ("",), "request_id": ("",)}.get(name, TEXTS)
